"""What the reports of one track and of one playlist show: plain values from the store, their words for paper and page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from map4_pipeline.reports import series, text
from map4_pipeline.reports.statistics import HAMMS_NAMES, finite
from map4_pipeline.reports.tagcheck import bpm_conflict, key_conflict

#: Sections of a track that are told apart by colour; further ones begin anew.
_MOST_LABELS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How one track goes into another: score in [0, 1], what to do with it, and why."""

    score: float
    label: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A track that goes well with another.

    Attributes
    ----------
    row : mapping
        With the names of `store.listing`.
    step : Step
        From the track of the report into this one.
    percentile : float or None
        The share of random pairs that are less alike, per cent.
    shares : mapping
        {dimension: its share of the distance}.
    """

    row: Mapping[str, Any]
    step: Step
    percentile: float | None
    shares: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSheet:
    """A track with all that is known of it.

    Attributes
    ----------
    row : mapping
        The track, with the names of `store.details.track_detail`.
    analysis : mapping
        `audio.model.Features.to_dict`, empty where there is none.
    matches : sequence of Match
        The best first.
    usual : mapping
        {dimension: median of the library}.
    """

    generated_at: datetime
    row: Mapping[str, Any]
    analysis: Mapping[str, Any] = field(default_factory=dict)
    matches: Sequence[Match] = ()
    usual: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What a reader knows it by."""
        return text.track_name(self.row.get("title"), self.row["path"])


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaylistSheet:
    """A playlist in its order.

    Attributes
    ----------
    kind : {"manual", "set", "edited"}
    tracks : sequence of mapping
        With the names of `store.listing`.
    steps : sequence of Step
        Between them: one fewer than tracks.
    targets : sequence of float
        The energies that were wished, empty where none were.
    cost : mapping
        What a built set cost, empty for one made by hand.
    """

    generated_at: datetime
    name: str
    description: str | None
    kind: str
    tracks: Sequence[Mapping[str, Any]]
    steps: Sequence[Step]
    targets: Sequence[float] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name on one line."""
        return text.one_line(self.name, 200) or "Playlist"


class Chance(NamedTuple):
    """A value and how probable it is; `chosen` for the one that the track has."""

    value: str
    probability: float | None
    chosen: bool


class Part(NamedTuple):
    """A stretch of a track, in seconds, with its words and the number of its colour."""

    start: float
    end: float
    label: str
    colour: int


# ------------------------------------------------------------------ a track in words
def byline(sheet: TrackSheet) -> str:
    """Return artist, album, year and genre, what there is of them."""
    row = sheet.row
    parts = [text.one_line(row.get(name), 120) for name in ("artist", "album")]
    parts += [str(row["year"])] if row.get("year") else []
    parts += [text.one_line(row.get("genre"), 60)]
    return "  ·  ".join(part for part in parts if part)


def headline(sheet: TrackSheet) -> list[tuple[str, str]]:
    """Return the five figures that people look for first, and what each is."""
    row = sheet.row
    return [
        (text.number(row.get("bpm"), 1), f"BPM, {sure(row.get('bpm_confidence'))}"),
        (row.get("camelot") or text.NOTHING, f"{row.get('key') or 'no key'}, {sure(row.get('key_confidence'))}"),
        (text.number(row.get("energy"), 2), "energy, 0 to 1"),
        (text.number(row.get("loudness_lufs"), 1), "LUFS, integrated"),
        (text.length(row.get("duration")), "long"),
    ]


def sure(confidence: Any) -> str:
    """Return a confidence in words."""
    known = finite(confidence)
    return "not measured" if known is None else f"{known:.0%} sure"


def tempi(sheet: TrackSheet) -> list[Chance]:
    """Return the tempo and the others that it may be, the most probable first."""
    row = sheet.row
    chosen = [Chance(f"{row['bpm']:.2f} BPM", finite(row.get("bpm_confidence")), True)] if finite(row.get("bpm")) else []
    others = [(item.get("value"), item.get("probability")) for item in row.get("bpm_alternatives") or ()]
    return chosen + [Chance(f"{text.number(value, 2)} BPM", finite(share), False) for value, share in others[:4]]


def keys(sheet: TrackSheet) -> list[Chance]:
    """Return the key and the others that it may be."""
    row = sheet.row
    chosen = [Chance(f"{row['key']} ({row.get('camelot')})", finite(row.get("key_confidence")), True)] if row.get("key") else []
    codes = {key: code for code, key in text.CAMELOT_KEYS.items()}
    others = [(text.one_line(item.get("value"), 20), item.get("probability")) for item in row.get("key_alternatives") or ()]
    return chosen + [Chance(f"{key} ({codes.get(key, '?')})", finite(share), False) for key, share in others[:4]]


def sections(sheet: TrackSheet) -> list[Part]:
    """Return the track's form; parts that sound alike have the same letter and colour."""
    return _parts(sheet.analysis.get("sections") or (), "label")


def key_parts(sheet: TrackSheet) -> list[Part]:
    """Return the keys along the track."""
    return _parts(sheet.analysis.get("key_spans") or (), "key")


def _parts(found: Sequence[Mapping[str, Any]], name: str) -> list[Part]:
    """Return stretches; what has the same name has the same colour."""
    known = [(text.one_line(item.get(name), 20), item) for item in found if finite(item.get("end")) is not None]
    names = sorted({label for label, _ in known})
    return [Part(float(item["start"]), float(item["end"]), label, names.index(label) % _MOST_LABELS) for label, item in known]


def tempo_curve(sheet: TrackSheet) -> list[tuple[float, float]]:
    """Return (seconds, BPM) along the track, where the tempo moves by more than a hundredth."""
    found = [(float(at), float(bpm)) for at, bpm in sheet.analysis.get("tempo_curve") or () if finite(bpm)]
    values = [bpm for _, bpm in found]
    return found if len(found) >= 3 and max(values) > 1.01 * min(values) else []


def technical(sheet: TrackSheet) -> list[tuple[str, str]]:
    """Return what the file is and what else was measured."""
    row, more = sheet.row, sheet.analysis
    rate, bits = finite(row.get("sample_rate")), finite(row.get("bit_rate"))
    rows = [
        ("Format", ", ".join(part for part in (
            text.one_line(row.get("codec"), 40), f"{rate / 1000:g} kHz" if rate else "",
            f"{row['channels']} channels" if row.get("channels") else "",
            f"{bits / 1000:.0f} kbit/s" if bits else "", f"{row['bit_depth']} bits" if row.get("bit_depth") else "",
        ) if part)),
        ("Size", text.size(row["file_size"]) if row.get("file_size") else ""),
        ("True peak", _unit(row.get("true_peak_dbtp"), 1, "dBTP")),
        ("Loudness range", _unit(more.get("loudness_range_lu"), 1, "LU")),
        ("ReplayGain", _unit(more.get("replaygain_db"), 2, "dB")),
        ("Tuning", _unit(more.get("tuning_cents"), 0, "cents from A4 = 440 Hz")),
        ("Bar", f"{more['beats_per_bar']} beats" if more.get("beats_per_bar") else ""),
        ("First beat", _unit(more.get("beat_first"), 3, "s")),
        ("Silence", _silence(more)),
        ("Open Key", text.one_line(more.get("open_key"), 10)),
        ("Tags say", _tags(row)),
    ]  # fmt: skip
    return [(label, value) for label, value in rows if value]


def _unit(value: Any, digits: int, unit: str) -> str:
    return "" if finite(value) is None else f"{text.number(value, digits)} {unit}"


def _silence(more: Mapping[str, Any]) -> str:
    first, last = finite(more.get("leading_silence")), finite(more.get("trailing_silence"))
    return "" if first is None or last is None else f"{first:.1f} s before, {last:.1f} s after the music"


def _tags(row: Mapping[str, Any]) -> str:
    found = []
    if row.get("tags_bpm"):
        wrong = bpm_conflict(row.get("bpm"), row["tags_bpm"])
        found.append(f"{row['tags_bpm']:g} BPM" + (" (disagrees)" if wrong else ""))
    if row.get("tags_key"):
        wrong_key = key_conflict(row.get("camelot"), row["tags_key"])
        found.append(text.one_line(row["tags_key"], 20) + (" (disagrees)" if wrong_key else ""))
    return ", ".join(found)


def remarks(sheet: TrackSheet) -> list[tuple[str, str]]:
    """Return findings, what was corrected by hand, what could not be measured, and an annotation's words."""
    row = sheet.row
    rows = [
        (text.label(str(item.get("code")), text.FINDING_LABELS), text.one_line(item.get("message"), 300))
        for item in row.get("findings") or ()
    ]
    rows += [
        (f"Corrected: {text.label(str(name)).lower()}", "by hand; the measured value is kept")
        for name in row.get("corrections") or ()
    ]
    reasons = {**(sheet.analysis.get("null_reasons") or {}), **(row.get("null_reasons") or {})}
    rows += [(f"No {text.label(str(name)).lower()}", text.one_line(reason, 200)) for name, reason in list(reasons.items())[:12]]
    said = row.get("ai_analysis")
    if isinstance(said, Mapping):
        words = [said.get("genre"), *(said.get("moods") or ()), said.get("era"), said.get("description")]
        rows.append(("AI annotation", ", ".join(text.one_line(word, 300) for word in words if isinstance(word, str) and word)))
    return [(label, value) for label, value in rows if value]


def dimensions(sheet: TrackSheet) -> list[tuple[str, float | None, float | None]]:
    """Return (dimension, the track's value, the library's median)."""
    values = sheet.row.get("hamms") or {}
    return [(text.HAMMS_LABELS[name], finite(values.get(name)), finite(sheet.usual.get(name))) for name in HAMMS_NAMES]


def apart(match: Match) -> str:
    """Return the dimensions that make most of the distance."""
    ranked = sorted(match.shares.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{text.label(name, text.HAMMS_LABELS).lower()} {share:.0%}" for name, share in ranked if share > 0.05)


def percentile(value: float | None) -> str:
    """Return a percentile; 100 would say that nothing is more alike."""
    return text.NOTHING if value is None else f"{min(value, 99.9):.1f}"


def made_by(sheet: TrackSheet) -> str:
    """Return which analysis made the values, and when."""
    parts = [f"analysis {text.one_line(sheet.row.get('analysis_version'), 60)}"] if sheet.row.get("analysis_version") else []
    at = sheet.row.get("analyzed_at")
    parts += [f"of {text.one_line(at, 40)[:16].replace('T', ', ')}"] if at else []
    return " ".join(parts)


# ------------------------------------------------------------------ a playlist in words
def playlist_facts(sheet: PlaylistSheet) -> list[tuple[str, str]]:
    """Return the figures of a playlist."""
    seconds = [finite(track.get("duration")) for track in sheet.tracks]
    tempi_known = [bpm for track in sheet.tracks if (bpm := finite(track.get("bpm"))) is not None]
    span = f"{min(tempi_known):.0f}\u2013{max(tempi_known):.0f}" if tempi_known else text.NOTHING
    scores = [step.score for step in sheet.steps]
    return [
        (text.count(len(sheet.tracks)), "tracks"),
        (text.length(sum(value or 0 for value in seconds)), "long" if None not in seconds else "long, some lengths unknown"),
        (span, "BPM"),
        (text.number(sum(scores) / len(scores), 2) if scores else text.NOTHING, "mean transition, 0 to 1"),
        (text.number(min(scores), 2) if scores else text.NOTHING, "weakest transition"),
    ]


def starts(sheet: PlaylistSheet) -> list[float | None]:
    """Return when each track begins, seconds; None after one of unknown length."""
    found: list[float | None] = []
    at: float | None = 0.0
    for track in sheet.tracks:
        found.append(at)
        length = finite(track.get("duration"))
        at = None if at is None or length is None else at + length
    return found


def playlist_words(sheet: PlaylistSheet) -> str:
    """Return how the playlist came to be."""
    made = {"set": "Built as a set.", "edited": "Built as a set, then edited by hand."}.get(sheet.kind, "Made by hand.")
    proven = " Proven to be the best for these wishes." if sheet.kind == "set" and sheet.cost.get("proven") else ""
    return f"{text.one_line(sheet.description, 300)} {made}{proven}".strip()


def labels_of(sheet: PlaylistSheet) -> list[tuple[str, int]]:
    """Return (kind of transition, how many), in the order from smooth to hard."""
    order = ("blend", "harmonic mix", "tempo match", "creative", "avoid")
    counts = {label: sum(step.label == label for step in sheet.steps) for label in order}
    return [(text.label(label), count) for label, count in counts.items() if count]


def track_words(track: Mapping[str, Any]) -> str:
    """Return artist and title of a row."""
    return series.named(text.track_name(track.get("title"), track["path"]), text.one_line(track.get("artist"), 100))


def state(track: Mapping[str, Any]) -> str:
    """Return what is wrong with a row, empty for nothing."""
    return "file missing" if track.get("missing_since") else "" if track.get("status") == "ok" else str(track.get("status"))
