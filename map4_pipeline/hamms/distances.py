"""How far one embedding is from many: what `hamms.similarity` says of rows, said of columns, in few and long passes.

Numpy lets go of the interpreter's lock in every pass and has to get it back, so that among a server's threads many short passes
wait often. The columns are kept as a question needs them: scaled by the square of their dimension's weight (the root of a scaled
difference is the weighed root of the difference), in the order of their trust, with the roots of the trusts beside them. That
makes 19 passes over all dimensions where one dimension after the other made 110.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.hamms import DIMENSIONS, WEIGHTS
from map4_pipeline.hamms.similarity import COLUMNS, TRUST_COLUMNS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Singles = NDArray[np.float32]

#: Dimensions on a line whose trust is full; the others by trust: tempo's, half of it, key's, half of it.
_LINES = ("rhythmic_pattern", "danceability", "valence")
_SURE = tuple(name for name in DIMENSIONS if name not in ("bpm", "key", *_LINES))
#: The rows of roots while a block is measured. 0 and 1 have one trust and are added first; then each of rows 1 to 4 has its own.
_ROWS = (_LINES[0], "bpm", _LINES[1], "key", _LINES[2], *_SURE)
#: The columns that are kept: key x, y and mode, tempo x and y, the dimensions on a line, the roots of the four trusts.
_ORDER = ("key", "key", "key", "bpm", "bpm", *_SURE, *_LINES)
_SOURCES = [0, 1, 2, 3, 4, *(COLUMNS.index(name) for name in (*_SURE, *_LINES))]
_SCALE = np.array([WEIGHTS[name] ** 2 for name in _ORDER], np.float32)
_FIRST_LINE = 5 + len(_SURE)
_TRUSTS = slice(len(_ORDER), len(_ORDER) + 4)
PACKED = len(_ORDER) + 4


def packed(points: "Singles") -> "Singles":
    """Return the columns of embeddings, shape (n, 17), as they are kept, shape (n, 19)."""
    found = np.empty((len(points), PACKED), np.float32)
    found[:, : len(_ORDER)] = points[:, _SOURCES] * _SCALE
    tempo, key = (points[:, column] for column in TRUST_COLUMNS)
    found[:, _TRUSTS] = np.sqrt(np.stack([tempo, (1 + tempo) / 2, key, (1 + key) / 2], axis=1))
    return found


def unpacked(column: "Singles") -> "Singles":
    """Return the embedding, shape (17,), that one column of `packed` is of."""
    found = np.empty(len(COLUMNS) + 2, np.float32)
    found[_SOURCES] = column[: len(_ORDER)] / _SCALE
    roots = column[_TRUSTS]
    found[list(TRUST_COLUMNS)] = roots[0] ** 2, roots[2] ** 2
    return found


class DistancesFrom:
    """The distances from one track to many. Made once for a question, then called block by block.

    Parameters
    ----------
    point : float32 array, shape (17,)
        An embedding.
    size : int
        The most tracks of a block.
    """

    def __init__(self, point: "Singles", size: int) -> None:
        asked = packed(point[None])[0]
        lacking = [np.isnan(asked[[place for place, one in enumerate(_ORDER) if one == name]]).any() for name in _ROWS]
        self._lacking = np.flatnonzero(lacking)
        self._asked = np.nan_to_num(asked)[:, None]
        weights = np.array([0.0 if lacks else WEIGHTS[name] for lacks, name in zip(lacking, _ROWS, strict=True)], np.float32)
        #: Weights by trust, and of what is fully trusted.
        self._weights = np.array([weights[0] + weights[1], *weights[2:5]], np.float32)[:, None]
        self._sure = weights[5:].sum()
        self._each = weights[:, None]
        self._room = np.empty((len(_ROWS), size), np.float32), np.empty((5, size), np.float32), np.empty(size, np.float32)

    def _roots(self, columns: "Singles", roots: "Singles", circles: "Singles") -> None:
        """Put the weighed roots of the distances in each dimension into `roots`; `circles` is room."""
        np.subtract(columns[:5], self._asked[:5], out=circles)
        np.multiply(circles, circles, out=circles)
        np.add.reduce(circles[:3], axis=0, out=roots[3])
        np.add(circles[3], circles[4], out=roots[1])
        np.sqrt(roots[1:4:2], out=roots[1:4:2])
        np.subtract(columns[5:_FIRST_LINE], self._asked[5:_FIRST_LINE], out=roots[5:])
        lines = slice(_FIRST_LINE, _FIRST_LINE + 3)
        np.subtract(columns[lines], self._asked[lines], out=roots[0:5:2])
        np.abs(roots, out=roots)
        np.sqrt(roots, out=roots)
        roots[self._lacking] = 0

    def __call__(self, columns: "Singles", out: "Singles") -> None:
        """Put the distances to some columns of `packed`, shape (19, n), into `out`; NaN where one lacks something.

        Infinite where nothing has weight: what both have, nobody is sure of.
        """
        roots, circles, total = (room[..., : len(out)] for room in self._room)
        self._roots(columns, roots, circles)
        trusts = np.multiply(columns[_TRUSTS], self._asked[_TRUSTS], out=circles[:4])
        roots[1] += roots[0]
        np.multiply(roots[1:5], trusts, out=roots[1:5])
        np.add.reduce(roots[1:], axis=0, out=out)
        np.multiply(trusts, self._weights, out=trusts)
        np.add.reduce(trusts, axis=0, out=total)
        total += self._sure
        if self._sure == 0:
            nothing = total <= 0
            total[nothing], out[nothing] = 1, math.inf
        out /= total

    def partly(self, columns: "Singles") -> "Singles":
        """Return the distances to columns that lack a dimension, over what both have; infinite where that is nothing."""
        roots = np.empty((len(_ROWS), columns.shape[1]), np.float32)
        self._roots(columns, roots, np.empty((5, columns.shape[1]), np.float32))
        trusts = np.ones_like(roots)
        trusts[:5] = (columns[_TRUSTS] * self._asked[_TRUSTS])[[0, 0, 1, 2, 3]]
        known = ~np.isnan(roots)
        found = np.where(known, roots * trusts, 0).sum(axis=0)
        total = np.where(known, self._each * trusts, 0).sum(axis=0)
        return np.where(total > 0, found / np.where(total > 0, total, 1), np.float32(math.inf))
