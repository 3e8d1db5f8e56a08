"""Frame-level features for research: what the engine measures from, 86 times a second, as plain arrays."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.engine import read_spectra
from map4_pipeline.audio.key_evidence import MIN_FOCUS
from map4_pipeline.audio.rhythm import onset_strength
from map4_pipeline.audio.spectra import RHYTHM_FPS, RHYTHM_FRAME, SAMPLE_RATE, TONAL_FRAME, TONAL_HOP, Spectra
from map4_pipeline.audio.tonality import chroma_frames, track_tuning

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The lowest level that is told, dBFS: under the noise of 20 bits.
FLOOR_DBFS = -120.0
#: Power of a frame (sum of its squared bins) over its mean square: half of N times the sum of the squared Hann window, 3/8 N.
_POWER_PER_MEAN_SQUARE = 3 / 16 * RHYTHM_FRAME**2


@dataclass(frozen=True, slots=True)
class Frames:
    """Features of every frame of a track: 46 ms of the mono mix at 22.05 kHz, every 11.6 ms.

    Attributes
    ----------
    time : ndarray, shape (n,), float64
        Middle of the frame, seconds from the first decoded sample.
    onset, onset_low, onset_high : ndarray, shape (n,), float32
        Onset strength over all bands, up to 400 Hz and from 2.3 kHz: rise over two frames (23 ms) of log(1 + 100 p), p a band's
        power over the mean power of the track's bands, mean of the bands; at least 0, no unit, the same at any level (Boeck &
        Widmer 2013). It is largest 8 to 17 ms before an attack sounds, which a frame hears before its middle; beat times have
        that taken out.
    level_dbfs : ndarray, shape (n,), float32
        RMS level under the Hann window, dB under a full-scale square wave; a full-scale sine has -3. At least -120.
    centroid_hz : ndarray, shape (n,), float32
        Spectral centroid weighted by power, Hz; 0 in digital silence.
    chroma : ndarray, shape (n, 12), float32
        Harmonic pitch class profile (Gomez 2006) of the peaks from 60 Hz to 1.2 kHz, from C up, corrected for the track's tuning;
        of the long frame (372 ms every 186 ms) whose middle is nearest, so about 16 rows are alike. The largest value of a row is
        1, however weak the sound; zeros where there are no peaks, and all along a track whose peaks keep to no tuning (noise).
    mel : ndarray, shape (n, 40), float32
        Mean power |X|^2 of the bins in each band, by triangular weights that add up to 1; bands equally spaced on O'Shaughnessy's
        mel scale from 30 Hz to 10.8 kHz; X the transform of 1024 samples in [-1, 1] under a Hann window, not normalised.
    """

    time: "NDArray[np.float64]"
    onset: "NDArray[np.float32]"
    onset_low: "NDArray[np.float32]"
    onset_high: "NDArray[np.float32]"
    level_dbfs: "NDArray[np.float32]"
    centroid_hz: "NDArray[np.float32]"
    chroma: "NDArray[np.float32]"
    mel: "NDArray[np.float32]"


def frame_features(path: str | os.PathLike[str]) -> Frames:
    """Decode an audio file and return its frame-level features, also of audio under a second.

    A track of four minutes has 20,700 frames in 5 MB.

    Raises
    ------
    AudioError
        When the file cannot be decoded, or has no sample.
    """
    return frames_in(read_spectra(path))


def frames_in(spectra: Spectra) -> Frames:
    """Return the frame-level features in a track's spectra."""
    onsets = onset_strength(spectra.mel)
    time = np.arange(len(spectra.mel)) / RHYTHM_FPS
    mean_square = np.maximum(spectra.power / np.float32(_POWER_PER_MEAN_SQUARE), np.float32(10 ** (FLOOR_DBFS / 10)))
    tonal = _chroma(spectra)
    middle = TONAL_FRAME / 2 / SAMPLE_RATE
    nearest = np.rint((time - middle) * (SAMPLE_RATE / TONAL_HOP)).astype(np.int64)
    return Frames(
        time=time,
        onset=onsets.full,
        onset_low=onsets.low,
        onset_high=onsets.high,
        # The logarithm of single precision may be a bit under the floor's.
        level_dbfs=np.maximum(np.asarray(10 * np.log10(mean_square), dtype=np.float32), np.float32(FLOOR_DBFS)),
        centroid_hz=spectra.centroid,
        chroma=tonal[np.clip(nearest, 0, len(tonal) - 1)],
        mel=spectra.mel,
    )


def _chroma(spectra: Spectra) -> "NDArray[np.float32]":
    """Return the chroma of every tonal frame, also of what is too short for a key."""
    tuning, focus = track_tuning(spectra)
    if focus < MIN_FOCUS:
        return np.zeros((spectra.tonal_frames, 12), np.float32)
    return chroma_frames(spectra, tuning)
