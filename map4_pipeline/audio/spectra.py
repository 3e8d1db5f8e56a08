"""The two shared short-time spectra from which everything but loudness is measured.

Rhythm wants short frames (46 ms every 11.6 ms), harmony long ones (372 ms every 186 ms). Both are computed block by block from
the 22.05 kHz mono signal; what is kept is small: 40 mel bands a short frame and the spectral peaks of a long one.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.fft

from map4_pipeline.audio.decimation import decimated
from map4_pipeline.audio.mel_frames import BATCH, FRAME, HOP, MelFrames
from map4_pipeline.audio.tonal_peaks import PeakFinder

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Hz; the rate everything is analysed at.
SAMPLE_RATE = 22050
#: Samples a block. Fixed, so that the shapes of all products, and so every rounding, do not depend on the decoder's blocks.
BLOCK = 1 << 16
RHYTHM_FRAME, RHYTHM_HOP = FRAME, HOP
TONAL_FRAME, TONAL_HOP = 8192, 4096
#: Frames a second of the rhythm spectrum.
RHYTHM_FPS = SAMPLE_RATE / RHYTHM_HOP
#: Frames a second of the tonal spectrum.
TONAL_FPS = SAMPLE_RATE / TONAL_HOP
MEL_BANDS = 40
MEL_LOW, MEL_HIGH = 30.0, 10800.0
#: Range of spectral peaks, Hz: below, bins are too wide for semitones; above, partials blur the chroma.
PEAK_LOW, PEAK_HIGH = 40.0, 2000.0
#: Rhythm frames (25 minutes) and peaks (about 40) by which the arrays grow that hold them.
_FRAMES_ROOM, _PEAKS_ROOM = 1 << 17, 1 << 19
#: The tonal spectrum is taken of every 4th sample; the filter before it is flat up to `PEAK_HIGH`.
_DECIMATION, _REACH = 4, 48
#: Hz between the bins of the tonal spectrum.
_TONAL_BIN = SAMPLE_RATE / TONAL_FRAME
#: Samples before a block that its first frames may need.
_HISTORY = TONAL_FRAME + 2 * _REACH
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


class _Growing:
    """Rows that are added to. One array that grows in place: pieces put together at the end would need twice the memory."""

    def __init__(self, room: int, dtype: type, *columns: int) -> None:
        self._room = room
        self._rows: NDArray[Any] = np.empty((room, *columns), dtype)
        self.count = 0

    def add(self, rows: "NDArray[np.generic]") -> None:
        """Add rows behind the others."""
        self.more(len(rows))[:] = rows

    def more(self, count: int) -> "NDArray[Any]":
        """Return so many rows more, behind the others, to be filled before the next are asked for."""
        start, self.count = self.count, self.count + count
        if self.count > len(self._rows):
            self._resize(self.count + self._room)
        return self._rows[start : self.count]

    def taken(self, count: int) -> "NDArray[Any]":
        """Return the first rows, and keep none."""
        self._resize(count)
        rows, self._rows, self.count = self._rows, self._rows[:0].copy(), 0
        return rows

    def _resize(self, count: int) -> None:
        self._rows.resize((count, *self._rows.shape[1:]), refcheck=False)


class SpectraBuilder:
    """Takes the 22.05 kHz mono signal in pieces of any size and builds `Spectra`."""

    def __init__(self) -> None:
        #: The last samples of the blocks before, and the block that is being filled. Zeros before the first sample centre rhythm
        #: frame 0 on it.
        self._samples = np.zeros(_HISTORY + BLOCK, np.float32)
        self._filled = 0
        #: How many samples before the block the next frames begin.
        self._rhythm_left, self._tonal_left = RHYTHM_FRAME // 2, _REACH
        self._frames = MelFrames(mel_edges(), SAMPLE_RATE, hann(RHYTHM_FRAME))
        self._finder = PeakFinder(int(PEAK_LOW / _TONAL_BIN), int(PEAK_HIGH / _TONAL_BIN), _TONAL_BIN)
        self._bands = _Growing(_FRAMES_ROOM, np.float32, MEL_BANDS + 2)
        #: Of peaks: Hz, whitened weight, magnitude, frame.
        self._peaks = [_Growing(_PEAKS_ROOM, kind) for kind in (np.float32, np.float32, np.float32, np.int32)]
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
        last = rest[_HISTORY - self._rhythm_left :]
        count = self._bands.count + max(0, (len(last) - RHYTHM_FRAME // 2) // RHYTHM_HOP + 1)
        self._rhythm(np.concatenate([last, np.zeros(RHYTHM_FRAME + BATCH * RHYTHM_HOP, np.float32)]))
        missing = _REACH if self._tonal_count else TONAL_FRAME + 2 * _REACH - self._tonal_left
        self._tonal(np.concatenate([rest[_HISTORY - self._tonal_left :], np.zeros(missing, np.float32)]))
        bands = self._bands.taken(count)
        frequency, weight, magnitude, frame = (column.taken(column.count) for column in self._peaks)
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
        """Measure all whole short frames, by eight; return how many samples are left for the next."""
        count = max(0, (len(data) - RHYTHM_FRAME) // RHYTHM_HOP + 1) // BATCH * BATCH
        if not count:
            return len(data)
        self._frames.measure(data[: RHYTHM_FRAME + RHYTHM_HOP * (count - 1)], self._bands.more(count))
        return len(data) - count * RHYTHM_HOP

    def _tonal(self, data: "NDArray[np.float32]") -> int:
        """Find the spectral peaks of all whole long frames; return how many samples are left for the next."""
        spare = len(data) - TONAL_FRAME - 2 * _REACH
        if spare < 0:
            return len(data)
        length, hop = TONAL_FRAME // _DECIMATION, TONAL_HOP // _DECIMATION
        frames = frame_view(decimated(data, _DECIMATION, _REACH, spare // TONAL_HOP * hop + length), length, hop)
        found = self._finder.find(scipy.fft.rfft(frames * hann(length), axis=1, overwrite_x=True))
        for kept, values in zip(self._peaks, (*found[:3], found.spectrum + np.int32(self._tonal_count)), strict=True):
            kept.add(values)
        self._tonal_count += len(frames)
        return len(data) - len(frames) * TONAL_HOP
