"""The largest value between samples: BS.1770-5 annex 2, at four times the sampling rate."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.vector_code import SINGLE, Routine, Term, address, compiled, vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTH = 8
#: Fractions of a sample at which the signal is looked at.
_FRACTIONS = (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75)
#: Samples to each side that make up a value between two.
TAPS = 12
#: Samples that a channel has at the least.
SHORTEST = 2 * TAPS + _WIDTH


@compiled("annaaa")
def _largest(routine: Routine) -> None:
    """Write down the search.

    Its arguments: a channel; the first place looked at, and the one behind the last, at least eight on; the level from which a
    sample peak is looked at, eight times; for every sample round a peak, its weight in the values at the fractions, filled up
    to eight; the largest absolute value found, or 0.
    """
    r = routine
    samples, start, end, level, weights, found = r.arguments
    kind = vector(SINGLE, _WIDTH)
    limit, zero = r.load(level, 0, kind), r.constant(0.0, kind)

    def size(index: Term) -> Term:
        x = r.load(samples, index, kind)
        return x.max(zero - x)

    def look(index: Term, largest: Term) -> list[Term]:
        # The last eight are looked at in any case, some of them for the second time.
        index = index.min(end - _WIDTH)
        x = size(index)
        peaks = ((x >= limit) & (x >= size(index - 1)) & (x >= size(index + 1))).bits()

        def interpolate(_: Term, left: Term, largest: Term) -> list[Term]:
            around = index + left.lowest() - TAPS
            values = [r.spread(samples, around + k, kind) * r.load(weights, k * _WIDTH, kind) for k in range(2 * TAPS + 1)]
            while len(values) > 1:
                values = [a + b for a, b in zip(values[::2], values[1::2], strict=False)] + values[len(values) // 2 * 2 :]
            return [left & (left - 1), largest.max(values[0]).max(zero - values[0])]

        return r.loop(0, peaks.ones(), 1, [peaks, largest], interpolate)[1:]

    r.store(r.loop(start, end, _WIDTH, [zero], look)[0].folded(Term.max), found, 0)


def largest_between(channel: "NDArray[np.float32]", level: float) -> float:
    """Return the largest absolute value between the samples round a peak of the samples, 0 where no peak reaches the level.

    Parameters
    ----------
    channel : ndarray, shape (n,), float32
        Contiguous, n from `SHORTEST`. Its first and last 12 samples are no peaks.
    level : float
        Absolute value from which a sample peak, no smaller than both its neighbours, is looked at.
    """
    if channel.dtype != np.float32 or not channel.flags.c_contiguous or len(channel) < SHORTEST:
        raise ValueError(f"a channel is single precision, contiguous, and has {SHORTEST} samples or more")
    limit, found = np.repeat(np.float32(level), _WIDTH), np.empty(1, np.float32)
    _largest(address(channel), TAPS, len(channel) - TAPS, address(limit), address(_weights()), address(found))
    return float(found[0])


@lru_cache(maxsize=1)
def _weights() -> "NDArray[np.float32]":
    """Return windowed-sinc weights, shape (2 taps + 1, 8), for the values at the fractions, and none for the rest."""
    position = np.arange(-TAPS, TAPS + 1)[:, None] - np.array(_FRACTIONS)[None, :]
    window = 0.5 + 0.5 * np.cos(np.pi * np.clip(position / (TAPS + 1), -1, 1))
    kernel = np.sinc(position) * window
    return np.pad(kernel / kernel.sum(axis=0), ((0, 0), (0, _WIDTH - len(_FRACTIONS)))).astype(np.float32)
