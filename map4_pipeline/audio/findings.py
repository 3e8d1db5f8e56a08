"""What a user should know about a file's quality."""

import math
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.bandwidth import Cutoff, cutoff_origin
from map4_pipeline.audio.intake import Intake
from map4_pipeline.audio.model import Finding
from map4_pipeline.audio.spectra import ENVELOPE_HOP, SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from map4_pipeline.audio.decode import AudioStream
    from map4_pipeline.audio.model import Technical
    from map4_pipeline.audio.sniff import Sniffed

#: Silence at an end that is worth a word, seconds.
_SILENT_SECONDS = 5.0
#: Silence is 60 dB under the track's own peak, but never less than the dither of 16 bits.
_SILENT_RATIO, _SILENT_LEVEL = 1e-3, 1.5 / 32768
#: Constant offset that is worth a word, share of full scale.
_OFFSET = 0.01
#: Share of clipped samples that is worth a word: 9 in a second of stereo.
_CLIPPED = 1e-4
#: Energy of one channel, or of the difference, against the whole, under which it is nothing (-50 dB: Opus leaves 7e-6 in mono).
_NOTHING = 1e-5
#: Share of the track in which the channels work against each other that is worth a word.
_AGAINST = 0.4


def seconds_missing(stream: "AudioStream", frames: int) -> float:
    """Return how much shorter the decoded stream is than its header promises, 0 within the slack of encoder delay and padding."""
    declared = stream.declared_frames
    if declared is None or declared >= 1 << 40 or not stream.sample_rate:
        return 0.0
    missing = (declared - frames) / stream.sample_rate
    return missing if missing > max(0.5, 0.01 * declared / stream.sample_rate) else 0.0


def stream_findings(stream: "AudioStream", sniffed: "Sniffed", frames: int, complaint: str) -> list[Finding]:
    """Return what decoding brought up: a missing end, damaged packets."""
    found = []
    missing = seconds_missing(stream, frames)
    if complaint or sniffed.truncated or missing:
        got = frames / stream.sample_rate
        text = f"The file ends early: {got:.1f} s {f'of {got + missing:.1f} s ' if missing else ''}could be decoded."
        found.append(Finding("truncated", text, round(got, 3)))
    if stream.errors:
        packets = "one damaged packet" if stream.errors == 1 else f"{stream.errors} damaged packets"
        found.append(Finding("decoder_errors", f"The file has {packets}.", float(stream.errors)))
    return found


def signal_findings(
    intake: Intake, ends: tuple[float, float] | None, cutoff: Cutoff | None, technical: "Technical"
) -> list[Finding]:
    """Return what the samples bring up.

    Parameters
    ----------
    intake : Intake
        Finished.
    ends : tuple of float or None
        What `silent_ends` says.
    cutoff : Cutoff or None
        What `spectral_cutoff` says.
    technical : Technical
    """
    found = []
    n = max(1, intake.frames)
    if intake.non_finite:
        text = f"{intake.non_finite} samples were no finite numbers and were taken as silence."
        found.append(Finding("non_finite_samples", text, float(intake.non_finite)))
    if intake.gain != 1.0:
        text = f"Samples exceed full scale by a factor of {1 / intake.gain:.3g}; the level was reduced for the analysis."
        found.append(Finding("over_full_scale", text, float(f"{1 / intake.gain:.6g}")))
    if intake.damaged:
        text = f"{intake.damaged} samples of damaged packets were taken as silence."
        found.append(Finding("decoder_errors", text, float(intake.damaged)))
    offset = intake.constant_offset()
    if offset > _OFFSET:
        found.append(Finding("dc_offset", f"The signal has a DC offset of {100 * offset:.1f}% of full scale.", round(offset, 5)))
    if ends is None:
        return [*found, Finding("silence", "The whole track is silent.", round(technical.duration, 2))]
    share = intake.clipped / (n * intake.channels)
    if share > _CLIPPED and intake.gain == 1.0:
        text = f"{100 * share:.4f}% of the samples are clipped: three and more in a row at full scale."
        found.append(Finding("clipping", text, round(100 * share, 6)))
    if intake.channels >= 2:
        found += _stereo_findings(intake)
    if cutoff is not None and (origin := cutoff_origin(cutoff, technical)) is not None:
        found.append(Finding("spectral_cutoff", origin, cutoff.hertz))
    for where, seconds in zip(("start", "end"), ends, strict=True):
        if seconds >= _SILENT_SECONDS:
            found.append(Finding("silence", f"{seconds:.1f} s of silence at the {where}.", round(seconds, 2)))
    return found


def _stereo_findings(intake: Intake) -> list[Finding]:
    """Return at most one finding about how the first two channels go together."""
    left, right = float(intake.energy[0]), float(intake.energy[1])
    if intake.channels == 2 and min(left, right) < _NOTHING * max(left, right):
        return [Finding("one_silent_channel", "One of the two channels is silent.", None)]
    correlation = round(intake.cross / max(math.sqrt(left * right), 1e-30), 4)
    audible = max(1, intake.audible_frames)
    if intake.antiphase_frames > 0.5 * audible:
        text = "The channels cancel each other (antiphase); one channel was analysed."
        return [Finding("antiphase", text, correlation)]
    if intake.negative_frames > _AGAINST * audible:
        share = 100 * intake.negative_frames / audible
        text = f"For {share:.0f}% of the track the channels work against each other; it loses level when played in mono."
        return [Finding("phase", text, correlation)]
    if intake.channels == 2 and abs(left + right - 2 * intake.cross) < _NOTHING * (left + right):
        return [Finding("mono_in_stereo", "Both channels are the same: mono in a stereo file.", correlation)]
    return []


def silent_ends(envelope: "NDArray[np.float32]", duration: float) -> tuple[float, float] | None:
    """Return the seconds of silence before the first and after the last sound, to 25 ms; None when nothing sounds.

    Parameters
    ----------
    envelope : ndarray
        Largest absolute sample of every 1024 at 22.05 kHz.
    duration : float
        Seconds.
    """
    level = max(_SILENT_LEVEL, _SILENT_RATIO * float(envelope.max(initial=0.0)))
    loud = np.flatnonzero(envelope > level)
    if not len(loud):
        return None
    step = ENVELOPE_HOP / SAMPLE_RATE
    # The sound begins and ends somewhere within its 46 ms: in the middle, unless that is the track's own end.
    before = (int(loud[0]) + 0.5) * step if loud[0] else 0.0
    after = duration - (int(loud[-1]) + 0.5) * step if loud[-1] < len(envelope) - 1 else 0.0
    return before, max(0.0, after)
