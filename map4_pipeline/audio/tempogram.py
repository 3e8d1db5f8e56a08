"""Tempograms: how strongly onsets repeat at every tempo, window by window."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from map4_pipeline.audio.spectra import RHYTHM_FPS, frame_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Tempi scored, BPM, equally spaced in log.
GRID = np.exp(np.linspace(math.log(40), math.log(250), 700))
#: Analysis window, seconds; windows are a quarter of it apart.
WINDOW = 12.0
#: Windows transformed together: bounds the memory for mixes of hours.
_WINDOWS_AT_ONCE = 64
#: Multiples of the beat that a comb adds up, with their weights, over the autocorrelation and over the spectrum.
_LAG_COMB = ((1, 1.0), (2, 0.8), (4, 0.6))
_RATE_COMB = ((1, 1.0), (2, 0.5), (4, 0.3))


@dataclass(frozen=True, slots=True)
class Tempogram:
    """Periodicity of an onset envelope.

    Attributes
    ----------
    score : ndarray, shape (windows, 700), float32
        How well each tempo of `GRID` fits each window.
    autocorrelation : ndarray, shape (lags,)
        Mean over the windows, a lag a rhythm frame, 1 at lag 0.
    magnitude : ndarray, shape (bins,)
        Mean magnitude spectrum of the envelope up to four times the fastest tempo, each window's largest value 1.
    bin_bpm : float
        BPM a bin of `magnitude`.
    """

    score: "NDArray[np.float32]"
    autocorrelation: "NDArray[np.float64]"
    magnitude: "NDArray[np.float64]"
    bin_bpm: float

    def at_lag(self, beats: float, bpm: float) -> float:
        """Return the autocorrelation's largest value within 2% of a number of beats."""
        return _largest_near(self.autocorrelation, beats * 60 / bpm * RHYTHM_FPS)

    def at_rate(self, ratio: float, bpm: float) -> float:
        """Return the magnitude's largest value within 2% of a multiple of the tempo."""
        return _largest_near(self.magnitude, ratio * bpm / self.bin_bpm)


def _largest_near(values: "NDArray[np.float64]", position: float) -> float:
    first, last = math.floor(position * 0.98), math.ceil(position * 1.02) + 1
    return float(values[first:last].max()) if first < len(values) - 1 else 0.0


def interpolate(matrix: "NDArray[np.float32]", position: "NDArray[np.float64]") -> "NDArray[np.float32]":
    """Return rows of `matrix` interpolated linearly at fractional columns, clipped to the last one."""
    return _between_rows(matrix.T, position).T


def _between_rows(table: "NDArray[np.float32]", position: "NDArray[np.float64]") -> "NDArray[np.float32]":
    """Return `table` interpolated linearly at fractional rows, clipped to the last one."""
    position = np.minimum(position, len(table) - 2)
    index = position.astype(int)
    part = (position - index).astype(np.float32)[:, None]
    found = table.take(index, axis=0)
    found *= 1 - part
    following = table.take(index + 1, axis=0)
    following *= part
    found += following
    return np.asarray(found)


def tempogram(envelope: "NDArray[np.float32]") -> Tempogram:
    """Measure the periodicity of a normalised onset envelope, shape (n,), 86 values a second, in windows of 12 s, 3 s apart.

    The product of a comb over the autocorrelation (which favours slow tempi) and one over the magnitude spectrum (which favours
    fast ones) peaks at the beat. Source: Grosche & Mueller 2011; Peeters 2007.
    """
    length = min(len(envelope), int(WINDOW * RHYTHM_FPS))
    frames = frame_view(np.ascontiguousarray(envelope), length, max(1, length // 4))
    window = np.hanning(length).astype(np.float32)
    # An autocorrelation shrinks with the lag because less overlaps; far out, undoing that would only raise noise.
    bias = np.maximum(1 - np.arange(length, dtype=np.float32) / length, np.float32(0.2))
    size = 1 << math.ceil(math.log2(2 * length)) + 1
    bins = GRID / 60 * size / RHYTHM_FPS
    lags = 60 / GRID * RHYTHM_FPS
    used = min(size // 2 + 1, math.ceil(1.02 * 4 * float(bins[-1])) + 3)
    score = np.empty((len(frames), len(GRID)), np.float32)
    total_auto, total_magnitude = np.zeros(length), np.zeros(used)
    for begin in range(0, len(frames), _WINDOWS_AT_ONCE):
        piece = frames[begin : begin + _WINDOWS_AT_ONCE] * window
        piece -= piece.mean(axis=1, keepdims=True)
        spectrum = scipy.fft.rfft(piece, size, axis=1)
        power = spectrum.real**2
        power += spectrum.imag**2
        auto = scipy.fft.irfft(power, axis=1)[:, :length]
        auto /= auto[:, :1] + np.float32(1e-9)
        auto /= bias
        magnitude = np.sqrt(power[:, :used])
        magnitude /= np.sqrt(power.max(axis=1, keepdims=True)) + np.float32(1e-9)
        total_auto += auto.sum(axis=0, dtype=np.float64)
        total_magnitude += magnitude.sum(axis=0, dtype=np.float64)
        # A window a column: what is taken for one tempo then lies in a row.
        auto, magnitude = np.ascontiguousarray(auto.T), np.ascontiguousarray(magnitude.T)
        comb = sum(weight * np.maximum(_between_rows(auto, lags * k), 0) for k, weight in _LAG_COMB)
        rates = sum(weight * _between_rows(magnitude, bins * k) for k, weight in _RATE_COMB)
        score[begin : begin + len(piece)] = np.asarray(comb * rates).T
    return Tempogram(score, total_auto / len(frames), total_magnitude / len(frames), 60 * RHYTHM_FPS / size)
