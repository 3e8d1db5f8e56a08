"""The power of the K-weighted signal of BS.1770, step by step of 100 ms.

The weighting is a recursion: every sample waits for the last. So eight stretches of a channel are filtered at once, side by side
in a vector of doubles, each from `LEAD` before its first sample on, when what the filter held before has died away to 3e-7.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.vector_code import DOUBLE, SINGLE, Routine, Term, address, compiled, vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: Seconds of a step, and those that are filtered before the first of a stretch.
STEP, LEAD = 0.1, 0.075
#: Stretches that are filtered at once.
_STRETCHES = 8
#: Steps of a stretch: the more, the less is filtered twice; and the samples a stretch may have for them.
_STEPS, _MOST_SAMPLES = 4, 20000


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


@compiled("aannnna")
def _weigh(routine: Routine) -> None:
    """Write down the filter: its coefficients, samples, samples of a stretch, of the lead, of a step; steps; the powers."""
    coefficients, samples, stretch, lead, step, steps, powers = routine.arguments
    wide = vector(DOUBLE, _STRETCHES)
    b0, b1, b2, a1, a2, c1, c2 = (routine.load(coefficients, _STRETCHES * k, wide) for k in range(7))
    zero = routine.constant(0.0, wide)
    starts = [stretch * k for k in range(_STRETCHES)]

    def sample(index: Term, s1: Term, s2: Term, t1: Term, t2: Term, power: Term) -> list[Term]:
        """Filter a sample of every stretch: two biquads in transposed direct form II; the second's b is (1, -2, 1)."""
        x = routine.packed([routine.load(samples, start + index, SINGLE) for start in starts]).widened()
        y = b0 * x + s1
        z = y + t1
        return [b1 * x + s2 - a1 * y, b2 * x - a2 * y, t2 - 2.0 * y - c1 * z, y - c2 * z, power + z * z]

    def whole_step(index: Term, start: Term, *states: Term) -> list[Term]:
        *states_after, power = routine.loop(start, start + step, 1, [*states, zero], sample)
        routine.store(power, powers, index * _STRETCHES)
        return [start + step, *states_after]

    states = routine.loop(0, lead, 1, [zero] * 5, sample)[:4]
    routine.loop(0, steps, 1, [lead, *states], whole_step)


class KWeightedPower:
    """The power of the K-weighted signal of one or several channels.

    Parameters
    ----------
    sample_rate : int
        Hz.

    Attributes
    ----------
    hop : int
        Samples a step of 100 ms.
    lead : int
        Samples before a chunk that are filtered too.
    chunk : int
        Samples that are measured at once: some whole steps.
    """

    def __init__(self, sample_rate: int) -> None:
        self.hop = round(sample_rate * STEP)
        self.lead = round(sample_rate * LEAD)
        self._steps = min(_STEPS, max(1, _MOST_SAMPLES // self.hop))
        self.chunk = _STRETCHES * self._steps * self.hop
        (b, a), (_, c) = biquads(sample_rate)
        self._coefficients = np.repeat(np.concatenate([b, a[1:], c[1:]]), _STRETCHES)
        self._powers = np.empty((self._steps, _STRETCHES))
        self._places = address(self._coefficients), address(self._powers)

    def measure(self, samples: "NDArray[np.float32]") -> "NDArray[np.float64]":
        """Return the sum of the squared weighted samples of every step, shape (channels, steps).

        Parameters
        ----------
        samples : ndarray, shape (channels, lead + chunk)
            The next samples behind the `lead` before them, every channel contiguous.
        """
        if samples.dtype != np.float32 or samples.strides[1] != samples.itemsize or samples.shape[1] != self.lead + self.chunk:
            raise ValueError("a chunk is single precision, contiguous, with its lead")
        coefficients, powers = self._places
        out = np.empty((len(samples), _STRETCHES * self._steps))
        for channel, found in zip(samples, out, strict=True):
            _weigh(coefficients, address(channel), self._steps * self.hop, self.lead, self.hop, self._steps, powers)
            found[:] = self._powers.T.reshape(-1)
        return out
