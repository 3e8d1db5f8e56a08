"""The workbook's last sheet: figures, the ledger, distributions and charts over them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from map4_pipeline.reports import series, text
from map4_pipeline.reports.model import LibrarySnapshot
from map4_pipeline.reports.series import Series
from map4_pipeline.reports.statistics import HAMMS_NAMES

if TYPE_CHECKING:
    from openpyxl import Workbook

#: First column of the figures behind the charts, right of the charts.
_DATA_COLUMN = 24
#: Rows that a chart takes, with the space below it.
_CHART_ROWS = 17
_COLOURS = ("0072B2", "08406E", "D55E00", "E69F00", "CC79A7", "009E73")


def write_summary(book: "Workbook", snapshot: LibrarySnapshot, *, left_out: Mapping[str, int]) -> None:
    """Add the sheet "Summary".

    Parameters
    ----------
    left_out : mapping
        Sheets to rows that did not fit into them; said at the top.
    """
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Alignment, Font, PatternFill
    from openpyxl.utils import get_column_letter

    from map4_pipeline.reports.excel import FONT, for_paper, text_cell

    sheet = book.create_sheet("Summary")
    for letter, width in (("A", 30), ("B", 22), ("C", 52), ("D", 3)):
        sheet.column_dimensions[letter].width = width
    for column in range(_DATA_COLUMN, _DATA_COLUMN + 18, 3):
        sheet.column_dimensions[get_column_letter(column)].width = 18
    sheet.freeze_panes = "A2"
    grid: dict[tuple[int, int], Any] = {}
    heads: set[tuple[int, int]] = set()
    _left_side(grid, heads, snapshot, left_out)
    charts = _distributions(grid, heads, snapshot)
    for row in range(1, max((place[0] for place in grid), default=0) + 1):
        cells: list[Any] = []
        for column in range(1, max((place[1] for place in grid), default=0) + 1):
            value = grid.get((row, column))
            if (row, column) in heads:
                cell = WriteOnlyCell(sheet, value)
                cell.font = Font(name=FONT, bold=True, color="FFFFFF", size=14 if row == 1 else 11)
                cell.fill = PatternFill("solid", fgColor="16202C")
                cell.data_type = "s"
                cells.append(cell)
            elif isinstance(value, str):
                quoted = WriteOnlyCell(sheet)
                quoted.quotePrefix = True
                cells.append(text_cell(quoted, value))
            elif isinstance(value, int | float):
                cell = WriteOnlyCell(sheet, value)
                cell.number_format = "#,##0" if isinstance(value, int) else "0.00"
                cell.alignment = Alignment(horizontal="left" if column == 2 else "right")
                cells.append(cell)
            else:
                cells.append(None)
        sheet.append(cells)
    for_paper(sheet)
    # One page: what is read and the charts, without the figures behind them.
    sheet.page_setup.fitToHeight = 1
    left = max(place[0] for place in grid if place[1] < _DATA_COLUMN)
    sheet.print_area = f"A1:{get_column_letter(_DATA_COLUMN - 2)}{max(left, 3 + 3 * _CHART_ROWS)}"
    for index, (title, column, first, last) in enumerate(charts):
        anchor = f"{'EN'[index % 2]}{3 + index // 2 * _CHART_ROWS}"
        sheet.add_chart(_bar_chart(sheet, title, column, first, last, _COLOURS[index % len(_COLOURS)]), anchor)


def _left_side(
    grid: dict[tuple[int, int], Any], heads: set[tuple[int, int]], snapshot: LibrarySnapshot, left_out: Mapping[str, int]
) -> None:
    """Fill columns A to C."""
    row = 1
    grid[row, 1] = text.one_line(snapshot.title, 200) or "Music library"
    grid[row, 2], grid[row, 3] = "", text.moment(snapshot.generated_at)
    heads.update({(row, 1), (row, 2), (row, 3)})
    for name, count in left_out.items():
        row += 1
        grid[row, 1] = f"{count:,} rows of {name} do not fit into a sheet of Excel and are left out."
    row += 1

    def head(*words: str) -> None:
        nonlocal row
        row += 1
        for column, word in enumerate(words, 1):
            grid[row, column] = word
            heads.add((row, column))

    def line(*values: Any) -> None:
        nonlocal row
        row += 1
        for column, value in enumerate(values, 1):
            grid[row, column] = value

    s = snapshot.statistics
    head("Library", "", "")
    line("Tracks", s.tracks, "files that are there and analysed")
    line("Failed", s.failed, "files and folders that could not be read or analysed")
    line("Missing", s.missing, "known tracks whose file is gone")
    line("Playing time", text.playing_time(s.duration_seconds), "")
    line("Size", text.size(s.size_bytes), "")
    line("Mean BPM", s.bpm_mean, f"of {text.tracks(sum(s.bpm.values()))}")
    line("Mean energy", s.energy_mean, "0 to 1")
    line("Mean loudness", s.loudness_mean, "LUFS")
    line("Mean HAMMS confidence", s.hamms_confidence_mean, "0 to 1")
    line("AI annotations", s.annotated, "")
    for item in snapshot.libraries:
        line(f"Root: {item.name}", item.track_count, item.root_text)
    row += 1
    head("Ledger", "Files", "Meaning")
    for _, label, count, words in series.ledger_rows(snapshot):
        line(label, count, words)
    line(series.ledger_verdict(snapshot)[1])
    skipped = sorted(((reason, count) for reason, count in snapshot.skipped.items() if count), key=lambda item: -item[1])
    if skipped:
        row += 1
        head("Skipped because", "Files", "")
        for reason, count in skipped:
            line(text.label(reason, text.SKIP_LABELS), int(count), "")
    if rows := series.quality_rows(snapshot):
        row += 1
        head("Quality", "Tracks", "What it means")
        for finding, tracks, words in rows:
            line(finding, tracks, words)
    row += 1
    head("HAMMS", "Median", "")
    for name in HAMMS_NAMES:
        line(text.HAMMS_LABELS[name], s.hamms.get(name, {}).get("q50"), "")
    if versions := series.version_rows(s):
        row += 1
        head("Analysis", "Tracks", "Version")
        for stage, version, tracks in versions:
            line(stage, tracks, version)


def _distributions(
    grid: dict[tuple[int, int], Any], heads: set[tuple[int, int]], snapshot: LibrarySnapshot
) -> list[tuple[str, int, int, int]]:
    """Fill the figures behind the charts; return (title, column of the labels, first row, last row) of those with any."""
    s = snapshot.statistics
    charts = []
    column = _DATA_COLUMN
    for title, data in (
        ("Tempo, BPM", series.tempo(s)),
        ("Keys, Camelot", series.keys(s)),
        ("Energy", series.energy(s)),
        ("Loudness, LUFS", series.loudness(s)),
        ("Genres", series.genres(s)),
        ("Years", series.years(s)),
    ):
        if not data.total:
            continue
        _column_of(grid, heads, title, data, column)
        charts.append((title, column, 2, len(data.counts) + 1))
        column += 3
    return charts


def _column_of(grid: dict[tuple[int, int], Any], heads: set[tuple[int, int]], title: str, data: Series, column: int) -> None:
    grid[1, column], grid[1, column + 1] = title, "Tracks"
    heads.update({(1, column), (1, column + 1)})
    for index, (label, count) in enumerate(zip(data.labels, data.counts, strict=True)):
        grid[index + 2, column] = label
        grid[index + 2, column + 1] = count


def _bar_chart(sheet: Any, title: str, column: int, first: int, last: int, colour: str) -> Any:
    from openpyxl.chart import BarChart, Reference
    from openpyxl.chart.axis import ChartLines
    from openpyxl.chart.shapes import GraphicalProperties
    from openpyxl.drawing.line import LineProperties

    chart = BarChart()
    chart.title = title
    chart.legend = None
    chart.gapWidth = 25
    chart.width = 16
    chart.height = 8
    chart.add_data(Reference(sheet, min_col=column + 1, min_row=first, max_row=last))
    chart.set_categories(Reference(sheet, min_col=column, min_row=first, max_row=last))
    chart.series[0].graphicalProperties.solidFill = colour
    # Without these two, recent versions of Excel draw no axes.
    chart.x_axis.delete = False
    chart.y_axis.delete = False
    chart.y_axis.majorGridlines = ChartLines(spPr=GraphicalProperties(ln=LineProperties(solidFill="D5DBE1")))
    chart.y_axis.numFmt = "#,##0"
    return chart
