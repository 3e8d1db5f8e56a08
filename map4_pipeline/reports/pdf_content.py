"""What stands in the PDF, section by section."""

from collections.abc import Callable, Iterator

from reportlab.lib.colors import HexColor
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import CondPageBreak, KeepTogether, PageBreak, Spacer, Table, TableStyle
from reportlab.platypus.flowables import Flowable

from map4_pipeline.reports import fontstack, palette, pdf_charts, series, text
from map4_pipeline.reports.digest import Digest
from map4_pipeline.reports.model import LibrarySnapshot, TrackRow
from map4_pipeline.reports.pdf_layout import (
    BODY,
    EMPTY,
    HEADING,
    MARGIN,
    MEASURE,
    PAGE_HEIGHT,
    PAGE_WIDTH,
    SMALL,
    SUBHEADING,
    Heading,
    Lines,
    contents,
    draw,
    paragraph,
    table,
)
from map4_pipeline.reports.statistics import DOUBTFUL_BELOW, HAMMS_NAMES, finite

_Flow = Iterator[Flowable]


def cover(snapshot: LibrarySnapshot) -> Callable[[Canvas], None]:
    """Return what draws the first page."""

    def paint(canvas: Canvas) -> None:
        canvas.saveState()
        canvas.setFillColor(HexColor(palette.NIGHT))
        canvas.rect(0, 0, PAGE_WIDTH, PAGE_HEIGHT, stroke=0, fill=1)
        _cover_skyline(canvas, snapshot)
        draw(canvas, MARGIN, PAGE_HEIGHT - 30 * mm, "MAP4", 13, "#ffffff", font=fontstack.BOLD)
        draw(canvas, MARGIN + 44, PAGE_HEIGHT - 30 * mm, "Music library report", 13, "#a9bccd")
        y = PAGE_HEIGHT - 78 * mm
        for line in _cover_title(snapshot.title):
            draw(canvas, MARGIN, y, line, 36, "#ffffff", font=fontstack.BOLD)
            y -= 43
        draw(canvas, MARGIN, y + 4, text.moment(snapshot.generated_at), 12, "#a9bccd")
        _cover_figures(canvas, snapshot, y - 62)
        y = 58 * mm
        for library in list(snapshot.libraries)[:4]:
            draw(canvas, MARGIN, y, fontstack.fit(library.name, 140, 10, fontstack.BOLD), 10, "#ffffff", font=fontstack.BOLD)
            draw(canvas, MARGIN + 150, y, fontstack.fit(library.root_text, MEASURE - 150, 10), 10, "#a9bccd")
            y -= 16
        if len(snapshot.libraries) > 4:
            draw(canvas, MARGIN, y, f"and {len(snapshot.libraries) - 4} more", 10, "#a9bccd")
        canvas.restoreState()

    return paint


def _cover_title(title: str) -> list[str]:
    """Break a title into at most three lines."""
    lines: list[str] = []
    words = (text.one_line(title, 200) or "Music library").split(" ")
    while words and len(lines) < 3:
        line = words.pop(0)
        while words and fontstack.width(f"{line} {words[0]}", 36, fontstack.BOLD) <= MEASURE:
            line += f" {words.pop(0)}"
        if words and len(lines) == 2:
            line += " " + " ".join(words)
        lines.append(fontstack.fit(line, MEASURE, 36, fontstack.BOLD))
    return lines


def _cover_figures(canvas: Canvas, snapshot: LibrarySnapshot, y: float) -> None:
    s = snapshot.statistics
    figures = (
        (text.count(s.tracks), "track" if s.tracks == 1 else "tracks"),
        (text.playing_time(s.duration_seconds), "of music"),
        (text.size(s.size_bytes), "on disk"),
    )
    for index, (value, words) in enumerate(figures):
        x = MARGIN + index * MEASURE / 3
        draw(canvas, x, y, value, 21, "#ffffff", font=fontstack.BOLD)
        draw(canvas, x, y - 17, words, 10.5, "#a9bccd")


def _cover_skyline(canvas: Canvas, snapshot: LibrarySnapshot) -> None:
    """Let the library's own tempi be the picture; a level line where there are none."""
    counts = series.tempo(snapshot.statistics).counts
    if len(counts) < 3:
        canvas.setFillColor(HexColor("#1d3a57"))
        canvas.rect(0, 88 * mm, PAGE_WIDTH, 1.2, stroke=0, fill=1)
        return
    slot = PAGE_WIDTH / len(counts)
    for index, tracks in enumerate(counts):
        height = 3 + 62 * mm * tracks / max(counts)
        canvas.setFillColor(HexColor(palette.mix("#16324c", "#2a78b5", tracks / max(counts))))
        canvas.rect(index * slot + slot * 0.1, 74 * mm, slot * 0.8, height, stroke=0, fill=1)


def story(snapshot: LibrarySnapshot, selection: Digest) -> list[Flowable]:
    """Return everything after the cover, in order."""
    flow: list[Flowable] = [PageBreak(), paragraph("Contents", HEADING), Spacer(1, 6), contents()]
    for section in (
        _ledger,
        _glance,
        _tempo,
        _keys,
        _energy,
        _years_and_genres,
        _hamms,
        _quality,
        _duplicates,
        _failures,
        _tracks,
        _versions,
    ):
        flow.extend(section(snapshot, selection))
    return flow


def _section(title: str, *, full: bool = True) -> _Flow:
    """Start a section: on a page of its own, or below the last one where it has little to show (`full` False)."""
    if full:
        yield PageBreak()
    else:
        yield CondPageBreak(60 * mm)
        yield Spacer(1, 16)
    yield Heading(title, title.lower().replace(" ", "-"))


def _nothing(why: str) -> Flowable:
    return paragraph(f"Nothing measured: {why}", EMPTY)


def _ledger(snapshot: LibrarySnapshot, selection: Digest) -> _Flow:
    yield from _section("The ledger")
    yield paragraph("Every file under the library roots, as of the last completed scan.")
    rows = series.ledger_rows(snapshot)
    parts = [(key, label, count) for key, label, count, _ in rows if key in palette.LEDGER]
    if any(count for _, _, count in parts):
        yield Spacer(1, 6)
        yield pdf_charts.ledger_bar(parts, MEASURE)
    yield table(
        ("State", "Files", "Meaning"),
        [(label, text.count(count), words) for _, label, count, words in rows],
        (20, 12, 68),
        right=(1,),
    )
    yield Spacer(1, 8)
    yield paragraph(series.ledger_verdict(snapshot)[1])
    skipped = sorted(((reason, count) for reason, count in snapshot.skipped.items() if count), key=lambda item: -item[1])
    if skipped:
        yield paragraph("Why files were skipped", SUBHEADING)
        yield table(
            ("Reason", "Files"),
            [(text.label(reason, text.SKIP_LABELS), text.count(count)) for reason, count in skipped],
            (80, 20),
            right=(1,),
            total=MEASURE * 0.5,
        )


def _glance(snapshot: LibrarySnapshot, selection: Digest) -> _Flow:
    yield from _section("The library at a glance")
    facts = series.facts(snapshot, selection)
    cards = [
        [
            [
                paragraph(fact.label, SMALL),
                paragraph(fact.value, SUBHEADING.clone("fact", fontSize=15, leading=19, spaceBefore=0, spaceAfter=0)),
                paragraph(fact.note, SMALL.clone("note", fontSize=7.2, leading=9.5)),
            ]
            for fact in facts[start : start + 3]
        ]
        for start in range(0, len(facts), 3)
    ]
    gap = HexColor(palette.PAPER)
    style = [
        ("BACKGROUND", (0, 0), (-1, -1), HexColor(palette.SHADE)),
        ("INNERGRID", (0, 0), (-1, -1), 5, gap),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 10),
        ("TOPPADDING", (0, 0), (-1, -1), 8),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 9),
    ]
    yield Table(cards, [MEASURE / 3] * 3, style=TableStyle(style))
    libraries = [(item.name, item.root_text, text.count(item.track_count)) for item in snapshot.libraries]
    if libraries:
        yield paragraph("Libraries", SUBHEADING)
        yield table(("Name", "Root", "Tracks"), libraries, (25, 60, 15), right=(2,))
    codecs = series.codecs(snapshot.statistics)
    if codecs.total:
        yield KeepTogether([paragraph("Formats", SUBHEADING), pdf_charts.bars(codecs, MEASURE, colour=palette.GREEN)])
    added = series.additions(snapshot.statistics)
    if added.total:
        chart = pdf_charts.histogram(added, MEASURE, 118, colour=palette.GREEN, axis="Added to the library", edges=False)
        yield KeepTogether([paragraph("Additions over time", SUBHEADING), chart])


def _tempo(snapshot: LibrarySnapshot, selection: Digest) -> _Flow:
    s = snapshot.statistics
    found = series.tempo(s)
    yield from _section("Tempo", full=bool(found.total))
    if not found.total:
        yield _nothing("no track has a tempo.")
        return
    yield paragraph(
        f"{text.tracks(found.total, ('has', 'have'))} a tempo; for {text.count(s.unmeasured.get('bpm', 0))} none was found. "
        f"The median is {series.median_tempo(s)} BPM; below {DOUBTFUL_BELOW:.0%} confidence: {text.count(s.doubtful_bpm)}."
    )
    yield pdf_charts.histogram(found, MEASURE, 185, axis="Tempo, BPM")


def _keys(snapshot: LibrarySnapshot, selection: Digest) -> _Flow:
    s = snapshot.statistics
    total = sum(s.keys.values())
    yield CondPageBreak(110 * mm if total else 0)
    yield from _section("Keys", full=False)
    if not total:
        yield _nothing("no track has a key.")
        return
    yield paragraph("The Camelot wheel: majors (B) outside, minors (A) inside; neighbours mix. Darker segments hold more tracks.")
    ranked = sorted(s.keys.items(), key=lambda item: (-item[1], item[0]))[:10]
    rows = [(code, text.CAMELOT_KEYS[code], text.count(count), text.percent(count, total)) for code, count in ranked if count]
    listing = table(("Code", "Key", "Tracks", "Share"), rows, (16, 40, 22, 22), right=(2, 3), bold=(0,), total=MEASURE * 0.36)
    side = MEASURE * 0.56
    layout = TableStyle([("VALIGN", (0, 0), (-1, -1), "MIDDLE"), ("LEFTPADDING", (0, 0), (-1, -1), 0)])
    yield Table([[pdf_charts.camelot_wheel(s.keys, side), listing]], [MEASURE * 0.62, MEASURE * 0.38], style=layout)


def _energy(snapshot: LibrarySnapshot, selection: Digest) -> _Flow:
    s = snapshot.statistics
    found, loud = series.energy(s), series.loudness(s)
    yield from _section("Energy and loudness", full=bool(found.total or loud.total))
    yield paragraph("Energy", SUBHEADING)
    if found.total:
        yield paragraph(f"Perceived intensity of {text.tracks(found.total)}, mean {text.number(s.energy_mean, 2)}.")
        yield pdf_charts.histogram(found, MEASURE, 165, colour=palette.ORANGE, axis="Energy, 0 calm to 1 intense")
    else:
        yield _nothing("no track has an energy.")
    yield paragraph("Loudness", SUBHEADING)
    if loud.total:
        yield paragraph(
            f"Integrated loudness (EBU R128) of {text.tracks(loud.total)}, mean {text.number(s.loudness_mean, 1)} LUFS. "
            f"Streaming services play at about \u221214, broadcast at \u221223."
        )
        yield pdf_charts.histogram(loud, MEASURE, 165, colour=palette.AMBER, axis="Loudness, LUFS")
    else:
        yield _nothing("no track has a loudness (silence has none).")


def _years_and_genres(snapshot: LibrarySnapshot, selection: Digest) -> _Flow:
    found, genres = series.years(snapshot.statistics), series.genres(snapshot.statistics)
    yield from _section("Years and genres", full=bool(found.total or genres.total))
    yield paragraph("Years", SUBHEADING)
    if found.total:
        yield paragraph(_tagged(found.total, snapshot.statistics.tracks, "year"))
        yield pdf_charts.histogram(found, MEASURE, 150, colour=palette.GREEN, axis="Year", edges=False)
    else:
        yield paragraph("No track has a year in its tags.", EMPTY)
    yield paragraph("Genres", SUBHEADING)
    if genres.total:
        yield paragraph(_tagged(genres.total, snapshot.statistics.tracks, "genre"))
        yield pdf_charts.bars(genres, MEASURE, colour=palette.PINK)
    else:
        yield paragraph("No track has a genre in its tags.", EMPTY)


def _tagged(having: int, total: int, what: str) -> str:
    without = total - having
    if without <= 0:
        return f"As tagged; every track has a {what}."
    return f"As tagged; {text.count(without)} of {text.tracks(total)} without a {what}."


def _hamms(snapshot: LibrarySnapshot, selection: Digest) -> _Flow:
    s = snapshot.statistics
    yield from _section("HAMMS profile", full=series.hamms_measured(s))
    if not series.hamms_measured(s):
        yield _nothing("no track has a HAMMS vector.")
        return
    yield paragraph(
        "Twelve dimensions of the sound, each between 0 and 1. The line is the library's median, the band holds the middle half. "
        "Key is a place on the Camelot ring, so its median says less than the wheel does."
    )
    yield pdf_charts.radar(s.hamms, MEASURE, 300)
    rows = []
    for name in HAMMS_NAMES:
        summary = s.hamms.get(name, {})
        figures = [text.number(summary.get(key), 2) for key in ("q05", "q50", "q95", "mean")]
        strip = pdf_charts.quartile_strip(summary, MEASURE * 0.3)
        rows.append((text.HAMMS_LABELS[name], text.count(summary.get("count") or 0), *figures[:1], strip, *figures[1:]))
    header = ("Dimension", "Tracks", "5%", "0 to 1", "Median", "95%", "Mean")
    yield table(header, rows, (22, 10, 8, 34, 9, 8, 8), right=(1, 2, 4, 5, 6))


def _quality(snapshot: LibrarySnapshot, selection: Digest) -> _Flow:
    rows = series.quality_rows(snapshot)
    yield from _section("Quality and review", full=bool(rows))
    if rows:
        yield table(("Finding", "Tracks", "What it means"), [(a, text.count(b), c) for a, b, c in rows], (26, 10, 64), right=(1,))
    elif snapshot.statistics.measured:
        yield paragraph("Nothing to report: no clipping, no conflicts, no doubtful values.", EMPTY)
    else:
        yield _nothing("there is no analysed track to judge.")
    if selection.doubtful:
        yield paragraph("Doubtful tempo or key: listen to these", SUBHEADING)
        yield _note(len(selection.doubtful), selection.doubtful_total, "least certain first")
        yield table(
            ("Track", "Artist", "BPM", "Sure", "or", "Key", "Sure", "or"),
            [_doubtful_cells(row) for row in selection.doubtful],
            (30, 21, 8, 7, 8, 8, 7, 11),
            right=(2, 3, 4, 5, 6, 7),
        )
    if selection.conflicts:
        yield paragraph("Tags that disagree with the sound", SUBHEADING)
        yield _note(len(selection.conflicts), selection.conflict_total, "surest measurement first")
        yield table(
            ("Track", "Artist", "What", "Tag says", "Measured"),
            [
                (
                    text.track_name(item.row.title, item.row.file_path),
                    item.row.artist or "",
                    series.CONFLICT_LABELS[item.kind],
                    item.tag,
                    item.measured,
                )
                for item in selection.conflicts
            ],
            (33, 23, 13, 15, 16),
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


def _note(shown: int, total: int, order: str) -> Flowable:
    words = (
        f"All {text.count(total)}, {order}."
        if shown == total
        else f"The first {text.count(shown)} of {text.count(total)}, {order}."
    )
    return paragraph(words, SMALL)


def _duplicates(snapshot: LibrarySnapshot, selection: Digest) -> _Flow:
    yield from _section("Duplicates", full=bool(selection.duplicates))
    if not selection.duplicates:
        yield paragraph("No duplicates were found.", EMPTY)
        return
    yield paragraph(
        f"{text.count(selection.duplicate_total)} groups, {text.count(selection.duplicate_files)} files. MAP4 deletes no file."
    )
    rows = []
    for number, group in enumerate(selection.duplicates, 1):
        for index, member in enumerate(group.members[:20]):
            first = (str(number), text.label(group.kind, text.DUPLICATE_LABELS)) if index == 0 else ("", "")
            rows.append((*first, _tail(member)))
        if len(group.members) > 20:
            rows.append(("", "", f"and {text.count(len(group.members) - 20)} more"))
    yield table(("", "How it is known", "File"), rows, (5, 30, 65))
    if selection.duplicate_total > len(selection.duplicates):
        yield paragraph(
            f"The other {text.count(selection.duplicate_total - len(selection.duplicates))} groups are in the workbook.", SMALL
        )


def _tail(path: str, room: float = MEASURE * 0.63) -> str:
    """Return a path cut at its beginning: the end is what tells files apart."""
    line = text.one_line(path, 4000)
    if fontstack.width(line, 7.6) <= room:
        return line
    low, high = 0, len(line)
    while low < high:
        middle = (low + high) // 2
        if fontstack.width("…" + line[middle:], 7.6) <= room:
            high = middle
        else:
            low = middle + 1
    return "…" + line[low:]


def _failures(snapshot: LibrarySnapshot, selection: Digest) -> _Flow:
    yield from _section("Failures", full=False)
    if not selection.failures:
        yield paragraph("No file failed.", EMPTY)
        return
    yield paragraph(f"{text.count(selection.failure_total)} files could not be analysed; they are tried again when they change.")
    rows = [
        (_tail(item.path, MEASURE * 0.41), text.label(item.kind), Lines(item.message, SMALL, limit=3))
        for item in selection.failures
    ]
    yield table(("File", "Kind", "Reason"), rows, (43, 13, 44))
    if selection.failure_total > len(selection.failures):
        yield paragraph(f"The other {text.count(selection.failure_total - len(selection.failures))} are in the workbook.", SMALL)


def _tracks(snapshot: LibrarySnapshot, selection: Digest) -> _Flow:
    yield from _section("Tracks", full=bool(selection.tracks))
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


def _versions(snapshot: LibrarySnapshot, selection: Digest) -> _Flow:
    s = snapshot.statistics
    yield from _section("Annotations and versions", full=False)
    yield paragraph(series.annotation_sentence(s))
    rows = [(stage, version, text.count(tracks)) for stage, version, tracks in series.version_rows(s)]
    if rows:
        yield paragraph("Which analysis made these values", SUBHEADING)
        yield table(("Stage", "Version", "Tracks"), rows, (30, 55, 15), right=(2,))
    else:
        yield _nothing("no analysis has been made.")
