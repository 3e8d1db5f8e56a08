"""Rows of a workbook's sheets as XML, and how they get into the workbook.

openpyxl makes everything about a sheet but its rows: header, styles, filters, colours, charts. For each cell it makes objects of
an element and its attributes; written as text rows take a sixth of the time, and memory does not depend on their number. The
format is ECMA-376, 18.3.1.4 (cells) and 22.9.2.19 (text).
"""

import io
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from map4_pipeline.reports.excel_columns import Column
from map4_pipeline.reports.text import clean

#: Longest text of a cell, with room for what the escaping of line ends adds.
MAX_TEXT = 32_000
#: Text that starts so is read as a formula or an error when it is typed, pasted or exported to CSV.
_SPECIAL_STARTS = ("=", "+", "-", "@", "#", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")
#: What stands for another character in XML, and `_x0041_`, which a spreadsheet program would read as one.
_TO_ESCAPE = re.compile("[&<>\r]|_(?=x[0-9A-Fa-f]{4}_)")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;", "_": "_x005F_"}
#: Excel counts days from here (its year 1900 has a 29 February).
_DAY_ZERO = datetime(1899, 12, 30)
_BUFFERED = 500
#: Sheets shrink to a tenth; the last few per cent would take as long as all the rest.
_COMPRESSION = 3
#: Bytes; the short form of a size in an archive ends at 2 GiB, and the header comes on top.
_LARGE = (1 << 31) - (1 << 20)
_DIMENSION = re.compile(rb'<dimension ref="[^"]*" ?/>')


def safe_text(value: str) -> tuple[str, bool]:
    """Return text without characters that XML forbids, and whether a program could take it for a formula or an error."""
    safe = clean(value, MAX_TEXT)
    # A control character in front of "=" is no protection once it is gone.
    return safe, safe.lstrip().startswith(_SPECIAL_STARTS) or safe.startswith(("\t", "\r", "\n"))


class RowFile:
    """Rows of one sheet, serialised into a file that has no name and is gone with the process, however it ends.

    Parameters
    ----------
    columns : sequence of Column
    letters : sequence of str
        Of the columns.
    styles : sequence of int
        The column's number of a style in the workbook, 0 for none.
    quoted : int
        The style of text that is to stay text even when somebody edits it.
    folder : Path
        Where there has to be room anyway: a folder for temporary files may be memory.
    """

    def __init__(
        self, columns: Sequence[Column], letters: Sequence[str], styles: Sequence[int], quoted: int, folder: Path
    ) -> None:
        self.rows = 0
        self._values: list[Callable[[Any], Any]] = [column.value for column in columns]
        self._letters = letters
        self._styled = [f'" s="{style}"><v>' if style else '"><v>' for style in styles]
        self._quoted = f'" s="{quoted}" t="inlineStr"><is><t xml:space="preserve">'
        self._buffer: list[str] = []
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`

    def append(self, source: Any) -> None:
        """Write one row: what the columns make of `source`."""
        self.rows += 1
        number = self.rows + 1
        parts = [f'<row r="{number}">']
        for letter, value_of, styled in zip(self._letters, self._values, self._styled, strict=True):
            value = value_of(source)
            if value is None:
                continue
            if isinstance(value, str):
                if value:
                    parts.append(f'<c r="{letter}{number}{self._text(value)}</t></is></c>')
            elif isinstance(value, datetime):
                days = (value - _DAY_ZERO).total_seconds() / 86_400
                parts.append(f'<c r="{letter}{number}{styled}{days!r}</v></c>')
            else:
                parts.append(f'<c r="{letter}{number}{styled}{value!r}</v></c>')
        parts.append("</row>")
        self._buffer.append("".join(parts))
        if len(self._buffer) >= _BUFFERED:
            self._flush()

    def _text(self, value: str) -> str:
        safe, is_special = safe_text(value)
        escaped = _TO_ESCAPE.sub(lambda match: _ESCAPES[match.group()], safe)
        return (self._quoted if is_special else '" t="inlineStr"><is><t xml:space="preserve">') + escaped

    def _flush(self) -> None:
        self._file.write("".join(self._buffer).encode())
        self._buffer.clear()

    def copy_to(self, out: Any) -> None:
        """Write all rows into another file."""
        self._flush()
        self._file.seek(0)
        shutil.copyfileobj(self._file, out, 1 << 20)

    @property
    def size_bytes(self) -> int:
        """How much `copy_to` writes."""
        self._flush()
        return self._file.seek(0, io.SEEK_END)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


def put_rows(workbook: BinaryIO, sheets: Mapping[int, tuple[RowFile, str]], target: Path) -> None:
    """Write a workbook again, with rows behind the header of some of its sheets.

    Parameters
    ----------
    workbook : file
        An XLSX file whose sheets hold their header alone.
    sheets : mapping
        The place of the sheet in the workbook, from 1, to its rows and the cells that it then has ("A1:U91").
    target : Path
    """
    parts = {f"xl/worksheets/sheet{place}.xml": rows for place, rows in sheets.items()}
    with (
        zipfile.ZipFile(workbook) as made,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION) as whole,
    ):
        for item in made.infolist():
            data = made.read(item)
            if item.filename not in parts:
                whole.writestr(item.filename, data)
                continue
            rows, cells = parts[item.filename]
            head, mark, tail = _DIMENSION.sub(f'<dimension ref="{cells}"/>'.encode(), data).partition(b"</sheetData>")
            # The long form of sizes only where it is needed: not every program reads it.
            with whole.open(item.filename, "w", force_zip64=rows.size_bytes > _LARGE) as out:
                out.write(head)
                rows.copy_to(out)
                out.write(mark + tail)
