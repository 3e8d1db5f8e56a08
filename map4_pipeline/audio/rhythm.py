"""Onset envelopes: what tempo, beats and the rhythmic descriptors are measured from."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.events import AFTER, BEFORE, DECIMATION, EVENTS, STRUCK, changes, struck
from map4_pipeline.audio.logarithms import log_of
from map4_pipeline.audio.spectra import RHYTHM_FPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Mel bands (of 40) counted as low (centres up to 393 Hz: kick and bass) and high (from 2.3 kHz: hats, cymbals, snare).
LOW_BANDS = slice(0, 6)
HIGH_BANDS = slice(20, 40)
#: Power over the track's mean is compressed as log(1 + c x): c = 100 keeps quiet hats and flattens crescendi.
_COMPRESSION = 100.0
#: Frames at once: a multiple of `DECIMATION`, small enough that what is computed on the way stays in the cache.
_CHUNK = 1 << 12
#: Lowest mel bands (up to 4.6 kHz) whose change is followed.
_FOLLOWED = slice(0, 28)


@dataclass(frozen=True, slots=True)
class Onsets:
    """Onset strength a rhythm frame (86 a second), half-wave rectified spectral flux of the compressed mel bands.

    Attributes
    ----------
    full, low, high : ndarray, shape (n,), float32
        Mean flux over all, the low and the high bands. Value k belongs to frame k.
    events : ndarray, shape (n, 7), float32
        What is struck, and how the sound changes: the columns are `events.EVENTS`.
    """

    full: "NDArray[np.float32]"
    low: "NDArray[np.float32]"
    high: "NDArray[np.float32]"
    events: "NDArray[np.float32]"


def onset_strength(mel: "NDArray[np.float32]") -> Onsets:
    """Measure onset strength from mel power, shape (n, 40).

    Flux over two frames (23 ms), so that the rise of a note that starts between frames is seen whole. Source: Boeck & Widmer 2013
    (log-filtered flux), with the compression scaled to the track's mean power so that the level does not matter.
    """
    mean = float((mel @ np.ones(mel.shape[1], np.float32)).mean(dtype=np.float64)) / mel.shape[1]
    scale = np.float32(_COMPRESSION / (mean + 1e-20))
    count = len(mel)
    strength = np.zeros((3, count), np.float32)
    means = _band_means(mel.shape[1])
    events = np.zeros((count, len(EVENTS)), np.float32)
    coarse = np.zeros((count // DECIMATION, _FOLLOWED.stop), np.float32)
    for start in range(0, count, _CHUNK):
        begin, end = max(0, start - BEFORE), min(count, start + _CHUNK)
        log = compressed(mel[begin : end + AFTER], scale)
        # At the ends of the track, the frame at the end stands for what lies beyond.
        missing = (BEFORE - (start - begin), end + AFTER - min(count, end + AFTER))
        padded = np.pad(log, (missing, (0, 0)), mode="edge")
        events[start:end, :STRUCK] = struck(padded)
        whole = (end - start) // DECIMATION * DECIMATION
        inner = padded[BEFORE : BEFORE + whole, _FOLLOWED]
        first = start // DECIMATION
        total = sum(inner[k::DECIMATION] for k in range(DECIMATION))
        coarse[first : first + whole // DECIMATION] = total / np.float32(DECIMATION)
        log = log[: end - begin]
        flux = log[2:] - log[:-2]
        np.maximum(flux, 0, out=flux)
        # The difference of frames k+1 and k-1 is the rise at k.
        strength[:, begin + 1 : begin + 1 + len(flux)] = (flux @ means).T
    events[:, STRUCK:] = changes(coarse, count)
    full, low, high = strength
    return Onsets(full, low, high, events)


@lru_cache(maxsize=1)
def _band_means(bands: int) -> "NDArray[np.float32]":
    """Return the matrix that averages all, the low and the high bands, shape (bands, 3): a product takes a tenth of the time."""
    matrix = np.zeros((bands, 3), np.float32)
    for column, chosen in enumerate((slice(0, bands), LOW_BANDS, HIGH_BANDS)):
        matrix[chosen, column] = 1 / len(range(*chosen.indices(bands)))
    return matrix


def compressed(power: "NDArray[np.float32]", scale: "NDArray[np.float32] | np.float32") -> "NDArray[np.float32]":
    """Return log(1 + scale * power). Not by log1p: what it does better is below 1e-7."""
    return log_of(power * scale, addition=1.0)


def normalised(envelope: "NDArray[np.float32]", seconds: float = 1.0) -> "NDArray[np.float32]":
    """Return an onset envelope less its running mean over `seconds`, half-wave rectified and divided by its standard deviation.

    Parameters
    ----------
    envelope : ndarray, shape (n,)
        86 values a second (`RHYTHM_FPS`), such as `Onsets.full`. The result has its shape, no unit, and is at least 0.
    seconds : float
        Width of the running mean.
    """
    width = int(RHYTHM_FPS * seconds) | 1
    padded = np.pad(envelope.astype(np.float64), (width // 2 + 1, width // 2))
    total = np.cumsum(padded)
    mean = (total[width:] - total[:-width]) / width
    out = np.maximum(envelope - mean[: len(envelope)], 0)
    return np.asarray(out / (out.std() + 1e-9), dtype=np.float32)
