"""Pages, paragraphs and tables of the PDF: the typography, without the content."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Frame,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)
from reportlab.platypus.flowables import Flowable
from reportlab.platypus.tableofcontents import TableOfContents

from map4_pipeline.reports import fontstack, palette, text

PAGE_WIDTH, PAGE_HEIGHT = A4
MARGIN = 18 * mm
#: Width of the text, points.
MEASURE = PAGE_WIDTH - 2 * MARGIN

_BASE = {"fontName": fontstack.REGULAR, "textColor": HexColor(palette.INK)}
BODY = ParagraphStyle("body", fontSize=9.5, leading=13.5, spaceAfter=5, **_BASE)
SMALL = ParagraphStyle("small", parent=BODY, fontSize=8, leading=11, textColor=HexColor(palette.MUTED))
HEADING = ParagraphStyle(
    "heading", parent=BODY, fontName=fontstack.BOLD, fontSize=19, leading=24, spaceBefore=2, spaceAfter=7, keepWithNext=1
)
SUBHEADING = ParagraphStyle(
    "subheading", parent=BODY, fontName=fontstack.BOLD, fontSize=11.5, leading=15, spaceBefore=11, spaceAfter=4, keepWithNext=1
)
EMPTY = ParagraphStyle(
    "empty",
    parent=BODY,
    textColor=HexColor(palette.MUTED),
    backColor=HexColor(palette.SHADE),
    borderPadding=(9, 10, 9, 10),
    leftIndent=10,
    rightIndent=10,
    spaceBefore=10,
    spaceAfter=14,
)
CELL = ParagraphStyle("cell", parent=BODY, fontSize=7.6, leading=9.6, spaceAfter=0)
CELL_RIGHT = ParagraphStyle("cell-right", parent=CELL, alignment=TA_RIGHT)
CELL_BOLD = ParagraphStyle("cell-bold", parent=CELL, fontName=fontstack.BOLD)
_CONTENTS = ParagraphStyle("contents", parent=BODY, fontSize=11, leading=23)


class Heading(Paragraph):  # type: ignore[misc]
    """A section's title that enters itself into the contents and the outline."""

    def __init__(self, title: str, anchor: str) -> None:
        super().__init__(f'<a name="{anchor}"/>{fontstack.markup(title, fontstack.BOLD)}', HEADING)
        self.section_title = title
        self.anchor = anchor


class ReportDocument(BaseDocTemplate):  # type: ignore[misc]
    """A document with a cover without furniture, then pages with a running head and page numbers."""

    def __init__(self, file: str, *, title: str, subtitle: str, cover: Callable[[Canvas], None]) -> None:
        super().__init__(
            file,
            pagesize=A4,
            leftMargin=MARGIN,
            rightMargin=MARGIN,
            topMargin=24 * mm,
            bottomMargin=20 * mm,
            title=title,
            author="MAP4",
            subject="Music library report",
            creator="MAP4",
            lang="en",
            initialFontName=fontstack.REGULAR,
        )
        self._running = fontstack.fit(title, MEASURE * 0.62, 8)
        self._subtitle = subtitle
        frame = Frame(MARGIN, 20 * mm, MEASURE, PAGE_HEIGHT - 44 * mm, 0, 0, 0, 0, id="body")
        self.addPageTemplates(
            [
                PageTemplate(id="cover", frames=[frame], onPage=lambda canvas, _: cover(canvas), autoNextPageTemplate="page"),
                PageTemplate(id="page", frames=[frame], onPage=self._furniture),
            ]
        )

    def _furniture(self, canvas: Canvas, document: BaseDocTemplate) -> None:
        canvas.saveState()
        draw(canvas, MARGIN, PAGE_HEIGHT - 15 * mm, self._running, 8, palette.MUTED)
        draw(canvas, PAGE_WIDTH - MARGIN, PAGE_HEIGHT - 15 * mm, self._subtitle, 8, palette.MUTED, anchor="end")
        canvas.setStrokeColor(HexColor(palette.HAIRLINE))
        canvas.setLineWidth(0.5)
        canvas.line(MARGIN, PAGE_HEIGHT - 17.5 * mm, PAGE_WIDTH - MARGIN, PAGE_HEIGHT - 17.5 * mm)
        draw(canvas, MARGIN, 11 * mm, "MAP4", 8, palette.MUTED, font=fontstack.BOLD)
        draw(canvas, PAGE_WIDTH - MARGIN, 11 * mm, str(canvas.getPageNumber()), 8, palette.INK, anchor="end")
        canvas.restoreState()

    def afterFlowable(self, flowable: Flowable) -> None:  # noqa: N802 - reportlab's hook
        """Record a section's page for the contents and the viewer's outline."""
        if isinstance(flowable, Heading):
            self.canv.addOutlineEntry(flowable.section_title, flowable.anchor, level=0, closed=False)
            entry = (0, fontstack.markup(flowable.section_title), self.page, flowable.anchor)
            self.notify("TOCEntry", entry)


def contents() -> TableOfContents:
    """Return the table of contents; its lines are links."""
    table = TableOfContents(dotsMinLevel=0)
    table.levelStyles = [_CONTENTS]
    return table


def draw(
    canvas: Canvas,
    x: float,
    y: float,
    value: str,
    size: float,
    colour: str | Color,
    *,
    anchor: str = "start",
    font: str = fontstack.REGULAR,
) -> None:
    """Write one line straight on the page, every character in a font that has it."""
    room = fontstack.width(value, size, font)
    x -= room if anchor == "end" else room / 2 if anchor == "middle" else 0
    canvas.setFillColor(HexColor(colour) if isinstance(colour, str) else colour)
    shaped = fontstack.plain(value, font) is None and not fontstack.backwards(value)
    if shaped:
        # What a reader copies and searches is the text, not its glyphs (PDF 1.7, 14.9.4). Readers turn Hebrew and Arabic round
        # by themselves, so there the glyphs stand for it.
        canvas._code.append(f"/Span <</ActualText <FEFF{value.encode('utf-16-be', 'replace').hex()}>>> BDC")
    for name, part in fontstack.runs(value, font):
        canvas.setFont(name, size)
        canvas.drawString(x, y, part)
        x += fontstack.run_width(part, name, size)
    if shaped:
        canvas._code.append("EMC")


class Lines(Flowable):  # type: ignore[misc]
    """Text from outside (titles, paths, messages) in any script and direction, on one line or a few; never markup."""

    def __init__(self, value: object, style: ParagraphStyle, *, limit: int = 1) -> None:
        super().__init__()
        self._value, self._style, self._limit = value, style, limit
        self._lines: list[str] = []

    def wrap(self, available_width: float, available_height: float) -> tuple[float, float]:
        """Break the text for the room there is."""
        style = self._style
        self.width = available_width
        if self._limit == 1:
            self._lines = [fontstack.fit(self._value, available_width, style.fontSize, style.fontName)]
        else:
            self._lines = fontstack.wrapped(self._value, available_width, style.fontSize, style.fontName, self._limit)
        self.height = style.leading * max(len(self._lines), 1)
        return self.width, self.height

    def draw(self) -> None:
        """Write the lines."""
        style, y = self._style, self.height - self._style.leading * 0.78
        right = style.alignment == TA_RIGHT
        for line in self._lines:
            x, anchor = (self.width, "end") if right else (0.0, "start")
            draw(self.canv, x, y, line, style.fontSize, style.textColor, font=style.fontName, anchor=anchor)
            y -= style.leading


def paragraph(value: str, style: ParagraphStyle = BODY) -> Paragraph:
    """Return a paragraph of plain text, escaped."""
    return Paragraph(fontstack.markup(value, style.fontName, 3000), style)


def section(title: str, *, full: bool = True, room: float = 60 * mm) -> Iterator[Flowable]:
    """Start a section: on a page of its own, or (`full` False) below the last one where there is `room`."""
    if full:
        yield PageBreak()
    else:
        yield CondPageBreak(room)
        yield Spacer(1, 16)
    yield Heading(title, title.lower().replace(" ", "-"))


def nothing(why: str) -> Flowable:
    """Say that there is nothing to show, and why."""
    return paragraph(f"Nothing measured: {why}", EMPTY)


def note(shown: int, total: int, order: str) -> Flowable:
    """Say how many of a list are shown."""
    words = f"All {text.count(total)}" if shown == total else f"The first {text.count(shown)} of {text.count(total)}"
    return paragraph(f"{words}, {order}.", SMALL)


def path_tail(path: str, room: float, size: float = CELL.fontSize) -> str:
    """Return a path cut at its beginning: the end is what tells files apart."""
    line = text.one_line(path, 4000)
    if fontstack.width(line, size) <= room:
        return line
    low, high = 0, len(line)
    while low < high:
        middle = (low + high) // 2
        if fontstack.width("…" + line[middle:], size) <= room:
            high = middle
        else:
            low = middle + 1
    return "…" + line[low:]


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    widths: Sequence[float],
    *,
    right: Sequence[int] = (),
    bold: Sequence[int] = (),
    total: float = MEASURE,
) -> Table:
    """Return a table with a repeated header; text that is too wide for its column is cut with an ellipsis.

    Parameters
    ----------
    rows : sequence of sequences
        Cells are text (shown as it is, never as markup) or flowables.
    widths : sequence of float
        Shares of `total`.
    right, bold : sequence of int
        Columns set flush right, and in bold.
    total : float
        Width of the whole table, points.
    """
    scale = total / sum(widths)
    columns = [share * scale for share in widths]
    cells: list[list[Any]] = [list(header)]
    for row in rows:
        cells.append([_cell(value, columns[index] - 7, index in bold, index in right) for index, value in enumerate(row)])
    style = [
        ("FONT", (0, 0), (-1, 0), fontstack.BOLD, 7.6),
        ("FONT", (0, 1), (-1, -1), fontstack.REGULAR, CELL.fontSize),
        ("TEXTCOLOR", (0, 0), (-1, 0), HexColor(palette.MUTED)),
        ("TEXTCOLOR", (0, 1), (-1, -1), HexColor(palette.INK)),
        ("LINEBELOW", (0, 0), (-1, 0), 0.9, HexColor(palette.INK)),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, HexColor(palette.HAIRLINE)),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 7),
        ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 2.6),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3.4),
        *[("ALIGN", (column, 0), (column, -1), "RIGHT") for column in right],
        *[("FONT", (column, 1), (column, -1), fontstack.BOLD, CELL.fontSize) for column in bold],
    ]
    return Table(cells, columns, repeatRows=1, style=TableStyle(style), hAlign="LEFT")


def _cell(value: Any, room: float, bold: bool, right: bool) -> Any:
    if not isinstance(value, str):
        return value
    font = fontstack.BOLD if bold else fontstack.REGULAR
    line = fontstack.fit(value, room, CELL.fontSize, font)
    # Plain text is much cheaper than a flowable; only text that needs several fonts becomes one.
    if (plain := fontstack.plain(line, font)) is not None:
        return plain
    return Lines(value, CELL_BOLD if bold else CELL_RIGHT if right else CELL)
