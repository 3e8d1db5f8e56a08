"""What is to be written into a file's tags: names by format, values as each format has them, and what is the same already.

Pure: no file is opened here. Values are compared as they would be written, so that a second run finds nothing to do (a float
that was written as a whole number is no difference).

References
----------
ID3: https://id3.org/id3v2.4.0-frames (TBPM is a whole number, TKEY at most three characters); ReplayGain 2.0:
https://wiki.hydrogenaud.io/index.php?title=ReplayGain_2.0_specification ; Opus: RFC 7845, 5.2.1 (R128_TRACK_GAIN).
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from map4_pipeline.hamms.camelot import parse_key
from map4_pipeline.library.tag_writer import NativeTags
from map4_pipeline.reports.interchange.deck import written_key

#: What a user may ask for.
FIELDS = ("bpm", "key", "energy", "replaygain")
#: ReplayGain 2.0 brings tracks to -18 LUFS, EBU R128 to -23.
_R128_OFFSET_DB = -5.0

_ITUNES = "----:com.apple.iTunes:"
# Field, then part -> the name to write in each family, then other names under which programs keep the same.
_NAMES: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "id3": {
        "bpm": {"bpm": ("TBPM", "TXXX:BPM")},
        "key": {"key": ("TKEY", "TXXX:INITIALKEY", "TXXX:KEY")},
        "energy": {"energy": ("TXXX:EnergyLevel",)},
        "replaygain": {"gain": ("TXXX:REPLAYGAIN_TRACK_GAIN",), "peak": ("TXXX:REPLAYGAIN_TRACK_PEAK",)},
    },
    "vorbis": {
        "bpm": {"bpm": ("BPM", "TEMPO")},
        "key": {"key": ("INITIALKEY", "KEY")},
        "energy": {"energy": ("ENERGYLEVEL",)},
        "replaygain": {"gain": ("REPLAYGAIN_TRACK_GAIN",), "peak": ("REPLAYGAIN_TRACK_PEAK",)},
    },
    "mp4": {
        "bpm": {"bpm": ("tmpo", f"{_ITUNES}BPM")},
        "key": {"key": (f"{_ITUNES}initialkey", f"{_ITUNES}KEY")},
        "energy": {"energy": (f"{_ITUNES}EnergyLevel",)},
        "replaygain": {"gain": (f"{_ITUNES}replaygain_track_gain",), "peak": (f"{_ITUNES}replaygain_track_peak",)},
    },
    "asf": {
        "bpm": {"bpm": ("WM/BeatsPerMinute", "BPM")},
        "key": {"key": ("WM/InitialKey", "INITIALKEY")},
        "energy": {"energy": ("EnergyLevel",)},
        "replaygain": {"gain": ("REPLAYGAIN_TRACK_GAIN",), "peak": ("REPLAYGAIN_TRACK_PEAK",)},
    },
}
_NAMES["ape"] = {
    **_NAMES["vorbis"],
    "key": {"key": ("InitialKey", "Key")},
    "energy": {"energy": ("EnergyLevel",)},
}
# RFC 7845 wants no REPLAYGAIN tags in Opus; its gain has a tag of its own, and no peak.
_NAMES["opus"] = {**_NAMES["vorbis"], "replaygain": {"r128": ("R128_TRACK_GAIN",)}}

_NUMBER = re.compile(r"\s*([+-]?\d+(?:[.,]\d+)?)\s*(?:db|bpm)?\s*\Z", re.IGNORECASE)
_CAMELOT = re.compile(r"\s*\d+\s*[AB]\s*\Z", re.IGNORECASE)
_OPEN_KEY = re.compile(r"\s*\d+\s*[DM]\s*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Measured:
    """What MAP4 holds true of a track; None for what it does not know or is not to be written.

    Attributes
    ----------
    key : str or None
        "A minor".
    energy : float or None
        0 to 1.
    replaygain_db : float or None
        Gain to -18 LUFS, dB.
    replaygain_peak : float or None
        Highest true peak, full scale is 1.
    """

    bpm: float | None = None
    key: str | None = None
    energy: float | None = None
    replaygain_db: float | None = None
    replaygain_peak: float | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """How tags are to be written.

    Attributes
    ----------
    fields : collection of str
        Of `FIELDS`.
    notation : str
        Of the key: "musical", "camelot" or "open".
    bpm_decimals : int or None
        None: whole in ID3, as its standard says, two decimals elsewhere. MP4's `tmpo` is whole in any case.
    only_empty : bool
        Leave what is there.
    """

    fields: Collection[str] = FIELDS
    notation: str = "musical"
    bpm_decimals: int | None = None
    only_empty: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One tag that would be another one: its field, the name it has in the file, what is there and what would be."""

    field: str
    name: str
    old: str | None
    new: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be changed in a file: for people, and as `write_native` takes it."""

    changes: tuple[Change, ...] = ()
    writes: dict[str, list[Any] | None] = field(default_factory=dict)


def energy_level(energy: float) -> int:
    """Return an energy in [0, 1] as DJ programs write it, 1 to 10: the nearest tenth, at least 1."""
    return min(10, max(1, round(10 * energy)))


def r128_gain(replaygain_db: float) -> int:
    """Return ReplayGain's gain as Opus has it: 1/256 dB, to -23 LUFS, 16 bits (RFC 7845)."""
    return max(-32768, min(32767, round(256 * (replaygain_db + _R128_OFFSET_DB))))


def plan(tags: NativeTags, measured: Measured, wish: Wish) -> Plan:
    """Return what writing these values would change in a file with these tags."""
    changes: list[Change] = []
    writes: dict[str, list[Any] | None] = {}
    for one in (name for name in FIELDS if name in wish.fields):
        targets = [
            (part, names) for part, names in _NAMES[tags.family][one].items() if _text(part, measured, wish, 0) is not None
        ]
        if wish.only_empty and any(_is_filled(tags, name) for _, names in targets for name in _present(tags, names)):
            continue
        for part, names in targets:
            there = _present(tags, names)
            # Under the first name always; under others only where somebody keeps it, so that they do not contradict it.
            first = there[0] if there and there[0].upper() == names[0].upper() else names[0]
            for name in dict.fromkeys([first, *there]):
                decimals = _decimals(tags.family, name, wish)
                new = _text(part, measured, wish, decimals)
                old = tags.values.get(name)
                if new is None or (old and all(_is_same(part, _shown(value), new, decimals, wish) for value in old)):
                    continue
                changes.append(Change(one, name, "; ".join(map(_shown, old)) if old else None, new))
                writes[name] = [int(new)] if name == "tmpo" else [new]
    return Plan(tuple(changes), writes)


def tags_of_fields(tags: NativeTags) -> list[tuple[str, str, str]]:
    """Return (field, name, value) of what a file says about the fields that MAP4 writes."""
    return [
        (one, name, "; ".join(map(_shown, tags.values[name])))
        for one, parts in _NAMES[tags.family].items()
        for names in parts.values()
        for name in _present(tags, names)
        if name in tags.values
    ]


def blocked(tags: NativeTags, writes: Mapping[str, Any]) -> str | None:
    """Return the first name to be written that holds something else than text or a number, which could not be put back."""
    return next((name for name in writes if name in tags.rest), None)


def _present(tags: NativeTags, names: tuple[str, ...]) -> list[str]:
    """Return the names that are in the file, in its own spelling: case does not count."""
    upper = [name.upper() for name in names]
    found = [name for name in (*tags.values, *tags.rest) if name.upper() in upper]
    return sorted(found, key=lambda name: (upper.index(name.upper()), name))


def _is_filled(tags: NativeTags, name: str) -> bool:
    if name in tags.rest:
        return True
    # 0 is how programs write that there is none (tmpo).
    return any(_shown(value).strip() not in ("", "0") for value in tags.values[name])


def _shown(value: Any) -> str:
    return str(value["value"] if isinstance(value, dict) else value)


def _decimals(family: str, name: str, wish: Wish) -> int:
    if name == "tmpo":
        return 0
    if wish.bpm_decimals is not None:
        return wish.bpm_decimals
    return 0 if family == "id3" else 2


def _text(part: str, measured: Measured, wish: Wish, decimals: int) -> str | None:
    """Return the text to be written for a part, None where there is no value."""
    if part == "bpm":
        return None if measured.bpm is None else _tempo(measured.bpm, decimals)
    if part == "key":
        return written_key(measured.key, wish.notation)
    if part == "energy":
        return None if measured.energy is None else str(energy_level(measured.energy))
    if part == "peak":
        return None if measured.replaygain_peak is None else f"{measured.replaygain_peak:.6f}"
    if measured.replaygain_db is None:
        return None
    return str(r128_gain(measured.replaygain_db)) if part == "r128" else _gain(measured.replaygain_db)


def _tempo(bpm: float, decimals: int) -> str:
    text = f"{bpm:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _gain(gain_db: float) -> str:
    # Never "-0.00 dB".
    return f"{round(gain_db, 2) + 0.0:.2f} dB"


def _is_same(part: str, old: str, new: str, decimals: int, wish: Wish) -> bool:
    """Tell whether a tag says what would be written, in whatever spelling: `Amin` and `Am`, `127.96` where 128 is written."""
    if part == "key":
        return parse_key(old) == parse_key(new) and _notation(old) == wish.notation
    value = _number(old)
    if value is None:
        return False
    if part == "bpm":
        return _tempo(value, decimals) == new
    if part == "gain":
        return _gain(value) == new
    return (f"{value:.6f}" if part == "peak" else str(round(value))) == new


def _notation(text: str) -> str:
    if _CAMELOT.match(text):
        return "camelot"
    return "open" if _OPEN_KEY.match(text) else "musical"


def _number(text: str) -> float | None:
    match = _NUMBER.match(text)
    return float(match[1].replace(",", ".")) if match else None
