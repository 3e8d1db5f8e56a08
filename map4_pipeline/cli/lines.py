"""Output that programs read: JSON, one object a line, and CSV. Always UTF-8, whatever the terminal is set to."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from map4_pipeline.cli.console import silence
from map4_pipeline.reports.lines import csv_header, csv_record, to_json

__all__ = ["CsvLines", "pour", "to_json", "write", "write_json"]


def write(text: str, *, flush: bool = False) -> None:
    """Write text to standard output as UTF-8."""
    _write_bytes([text.encode("utf-8", "replace")], flush)


def pour(path: Path) -> None:
    """Write a file to standard output as it is."""
    with path.open("rb") as file:
        _write_bytes(iter(lambda: file.read(1 << 20), b""), flush=True)


def _write_bytes(pieces: Iterable[bytes], flush: bool) -> None:
    stream = sys.stdout
    try:
        stream.flush()
        for piece in pieces:
            stream.buffer.write(piece)
        if flush:
            stream.buffer.flush()
    except BrokenPipeError:
        # `| head` has seen enough. Without an errno, or Click would make it the exit code 1.
        silence(stream)
        raise BrokenPipeError from None


def write_json(value: Any, *, flush: bool = False) -> None:
    """Write one object on one line."""
    write(to_json(value) + "\n", flush=flush)


class CsvLines:
    """Writes records as CSV: the twelve HAMMS dimensions have a column each (`hamms_bpm`, ...), lists are JSON.

    Parameters
    ----------
    names : sequence of str
        The records' names, in order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def write_header(self) -> None:
        """Write the line of names."""
        write(csv_header(self._names))

    def write(self, record: Mapping[str, Any], *, flush: bool = False) -> None:
        """Write one record."""
        write(csv_record(self._names, record), flush=flush)
