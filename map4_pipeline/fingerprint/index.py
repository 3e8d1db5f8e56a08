"""An inverted index over the items of many fingerprints: which of them share so many that a comparison is worth while.

No fingerprint is compared with every other. Two encodings of one recording have many 32-bit items in common, at one distance;
two different recordings of the truth set share 0.008 (measured over the 861 pairs of 42 real tracks). So the items of all
fingerprints are sorted, and only what stands side by side is looked at: each pair of equal items votes for a pair of tracks and
a shift, and two votes for the same shift make a candidate. What it costs grows with the number of items, not with the number
of pairs, because items that too many tracks share (silence, held notes) are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Bump when the same fingerprints could give other candidates.
INDEX_VERSION = "1"
#: An item is listed so many times for one track at most: in loops and drones the same one comes back again and again.
_TIMES = 4
#: A key that is listed more often than this says too little.
MAX_LISTED = 256
#: Pairs of equal items that are looked at for each item listed, at most; keys are left out from the most frequent down.
_BUDGET = 8
#: Votes for one shift, give or take an item, that make two tracks a candidate.
MIN_VOTES = 2
#: Shifts of a pair that are compared: an edit has one for each part.
MAX_SHIFTS = 3
#: Votes that are held in memory at once (8 bytes each, sorted).
_HELD = 16_000_000
#: Tracks whose items are looked through at once.
_BLOCK = 4096
#: Bits of the second track and of the shift in a vote.
_TRACK_BITS, _SHIFT_BITS = 22, 20
MAX_TRACKS = 1 << _TRACK_BITS
_SHIFT_ZERO = 1 << (_SHIFT_BITS - 1)


@dataclass(frozen=True, slots=True)
class Prints:
    """Fingerprints end to end.

    Attributes
    ----------
    items : ndarray of uint32
    starts : ndarray of int64, shape (n + 1,)
        Where each begins, and the end.
    """

    items: "NDArray[np.uint32]"
    starts: "NDArray[np.int64]"

    def __len__(self) -> int:
        return len(self.starts) - 1

    def one(self, number: int) -> "NDArray[np.uint32]":
        """Return the items of one fingerprint."""
        return self.items[self.starts[number] : self.starts[number + 1]]


@dataclass(frozen=True, slots=True)
class Postings:
    """The items of the tracks `first` to `end` - 1, sorted, with their places in `Prints.items`."""

    first: int
    end: int
    keys: "NDArray[np.uint32]"
    places: "NDArray[np.uint32]"


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs of tracks worth comparing, each with up to three shifts, sorted by pair.

    Attributes
    ----------
    first, second : ndarray of int64
        Numbers of the tracks, first < second.
    shift : ndarray of int64
        Items by which the second lies later.
    votes : ndarray of int64
        Equal items at that shift, give or take one.
    """

    first: "NDArray[np.int64]"
    second: "NDArray[np.int64]"
    shift: "NDArray[np.int64]"
    votes: "NDArray[np.int64]"

    def __len__(self) -> int:
        return len(self.first)


def collect(fingerprints: "list[NDArray[np.uint32]]") -> Prints:
    """Return fingerprints end to end."""
    starts = np.zeros(len(fingerprints) + 1, np.int64)
    np.cumsum([len(items) for items in fingerprints], out=starts[1:])
    return Prints(np.concatenate([np.zeros(0, np.uint32), *fingerprints]), starts)


def make_postings(prints: Prints, first: int = 0, end: int | None = None) -> Postings:
    """List the items of the tracks from `first` to `end` - 1.

    Raises
    ------
    ValueError
        When there are more than 4 million tracks or 4 thousand million items.
    """
    end = len(prints) if end is None else end
    if end > MAX_TRACKS or int(prints.starts[-1]) >= 1 << 32:
        raise ValueError(f"The index holds at most {MAX_TRACKS:,} fingerprints; there are {end:,}.")
    listed = np.empty(int(prints.starts[end] - prints.starts[first]), np.uint64)
    count = 0
    for begin in range(first, end, _BLOCK):
        codes = _listed(prints, begin, min(begin + _BLOCK, end))
        listed[count : count + len(codes)] = codes
        count += len(codes)
    listed = listed[:count]
    listed.sort()
    return Postings(first, end, (listed >> np.uint64(32)).astype(np.uint32), listed.astype(np.uint32))


def _listed(prints: Prints, first: int, end: int) -> "NDArray[np.uint64]":
    """Return key and place of the items of some tracks; an item that lasts is listed once, one that comes back four times."""
    low, high = int(prints.starts[first]), int(prints.starts[end])
    items = np.asarray(prints.items[low:high])
    fresh = np.ones(len(items), bool)
    fresh[1:] = items[1:] != items[:-1]
    fresh[(prints.starts[first:end] - low)[prints.starts[first:end] < high]] = True
    at = np.flatnonzero(fresh)
    codes = items[at].astype(np.uint64) << np.uint64(32) | (at + low).astype(np.uint64)
    codes.sort()
    tracks = _tracks(prints, codes.astype(np.uint32))
    keys = codes >> np.uint64(32)
    new = np.ones(len(codes), bool)
    new[1:] = (keys[1:] != keys[:-1]) | (tracks[1:] != tracks[:-1])
    number = np.arange(len(codes))
    return np.asarray(codes[number - np.maximum.accumulate(np.where(new, number, 0)) < _TIMES])


def _tracks(prints: Prints, places: "NDArray[np.uint32]") -> "NDArray[np.int64]":
    return np.asarray(np.searchsorted(prints.starts, places, side="right") - 1)


def merge_postings(one: Postings, other: Postings) -> Postings:
    """Return the postings of two neighbouring ranges of tracks as one."""
    codes = np.concatenate([_codes(one), _codes(other)])
    codes.sort(kind="stable")
    return Postings(one.first, other.end, (codes >> np.uint64(32)).astype(np.uint32), codes.astype(np.uint32))


def _codes(postings: Postings) -> "NDArray[np.uint64]":
    return np.asarray(postings.keys.astype(np.uint64) << np.uint64(32) | postings.places)


def pairs_within(prints: Prints, postings: Postings, max_listed: int = MAX_LISTED) -> Candidates:
    """Return the candidates among the tracks of one list."""
    lengths = np.zeros(max_listed + 1, np.int64)
    for _, sizes in _runs(postings.keys):
        lengths += np.bincount(sizes[sizes <= max_listed], minlength=max_listed + 1)
    listed = np.arange(max_listed + 1)
    cost = np.cumsum(lengths * (listed * (listed - 1) // 2))
    cap = int(np.searchsorted(cost, max(_BUDGET * len(postings.keys), 1000), side="right") - 1)
    # In an earlier part of the tracks begin more pairs than in a later one.
    passes = 1 + 2 * int(cost[cap]) // _HELD
    found = []
    for part in range(passes):
        low, high = (postings.first + (postings.end - postings.first) * (part + k) // passes for k in (0, 1))
        found.append(_elect([_votes(prints, *pair) for pair in _equal_within(prints, postings, cap, low, high)]))
    return _joined(found)


def pairs_between(prints: Prints, new: Postings, old: Postings, max_listed: int = MAX_LISTED) -> Candidates:
    """Return the candidates of the tracks of a new list with those of an old one, which may be a file that is mapped.

    `new` covers later tracks than `old`.
    """
    if not len(new.keys) or not len(old.keys):
        return _joined([])
    pairs = [_equal_between(new, old, begins, sizes, max_listed) for begins, sizes in _runs(new.keys)]
    theirs, ours = (np.concatenate(part) for part in zip(*pairs, strict=True))
    # A pair's votes stay together: cut by the new track.
    tracks = _tracks(prints, ours)
    passes = 1 + len(ours) // _HELD
    found = []
    for part in range(passes):
        low, high = (new.first + (new.end - new.first) * (part + k) // passes for k in (0, 1))
        here = (tracks >= low) & (tracks < high)
        found.append(_elect([_votes(prints, theirs[here], ours[here])]))
    return _joined(found)


def _runs(keys: "NDArray[np.uint32]") -> "Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]":
    """Yield where equal keys begin and how many they are, piece by piece, without those that are alone in a long list."""
    piece = 1 << 22
    begin = 0
    while begin < len(keys):
        end = min(begin + piece, len(keys))
        # Not in the middle of a run.
        end = int(np.searchsorted(keys, keys[end - 1], side="right")) if end < len(keys) else end
        part = np.asarray(keys[begin:end])
        edges = np.concatenate([[0], np.flatnonzero(part[1:] != part[:-1]) + 1, [len(part)]])
        yield edges[:-1] + begin, np.diff(edges)
        begin = end


def _equal_within(
    prints: Prints, postings: Postings, cap: int, low: int, high: int
) -> "Iterator[tuple[NDArray[np.uint32], NDArray[np.uint32]]]":
    """Yield the places of equal items, for keys listed up to `cap` times, the first of each pair in tracks `low` to `high` - 1.

    Equal items are sorted by place, so a pair's first place is in its first track.
    """
    begin, end = int(prints.starts[low]), int(prints.starts[high])
    for begins, sizes in _runs(postings.keys):
        first, last = int(begins[0]), int(begins[-1] + sizes[-1])
        places = np.asarray(postings.places[first:last])
        use = np.repeat((sizes > 1) & (sizes <= cap), sizes) & (places >= begin) & (places < end)
        one = np.flatnonzero(use)
        # How many stand behind it in its run.
        behind = np.repeat(np.cumsum(sizes), sizes)[one] - one - 1
        inside = np.arange(int(behind.sum())) - np.repeat(np.cumsum(behind) - behind, behind)
        yield np.repeat(places[one], behind), places[np.repeat(one + 1, behind) + inside]


def _equal_between(
    new: Postings, old: Postings, begins: "NDArray[np.int64]", sizes: "NDArray[np.int64]", max_listed: int
) -> "tuple[NDArray[np.uint32], NDArray[np.uint32]]":
    """Return the places of equal items in an old and a new list, for some runs of the new one."""
    keys = new.keys[begins]
    left = np.searchsorted(old.keys, keys, side="left")
    width = np.searchsorted(old.keys, keys, side="right") - left
    shared = (width > 0) & (width + sizes <= max_listed)
    left, width, begins, sizes = left[shared], width[shared], begins[shared], sizes[shared]
    total = width * sizes
    inside = np.arange(int(total.sum())) - np.repeat(np.cumsum(total) - total, total)
    wide = np.repeat(width, total)
    theirs = old.places[np.repeat(left, total) + inside % wide]
    return np.asarray(theirs), np.asarray(new.places[np.repeat(begins, total) + inside // wide])


def _votes(prints: Prints, first: "NDArray[np.uint32]", second: "NDArray[np.uint32]") -> "NDArray[np.uint64]":
    """Return pairs of places as numbers that sort by pair of tracks and shift; places of one track are no pair."""
    a, b = _tracks(prints, first), _tracks(prints, second)
    use = a != b
    a, b, first, second = a[use], b[use], first[use], second[use]
    shift = (second - prints.starts[b]) - (first - prints.starts[a])
    near = np.abs(shift) < _SHIFT_ZERO - 1
    code = (a << (_TRACK_BITS + _SHIFT_BITS)) | (b << _SHIFT_BITS) | (shift + _SHIFT_ZERO)
    return np.asarray(code[near], np.uint64)


def _elect(votes: "list[NDArray[np.uint64]]") -> Candidates:
    """Count votes; return the pairs that have enough for a shift, with their best shifts."""
    codes = np.concatenate([np.zeros(0, np.uint64), *votes])
    codes.sort()
    edges = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1], [True]])) if len(codes) else np.zeros(1, np.int64)
    code, count = codes[edges[:-1]], np.diff(edges)
    # Sampled at other moments, a recording's items may lie one apart: the neighbours' votes count too.
    total = count.copy()
    next_door = code[1:] == code[:-1] + np.uint64(1)
    total[:-1][next_door] += count[1:][next_door]
    total[1:][next_door] += count[:-1][next_door]
    # ... but are no shifts of their own.
    highest = np.ones(len(code), bool)
    highest[:-1] &= ~next_door | (count[:-1] >= count[1:])
    highest[1:] &= ~next_door | (count[1:] > count[:-1])
    enough = highest & (total >= MIN_VOTES)
    code, total = code[enough], total[enough]
    pair = code >> np.uint64(_SHIFT_BITS)
    order = np.lexsort((code, -total, pair))
    code, pair, total = code[order], pair[order], total[order]
    new = np.ones(len(pair), bool)
    new[1:] = pair[1:] != pair[:-1]
    number = np.arange(len(pair))
    best = number - np.maximum.accumulate(np.where(new, number, 0)) < MAX_SHIFTS
    code, pair = code[best].astype(np.int64), pair[best].astype(np.int64)
    shift = (code & ((1 << _SHIFT_BITS) - 1)) - _SHIFT_ZERO
    return Candidates(pair >> _TRACK_BITS, pair & (MAX_TRACKS - 1), shift, total[best])


def _joined(parts: list[Candidates]) -> Candidates:
    def one(name: str) -> "NDArray[np.int64]":
        return np.concatenate([np.zeros(0, np.int64), *(getattr(part, name) for part in parts)])

    return Candidates(one("first"), one("second"), one("shift"), one("votes"))
