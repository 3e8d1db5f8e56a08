"""The K weighting of BS.1770 as matrix products: the exact recursive filter, at the speed of the processor's multipliers.

Samples are taken in rows of 32: a row's output is the product of its input, and of the state in which the filter enters it, with
a fixed matrix. The states follow a recursion from row to row, which is solved by products again, over groups of rows and over the
groups of a chunk. Source: Burrus 1972 (block realization of digital filters).
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: Samples a row, rows a group, groups a chunk.
_ROW, _GROUP, _GROUPS = 32, 32, 32
#: Samples that are filtered at once; the products of a chunk fit the processor's cache.
CHUNK = _ROW * _GROUP * _GROUPS
_STATES = 4


def biquads(sample_rate: float) -> "tuple[tuple[Array, Array], tuple[Array, Array]]":
    """Return (b, a) of the shelf and of the high-pass of the K weighting for a sampling rate.

    The two biquads of BS.1770-5 are given for 48 kHz; their analogue parameters (shelf 1682 Hz, +4.0 dB, Q 0.707; high-pass
    38.1 Hz, Q 0.50) are recovered from those coefficients and transformed anew for other rates.
    """
    k = math.tan(math.pi * 1681.974450955533 / sample_rate)
    q = 0.7071752369554196
    vh = 10 ** (3.999843853973347 / 20)
    vb = vh**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = (
        np.array([vh + vb * k / q + k * k, 2 * (k * k - vh), vh - vb * k / q + k * k]) / a0,
        np.array([a0, 2 * (k * k - 1), 1 - k / q + k * k]) / a0,
    )
    k = math.tan(math.pi * 38.13547087602444 / sample_rate)
    q = 0.5003270373238773
    a0 = 1 + k / q + k * k
    highpass = np.array([1.0, -2.0, 1.0]), np.array([a0, 2 * (k * k - 1), 1 - k / q + k * k]) / a0
    return shelf, highpass


class _Tables(NamedTuple):
    """Matrices of the filter: of a row to what it adds to the state, of a row and its state to the output, and of the states."""

    enter: "NDArray[np.float32]"
    leave: "NDArray[np.float32]"
    inside: "NDArray[np.float32]"
    between: "NDArray[np.float32]"
    onward: "NDArray[np.float32]"


def _state_space(sample_rate: float) -> "tuple[Array, Array, Array, float]":
    """Return (A, B, C, D) of both biquads in a row: s' = A s + B x, y = C s + D x.

    Transposed direct form II, with states chosen so that the poles of the high-pass, which nearly coincide, stand on the
    diagonal: there, rounding to single precision moves them least.
    """
    parts = []
    for b, a in biquads(sample_rate):
        half = -a[1] / 2
        rotate = np.array([[half, 1.0], [half * half - a[2], half]])
        enter = b[1:] - a[1:] * b[0]
        parts.append((rotate, np.array([enter[0], enter[1] + half * enter[0]]), np.array([1.0, 0.0]), b[0]))
    (a1, b1, c1, d1), (a2, b2, c2, d2) = parts
    a = np.zeros((_STATES, _STATES))
    a[:2, :2], a[2:, 2:], a[2:, :2] = a1, a2, np.outer(b2, c1)
    return a, np.concatenate([b1, b2 * d1]), np.concatenate([d2 * c1, c2]), float(d1 * d2)


@lru_cache(maxsize=8)
def _tables(sample_rate: float) -> _Tables:
    a, b, c, d = _state_space(sample_rate)
    powers = [np.eye(_STATES)]
    for _ in range(_ROW):
        powers.append(a @ powers[-1])
    # What sample i of a row adds to the state behind the row.
    enter = np.stack([powers[_ROW - 1 - i] @ b for i in range(_ROW)])
    response = np.array([d] + [c @ powers[i] @ b for i in range(_ROW - 1)])
    leave = np.zeros((_ROW + _STATES, _ROW))
    for i in range(_ROW):
        leave[i, i:] = response[: _ROW - i]
        leave[_ROW:, i] = c @ powers[i]
    row = powers[_ROW]
    inside = _prefix(row, _GROUP)
    group = np.linalg.matrix_power(row, _GROUP)
    onward = np.concatenate([np.linalg.matrix_power(row, j).T for j in range(_GROUP)], axis=1)
    between = _prefix(group, _GROUPS + 1)[:, _STATES:]
    return _Tables(*(np.ascontiguousarray(table, np.float32) for table in (enter, leave, inside, between, onward)))


def _prefix(step: "Array", count: int) -> "Array":
    """Return the matrix from what is added to the state in each of `count` places to the state before each and after all."""
    out = np.zeros((count * _STATES, (count + 1) * _STATES))
    power = np.eye(_STATES)
    for distance in range(1, count + 1):
        for i in range(count + 1 - distance):
            j = i + distance
            out[i * _STATES : (i + 1) * _STATES, j * _STATES : (j + 1) * _STATES] = power.T
        power = step @ power
    return out


class KWeighting:
    """The K weighting of one or several channels at once.

    Parameters
    ----------
    sample_rate : int
        Hz.
    channels : int
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._tables = _tables(float(sample_rate))
        self._channels = channels
        rows = _GROUP * _GROUPS
        self._rows = np.empty((channels, rows, _ROW + _STATES), np.float32)
        self._out = np.empty((channels * rows, _ROW), np.float32)
        #: What each group adds to the state; in front, the state at the start of the chunk.
        self._added = np.zeros((channels, _GROUPS + 1, _STATES), np.float32)

    def filter(self, chunk: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Return the weighted samples, shape (channels, CHUNK), of the next chunk, shape (channels, CHUNK).

        The result is overwritten by the next call.
        """
        tables, count = self._tables, self._channels
        rows, added = self._rows, self._added
        rows[:, :, :_ROW] = chunk.reshape(count, -1, _ROW)
        from_rows = rows.reshape(-1, _ROW + _STATES)[:, :_ROW] @ tables.enter
        groups = from_rows.reshape(-1, _GROUP * _STATES) @ tables.inside
        added[:, 1:] = groups[:, -_STATES:].reshape(count, _GROUPS, _STATES)
        before = added.reshape(count, -1) @ tables.between
        start = before[:, :-_STATES].reshape(-1, _STATES)
        states = groups[:, :-_STATES]
        states += start @ tables.onward
        rows[:, :, _ROW:] = states.reshape(count, -1, _STATES)
        added[:, 0] = before[:, -_STATES:]
        np.matmul(rows.reshape(-1, _ROW + _STATES), tables.leave, out=self._out)
        return self._out.reshape(count, -1)
