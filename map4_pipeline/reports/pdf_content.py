"""What stands in the PDF, section by section."""

from collections.abc import Callable, Iterator

from reportlab.lib.colors import HexColor
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import PageBreak, Spacer, Table, TableStyle
from reportlab.platypus.flowables import Flowable

from map4_pipeline.reports import fontstack, palette, pdf_charts, pdf_profile, pdf_review, series, text
from map4_pipeline.reports.digest import Digest
from map4_pipeline.reports.model import LibrarySnapshot
from map4_pipeline.reports.pdf_layout import (
    HEADING,
    MARGIN,
    MEASURE,
    PAGE_HEIGHT,
    PAGE_WIDTH,
    SMALL,
    SUBHEADING,
    contents,
    draw,
    paragraph,
    section,
    table,
)


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
    for part in (
        _ledger,
        _glance,
        pdf_profile.growth,
        pdf_profile.tempo,
        pdf_profile.keys,
        pdf_profile.energy,
        pdf_profile.years_and_genres,
        pdf_profile.hamms,
        pdf_profile.kinds_of_music,
        pdf_review.quality,
        pdf_review.review,
        pdf_review.duplicates,
        pdf_review.failures,
        pdf_review.annotations,
        pdf_review.tracks,
        pdf_review.versions,
    ):
        flow.extend(part(snapshot, selection))
    return flow


def _ledger(snapshot: LibrarySnapshot, selection: Digest) -> Iterator[Flowable]:
    yield from section("The ledger")
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


def _glance(snapshot: LibrarySnapshot, selection: Digest) -> Iterator[Flowable]:
    yield from section("The library at a glance", full=False, room=110 * mm)
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
