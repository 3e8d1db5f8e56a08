"""Lists of files and tracks on the terminal: a line each, streamed, whatever their number.

Columns of numbers keep their width; titles, names and paths share what is left. Rich's own table would hold all rows in
memory to measure them, and squeeze the numbers first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal

from map4_pipeline.cli.console import make_console, printable

if TYPE_CHECKING:
    from rich.console import Console

Row = Mapping[str, Any]

#: From so many columns on, how sure the tempo and the key are is shown; below the second figure, less.
_WIDE, _NARROW = 100, 64
#: Rows that are looked at before the widths are set.
_SAMPLE = 500


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, width in cells, which side its text keeps to, and how it is made from a row."""

    title: str
    width: int
    side: Literal["left", "right"]
    value: Callable[[Row], str]


def number(value: float | None, digits: int) -> str:
    """Return a number, or a dash for what was not measured."""
    return "-" if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """Return a probability as a percentage."""
    return "" if value is None else f"{100 * value:.0f}%"


def length(seconds: float | None) -> str:
    """Return a duration as 4:05 or 1:02:03."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _numbers(width: int) -> list[Column]:
    """Return the columns of measured values that fit a terminal of a width."""
    found = [Column("BPM", 5, "right", lambda row: number(row["bpm"], 1))]
    if width >= _WIDE:
        found.append(Column("sure", 4, "right", lambda row: percent(row["bpm_confidence"])))
    found.append(Column("key", 8, "left", lambda row: row["key"] or "-"))
    found.append(Column("", 3, "left", lambda row: row["camelot"] or ""))
    if width >= _WIDE:
        found.append(Column("sure", 4, "right", lambda row: percent(row["key_confidence"])))
    if width >= _NARROW:
        found.append(Column("energy", 6, "right", lambda row: number(row["energy"], 2)))
        found.append(Column("LUFS", 5, "right", lambda row: number(row["loudness_lufs"], 1)))
    found.append(Column("length", 7, "right", lambda row: length(row["duration"])))
    return found


class _Lines:
    """Prints rows with one or two columns of text before the numbers."""

    def __init__(self, console: "Console", texts: Sequence[tuple[str, Callable[[Row], str]]]) -> None:
        self._console = console
        self._numbers = _numbers(console.width)
        self._gap = "  " if console.width >= _WIDE else " "
        self._texts = texts
        self._columns: list[Column] = []

    def set_widths(self, wanted: Sequence[int]) -> None:
        """Give the columns of text what they want, or their share of what is left."""
        gaps = len(self._gap) * (len(self._numbers) + len(self._texts) - 1)
        room = max(self._console.width - sum(column.width for column in self._numbers) - gaps, 8 * len(self._texts))
        widths = [max(want, len(title)) for want, (title, _) in zip(wanted, self._texts, strict=True)]
        if sum(widths) > room:
            if len(widths) == 1:
                widths = [room]
            else:
                # The first gets three fifths, and what the second does not need.
                second = min(widths[1], max(room * 2 // 5, room - widths[0]))
                widths = [room - second, second]
        texts = [Column(title, width, "left", value) for (title, value), width in zip(self._texts, widths, strict=True)]
        self._columns = texts + self._numbers

    def header(self) -> None:
        """Print the columns' titles."""
        cells = [self._cell(column.title, column) for column in self._columns]
        self._console.print(self._gap.join(cells).rstrip(), style="bold", soft_wrap=True)

    def line(self, row: Row) -> None:
        """Print a row."""
        cells = [self._cell(column.value(row), column) for column in self._columns]
        self._console.out(self._gap.join(cells).rstrip(), highlight=False)

    @staticmethod
    def _cell(text: str, column: Column) -> str:
        from rich.cells import cell_len, set_cell_size

        size = cell_len(text)
        if size > column.width:
            return set_cell_size(text, column.width - 1) + "…"
        pad = " " * (column.width - size)
        return pad + text if column.side == "right" else text + pad


def print_tracks(console: "Console", rows: Iterable[Row], *, states: bool = False) -> int:
    """Print tracks, a line each, and return how many.

    Parameters
    ----------
    states : bool
        Name the state of tracks that are not simply there and analysed.
    """
    from rich.cells import cell_len

    iterator = iter(rows)
    sample = list(islice(iterator, _SAMPLE))
    if not sample:
        return 0
    lines = _Lines(console, (("title", _title), ("artist", _artist)))
    wanted = [max(cell_len(text(row)) for row in sample) for text in (_title, _artist)]
    # Of a longer list, more than the sample is to come, and it may be wider.
    lines.set_widths(wanted if len(sample) < _SAMPLE else [max(wanted[0], 60), max(wanted[1], 30)])
    count = 0
    headed = False
    for row in chain(sample, iterator):
        count += 1
        state = _state(row) if states else None
        if state is None:
            if not headed:  # a list of files that are gone has no columns
                lines.header()
                headed = True
            lines.line(row)
        else:
            console.print(f"{printable(row['path'])}  {state}", style="yellow", soft_wrap=True)
    return count


def _title(row: Row) -> str:
    return printable(row["title"] or "").strip() or row["file_name"] or ""


def _artist(row: Row) -> str:
    return printable(row["artist"] or "").strip()


def _state(row: Row) -> str | None:
    if row["missing_since"] is not None:
        return f"missing since {row['missing_since']:%Y-%m-%d %H:%M}"
    if row["status"] == "failed":
        return failure_text(row)
    return None if row["status"] == "ok" else "waits for analysis"


def failure_text(row: Row) -> str:
    """Return why a file failed, with the stable name of the kind of failure in front."""
    return f"{row['error_kind'] or 'failed'}: {printable(row['error'] or '')}"


def print_failures(console: "Console", rows: Iterable[Row]) -> int:
    """Print failed files, each path on a line of its own so that it can be copied, and return how many."""
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 (counted for the caller)
        console.print(printable(row["path"]), soft_wrap=True)
        console.print(f"    {failure_text(row)}", style="yellow", soft_wrap=True)
    return count


class FileLines:
    """Prints records of files as they come."""

    def __init__(self) -> None:
        self._console = make_console()
        self._lines = _Lines(self._console, (("file", self._name),))
        self._lines.set_widths([56])
        self._headed = False

    def write(self, record: Row) -> None:
        """Print a record."""
        if record["status"] != "ok":
            self._console.print(f"{printable(record['path'])}  {failure_text(record)}", style="yellow", soft_wrap=True)
            return
        if not self._headed:
            self._headed = True
            self._lines.header()
        self._lines.line(record)

    def _name(self, record: Row) -> str:
        """Return a path whose end is kept when it is too long: the file's name tells files apart."""
        from rich.cells import cell_len, chop_cells

        text = printable(record["path"])
        room = self._lines._columns[0].width
        if cell_len(text) <= room:
            return text
        return "…" + chop_cells(text[::-1], room - 1)[0][::-1]
