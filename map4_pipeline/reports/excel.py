"""The library as an Excel workbook, streamed: memory does not depend on the number of tracks.

Sheets: Library, HAMMS, AI, Technical, Duplicates, Failures, Summary. The four sheets of tracks are filled in one pass.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from map4_pipeline.reports import text
from map4_pipeline.reports.atomic import Stopwatch, replacing
from map4_pipeline.reports.excel_columns import AI, DUPLICATES, FAILURES, HAMMS, LIBRARY, TECHNICAL, Column
from map4_pipeline.reports.model import DuplicateGroup, Failure, LibrarySnapshot, ReportFile

if TYPE_CHECKING:
    from openpyxl import Workbook

#: The workbook's default; a font without a name falls back to a serif in some programs.
FONT = "Calibri"
#: A sheet has 1,048,576 rows; one is the header.
MAX_ROWS = 1_048_575
#: Longest text of a cell, with room for what the escaping of line ends adds.
MAX_TEXT = 32_000
#: Text that starts so is read as a formula or an error when it is typed, pasted or exported to CSV.
_SPECIAL_STARTS = ("=", "+", "-", "@", "#", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write_excel(snapshot: LibrarySnapshot, path: Path | str) -> ReportFile:
    """Write the library as an XLSX workbook.

    Parameters
    ----------
    snapshot : LibrarySnapshot
        Its tracks are streamed once, every row written as it comes.
    path : Path or str
        Replaced atomically.

    Returns
    -------
    ReportFile

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """
    # Imported here, so that who imports this package does not pay for openpyxl.
    from openpyxl import Workbook

    from map4_pipeline.reports.excel_summary import write_summary

    watch = Stopwatch()
    target = Path(path)
    book = Workbook(write_only=True)
    _describe(book, snapshot)
    try:
        sheets = [Sheet(book, name, columns) for name, columns in (("Library", LIBRARY), ("HAMMS", HAMMS), ("AI", AI))]
        sheets.append(Sheet(book, "Technical", TECHNICAL))
        left_out = 0
        for row in snapshot.tracks():
            if sheets[0].rows >= MAX_ROWS:
                left_out += 1
                continue
            for sheet in sheets:
                # A sheet of annotations with a line for every track that has none would be noise.
                if sheet.name != "AI" or row.ai_analysis:
                    sheet.append(row)
        duplicates = Sheet(book, "Duplicates", DUPLICATES)
        for number, group in enumerate(snapshot.iterate_duplicates(), 1):
            kept = DuplicateGroup(*group)
            for member in kept.members:
                if duplicates.rows < MAX_ROWS:
                    duplicates.append((number, text.label(kept.kind, text.DUPLICATE_LABELS), len(kept.members), member))
        failures = Sheet(book, "Failures", FAILURES)
        for failure in snapshot.iterate_failures():
            if failures.rows < MAX_ROWS:
                failures.append(Failure(*failure))
        for sheet in (*sheets, duplicates, failures):
            sheet.finish()
        write_summary(book, snapshot, left_out=left_out)
        with replacing(target) as temporary:
            book.save(temporary)
    finally:
        _discard(book)
    return watch.report(target, "xlsx")


def _describe(book: "Workbook", snapshot: LibrarySnapshot) -> None:
    book.properties.title = text.one_line(snapshot.title, 200)
    book.properties.creator = "MAP4"


def _discard(book: "Workbook") -> None:
    """Remove the temporary files of sheets that were not saved (an error or a cancellation on the way)."""
    for sheet in book.worksheets:
        writer = getattr(sheet, "_writer", None)
        if writer is None:
            continue
        with suppress(OSError, ValueError):
            # Closed first, or the half-written generators complain when they are collected.
            if not sheet.closed:
                sheet.close()
        with suppress(OSError, ValueError):
            writer.cleanup()


class Sheet:
    """One sheet with a frozen header, written row by row.

    A cell object costs more than the value it carries, and a write-only row is serialised as soon as it is appended, so every
    column has one cell that is used again for each row. Plain text and numbers without a format need none.

    Parameters
    ----------
    book : Workbook
        In write-only mode.
    name : str
    columns : sequence of Column
    """

    def __init__(self, book: "Workbook", name: str, columns: Sequence[Column]) -> None:
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.styles import Alignment, Font, PatternFill
        from openpyxl.utils import get_column_letter

        self.name = name
        self.rows = 0
        self._columns = columns
        self._letters = [get_column_letter(index) for index in range(1, len(columns) + 1)]
        self._sheet = book.create_sheet(name)
        # Identifier and title stay in view beside many columns.
        self._sheet.freeze_panes = "C2" if len(columns) > 6 else "A2"
        self._cells: list[Any] = []
        header = []
        for letter, column in zip(self._letters, columns, strict=True):
            self._sheet.column_dimensions[letter].width = column.width
            cell = WriteOnlyCell(self._sheet, column.title)
            cell.font = Font(name=FONT, bold=True, color="FFFFFF")
            cell.fill = PatternFill("solid", fgColor="16202C")
            cell.alignment = Alignment(vertical="center", wrap_text=True)
            header.append(cell)
            formatted = WriteOnlyCell(self._sheet)
            if column.number_format:
                formatted.number_format = column.number_format
            self._cells.append(formatted)
        # Tells Excel that the text stays text even when somebody edits the cell.
        self._quoted = [WriteOnlyCell(self._sheet) for _ in columns]
        for cell in self._quoted:
            cell.quotePrefix = True
        self._sheet.append(header)

    def append(self, source: Any) -> None:
        """Write one row: what the columns make of `source`."""
        row: list[Any] = []
        for index, column in enumerate(self._columns):
            value = column.value(source)
            if isinstance(value, str):
                row.append(self._text(value, index))
            elif value is None or column.number_format is None:
                row.append(value)
            else:
                cell = self._cells[index]
                cell.value = value
                row.append(cell)
        self._sheet.append(row)
        self.rows += 1

    def _text(self, value: str, index: int) -> Any:
        return text_cell(self._quoted[index], value)

    def finish(self) -> None:
        """Add the filter and the colours over the rows that were written."""
        from openpyxl.formatting.rule import CellIsRule, ColorScaleRule
        from openpyxl.styles import Font, PatternFill

        last = self.rows + 1
        self._sheet.auto_filter.ref = f"A1:{self._letters[-1]}{last}"
        if not self.rows:
            return
        for letter, column in zip(self._letters, self._columns, strict=True):
            cells = f"{letter}2:{letter}{last}"
            if column.scale:
                # White to sky blue keeps dark figures readable and looks the same to every reader.
                rule = ColorScaleRule("num", 0, "FFFFFF", end_type="num", end_value=1, end_color="56B4E9")  # type: ignore[no-untyped-call]
                self._sheet.conditional_formatting.add(cells, rule)
            elif column.state:
                for state, ink, ground in (("failed", "FFFFFF", "D55E00"), ("missing", "16202C", "F6D58A")):
                    # A conditional format takes its colour from the fill's background, unlike a cell.
                    fill = PatternFill(bgColor=ground, fill_type="solid")
                    rule = CellIsRule("equal", [f'"{state}"'], font=Font(color=ink), fill=fill)  # type: ignore[no-untyped-call]
                    self._sheet.conditional_formatting.add(cells, rule)


def text_cell(quoted: Any, value: str) -> Any:
    """Return what to append for text from outside: never a formula, an error code, or a character that XML forbids.

    Parameters
    ----------
    quoted : WriteOnlyCell
        With `quotePrefix`; used when the text could be taken for something else.
    value : str

    Returns
    -------
    str, WriteOnlyCell or None
        None for empty text.
    """
    if not value:
        return None
    # The first character decides, before cleaning: a control character in front of "=" is no protection once it is gone.
    safe = text.clean(value, MAX_TEXT)
    if not safe.lstrip().startswith(_SPECIAL_STARTS) and not safe.startswith(("\t", "\r", "\n")):
        return safe
    quoted.value = safe
    quoted.data_type = "s"
    return quoted
