"""The search's narrow table on a larger library: kept true by its triggers, and looked through by its indexes."""

import re
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, text

from benchmarks.search import Mix, scans
from map4_pipeline.store import search as module
from map4_pipeline.store.marks import mark
from map4_pipeline.store.query import SORTS, parse_query
from map4_pipeline.store.search import count, facets, matching_ids, search

from ..postgres import PostgresForTests
from .big import generated_library

TRACKS = 5_000


@pytest.fixture(scope="module")
def engine(postgres_server: PostgresForTests) -> Iterator[Engine]:
    """A library of 5,000 invented tracks: small, but large enough for an index to pay."""
    with generated_library(postgres_server, TRACKS) as engine:
        yield engine


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    """A connection whose changes are taken back."""
    with engine.connect() as conn:
        yield conn
        conn.rollback()


@pytest.mark.parametrize(
    "query",
    [
        "yorro",
        "artist:kalo",
        "夜の",
        "bpm:127..128 key:8A",
        "bpm:128~ genre:house sort:-energy",
        "danceability>0.97",
        "valence<0.05 sort:title",
        "mood:dark format:opus",
        "is:failed",
        "is:missing sort:-added",
        "is:duplicate genre:jazz",
        "is:damaged",
        "finding:truncated sort:-energy",
        "year:1999 sort:artist",
        "confidence<0.05",
        "genre=house sort:-loudness",
    ],
)
def test_plans_use_indexes(conn: Connection, query: str) -> None:
    found = scans(conn, query)
    # A plan may look through the narrow table when most of it matches; the wide one is never looked through.
    assert found["Seq Scan on tracks"] == 0
    assert found["Seq Scan on track_search"] == 0
    assert found["Index Scan on track_search"] + found["Bitmap Heap Scan on track_search"] >= 2


def test_the_mix_of_the_benchmark_never_reads_all_of_the_tracks(conn: Connection) -> None:
    mix = Mix(conn)
    for make in (mix.typing, mix.words, mix.scripts, mix.filters, mix.dimensions, mix.sorted, mix.contrary, mix.states):
        for _ in range(4):
            query = make()
            # The path stands in the wide table only: sorting many by it reads them.
            assert "sort:path" in query or scans(conn, query)["Seq Scan on tracks"] == 0, query


@pytest.mark.parametrize("order", [*SORTS, "-bpm", "-title", "-added", "-year"])
@pytest.mark.parametrize("terms", ["", "genre:classical energy>0.35"])
def test_pages_are_the_whole_in_its_order(conn: Connection, order: str, terms: str) -> None:
    """Both ways to look for a page, and the tracks without the value, give one order without gap or double."""
    query = parse_query(f"{terms} sort:{order}")
    whole = matching_ids(conn, query, 3 * TRACKS)
    assert len(whole) == count(conn, query)
    assert len({id_ for id_, _ in whole}) == len(whole)
    values = [value for _, value in whole if value is not None]
    assert all((first >= second) if order.startswith("-") else (first <= second) for first, second in pairwise(values))
    assert [value for _, value in whole[len(values) :]] == [None] * (len(whole) - len(values))
    pages: list[int] = []
    after = None
    size = max(40, len(whole) // 6)
    while True:
        page = search(conn, query, size, after)
        pages += [row["id"] for row in page.rows]
        after = page.following
        if after is None:
            break
    assert pages == [id_ for id_, _ in whole]


def every_match(conn: Connection, query: str, limit: int) -> list[tuple[int, object]]:
    """Return a page by the filters' indexes alone."""
    parsed = parse_query(query)
    every = module._every(parsed, module._order(parsed), limit, None)
    return [(id_, value) for id_, value in conn.exec_driver_sql(every.text, every.values)]


@pytest.mark.parametrize("asked", [0, 10**9])
def test_both_ways_find_the_same_page(conn: Connection, monkeypatch: pytest.MonkeyPatch, asked: int) -> None:
    """Whether the walk fills the page, goes on, asks the planner or gives up."""
    monkeypatch.setattr(module, "ASKED", asked)
    monkeypatch.setattr(module, "VISITED", (60, 60))
    told: list[float] = []
    reads = module._reads
    monkeypatch.setattr(module, "_reads", lambda *given: told.append(reads(*given)) or told[-1])
    for text_ in (
        "genre:classical sort:-energy",
        "loudness>-9 sort:energy",
        "energy>0.5 sort:year",
        "genre:house",
        "is:failed sort:-added",
        "valence<0.5 acousticness>0.5 sort:title",
    ):
        assert matching_ids(conn, parse_query(text_), 20) == every_match(conn, text_, 20)
    assert bool(told) == (asked == 0)
    assert all(0 < rows <= 2 * TRACKS for rows in told)


@pytest.mark.parametrize("enough", [1, 30])
def test_what_a_sample_bounds_is_the_same_page(conn: Connection, monkeypatch: pytest.MonkeyPatch, enough: int) -> None:
    """Whether the bound leaves a page's worth of matches, or too few (the first of all), so that everything is read."""
    monkeypatch.setattr(module, "ASKED", 0)
    monkeypatch.setattr(module, "VISITED", (60, 60))
    monkeypatch.setattr(module, "_BOUNDED", 0)
    monkeypatch.setattr(module, "_DRAWN", 10 * TRACKS)  # all of them
    monkeypatch.setattr(module, "_enough", lambda expected: enough)
    bounds: list[object] = []
    bound = module._bound
    monkeypatch.setattr(module, "_bound", lambda *given: bounds.append(bound(*given)) or bounds[-1])
    for text_ in (
        "loudness>-9 sort:energy",
        "genre:classical sort:-energy",
        "valence<0.5 acousticness>0.5 sort:title",
        "is:failed",
    ):
        query, whole = parse_query(text_), every_match(conn, text_, 20)
        assert matching_ids(conn, query, 20) == whole
        first = matching_ids(conn, query, 8)
        assert first == whole[:8]
        # The page behind the first, which begins at its last row.
        place = mark(first[-1][1], first[-1][0])
        assert matching_ids(conn, query, 12, place) == whole[8:]
    assert any(value is not None for value in bounds)


def test_a_longer_page_is_bounded_by_more_of_the_sample() -> None:
    random = np.random.default_rng(1)
    for limit, share in ((51, 0.01), (501, 0.01), (5_000, 0.01), (51, 0.03)):
        # How many matches come before the last of so many that are drawn with this chance each.
        passed = module._enough(limit * share) + random.negative_binomial(module._enough(limit * share), share, 20_000)
        assert (passed < limit).mean() < 0.001
        assert passed.mean() < 20 * limit


def test_facets_of_many_are_estimated_and_say_so(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = facets(conn, parse_query("bpm>0"))
    assert not exact.approximate
    monkeypatch.setattr("map4_pipeline.store.search.SAMPLED", TRACKS // 4)
    estimated = facets(conn, parse_query("bpm>0"), counted=100)
    assert estimated.approximate
    assert estimated.total == pytest.approx(exact.total, rel=0.4)
    assert next(iter(estimated.counts["format"])) == "mp3"
    assert estimated.counts["format"]["mp3"] == pytest.approx(exact.counts["format"]["mp3"], rel=0.4)
    assert count(conn, parse_query("bpm>0"), 100) == 100


SAME = text(
    "SELECT (SELECT count(*) FROM (SELECT * FROM track_search EXCEPT "
    "SELECT s.* FROM tracks t CROSS JOIN LATERAL map4_search_row(t) s) AS more) + "
    "(SELECT count(*) FROM (SELECT s.* FROM tracks t CROSS JOIN LATERAL map4_search_row(t) s "
    "EXCEPT SELECT * FROM track_search) AS less)"
)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tracks SET title = 'Überraschung', composer = 'Bach' WHERE id = 5",
        "UPDATE tracks SET bpm = NULL, key = NULL, camelot = NULL, hamms_vector = NULL, status = 'failed' WHERE id < 20",
        "UPDATE tracks SET missing_since = now() WHERE id = 7",
        'UPDATE tracks SET ai_analysis = \'{"moods": ["Dark", "dark"]}\' WHERE id = 8',
        "UPDATE tracks SET ai_analysis = '{\"moods\": \"dark\"}', tags_bpm = 61, tags_camelot = '1A' WHERE id = 9",
        "UPDATE tracks SET year = 99999, camelot = 'x', file_name = 'no ending', codec = NULL WHERE id = 11",
        "INSERT INTO tracks (library_id, directory_id, relative_path, file_path, file_name) VALUES (1, 1, 'x', 'x', 'x')",
        "DELETE FROM tracks WHERE id IN (SELECT id FROM tracks ORDER BY id DESC LIMIT 3)",
        "UPDATE tracks SET title = repeat('a', 100000), artist = repeat('夜', 3000) WHERE id = 12",
    ],
)
def test_the_narrow_table_follows_every_change(conn: Connection, change: str) -> None:
    conn.exec_driver_sql(change)
    assert conn.execute(SAME).scalar_one() == 0


def test_every_column_that_the_narrow_table_is_made_of_moves_it(conn: Connection) -> None:
    """The trigger names columns: one that is read by `map4_search_row` and forgotten there would go stale."""
    body = conn.execute(text("SELECT prosrc FROM pg_proc WHERE proname = 'map4_search_row'")).scalar_one()
    watched = conn.execute(
        text(
            "SELECT attname FROM pg_trigger JOIN pg_attribute ON attrelid = tgrelid AND attnum = ANY (tgattr) "
            "WHERE tgname = 'search_updated'"
        )
    )
    columns = set(conn.scalars(text("SELECT attname FROM pg_attribute WHERE attrelid = 'tracks'::regclass AND attnum > 0")))
    read = {name for name in columns if re.search(rf"\bt\.{name}\b", body)}
    assert read - set(watched.scalars()) == {"id"}
