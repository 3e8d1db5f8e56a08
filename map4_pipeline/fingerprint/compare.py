"""The candidates of the index, compared item by item: bit error rate, overlap, and how much of the two is alike.

Items that stay as they are for 1.5 s (silence, a held tone) in both are left out: two silences are not two copies of
anything, and hours of silence must not dilute what differs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.fingerprint.index import Candidates, Prints

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: An item that lasts as long as this (1.5 s) tells nothing.
_STILL = 12
#: Stretches are judged over as many items (4 s) ...
WINDOW = 32
#: ... and are alike up to this share of differing bits.
ALIKE = 0.15
#: Candidates compared at once.
_BATCH = 1000
#: Moments at which a fingerprint is compared with itself, in items: no multiple of another, 1.6 to 21 s.
_LAGS = (13, 29, 47, 67, 89, 113, 139, 167)
#: The background is worked out for pairs that could be something: up to this rate, or from so many items alike on (20 s).
_WORTH_RATE, _WORTH_ALIKE = 0.3, 160


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two fingerprints have in common.

    Attributes
    ----------
    first, second : int
        Numbers of the tracks.
    bit_error_rate : float
        Share of differing bits in the overlap at the best shift, in [0, 1].
    shift : int
        Items by which the second lies later.
    overlap : int
        Items compared at the best shift; silence and held tones are not among them.
    alike : int
        Items of the first in stretches that are alike, at up to three shifts: an edit has one for each part.
    distinct : int
        How many different items those stretches have.
    background : float
        Bit error rate of each of the two with itself at other moments, the lower one: 0.4 for music, 0.15 for rain or an organ's
        held chord. What two of them have in common has to be far below, or they are merely of one kind.
    """

    first: int
    second: int
    bit_error_rate: float
    shift: int
    overlap: int
    alike: int
    distinct: int
    background: float


def compare(prints: Prints, candidates: Candidates, min_overlap: int) -> Iterator[Comparison]:
    """Yield a comparison of each pair of candidates whose best shift has an overlap of `min_overlap` items or more.

    Pairs with nothing alike are left out.
    """
    for begin, end in _batches(candidates):
        part = slice(begin, end)
        yield from _compare(prints, candidates.first[part], candidates.second[part], candidates.shift[part], min_overlap)


def _batches(candidates: Candidates) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows that do not part a pair."""
    first, second = candidates.first, candidates.second
    new = np.concatenate([np.flatnonzero((first[1:] != first[:-1]) | (second[1:] != second[:-1])) + 1, [len(first)]])
    begin = 0
    while begin < len(first):
        end = int(new[min(int(np.searchsorted(new, begin + _BATCH)), len(new) - 1)])
        yield begin, end
        begin = end


def _compare(
    prints: Prints, first: "NDArray[np.int64]", second: "NDArray[np.int64]", shift: "NDArray[np.int64]", min_overlap: int
) -> Iterator[Comparison]:
    # The moments of sampling differ by part of an item: the neighbours may fit better.
    first, second = np.repeat(first, 3), np.repeat(second, 3)
    shift = np.repeat(shift, 3) + np.tile([-1, 0, 1], len(shift))
    lengths = np.diff(prints.starts)
    start_a, start_b = np.maximum(0, -shift), np.maximum(0, shift)
    overlap = np.minimum(lengths[first] - start_a, lengths[second] - start_b)
    use = overlap >= min_overlap
    first, second, shift, start_a, start_b, overlap = (part[use] for part in (first, second, shift, start_a, start_b, overlap))
    if not len(first):
        return
    edges = np.concatenate([[0], np.cumsum(overlap)])
    inside = np.arange(edges[-1]) - np.repeat(edges[:-1], overlap)
    a = prints.items[np.repeat(prints.starts[first] + start_a, overlap) + inside]
    b = prints.items[np.repeat(prints.starts[second] + start_b, overlap) + inside]
    tells = ~(_still(a, edges) & _still(b, edges))
    errors = np.bitwise_count(a ^ b).astype(np.int64) * tells
    counted = np.add.reduceat(tells.astype(np.int64), edges[:-1])
    rate = np.add.reduceat(errors, edges[:-1]) / np.maximum(32 * counted, 1)
    rate[counted < min_overlap] = 1.0
    alike = _alike(errors, tells, edges)
    yield from _best(prints, first, second, shift, start_a, edges, counted, rate, alike)


def _best(  # type: ignore[no-untyped-def]
    prints: Prints, first, second, shift, start_a, edges, counted, rate, alike
) -> Iterator[Comparison]:
    """Yield one comparison for each pair, over its shifts."""
    new = np.concatenate([[0], np.flatnonzero((first[1:] != first[:-1]) | (second[1:] != second[:-1])) + 1, [len(first)]])
    for begin, end in zip(new[:-1].tolist(), new[1:].tolist(), strict=True):
        rows = range(begin, end)
        best = min(rows, key=lambda row: (float(rate[row]), abs(int(shift[row])), int(shift[row])))
        items = prints.one(int(first[best]))
        mask = np.zeros(len(items), bool)
        for row in rows:
            part = alike[edges[row] : edges[row + 1]]
            mask[start_a[row] : start_a[row] + len(part)] |= part
        count = int(mask.sum())
        worth = rate[best] <= _WORTH_RATE or count >= _WORTH_ALIKE
        if count:
            yield Comparison(
                int(first[best]),
                int(second[best]),
                float(rate[best]),
                int(shift[best]),
                int(counted[best]),
                count,
                len(np.unique(items[mask])),
                min(background(items), background(prints.one(int(second[best])))) if worth else 0.0,
            )


def background(items: "NDArray[np.uint32]") -> float:
    """Return the median bit error rate of a fingerprint with itself, 2 to 21 s later; silence and held tones left out."""
    items = np.asarray(items)
    still = _still(items, np.array([0, len(items)]))
    rates = []
    for lag in _LAGS:
        tells = ~(still[lag:] & still[:-lag])
        if np.count_nonzero(tells) >= WINDOW:
            rates.append(float(np.bitwise_count(items[lag:] ^ items[:-lag])[tells].mean()) / 32)
    return float(np.median(rates)) if rates else 0.0


def _still(items: "NDArray[np.uint32]", edges: "NDArray[np.int64]") -> "NDArray[np.bool_]":
    """Return which items last for 1.5 s and more; no run goes over an edge."""
    new = np.ones(len(items), bool)
    new[1:] = items[1:] != items[:-1]
    new[edges[:-1]] = True
    begins = np.flatnonzero(new)
    lasting = np.diff(np.concatenate([begins, [len(items)]])) >= _STILL
    return np.asarray(np.repeat(lasting, np.diff(np.concatenate([begins, [len(items)]]))))


def _alike(errors: "NDArray[np.int64]", tells: "NDArray[np.bool_]", edges: "NDArray[np.int64]") -> "NDArray[np.bool_]":
    """Return which items lie in a stretch of 4 s that is alike."""
    count = len(errors)
    if count < WINDOW:
        return np.zeros(count, bool)
    sums, tell = (np.concatenate([[0], np.cumsum(part)]) for part in (errors, tells.astype(np.int64)))
    wrong, weight = sums[WINDOW:] - sums[:-WINDOW], tell[WINDOW:] - tell[:-WINDOW]
    good = (wrong <= ALIKE * 32 * weight) & (2 * weight >= WINDOW)
    # A window that reaches into the next pair's items judges nothing.
    crossing = edges[1:-1, None] + np.arange(1 - WINDOW, 0)
    crossing = crossing[(crossing >= 0) & (crossing < len(good))]
    good[crossing] = False
    steps = np.zeros(count + 1, np.int64)
    steps[: len(good)] += good
    steps[WINDOW:] -= good
    return np.asarray((np.cumsum(steps[:-1]) > 0) & tells)
