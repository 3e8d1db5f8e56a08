"""What a report is made of: plain frozen values that the store fills and the writers read.

Nothing here formats, measures or opens anything, and importing it costs next to nothing. Lists that grow with the library
(`LibrarySnapshot.tracks`) are callables that start a fresh stream, so that 100,000 tracks are never held at once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from map4_pipeline.reports.statistics import LibraryStatistics

#: Keys of the ledger in the order in which every report shows them. seen = analysed + reused + unchanged + failed + skipped;
#: missing is a state of tracks and not part of that sum.
LEDGER_KEYS = ("seen", "analysed", "reused", "unchanged", "failed", "skipped", "missing")


class LibraryInfo(NamedTuple):
    """A library root. `root_text` is its path as text, escaped where it is no valid text."""

    name: str
    root_text: str
    track_count: int


class Failure(NamedTuple):
    """A file that could not be analysed: its path, a stable kind ("decode", "io", ...), a sentence for the user."""

    path: str
    kind: str
    message: str


class DuplicateGroup(NamedTuple):
    """Files that hold the same recording.

    Attributes
    ----------
    kind : str
        How that is known ("file", "audio", "fingerprint", ...).
    members : sequence of str
        Paths.
    keeper : str or None
        The one to keep, by what `reason` says.
    surplus_bytes : int
        What the others take.
    """

    kind: str
    members: Sequence[str]
    keeper: str | None = None
    reason: str = ""
    surplus_bytes: int = 0


class QualityFinding(NamedTuple):
    """How many tracks show a finding; `message` is one of the sentences, as an example."""

    code: str
    track_count: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRow:
    """One track as reports show it. Everything but the identity may be None: what was not measured stays empty.

    Attributes
    ----------
    id : int
    file_path : str
        The text form of the path, escaped without loss.
    size_bytes : int or None
    title, artist, album, genre, year
        From the tags or the user's correction.
    duration : float or None
        Seconds.
    sample_rate : int or None
        Hz.
    bit_rate : int or None
        bit/s.
    bpm_confidence, key_confidence, energy, hamms_confidence : float or None
        In [0, 1].
    bpm_alternatives, key_alternatives : sequence of mapping
        {"value": ..., "probability": ...}, most probable first.
    loudness_lufs, true_peak_dbtp : float or None
        EBU R128 integrated loudness and true peak.
    hamms : mapping
        The twelve names to values in [0, 1] or None.
    tags_bpm, tags_key
        What the file's tags claim, never mixed with what was measured.
    status : str
        "ok" or "failed".
    error_kind, error_message : str or None
        Why it failed.
    missing : bool
        The file is gone; the analysis is kept.
    null_reasons : mapping
        {field: reason} for what could not be measured.
    findings : sequence of mapping
        {"code", "message", "value"} as `audio.model.Finding`.
    ai_analysis : mapping or None
        As annotated; shown as data.
    added_at, analyzed_at : datetime or None
    analysis_versions : mapping
        {stage: version}, e.g. {"features": "map4/1"}.
    """

    id: int
    file_path: str
    size_bytes: int | None = None
    title: str | None = None
    artist: str | None = None
    album: str | None = None
    genre: str | None = None
    year: int | None = None
    duration: float | None = None
    sample_rate: int | None = None
    bit_rate: int | None = None
    channels: int | None = None
    codec: str | None = None
    bpm: float | None = None
    bpm_confidence: float | None = None
    bpm_alternatives: Sequence[Mapping[str, Any]] = ()
    key: str | None = None
    camelot: str | None = None
    key_confidence: float | None = None
    key_alternatives: Sequence[Mapping[str, Any]] = ()
    energy: float | None = None
    loudness_lufs: float | None = None
    true_peak_dbtp: float | None = None
    hamms: Mapping[str, float | None] = field(default_factory=dict)
    hamms_confidence: float | None = None
    tags_bpm: float | None = None
    tags_key: str | None = None
    status: str = "ok"
    error_kind: str | None = None
    error_message: str | None = None
    missing: bool = False
    null_reasons: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[Mapping[str, Any]] = ()
    file_hash: str | None = None
    audio_hash: str | None = None
    spectral_hash: str | None = None
    ai_provider: str | None = None
    ai_analysis: Mapping[str, Any] | None = None
    added_at: datetime | None = None
    analyzed_at: datetime | None = None
    analysis_versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LibrarySnapshot:
    """A library at one moment, as the writers take it.

    Attributes
    ----------
    title : str
        Of the report.
    generated_at : datetime
        Aware; shown as given.
    libraries : sequence of LibraryInfo
    ledger : mapping
        `LEDGER_KEYS` to counts, of the last completed scan; absent keys count as 0.
    statistics : LibraryStatistics
        `statistics.collect` over the same tracks, or its stored form.
    tracks : callable
        Starts a fresh stream of the tracks in the order in which the report shows them. A writer may call it more than
        once; each stream has to be of the same state (one transaction).
    failures : callable or sequence of Failure
        A callable starts a fresh stream, for libraries in which very much failed.
    skipped : mapping
        {reason: count}.
    duplicates : callable or sequence of DuplicateGroup
    """

    title: str
    generated_at: datetime
    libraries: Sequence[LibraryInfo]
    ledger: Mapping[str, int]
    statistics: LibraryStatistics
    tracks: Callable[[], Iterator[TrackRow]]
    failures: Sequence[Failure] | Callable[[], Iterable[Failure]] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    duplicates: Sequence[DuplicateGroup] | Callable[[], Iterable[DuplicateGroup]] = ()

    @property
    def quality(self) -> list[QualityFinding]:
        """Findings about the files' quality, most frequent first; counted by `statistics.collect`."""
        found = [
            QualityFinding(code, int(entry["count"]), str(entry["message"])) for code, entry in self.statistics.findings.items()
        ]
        return sorted(found, key=lambda item: (-item.track_count, item.code))

    def iterate_failures(self) -> Iterator[Failure]:
        """Yield the failures, whichever way they were handed over."""
        return iter(self.failures() if callable(self.failures) else self.failures)

    def iterate_duplicates(self) -> Iterator[DuplicateGroup]:
        """Yield the duplicate groups, whichever way they were handed over."""
        return iter(self.duplicates() if callable(self.duplicates) else self.duplicates)


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A report that was written.

    Attributes
    ----------
    path : Path
    size_bytes : int
    format : str
        The ending of its kind: "pdf", "html", "xlsx", "csv", "parquet", ...
    duration_ms : int
        Wall time of the writing.
    """

    path: Path
    size_bytes: int
    format: str
    duration_ms: int
