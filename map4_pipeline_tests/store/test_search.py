"""Search against real rows: what is found, what is not, and page after page without gaps."""

import base64
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sqlalchemy import Connection, Engine, insert, text

from map4_pipeline.api.pages.browse import _term
from map4_pipeline.cli.show import finding_lines
from map4_pipeline.hamms.camelot import to_camelot
from map4_pipeline.store import columns
from map4_pipeline.store.database import driver_url, make_engine
from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.file_findings import TOLD, finding_counts
from map4_pipeline.store.held_columns import SearchColumns
from map4_pipeline.store.libraries import register_library
from map4_pipeline.store.marks import MarkError, mark
from map4_pipeline.store.query import Range, parse_query
from map4_pipeline.store.schema import directories, tracks
from map4_pipeline.store.search import count, facets, search, tempo_step
from map4_pipeline.store.search_terms import held_single

from ..postgres import PostgresForTests

#: name: what differs from a plain track.
ROWS: dict[str, dict[str, Any]] = {
    "who": {"title": "My Generation", "artist": "The Who", "genre": "Rock", "year": 1965, "bpm": 96.2, "key": "G major"},
    "bjork": {"title": "Jóga", "artist": "Björk", "album": "Homogenic", "genre": "Electronic", "year": 1997, "bpm": 82.0},
    "acdc": {"title": "T.N.T.", "artist": "AC/DC", "genre": "Hard Rock", "year": 1975, "bpm": 126.6, "key": "A minor"},
    "yoru": {"title": "真夜中の歌", "artist": "東京", "genre": "City Pop", "year": 1984, "bpm": 110.0, "key": "E minor"},
    "house": {"title": "One More Time", "artist": "Daft Punk", "genre": "House", "year": 2000, "bpm": 122.8, "key": "B minor"},
    "half": {"title": "Halftime", "artist": "Nobody", "genre": "Drum and Bass", "year": 2019, "bpm": 64.0, "key": "C major"},
    "tagged": {"title": "Tagged", "artist": "Nobody", "bpm": 127.985, "tags_bpm": 100.0, "key": "C major"},
    "octave": {"title": "Octave", "artist": "Nobody", "bpm": 128.0, "tags_bpm": 64.1, "key": "C major", "tags_camelot": "8B"},
    "keyed": {"title": "Keyed", "artist": "Nobody", "bpm": 128.0, "key": "C major", "tags_camelot": "8A"},
    "failed": {"title": "Broken", "status": "failed", "error_kind": "damaged"},
    "missing": {"title": "Gone", "missing_since": "2026-01-01T00:00:00Z"},
    "hidden": {"title": "Hidden", "hidden_at": "2026-01-01T00:00:00Z"},
    "bare": {"file_name": "bare.ogg", "composer": "Dvořák, Antonín"},
}
#: What is odd about their files.
FINDINGS = {"half": ["truncated", "clipping"], "house": ["decoder_errors"], "keyed": ["clipping"], "hidden": ["truncated"]}


@pytest.fixture(scope="module")
def conn(postgres_server: PostgresForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A library with these tracks, for all tests of this module."""
    root = tmp_path_factory.mktemp("search") / "Music"
    root.mkdir()
    with postgres_server.database() as url:
        engine = make_engine(driver_url(url))
        fill(engine, root)
        with engine.connect() as connection:
            yield connection
        engine.dispose()


def fill(engine: Engine, root: Path) -> None:
    with engine.begin() as connection:
        library = register_library(connection, root)
        register_directories(connection, library, [b""])
        directory_id = connection.execute(directories.select()).one().id
        for name, values in ROWS.items():
            place = {
                "library_id": library.id,
                "directory_id": directory_id,
                "relative_path": name.encode(),
                "file_name": f"{name}.mp3",
            }
            measured = {"codec": "mp3", "duration": 200.0, "energy": 0.5, "bpm_confidence": 0.9, "key_confidence": 0.8}
            vector = {"hamms_vector": {"danceability": 0.25 if name == "house" else 0.75}}
            row = {**place, "file_path": f"/m/{name}", "status": "ok", **measured, **vector, **values}
            row["findings"] = [{"code": code, "message": f"{code}: 3", "value": 3.0} for code in FINDINGS.get(name, [])]
            row["camelot"] = to_camelot(row.get("key"))
            connection.execute(insert(tracks).values(**row))
        connection.execute(text("UPDATE tracks SET created_at = '2020-05-05' WHERE artist = 'The Who'"))


def found(conn: Connection, query: str, limit: int = 50) -> set[str]:
    return {row["path"].removeprefix("/m/") for row in search(conn, parse_query(query), limit).rows}


CASES = [
    ("the who", "who"),
    ("who", "who"),
    ("bjor", "bjork"),
    ("BJÖRK joga", "bjork"),
    ("ac/dc", "acdc"),
    ('"more time"', "house"),
    ('"time more"', ""),
    ("夜中", "yoru"),
    ("daft -punk", ""),
    ("artist:daft", "house"),
    ('artist:"ac/dc"', "acdc"),
    ("artist:time", ""),
    ("title:time", "house"),
    ("genre:rock", "who acdc"),
    ("genre=rock", "who"),
    ("genre:rock -genre=rock", "acdc"),
    ("bpm:122..127", "acdc house"),
    ("bpm:127", "acdc"),
    ("bpm:128..", "tagged octave keyed"),
    ("bpm:120..127.9", "acdc house"),
    ("bpm>=128", "octave keyed"),
    ("bpm:128~", "half tagged octave keyed"),
    ("bpm:64", "half"),
    ("key:8A", "acdc"),
    ("key:8A~", "acdc yoru half tagged octave keyed"),
    ("year:1965,1975", "who acdc"),
    ("year<1970", "who"),
    ("danceability<0.5", "house"),
    ("duration:3:20", "who bjork acdc yoru house half tagged octave keyed bare"),
    ("format:mp3 genre:house", "house"),
    ("format:ogg", "bare"),
    ("is:failed", "failed"),
    ("is:missing", "missing"),
    ("is:hidden", "hidden"),
    ("is:conflict", "tagged keyed"),
    ("is:damaged", "half house"),
    ("finding:truncated", "half"),
    ("finding:clipping -is:damaged", "keyed"),
    ("is:hidden finding:truncated", "hidden"),
    ("bpm:64..128 -finding=clipping genre:house", "house"),
    ("finding=of_another_engine", ""),
    ("-bpm:0..1000", "bare"),
    ("added<2021", "who"),
    ("path:/m/hal", "half"),
    ("library:music year:1965", "who"),
    ("library:other", ""),
    ("composer:dvorak", "bare"),
    ("夜中の", "yoru"),
    ("歌", "yoru"),
    ("中夜", ""),
    ("artist:京", "yoru"),
    ("'; DROP TABLE tracks; --", ""),
    ("% _", ""),
    ("\\ ' \x00", ""),
]


@pytest.mark.parametrize(("query", "expected"), CASES)
def test_what_a_query_finds(conn: Connection, query: str, expected: str) -> None:
    assert found(conn, query) == set(expected.split())
    assert count(conn, parse_query(query)) == len(expected.split())


def test_findings_of_what_is_there_are_counted(conn: Connection) -> None:
    """And told in a line, or in none."""
    codes = [*TOLD, "clipping"]
    assert finding_counts(conn, codes) == {"truncated": 1, "decoder_errors": 1, "clipping": 2}
    assert finding_counts(conn, codes, [-1]) == {}
    for counts, told in (
        ({}, ""),
        ({"truncated": 1, "decoder_errors": 2}, "1 file ends early, 2 files have damaged packets: map4 search is:damaged"),
        ({"spectral_cutoff": 1}, "1 file sounds like a copy of a lossier one: map4 search finding:lossy_source"),
    ):
        console = Console(file=StringIO(), width=60)
        finding_lines(console, counts)
        assert told in console.file.getvalue()  # type: ignore[attr-defined]
        assert bool(console.file.getvalue()) == bool(told)  # type: ignore[attr-defined]


def test_columns_in_memory_change_nothing(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "FOLLOWED", 0)
    first, used = SearchColumns.first, []
    monkeypatch.setattr(SearchColumns, "first", lambda *given, **named: used.append(first(*given, **named)) or used[-1])
    columns.follow(conn.engine).catch_up(conn.engine, wait=True)
    try:
        for query, expected in CASES:
            assert found(conn, query) == set(expected.split()), query
            for order in ("-bpm", "bpm", "-added", "title", "key"):
                assert found(conn, f"{query} sort:{order}") == set(expected.split()), (query, order)
        # Those with words, names or paths are not answered by them.
        assert len([one for one in used if one is not None]) >= 6 * 20
    finally:
        columns._followed.pop(conn.engine)


@pytest.mark.parametrize(
    "order", ["", "sort:bpm", "sort:-bpm", "sort:artist", "sort:-year", "sort:added", "sort:key", "sort:-title"]
)
def test_pages_have_no_gap_and_no_double(conn: Connection, order: str) -> None:
    query = parse_query(order)
    whole = [row["id"] for row in search(conn, query, 50).rows]
    pages: list[int] = []
    after = None
    while True:
        page = search(conn, query, 3, after)
        pages += [row["id"] for row in page.rows]
        after = page.following
        if after is None:
            break
    assert pages == whole
    assert len(set(pages)) == 10


def test_rows_are_sorted_and_what_has_no_value_comes_last(conn: Connection) -> None:
    for order, descending in (("sort:bpm", False), ("sort:-bpm", True)):
        values = [row["bpm"] for row in search(conn, parse_query(order)).rows]
        there = [value for value in values if value is not None]
        assert there == sorted(there, reverse=descending)
        assert values[-1] is None


@pytest.mark.parametrize("after", ["", "nonsense", "e30", "WzEsImEiXQ", "é", mark(1e300, 1), mark(True, 1), mark(1.0, 2**63)])
def test_a_mark_that_no_search_gave_is_refused(conn: Connection, after: str) -> None:
    with pytest.raises(MarkError, match="page"):
        search(conn, parse_query("sort:bpm"), 3, after)


@pytest.mark.parametrize(("order", "value"), [("year", 40_000), ("title", "a\0b"), ("title", "\ud800"), ("added", "yesterday")])
def test_a_mark_makes_no_statement_fail(conn: Connection, order: str, value: Any) -> None:
    after = base64.urlsafe_b64encode(json.dumps([value, 1]).encode()).decode()
    with pytest.raises(MarkError, match="page"):
        search(conn, parse_query(f"sort:{order}"), 3, after)
    assert search(conn, parse_query("sort:bpm"), 3, mark(1e-320, 1)).rows


def test_facets(conn: Connection) -> None:
    found = facets(conn, parse_query("bpm>0"))
    assert (found.total, found.approximate) == (9, False)
    counts = found.counts
    assert counts["genre"]["Rock"] == 1
    assert counts["camelot"] == {"8B": 4, "10A": 1, "8A": 1, "9A": 1, "9B": 1}
    assert counts["decade"]["1960"] == 1
    assert counts["bpm"]["120"] == 5
    # A count is what the page's link finds, at the edges too.
    edges = [float(np.nextafter(np.float32(ten - 0.05), np.float32(0))) for ten in range(10, 400, 10)]
    edges += [ten - 0.05 for ten in range(10, 400, 10)]
    step = tempo_step("b")
    lows = dict(conn.exec_driver_sql(f"SELECT b, {step} FROM unnest(CAST(%s AS real[])) AS b", (edges,)).all())
    for bpm, low in lows.items():
        [term] = parse_query(_term("bpm", str(int(low)))[0]).terms
        assert isinstance(term, Range)
        assert held_single(term.low or 0.0) <= held_single(bpm) < held_single(term.high or 0.0), bpm
    assert counts["format"] == {"mp3": 9}


def test_unusual_words_do_not_break_the_query(conn: Connection) -> None:
    for words in ("a & b | !c", "(", ":*", "<->", "''", '"" x', "x:* & y", "\u202e", "🎧"):
        found(conn, words.replace(":", " "))
