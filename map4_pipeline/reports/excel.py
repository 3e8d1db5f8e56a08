"""The library as an Excel workbook, streamed: memory does not depend on the number of tracks.

Sheets: Library, HAMMS, AI, Technical, Duplicates, Failures, Summary. The four sheets of tracks are filled in one pass.
openpyxl makes the workbook with the headers alone, and `excel_rows` puts the rows behind them.
"""

import io
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from map4_pipeline.reports import text
from map4_pipeline.reports.atomic import Stopwatch, replacing
from map4_pipeline.reports.excel_columns import AI, DUPLICATES, FAILURES, HAMMS, LIBRARY, TECHNICAL, Column
from map4_pipeline.reports.excel_rows import RowFile, put_rows, safe_text
from map4_pipeline.reports.model import DuplicateGroup, Failure, LibrarySnapshot, ReportFile

if TYPE_CHECKING:
    from openpyxl import Workbook

#: The workbook's default; a font without a name falls back to a serif in some programs.
FONT = "Calibri"
#: A sheet has 1,048,576 rows; one is the header.
MAX_ROWS = 1_048_575


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
    book = Workbook()
    book.remove(book.worksheets[0])
    book.properties.title = text.one_line(snapshot.title, 200)
    book.properties.creator = "MAP4"
    with replacing(target) as temporary, ExitStack() as stack:

        def sheet(name: str, columns: Sequence[Column]) -> Sheet:
            return stack.enter_context(closing(Sheet(book, name, columns, target.parent)))

        sheets = [sheet("Library", LIBRARY), sheet("HAMMS", HAMMS), sheet("AI", AI), sheet("Technical", TECHNICAL)]
        for row in snapshot.tracks():
            for one in sheets:
                # A sheet of annotations with a line for every track that has none would be noise.
                if one.name != "AI" or row.ai_analysis:
                    one.append(row)
        sheets += [sheet("Duplicates", DUPLICATES), sheet("Failures", FAILURES)]
        for number, group in enumerate(snapshot.iterate_duplicates(), 1):
            kept = DuplicateGroup(*group)
            for member in kept.members:
                known = text.label(kept.kind, text.DUPLICATE_LABELS)
                sheets[-2].append((number, known, len(kept.members), _fate(kept, member), member))
        for failure in snapshot.iterate_failures():
            sheets[-1].append(Failure(*failure))
        for one in sheets:
            one.finish()
        write_summary(book, snapshot, left_out={one.name: one.left_out for one in sheets if one.left_out})
        # It stands last because all others are counted in it, and is what people want to see first.
        book.active = len(sheets)
        made = io.BytesIO()
        book.save(made)
        put_rows(made, {place: (one.rows, one.cells) for place, one in enumerate(sheets, 1)}, temporary)
    return watch.report(target, "xlsx")


class Sheet:
    """One sheet with a frozen header, whose rows are written one by one.

    Parameters
    ----------
    book : Workbook
    name : str
    columns : sequence of Column
    folder : Path
        Where the rows are kept until the workbook is written.

    Attributes
    ----------
    rows : RowFile
    left_out : int
        Rows that no sheet of Excel has room for.
    """

    def __init__(self, book: "Workbook", name: str, columns: Sequence[Column], folder: Path) -> None:
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.styles import Alignment, Font, PatternFill
        from openpyxl.utils import get_column_letter

        self.name = name
        self.left_out = 0
        self._columns = columns
        self._letters = [get_column_letter(index) for index in range(1, len(columns) + 1)]
        self._sheet: Any = book.create_sheet(name)
        # Identifier and title stay in view beside many columns.
        self._sheet.freeze_panes = "C2" if len(columns) > 6 else "A2"
        for_paper(self._sheet)
        header, styles = [], []
        for letter, column in zip(self._letters, columns, strict=True):
            self._sheet.column_dimensions[letter].width = column.width
            cell = WriteOnlyCell(self._sheet, column.title)
            cell.font = Font(name=FONT, bold=True, color="FFFFFF")
            cell.fill = PatternFill("solid", fgColor="16202C")
            # Numbers keep their distance from the text in the next column.
            figures: dict[str, Any] = {"horizontal": "right", "indent": 1} if column.number_format else {}
            cell.alignment = Alignment(vertical="center", wrap_text=True, **figures)
            header.append(cell)
            form = {"number_format": column.number_format, "alignment": Alignment(**figures)}
            styles.append(_style(self._sheet, **form) if column.number_format else 0)
        self._sheet.append(header)
        # Room for two lines: not every program measures wrapped text when it opens a file.
        self._sheet.row_dimensions[1].height = 32
        self.rows = RowFile(columns, self._letters, styles, _style(self._sheet, quotePrefix=True), folder)

    @property
    def cells(self) -> str:
        """The cells that the sheet has, header included."""
        return f"A1:{self._letters[-1]}{self.rows.rows + 1}"

    def append(self, source: Any) -> None:
        """Write one row: what the columns make of `source`."""
        if self.rows.rows < MAX_ROWS:
            self.rows.append(source)
        else:
            self.left_out += 1

    def finish(self) -> None:
        """Add the filter and the colours over the rows that were written."""
        from openpyxl.formatting.rule import CellIsRule, ColorScaleRule
        from openpyxl.styles import Font, PatternFill

        last = self.rows.rows + 1
        self._sheet.auto_filter.ref = self.cells
        if last == 1:
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

    def close(self) -> None:
        """Give the rows' file back."""
        self.rows.close()


def _fate(group: DuplicateGroup, member: str) -> str:
    """Return what is proposed for a file of a group, and why; MAP4 itself deletes nothing."""
    if group.keeper is None:
        return ""
    return f"keep: {group.reason}".rstrip(": ") if member == group.keeper else "spare"


def for_paper(sheet: Any) -> None:
    """Make a sheet print as people expect: across the page, all columns on it, the header on every page."""
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.paperSize = sheet.PAPERSIZE_A4
    sheet.page_setup.fitToWidth = 1
    sheet.page_setup.fitToHeight = 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.print_title_rows = "1:1"
    sheet.oddFooter.center.text = "&A, page &P of &N"


def _style(sheet: Any, **attributes: Any) -> int:
    """Return the workbook's number of a style, which rows name."""
    from openpyxl.cell import WriteOnlyCell

    cell = WriteOnlyCell(sheet)
    for name, value in attributes.items():
        setattr(cell, name, value)
    return int(cell.style_id)


def text_cell(quoted: Any, value: str) -> Any:
    """Return what to append for text from outside: never a formula, an error code, or a character that XML forbids.

    Parameters
    ----------
    quoted : Cell
        With `quotePrefix`; used when the text could be taken for something else.
    value : str

    Returns
    -------
    str, Cell or None
        None for empty text.
    """
    if not value:
        return None
    safe, is_special = safe_text(value)
    if not is_special:
        return safe
    quoted.value = safe
    quoted.data_type = "s"
    return quoted
