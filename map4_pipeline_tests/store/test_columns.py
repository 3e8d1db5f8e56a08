"""Searches by the columns in memory: the same pages as by the database alone, and never behind it."""

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from benchmarks.search import Mix
from map4_pipeline.store import columns as module
from map4_pipeline.store import held_columns
from map4_pipeline.store import search as searching
from map4_pipeline.store.columns import follow
from map4_pipeline.store.held_columns import SearchColumns
from map4_pipeline.store.marks import mark
from map4_pipeline.store.query import SORTS, OneOf, Query, Text, parse_query
from map4_pipeline.store.search import matching_ids

from ..postgres import PostgresForTests
from .big import generated_library

TRACKS = 3_000


@pytest.fixture(scope="module")
def engine(postgres_server: PostgresForTests) -> Iterator[Engine]:
    with generated_library(postgres_server, TRACKS) as engine:
        yield engine


@pytest.fixture
def columns(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[SearchColumns]:
    """The columns of the library, which are asked wherever a short walk fills no page."""
    monkeypatch.setattr(module, "FOLLOWED", 0)
    monkeypatch.setattr(searching, "VISITED", (60, 60))
    held = follow(engine)
    held.catch_up(engine, wait=True)
    yield held
    module._followed.pop(engine)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the columns answered."""
    answers: list[Any] = []
    first = SearchColumns.first
    monkeypatch.setattr(SearchColumns, "first", lambda *given, **named: answers.append(first(*given, **named)) or answers[-1])
    return answers


def by_the_database(conn: Connection, query: str | Query, limit: int, place: Any = None) -> list[tuple[int, Any]]:
    parsed = parse_query(query) if isinstance(query, str) else query
    every = searching._every(parsed, searching._order(parsed), limit, place)
    return [(id_, value) for id_, value in conn.exec_driver_sql(every.text, every.values)]


def same_pages(conn: Connection, query: str) -> None:
    parsed, whole = parse_query(query), by_the_database(conn, query, 40)
    first = matching_ids(conn, parsed, 15)
    assert first == whole[:15], query
    if len(whole) > 15:
        assert matching_ids(conn, parsed, 25, mark(first[-1][1], first[-1][0])) == whole[15:], query


@pytest.mark.usefixtures("columns")
def test_pages_are_those_of_the_database(engine: Engine, asked: list[Any]) -> None:
    with engine.connect() as conn:
        mix = Mix(conn)
        for make in (mix.filters, mix.dimensions, mix.sorted, mix.contrary, mix.states):
            for _ in range(12):
                same_pages(conn, make())
    assert len([answer for answer in asked if answer is not None]) > 40


@pytest.mark.usefixtures("columns")
@pytest.mark.parametrize("order", [*SORTS, *(f"-{name}" for name in SORTS)])
def test_every_order(engine: Engine, asked: list[Any], order: str) -> None:
    with engine.connect() as conn:
        for terms in (
            "is:damaged energy>0.2",
            "valence<0.2 acousticness>0.6",
            "-key:8A~ dynamic_range>0.9",
            "year:1990..1993 -mood:dark",
            "is:failed",
            "added:3000d bitrate>256 duration>6:00",
            "genre:jazz -genre:rock is:duplicate",
            "bpm:64~ -format:flac size>1",
            "-bpm:0..1000",
        ):
            same_pages(conn, f"{terms} sort:{order}")
    assert any(answer is not None for answer in asked)


def test_what_was_written_since_is_found(engine: Engine, columns: SearchColumns, asked: list[Any]) -> None:
    query = "acousticness>0.9 sort:-energy"
    with engine.connect() as conn, engine.connect() as writer:
        page = matching_ids(conn, parse_query(query), 15)
        assert asked.pop() is not None
        # Begun before the columns are read again, and ended after.
        lost, gained = page[0][0], by_the_database(conn, "acousticness<0.5 sort:-energy", 1)[0][0]
        writer.exec_driver_sql("UPDATE tracks SET energy = 0.001 WHERE id = %s", (lost,))
        with engine.begin() as other:
            other.exec_driver_sql("UPDATE tracks SET title = 'Another' WHERE id = %s", (gained,))
        columns.catch_up(engine, wait=True)
        assert columns.is_current(conn)
        vector = "jsonb_set(hamms_vector, '{acousticness}', '0.95')"
        writer.exec_driver_sql(f"UPDATE tracks SET energy = 1, hamms_vector = {vector} WHERE id = %s", (gained,))
        writer.commit()
        # Behind: the database answers.
        asked.clear()
        assert not columns.is_current(conn)
        now = matching_ids(conn, parse_query(query), 15)
        assert (now[0], lost in [id_ for id_, _ in now], asked) == ((gained, 1.0), False, [])
        columns.catch_up(engine, wait=True)
        assert matching_ids(conn, parse_query(query), 15) == now
        assert asked


def test_a_search_that_finds_the_columns_behind_has_them_read(engine: Engine, columns: SearchColumns, asked: list[Any]) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE tracks SET energy = 0.5 WHERE id = (SELECT min(id) FROM tracks)")
    columns._resting_until = 0.0
    with engine.connect() as conn:
        same_pages(conn, "loudness>-9 sort:energy")
        with columns._busy:  # the thread has done its work
            assert columns.is_current(conn)
        asked.clear()
        same_pages(conn, "loudness>-9 sort:energy")
    assert asked


def test_a_bulk_change_without_triggers_is_seen(engine: Engine, columns: SearchColumns, asked: list[Any]) -> None:
    with engine.begin() as conn:
        lowest = by_the_database(conn, "loudness<-9 sort:energy", 1)[0][0]
        conn.exec_driver_sql("ALTER TABLE tracks DISABLE TRIGGER USER")
        conn.exec_driver_sql("UPDATE tracks SET energy = 1, loudness_lufs = -30 WHERE id = %s", (lowest,))
        conn.exec_driver_sql("ALTER TABLE tracks ENABLE TRIGGER USER")
        conn.exec_driver_sql("SELECT map4_rebuild_search()")
    columns.catch_up(engine, wait=True)
    with engine.connect() as conn:
        same_pages(conn, "loudness<-25 sort:-energy")
        assert asked
        assert by_the_database(conn, "loudness<-25 sort:-energy", 1)[0][0] == lowest
        # Every change by itself is none of the whole.
        held = columns._rows
        conn.exec_driver_sql("UPDATE tracks SET title = 'New' WHERE id = (SELECT min(id) FROM tracks)")
        conn.commit()
    columns.catch_up(engine, wait=True)
    assert columns._rows is held


def test_deleted_tracks_leave_no_gap(engine: Engine, columns: SearchColumns, asked: list[Any]) -> None:
    query = "valence<0.3 sort:-energy"
    with engine.begin() as conn:
        ids = [id_ for id_, _ in by_the_database(conn, query, 60)]
        conn.exec_driver_sql("DELETE FROM tracks WHERE id = ANY(%s)", (ids,))
    columns.catch_up(engine, wait=True)
    with engine.connect() as conn:
        for _ in range(2):
            asked.clear()
            same_pages(conn, query)
    # They are forgotten: the second time nobody has to look further.
    assert [len(answer.ids) for answer in asked] == [15 + 8, 25 + 8]


def test_a_database_that_cannot_be_read_costs_no_search(
    engine: Engine, columns: SearchColumns, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE tracks SET energy = 0.4 WHERE id = (SELECT max(id) FROM tracks)")
    monkeypatch.setattr(SearchColumns, "_read", lambda *_: 1 / 0)
    columns.catch_up(engine, wait=True)
    assert "searches go on without them" in caplog.text
    with engine.connect() as conn:
        same_pages(conn, "loudness>-9 sort:energy")


def test_a_small_library_is_not_held(engine: Engine) -> None:
    columns = follow(engine)
    columns.catch_up(engine, wait=True)
    assert columns.size_bytes == 0
    with engine.connect() as conn:
        assert module.current_columns(conn, TRACKS) is None
    module._followed.pop(engine)


def test_at_the_end_nothing_is_read_any_more(engine: Engine, columns: SearchColumns, caplog: pytest.LogCaptureFixture) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE tracks SET energy = 0.3 WHERE id = (SELECT max(id) FROM tracks)")
    columns.end(10)
    columns._resting_until = 0.0
    with engine.connect() as conn:
        same_pages(conn, "loudness>-9 sort:energy")
        assert not columns._busy.locked()
        columns.catch_up(engine, wait=True)
        assert not columns.is_current(conn)
    assert not caplog.text


#: What unaccent, a parser of words, CSV and JSON might each see otherwise.
PIECES = (
    *(
        "rock",
        "Hip-Hop",
        "R&B",
        "drum'n'bass",
        "\u00e9",
        "e\u0301",
        "\u00c6ther",
        "\u00df",
        "\u039b\u0391\u0399\u039a\u039f\u03a3",
        "\u65e5\u672c",
    ),
    *(
        "&amp;",
        "<b>",
        "a/b",
        "foo@bar.com",
        "1e5",
        "+5",
        "-7",
        "8.0",
        "\n",
        "\r",
        "\t",
        '"',
        "\\.",
        "\\N",
        "'",
        ",",
        "\x1f",
        "\u00a0",
    ),
    *(
        "\u3000",
        "\x85",
        "\u200b",
        "\u2116",
        "\u00bd",
        "\ufb01",
        "\u2122",
        "\u017f",
        "_",
        ":",
        "*",
        "(",
        "|",
        "!",
        " ",
        "x" * 40,
        "\u0301" * 60,
    ),
)


def test_words_of_odd_genres_and_moods(engine: Engine, columns: SearchColumns) -> None:
    chance = random.Random(3)

    def odd() -> str:
        return "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 5)))

    genres = [odd() for _ in range(400)] + ["Acid/Jazz", "a\na", "zza", "e\u0301" * 100 + " zyxjazz"]
    with engine.begin() as conn:
        ids = [id_ for id_, _ in by_the_database(conn, "sort:title", len(genres))]
        moods = "jsonb_build_object('moods', jsonb_build_array(CAST(%s AS text), 'x'))"
        for id_, genre in zip(ids, genres, strict=True):
            conn.exec_driver_sql(f"UPDATE tracks SET genre = %s, ai_analysis = {moods} WHERE id = %s", (genre, genre, id_))
    columns.catch_up(engine, wait=True)
    texts = [
        "acid\u00a0jazz",
        "\u3000jazz",
        "a\na",
        "zyxjazz",
        *(chance.choice((odd(), chance.choice(genres))) for _ in range(250)),
    ]
    with engine.connect() as conn:
        for text in texts:
            begin = chance.randrange(len(text))
            for part in (text, text[begin:].upper()):
                term = Text(
                    chance.choice(("genre", "genre", "mood")), part, exact=chance.random() < 0.4, negated=chance.random() < 0.1
                )
                query = Query((term,), "energy")
                held = searching._held(conn, query, searching._order(query), 30, TRACKS, None)
                assert held in (None, by_the_database(conn, query, 30)), term


def test_numbers_are_rounded_as_the_database_does(engine: Engine, columns: SearchColumns) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql(
            "UPDATE tracks SET energy = %s WHERE id = (SELECT max(id) FROM tracks WHERE status = 'ok')", (0.5 + 2**-24,)
        )
    columns.catch_up(engine, wait=True)
    with engine.connect() as conn:
        for value in (0.5, 0.5 + 2**-25, 0.5 + 2**-24, 0.5 + 3 * 2**-25):
            query = Query((OneOf("energy", (value,)),), "bpm")
            assert searching._held(conn, query, searching._order(query), 15, TRACKS, None) == by_the_database(conn, query, 15)


def test_what_is_written_while_a_search_looks_leaves_it_to_the_database(
    engine: Engine, columns: SearchColumns, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = parse_query("acousticness>0.5 sort:-energy")
    with engine.connect() as conn:
        top = [id_ for id_, _ in by_the_database(conn, "acousticness>0.5 sort:-energy", 12)]
        first = SearchColumns.first

        def late(*given: Any, **named: Any) -> Any:
            found = first(*given, **named)
            with engine.begin() as writer:
                writer.exec_driver_sql("UPDATE tracks SET energy = 0.0001 WHERE id = ANY(%s)", (top,))
            return found

        monkeypatch.setattr(SearchColumns, "first", late)
        assert columns.is_current(conn)
        found = matching_ids(conn, query, 16)
        assert found == by_the_database(conn, "acousticness>0.5 sort:-energy", 16)
        assert not {id_ for id_, _ in found} & set(top)
        # Asked about another state than theirs, they say nothing.
        assert first(columns, query, 16, "0-0/0", column="energy", descending=True, place=None, folded={}) is None


def test_what_is_no_number_stands_above_all_numbers(engine: Engine, columns: SearchColumns, asked: list[Any]) -> None:
    with engine.connect() as conn:
        (before,) = by_the_database(conn, "duration>0 sort:-duration", 1)
        conn.exec_driver_sql("UPDATE tracks SET duration = 'NaN' WHERE id = %s", (before[0],))
        conn.commit()
        columns.catch_up(engine, wait=True)
        for query in ("-duration<60 sort:energy", "acousticness>0.5 sort:duration", "duration>100000 sort:-duration"):
            found = matching_ids(conn, parse_query(query), 15)
            assert repr(found) == repr(by_the_database(conn, query, 15)), query
        assert found[0][0] == before[0]
        assert len(asked) == 2
        assert None not in asked
        conn.exec_driver_sql("UPDATE tracks SET duration = %s WHERE id = %s", (before[1], before[0]))
        conn.commit()


def test_values_of_no_track_are_forgotten(engine: Engine, columns: SearchColumns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_columns, "_SPARE_VALUES", 10)
    before = len(columns._values["genre"])
    for number in range(8):
        with engine.begin() as conn:
            some = "SELECT track_id FROM track_search WHERE listed ORDER BY energy LIMIT 200"
            conn.exec_driver_sql(f"UPDATE tracks SET genre = 'g' || id || '-' || %s WHERE id IN ({some})", (number,))
        columns.catch_up(engine, wait=True)
    assert 200 < len(columns._values["genre"]) <= 2 * (before + 200) + 10 + 200 < before + 8 * 200
    with engine.connect() as conn:
        for id_, _ in by_the_database(conn, "sort:energy", 20):
            same_pages(conn, f'genre="g{id_}-7" sort:energy')


def test_a_thread_that_cannot_be_started_costs_no_search(
    engine: Engine, columns: SearchColumns, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE tracks SET energy = 0.2 WHERE id = (SELECT max(id) FROM tracks)")
    columns._resting_until = 0.0

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with engine.connect() as conn:
        same_pages(conn, "loudness>-9 sort:energy")
    assert not columns._busy.locked()
