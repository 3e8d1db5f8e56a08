"""What a report on paper or on one page shows of single tracks, chosen in one pass.

A report cannot list 100,000 tracks, so it keeps the first ones, the most doubtful and the ones whose tags disagree; each list is
bounded, whatever the library's size.
"""

import heapq
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeVar

from map4_pipeline.reports import tagcheck
from map4_pipeline.reports.annotated import AnnotationSummary
from map4_pipeline.reports.clusters import Cluster, Sample, find_clusters
from map4_pipeline.reports.model import DuplicateGroup, Failure, LibrarySnapshot, TrackRow
from map4_pipeline.reports.statistics import DOUBTFUL_BELOW, finite

T = TypeVar("T")

#: Kinds of findings of which tracks are listed; MAP4 has some fifteen.
_MAX_CODES = 40


class Limits(NamedTuple):
    """How many of each list a report shows."""

    tracks: int
    review: int
    duplicates: int
    failures: int
    flagged: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """A tag that disagrees with the measured value; `kind` is "ratio", "different" (tempo) or "key"."""

    row: TrackRow
    kind: str
    tag: str
    measured: str


class Flagged(NamedTuple):
    """A track with a finding, and what it says."""

    row: TrackRow
    message: str


@dataclass(slots=True)
class Digest:
    """Bounded selections of a library's tracks and the true totals beside them.

    Attributes
    ----------
    tracks : list of TrackRow
        The first ones in the snapshot's order.
    track_total : int
    doubtful : list of TrackRow
        The least certain tempo or key first.
    conflicts : list of Conflict
        Those measured with most confidence first: there the tag is most likely wrong.
    flagged : dict
        {code of a finding: tracks that show it most}; how many do is in the statistics.
    duplicates : list of DuplicateGroup
        The first ones.
    duplicate_kinds : Counter
        {kind: groups}, of all.
    duplicate_total, duplicate_files, surplus_bytes : int
    failures : list of Failure
        The first ones.
    failure_total : int
    clusters : list of Cluster
        Groups of tracks that sound alike.
    clustered : int
        Tracks in which they were looked for.
    annotations : AnnotationSummary
    """

    tracks: list[TrackRow] = field(default_factory=list)
    track_total: int = 0
    doubtful: list[TrackRow] = field(default_factory=list)
    doubtful_total: int = 0
    conflicts: list[Conflict] = field(default_factory=list)
    conflict_total: int = 0
    flagged: dict[str, list[Flagged]] = field(default_factory=dict)
    duplicates: list[DuplicateGroup] = field(default_factory=list)
    duplicate_kinds: Counter[str] = field(default_factory=Counter)
    duplicate_total: int = 0
    duplicate_files: int = 0
    surplus_bytes: int = 0
    failures: list[Failure] = field(default_factory=list)
    failure_total: int = 0
    clusters: list[Cluster] = field(default_factory=list)
    clustered: int = 0
    annotations: AnnotationSummary = field(default_factory=AnnotationSummary)

    def shortened(self, limits: Limits) -> "Digest":
        """Return the same with shorter lists: two reports of one library need one pass."""
        return replace(
            self,
            tracks=self.tracks[: limits.tracks],
            doubtful=self.doubtful[: limits.review],
            conflicts=self.conflicts[: limits.review],
            flagged={code: rows[: limits.flagged] for code, rows in self.flagged.items()},
            duplicates=self.duplicates[: limits.duplicates],
            failures=self.failures[: limits.failures],
        )


class _Best(Generic[T]):
    """The `limit` items of lowest rank seen so far, in a heap of that size."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0
        self._heap: list[tuple[float, int, T]] = []

    def add(self, rank: float, item: T) -> None:
        self.total += 1
        # The running number keeps the order of equals and spares comparing the items.
        entry = (-rank, -self.total, item)
        if len(self._heap) < self.limit:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, entry)

    def items(self) -> list[T]:
        return [entry[2] for entry in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]


def least_certain(row: TrackRow) -> float | None:
    """Return the lower of the confidences in tempo and key that were measured; None when neither was."""
    pairs = ((row.bpm, row.bpm_confidence), (row.key, row.key_confidence))
    known = [confidence for value, raw in pairs if value is not None and (confidence := finite(raw)) is not None]
    return min(known, default=None)


def conflicts_of(row: TrackRow) -> list[Conflict]:
    """Return where a track's tags disagree with what was measured."""
    found = []
    if kind := tagcheck.bpm_conflict(row.bpm, row.tags_bpm):
        found.append(Conflict(row, kind, f"{row.tags_bpm:g} BPM", f"{row.bpm:.1f} BPM"))
    if claimed := tagcheck.key_conflict(row.camelot, row.tags_key):
        found.append(Conflict(row, "key", _written(row.tags_key, claimed), f"{row.key} ({row.camelot})"))
    return found


def _written(tag: str | None, code: str) -> str:
    """Return a key as the tag writes it, with its code unless the tag is one."""
    written = (tag or "").strip()
    return code if written.upper().lstrip("0") == code else f"{written} ({code})"


def digest(snapshot: LibrarySnapshot, limits: Limits) -> Digest:
    """Stream the snapshot once and keep what a report of bounded length shows."""
    result = Digest()
    doubtful = _Best[TrackRow](limits.review)
    conflicts = _Best[Conflict](limits.review)
    flagged: dict[str, _Best[Flagged]] = {}
    sample = Sample()
    for row in snapshot.tracks():
        if result.track_total < limits.tracks:
            result.tracks.append(row)
        result.track_total += 1
        if row.status == "failed" or row.missing:
            continue
        certainty = least_certain(row)
        if certainty is not None and certainty < DOUBTFUL_BELOW:
            doubtful.add(certainty, row)
        for conflict in conflicts_of(row):
            confidence = row.key_confidence if conflict.kind == "key" else row.bpm_confidence
            conflicts.add(-(finite(confidence) or 0.0), conflict)
        for finding in row.findings:
            _flag(flagged, row, finding, limits.flagged)
        sample.add(row)
        result.annotations.add(row)
    result.doubtful, result.doubtful_total = doubtful.items(), doubtful.total
    result.conflicts, result.conflict_total = conflicts.items(), conflicts.total
    result.flagged = {code: best.items() for code, best in flagged.items()}
    result.clusters, result.clustered = find_clusters(sample), len(sample.members)
    for failure in snapshot.iterate_failures():
        result.failure_total += 1
        if len(result.failures) < limits.failures:
            result.failures.append(Failure(*failure))
    for group in snapshot.iterate_duplicates():
        kept = DuplicateGroup(*group)
        result.duplicate_total += 1
        result.duplicate_kinds[kept.kind] += 1
        result.duplicate_files += len(kept.members)
        result.surplus_bytes += kept.surplus_bytes
        if len(result.duplicates) < limits.duplicates:
            result.duplicates.append(kept)
    return result


def _flag(flagged: dict[str, _Best[Flagged]], row: TrackRow, finding: Any, limit: int) -> None:
    code = str(finding.get("code") or "other")
    if code not in flagged and len(flagged) < _MAX_CODES:
        flagged[code] = _Best(limit)
    if code in flagged:
        value = finite(finding.get("value"))
        # A cut-off counts the more the lower it is, everything else the higher.
        rank = 0.0 if value is None else value if code == "spectral_cutoff" else -abs(value)
        flagged[code].add(rank, Flagged(row, str(finding.get("message") or "")))
