"""Exports: what a query finds, in files that other programs read; one state, one piece, or nothing."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, insert, select, text, update

from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.reports.fields import NAMES, chosen_fields, json_schema
from map4_pipeline.store.database import driver_url, make_engine
from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.errors import InfrastructureError, StoreError
from map4_pipeline.store.exports import KINDS, ExportCancelled, ExportRequest, run_export
from map4_pipeline.store.libraries import register_library
from map4_pipeline.store.query import QueryError
from map4_pipeline.store.schema import directories, export_history, tracks

from ..postgres import PostgresForTests

WHOLE = {
    "title": "=HYPERLINK(0)",
    "artist": "Сибирь; \u202eevil",
    "bpm": 128.0,
    "bpm_confidence": 0.9,
    "bpm_alternatives": [{"value": 64.0, "probability": 0.07}],
    "key": "A minor",
    "camelot": "8A",
    "key_alternatives": [{"value": "C major", "probability": 0.2}],
    "loudness_lufs": -8.5,
    "hamms_vector": dict.fromkeys(DIMENSIONS, 0.5) | {"key": None},
    "null_reasons": {"hamms.key": "atonal"},
    "findings": [{"code": "clipping", "message": "It clips.", "value": 3.0}],
    "ai_analysis": {"genre": "House"},
    "ai_provider": "openai",
}
MANY = 700


@pytest.fixture(scope="module")
def engine(postgres_server: PostgresForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A library of 700 plain tracks, one that has everything, and one that failed."""
    root = tmp_path_factory.mktemp("exports") / "Music"
    root.mkdir()
    with postgres_server.database() as url:
        engine = make_engine(driver_url(url))
        with engine.begin() as conn:
            library = register_library(conn, root)
            register_directories(conn, library, [b""])
            place = {"library_id": library.id, "directory_id": conn.execute(select(directories.c.id)).scalar_one()}
            rows: list[dict[str, Any]] = [{"title": f"Track {number}", "bpm": 100.0 + number / 10} for number in range(MANY)]
            rows += [WHOLE, {"title": "Broken", "status": "failed", "error_kind": "damaged", "error_message": "It is damaged."}]
            for number, row in enumerate(rows):
                name = f"{number}.mp3"
                at = {"relative_path": name.encode(), "file_name": name, "file_path": f"/m/{name}", "status": "ok"}
                conn.execute(insert(tracks).values(**place, **(at | row)))
        yield engine
        engine.dispose()


def exported(engine: Engine, tmp_path: Path, kind: str, query: str = "", **more: Any) -> Path:
    target = tmp_path / f"out{KINDS[kind].ending}"
    written = run_export(engine, ExportRequest(kind, query, **more), target)
    assert written.size_bytes == target.stat().st_size > 0
    return target


def test_json_is_as_its_schema_says(engine: Engine, tmp_path: Path) -> None:
    document = json.loads(exported(engine, tmp_path, "json").read_text("utf-8"))
    jsonschema.Draft202012Validator(json_schema()).validate(document)
    assert document["track_count"] == len(document["tracks"]) == MANY + 1
    whole = next(track for track in document["tracks"] if track["title"] == WHOLE["title"])
    assert list(whole) == list(NAMES)
    assert list(whole["hamms"].items()) == list((dict.fromkeys(DIMENSIONS, 0.5) | {"key": None}).items())
    same = set(WHOLE) - {"hamms_vector"}
    assert {name: whole[name] for name in same} == {name: WHOLE[name] for name in same}
    plain = next(track for track in document["tracks"] if track["title"] == "Track 0")
    assert plain["hamms"] is None
    assert plain["findings"] == plain["bpm_alternatives"] == []


def test_a_document_that_is_not_as_the_schema_says_is_told_from_one_that_is() -> None:
    bad = {"schema": "map4/tracks/1", "generated_at": "2026-01-01T00:00:00Z", "track_count": 1, "tracks": [{"bpm_confidence": 2}]}
    assert [error.json_path for error in jsonschema.Draft202012Validator(json_schema()).iter_errors(bad)] == [
        "$.tracks[0].bpm_confidence"
    ]


def test_the_schema_that_is_published_is_the_one_in_use() -> None:
    published = Path(__file__).parents[2] / "docs" / "tracks.schema.json"
    assert json.loads(published.read_text("utf-8")) == json_schema()


def test_json_lines_hold_a_track_each(engine: Engine, tmp_path: Path) -> None:
    lines = exported(engine, tmp_path, "jsonl", "bpm:100..101").read_text("utf-8").splitlines()
    assert sorted(json.loads(line)["bpm"] for line in lines) == [100.0 + step / 10 for step in range(11)]


def test_csv_opens_in_a_spreadsheet_program_and_calculates_nothing(engine: Engine, tmp_path: Path) -> None:
    target = exported(engine, tmp_path, "csv")
    assert target.read_bytes().startswith(b"\xef\xbb\xbf")
    with target.open(encoding="utf-8-sig", newline="") as handle:
        rows = {row["title"]: row for row in csv.DictReader(handle)}
    whole = rows["'=HYPERLINK(0)"]
    assert whole["artist"] == "Сибирь; \\u202eevil"
    assert float(whole["loudness_lufs"]) == -8.5
    assert whole["hamms_bpm"] == "0.5"
    assert whole["hamms_key"] == ""
    assert json.loads(whole["bpm_alternatives"]) == WHOLE["bpm_alternatives"]
    assert len(pandas.read_csv(target)) == MANY + 1


def test_parquet_has_types(engine: Engine, tmp_path: Path) -> None:
    target = exported(engine, tmp_path, "parquet")
    found = duckdb.sql(f"SELECT * FROM '{target}' WHERE camelot = '8A'")
    types = dict(zip(found.columns, map(str, found.types), strict=True))
    assert types["bpm"] == "DOUBLE"
    assert types["year"] == "BIGINT"
    assert types["created_at"] == "TIMESTAMP WITH TIME ZONE"
    assert types["bpm_alternatives"] == 'STRUCT("value" DOUBLE, probability DOUBLE)[]'
    row = dict(zip(found.columns, found.fetchall()[0], strict=True))
    # Parquet itself knows lists only; Arrow's schema beside it fixes the length.
    assert types["hamms"] == "FLOAT[]"
    assert pq.read_schema(target).field("hamms").type == pa.list_(pa.float32(), 12)
    assert row["hamms"] == [None if name == "key" else 0.5 for name in DIMENSIONS]
    assert row["title"] == WHOLE["title"]
    assert row["null_reasons"] == {"hamms.key": "atonal"}
    assert json.loads(row["ai_analysis"]) == {"genre": "House"}
    assert duckdb.sql(f"SELECT count(*) FROM '{target}'").fetchall() == [(MANY + 1,)]


def test_a_query_and_fields_choose(engine: Engine, tmp_path: Path) -> None:
    fields = chosen_fields(["title", "error_kind"])
    target = exported(engine, tmp_path, "jsonl", "is:failed", fields=fields)
    assert json.loads(target.read_text()) == {"title": "Broken", "error_kind": "damaged"}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "m3u8", "rekordbox", "xlsx"])
def test_the_order_asked_for_is_kept(engine: Engine, tmp_path: Path, kind: str) -> None:
    target = exported(engine, tmp_path, kind, "bpm:100..100.5 sort:-bpm")
    wanted = [f"Track {number}" for number in (5, 4, 3, 2, 1, 0)]
    if kind == "xlsx":
        found = pandas.read_excel(target)["Title"].tolist()
    elif kind == "parquet":
        found = [row[0] for row in duckdb.sql(f"SELECT title FROM '{target}'").fetchall()]
    else:
        found = re.findall(r"Track \d", target.read_text("utf-8"))
    assert found == wanted


@pytest.mark.parametrize("kind", ["pdf", "html", "xlsx"])
def test_a_report_counts_what_it_shows(engine: Engine, tmp_path: Path, kind: str) -> None:
    seen: list[tuple[int, int]] = []
    for query, shown in (("", MANY + 2), ("bpm:100..101", 11)):
        run_export(engine, ExportRequest(kind, query), tmp_path / "x", progress=lambda done, total: seen.append((done, total)))
        assert seen == sorted(seen)
        assert seen[-1] == (shown, shown)
        with engine.connect() as conn:
            last = select(export_history.c.track_count).order_by(export_history.c.id.desc()).limit(1)
            assert conn.execute(last).scalar_one() == shown
        seen.clear()


def test_a_measurement_that_is_no_number_is_null(engine: Engine, tmp_path: Path) -> None:
    broken = tracks.c.title == "Broken"
    with engine.begin() as conn:
        conn.execute(update(tracks).where(broken).values(loudness_lufs=float("nan")))
    try:
        document = json.loads(exported(engine, tmp_path, "json", "is:failed").read_text())
        jsonschema.Draft202012Validator(json_schema()).validate(document)
        assert document["tracks"][0]["loudness_lufs"] is None
        for kind in ("csv", "parquet", "xlsx"):
            exported(engine, tmp_path, kind, "is:failed")
    finally:
        with engine.begin() as conn:
            conn.execute(update(tracks).where(broken).values(loudness_lufs=None))


@pytest.mark.parametrize("names", [["tempo"], ["bpm", "bpm"]])
def test_fields_that_are_wrong_are_named(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"no field 'tempo'|named twice"):
        chosen_fields(names)


def test_a_query_that_finds_nothing_gives_an_empty_file(engine: Engine, tmp_path: Path) -> None:
    assert json.loads(exported(engine, tmp_path, "json", "bpm:500").read_text())["tracks"] == []
    target = exported(engine, tmp_path, "parquet", "bpm:500")
    assert duckdb.sql(f"SELECT count(*) FROM '{target}'").fetchall() == [(0,)]


def test_every_export_is_in_the_history(engine: Engine, tmp_path: Path) -> None:
    target = exported(engine, tmp_path, "csv", "is:failed", user="anna")
    with engine.connect() as conn:
        row = conn.execute(select(export_history).order_by(export_history.c.id.desc())).first()
    assert row is not None
    assert (row.export_type, row.track_count, row.file_size, row.user_id) == ("csv", 1, target.stat().st_size, "anna")
    assert row.duration_ms >= 0


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_cancelled_export_leaves_nothing_and_what_was_there_stays(engine: Engine, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    target.write_text("before")
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))

    with pytest.raises(ExportCancelled):
        run_export(engine, ExportRequest(kind), target, progress=progress, cancelled=lambda: len(seen) >= 2)
    assert seen[0] == (0, MANY + 2 if KINDS[kind].is_report else MANY + 1)
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'")).scalar_one() == 0


def test_progress_ends_at_the_whole(engine: Engine, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    run_export(engine, ExportRequest("jsonl"), tmp_path / "x", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (MANY + 1, MANY + 1)
    assert len(seen) > 2


def test_what_cannot_be_exported_is_told(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no export 'docx'"):
        run_export(engine, ExportRequest("docx"), tmp_path / "x")
    with pytest.raises(QueryError):
        run_export(engine, ExportRequest("csv", "bpm:fast"), tmp_path / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="cannot be written"):
        run_export(engine, ExportRequest("csv"), tmp_path / "file" / "x.csv")
