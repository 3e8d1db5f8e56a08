"""Which of several copies to keep, and why, in words. A suggestion: MAP4 deletes no file.

Asked in this order, the first question that one answers better decides: is the file whole; how much of the piece does it hold;
its bandwidth (sample rate, channels); was it kept without loss; how many bits; how many tags; where does it lie.
"""

from collections.abc import Sequence
from dataclasses import dataclass

#: Seconds of sound by which a copy must be longer to be more complete.
_LONGER = 3.0
#: What a codec makes of a bit, MP3 being 1: public listening tests put AAC and Vorbis about a third ahead, Opus more.
_EFFICIENCY = {"aac": 1.3, "vorbis": 1.3, "opus": 1.6, "musepack": 1.3, "mp2": 0.7}
#: Bits a second that MP3 encoders need for what sounds up to a frequency (Hz): LAME's own low-pass filters.
_RATES = ((11_500, 64_000), (16_500, 128_000), (17_800, 160_000), (19_300, 192_000), (20_300, 256_000))
#: Bit rates closer than this are one.
_NEARLY = 1.05


@dataclass(frozen=True, slots=True)
class Copy:
    """What speaks for a copy.

    Attributes
    ----------
    track_id : int
    path : str
    sound_seconds : float
        Length without silence at the ends.
    codec : str
    lossless : bool
    bit_rate : int
        Bits a second, 0 when unknown.
    sample_rate, channels, bit_depth : int
    cutoff_hz : float or None
        Above which nothing sounds although the format could hold it: made from a lossy file.
    damaged : str
        "" or what is wrong ("ends early", "damaged packets").
    tags : int
        How many of the usual tags it has.
    """

    track_id: int
    path: str
    sound_seconds: float
    codec: str
    lossless: bool
    bit_rate: int
    sample_rate: int
    channels: int
    bit_depth: int
    cutoff_hz: float | None
    damaged: str
    tags: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Which copy to keep, and why."""

    track_id: int
    reason: str


def suggest_keeper(copies: Sequence[Copy]) -> Suggestion:
    """Return the copy to keep. The order of `copies` does not matter.

    Raises
    ------
    ValueError
        When there is none.
    """
    if not copies:
        raise ValueError("There is no copy to choose from.")
    longest = max(copy.sound_seconds for copy in copies)
    ranked = sorted(copies, key=lambda copy: (_worse(copy, longest), copy.path, copy.track_id))
    best = ranked[0]
    return Suggestion(best.track_id, _reason(best, ranked[1:], longest))


def _worse(copy: Copy, longest: float) -> tuple[float, ...]:
    """Return what sorts the best copy first."""
    return (
        1.0 if copy.damaged else 0.0,
        # In steps, so that a few tenths of encoder padding decide nothing.
        float(int((longest - copy.sound_seconds) / _LONGER)),
        -_bandwidth(copy),
        0.0 if _truly_lossless(copy) else 1.0,
        0.0 if _truly_lossless(copy) else -_steps(_worth(copy)),
        -float(copy.bit_depth * copy.sample_rate if _truly_lossless(copy) else 0),
        -float(copy.tags),
    )


def _bandwidth(copy: Copy) -> float:
    return float(min(copy.sample_rate, 44_100) * min(copy.channels, 2))


def _truly_lossless(copy: Copy) -> bool:
    return copy.lossless and copy.cutoff_hz is None


def _worth(copy: Copy) -> float:
    """Return the bit rate of an MP3 that would sound like this copy, by codec, bit rate and cutoff."""
    rate = 320_000.0 if copy.lossless else copy.bit_rate * _EFFICIENCY.get(copy.codec, 1.0)
    if copy.cutoff_hz is None:
        return rate
    return min(rate, next((float(bits) for hertz, bits in _RATES if copy.cutoff_hz <= hertz), 320_000.0))


def _steps(rate: float) -> float:
    from math import log

    return float(round(log(max(rate, 1.0), _NEARLY)))


def _reason(best: Copy, others: Sequence[Copy], longest: float) -> str:
    """Say what the best copy has over the next best."""
    if not others:
        return "the only one"
    next_best = others[0]
    ours, theirs = _worse(best, longest), _worse(next_best, longest)
    place = next((number for number, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]), None)
    if place == 0:
        return f"whole: the other's file {next_best.damaged}" if len(others) == 1 else "whole: the others' files are damaged"
    if place == 1:
        return f"complete: {best.sound_seconds - next_best.sound_seconds:.0f} s more sound than the next"
    if place == 2:
        return f"{_format(best)}, wider than {_format(next_best)}"
    if place == 3 and next_best.lossless:
        above = f"nothing above {(next_best.cutoff_hz or 0) / 1000:.1f} kHz"
        return f"lossless; the next, {_name(next_best)}, has {above}: it was made from a lossy file"
    if place == 3:
        return f"lossless ({_name(best)}), the next is {_name(next_best)}"
    if place == 4 and next_best.cutoff_hz is not None:
        return (
            f"{_name(best)}; the next, {_name(next_best)}, has nothing above {next_best.cutoff_hz / 1000:.1f} kHz: "
            "made from a smaller file"
        )
    if place == 4:
        return f"better sound: {_name(best)} against {_name(next_best)}"
    if place == 5:
        return f"finer: {best.bit_depth} bit, {best.sample_rate / 1000:g} kHz"
    if place == 6:
        return f"more tags: {best.tags} against {next_best.tags}"
    return "all alike; the first by path"


def _name(copy: Copy) -> str:
    if copy.lossless:
        return copy.codec.upper().replace("PCM_", "PCM ")
    return f"{copy.codec.upper()} {copy.bit_rate / 1000:.0f} kbit/s" if copy.bit_rate else copy.codec.upper()


def _format(copy: Copy) -> str:
    kind = {1: "mono", 2: "stereo"}.get(copy.channels, f"{copy.channels} channels")
    return f"{copy.sample_rate / 1000:g} kHz {kind}"
