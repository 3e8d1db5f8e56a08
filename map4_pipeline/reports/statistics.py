"""Counts and distributions of a library in one pass and constant memory.

`collect` serves the reports and the asset `library_statistics`. Quantiles come from fixed histograms (HAMMS: 400 bins of
0.0025, so a quantile is within half a bin), and lists of names (genres, codecs) are capped, so that a library of a million
tracks with a million misspelled genres needs no more memory than a small one.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC
from typing import TYPE_CHECKING, Any

from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.reports import tagcheck

if TYPE_CHECKING:
    from map4_pipeline.reports.model import TrackRow

#: Version of `LibraryStatistics.to_dict`; bump when a field changes its meaning.
STATISTICS_VERSION = 1

#: The twelve HAMMS v3.0 dimensions, in order.
HAMMS_NAMES = DIMENSIONS
#: The 24 positions of the Camelot wheel.
CAMELOT_CODES = tuple(f"{number}{letter}" for number in range(1, 13) for letter in "AB")
#: Below this probability a tempo or a key is worth a second look.
DOUBTFUL_BELOW = 0.5
#: Tempi are shown with one digit behind the point: 119.985 BPM are 120.0, and counted as such.
HALF_SHOWN_BPM = 0.05
#: EBU R128 extremes: louder than this is crushed, quieter is hard to hear next to others (Spotify's target is -14, R128's -23).
LOUD_ABOVE_LUFS = -6.0
QUIET_BELOW_LUFS = -30.0

_HAMMS_BINS = 400
_UNIT_BINS = 20
_MAX_NAMES = 2_000
_MAX_NAME_CHARS = 200
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_NUMBERS = ("bpm", "energy", "loudness_lufs", "true_peak_dbtp", "hamms_confidence")


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryStatistics:
    """Compact, precomputed counts of a library; JSON-ready by `to_dict`.

    Attributes
    ----------
    tracks, measured, failed, missing : int
        Files that are there and analysed; the same; those that are there and failed, folders that cannot be opened among them;
        those that were known and are gone. Each is counted in one of them, and what follows is of the first.
    duration_seconds : float
    size_bytes : int
    bpm : dict
        {whole BPM: tracks}, floor of the tempo as it is shown (`HALF_SHOWN_BPM`), held within 0..400.
    keys : dict
        {Camelot code: tracks}, always all 24.
    energy : dict
        {lower edge of a bin of 0.05: tracks}, as integers in hundredths (0, 5, ..., 95).
    loudness : dict
        {LUFS, floor, held within -70..5: tracks}.
    years : dict
        {year: tracks}.
    genres, codecs, sample_rates, findings, ai_providers, error_kinds
        {name: tracks}; at most 2,000 names each, the rest under `overflow`. `findings` holds {"count", "message"}.
    hamms : dict
        {dimension: {"count", "mean", "q05", "q25", "q50", "q75", "q95"}}; mean and quantiles None when nothing was measured.
    hamms_confidence_mean, bpm_mean, energy_mean, loudness_mean : float or None
    additions : dict
        {"YYYY-MM" in UTC: tracks}.
    versions : dict
        {stage: {version: tracks}}.
    null_reasons : dict
        {field: {reason: tracks}}.
    unmeasured : dict
        {field: tracks among the measured that have no value}.
    doubtful_bpm, doubtful_key : int
        Tracks whose confidence is below `DOUBTFUL_BELOW`.
    conflicts_bpm, conflicts_key : int
        Tracks whose tag disagrees with what was measured (`tagcheck`).
    bpm_confidence, key_confidence : dict
        Histograms as `energy`.
    annotated : int
        Tracks with an AI annotation.
    loud, quiet : int
        Tracks beyond `LOUD_ABOVE_LUFS` and `QUIET_BELOW_LUFS`.
    overflow : dict
        {list: tracks whose name did not fit into the cap}.
    """

    tracks: int = 0
    measured: int = 0
    failed: int = 0
    missing: int = 0
    duration_seconds: float = 0.0
    size_bytes: int = 0
    bpm: dict[int, int] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CAMELOT_CODES, 0))
    energy: dict[int, int] = field(default_factory=dict)
    loudness: dict[int, int] = field(default_factory=dict)
    years: dict[int, int] = field(default_factory=dict)
    genres: dict[str, int] = field(default_factory=dict)
    codecs: dict[str, int] = field(default_factory=dict)
    sample_rates: dict[int, int] = field(default_factory=dict)
    hamms: dict[str, dict[str, float | None]] = field(default_factory=lambda: {name: _no_summary() for name in HAMMS_NAMES})
    hamms_confidence_mean: float | None = None
    bpm_mean: float | None = None
    energy_mean: float | None = None
    loudness_mean: float | None = None
    additions: dict[str, int] = field(default_factory=dict)
    versions: dict[str, dict[str, int]] = field(default_factory=dict)
    null_reasons: dict[str, dict[str, int]] = field(default_factory=dict)
    unmeasured: dict[str, int] = field(default_factory=dict)
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)
    error_kinds: dict[str, int] = field(default_factory=dict)
    ai_providers: dict[str, int] = field(default_factory=dict)
    annotated: int = 0
    doubtful_bpm: int = 0
    doubtful_key: int = 0
    conflicts_bpm: int = 0
    conflicts_key: int = 0
    bpm_confidence: dict[int, int] = field(default_factory=dict)
    key_confidence: dict[int, int] = field(default_factory=dict)
    loud: int = 0
    quiet: int = 0
    overflow: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; whole-number keys become text as JSON demands."""
        values: dict[str, Any] = {"statistics_version": STATISTICS_VERSION}
        for name, value in asdict(self).items():
            values[name] = {str(key): item for key, item in value.items()} if isinstance(value, dict) else value
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LibraryStatistics":
        """Rebuild what `to_dict` made; unknown names are ignored, absent ones take their default."""
        known: dict[str, Any] = {}
        for item in fields(cls):
            if item.name not in values:
                continue
            value = values[item.name]
            known[item.name] = {int(key): count for key, count in value.items()} if item.name in _INTEGER_KEYS else value
        return cls(**known)


_INTEGER_KEYS = frozenset({"bpm", "energy", "loudness", "years", "sample_rates", "bpm_confidence", "key_confidence"})


class _Names:
    """A counter of names that stops taking in new names at the cap and counts the rest as overflow."""

    __slots__ = ("counts", "overflow")

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.overflow = 0

    def add(self, name: str) -> None:
        name = name[:_MAX_NAME_CHARS]
        if name in self.counts or len(self.counts) < _MAX_NAMES:
            self.counts[name] += 1
        else:
            self.overflow += 1

    def ranked(self) -> dict[str, int]:
        return dict(sorted(self.counts.items(), key=lambda item: (-item[1], item[0])))


class _Mean:
    """A running mean; None when nothing was added."""

    __slots__ = ("count", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value

    @property
    def value(self) -> float | None:
        return self.total / self.count if self.count else None


class _UnitSummary:
    """Mean and quantiles of values in [0, 1] from a fixed histogram."""

    __slots__ = ("bins", "highest", "lowest", "mean")

    def __init__(self) -> None:
        self.bins = [0] * _HAMMS_BINS
        self.mean = _Mean()
        self.lowest = 1.0
        self.highest = 0.0

    def add(self, value: float) -> None:
        value = min(max(value, 0.0), 1.0)
        self.bins[min(int(value * _HAMMS_BINS), _HAMMS_BINS - 1)] += 1
        self.mean.add(value)
        self.lowest = min(self.lowest, value)
        self.highest = max(self.highest, value)

    def summary(self) -> dict[str, float | None]:
        result = _no_summary()
        if not self.mean.count:
            return result
        result["count"] = self.mean.count
        # Rounding of the sum must not carry the mean out of the values it is the mean of.
        result["mean"] = min(max(self.mean.total / self.mean.count, self.lowest), self.highest)
        for quantile in _QUANTILES:
            result[f"q{round(quantile * 100):02d}"] = self._quantile(quantile)
        return result

    def _quantile(self, quantile: float) -> float:
        rank = quantile * self.mean.count
        below = 0
        for index, count in enumerate(self.bins):
            if count and below + count >= rank:
                inside = (rank - below) / count
                return min(max((index + inside) / _HAMMS_BINS, self.lowest), self.highest)
            below += count
        return self.highest


def _no_summary() -> dict[str, float | None]:
    return {"count": 0, "mean": None, **{f"q{round(quantile * 100):02d}": None for quantile in _QUANTILES}}


def hamms_summary(
    bins: Mapping[int, int], mean: float | None, lowest: float | None, highest: float | None
) -> dict[str, float | None]:
    """Return one dimension's summary from a histogram that somebody else counted.

    Parameters
    ----------
    bins : mapping
        {bin of 1/400, 0 to 399: tracks}; empty: nothing was measured.
    """
    summary = _UnitSummary()
    if mean is None or lowest is None or highest is None:
        return summary.summary()
    for number, count in bins.items():
        summary.bins[number] = count
    summary.mean.count = sum(bins.values())
    summary.mean.total = mean * summary.mean.count
    summary.lowest, summary.highest = lowest, highest
    return summary.summary()


def ranked_names(counts: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Return the names that fit into the cap, the most frequent first, and how many tracks have another one."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return dict(ranked[:_MAX_NAMES]), sum(count for _, count in ranked[_MAX_NAMES:])


def finite(value: Any) -> float | None:
    """Return `value` as a float if it is a finite number, else None (a stored NaN is not a measurement)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


class _Collector:
    """The state of one pass; `finish` makes the frozen result."""

    def __init__(self) -> None:
        self.total = Counter[str]()
        self.duration_seconds = 0.0
        self.histograms: dict[str, Counter[int]] = {name: Counter() for name in _INTEGER_KEYS}
        self.keys: dict[str, int] = dict.fromkeys(CAMELOT_CODES, 0)
        self.names = {name: _Names() for name in ("genres", "codecs", "error_kinds", "ai_providers")}
        self.nested: dict[str, dict[str, _Names]] = {"versions": {}, "null_reasons": {}}
        self.unmeasured = Counter[str]()
        self.findings: dict[str, dict[str, Any]] = {}
        self.additions = Counter[str]()
        self.hamms = {name: _UnitSummary() for name in HAMMS_NAMES}
        self.means = {name: _Mean() for name in ("bpm", "energy", "loudness_lufs", "hamms_confidence")}
        self.overflow = Counter[str]()

    def add(self, row: "TrackRow") -> None:
        if row.missing:
            self.total["missing"] += 1
            return
        if row.status == "failed":
            self.total["failed"] += 1
            self.names["error_kinds"].add(row.error_kind or "unknown")
            return
        self.total["tracks"] += 1
        self.total["measured"] += 1
        self.total["size_bytes"] += row.size_bytes or 0
        if row.added_at is not None:
            added = row.added_at.astimezone(UTC) if row.added_at.tzinfo else row.added_at
            self._count_plain("additions", self.additions, f"{added:%Y-%m}")
        if row.genre and row.genre.strip():
            self.names["genres"].add(row.genre.strip())
        if row.year is not None:
            self._count_histogram("years", int(row.year))
        self._add_technical(row)
        self._add_measured(row)
        for finding in row.findings:
            self._add_finding(finding)
        for stage, version in row.analysis_versions.items():
            self._count_nested("versions", stage, version)
        for name, reason in row.null_reasons.items():
            self._count_nested("null_reasons", name, reason)
        if row.ai_analysis:
            self.total["annotated"] += 1
            self.names["ai_providers"].add(row.ai_provider or "unknown")

    def _add_technical(self, row: "TrackRow") -> None:
        self.duration_seconds += finite(row.duration) or 0.0
        if row.codec:
            self.names["codecs"].add(row.codec)
        if row.sample_rate:
            self._count_histogram("sample_rates", int(row.sample_rate))

    def _add_measured(self, row: "TrackRow") -> None:
        self.unmeasured["key"] += row.key is None
        for name in _NUMBERS:
            number = finite(getattr(row, name))
            if number is None:
                self.unmeasured[name] += 1
            elif name in self.means:
                self.means[name].add(number)
        if (bpm := finite(row.bpm)) is not None:
            self.histograms["bpm"][min(max(math.floor(bpm + HALF_SHOWN_BPM), 0), 400)] += 1
            self.total["conflicts_bpm"] += tagcheck.bpm_conflict(bpm, row.tags_bpm) is not None
        camelot = row.camelot or tagcheck.camelot_of(row.key)
        if camelot in self.keys:
            self.keys[camelot] += 1
            self.total["conflicts_key"] += tagcheck.key_conflict(camelot, row.tags_key) is not None
        if (energy := finite(row.energy)) is not None:
            self._count_unit("energy", energy)
        if (loudness := finite(row.loudness_lufs)) is not None:
            self.histograms["loudness"][min(max(math.floor(loudness), -70), 5)] += 1
            self.total["loud"] += loudness > LOUD_ABOVE_LUFS
            self.total["quiet"] += loudness < QUIET_BELOW_LUFS
        for name in ("bpm", "key"):
            confidence = finite(getattr(row, f"{name}_confidence"))
            if confidence is not None and getattr(row, name) is not None:
                self._count_unit(f"{name}_confidence", confidence)
                self.total[f"doubtful_{name}"] += confidence < DOUBTFUL_BELOW
        for name, summary in self.hamms.items():
            if (value := finite(row.hamms.get(name))) is not None:
                summary.add(value)

    def _add_finding(self, finding: Mapping[str, Any]) -> None:
        code = str(finding.get("code") or "other")[:_MAX_NAME_CHARS]
        entry = self.findings.get(code)
        if entry is not None:
            entry["count"] += 1
        elif len(self.findings) < _MAX_NAMES:
            self.findings[code] = {"count": 1, "message": str(finding.get("message") or "")[:500]}
        else:
            self.overflow["findings"] += 1

    def _count_unit(self, name: str, value: float) -> None:
        width = 100 // _UNIT_BINS
        self.histograms[name][min(max(int(value * _UNIT_BINS + 1e-9), 0), _UNIT_BINS - 1) * width] += 1

    def _count_histogram(self, name: str, key: int) -> None:
        counts = self.histograms[name]
        if key in counts or len(counts) < _MAX_NAMES:
            counts[key] += 1
        else:
            self.overflow[name] += 1

    def _count_plain(self, name: str, counts: Counter[str], key: str) -> None:
        if key in counts or len(counts) < _MAX_NAMES:
            counts[key] += 1
        else:
            self.overflow[name] += 1

    def _count_nested(self, name: str, outer: str, inner: str) -> None:
        groups = self.nested[name]
        if outer not in groups and len(groups) >= 100:
            self.overflow[name] += 1
            return
        groups.setdefault(outer, _Names()).add(str(inner))

    def finish(self) -> LibraryStatistics:
        for name, names in self.names.items():
            self.overflow[name] += names.overflow
        for name, groups in self.nested.items():
            self.overflow[name] += sum(names.overflow for names in groups.values())
        values: dict[str, Any] = {name: self.total[name] for name in _TOTALS}
        values |= {name: dict(sorted(counts.items())) for name, counts in self.histograms.items()}
        values |= {name: names.ranked() for name, names in self.names.items()}
        for name, groups in self.nested.items():
            values[name] = {outer: names.ranked() for outer, names in sorted(groups.items())}
        return LibraryStatistics(
            **values,
            duration_seconds=self.duration_seconds,
            keys=self.keys,
            hamms={name: summary.summary() for name, summary in self.hamms.items()},
            hamms_confidence_mean=self.means["hamms_confidence"].value,
            bpm_mean=self.means["bpm"].value,
            energy_mean=self.means["energy"].value,
            loudness_mean=self.means["loudness_lufs"].value,
            additions=dict(sorted(self.additions.items())),
            unmeasured={name: count for name, count in self.unmeasured.items() if count},
            findings=self.findings,
            overflow={name: count for name, count in self.overflow.items() if count},
        )


_TOTALS = (
    "tracks",
    "measured",
    "failed",
    "missing",
    "size_bytes",
    "annotated",
    "doubtful_bpm",
    "doubtful_key",
    "conflicts_bpm",
    "conflicts_key",
    "loud",
    "quiet",
)


def collect(rows: "Iterable[TrackRow]") -> LibraryStatistics:
    """Count a library in one pass.

    Parameters
    ----------
    rows : iterable of TrackRow
        Any order; consumed once, one row at a time.

    Returns
    -------
    LibraryStatistics
        Means over what was measured; a value that is None or not finite counts as not measured.
    """
    collector = _Collector()
    for row in rows:
        collector.add(row)
    return collector.finish()
