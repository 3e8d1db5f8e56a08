"""JSON and CSV as text that acts on nothing: no terminal, no spreadsheet program. For output and for exported files."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from map4_pipeline.hamms import DIMENSIONS

#: Where spreadsheet programs see the beginning of a formula (OWASP, "CSV Injection"); full-width signs count too.
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
#: Valid in JSON, but active on a terminal: DEL and C1 controls, marks of direction, line separators, lone surrogates.
_ACTIVE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")
#: In CSV the other controls too, line feeds among them: a record is a line, also for grep.
_ACTIVE_IN_CSV = re.compile(f"{_ACTIVE.pattern}|[\x00-\x1f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON in which nothing acts on a terminal; equal, once parsed, to the value."""
    return _ACTIVE.sub(_escaped, _SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)))


def csv_header(names: Sequence[str]) -> str:
    """Return the first line of a CSV file: the twelve HAMMS dimensions have a column each (`hamms_bpm`, ...)."""
    header: list[str] = []
    for name in names:
        header += [f"hamms_{dimension}" for dimension in DIMENSIONS] if name == "hamms" else [name]
    return _csv_line(header)


def csv_record(names: Sequence[str], record: Mapping[str, Any]) -> str:
    """Return a record as a line of CSV; lists and objects are JSON."""
    cells: list[Any] = []
    for name in names:
        value = record.get(name)
        if name == "hamms":
            cells += [(value or {}).get(dimension) for dimension in DIMENSIONS]
        else:
            cells.append(value)
    return _csv_line(cells)


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match.group())[1:-1]


def _csv_line(cells: Iterable[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([_cell(value) for value in cells])
    return out.getvalue()


def _cell(value: Any) -> Any:
    """Return a cell that no spreadsheet program calculates: a text that looks like a formula gets an apostrophe in front.

    Controls are written as in JSON.
    """
    if isinstance(value, list | dict):
        return to_json(value)
    if not isinstance(value, str):
        return value
    text = _ACTIVE_IN_CSV.sub(_escaped, value)
    return f"'{text}" if _FORMULA.match(text) else text
