"""From a library's statistics to what charts and tables show; the PDF, the page and the workbook draw the same series."""

from collections.abc import Mapping
from dataclasses import dataclass

from map4_pipeline.reports import text
from map4_pipeline.reports.clusters import SAMPLE as CLUSTER_SAMPLE
from map4_pipeline.reports.clusters import Cluster
from map4_pipeline.reports.digest import Digest
from map4_pipeline.reports.model import LibrarySnapshot
from map4_pipeline.reports.statistics import (
    CAMELOT_CODES,
    DOUBTFUL_BELOW,
    HAMMS_NAMES,
    LOUD_ABOVE_LUFS,
    QUIET_BELOW_LUFS,
    LibraryStatistics,
)

CONFLICT_LABELS = {"ratio": "Tempo, ratio", "different": "Tempo", "key": "Key"}


@dataclass(frozen=True, slots=True)
class Series:
    """Bars in order: where each stands (`labels`), how high it is (`counts`), and the words for one bar (`details`)."""

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    details: tuple[str, ...]

    @property
    def total(self) -> int:
        """Tracks in all bars."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure of "the library at a glance" with a note that says what it is of."""

    label: str
    value: str
    note: str


def _binned(counts: Mapping[int, int], width: int, unit: str, scale: float = 1.0, digits: int = 0) -> Series:
    """Merge fine bins into bins of `width`, without gaps between the first and the last."""
    merged: dict[int, int] = {}
    for value, tracks in counts.items():
        if tracks:
            start = value // width * width
            merged[start] = merged.get(start, 0) + tracks
    if not merged:
        return Series((), (), ())
    starts = range(min(merged), max(merged) + width, width)
    labels = tuple(text.number(start * scale, digits) for start in starts)
    details = tuple(
        f"{text.number(start * scale, digits)} to {text.number((start + width) * scale, digits)}{unit}" for start in starts
    )
    return Series(labels, tuple(merged.get(start, 0) for start in starts), details)


def tempo(statistics: LibraryStatistics) -> Series:
    """Return the tempi in bins of 5 BPM (10 or more where the library spans very much)."""
    span = max(statistics.bpm, default=0) - min(statistics.bpm, default=0)
    return _binned(statistics.bpm, 5 if span <= 200 else 10, " BPM")


def energy(statistics: LibraryStatistics) -> Series:
    """Return the energies in 20 bins of 0.05, all of them if there are any."""
    if not sum(statistics.energy.values()):
        return Series((), (), ())
    padded = {hundredth: statistics.energy.get(hundredth, 0) for hundredth in range(0, 100, 5)}
    labels = tuple(f"{hundredth / 100:.2f}" for hundredth in padded)
    details = tuple(f"{hundredth / 100:.2f} to {(hundredth + 5) / 100:.2f}" for hundredth in padded)
    return Series(labels, tuple(padded.values()), details)


def loudness(statistics: LibraryStatistics) -> Series:
    """Return the integrated loudness in bins of 1 LU, 2 or 5 where it spans much."""
    span = max(statistics.loudness, default=0) - min(statistics.loudness, default=0)
    return _binned(statistics.loudness, 1 if span <= 30 else 2 if span <= 50 else 5, " LUFS")


def years(statistics: LibraryStatistics) -> Series:
    """Return tracks a year, a half-decade or a decade, whichever gives at most some forty bars."""
    span = max(statistics.years, default=0) - min(statistics.years, default=0)
    width = 1 if span <= 40 else 5 if span <= 150 else 10 if span <= 400 else 100
    series = _binned(statistics.years, width, "")
    if width == 1:
        return Series(series.labels, series.counts, series.labels)
    details = tuple(f"{start} to {int(start) + width - 1}" for start in series.labels)
    return Series(series.labels, series.counts, details)


def _top(counts: Mapping[str, int], limit: int, extra: int = 0) -> Series:
    """Return the largest names, and the rest as one last bar."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(ranked) == limit + 1 and not extra:
        limit += 1  # the one that is left has a name, and takes no more room with it
    top, rest = ranked[:limit], ranked[limit:]
    names = [text.one_line(name, 200) for name, _ in top]
    tracks = [amount for _, amount in top]
    other = sum(amount for _, amount in rest) + extra
    if other:
        names.append(f"{text.count(len(rest))} others" if rest and not extra else "All others")
        tracks.append(other)
    return Series(tuple(names), tuple(tracks), tuple(names))


def genres(statistics: LibraryStatistics, limit: int = 15) -> Series:
    """Return the most frequent genres as tagged."""
    return _top(statistics.genres, limit, statistics.overflow.get("genres", 0))


def codecs(statistics: LibraryStatistics, limit: int = 8) -> Series:
    """Return the most frequent codecs."""
    return _top(statistics.codecs, limit, statistics.overflow.get("codecs", 0))


def additions(statistics: LibraryStatistics) -> Series:
    """Return tracks added a month, or a year where there are more than 36 months; gaps are shown."""
    months = {key: tracks for key, tracks in statistics.additions.items() if len(key) == 7}
    if not months:
        return Series((), (), ())
    indices = {int(key[:4]) * 12 + int(key[5:]) - 1: tracks for key, tracks in months.items()}
    if max(indices) - min(indices) < 36:
        span = range(min(indices), max(indices) + 1)
        labels = tuple(f"{index // 12}-{index % 12 + 1:02d}" for index in span)
        return Series(labels, tuple(indices.get(index, 0) for index in span), labels)
    by_year: dict[int, int] = {}
    for index, tracks in indices.items():
        by_year[index // 12] = by_year.get(index // 12, 0) + tracks
    labels = tuple(str(year) for year in range(min(by_year), max(by_year) + 1))
    return Series(labels, tuple(by_year.get(int(year), 0) for year in labels), labels)


def keys(statistics: LibraryStatistics) -> Series:
    """Return the 24 keys of the Camelot wheel, 1A, 1B, 2A, ..."""
    counts = tuple(statistics.keys.get(code, 0) for code in CAMELOT_CODES)
    return Series(CAMELOT_CODES, counts, tuple(text.CAMELOT_KEYS[code] for code in CAMELOT_CODES))


def hamms_measured(statistics: LibraryStatistics) -> bool:
    """Tell whether any HAMMS dimension was measured on any track."""
    return any(statistics.hamms.get(name, {}).get("count") for name in HAMMS_NAMES)


def median_tempo(statistics: LibraryStatistics) -> int | None:
    """Return the median of the tempi to a whole BPM."""
    half, below = sum(statistics.bpm.values()) / 2, 0
    for tempo_bpm, tracks in sorted(statistics.bpm.items()):
        below += tracks
        if tracks and below >= half:
            return tempo_bpm
    return None


def facts(snapshot: LibrarySnapshot, digest: Digest) -> list[Fact]:
    """Return the library at a glance."""
    s = snapshot.statistics
    keyed = sum(s.keys.values())
    top_key = max(s.keys, key=lambda code: s.keys[code]) if keyed else None
    top_words = "none found"
    if top_key:
        top_words = f"{text.CAMELOT_KEYS[top_key]}, {text.percent(s.keys[top_key], keyed)} of {text.count(keyed)}"
    per_track = _per(s.duration_seconds, s.measured)
    return [
        Fact("Tracks", text.count(s.tracks), f"analysed; {text.count(s.failed)} failed, {text.count(s.missing)} missing"),
        Fact(
            "Playing time",
            text.playing_time(s.duration_seconds),
            f"{text.length(per_track)} a track" if per_track else "nothing measured",
        ),
        Fact("Size", text.size(s.size_bytes), f"{text.size(_per(s.size_bytes, s.tracks) or 0)} a file"),
        Fact("Tempo", _with_unit(median_tempo(s), 0, "BPM"), f"median of {text.tracks(sum(s.bpm.values()))}"),
        Fact("Most frequent key", top_key or text.NOTHING, top_words),
        Fact("Energy", text.number(s.energy_mean, 2), "mean, 0 calm to 1 intense"),
        Fact("Loudness", _with_unit(s.loudness_mean, 1, "LUFS"), "mean, integrated"),
        Fact("HAMMS confidence", text.number(s.hamms_confidence_mean, 2), "mean, 0 to 1"),
        Fact("To review", text.count(digest.doubtful_total), f"tempo or key below {DOUBTFUL_BELOW:.0%} confidence"),
        Fact("Tag conflicts", text.count(digest.conflict_total), "tags that disagree with the sound"),
        Fact("Duplicates", text.count(digest.duplicate_total), f"groups, {text.count(digest.duplicate_files)} files"),
        Fact("Missing", text.count(s.missing), "known tracks, file gone"),
    ]


def _with_unit(value: float | None, digits: int, unit: str) -> str:
    return text.NOTHING if value is None else f"{text.number(value, digits)} {unit}"


def _per(total: float, number: int) -> float | None:
    return total / number if number else None


def ledger_rows(snapshot: LibrarySnapshot) -> list[tuple[str, str, int, str]]:
    """Return (key, label, count, explanation) of the ledger, in order."""
    return [(key, *_ledger_words(snapshot, key)) for key in text.LEDGER_LABELS]


def _ledger_words(snapshot: LibrarySnapshot, key: str) -> tuple[str, int, str]:
    label, explanation = text.LEDGER_LABELS[key]
    return label, int(snapshot.ledger.get(key, 0)), explanation


def ledger_verdict(snapshot: LibrarySnapshot) -> tuple[bool, str]:
    """Return whether the ledger adds up, and the sentence that says so."""
    values = {key: int(snapshot.ledger.get(key, 0)) for key in text.LEDGER_LABELS}
    parts = ("analysed", "reused", "unchanged", "failed", "skipped")
    accounted = sum(values[key] for key in parts)
    if not any(values.values()):
        return True, "No scan has been completed yet."
    if accounted == values["seen"]:
        return True, f"The ledger adds up: all {text.count(values['seen'])} files seen are accounted for."
    return False, (
        f"The ledger does not add up: {text.count(values['seen'])} files were seen, {text.count(accounted)} are accounted for."
    )


def quality_rows(snapshot: LibrarySnapshot) -> list[tuple[str, int, str]]:
    """Return (finding, tracks, explanation) of everything worth a look: failed files, findings, extremes, doubts, conflicts."""
    s = snapshot.statistics
    rows = [("Failed", s.failed, _counted(s.error_kinds))]
    for finding in snapshot.quality[:20]:
        example = f"e.g. “{text.one_line(finding.message, 120)}”" if finding.message else ""
        rows.append((text.label(finding.code, text.FINDING_LABELS), finding.track_count, example))
    rows += [
        ("Very loud", s.loud, f"above {text.number(LOUD_ABOVE_LUFS)} LUFS"),
        ("Very quiet", s.quiet, f"below {text.number(QUIET_BELOW_LUFS)} LUFS"),
        ("Doubtful tempo", s.doubtful_bpm, f"confidence below {DOUBTFUL_BELOW:.0%}"),
        ("Doubtful key", s.doubtful_key, f"confidence below {DOUBTFUL_BELOW:.0%}"),
        ("Tempo tag disagrees", s.conflicts_bpm, "more than 4% from the measured tempo"),
        ("Key tag disagrees", s.conflicts_key, "another key than the measured one"),
        ("No tempo", s.unmeasured.get("bpm", 0), _counted(s.null_reasons.get("bpm") or {})),
        ("No key", s.unmeasured.get("key", 0), _counted(s.null_reasons.get("key") or {})),
    ]
    return [row for row in rows if row[1]]


def flagged_groups(snapshot: LibrarySnapshot, selection: Digest) -> list[tuple[str, int, list[tuple[str, str, str]]]]:
    """Return (finding, tracks, [(path, artist and title, what was found)]), the most frequent finding first."""
    groups = []
    for finding in snapshot.quality:
        rows = [
            (flagged.row.file_path, named(text.track_name(flagged.row.title, flagged.row.file_path), flagged.row.artist or ""),
             text.one_line(flagged.message, 300))
            for flagged in selection.flagged.get(finding.code, ())
        ]  # fmt: skip
        if rows:
            groups.append((text.label(finding.code, text.FINDING_LABELS), finding.track_count, rows))
    return groups


def _counted(reasons: Mapping[str, int]) -> str:
    """Return the most frequent reasons and how many tracks have another one, so that the numbers add up."""
    ranked = sorted(reasons.items(), key=lambda item: -item[1])
    shown = len(ranked) if len(ranked) <= 4 else 3
    words = [f"{text.one_line(text.label(reason).lower(), 60)} ({text.count(tracks)})" for reason, tracks in ranked[:shown]]
    if rest := sum(tracks for _, tracks in ranked[shown:]):
        words.append(f"others ({text.count(rest)})")
    return ", ".join(words)


def named(title: str, artist: str) -> str:
    """Return "Artist, Title", or what of it there is."""
    return f"{text.one_line(artist, 100)} \u2013 {title}" if text.one_line(artist) else title


def additions_sentence(added: Series) -> str:
    """Return when how much was added, as a sentence."""
    most = max(range(len(added.counts)), key=lambda place: added.counts[place])
    if len(added.counts) == 1:
        return f"All {text.tracks(added.total)} were added in {added.details[0]}."
    return (
        f"{text.tracks(added.total)} from {added.details[0]} to {added.details[-1]}; "
        f"most of them, {text.count(added.counts[most])}, in {added.details[most]}."
    )


def clusters_sentence(selection: Digest) -> str:
    """Return how the groups were found."""
    looked = text.tracks(selection.clustered)
    if selection.clustered == CLUSTER_SAMPLE:
        looked = f"a random sample of {looked}"
    return (
        f"{len(selection.clusters)} groups of tracks that sound alike, found in {looked} by their HAMMS vectors. The line is the "
        "group's median, the dashed line the library's; the words are where they differ most."
    )


def cluster_facts(cluster: Cluster) -> str:
    """Return a group's size, tempo and genre."""
    parts = [text.percent(cluster.share, 1)]
    parts += [f"median {text.number(cluster.bpm)} BPM"] if cluster.bpm is not None else []
    parts += [f"most often {cluster.genre}"] if cluster.genre else []
    return ", ".join(parts)


def duplicates_sentence(selection: Digest) -> str:
    """Return how many duplicates there are and what they take."""
    groups = "1 group" if selection.duplicate_total == 1 else f"{text.count(selection.duplicate_total)} groups"
    freed = f" The copies beside the best ones take {text.size(selection.surplus_bytes)}." if selection.surplus_bytes else ""
    return f"{groups}, {text.count(selection.duplicate_files)} files.{freed} MAP4 deletes no file."


def failures_sentence(selection: Digest) -> str:
    """Return how many files failed."""
    files = "1 file" if selection.failure_total == 1 else f"{text.count(selection.failure_total)} files"
    return f"{files} could not be analysed and will be tried again when changed."


def duplicate_kinds(selection: Digest) -> list[tuple[str, int]]:
    """Return (how it is known, groups)."""
    return [(text.label(kind, text.DUPLICATE_LABELS), groups) for kind, groups in selection.duplicate_kinds.most_common(8)]


def annotation_charts(selection: Digest, limit: int = 10) -> dict[str, Series]:
    """Return what the AI annotations say, the most frequent first; without what none says."""
    found = selection.annotations
    parts = {"Genres": found.genres, "Moods": found.moods, "Eras": found.eras, "Tags": found.tags}
    return {name: _top(counts, limit) for name, counts in parts.items() if counts}


def annotation_facts(selection: Digest) -> list[tuple[str, int]]:
    """Return (what, tracks) of the annotations: who said them, and what was taken back."""
    found = selection.annotations
    rows = [(f"By {name}", tracks) for name, tracks in found.models.most_common(6)]
    rows += [("With a claim that was taken back", found.contradicted)] if found.contradicted else []
    return rows + [(f"  {reason}", claims) for reason, claims in found.contradictions.most_common(6)]


def version_rows(statistics: LibraryStatistics) -> list[tuple[str, str, int]]:
    """Return (stage, version, tracks)."""
    return [
        (text.label(stage), text.one_line(version, 80), tracks)
        for stage, versions in statistics.versions.items()
        for version, tracks in versions.items()
    ]


def annotation_sentence(statistics: LibraryStatistics) -> str:
    """Return what there is of AI annotations, as a sentence."""
    if not statistics.annotated:
        return "No track has an AI annotation."
    providers = ", ".join(f"{text.one_line(name, 40)} ({text.count(tracks)})" for name, tracks in statistics.ai_providers.items())
    return f"{text.count(statistics.annotated)} of {text.tracks(statistics.measured)} with an AI annotation: {providers}."
