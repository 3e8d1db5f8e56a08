"""A constant tempo's exact period, and how well a track keeps to it."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from map4_pipeline.audio.spectra import RHYTHM_FPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Multiples of the beat rate that are looked at, with their weights: eighths and sixteenths go on where beats pause.
_HARMONICS = np.array([1, 2, 3, 4])
WEIGHTS = np.array([1.0, 1.0, 0.5, 1.0])
#: Seconds summed into one complex amplitude: short enough for a tempo 0.4% off, long enough to hold two beats at 40 BPM.
BLOCK = 4.0
#: How far from the given tempo the exact one is sought.
_SPREAD = 0.004
#: Coherence from which a track is on a grid: of 640 rendered items, 95% of those in one tempo had 0.86 or more, 95% of the
#: drifting ones 0.55 or less.
COHERENT = 0.7


@dataclass(frozen=True, slots=True)
class Grid:
    """A constant tempo and how well the onsets keep to it.

    Attributes
    ----------
    bpm : float
    coherence : float
        In [0, 1]: length of the sum of the blocks' complex amplitudes over the sum of their lengths. 1 where every onset sits on
        one grid from the first to the last.
    """

    bpm: float
    coherence: float


def amplitudes(envelope: "NDArray[np.float32]", bpm: float) -> "NDArray[np.complex128]":
    """Return the envelope's complex amplitude at multiples of the beat rate, block by block of 4 s, shape (harmonics, blocks)."""
    width = min(len(envelope), int(BLOCK * RHYTHM_FPS))
    count = len(envelope) // width
    pieces = envelope[: count * width].reshape(count, width).astype(np.float64)
    turn = 2 * math.pi * _HARMONICS * bpm / 60 / RHYTHM_FPS
    angle = np.arange(width)[:, None] * turn
    start = np.exp(-1j * turn[:, None] * np.arange(count) * width)
    return np.asarray((pieces @ np.cos(angle) - 1j * (pieces @ np.sin(angle))).T * start)


def fit_grid(envelope: "NDArray[np.float32]", bpm: float) -> Grid:
    """Find the constant tempo within 0.4% of `bpm` to which the onsets of the whole envelope keep best.

    The phases of the blocks' amplitudes turn steadily where the tempo is a little off: the rate of turning that a Fourier
    transform over the blocks finds is the correction.
    """
    blocks = amplitudes(envelope, bpm)
    count = blocks.shape[1]
    total = float((WEIGHTS @ np.abs(blocks)).sum())
    if count < 3 or total <= 0:
        return Grid(bpm, 0.0)
    seconds = int(BLOCK * RHYTHM_FPS) / RHYTHM_FPS
    size = 1 << math.ceil(math.log2(16 * count))
    reach = _SPREAD * bpm / 60
    offset = np.linspace(-reach, reach, 2 * math.ceil(reach * seconds * count * 50) + 1)
    score = np.zeros(len(offset))
    for harmonic, weight, row in zip(_HARMONICS, WEIGHTS, blocks, strict=True):
        magnitude = np.abs(scipy.fft.fftshift(scipy.fft.fft(row, size)))
        score += weight * np.interp(offset * harmonic * seconds * size + size // 2, np.arange(size), magnitude)
    best = int(np.argmax(score))
    if not 0 < best < len(offset) - 1:
        return Grid(bpm, 0.0)
    left, middle, right = score[best - 1 : best + 2]
    shift = 0.5 * (left - right) / min(left - 2 * middle + right, -1e-12)
    exact = 60 * (bpm / 60 + offset[best] + float(np.clip(shift, -0.5, 0.5)) * (offset[1] - offset[0]))
    return Grid(float(exact), min(1.0, float(score[best]) / total))
