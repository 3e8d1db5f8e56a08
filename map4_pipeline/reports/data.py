"""Tracks as data for programs: CSV, JSON, JSON Lines and Parquet, streamed, so that memory does not depend on their number."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import IO, Any

from map4_pipeline import __version__
from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.reports.atomic import Stopwatch, replacing
from map4_pipeline.reports.fields import FIELDS, SCHEMA_ID, Field, arrow_schema
from map4_pipeline.reports.lines import csv_header, csv_record, to_json
from map4_pipeline.reports.model import ReportFile

#: Rows that Parquet keeps in memory before it writes a group.
_GROUP = 5_000

Records = Iterable[Mapping[str, Any]]


def write_csv(records: Records, path: Path, fields: tuple[Field, ...] = FIELDS) -> ReportFile:
    """Write tracks as CSV (UTF-8 with a mark, as spreadsheet programs want it); lists and objects are JSON.

    A text that a spreadsheet program would calculate gets an apostrophe in front; JSON and Parquet hold it as it is.

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """
    names = [field.name for field in fields]

    def body(handle: IO[str]) -> None:
        handle.write("\ufeff" + csv_header(names))
        for record in records:
            handle.write(csv_record(names, _plain(record, fields)))

    return _write_text(path, "csv", body)


def write_json_lines(records: Records, path: Path, fields: tuple[Field, ...] = FIELDS) -> ReportFile:
    """Write tracks as JSON Lines: one object a line.

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """

    def body(handle: IO[str]) -> None:
        for record in records:
            handle.write(to_json(_plain(record, fields)) + "\n")

    return _write_text(path, "jsonl", body)


def write_json(
    records: Records, path: Path, fields: tuple[Field, ...] = FIELDS, *, count: int, generated_at: datetime, query: str = ""
) -> ReportFile:
    """Write tracks as one JSON document by the schema of `fields.json_schema`.

    Parameters
    ----------
    count : int
        How many records there are.
    generated_at : datetime
        Aware.
    query : str
        What they were chosen by.

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """

    def body(handle: IO[str]) -> None:
        head = {
            "schema": SCHEMA_ID,
            "generated_at": generated_at.isoformat(),
            "generator": f"MAP4 {__version__}",
            "query": query,
            "track_count": count,
        }
        handle.write(to_json(head)[:-1] + ', "tracks": [')
        mark = "\n"
        for record in records:
            handle.write(mark + to_json(_plain(record, fields)))
            mark = ",\n"
        handle.write("\n]}\n")

    return _write_text(path, "json", body)


def write_parquet(records: Records, path: Path, fields: tuple[Field, ...] = FIELDS) -> ReportFile:
    """Write tracks as Parquet with the types of `fields.arrow_schema`.

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    watch = Stopwatch()
    schema = arrow_schema(fields)
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for rows in _groups(records):
            columns = [_column(rows, field) for field in fields]
            arrays = [pa.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return watch.report(path, "parquet")


def _write_text(path: Path, name: str, body: Callable[[IO[str]], None]) -> ReportFile:
    watch = Stopwatch()
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        body(handle)
    return watch.report(path, name)


def _groups(records: Records) -> Iterator[list[Mapping[str, Any]]]:
    rows: list[Mapping[str, Any]] = []
    for record in records:
        rows.append(record)
        if len(rows) == _GROUP:
            yield rows
            rows = []
    if rows:
        yield rows


def _plain(record: Mapping[str, Any], fields: tuple[Field, ...]) -> dict[str, Any]:
    """Return a record as JSON has it: every field, `hamms` with its twelve names in order, moments in ISO 8601."""
    plain: dict[str, Any] = {}
    for field in fields:
        value = record.get(field.name)
        if field.kind == "hamms":
            value = None if value is None else {name: value.get(name) for name in DIMENSIONS}
        elif field.kind in ("numbers", "texts", "findings"):
            value = list(value or ())
        elif field.kind == "reasons":
            value = dict(value or {})
        elif field.kind in ("number", "unit"):
            # JSON has no word for what is no number, and neither has a reader of it.
            value = value if value is None or isfinite(value) else None
        elif isinstance(value, datetime):
            value = value.isoformat()
        plain[field.name] = value
    return plain


def _column(rows: list[Mapping[str, Any]], field: Field) -> list[Any]:
    values = [row.get(field.name) for row in rows]
    if field.kind == "hamms":
        return [None if value is None else [value.get(name) for name in DIMENSIONS] for value in values]
    if field.kind == "reasons":
        return [list((value or {}).items()) for value in values]
    if field.kind in ("numbers", "texts", "findings"):
        return [list(value or ()) for value in values]
    if field.kind == "object":
        return [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    return values
