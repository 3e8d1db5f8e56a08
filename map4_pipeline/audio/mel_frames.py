"""Mel bands of short frames: window, transform, power and sums of eight frames at once, in the processor's first cache.

The transform is the textbook's: a real frame of 1024 is a complex one of 512, taken apart three times by eight
(Cooley & Tukey 1965; Sorensen et al. 1987).
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.vector_code import INT, SINGLE, Routine, Term, address, columns_of, compiled, vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

Complex = tuple[Term, Term]

#: Frames that are taken at once.
BATCH = 8
FRAME, HOP = 1024, 256
_POINTS = FRAME // 2
#: Where the factors of the second step, and those for real frames, begin.
_SECOND = _POINTS // 8 * 7
_REAL = _SECOND + 8 * 7
_KIND = vector(SINGLE, BATCH)


def _add(a: Complex, b: Complex) -> Complex:
    return a[0] + b[0], a[1] + b[1]


def _subtract(a: Complex, b: Complex) -> Complex:
    return a[0] - b[0], a[1] - b[1]


def _times(a: Complex, b: Complex) -> Complex:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _of_four(x: list[Complex]) -> list[Complex]:
    """Return the transform of four values."""
    even, odd = _add(x[0], x[2]), _add(x[1], x[3])
    first, (re, im) = _subtract(x[0], x[2]), _subtract(x[1], x[3])
    return [
        _add(even, odd),
        (first[0] + im, first[1] - re),
        _subtract(even, odd),
        (first[0] - im, first[1] + re),
    ]


def _of_eight(x: list[Complex]) -> list[Complex]:
    """Return the transform of eight values."""
    half = math.sqrt(0.5)
    sums = [_add(x[k], x[k + 4]) for k in range(4)]
    a, b, c, d = (_subtract(x[k], x[k + 4]) for k in range(4))
    # Turned by 0 to 3 eighths.
    turned = [a, ((b[0] + b[1]) * half, (b[1] - b[0]) * half), (c[1], c[0] * -1.0), ((d[1] - d[0]) * half, (d[0] + d[1]) * -half)]
    even, odd = _of_four(sums), _of_four(turned)
    return [value for pair in zip(even, odd, strict=True) for value in pair]


@compiled("anaaaanaaaa")
def _measure(routine: Routine) -> None:
    """Write down the pass.

    Its arguments: samples, how many batches; window, factors of the transform, room for its points and for the power of bins;
    how many stretches the corners of the bands make, the first and last bin of each, weights of a bin (in the band that rises
    there, in the one that falls, its frequency); room for the results of a batch; results.
    """
    r = routine
    samples, batches, window, turns, points, powers, stretches, bins, weights, batch_out, out = r.arguments
    zero = r.constant(0.0, _KIND)

    def load(place: Term | int) -> Complex:
        at = place * (2 * BATCH)
        return r.load(points, at, _KIND), r.load(points, at + BATCH, _KIND)

    def store(value: Complex, place: Term) -> None:
        for part in (0, 1):
            r.store(value[part], points, place * (2 * BATCH) + part * BATCH)

    def factor(at: Term) -> Complex:
        return r.spread(turns, at + at, _KIND), r.spread(turns, at + at + 1, _KIND)

    def eight(values: list[Complex], at: Term | None, first: Term, apart: int) -> None:
        """Transform eight values, turn all but the first by the factors from `at` on, and store them."""
        for k, value in enumerate(_of_eight(values)):
            store(_times(value, factor(at + (k - 1))) if at is not None and k else value, first + k * apart)

    def windowed(start: Term) -> "Callable[..., list[Term]]":
        def body(n: Term) -> list[Term]:
            """Lay eight samples of every frame side by side, two of a frame as a complex point."""
            shape = r.load(window, n, _KIND)
            columns = columns_of([r.load(samples, start + n + frame * HOP, _KIND) * shape for frame in range(BATCH)])
            for k, column in enumerate(columns):
                r.store(column, points, n * BATCH + k * BATCH)
            return []

        return body

    def across(j: Term) -> list[Term]:
        """Transform across the eighths of the frames."""
        eight([load(j + _POINTS // 8 * k) for k in range(8)], j * 7, j, _POINTS // 8)
        return []

    def inside(k: Term) -> list[Term]:
        """Transform across the eighths of an eighth, and then within these."""

        def middle(j: Term) -> list[Term]:
            eight([load(k + j + 8 * m) for m in range(8)], j * 7 + _SECOND, k + j, 8)
            return []

        def last(j: Term) -> list[Term]:
            eight([load(k + j * 8 + m) for m in range(8)], None, k + j * 8, 1)
            return []

        r.loop(0, 8, 1, [], middle)
        r.loop(0, 8, 1, [], last)
        return []

    def power(k: Term) -> list[Term]:
        """Take bins k and 512 - k of the real frames out of the points, which stand in the order of turned octal digits."""
        other = r.integer(_POINTS) - k
        a, b = (load(((n & 7) << 6) | (n & 56) | (n >> 6)) for n in (k, other))
        even = a[0] + b[0], a[1] - b[1]
        odd = _times((a[1] + b[1], b[0] - a[0]), factor(k + _REAL))
        for (re, im), n in ((_add(even, odd), k), (_subtract(even, odd), other)):
            r.store((re * re + im * im) * 0.25, powers, n * BATCH)
        return []

    def between(stretch: Term, rising: Term, whole: Term, by_frequency: Term) -> list[Term]:
        """Sum up the bins between two corners: the band that falls there is then whole."""
        first, end = r.load(bins, stretch + stretch, INT), r.load(bins, stretch + stretch + 1, INT)

        def add(k: Term, *sums: Term) -> list[Term]:
            x = r.load(powers, k * BATCH, _KIND)
            up, down, hertz = (r.spread(weights, k * 3 + part, _KIND) for part in range(3))
            return [total + term for total, term in zip(sums, (x * up, x * down, x, x * hertz), strict=True)]

        up, down, some, weighted = r.loop(first, end, 1, [zero] * 4, add)
        r.store(rising + down, batch_out, stretch * BATCH)
        return [up, whole + some, by_frequency + weighted]

    # Before the second corner and behind the last, no band falls: what stands there is not kept.
    columns = stretches - 1

    def lay(row: Term) -> Callable[[Term], list[Term]]:
        def body(k: Term) -> list[Term]:
            """Lay eight results of every frame in its row."""
            found = columns_of([r.load(batch_out, (k + (2 + part)) * BATCH, _KIND) for part in range(BATCH)])
            for frame, values in enumerate(found):
                r.store(values, out, row + columns * frame + k)
            return []

        return body

    def batch(_: Term, start: Term, row: Term) -> list[Term]:
        r.loop(0, FRAME, BATCH, [], windowed(start))
        r.loop(0, _POINTS // 8, 1, [], across)
        r.loop(0, _POINTS, _POINTS // 8, [], inside)
        r.loop(1, _POINTS // 2, 1, [], power)
        (re, im), middle = load(0), load(_POINTS // 2 >> 6)
        for value, n in ((re + im, 0), (re - im, _POINTS)):
            r.store(value * value, powers, n * BATCH)
        r.store(middle[0] * middle[0] + middle[1] * middle[1], powers, _POINTS // 2 * BATCH)
        _, whole, by_frequency = r.loop(0, stretches, 1, [zero] * 3, between)
        r.store(whole, batch_out, (stretches - 1) * BATCH)
        r.store(by_frequency, batch_out, stretches * BATCH)
        last = columns - BATCH
        r.loop(0, last, BATCH, [], lay(row))
        lay(row)(last)
        return [start + BATCH * HOP, row + columns * BATCH]

    r.loop(0, batches, 1, [r.integer(0)] * 2, batch)


@lru_cache(maxsize=1)
def _turns() -> "Array":
    """Return the factors of the transform: of both steps that need some, and those that make bins of real frames."""
    k = np.arange(1, 8)
    first = np.outer(np.arange(_POINTS // 8), k) / _POINTS
    second = np.outer(np.arange(8), k) / (_POINTS // 8)
    real = np.arange(_POINTS // 2) / FRAME
    angle = -2 * np.pi * np.concatenate([first.reshape(-1), second.reshape(-1), real])
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


class MelFrames:
    """Measures frames of 1024 samples, 256 apart.

    Parameters
    ----------
    corners : ndarray, shape (bands + 2,)
        Hz, rising: a band is a triangle that rises from its first corner to the next and falls to the one after; its weights
        add up to 1.
    sample_rate : float
        Hz.
    window : ndarray, shape (1024,), float32
    """

    def __init__(self, corners: "NDArray[np.float64]", sample_rate: float, window: "Array") -> None:
        if len(corners) < BATCH:
            raise ValueError(f"there are {BATCH - 2} bands or more")
        if window.shape != (FRAME,):
            raise ValueError(f"a window has {FRAME} samples")
        self._window = np.ascontiguousarray(window, np.float32)
        self._turns = _turns()
        hertz = np.arange(_POINTS + 1) * sample_rate / FRAME
        width = np.diff(corners)
        rising = np.maximum(0, (hertz - corners[:-2, None]) / width[:-1, None])
        bank = np.maximum(0, np.minimum(rising, (corners[2:, None] - hertz) / width[1:, None]))
        total = bank.sum(axis=1, keepdims=True)
        if not total.all():
            raise ValueError("a band lies between two bins")
        bank /= total
        stretch = np.searchsorted(corners, hertz, side="right")
        self._stretches = len(corners) + 1
        number = np.arange(self._stretches)
        ends = [np.searchsorted(stretch, number, side=side) for side in ("left", "right")]
        self._bins = np.stack(ends, axis=1).astype(np.int64)
        # Two rows of nothing on either side: no band falls before the second corner or rises behind the last but one.
        padded = np.pad(bank, ((2, 2), (0, 0)))
        place = np.arange(len(hertz))
        self._weights = np.stack([padded[stretch + 1, place], padded[stretch, place], hertz], axis=1).astype(np.float32)
        self._points = np.empty((FRAME, BATCH), np.float32)
        self._powers = np.empty((_POINTS + 1, BATCH), np.float32)
        tables = self._window, self._turns, self._points, self._powers
        self._batch = np.empty((self._stretches + 1, BATCH), np.float32)
        rest = address(self._bins), address(self._weights), address(self._batch)
        self._places = *map(address, tables), self._stretches, *rest

    def measure(self, samples: "Array", out: "Array") -> None:
        """Measure the power in every band of each frame, that of the whole frame, and the latter times its mean frequency (Hz).

        Parameters
        ----------
        samples : ndarray, shape (1024 + 256 (n - 1),)
            Of `n` frames, a multiple of `BATCH`.
        out : ndarray, shape (n, bands + 2)
            Is given the results.
        """
        count = (len(samples) - FRAME) // HOP + 1
        if count % BATCH or samples.dtype != np.float32 or not samples.flags.c_contiguous:
            raise ValueError("frames are measured by eight, of single precision")
        if out.shape != (count, self._stretches - 1) or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise ValueError("results are of single precision, contiguous, a row for each frame")
        _measure(address(samples), count // BATCH, *self._places, address(out))
