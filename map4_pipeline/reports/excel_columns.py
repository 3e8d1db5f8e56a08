"""What stands in the columns of the workbook's sheets."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from map4_pipeline.reports import digest, series, text
from map4_pipeline.reports.model import Failure, TrackRow
from map4_pipeline.reports.statistics import HAMMS_NAMES, finite

PERCENT = "0%"
DATE = "yyyy-mm-dd hh:mm"
#: An Excel time is a fraction of a day; [m] lets minutes run past 59.
LENGTH = "[m]:ss"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its header, its width in characters, how its value follows from the row, and its number format.

    `scale` marks values that get a colour from light to dark; `state` those in which "failed" stands out.
    """

    title: str
    width: float
    value: Callable[[Any], Any]
    number_format: str | None = None
    scale: bool = False
    state: bool = False


def _number(name: str) -> Callable[[TrackRow], float | None]:
    return lambda row: finite(getattr(row, name))


def _plain(name: str) -> Callable[[TrackRow], Any]:
    return lambda row: getattr(row, name)


def _dimension(name: str) -> Callable[[TrackRow], float | None]:
    return lambda row: finite(row.hamms.get(name))


def _moment(name: str) -> Callable[[TrackRow], datetime | None]:
    """Return the moment in UTC without a zone, because Excel knows none."""

    def value(row: TrackRow) -> datetime | None:
        moment: datetime | None = getattr(row, name)
        return moment.astimezone(UTC).replace(tzinfo=None, microsecond=0) if moment and moment.tzinfo else moment

    return value


def _length(row: TrackRow) -> float | None:
    seconds = finite(row.duration)
    return None if seconds is None else seconds / 86_400


def _state(row: TrackRow) -> str:
    return "failed" if row.status == "failed" else "missing" if row.missing else "ok"


def _tag_check(row: TrackRow) -> str:
    return "; ".join(series.CONFLICT_LABELS[conflict.kind] for conflict in digest.conflicts_of(row))


def _reasons(row: TrackRow) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in row.null_reasons.items())


def _findings(row: TrackRow) -> str:
    return "; ".join(str(finding.get("message") or finding.get("code")) for finding in row.findings)


def _versions(row: TrackRow) -> str:
    return "; ".join(f"{stage} {version}" for stage, version in row.analysis_versions.items())


def _annotation(row: TrackRow) -> str:
    return json.dumps(row.ai_analysis, ensure_ascii=False, default=str)


def _claim(name: str) -> Callable[[TrackRow], str]:
    """Return what an annotation says under a name, lists with commas between; whoever wrote it, it is shown as text."""

    def value(row: TrackRow) -> str:
        claim = (row.ai_analysis or {}).get(name)
        if isinstance(claim, list):
            return ", ".join(str(item) for item in claim)
        return claim if isinstance(claim, str) else ""

    return value


def _claimed_number(name: str) -> Callable[[TrackRow], float | None]:
    def value(row: TrackRow) -> float | None:
        claim = (row.ai_analysis or {}).get(name)
        return finite(claim) if isinstance(claim, int | float) and not isinstance(claim, bool) else None

    return value


def _contradictions(row: TrackRow) -> str:
    found = (row.ai_analysis or {}).get("contradictions")
    claims = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return "; ".join(f"{one.get('claim')}: {one.get('reason')}" for one in claims)


_IDENTITY = (
    Column("ID", 9, _plain("id"), "0"),
    Column("Title", 34, lambda row: text.track_name(row.title, row.file_path)),
    Column("Artist", 26, _plain("artist")),
)

LIBRARY: Sequence[Column] = (
    *_IDENTITY,
    Column("Album", 24, _plain("album")),
    Column("Genre", 16, _plain("genre")),
    Column("Year", 8, _plain("year"), "0"),
    Column("Length", 9, _length, LENGTH),
    Column("BPM", 8, _number("bpm"), "0.0"),
    Column("BPM confidence", 12, _number("bpm_confidence"), PERCENT, scale=True),
    Column("Key", 11, _plain("key")),
    Column("Camelot", 9, _plain("camelot")),
    Column("Key confidence", 12, _number("key_confidence"), PERCENT, scale=True),
    Column("Energy", 9, _number("energy"), "0.00", scale=True),
    Column("Loudness, LUFS", 11, _number("loudness_lufs"), "0.0"),
    Column("HAMMS confidence", 12, _number("hamms_confidence"), PERCENT, scale=True),
    Column("BPM in tags", 9, _number("tags_bpm"), "0.0"),
    Column("Key in tags", 11, _plain("tags_key")),
    Column("Tags disagree on", 16, _tag_check),
    Column("State", 9, _state, state=True),
    Column("Added (UTC)", 18, _moment("added_at"), DATE),
    Column("File", 60, _plain("file_path")),
)
HAMMS: Sequence[Column] = (
    *_IDENTITY,
    *(Column(text.HAMMS_LABELS[name], 11, _dimension(name), "0.000", scale=True) for name in HAMMS_NAMES),
    Column("Confidence", 12, _number("hamms_confidence"), PERCENT, scale=True),
    Column("Not measured because", 40, _reasons),
)
AI: Sequence[Column] = (
    *_IDENTITY,
    Column("Genre", 16, _claim("genre")),
    Column("Subgenre", 18, _claim("subgenre")),
    Column("Moods", 26, _claim("moods")),
    Column("Era", 9, _claim("era")),
    Column("Year", 7, _claimed_number("release_year"), "0"),
    Column("Confidence", 12, _claimed_number("confidence"), PERCENT, scale=True),
    Column("Tags", 30, _claim("tags")),
    Column("Description", 60, _claim("description")),
    Column("Contradicts what was measured", 40, _contradictions),
    Column("Provider", 12, _plain("ai_provider")),
    Column("Model", 20, _claim("model")),
    Column("All of it (JSON)", 40, _annotation),
    Column("File", 60, _plain("file_path")),
)
TECHNICAL: Sequence[Column] = (
    *_IDENTITY,
    Column("Codec", 10, _plain("codec")),
    Column("Sample rate, Hz", 11, _plain("sample_rate"), "#,##0"),
    Column("Bit rate, bit/s", 12, _plain("bit_rate"), "#,##0"),
    Column("Channels", 9, _plain("channels"), "0"),
    Column("Duration, s", 11, _number("duration"), "0.00"),
    Column("Size, bytes", 14, _plain("size_bytes"), "#,##0"),
    Column("Loudness, LUFS", 11, _number("loudness_lufs"), "0.0"),
    Column("True peak, dBTP", 11, _number("true_peak_dbtp"), "0.0"),
    Column("State", 9, _state, state=True),
    Column("Error", 14, _plain("error_kind")),
    Column("Error message", 50, _plain("error_message")),
    Column("Findings", 50, _findings),
    Column("Analysed (UTC)", 18, _moment("analyzed_at"), DATE),
    Column("Analysis versions", 30, _versions),
    Column("Audio hash", 20, _plain("audio_hash")),
    Column("File hash", 20, _plain("file_hash")),
    Column("Spectral hash", 20, _plain("spectral_hash")),
    Column("File", 60, _plain("file_path")),
)
#: Rows are (group, how it is known, files in the group, what is proposed, path).
DUPLICATES: Sequence[Column] = (
    Column("Group", 8, lambda row: row[0], "0"),
    Column("How it is known", 38, lambda row: row[1]),
    Column("Files", 8, lambda row: row[2], "0"),
    Column("Proposed", 44, lambda row: row[3]),
    Column("File", 100, lambda row: row[4]),
)


def _failure(index: int) -> Callable[[Failure], str]:
    return lambda failure: failure[index]


FAILURES: Sequence[Column] = (
    Column("File", 80, _failure(0)),
    Column("Kind", 16, _failure(1)),
    Column("Reason", 90, _failure(2)),
)
