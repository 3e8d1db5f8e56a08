"""What deserves a look, in the PDF: findings, doubtful values, wrong tags, duplicates, failures; and lists and versions."""

from collections.abc import Iterator

from reportlab.platypus import KeepTogether, Spacer
from reportlab.platypus.flowables import Flowable

from map4_pipeline.reports import palette, pdf_charts, series, text
from map4_pipeline.reports.digest import Digest
from map4_pipeline.reports.model import LibrarySnapshot, TrackRow
from map4_pipeline.reports.pdf_layout import (
    BODY,
    CELL,
    EMPTY,
    MEASURE,
    SMALL,
    SUBHEADING,
    Lines,
    note,
    nothing,
    paragraph,
    path_tail,
    section,
    table,
)
from map4_pipeline.reports.statistics import finite

Flow = Iterator[Flowable]


def quality(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """Findings: what deserves a look, and the files that show it most."""
    rows = series.quality_rows(snapshot)
    yield from section("Quality", full=bool(rows))
    if rows:
        cells = [(words, text.count(tracks), meaning) for words, tracks, meaning in rows]
        yield table(("Finding", "Tracks", "What it means"), cells, (26, 10, 64), right=(1,))
    elif snapshot.statistics.measured:
        yield paragraph("Nothing to report: no clipping, no conflicts, no doubtful values.", EMPTY)
    else:
        yield nothing("there is no analysed track to judge.")
    for words, total, tracks in series.flagged_groups(snapshot, selection)[:12]:
        more = f", {text.count(len(tracks))} of {text.count(total)}" if total > len(tracks) else ""
        files = [(path_tail(path, MEASURE * 0.4), Lines(message, CELL, limit=2)) for path, _, message in tracks]
        yield KeepTogether([paragraph(f"{words}{more}", SUBHEADING), table(("File", "What was found"), files, (42, 58))])


def review(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """Tempo and keys to listen to, and tags that disagree."""
    if not selection.doubtful and not selection.conflicts:
        return
    yield from section("To review")
    if selection.doubtful:
        yield paragraph("Doubtful tempo or key: listen to these", SUBHEADING)
        yield note(len(selection.doubtful), selection.doubtful_total, "least certain first")
        yield table(
            ("Track", "Artist", "BPM", "Sure", "or", "Key", "Sure", "or"),
            [_doubtful_cells(row) for row in selection.doubtful],
            (30, 21, 8, 7, 8, 8, 7, 11),
            right=(2, 3, 4, 5, 6, 7),
        )
    if selection.conflicts:
        yield paragraph("Tags that disagree with the sound", SUBHEADING)
        yield note(len(selection.conflicts), selection.conflict_total, "surest measurement first")
        yield table(
            ("Track", "Artist", "What", "Tag says", "Measured", "Sure"),
            [
                (
                    text.track_name(item.row.title, item.row.file_path),
                    item.row.artist or "",
                    series.CONFLICT_LABELS[item.kind],
                    item.tag,
                    item.measured,
                    _share(item.row.key_confidence if item.kind == "key" else item.row.bpm_confidence),
                )
                for item in selection.conflicts
            ],
            (31, 22, 13, 13, 15, 6),
            right=(5,),
        )


def _doubtful_cells(row: TrackRow) -> tuple[str, ...]:
    return (
        text.track_name(row.title, row.file_path),
        text.one_line(row.artist),
        text.number(row.bpm, 1),
        _share(row.bpm_confidence),
        text.number(row.bpm_alternatives[0].get("value"), 1) if row.bpm_alternatives else "",
        row.camelot or text.NOTHING,
        _share(row.key_confidence),
        text.one_line(row.key_alternatives[0].get("value"), 20) if row.key_alternatives else "",
    )


def _share(value: float | None) -> str:
    confidence = finite(value)
    return text.NOTHING if confidence is None else f"{confidence:.0%}"


def duplicates(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """Files that hold the same recording."""
    yield from section("Duplicates", full=bool(selection.duplicates))
    if not selection.duplicates:
        yield paragraph("No duplicates were found.", EMPTY)
        return
    yield paragraph(series.duplicates_sentence(selection))
    kinds = [(words, text.count(groups)) for words, groups in series.duplicate_kinds(selection)]
    yield table(("How it is known", "Groups"), kinds, (80, 20), right=(1,), total=MEASURE * 0.5)
    yield Spacer(1, 12)
    yield note(
        len(selection.duplicates), selection.duplicate_total, "those first that take the most room; ✓ marks the one to keep"
    )
    rows: list[tuple[str, ...]] = []
    for number, group in enumerate(selection.duplicates, 1):
        room = text.size(group.surplus_bytes) if group.surplus_bytes else ""
        for index, member in enumerate(group.members[:20]):
            first = (str(number), text.label(group.kind, text.DUPLICATE_LABELS)) if index == 0 else ("", "")
            mark = "✓" if member == group.keeper else ""
            rows.append((*first, mark, path_tail(member, MEASURE * 0.545), room if index == 0 else ""))
        if len(group.members) > 20:
            rows.append(("", "", "", f"and {text.count(len(group.members) - 20)} more", ""))
    yield table(("", "How it is known", "", "File", "Copies"), rows, (4, 28, 3, 56, 9), right=(4,))
    if selection.duplicate_total > len(selection.duplicates):
        left = selection.duplicate_total - len(selection.duplicates)
        yield paragraph(f"The other {text.count(left)} groups are in the workbook.", SMALL)


def failures(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """Files that could not be analysed."""
    yield from section("Failures", full=False)
    if not selection.failures:
        yield paragraph("No file failed.", EMPTY)
        return
    yield paragraph(series.failures_sentence(selection))
    rows = [
        (path_tail(item.path, MEASURE * 0.41), text.label(item.kind), Lines(item.message, SMALL, limit=3))
        for item in selection.failures
    ]
    yield table(("File", "Kind", "Reason"), rows, (43, 13, 44))
    if selection.failure_total > len(selection.failures):
        yield paragraph(f"The other {text.count(selection.failure_total - len(selection.failures))} are in the workbook.", SMALL)


def tracks(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """The first tracks."""
    yield from section("Tracks", full=bool(selection.tracks))
    if not selection.tracks:
        yield paragraph("The library holds no tracks.", EMPTY)
        return
    shown, total = len(selection.tracks), selection.track_total
    words = f"All {text.tracks(total)}." if shown == total else f"The first {text.count(shown)} of {text.tracks(total)}."
    yield paragraph(words + ("" if shown == total else " The whole library is in the workbook."), BODY)
    rows = [
        (
            text.track_name(row.title, row.file_path),
            text.one_line(row.artist),
            text.one_line(row.genre),
            *(
                ("failed", "", "", "", "")
                if row.status == "failed"
                else (
                    text.number(row.bpm, 1),
                    row.camelot or text.NOTHING,
                    text.number(row.energy, 2),
                    text.number(row.loudness_lufs, 1),
                    text.length(row.duration),
                )
            ),
        )
        for row in selection.tracks
    ]
    header = ("Title", "Artist", "Genre", "BPM", "Key", "Energy", "LUFS", "Time")
    yield table(header, rows, (31, 24, 14, 8, 6, 8, 8, 7), right=(3, 4, 5, 6, 7))


def annotations(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """What the AI annotations say."""
    charts = series.annotation_charts(selection)
    yield from section("AI annotations", full=bool(charts))
    yield paragraph(series.annotation_sentence(snapshot.statistics))
    facts = [(words, text.count(tracks)) for words, tracks in series.annotation_facts(selection)]
    if (sure := selection.annotations.mean_confidence) is not None:
        yield paragraph(f"Mean confidence {sure:.0%}. What contradicts a measurement is taken back and counted here.")
    if facts:
        yield table(("Annotations", "Tracks"), facts, (80, 20), right=(1,), total=MEASURE * 0.7)
    for name, chart in charts.items():
        yield KeepTogether([paragraph(name, SUBHEADING), pdf_charts.bars(chart, MEASURE, colour=palette.PINK)])


def versions(snapshot: LibrarySnapshot, selection: Digest) -> Flow:
    """Which analysis made the values."""
    s = snapshot.statistics
    yield from section("Versions", full=False)
    rows = [(stage, version, text.count(tracks)) for stage, version, tracks in series.version_rows(s)]
    if rows:
        yield paragraph("Which analysis made these values", SUBHEADING)
        yield table(("Stage", "Version", "Tracks"), rows, (30, 55, 15), right=(2,))
    else:
        yield nothing("no analysis has been made.")
