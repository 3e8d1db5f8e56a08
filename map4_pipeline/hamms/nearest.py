"""The vectors of a whole library in memory, and the tracks in it that are nearest to one: exact, a pass over all.

A million tracks take 114 MB and some 50 ms. Columns lie one after the other, and a pass works on a piece of them.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.hamms.distances import PACKED, DistancesFrom, packed, unpacked
from map4_pipeline.hamms.mixing import UNKNOWN_KEY, TransitionRules
from map4_pipeline.hamms.rows import RowsById
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
        self._rows = RowsById(points=np.empty((PACKED, 0), np.float32), mix=np.empty((len(MIX_COLUMNS), 0), np.float32))
        self._partial: Places = np.empty(0, np.int64)
        self._empty: Places = np.empty(0, np.int64)
        self._partial_points: Singles = np.empty((PACKED, 0), np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def ids(self) -> "Places":
        """The tracks' ids, rising."""
        return self._rows.ids

    @property
    def size_bytes(self) -> int:
        """Memory taken."""
        return self._rows.size_bytes + self._partial.nbytes + self._partial_points.nbytes

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
        added = self._rows.put(ids, points=points.T, mix=mix.T)
        if added or len(ids) > len(self) // 8:
            self._note_partial(np.flatnonzero(np.isnan(self._rows["points"]).any(axis=0)))
        else:
            places = self.places(ids)
            others = self._partial[~np.isin(self._partial, places)]
            lacking = places[np.isnan(self._rows["points"][:, places]).any(axis=0)]
            if len(lacking) or len(others) < len(self._partial):
                self._note_partial(np.sort(np.concatenate([others, lacking]), kind="stable"))

    def _note_partial(self, places: "Places") -> None:
        """Take down which tracks lack a dimension, and which lack all."""
        self._partial = places
        self._partial_points = self._rows["points"][:, places]
        self._empty = places[np.isnan(self._partial_points).all(axis=0)]

    def get(self, id_: int) -> "tuple[Singles, Singles] | None":
        """Return the embedding of a track and its columns for mixing, None when it is not there."""
        place = self.place(id_)
        return None if place is None else (unpacked(self._rows["points"][:, place]), self._rows["mix"][:, place].copy())

    def place(self, id_: int) -> int | None:
        """Return where a track is, None when it is not there."""
        return self._rows.place(id_)

    def drop(self, ids: "Places") -> None:
        """Forget tracks; ids that are not there do no harm."""
        self.changes += 1
        places = self.places(ids)
        self._rows["points"][:, places] = math.nan
        self._note_partial(np.union1d(self._partial, places))

    def places(self, ids: "Places") -> "Places":
        """Return where tracks are, those that are there."""
        return self._rows.places(ids)

    def distances(self, point: "Singles") -> "Singles":
        """Return how far each track is from an embedding: 1 - similarity, infinite where nothing is in common."""
        found = np.empty(len(self), np.float32)
        points = self._rows["points"]
        measure = DistancesFrom(point, min(_BLOCK, len(self)))
        for start in range(0, len(self), _BLOCK):
            part = slice(start, min(start + _BLOCK, len(self)))
            measure(points[:, part], found[part])
        if len(self._partial):
            found[self._partial] = measure.partly(self._partial_points)
        return found

    def mix_distances(self, mix: "Singles", rules: TransitionRules) -> "Singles":
        """Return 1 - the score of the transition from a track (its `MIX_COLUMNS`) to each; infinite for forgotten ones."""
        found = np.empty(len(self), np.float32)
        quick = ScoresFrom(mix, rules, min(_BLOCK, len(self))) if rules.key_lock else None
        first, columns = _mix_table(mix[:, None]), self._rows["mix"]
        for start in range(0, len(self), _BLOCK):
            part = slice(start, min(start + _BLOCK, len(self)))
            if quick is not None:
                quick(columns[:, part], found[part])
            else:
                found[part] = scores_between(first, _mix_table(columns[:, part]), rules)[0]
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
