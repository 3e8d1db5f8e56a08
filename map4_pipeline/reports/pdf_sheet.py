"""Reports of one track and of one playlist as PDF: a band with the name and the figures, then charts and tables."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import CondPageBreak, Frame, KeepTogether, Spacer, Table, TableStyle
from reportlab.platypus.flowables import Flowable

from map4_pipeline.reports import fontstack, palette, pdf_radar, pdf_sheet_charts, sheets, text
from map4_pipeline.reports.atomic import Stopwatch, replacing
from map4_pipeline.reports.model import ReportFile
from map4_pipeline.reports.pdf_charts import nice_ticks
from map4_pipeline.reports.pdf_layout import (
    CELL,
    CELL_BOLD,
    EMPTY,
    MARGIN,
    MEASURE,
    PAGE_HEIGHT,
    PAGE_WIDTH,
    SMALL,
    SUBHEADING,
    Lines,
    ReportDocument,
    draw,
    paragraph,
    table,
)
from map4_pipeline.reports.sheets import PlaylistSheet, TrackSheet

_BAND = 72 * mm
_SOFT = "#a9bccd"
#: Tracks of a playlist's charts; a longer one is drawn up to here, its table is whole.
MAX_DRAWN = 120
_SIDE_BY_SIDE = TableStyle(
    [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 10)]
)


def write_track_pdf(sheet: TrackSheet, path: Path | str) -> ReportFile:
    """Write the report of one track as a PDF.

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """
    return _write(
        Path(path), "Track report", sheet.title, sheets.byline(sheet), sheets.headline(sheet), sheet, list(_track(sheet))
    )


def write_playlist_pdf(sheet: PlaylistSheet, path: Path | str) -> ReportFile:
    """Write the report of a playlist as a PDF.

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """
    facts = sheets.playlist_facts(sheet)
    return _write(Path(path), "Playlist report", sheet.title, sheets.playlist_words(sheet), facts, sheet, list(_playlist(sheet)))


def _write(
    target: Path,
    kind: str,
    title: str,
    words: str,
    figures: Sequence[tuple[str, str]],
    sheet: TrackSheet | PlaylistSheet,
    story: list[Flowable],
) -> ReportFile:
    watch = Stopwatch()
    fontstack.register()
    with replacing(target) as temporary:
        document = _Sheet(str(temporary), kind, title, words, figures, text.moment(sheet.generated_at))
        document.build(story)
    return watch.report(target, "pdf")


class _Sheet(ReportDocument):
    """A document whose first page begins with a band instead of a cover."""

    def __init__(self, file: str, kind: str, title: str, words: str, figures: Sequence[tuple[str, str]], moment: str) -> None:
        def band(canvas: Canvas) -> None:
            _paint_band(canvas, kind, title, words, figures, moment)

        super().__init__(file, title=title, subtitle=kind, cover=band)
        self.subject = kind
        below = Frame(MARGIN, 20 * mm, MEASURE, PAGE_HEIGHT - _BAND - 27 * mm, 0, 0, 0, 0, id="below")
        self.pageTemplates[0].frames = [below]


def _paint_band(canvas: Canvas, kind: str, title: str, words: str, figures: Sequence[tuple[str, str]], moment: str) -> None:
    canvas.saveState()
    canvas.setFillColor(HexColor(palette.NIGHT))
    canvas.rect(0, PAGE_HEIGHT - _BAND, PAGE_WIDTH, _BAND, stroke=0, fill=1)
    top = PAGE_HEIGHT - 15 * mm
    draw(canvas, MARGIN, top, "MAP4", 10, "#ffffff", font=fontstack.BOLD)
    draw(canvas, MARGIN + 34, top, kind, 10, _SOFT)
    draw(canvas, PAGE_WIDTH - MARGIN, top, moment, 9, _SOFT, anchor="end")
    size = 25 if fontstack.width(title, 25, fontstack.BOLD) <= MEASURE else 19
    lines = fontstack.wrapped(title, MEASURE, size, fontstack.BOLD, limit=2)
    y = PAGE_HEIGHT - 28 * mm
    for line in lines:
        draw(canvas, MARGIN, y, line, size, "#ffffff", font=fontstack.BOLD)
        y -= size * 1.2
    draw(canvas, MARGIN, y + size * 0.2 - 4, fontstack.fit(words, MEASURE, 10), 10, _SOFT)
    step = MEASURE / max(len(figures), 1)
    for place, (value, label) in enumerate(figures):
        x = MARGIN + place * step
        large = 19 if fontstack.width(value, 19, fontstack.BOLD) <= step - 8 else 15
        draw(canvas, x, PAGE_HEIGHT - 58 * mm, value, large, "#ffffff", font=fontstack.BOLD)
        draw(canvas, x, PAGE_HEIGHT - 63.5 * mm, fontstack.fit(label, step - 8, 8.2), 8.2, _SOFT)
    draw(canvas, MARGIN, 11 * mm, "MAP4", 8, palette.MUTED, font=fontstack.BOLD)
    draw(canvas, PAGE_WIDTH - MARGIN, 11 * mm, "1", 8, palette.INK, anchor="end")
    canvas.restoreState()


# ------------------------------------------------------------------ a track
def _track(sheet: TrackSheet) -> Iterator[Flowable]:
    peaks = sheet.analysis.get("waveform") or ()
    duration = float(sheet.row.get("duration") or 0.0)
    yield paragraph("Form", SUBHEADING.clone("first", spaceBefore=0))
    if len(peaks) and duration:
        keys = sheets.key_parts(sheet)
        form = "Sections with the same letter sound alike"
        words = f"{form}; below them, the keys along the track." if keys else f"{form}."
        if moving := sheets.tempo_curve(sheet):
            low, high = min(bpm for _, bpm in moving), max(bpm for _, bpm in moving)
            words += f" The tempo moves between {low:.1f} and {high:.1f} BPM."
        yield paragraph(words, SMALL)
        yield pdf_sheet_charts.waveform(peaks, duration, sheets.sections(sheet), keys, MEASURE, 130)
    else:
        yield paragraph("Nothing measured: there is no analysis to draw.", EMPTY)
    half = MEASURE / 2
    cells = []
    for title, chances, none in (
        ("Tempo", sheets.tempi(sheet), "no tempo was found"),
        ("Key", sheets.keys(sheet), "no key was found"),
    ):
        chart = pdf_sheet_charts.chances(chances, half - 12) if chances else paragraph(f"Nothing measured: {none}.", SMALL)
        cells.append([paragraph(title, SUBHEADING), chart])
    yield KeepTogether([Table([cells], [half, half], style=_SIDE_BY_SIDE, hAlign="LEFT")])
    yield from _track_profile(sheet)
    yield from _matches(sheet)
    facts = sheets.technical(sheet)
    if facts:
        yield KeepTogether([paragraph("File and sound", SUBHEADING), _facts(facts)])
    remarks = sheets.remarks(sheet)
    if remarks:
        yield KeepTogether([paragraph("Remarks", SUBHEADING), _facts(remarks)])
    yield Spacer(1, 8)
    yield Lines(sheet.row["path"], SMALL, limit=3)
    yield Lines(sheets.made_by(sheet), SMALL)


def _facts(rows: Sequence[tuple[str, str]]) -> Table:
    cells = [[Lines(label, CELL_BOLD), Lines(value, CELL, limit=3)] for label, value in rows]
    style = [
        ("LINEBELOW", (0, 0), (-1, -1), 0.3, HexColor(palette.HAIRLINE)), ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0), ("TOPPADDING", (0, 0), (-1, -1), 2.6), ("BOTTOMPADDING", (0, 0), (-1, -1), 3.4),
    ]  # fmt: skip
    return Table(cells, [MEASURE * 0.28, MEASURE * 0.72], style=TableStyle(style), hAlign="LEFT")


def _before_table(title: str) -> Iterator[Flowable]:
    """Yield the heading of a table that may go on over pages: the two need not stand on one."""
    yield CondPageBreak(45 * mm)
    yield paragraph(title, SUBHEADING.clone("before-table", keepWithNext=0))


def _track_profile(sheet: TrackSheet) -> Iterator[Flowable]:
    values = sheet.row.get("hamms") or {}
    if not any(value is not None for value in values.values()):
        return
    rows = [(name, text.number(here, 2), text.number(usual, 2)) for name, here, usual in sheets.dimensions(sheet)]
    figures = table(("Dimension", "Track", "Library"), rows, (56, 22, 22), right=(1, 2), total=MEASURE * 0.34)
    picture = pdf_radar.profile(values, MEASURE * 0.62, 232, usual=sheet.usual)
    layout = Table([[picture, figures]], [MEASURE * 0.64, MEASURE * 0.36], style=_SIDE_BY_SIDE, hAlign="LEFT")
    words = "Twelve dimensions, each from 0 to 1; the dashed line is the library's median."
    yield KeepTogether([paragraph("HAMMS profile", SUBHEADING), paragraph(words, SMALL), layout])


def _matches(sheet: TrackSheet) -> Iterator[Flowable]:
    yield from _before_table("What to play next")
    if not sheet.matches:
        yield paragraph("No other track can be compared with this one.", EMPTY)
        return
    yield paragraph(
        f"The {len(sheet.matches)} tracks into which this one mixes best. Mix is the transition's score, 0 to 1; like is the "
        "percentile among random pairs of tracks.", SMALL,
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for place, match in enumerate(sheet.matches, 1):
        name = Lines(sheets.track_words(match.row), CELL.clone("match", fontName=fontstack.BOLD), limit=2)
        reason = Lines(match.step.reason, CELL, limit=4)
        differs = sheets.apart(match)
        why = [reason, Lines(f"Differs in {differs}", SMALL.clone("why", fontSize=7, leading=9))] if differs else [reason]
        bpm, key = text.number(match.row.get("bpm"), 1), match.row.get("camelot") or text.NOTHING
        rows.append((str(place), name, bpm, key, f"{match.step.score:.2f}", sheets.percentile(match.percentile), why))
    yield table(("", "Track", "BPM", "Key", "Mix", "Like", "Why"), rows, (4, 30, 7.5, 5.5, 6, 6.5, 44), right=(2, 4, 5))


# ------------------------------------------------------------------ a playlist
def _playlist(sheet: PlaylistSheet) -> Iterator[Flowable]:
    if not sheet.tracks:
        yield paragraph("The playlist has no tracks yet.", EMPTY)
        return
    drawn = sheet.tracks[:MAX_DRAWN]
    energies = [track.get("energy") for track in drawn]
    wished = list(sheet.targets)[:MAX_DRAWN] if len(sheet.targets) == len(sheet.tracks) else []
    more = f" The first {MAX_DRAWN} tracks are drawn." if len(sheet.tracks) > MAX_DRAWN else ""
    dashed = ", dashed what was wished" if wished else ""
    yield paragraph("Energy curve", SUBHEADING.clone("first", spaceBefore=0))
    words = f"Energy of each track{dashed}; below it, how well each goes into the next, the darker the better.{more}"
    yield paragraph(words, SMALL)
    scores = [step.score for step in sheet.steps[: max(len(drawn) - 1, 0)]]
    yield pdf_sheet_charts.curve(
        energies, MEASURE, 150, low=0.0, high=1.0, ticks=(0, 0.25, 0.5, 0.75, 1), digits=2, wished=wished, scores=scores
    )
    tempi = [track.get("bpm") for track in drawn]
    known = [bpm for bpm in tempi if bpm is not None]
    if known:
        low, high = 5 * int(min(known) // 5), 5 * int(max(known) // 5 + 1)
        ticks = [low + tick for tick in nice_ticks(high - low) if low + tick <= high]
        chart = pdf_sheet_charts.curve(tempi, MEASURE, 96, low=low, high=high, ticks=ticks, digits=0, colour=palette.BLUE)
        yield KeepTogether([paragraph("Tempo, BPM", SUBHEADING), chart])
    if sheet.steps:
        yield paragraph("Transitions", SUBHEADING)
        yield paragraph(", ".join(f"{label} {text.count(count)}" for label, count in sheets.labels_of(sheet)) + ".", SMALL)
    yield from _before_table("Order")
    yield _order(sheet)


def _order(sheet: PlaylistSheet) -> Flowable:
    rows: list[tuple[Any, ...]] = []
    for place, (track, at) in enumerate(zip(sheet.tracks, sheets.starts(sheet), strict=True)):
        step = sheet.steps[place - 1] if place else None
        state = sheets.state(track)
        name = sheets.track_words(track) + (f" ({state})" if state else "")
        into: Any = ""
        if step is not None:
            into = Lines(f"{text.label(step.label)}. {step.reason}", CELL.clone("step", fontSize=7, leading=8.8), limit=5)
        rows.append((
            str(place + 1), text.length(at), Lines(name, CELL.clone("name", fontName=fontstack.BOLD), limit=2),
            text.number(track.get("bpm"), 1), track.get("camelot") or text.NOTHING, text.number(track.get("energy"), 2),
            "" if step is None else f"{step.score:.2f}", into,
        ))  # fmt: skip
    header = ("", "At", "Track", "BPM", "Key", "Energy", "Mix", "From the track before")
    return table(header, rows, (4, 8, 30, 7, 5, 7, 6, 37), right=(0, 1, 3, 5, 6))
