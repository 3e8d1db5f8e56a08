"""The two shared short-time spectra from which everything but loudness is measured.

Rhythm wants short frames (46 ms every 11.6 ms), harmony long ones (372 ms every 186 ms). Both are computed block by block from
the 22.05 kHz mono signal; what is kept is small: 40 mel bands a short frame and the spectral peaks of a long one.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Hz; the rate everything is analysed at.
SAMPLE_RATE = 22050
#: Samples a block. Fixed, so that the shapes of all products, and so every rounding, do not depend on the decoder's blocks.
BLOCK = 1 << 16
RHYTHM_FRAME, RHYTHM_HOP = 1024, 256
TONAL_FRAME, TONAL_HOP = 8192, 4096
#: Frames a second of the rhythm spectrum.
RHYTHM_FPS = SAMPLE_RATE / RHYTHM_HOP
#: Frames a second of the tonal spectrum.
TONAL_FPS = SAMPLE_RATE / TONAL_HOP
MEL_BANDS = 40
MEL_LOW, MEL_HIGH = 30.0, 10800.0
#: Range of spectral peaks, Hz: below, bins are too wide for semitones; above, partials blur the chroma.
PEAK_LOW, PEAK_HIGH = 40.0, 2000.0
#: A peak stands this far (natural log of magnitude) over the mean of the 61 bins round it.
_PEAK_PROMINENCE = 0.7
_WHITEN_BINS = 61
#: Rhythm frames (6 minutes) by which the array of mel bands grows.
_GROWTH = 1 << 15
#: Samples a value of the drawn waveform's raw envelope.
ENVELOPE_HOP = 1024


@dataclass(frozen=True, slots=True)
class Spectra:
    """What is kept of the spectra.

    Attributes
    ----------
    mel : ndarray, shape (n, 40), float32
        Power in mel bands, a rhythm frame a row; frame k is centred on sample 256 k.
    power, centroid : ndarray, shape (n,), float32
        Power of a frame, and its spectral centroid in Hz.
    peak_frequency, peak_weight, peak_magnitude : ndarray, float32
        Hz, whitened weight and magnitude of the spectral peaks of all tonal frames.
    peak_frame : ndarray, int32
        The tonal frame of each peak.
    tonal_frames : int
    envelope : ndarray, float32
        Largest absolute sample of every 1024.
    samples : int
        Length of the 22.05 kHz signal.
    """

    mel: "NDArray[np.float32]"
    power: "NDArray[np.float32]"
    centroid: "NDArray[np.float32]"
    peak_frequency: "NDArray[np.float32]"
    peak_weight: "NDArray[np.float32]"
    peak_magnitude: "NDArray[np.float32]"
    peak_frame: "NDArray[np.int32]"
    tonal_frames: int
    envelope: "NDArray[np.float32]"
    samples: int


def mel_edges(bands: int = MEL_BANDS, low: float = MEL_LOW, high: float = MEL_HIGH) -> "NDArray[np.float64]":
    """Return `bands` + 2 corner frequencies (Hz), equally spaced in mel: m = 1127 ln(1 + f/700) (O'Shaughnessy 1987)."""
    mel = np.linspace(1127 * np.log1p(low / 700), 1127 * np.log1p(high / 700), bands + 2)
    return np.asarray(700 * np.expm1(mel / 1127))


@lru_cache(maxsize=1)
def _rhythm_projection() -> "NDArray[np.float32]":
    """Return the (513, 42) matrix that turns a power frame into mel bands, its sum, and its sum weighted by frequency."""
    frequency = np.arange(RHYTHM_FRAME // 2 + 1) * SAMPLE_RATE / RHYTHM_FRAME
    edge = mel_edges()
    rise = (frequency - edge[:-2, None]) / np.diff(edge)[:-1, None]
    fall = (edge[2:, None] - frequency) / np.diff(edge)[1:, None]
    bank = np.maximum(0, np.minimum(rise, fall))
    # Bands narrower than a bin would be empty: give those the nearest bin.
    for band in np.flatnonzero(bank.sum(axis=1) < 1e-3):
        bank[band, round(edge[band + 1] * RHYTHM_FRAME / SAMPLE_RATE)] = 1.0
    bank /= bank.sum(axis=1, keepdims=True)
    return np.concatenate([bank, np.ones((1, len(frequency))), frequency[None]]).T.astype(np.float32).copy()


@lru_cache(maxsize=4)
def hann(length: int) -> "NDArray[np.float32]":
    """Return the periodic Hann window."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length), dtype=np.float32)


def frame_view(signal: "NDArray[np.float32]", length: int, hop: int) -> "NDArray[np.float32]":
    """Return overlapping frames of a contiguous signal as a read-only view, shape (count, length)."""
    count = 1 + (len(signal) - length) // hop
    step = signal.strides[0]
    return np.lib.stride_tricks.as_strided(signal, (count, length), (step * hop, step), writeable=False)


class SpectraBuilder:
    """Takes the 22.05 kHz mono signal in pieces of any size and builds `Spectra`."""

    def __init__(self) -> None:
        self._pending: list[NDArray[np.float32]] = []
        self._pending_length = 0
        # Half a frame of zeros in front centres rhythm frame 0 on the first sample.
        self._rhythm_tail = np.zeros(RHYTHM_FRAME // 2, np.float32)
        self._tonal_tail = np.zeros(0, np.float32)
        self._envelope_tail = np.zeros(0, np.float32)
        self._bands = np.empty((0, MEL_BANDS + 2), np.float32)
        self._band_count = 0
        self._peaks: list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]] = []
        self._envelope: list[NDArray[np.float32]] = []
        self._tonal_count = 0
        self.samples = 0

    def feed(self, signal: "NDArray[np.float32]") -> None:
        """Take the next piece of signal."""
        if not len(signal):
            return
        self._pending.append(signal)
        self._pending_length += len(signal)
        if self._pending_length >= BLOCK:
            data = np.concatenate(self._pending)
            whole = len(data) // BLOCK * BLOCK
            for start in range(0, whole, BLOCK):
                self._process(data[start : start + BLOCK])
            self._pending = [data[whole:].copy()]
            self._pending_length = len(data) - whole

    def finish(self) -> Spectra:
        """Process what is left and return the result."""
        if self._pending_length:
            self._process(np.concatenate(self._pending))
        self._rhythm(np.concatenate([self._rhythm_tail, np.zeros(RHYTHM_FRAME // 2, np.float32)]))
        if not self._tonal_count:
            self._tonal(np.pad(self._tonal_tail, (0, max(0, TONAL_FRAME - len(self._tonal_tail)))))
        if len(self._envelope_tail):
            self._envelope.append(np.abs(self._envelope_tail).max(keepdims=True))
        bands = self._bands
        bands.resize((self._band_count, MEL_BANDS + 2), refcheck=False)
        self._bands = np.empty((0, MEL_BANDS + 2), np.float32)
        columns = list(zip(*self._peaks, strict=True))
        self._peaks = []
        frequency, weight, magnitude, frame = (np.concatenate(column) for column in columns)
        power = bands[:, MEL_BANDS].copy()
        return Spectra(
            mel=bands[:, :MEL_BANDS],
            power=power,
            centroid=np.asarray(bands[:, MEL_BANDS + 1] / np.maximum(power, np.float32(1e-20)), dtype=np.float32),
            peak_frequency=frequency,
            peak_weight=weight,
            peak_magnitude=magnitude,
            peak_frame=frame,
            tonal_frames=self._tonal_count,
            envelope=np.concatenate(self._envelope),
            samples=self.samples,
        )

    def _process(self, block: "NDArray[np.float32]") -> None:
        self.samples += len(block)
        data = np.concatenate([self._rhythm_tail, block])
        self._rhythm_tail = self._rhythm(data)
        data = np.concatenate([self._tonal_tail, block])
        self._tonal_tail = self._tonal(data)
        data = np.concatenate([self._envelope_tail, block]) if len(self._envelope_tail) else block
        whole = len(data) // ENVELOPE_HOP * ENVELOPE_HOP
        pieces = data[:whole].reshape(-1, ENVELOPE_HOP)
        if len(pieces):
            self._envelope.append(np.maximum(pieces.max(axis=1), -pieces.min(axis=1)))
        self._envelope_tail = data[whole:].copy()

    def _rhythm(self, data: "NDArray[np.float32]") -> "NDArray[np.float32]":
        if len(data) < RHYTHM_FRAME:
            return data
        frames = frame_view(data, RHYTHM_FRAME, RHYTHM_HOP)
        spectrum = scipy.fft.rfft(frames * hann(RHYTHM_FRAME), axis=1)
        power = spectrum.real**2
        power += spectrum.imag**2
        # One array that grows in place: pieces put together at the end would need twice the memory.
        end = self._band_count + len(frames)
        if end > len(self._bands):
            self._bands.resize((end + _GROWTH, MEL_BANDS + 2), refcheck=False)
        self._bands[self._band_count : end] = power @ _rhythm_projection()
        self._band_count = end
        return data[len(frames) * RHYTHM_HOP :].copy()

    def _tonal(self, data: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Find the spectral peaks of long frames.

        Magnitudes are whitened by their own running mean over 61 bins (in log), so that a loud bass does not outweigh the
        chords; a peak's frequency comes from a parabola through three log magnitudes (Smith & Serra 1987).
        """
        if len(data) < TONAL_FRAME:
            return data
        frames = frame_view(data, TONAL_FRAME, TONAL_HOP)
        low, high = int(PEAK_LOW * TONAL_FRAME / SAMPLE_RATE), int(PEAK_HIGH * TONAL_FRAME / SAMPLE_RATE)
        spectrum = np.abs(scipy.fft.rfft(frames * hann(TONAL_FRAME), axis=1)[:, low:high])
        log = np.log(spectrum + np.float32(1e-6))
        half = _WHITEN_BINS // 2
        # As np.pad(mode="edge"), in a fifth of the time.
        padded = np.concatenate([np.repeat(log[:, :1], half + 1, axis=1), log, np.repeat(log[:, -1:], half, axis=1)], axis=1)
        total = np.cumsum(padded, axis=1)
        white = log - (total[:, _WHITEN_BINS:] - total[:, :-_WHITEN_BINS]) / np.float32(_WHITEN_BINS)
        inner = white[:, 1:-1]
        is_peak = (inner > white[:, :-2]) & (inner >= white[:, 2:]) & (inner > _PEAK_PROMINENCE)
        row, column = np.nonzero(is_peak)
        column += 1
        left, middle, right = log[row, column - 1], log[row, column], log[row, column + 1]
        shift = 0.5 * (left - right) / np.minimum(left - 2 * middle + right, np.float32(-1e-6))
        frequency = (column + low + np.clip(shift, -0.5, 0.5)) * np.float32(SAMPLE_RATE / TONAL_FRAME)
        magnitude = spectrum[row, column]
        self._peaks.append(
            (frequency.astype(np.float32), white[row, column], magnitude, (row + self._tonal_count).astype(np.int32))
        )
        self._tonal_count += len(frames)
        return data[len(frames) * TONAL_HOP :].copy()
