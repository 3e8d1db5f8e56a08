"""The index on disk, so that a refresh compares only what is new.

A folder holds the items, where each fingerprint starts, the contents' hashes (all three only ever grow) and lists of postings
for ranges of tracks, which are mapped, not read. What counts is what the caller has committed elsewhere (`IndexState`): bytes
behind it are the rest of a run that was killed, and are written over. The folder may be lost at any time; making it anew takes
minutes, not more.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from map4_pipeline.fingerprint.compare import Comparison, compare
from map4_pipeline.fingerprint.index import (
    Candidates,
    Postings,
    Prints,
    collect,
    make_postings,
    merge_postings,
    pairs_between,
    pairs_within,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A list that is not this many times as long as the next is merged with it: there are few lists, and merging costs little.
_RATIO = 4
#: Bytes of a hash: SHA-256 in hexadecimal.
_HASH = 64


@dataclass(frozen=True, slots=True)
class IndexState:
    """How far the index goes: contents, items, and the ranges of its lists of postings."""

    contents: int = 0
    items: int = 0
    lists: tuple[tuple[int, int], ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"contents": self.contents, "items": self.items, "lists": [list(part) for part in self.lists]}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "IndexState":
        """Return what `as_dict` gave."""
        return cls(int(value["contents"]), int(value["items"]), tuple((int(a), int(b)) for a, b in value["lists"]))


class IndexFiles:
    """The index in a folder.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    state : IndexState
        What of it counts.

    Raises
    ------
    LookupError
        When the folder does not hold what `state` says.
    """

    def __init__(self, folder: Path, state: IndexState | None = None) -> None:
        self.folder = folder
        self.state = state or IndexState()
        if state is None:
            folder.mkdir(parents=True, exist_ok=True)
        missing = self._missing()
        if missing:
            raise LookupError(f"The index of fingerprints in {folder} is not whole: {missing}.")

    def _missing(self) -> str:
        needed = {
            "items.u32": 4 * self.state.items,
            "lengths.u32": 4 * self.state.contents,
            "hashes": _HASH * self.state.contents,
        }
        for name, size in needed.items():
            path = self.folder / name
            if size and (not path.is_file() or path.stat().st_size < size):
                return name
        for part in self.state.lists:
            path = self.folder / self._list_name(part)
            if not path.is_file():
                return path.name
        return ""

    def hashes(self) -> list[str]:
        """Return the hashes of the contents, in the order of their numbers."""
        raw = self._read("hashes", np.uint8, _HASH * self.state.contents).tobytes()
        return [raw[at : at + _HASH].rstrip(b"\0").decode("ascii") for at in range(0, len(raw), _HASH)]

    def append(self, hashes: list[str], fingerprints: "list[NDArray[np.uint32]]") -> None:
        """Add fingerprints behind the others; they are in no list before `compare_new`.

        Parameters
        ----------
        hashes : list of str
            One for each, ASCII, at most 64 characters.
        fingerprints : list of ndarray of uint32
        """
        self._write("items.u32", 4 * self.state.items, np.concatenate([np.zeros(0, np.uint32), *fingerprints]).tobytes())
        lengths = np.array([len(items) for items in fingerprints], np.uint32)
        self._write("lengths.u32", 4 * self.state.contents, lengths.tobytes())
        named = b"".join(text.encode("ascii").ljust(_HASH, b"\0") for text in hashes)
        self._write("hashes", _HASH * self.state.contents, named)
        contents, items = self.state.contents + len(hashes), self.state.items + int(lengths.sum())
        self.state = IndexState(contents, items, self.state.lists)

    def prints(self) -> Prints:
        """Return the fingerprints; their items are mapped."""
        starts = np.zeros(self.state.contents + 1, np.int64)
        np.cumsum(self._read("lengths.u32", np.uint32, self.state.contents), out=starts[1:])
        return Prints(self._map("items.u32", self.state.items), starts)

    def compare_new(self, min_overlap: int) -> list[Comparison]:
        """Compare what was appended with itself and with all that was there, and list it."""
        first = self.state.lists[-1][1] if self.state.lists else 0
        prints = self.prints()
        if first == len(prints):
            return []
        new = make_postings(prints, first)
        found = [*compare(prints, pairs_within(prints, new), min_overlap)]
        for part in self.state.lists:
            candidates = pairs_between(prints, new, self._load(part))
            if len(candidates):
                found += _compare_few(prints, candidates, min_overlap)
        self._add(new)
        return found

    def _add(self, new: Postings) -> None:
        lists = list(self.state.lists)
        while lists and len(new.keys) * _RATIO >= self._length(lists[-1]):
            new = merge_postings(self._load(lists.pop()), new)
        part = (new.first, new.end)
        for name, values in ((self._list_name(part), new.keys), (self._list_name(part) + ".at", new.places)):
            self._write(name, 0, np.ascontiguousarray(values).tobytes())
        self.state = IndexState(self.state.contents, self.state.items, (*lists, part))

    def tidy(self) -> None:
        """Remove lists that no longer count; to be called when the new state is committed."""
        keep = {self._list_name(part) for part in self.state.lists}
        for path in self.folder.glob("list-*"):
            if path.name.removesuffix(".at") not in keep:
                path.unlink(missing_ok=True)

    def _list_name(self, part: tuple[int, int]) -> str:
        return f"list-{part[0]}-{part[1]}"

    def _length(self, part: tuple[int, int]) -> int:
        return (self.folder / self._list_name(part)).stat().st_size // 4

    def _load(self, part: tuple[int, int]) -> Postings:
        name, count = self._list_name(part), self._length(part)
        return Postings(part[0], part[1], self._map(name, count), self._map(name + ".at", count))

    def _map(self, name: str, count: int) -> "NDArray[np.uint32]":
        if not count:
            return np.zeros(0, np.uint32)
        return np.memmap(self.folder / name, np.uint32, "r", shape=(count,))

    def _read(self, name: str, kind: type, count: int) -> "NDArray[Any]":
        return np.fromfile(self.folder / name, kind, count) if count else np.zeros(0, kind)

    def _write(self, name: str, at: int, data: bytes) -> None:
        path = self.folder / name
        with open(path, "r+b" if path.exists() and at else "wb") as file:
            file.truncate(at)
            file.seek(at)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _compare_few(prints: Prints, candidates: Candidates, min_overlap: int) -> list[Comparison]:
    """Compare with the fingerprints that are asked for read into memory, and no other."""
    numbers = np.unique(np.concatenate([candidates.first, candidates.second]))
    few = collect([np.asarray(prints.one(number)) for number in numbers.tolist()])
    local = Candidates(
        np.searchsorted(numbers, candidates.first),
        np.searchsorted(numbers, candidates.second),
        candidates.shift,
        candidates.votes,
    )
    return [
        Comparison(
            int(numbers[one.first]),
            int(numbers[one.second]),
            one.bit_error_rate,
            one.shift,
            one.overlap,
            one.alike,
            one.distinct,
            one.background,
        )
        for one in compare(few, local, min_overlap)
    ]
