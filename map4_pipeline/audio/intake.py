"""One pass over the decoded blocks: clean, mix, resample, and hand every consumer its share.

A block is looked at while it is in the processor's cache; nothing keeps the source-rate samples.
"""

import math
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import soxr

from map4_pipeline.audio.channels import Stereo, count_clipped, split_stereo
from map4_pipeline.audio.loudness import LoudnessMeter
from map4_pipeline.audio.spectra import SAMPLE_RATE, SpectraBuilder

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Samples below this are zero: far under the least bit of 24-bit audio, and denormals would slow every product down.
_ZERO = 1e-15
#: Samples above this (+24 dBFS) are no level a mixer meant; the whole stream is scaled down so that powers stay finite.
_HUGE = 16.0
#: Beyond +12 dBFS a decoded sample of a lossy or integer format is damage.
_DAMAGE = 4.0
#: Lossy decoders overshoot full scale a little; in a block with a glitch over `_HUGE`, samples above this go with it.
_GLITCH = 2.0
#: A constant offset of the first block from here on is taken out: it would sound as a click at both ends.
_OFFSET = 0.003
#: Sample values from here on are full scale (0.99997 in 16 bit); three in a row are a clipped wave, one may be a peak that fits.
_CLIP = 0.9999
#: Correlation of the first two channels below which their sum would cancel.
_ANTIPHASE = -0.7
#: Correlation below which the channels work against each other: the mono sum is over 4.5 dB under the stereo sound.
_NEGATIVE = -0.3


class Intake:
    """Consumes the blocks of one stream.

    Parameters
    ----------
    sample_rate, channels : int
        Of the source.
    keep_seconds : float
        Seconds of the 22.05 kHz mono signal that are kept from the start (for the fingerprint); infinite: all of it.
    loudness : bool
        Whether loudness is measured.
    float_samples : bool
        The source stores floating point samples, whose scale is the writer's choice. Elsewhere a sample far over full scale is
        what a decoder makes of a damaged packet.
    extras : bool
        Whether the true peak and the spectrum at the source's rate are measured with the loudness.
    """

    def __init__(
        self, sample_rate: int, channels: int, keep_seconds: float, loudness: bool, float_samples: bool, extras: bool = True
    ) -> None:
        self.sample_rate, self.channels = sample_rate, channels
        self.frames = 0
        self.non_finite = 0
        self.damaged = 0
        self._float_samples = float_samples
        self.offset = np.zeros(channels, np.float32)
        self.clipped = 0
        self.gain = 1.0
        self.sum = np.zeros(channels)
        self.energy = np.zeros(channels)
        self.cross = 0.0
        self.antiphase_frames = 0
        self.negative_frames = 0
        self.audible_frames = 0
        self.meter = LoudnessMeter(sample_rate, channels, extras=extras) if loudness else None
        self.spectra = SpectraBuilder()
        self._planes = np.empty((channels, 0), np.float32)
        self._mono = np.empty(0, np.float32)
        self._resampler: soxr.ResampleStream | None = None
        if sample_rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        self._keep = sys.maxsize if math.isinf(keep_seconds) else int(keep_seconds * SAMPLE_RATE)
        self._kept: list[NDArray[np.float32]] = []
        self._kept_length = 0

    @property
    def duration(self) -> float:
        """Seconds taken in so far."""
        return self.frames / self.sample_rate

    @property
    def head(self) -> "NDArray[np.float32]":
        """The kept first seconds of the 22.05 kHz mono signal."""
        return np.concatenate(self._kept)[: self._keep] if self._kept else np.zeros(0, np.float32)

    def constant_offset(self) -> float:
        """Return the mean of the first two channels that is further from zero."""
        return float(np.abs(self.sum / max(1, self.frames) + self.offset)[:2].max())

    def peak_and_rms(self) -> tuple[float, float]:
        """Return the largest absolute sample and the root mean square (of the first two channels), a constant offset left out."""
        assert self.meter is not None
        square = self.energy.sum() / max(1, self.frames * min(2, self.channels))
        if self.constant_offset() >= 0.5 * float(np.abs(self.offset)[:2].max()):
            return self.meter.sample_peak, math.sqrt(square)
        # What the first block had was the deep bass of its moment, and not the whole track's: it is put back.
        taken = self.offset[:2].astype(np.float64)
        square += float(np.mean(taken * (2 * self.sum[:2] / max(1, self.frames) + taken)))
        return self.meter.whole_peak, math.sqrt(max(0.0, square))

    def feed(self, block: "NDArray[np.float32]") -> None:
        """Take the next (frames, channels) block."""
        frames = len(block)
        if not frames:
            return
        planes = self._room(frames)
        taken = self._take_ordinary(block, planes) if self.channels == 2 else None
        if taken is None:
            block, peak = self._clean(block)
            if self.meter is not None and peak >= _CLIP:
                over = np.abs(block) >= _CLIP
                self.clipped += int(np.count_nonzero(over[2:] & over[1:-1] & over[:-2]))
            block, peak = self._centre(block, peak)
            planes[:] = block.T
            taken = self._mix(planes, peak), peak
        mono, peak = taken
        self.frames += frames
        if self.meter is not None:
            self.meter.feed(planes, peak, self.offset if self.offset.any() else None)
        # The planes' memory is used again: what is kept is a copy.
        self._forward(mono.copy() if self._resampler is None else self._resampler.resample_chunk(mono))

    def _room(self, frames: int) -> "NDArray[np.float32]":
        """Return where the channels of a block are laid, each contiguous: where the meter wants them."""
        if self.meter is not None:
            return self.meter.room(frames)
        if self._planes.shape[1] < frames:
            self._planes = np.empty((self.channels, frames), np.float32)
        return self._planes[:, :frames]

    def _take_ordinary(
        self, block: "NDArray[np.float32]", planes: "NDArray[np.float32]"
    ) -> "tuple[NDArray[np.float32], float] | None":
        """Lay the channels of a stereo block; return mono mix and peak, or None where a sample wants looking after."""
        if self.gain != 1.0 or self.offset.any():
            return None
        if len(self._mono) < len(block):
            self._mono = np.empty(len(block), np.float32)
        mono = self._mono[: len(block)]
        found = split_stereo(block, planes, mono)
        limit = _HUGE if self._float_samples else _DAMAGE
        if not math.isfinite(found.left_energy + found.right_energy) or found.peak > limit or 0.0 < found.peak < _ZERO:
            return None
        if self.frames == 0 and max(abs(found.left), abs(found.right)) > _OFFSET * len(block):
            return None
        if self.meter is not None and found.peak >= _CLIP:
            self.clipped += sum(count_clipped(plane, _CLIP) for plane in planes)
        return planes[0] if found.peak > 0.0 and self._cancels(found, len(block)) else mono, found.peak

    def finish(self) -> None:
        """Flush the resampler and the meter."""
        if self._resampler is not None:
            self._forward(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        if self.meter is not None:
            self.meter.finish()

    def _forward(self, signal: "NDArray[np.float32]") -> None:
        if self._kept_length < self._keep:
            self._kept.append(signal)
            self._kept_length += len(signal)
        self.spectra.feed(signal)

    def _clean(self, block: "NDArray[np.float32]") -> "tuple[NDArray[np.float32], float]":
        peak = float(max(block.max(), -block.min()))
        if not math.isfinite(peak):
            bad = ~np.isfinite(block)
            self.non_finite += int(np.count_nonzero(bad))
            block = np.where(bad, np.float32(0), block)
            peak = float(np.abs(block).max())
        if self._float_samples and peak * self.gain > _HUGE:
            self.gain = 1.0 / peak
        elif not self._float_samples and peak > _DAMAGE:
            bad = np.abs(block) > _GLITCH
            self.damaged += int(np.count_nonzero(bad))
            block = np.where(bad, np.float32(0), block)
            peak = float(np.abs(block).max())
        if self.gain != 1.0:
            block = block * np.float32(self.gain)
            peak *= self.gain
        if 0.0 < peak < _ZERO:
            block, peak = np.zeros_like(block), 0.0
        return block, peak

    def _centre(self, block: "NDArray[np.float32]", peak: float) -> "tuple[NDArray[np.float32], float]":
        """Take the first block's constant offset out of the whole stream."""
        if self.frames == 0 and peak > 0.0:
            mean = block.mean(axis=0, dtype=np.float64)
            self.offset = np.where(np.abs(mean) > _OFFSET, mean, 0.0).astype(np.float32)
        if self.offset.any():
            block = block - self.offset
            peak = float(np.abs(block).max())
        return block, peak

    def _mix(self, planes: "NDArray[np.float32]", peak: float) -> "NDArray[np.float32]":
        """Return the mono mix; where the first two channels cancel each other, the first channel alone."""
        left: NDArray[np.float32] = planes[0]
        count = planes.shape[1]
        if peak == 0.0:
            return left
        ones = _ones(count)
        if self.channels == 1:
            self.audible_frames += count
            self.sum[0] += float(left @ ones)
            self.energy[0] += float(left @ left)
            return left
        right = planes[1]
        sums = Stereo(
            peak, *(float(a @ b) for a, b in ((left, ones), (right, ones), (left, left), (right, right), (left, right)))
        )
        if self._cancels(sums, count):
            return left
        return np.asarray(planes.mean(axis=0, dtype=np.float32))

    def _cancels(self, sums: Stereo, frames: int) -> bool:
        """Add up what a block has; return whether the sum of its first two channels would cancel."""
        self.audible_frames += frames
        self.sum[:2] += sums.left, sums.right
        left, right, cross = sums.left_energy, sums.right_energy, sums.cross
        self.energy[:2] += left, right
        self.cross += cross
        both = math.sqrt(left * right)
        if cross < _NEGATIVE * both:
            self.negative_frames += frames
        cancels = cross < _ANTIPHASE * both and min(left, right) > 0.1 * max(left, right)
        if cancels:
            self.antiphase_frames += frames
        return cancels


@lru_cache(maxsize=2)
def _ones(count: int) -> "NDArray[np.float32]":
    """Return a vector of ones: a product with it sums in a third of the time."""
    return np.ones(count, np.float32)
