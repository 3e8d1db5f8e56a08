"""Where a DJ program and the measurement differ: tempo, key, and where the grid stands."""

from dataclasses import dataclass
from math import log2

from map4_pipeline.hamms.camelot import camelot_number, parse_key, ring_distance

#: Of the tempo; half a beat within a minute at 128 BPM is 0.4 percent.
TEMPO_TOLERANCE = 0.005
#: Seconds. Below it a listener hears one beat; decoders of MP3 differ by 26 ms and more.
GRID_TOLERANCE = 0.020


@dataclass(frozen=True, slots=True)
class Values:
    """Tempo, key ("A minor") and a beat's time in seconds, of one program."""

    bpm: float | None = None
    key: str | None = None
    beat: float | None = None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """What differs.

    Attributes
    ----------
    what : str
        "bpm", "octave" (the same tempo, counted twice or half as fast), "key" or "grid".
    theirs, ours : float or str
        For "grid" the beat's time in seconds.
    remark : str
        In words: how they relate.
    offset_ms : float or None
        Of a grid: theirs minus ours, to the nearest beat.
    """

    what: str
    theirs: float | str
    ours: float | str
    remark: str
    offset_ms: float | None = None


def disagreements(theirs: Values, ours: Values) -> list[Disagreement]:
    """Return in what two programs differ about a track; what one does not know is no difference."""
    found = []
    if theirs.bpm and ours.bpm:
        octaves = round(log2(theirs.bpm / ours.bpm))
        rest = theirs.bpm / ours.bpm / 2**octaves - 1
        if abs(rest) > TEMPO_TOLERANCE:
            found.append(Disagreement("bpm", theirs.bpm, ours.bpm, f"{rest:+.1%}"))
        elif octaves:
            found.append(Disagreement("octave", theirs.bpm, ours.bpm, f"{2.0**octaves:g} times as fast"))
    their_key, our_key = parse_key(theirs.key), parse_key(ours.key)
    if their_key and our_key and their_key != our_key:
        found.append(Disagreement("key", their_key, our_key, _relation(their_key, our_key)))
    offset = grid_offset(theirs, ours)
    if offset is not None and abs(offset) > GRID_TOLERANCE:
        found.append(Disagreement("grid", theirs.beat or 0.0, ours.beat or 0.0, f"{offset * 1000:+.0f} ms", offset * 1000))
    return found


def grid_offset(theirs: Values, ours: Values) -> float | None:
    """Return by how much one grid stands later than the other, in seconds, to the nearest beat.

    None where one has no grid, or the tempi differ so that grids run apart.
    """
    if not theirs.bpm or not ours.bpm or theirs.beat is None or ours.beat is None:
        return None
    ratio = theirs.bpm / ours.bpm
    if abs(ratio / 2.0 ** round(log2(ratio)) - 1) > TEMPO_TOLERANCE:
        return None
    period = 60 / max(theirs.bpm, ours.bpm)
    apart = theirs.beat - ours.beat
    return apart - round(apart / period) * period


def _relation(theirs: str, ours: str) -> str:
    steps = ring_distance(theirs, ours)
    same_mode = camelot_number(theirs)[1] == camelot_number(ours)[1]
    if steps == 0:
        return "relative key, the same notes"
    if theirs.split()[0] == ours.split()[0]:
        return "the same tonic in the other mode"
    if steps == 1 and same_mode:
        return "a fifth apart"
    return f"{steps} steps apart on the Camelot wheel"
