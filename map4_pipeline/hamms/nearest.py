"""The vectors of a whole library in memory, and the tracks in it that are nearest to one: exact, a pass over all.

A million tracks take 114 MB and some 50 ms. Columns lie one after the other, and a pass works on a piece of them.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.hamms.distances import PACKED, DistancesFrom, packed, unpacked
from map4_pipeline.hamms.mixing import UNKNOWN_KEY, TransitionRules
from map4_pipeline.hamms.transition_table import MixTable, ScoresFrom, scores_between

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Singles = NDArray[np.float32]
    Places = NDArray[np.int64]

#: What mixing needs of a track, as columns: log2 of the tempo over 120 BPM, the place of the key, how sure each is, and the rest.
MIX_COLUMNS = ("octaves", "bpm_confidence", "key", "key_confidence", "energy", "loudness_lufs")
_KEY = MIX_COLUMNS.index("key")
_BLOCK = 65_536


class NearestTable:
    """Embeddings by track id, in the order of the ids. Not safe against changes by another thread.

    Attributes
    ----------
    changes : int
        Grows with every change: places found before one may be others after it.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._size = 0
        self._ids: Places = np.empty(0, np.int64)
        self._points: Singles = np.empty((PACKED, 0), np.float32)
        self._mix: Singles = np.empty((len(MIX_COLUMNS), 0), np.float32)
        self._partial: Places = np.empty(0, np.int64)
        self._empty: Places = np.empty(0, np.int64)
        self._partial_points: Singles = np.empty((PACKED, 0), np.float32)

    def __len__(self) -> int:
        return self._size

    @property
    def ids(self) -> "Places":
        """The tracks' ids, rising."""
        return self._ids[: self._size]

    @property
    def size_bytes(self) -> int:
        """Memory taken."""
        return self._ids.nbytes + self._points.nbytes + self._mix.nbytes + self._partial.nbytes + self._partial_points.nbytes

    def put(self, ids: "Places", points: "Singles", mix: "Singles") -> None:
        """Add tracks, or replace what is known of them.

        Parameters
        ----------
        ids : array, shape (m,)
            Each once.
        points : array, shape (m, 17)
            Embeddings; a row of NaN is a track without a vector, which is never found.
        mix : array, shape (m, 6)
            The columns of `MIX_COLUMNS`, NaN where a value is unknown.
        """
        if not len(ids):
            return
        self.changes += 1
        points, mix = packed(points), mix.copy()
        np.nan_to_num(mix[:, _KEY], copy=False, nan=UNKNOWN_KEY)
        order = np.argsort(ids, kind="stable")
        ids, points, mix = ids[order], points[order], mix[order]
        known = self.ids
        places = np.searchsorted(known, ids)
        old = np.zeros(len(ids), bool)
        inside = places < len(known)
        old[inside] = known[places[inside]] == ids[inside]
        self._points[:, places[old]] = points[old].T
        self._mix[:, places[old]] = mix[old].T
        new = ~old
        if new.any():
            self._extend(ids[new], points[new], mix[new])
        if new.any() or len(ids) > self._size // 8:
            self._note_partial(np.flatnonzero(np.isnan(self._points[:, : self._size]).any(axis=0)))
        else:
            others = self._partial[~np.isin(self._partial, places)]
            lacking = places[np.isnan(points).any(axis=1)]
            if len(lacking) or len(others) < len(self._partial):
                self._note_partial(np.sort(np.concatenate([others, lacking]), kind="stable"))

    def _note_partial(self, places: "Places") -> None:
        """Take down which tracks lack a dimension, and which lack all."""
        self._partial = places
        self._partial_points = self._points[:, places]
        self._empty = places[np.isnan(self._partial_points).all(axis=0)]

    def _extend(self, ids: "Places", points: "Singles", mix: "Singles") -> None:
        behind = not self._size or ids[0] > self._ids[self._size - 1]
        size = self._size + len(ids)
        if size > len(self._ids):
            # An eighth more than is needed: a library grows by many small commits.
            room = size + size // 8
            for name in ("_ids", "_points", "_mix"):
                held = getattr(self, name)
                grown = np.empty((*held.shape[:-1], room), held.dtype)
                grown[..., : self._size] = held[..., : self._size]
                setattr(self, name, grown)
        part = slice(self._size, size)
        self._ids[part], self._points[:, part], self._mix[:, part] = ids, points.T, mix.T
        self._size = size
        if not behind:
            order = np.argsort(self.ids, kind="stable")
            self._ids[:size] = self._ids[order]
            for table in (self._points, self._mix):
                for column in table:
                    column[:size] = column[order]

    def get(self, id_: int) -> "tuple[Singles, Singles] | None":
        """Return the embedding of a track and its columns for mixing, None when it is not there."""
        place = self.place(id_)
        return None if place is None else (unpacked(self._points[:, place]), self._mix[:, place].copy())

    def place(self, id_: int) -> int | None:
        """Return where a track is, None when it is not there."""
        place = int(np.searchsorted(self.ids, id_))
        return place if place < self._size and self._ids[place] == id_ else None

    def drop(self, ids: "Places") -> None:
        """Forget tracks; ids that are not there do no harm."""
        self.changes += 1
        places = self.places(ids)
        self._points[:, places] = math.nan
        self._note_partial(np.union1d(self._partial, places))

    def places(self, ids: "Places") -> "Places":
        """Return where tracks are, those that are there."""
        wanted = np.unique(ids)
        found = np.searchsorted(self.ids, wanted)
        inside = found < self._size
        found, wanted = found[inside], wanted[inside]
        return np.asarray(found[self.ids[found] == wanted])

    def distances(self, point: "Singles") -> "Singles":
        """Return how far each track is from an embedding: 1 - similarity, infinite where nothing is in common."""
        found = np.empty(self._size, np.float32)
        measure = DistancesFrom(point, min(_BLOCK, self._size))
        for start in range(0, self._size, _BLOCK):
            part = slice(start, min(start + _BLOCK, self._size))
            measure(self._points[:, part], found[part])
        if len(self._partial):
            found[self._partial] = measure.partly(self._partial_points)
        return found

    def mix_distances(self, mix: "Singles", rules: TransitionRules) -> "Singles":
        """Return 1 - the score of the transition from a track (its `MIX_COLUMNS`) to each; infinite for forgotten ones."""
        found = np.empty(self._size, np.float32)
        quick = ScoresFrom(mix, rules, min(_BLOCK, self._size)) if rules.key_lock else None
        first = _mix_table(mix[:, None])
        for start in range(0, self._size, _BLOCK):
            part = slice(start, min(start + _BLOCK, self._size))
            if quick is not None:
                quick(self._mix[:, part], found[part])
            else:
                found[part] = scores_between(first, _mix_table(self._mix[:, part]), rules)[0]
        np.subtract(np.float32(1), found, out=found)
        found[self._empty] = math.inf
        return found

    def closest(self, distances: "Singles", count: int) -> "Places":
        """Return the places of the nearest in some distances, nearest first, equal ones by id."""
        count = min(count, len(distances))
        if count < 1:
            return np.empty(0, np.int64)
        last = np.partition(distances, count - 1)[count - 1]
        near = np.flatnonzero(distances <= last if np.isfinite(last) else np.isfinite(distances))
        order = np.argsort(distances[near], kind="stable")[:count]
        return np.asarray(near[order])


def _mix_table(columns: "Singles") -> MixTable:
    octaves, bpm_confidence, key, key_confidence, energy, loudness = columns
    places = np.where(np.isnan(key), UNKNOWN_KEY, key).astype(np.int8)
    return MixTable(np.zeros(len(key), np.int64), octaves, bpm_confidence, places, key_confidence, energy, loudness)
