"""The power of the K-weighted signal of BS.1770, step by step of 100 ms, as matrix products.

Only the power is asked for, so the weighted samples are never made. Samples are taken in rows of 30 to 45. What a row adds to the
power is a quadratic form of its samples and of the state in which the filter enters it. Above a few kilohertz the K weighting is
a constant gain. So the form is that gain times the row's own power, and a rest that only low frequencies have: some 18 products
with fixed vectors instead of one for each sample. The states follow a recursion from row to row, which is solved by products
again, over groups of rows, groups of a step and steps of a chunk.

Source: Burrus 1972 (block realization of digital filters).
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_STATES = 4
#: Seconds of a step.
STEP = 0.1
#: Samples a row may have, and how many samples a chunk should; the products of a chunk fit the processor's cache.
_ROWS, _CHUNK = range(30, 46), 72000
#: Weights of the rest that are left out: at most 0.003 of 2.5, or 0.005 dB, of what sounds above 7 kHz.
_NEGLIGIBLE = 3e-3
#: How much larger than white noise leaves them the states may be before the same holds for them: bass piles up in them.
_BOOST = 1e3


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


class _Layout(NamedTuple):
    """Samples a row, rows a group, groups a step, steps a chunk."""

    row: int
    rows: int
    groups: int
    steps: int


@lru_cache(maxsize=8)
def _layout(sample_rate: float) -> _Layout:
    """Return the layout whose steps are nearest to 100 ms; for all common rates they are exactly that."""

    def divided(row: int) -> tuple[float, float, _Layout]:
        count = max(1, round(sample_rate * STEP / row))
        groups = min((n for n in range(1, count + 1) if count % n == 0), key=lambda n: abs(n - math.sqrt(count)))
        layout = _Layout(row, count // groups, groups, min(32, max(1, round(_CHUNK / count / row))))
        return abs(count * row - sample_rate * STEP), layout.rows + groups, layout

    return min(map(divided, _ROWS))[2]


class _Tables(NamedTuple):
    """Matrices and vectors of the filter.

    Attributes
    ----------
    project : shape (row, n + 4)
        From a row's samples to the n values whose weighted squares are the rest of its power, and to what it adds to the state.
    enter : shape (4, n + 4)
        From the state before a row to the same values.
    signs : shape (rows of a step * (n + 4),)
        Weights of the squares.
    gain : float
        Weight of the row's own power.
    up : tuple
        For each level (rows of a group, groups of a step, steps of a chunk): the matrix from what is added to the state in each
        place to the state before each and after all.
    down : tuple
        For each level: the matrix from the state before all to what it is worth before each place and after all.
    """

    project: "NDArray[np.float32]"
    enter: "NDArray[np.float32]"
    signs: "NDArray[np.float32]"
    gain: float
    up: "tuple[NDArray[np.float32], ...]"
    down: "tuple[NDArray[np.float32], ...]"


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
    layout = _layout(sample_rate)
    row = layout.row
    powers = [np.eye(_STATES)]
    for _ in range(row):
        powers.append(a @ powers[-1])
    # What sample i of a row adds to the state behind the row.
    added = np.stack([powers[row - 1 - i] @ b for i in range(row)])
    response = np.array([d] + [c @ powers[i] @ b for i in range(row - 1)])
    output = np.zeros((row + _STATES, row))
    for i in range(row):
        output[i, i:] = response[: row - i]
        output[row:, i] = c @ powers[i]
    gain, weights, vectors = _quadratic_form(output, _state_scale(a, b), _high_gain(a, b, c, d))
    # Columns of zeros make the width a multiple of 8: products of other widths take a quarter longer.
    width = -(-(len(weights) + _STATES) // 8) * 8
    project, enter, signs = np.zeros((row, width)), np.zeros((_STATES, width)), np.zeros(width)
    project[:, : len(weights)] = vectors[:row] * np.sqrt(np.abs(weights))
    project[:, -_STATES:] = added
    enter[:, : len(weights)] = vectors[row:] * np.sqrt(np.abs(weights))
    signs[: len(weights)] = np.sign(weights)
    signs = np.tile(signs, layout.rows * layout.groups)
    step, up, down = powers[row], [], []
    for places in (layout.rows, layout.groups, layout.steps):
        up.append(_prefix(step, places))
        down.append(np.concatenate([np.linalg.matrix_power(step, k).T for k in range(places + 1)], axis=1))
        step = np.linalg.matrix_power(step, places)
    single = [np.ascontiguousarray(table, np.float32) for table in (project, enter, signs, *up, *down)]
    return _Tables(single[0], single[1], single[2], gain, tuple(single[3:6]), tuple(single[6:9]))


def _high_gain(a: "Array", b: "Array", c: "Array", d: float) -> float:
    """Return the filter's power gain in the upper half of the spectrum: the middle of its range there."""
    unit = np.exp(1j * np.linspace(0.35 * np.pi, np.pi, 200))[:, None, None]
    gains = np.abs(d + np.linalg.solve(unit * np.eye(_STATES) - a, b[:, None])[:, :, 0] @ c) ** 2
    return float(gains.min() + gains.max()) / 2


def _state_scale(a: "Array", b: "Array") -> "Array":
    """Return a triangular factor of the covariance of the states for loud bass."""
    # The covariance for white noise solves W = A W A' + B B' (Lyapunov's equation).
    white = np.linalg.solve(np.eye(_STATES**2) - np.kron(a, a), np.outer(b, b).reshape(-1)).reshape(_STATES, _STATES)
    return np.asarray(np.linalg.cholesky((white + white.T) / 2 * _BOOST))


def _quadratic_form(output: "Array", scale: "Array", gain: float) -> "tuple[float, Array, Array]":
    """Return (gain, weights, vectors): the power of a row's output as a sum of squares.

    sum(y^2) = gain * sum(x^2) + sum over j of weights[j] * ((x, s) . vectors[:, j])^2, for a row x and the state s before it.
    """
    row = output.shape[1]
    scaled = np.eye(row + _STATES)
    scaled[row:, row:] = scale.T
    rest = scaled @ output @ output.T @ scaled.T
    rest[:row, :row] -= gain * np.eye(row)
    weights, vectors = np.linalg.eigh(rest)
    kept = np.abs(weights) > _NEGLIGIBLE
    vectors = vectors[:, kept]
    vectors[row:] = np.linalg.solve(scale.T, vectors[row:])
    return gain, weights[kept], vectors


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


class KWeightedPower:
    """The power of the K-weighted signal of one or several channels.

    Parameters
    ----------
    sample_rate : int
        Hz.
    channels : int

    Attributes
    ----------
    hop : int
        Samples a step of 100 ms; at rates that cannot be divided so, the nearest that can.
    chunk : int
        Samples that are taken at once: some whole steps.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._tables = _tables(float(sample_rate))
        layout = self._layout = _layout(float(sample_rate))
        self.hop = layout.row * layout.rows * layout.groups
        self.chunk = self.hop * layout.steps
        self._values = np.empty((channels, self.chunk // layout.row, self._tables.project.shape[1]), np.float32)
        self._entering = np.empty_like(self._values)
        self._state = np.zeros((channels, _STATES), np.float32)

    def measure(self, chunk: "NDArray[np.float32]") -> "NDArray[np.float64]":
        """Return the sum of the squared weighted samples of every step, shape (channels, steps).

        Parameters
        ----------
        chunk : ndarray, shape (channels, chunk)
            The next samples, every channel contiguous.
        """
        tables, layout, values = self._tables, self._layout, self._values
        count = len(chunk)
        steps = chunk.reshape(count, layout.steps, self.hop)
        np.matmul(chunk.reshape(count, -1, layout.row), tables.project, out=values)
        # Four floats as one complex number: copied in one stride.
        added = values.view(np.complex128)[:, :, -1].copy().view(np.float32)
        values += np.matmul(self._states(added).reshape(count, -1, _STATES), tables.enter, out=self._entering)
        np.square(values, out=values)
        rest = values.reshape(count, layout.steps, -1) @ tables.signs
        power = tables.gain * np.vecdot(steps, steps).astype(np.float64) + rest
        # Rounding may leave less than nothing of a signal that the filter takes out.
        return np.asarray(np.maximum(power, 0.0))

    def _states(self, added: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Return the state before every row from what each row adds to it, and keep that after the last."""
        levels = []
        for places, up in zip(self._layout[1:], self._tables.up, strict=True):
            inner = added.reshape(-1, places * _STATES) @ up
            levels.append(inner)
            added = inner[:, -_STATES:]
        state = self._state
        for inner, down in zip(reversed(levels), reversed(self._tables.down), strict=True):
            inner += state.reshape(-1, _STATES) @ down
            if inner is levels[-1]:
                self._state = inner[:, -_STATES:].copy()
            state = inner[:, :-_STATES]
        return state
