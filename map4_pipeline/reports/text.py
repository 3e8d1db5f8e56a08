"""Words and numbers as every report writes them, and text from files made harmless.

Text from tags and paths is data: it may hold NUL, escape sequences, lone surrogates or three thousand characters.
"""

import re
from datetime import datetime
from typing import Any

from map4_pipeline.hamms.camelot import from_camelot
from map4_pipeline.reports.statistics import CAMELOT_CODES, finite

#: Shown where nothing was measured.
NOTHING = "\u2013"

# What XML 1.0 (so XLSX) and terminals forbid: C0 but tab and line feeds, DEL and C1, lone surrogates, non-characters.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Marks that reorder or hide their surroundings. Kept in data (Excel, HTML isolates them), dropped on paper. The two joiners stay:
# Persian spelling, Indic conjuncts and emoji families are made with them.
_BIDI_CONTROLS = re.compile("[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_SPACE = re.compile(r"\s+")

LEDGER_LABELS = {
    "seen": ("Seen", "files found under the library roots"),
    "analysed": ("Analysed", "decoded and measured in the last scan"),
    "reused": ("Reused", "sound already measured: not decoded"),
    "unchanged": ("Unchanged", "same as at the last scan, not read again"),
    "failed": ("Failed", "could not be read or decoded; each is listed with its reason"),
    "skipped": ("Skipped", "not music, hidden, too short, or a link"),
    "missing": ("Missing", "known tracks whose file is gone; their analysis is kept"),
}
SKIP_LABELS = {
    "not_audio": "Not an audio file",
    "hidden": "Hidden or system file",
    "too_short": "Shorter than one second",
    "link_outside": "Link that leaves the library",
    "link_inside": "Link to a file of the library",
    "link_broken": "Broken link",
    "not_regular": "Not a regular file",
    "partial_download": "Unfinished download",
}
FINDING_LABELS = {
    "truncated": "Cut off",
    "decoder_errors": "Damaged frames",
    "non_finite_samples": "Invalid samples",
    "over_full_scale": "Above full scale",
    "dc_offset": "DC offset",
    "clipping": "Clipping",
    "antiphase": "Channels out of phase",
    "phase": "Doubtful phase",
    "mono_in_stereo": "Mono stored as stereo",
    "one_silent_channel": "One silent channel",
    "spectral_cutoff": "Fake or low bit rate",
    "silence": "Silence",
}
DUPLICATE_LABELS = {
    "identical_file": "Identical files",
    "identical_audio": "Same audio, different tags or container",
    "same_recording": "Same recording, encoded differently",
    "other_version": "Likely other versions",
    "file": "Identical files",
    "file_hash": "Identical files",
    "audio": "Same audio, different tags or container",
    "audio_hash": "Same audio, different tags or container",
    "fingerprint": "Same recording, encoded differently",
    "acoustic": "Same recording, encoded differently",
}
HAMMS_LABELS = {
    "bpm": "Tempo",
    "key": "Key",
    "energy": "Energy",
    "danceability": "Danceability",
    "valence": "Valence",
    "acousticness": "Acousticness",
    "instrumentalness": "Instrumentalness",
    "rhythmic_pattern": "Rhythmic pattern",
    "spectral_centroid": "Brightness",
    "tempo_stability": "Tempo stability",
    "harmonic_complexity": "Harmonic complexity",
    "dynamic_range": "Dynamic range",
}
#: Which key is which, for those who do not think in Camelot codes.
CAMELOT_KEYS = {code: from_camelot(int(code[:-1]), code[-1]) for code in CAMELOT_CODES}


def label(code: str, labels: dict[str, str] | None = None) -> str:
    """Return the words for a stable code: from `labels`, or the code itself made readable."""
    if labels and code in labels:
        return labels[code]
    words = clean(code).replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def clean(value: Any, limit: int = 32_000) -> str:
    """Return text without characters that break files; a lone surrogate or a control character becomes U+FFFD."""
    if value is None:
        return ""
    text = _ILLEGAL.sub("\ufffd", str(value)[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_line(value: Any, limit: int = 500) -> str:
    """Return clean text on one line, without marks that reorder what surrounds it."""
    return clean(_SPACE.sub(" ", _BIDI_CONTROLS.sub("", clean(value, limit * 4))).strip(), limit)


def file_name(path: str) -> str:
    """Return the last part of a path, whichever separator it has."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path


def track_name(title: str | None, file_path: str) -> str:
    """Return what a reader recognises a track by: its title, else its file's name."""
    return one_line(title) or one_line(file_name(file_path)) or NOTHING


def count(number: int | float) -> str:
    """Return a whole number with thin groups of three: 12 345."""
    return f"{round(number):,}".replace(",", "\u202f" if abs(number) >= 10_000 else "")


def tracks(amount: int, verb: tuple[str, str] = ("", "")) -> str:
    """Return "1 track" or "12 tracks", with the verb that agrees: ("has", "have")."""
    words = f"{count(amount)} {'track' if amount == 1 else 'tracks'}"
    return f"{words} {verb[amount != 1]}".rstrip()


def number(value: Any, digits: int = 0, signed: bool = False) -> str:
    """Return a number with fixed digits and a real minus, or the sign for nothing."""
    measured = finite(value)
    if measured is None:
        return NOTHING
    text = f"{measured:+.{digits}f}" if signed else f"{measured:.{digits}f}"
    # -0.0 would print a minus that means nothing.
    return text.replace("-", "\u2212") if float(text) else text.lstrip("-")


def percent(part: int | float, whole: int | float) -> str:
    """Return a share; whole numbers but for what would round to 0% or 100% without being it."""
    if not whole:
        return NOTHING
    share = 100 * part / whole
    if 0 < share < 1:
        return "< 1%"
    if 99 < share < 100:
        return "> 99%"
    return f"{share:.0f}%"


def length(seconds: Any) -> str:
    """Return a track's length as 4:05 or 1:02:03."""
    measured = finite(seconds)
    if measured is None or measured < 0:
        return NOTHING
    whole = round(measured)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def playing_time(seconds: float) -> str:
    """Return the playing time of a library in the two units that matter: "12 days 4 h", "3 h 20 min", "4 min 5 s"."""
    whole = round(seconds)
    if whole >= 2 * 86_400:
        return f"{count(whole // 86_400)} days {whole % 86_400 // 3600} h"
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s"


def size(size_bytes: int | float) -> str:
    """Return a size in decimal units, as disks are sold and file managers show them."""
    value = float(size_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB" if value < 100 else f"{value:.0f} TB"


def moment(value: datetime | None) -> str:
    """Return a date and time with its offset's name: "22 November 2026, 14:05 UTC"."""
    if value is None:
        return NOTHING
    zone = f" {value:%Z}" if value.tzinfo else ""
    return f"{value.day} {value:%B %Y, %H:%M}{zone}"
