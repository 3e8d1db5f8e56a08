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
from map4_pipeline.audio.true_peaks import SHORTEST, largest_between

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
#: Samples of all channels that the meter's memory holds beside those it needs.
_SPARE = 1 << 19


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
    sample_peak, whole_peak, true_peak : float
        Largest absolute value, full scale being 1: of the samples without the offset that was taken out, of the samples with
        it, and of the signal with it, 4x oversampled.
    """

    def __init__(self, sample_rate: int, channels: int, *, extras: bool = True) -> None:
        self.sample_rate = sample_rate
        self._extras = extras
        self._resampler: soxr.ResampleStream | None = None
        if not _LOWEST_RATE <= sample_rate <= _HIGHEST_RATE:
            self._resampler = soxr.ResampleStream(sample_rate, _OWN_RATE, channels, dtype="float32", quality="HQ")
            sample_rate = _OWN_RATE
        self._weighted = KWeightedPower(sample_rate)
        self._gains = np.array(_SURROUND.get(channels, (1.0,) * channels), dtype=np.float64)
        #: Samples as they came, from `_done` to `_end` not yet measured; before them, those that lead to them.
        self._samples = np.zeros((channels, 0), np.float32)
        self._done = self._end = self._weighted.lead
        self._steps: list[NDArray[np.float64]] = []
        length = max(16, round(self.sample_rate * _BAND_SECONDS))
        ramp = np.sin((np.arange(length // 3) + 0.5) / (length // 3) * np.pi / 2)
        self._window = np.concatenate([ramp, np.ones(length - 2 * len(ramp)), ramp[::-1]]).astype(np.float32)
        self._fft = scipy.fft.next_fast_len(length, real=True)
        starts = np.arange(0, max(1, self.sample_rate // 2 - BAND_HZ + 1), BAND_HZ)
        self._band_edges = np.rint(starts * self._fft / self.sample_rate).astype(int)
        self._bands: list[NDArray[np.float32]] = []
        self._planes = np.empty((channels, 0), np.float32)
        self.sample_peak = 0.0
        self.true_peak = 0.0
        self.whole_peak = 0.0

    def room(self, frames: int) -> "NDArray[np.float32]":
        """Return where the next block's channels are to be written before `feed`, shape (channels, frames), each contiguous."""
        if self._resampler is None:
            return self._place(frames)
        if self._planes.shape[1] < frames:
            self._planes = np.empty((len(self._gains), frames), np.float32)
        return self._planes[:, :frames]

    def feed(self, planes: "NDArray[np.float32]", peak: float, offset: "NDArray[np.float32] | None" = None) -> None:
        """Take the next block: what `room` has given, filled, and its largest absolute sample.

        `offset` is what was taken out of each channel beforehand. It is not heard, but it has a part in the true peak.
        """
        self.sample_peak = max(self.sample_peak, peak)
        if self._resampler is None:
            self._weigh(planes.shape[1])
        else:
            self._take(self._resampler.resample_chunk(np.ascontiguousarray(planes.T)).T)
        if self._extras:
            self._measure_bands(planes)
        if offset is not None:
            planes = planes + offset[:, None]
            peak = float(np.abs(planes).max())
        self.whole_peak = max(self.whole_peak, peak)
        if self._extras:
            self._measure_peak(planes, peak)

    def _place(self, frames: int) -> "NDArray[np.float32]":
        """Return the place behind the samples that wait."""
        lead, chunk = self._weighted.lead, self._weighted.chunk
        if self._end + frames > self._samples.shape[1]:
            before, waiting = self._samples, self._end - self._done
            if (needed := lead + chunk + frames) > before.shape[1]:
                # Room for some chunks more, so that samples are seldom moved.
                self._samples = np.zeros((len(self._gains), needed + _SPARE // len(self._gains)), np.float32)
            if before.shape[1]:
                self._samples[:, : lead + waiting] = before[:, self._done - lead : self._end]
            self._done, self._end = lead, lead + waiting
        return self._samples[:, self._end : self._end + frames]

    def _take(self, planes: "NDArray[np.float32]") -> None:
        self._place(planes.shape[1])[:] = planes
        self._weigh(planes.shape[1])

    def _weigh(self, frames: int) -> None:
        """Measure all whole chunks, now that so many samples more have been laid behind those that wait."""
        lead, chunk = self._weighted.lead, self._weighted.chunk
        self._end += frames
        while self._end - self._done >= chunk:
            power = self._weighted.measure(self._samples[:, self._done - lead : self._done + chunk])
            self._steps.append(self._gains @ power)
            self._done += chunk

    def _measure_bands(self, planes: "NDArray[np.float32]") -> None:
        """Keep the mean power of a few frames, evenly spread over the block, in bands of 100 Hz."""
        length = len(self._window)
        spare = planes.shape[1] - length
        if spare < 0:
            planes = np.pad(planes, ((0, 0), (0, -spare)))
        starts = [max(0, spare) * k // (_BAND_FRAMES - 1) for k in range(_BAND_FRAMES)]
        frames = np.empty((_BAND_FRAMES, len(planes), length), np.float32)
        for frame, start in zip(frames, starts, strict=True):
            np.multiply(planes[:, start : start + length], self._window, out=frame)
        # Real and imaginary parts side by side: the edges are doubled.
        squares = scipy.fft.rfft(frames, self._fft, axis=2).view(np.float32).reshape(_BAND_FRAMES * len(planes), -1)
        np.square(squares, out=squares)
        power = np.add.reduceat(squares.sum(axis=0), 2 * self._band_edges)
        self._bands.append((power / (_BAND_FRAMES * len(planes))).astype(np.float32))

    def _measure_peak(self, planes: "NDArray[np.float32]", peak: float) -> None:
        """Follow the true peak: interpolate only round those sample peaks that could exceed the largest value so far.

        Between samples, music exceeds its nearest sample peak by well under 3 dB, so sample peaks below 0.7 of the highest are
        left out.
        """
        self.true_peak = max(self.true_peak, peak)
        level = 0.7 * self.whole_peak
        if peak >= level > 0.0 and planes.shape[1] >= SHORTEST:
            self.true_peak = max(self.true_peak, *(largest_between(channel, level) for channel in planes))

    def finish(self) -> None:
        """Count what is left over; a last step that is more than half full counts, so that the track's end is not lost."""
        if self._resampler is not None:
            self._take(self._resampler.resample_chunk(np.zeros((0, len(self._gains)), np.float32), last=True).T)
        if left := self._end - self._done:
            lead = self._weighted.lead
            padded = np.zeros((len(self._gains), lead + self._weighted.chunk), np.float32)
            padded[:, : lead + left] = self._samples[:, self._done - lead : self._end]
            steps, rest = divmod(left, self._weighted.hop)
            power = self._gains @ self._weighted.measure(padded)
            self._steps.append(power[: steps + (rest > self._weighted.hop // 2)])
            self._done = self._end

    def steps(self) -> "NDArray[np.float64]":
        """Return the K-weighted mean square of every 100 ms step, channels added by their weights, shape (n,)."""
        return np.concatenate(self._steps) / self._weighted.hop if self._steps else np.zeros(0)

    def bands(self) -> "NDArray[np.float32]":
        """Return the mean power of all channels in bands of 100 Hz at the source's rate, a row for each block taken."""
        return np.stack(self._bands) if self._bands else np.zeros((0, len(self._band_edges)), np.float32)


def windowed_loudness(steps: "NDArray[np.float64]", width: int) -> "NDArray[np.float64]":
    """Return the loudness (LUFS) of every run of `width` 100 ms steps: 4 is momentary, 30 is short-term (EBU Tech 3341).

    `steps`, shape (n,), are from `LoudnessMeter.steps`; the result has the shape (n - width + 1,), (0,) for fewer steps.
    """
    if len(steps) < width:
        return np.zeros(0)
    total = np.cumsum(np.concatenate([[0.0], steps]))
    return np.asarray(OFFSET + 10 * np.log10(np.maximum((total[width:] - total[:-width]) / width, 1e-20)))


def _mean_loudness(values: "NDArray[np.float64]") -> float:
    return OFFSET + 10 * math.log10(float(np.mean(10 ** ((values - OFFSET) / 10))))


def integrated_loudness(steps: "NDArray[np.float64]") -> float | None:
    """Return the gated loudness of 100 ms steps, shape (n,), in LUFS; None for silence.

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
    """Return the loudness range of 100 ms steps, shape (n,), in LU; None for less than 3 s and for silence.

    EBU Tech 3342: blocks of 3 s, gates at -70 LUFS and -20 LU, 10th to 95th percentile.
    """
    blocks = windowed_loudness(steps, 30)
    blocks = blocks[blocks >= ABSOLUTE_GATE]
    if not len(blocks):
        return None
    blocks = np.sort(blocks[blocks >= _mean_loudness(blocks) - 20])
    last = len(blocks) - 1
    return float(blocks[round(last * 0.95)] - blocks[round(last * 0.10)])
