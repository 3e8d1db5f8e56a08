"""EBU R128 loudness, loudness range and true peak from blocks of source-rate samples.

Loudness needs the power of the K-weighted signal in steps of 100 ms, from `k_weighting`. The spectrum at the source's rate,
which shows low-pass filtering by lossy codecs, is taken from a few frames of every block: where it ends is the same in all.

Sources: ITU-R BS.1770-5 (K weighting, gating, true peak), EBU R 128, EBU Tech 3342 (range).
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import soxr

from map4_pipeline.audio.k_weighting import KWeightedPower

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: BS.1770-5: loudness = OFFSET + 10 log10(sum of weighted mean squares), LUFS.
OFFSET = -0.691
#: BS.1770-5 absolute gate, LUFS.
ABSOLUTE_GATE = -70.0
#: ReplayGain 2.0: the level that players bring tracks to, LUFS.
REPLAYGAIN_REFERENCE = -18.0
#: Channel weights by number of channels, in WAVE order (L R C LFE Ls Rs; four are L R Ls Rs). BS.1770-5 table 3: no LFE.
_SURROUND = {
    4: (1.0, 1.0, 1.41, 1.41),
    5: (1.0, 1.0, 1.0, 1.41, 1.41),
    6: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41),
    7: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41, 1.41),
    8: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41, 1.41, 1.41),
}
#: Rates (Hz) at which the meter filters; others it brings to 48 kHz. Above, the samples come from one-bit audio (DSD), whose
#: noise lies over what is heard and is louder than the music. Below, the K weighting's shelf comes near the highest frequency.
_LOWEST_RATE, _HIGHEST_RATE = 8000, 192000
_OWN_RATE = 48000
#: Width of the bands in which the spectrum at the source's rate is kept, Hz.
BAND_HZ = 100
#: Frames of a block from which that spectrum is taken, and their length.
_BAND_FRAMES, _BAND_SECONDS = 4, 0.15
#: Fractions of a sample at which BS.1770-5 annex 2 (4x oversampling) looks for the peak.
_FRACTIONS = (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75)
_TAPS = 12


class LoudnessMeter:
    """Accumulates blocks and answers at the end.

    Parameters
    ----------
    sample_rate : int
        Hz.
    channels : int
    extras : bool
        Whether the true peak and the bands are measured beside loudness.

    Attributes
    ----------
    sample_peak, true_peak : float
        Largest absolute value, of the samples and of the 4x oversampled signal (full scale is 1).
    """

    def __init__(self, sample_rate: int, channels: int, *, extras: bool = True) -> None:
        self.sample_rate = sample_rate
        self._extras = extras
        self._resampler: soxr.ResampleStream | None = None
        if not _LOWEST_RATE <= sample_rate <= _HIGHEST_RATE:
            self._resampler = soxr.ResampleStream(sample_rate, _OWN_RATE, channels, dtype="float32", quality="HQ")
            sample_rate = _OWN_RATE
        self._weighted = KWeightedPower(sample_rate, channels)
        self._gains = np.array(_SURROUND.get(channels, (1.0,) * channels), dtype=np.float64)
        #: Samples that came last; those from `_done` to `_end` still wait to fill a chunk.
        self._samples = np.empty((channels, 0), np.float32)
        self._done = self._end = 0
        self._steps: list[NDArray[np.float64]] = []
        length = max(16, round(self.sample_rate * _BAND_SECONDS))
        ramp = np.sin((np.arange(length // 3) + 0.5) / (length // 3) * np.pi / 2)
        self._window = np.concatenate([ramp, np.ones(length - 2 * len(ramp)), ramp[::-1]]).astype(np.float32)
        self._fft = scipy.fft.next_fast_len(length, real=True)
        starts = np.arange(0, max(1, self.sample_rate // 2 - BAND_HZ + 1), BAND_HZ)
        self._band_edges = np.rint(starts * self._fft / self.sample_rate).astype(int)
        self._bands: list[NDArray[np.float32]] = []
        self.sample_peak = 0.0
        self.true_peak = 0.0
        self._kernel = _interpolation_kernel()

    def feed(self, planes: "NDArray[np.float32]", peak: float) -> "NDArray[np.float32]":
        """Take the next block, shape (channels, frames), in any memory layout, whose largest absolute sample is `peak`.

        Returns
        -------
        ndarray, shape (channels, frames)
            The block with every channel contiguous. It is overwritten by the next call.
        """
        self.sample_peak = max(self.sample_peak, peak)
        if self._resampler is None:
            planes = self._weigh(planes)
        else:
            planes = np.ascontiguousarray(planes)
            self._weigh(self._resampler.resample_chunk(np.ascontiguousarray(planes.T)).T)
        if self._extras:
            self._measure_peak(planes, peak)
            self._measure_bands(planes)
        return planes

    def _weigh(self, planes: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Lay samples behind those that wait and measure all whole chunks; return where they lie."""
        chunk, waiting = self._weighted.chunk, self._samples[:, self._done : self._end]
        left = waiting.shape[1]
        end = left + planes.shape[1]
        if end > self._samples.shape[1]:
            self._samples = np.empty((len(planes), end + chunk), np.float32)
        self._samples[:, :left] = waiting
        placed = self._samples[:, left:end]
        placed[:] = planes
        self._done, self._end = 0, end
        while self._end - self._done >= chunk:
            power = self._weighted.measure(self._samples[:, self._done : self._done + chunk])
            self._steps.append(self._gains @ power)
            self._done += chunk
        return placed

    def _measure_bands(self, planes: "NDArray[np.float32]") -> None:
        """Keep the mean power of a few frames, evenly spread over the block, in bands of 100 Hz."""
        length = len(self._window)
        spare = planes.shape[1] - length
        if spare < 0:
            planes = np.pad(planes, ((0, 0), (0, -spare)))
        starts = np.linspace(0, max(0, spare), _BAND_FRAMES).astype(int)
        frames = np.concatenate([planes[:, start : start + length] for start in starts])
        spectrum = scipy.fft.rfft(frames * self._window, self._fft, axis=1)
        power = (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
        self._bands.append((np.add.reduceat(power, self._band_edges) / len(frames)).astype(np.float32))

    def _measure_peak(self, planes: "NDArray[np.float32]", peak: float) -> None:
        """Follow the true peak: interpolate only round those sample peaks that could exceed the largest value so far.

        Between samples, music exceeds its nearest sample peak by well under 3 dB, so sample peaks below 0.7 of the highest are
        left out; of the others the 128 highest of a block are looked at.
        """
        self.true_peak = max(self.true_peak, peak)
        if peak < 0.7 * self.sample_peak or peak == 0.0 or planes.shape[1] <= 2 * _TAPS + 2:
            return
        threshold = np.float32(0.7 * self.sample_peak)
        for column in planes:
            size = np.abs(column)
            near = np.flatnonzero(size[_TAPS:-_TAPS] >= threshold) + _TAPS
            near = near[(size[near] >= size[near - 1]) & (size[near] >= size[near + 1])]
            if len(near) > 128:
                # A cubic through four samples tells where a peak hides between two.
                p, a, x, b, q = (column[near + k] for k in (-2, -1, 0, 1, 2))
                score = np.maximum(np.abs(9 * (a + x) - p - b), np.abs(9 * (x + b) - a - q))
                near = near[np.argpartition(score, -128)[-128:]]
            if len(near):
                around = column[near[:, None] + np.arange(-_TAPS, _TAPS + 1)]
                self.true_peak = max(self.true_peak, float(np.abs(around.astype(np.float64) @ self._kernel).max()))

    def finish(self) -> None:
        """Count what is left over; a last step that is more than half full counts, so that the track's end is not lost."""
        if self._resampler is not None:
            self._weigh(self._resampler.resample_chunk(np.zeros((0, len(self._gains)), np.float32), last=True).T)
        left = self._end - self._done
        if left:
            padded = np.zeros((len(self._gains), self._weighted.chunk), np.float32)
            padded[:, :left] = self._samples[:, self._done : self._end]
            steps, rest = divmod(left, self._weighted.hop)
            power = self._gains @ self._weighted.measure(padded)
            self._steps.append(power[: steps + (rest > self._weighted.hop // 2)])
            self._done = self._end

    def steps(self) -> "NDArray[np.float64]":
        """Return the weighted mean square of every 100 ms step."""
        return np.concatenate(self._steps) / self._weighted.hop if self._steps else np.zeros(0)

    def bands(self) -> "NDArray[np.float32]":
        """Return the mean power of all channels in bands of 100 Hz at the source's rate, a row for each block taken."""
        return np.stack(self._bands) if self._bands else np.zeros((0, len(self._band_edges)), np.float32)


def windowed_loudness(steps: "NDArray[np.float64]", width: int) -> "NDArray[np.float64]":
    """Return the loudness (LUFS) of every run of `width` 100 ms steps: 4 is momentary, 30 is short-term."""
    if len(steps) < width:
        return np.zeros(0)
    total = np.cumsum(np.concatenate([[0.0], steps]))
    return np.asarray(OFFSET + 10 * np.log10(np.maximum((total[width:] - total[:-width]) / width, 1e-20)))


def _mean_loudness(values: "NDArray[np.float64]") -> float:
    return OFFSET + 10 * math.log10(float(np.mean(10 ** ((values - OFFSET) / 10))))


def integrated_loudness(steps: "NDArray[np.float64]") -> float | None:
    """Return the gated loudness in LUFS, None for silence.

    BS.1770-5: blocks of 400 ms, 75% overlap, gates at -70 LUFS and 10 LU under the ungated loudness.
    """
    blocks = windowed_loudness(steps, 4)
    blocks = blocks[blocks > ABSOLUTE_GATE]
    if not len(blocks):
        return None
    blocks = blocks[blocks > _mean_loudness(blocks) - 10]
    return _mean_loudness(blocks)


def replay_gain(lufs: float) -> float:
    """Return the gain in dB that brings a track to the reference level of ReplayGain 2.0, -18 LUFS (hydrogenaud.io, 2012)."""
    return REPLAYGAIN_REFERENCE - lufs


def loudness_range(steps: "NDArray[np.float64]") -> float | None:
    """Return the loudness range in LU (EBU Tech 3342: 3 s blocks, gates at -70 LUFS and -20 LU, 10th to 95th percentile)."""
    blocks = windowed_loudness(steps, 30)
    blocks = blocks[blocks >= ABSOLUTE_GATE]
    if not len(blocks):
        return None
    blocks = np.sort(blocks[blocks >= _mean_loudness(blocks) - 20])
    last = len(blocks) - 1
    return float(blocks[round(last * 0.95)] - blocks[round(last * 0.10)])


def _interpolation_kernel() -> "NDArray[np.float64]":
    """Return windowed-sinc weights, shape (2 taps + 1, fractions), for values between samples."""
    position = np.arange(-_TAPS, _TAPS + 1)[:, None] - np.array(_FRACTIONS)[None, :]
    window = 0.5 + 0.5 * np.cos(np.pi * np.clip(position / (_TAPS + 1), -1, 1))
    kernel = np.sinc(position) * window
    return np.asarray(kernel / kernel.sum(axis=0))
