"""Numbers of many tracks in memory, by track id: columns that lie one after the other, in the order of the ids."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.int64]


class RowsById:
    """Columns with a value a track. Not safe against changes by another thread.

    Parameters
    ----------
    **parts : array, shape (..., 0)
        Names, types and shapes of the columns; the last axis is that of the tracks.
    """

    def __init__(self, **parts: "NDArray[Any]") -> None:
        self._size = 0
        self._ids: Places = np.empty(0, np.int64)
        self._parts = parts

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, name: str) -> "NDArray[Any]":
        return self._parts[name][..., : self._size]

    @property
    def ids(self) -> "Places":
        """The tracks' ids, rising."""
        return self._ids[: self._size]

    @property
    def size_bytes(self) -> int:
        """Memory taken."""
        return self._ids.nbytes + sum(part.nbytes for part in self._parts.values())

    def put(self, ids: "Places", **values: "NDArray[Any]") -> bool:
        """Add tracks, or replace what is known of them; return whether any was added.

        Parameters
        ----------
        ids : array, shape (m,)
            Each once.
        **values : array, shape (..., m)
            Of every part.
        """
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        values = {name: part[..., order] for name, part in values.items()}
        places = np.searchsorted(self.ids, ids)
        old = np.zeros(len(ids), bool)
        inside = places < self._size
        old[inside] = self._ids[places[inside]] == ids[inside]
        for name, part in values.items():
            self._parts[name][..., places[old]] = part[..., old]
        new = ~old
        if not new.any():
            return False
        self._extend(ids[new], {name: part[..., new] for name, part in values.items()})
        return True

    def _extend(self, ids: "Places", values: "dict[str, NDArray[Any]]") -> None:
        behind = not self._size or ids[0] > self._ids[self._size - 1]
        size = self._size + len(ids)
        if size > len(self._ids):
            # An eighth more than is needed: a library grows by many small commits.
            room = size + size // 8
            self._ids = _grown(self._ids, self._size, room)
            self._parts = {name: _grown(part, self._size, room) for name, part in self._parts.items()}
        added = slice(self._size, size)
        self._ids[added] = ids
        for name, part in values.items():
            self._parts[name][..., added] = part
        self._size = size
        if not behind:
            order = np.argsort(self.ids, kind="stable")
            self._ids[:size] = self._ids[order]
            for part in self._parts.values():
                for column in part.reshape(-1, part.shape[-1]):
                    column[:size] = column[order]

    def place(self, id_: int) -> int | None:
        """Return where a track is, None when it is not there."""
        place = int(np.searchsorted(self.ids, id_))
        return place if place < self._size and self._ids[place] == id_ else None

    def places(self, ids: "Places") -> "Places":
        """Return where tracks are, those that are there."""
        wanted = np.unique(ids)
        found = np.searchsorted(self.ids, wanted)
        inside = found < self._size
        found, wanted = found[inside], wanted[inside]
        return np.asarray(found[self.ids[found] == wanted])


def _grown(part: "NDArray[Any]", size: int, room: int) -> "NDArray[Any]":
    grown = np.empty((*part.shape[:-1], room), part.dtype)
    grown[..., :size] = part[..., :size]
    return grown
