"""The two shared short-time spectra from which everything but loudness is measured.

Rhythm wants short frames (46 ms every 11.6 ms), harmony long ones (372 ms every 186 ms). Both are computed block by block from
the 22.05 kHz mono signal; what is kept is small: 40 mel bands a short frame and the spectral peaks of a long one.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

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
#: Bands that are computed together: with two sums, products as wide as the processor likes them.
_PARTS = (slice(0, 22), slice(22, 36), slice(36, MEL_BANDS))
#: Range of spectral peaks, Hz: below, bins are too wide for semitones; above, partials blur the chroma.
PEAK_LOW, PEAK_HIGH = 40.0, 2000.0
#: A peak stands this far (natural log of magnitude) over the mean of the 61 bins round it.
_PEAK_PROMINENCE = 0.7
_WHITEN_BINS = 61
#: Rhythm frames (6 minutes) by which the array of mel bands grows.
_GROWTH = 1 << 15
#: Samples before a block that its first frames may need.
_HISTORY = TONAL_FRAME
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


class _Part(NamedTuple):
    """Some neighbouring mel bands: the bins they lie in, and the matrix from these bins' power to them and to two sums."""

    bins: slice
    bands: slice
    matrix: "NDArray[np.float32]"


@lru_cache(maxsize=1)
def _rhythm_projection() -> tuple[_Part, ...]:
    """Return the matrices that turn a power frame into mel bands, its sum, and its sum weighted by frequency.

    Most of one matrix would be zeros. The last two columns of each part hold the bins that no part before has counted.
    """
    frequency = np.arange(RHYTHM_FRAME // 2 + 1) * SAMPLE_RATE / RHYTHM_FRAME
    edge = mel_edges()
    rise = (frequency - edge[:-2, None]) / np.diff(edge)[:-1, None]
    fall = (edge[2:, None] - frequency) / np.diff(edge)[1:, None]
    bank = np.maximum(0, np.minimum(rise, fall))
    # Bands narrower than a bin would be empty: give those the nearest bin.
    for band in np.flatnonzero(bank.sum(axis=1) < 1e-3):
        bank[band, round(edge[band + 1] * RHYTHM_FRAME / SAMPLE_RATE)] = 1.0
    bank /= bank.sum(axis=1, keepdims=True)
    parts, counted = [], 0
    for bands in _PARTS:
        used = np.flatnonzero(bank[bands].any(axis=0))
        first, end = min(counted, int(used[0])), len(frequency) if bands.stop == MEL_BANDS else int(used[-1]) + 1
        matrix = np.concatenate([bank[bands, first:end], np.ones((1, end - first)), frequency[None, first:end]]).T.copy()
        matrix[: counted - first, -2:] = 0.0
        parts.append(_Part(slice(first, end), bands, matrix.astype(np.float32)))
        counted = end
    return tuple(parts)


@lru_cache(maxsize=4)
def hann(length: int) -> "NDArray[np.float32]":
    """Return the periodic Hann window."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length), dtype=np.float32)


def frame_view(signal: "NDArray[np.float32]", length: int, hop: int) -> "NDArray[np.float32]":
    """Return overlapping frames of a contiguous signal as a read-only view, shape (count, length)."""
    count = 1 + (len(signal) - length) // hop
    step = signal.itemsize
    # As stride_tricks.as_strided, in a tenth of the time.
    view: NDArray[np.float32] = np.ndarray((count, length), signal.dtype, signal, 0, (step * hop, step))
    view.flags.writeable = False
    return view


class SpectraBuilder:
    """Takes the 22.05 kHz mono signal in pieces of any size and builds `Spectra`."""

    def __init__(self) -> None:
        #: The last samples of the blocks before, and the block that is being filled. Zeros before the first sample centre rhythm
        #: frame 0 on it.
        self._samples = np.zeros(_HISTORY + BLOCK, np.float32)
        self._filled = 0
        #: How many samples before the block the next frames begin.
        self._rhythm_left, self._tonal_left = RHYTHM_FRAME // 2, 0
        self._bands = np.empty((0, MEL_BANDS + 2), np.float32)
        self._band_count = 0
        self._peaks: list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]] = []
        self._envelope: list[NDArray[np.float32]] = []
        self._tonal_count = 0
        self.samples = 0

    def feed(self, signal: "NDArray[np.float32]") -> None:
        """Take the next piece of signal."""
        while len(signal):
            count = min(len(signal), BLOCK - self._filled)
            start = _HISTORY + self._filled
            self._samples[start : start + count] = signal[:count]
            signal = signal[count:]
            self._filled += count
            if self._filled == BLOCK:
                self._process()

    def finish(self) -> Spectra:
        """Process what is left and return the result."""
        if self._filled:
            self._process()
        rest = self._samples[:_HISTORY]
        self._rhythm(np.concatenate([rest[_HISTORY - self._rhythm_left :], np.zeros(RHYTHM_FRAME // 2, np.float32)]))
        if not self._tonal_count:
            self._tonal(np.pad(rest[_HISTORY - self._tonal_left :], (0, TONAL_FRAME - self._tonal_left)))
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

    def _process(self) -> None:
        """Measure the block as far as it is filled; all but the last are full."""
        count, self._filled = self._filled, 0
        self.samples += count
        end = _HISTORY + count
        self._rhythm_left = self._rhythm(self._samples[_HISTORY - self._rhythm_left : end])
        self._tonal_left = self._tonal(self._samples[_HISTORY - self._tonal_left : end])
        block = self._samples[_HISTORY:end]
        pieces = block[: count // ENVELOPE_HOP * ENVELOPE_HOP].reshape(-1, ENVELOPE_HOP)
        if len(pieces):
            self._envelope.append(np.maximum(pieces.max(axis=1), -pieces.min(axis=1)))
        if count % ENVELOPE_HOP:
            self._envelope.append(np.abs(block[-(count % ENVELOPE_HOP) :]).max(keepdims=True))
        self._samples[:_HISTORY] = self._samples[count : count + _HISTORY].copy()

    def _rhythm(self, data: "NDArray[np.float32]") -> int:
        """Measure all whole short frames; return how many samples are left for the next."""
        if len(data) < RHYTHM_FRAME:
            return len(data)
        frames = frame_view(data, RHYTHM_FRAME, RHYTHM_HOP)
        spectrum = scipy.fft.rfft(frames * hann(RHYTHM_FRAME), axis=1, overwrite_x=True)
        power = spectrum.real**2
        power += spectrum.imag**2
        # One array that grows in place: pieces put together at the end would need twice the memory.
        end = self._band_count + len(frames)
        if end > len(self._bands):
            self._bands.resize((end + _GROWTH, MEL_BANDS + 2), refcheck=False)
        out = self._bands[self._band_count : end]
        out[:, MEL_BANDS:] = 0.0
        for part in _rhythm_projection():
            found = power[:, part.bins] @ part.matrix
            out[:, part.bands] = found[:, :-2]
            out[:, MEL_BANDS:] += found[:, -2:]
        self._band_count = end
        return len(data) - len(frames) * RHYTHM_HOP

    def _tonal(self, data: "NDArray[np.float32]") -> int:
        """Find the spectral peaks of all whole long frames; return how many samples are left for the next.

        Magnitudes are whitened by their own running mean over 61 bins (in log), so that a loud bass does not outweigh the
        chords; a peak's frequency comes from a parabola through three log magnitudes (Smith & Serra 1987).
        """
        if len(data) < TONAL_FRAME:
            return len(data)
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
        is_peak = np.zeros(white.shape, bool)
        is_peak[:, 1:-1] = (inner > white[:, :-2]) & (inner >= white[:, 2:]) & (inner > _PEAK_PROMINENCE)
        # Flat places: taking by rows and columns needs twice the time.
        place = np.flatnonzero(is_peak)
        row, column = np.divmod(place, np.intp(white.shape[1]))
        left, middle, right = (log.ravel().take(place + k) for k in (-1, 0, 1))
        shift = 0.5 * (left - right) / np.minimum(left - 2 * middle + right, np.float32(-1e-6))
        frequency = (column + low + np.clip(shift, -0.5, 0.5)) * np.float32(SAMPLE_RATE / TONAL_FRAME)
        frame = (row + self._tonal_count).astype(np.int32)
        self._peaks.append((frequency.astype(np.float32), white.ravel().take(place), spectrum.ravel().take(place), frame))
        self._tonal_count += len(frames)
        return len(data) - len(frames) * TONAL_HOP
