"""The way to PostgreSQL: addresses, Dagster's storage, errors people can read, locks."""

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError, ProgrammingError

from map4_pipeline.settings import Settings
from map4_pipeline.store import database as module
from map4_pipeline.store.database import (
    advisory_lock,
    dagster_url,
    driver_url,
    libpq_url,
    make_engine,
    masked,
    open_database,
    reading,
    resolve_url,
    storable_text,
    to_json,
)
from map4_pipeline.store.errors import InfrastructureError
from map4_pipeline.store.postgres_server import EmbeddedPostgres
from map4_pipeline_tests.postgres import PostgresForTests, careless


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg"])
def test_any_scheme_is_taken(scheme: str) -> None:
    assert driver_url(f"{scheme}://me:se%40cret@db:5433/music?sslmode=require") == (
        "postgresql+psycopg2://me:se%40cret@db:5433/music?sslmode=require"
    )


def test_keywords_are_taken() -> None:
    assert driver_url("host=/run/pg dbname=music user=me") == "postgresql+psycopg2://me@/music?host=%2Frun%2Fpg"
    url = make_url(driver_url("host=db port=5433 dbname=music user=me password='a b@'"))
    assert (url.host, url.port, url.database, url.username, url.password) == ("db", 5433, "music", "me", "a b@")


@pytest.mark.parametrize("wrong", ["mysql://u@h/d", "music", "postgresql://", "postgresql://u:p@h:port/d", "host="])
def test_what_is_no_address_is_said_without_the_password(wrong: str) -> None:
    with pytest.raises(InfrastructureError, match="DATABASE_URL"):
        driver_url(wrong)


def test_passwords_are_masked() -> None:
    assert masked("postgresql+psycopg2://me:secret@db/music") == "postgresql://me:***@db/music"
    assert "secret" not in masked("postgresql://me@db/music?password=secret")
    assert libpq_url("postgresql+psycopg2://me:se%40cret@db/music") == "postgresql://me:se%40cret@db/music"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "postgresql://me:hunter2@127.0.0.1:1/music",
            r"postgresql://me:\*\*\*@127\.0\.0\.1:1/music cannot be used: .*refused.*running there\?",
        ),
        ("postgresql://me:hunter2@no-such-host.invalid/music", "Check the host"),
    ],
)
def test_a_server_that_cannot_be_reached_is_said(home: Path, address: str, said: str) -> None:
    settings = Settings(home=home, database_url=SecretStr(address))
    with pytest.raises(InfrastructureError, match=said) as caught:
        open_database(settings)
    assert "hunter2" not in str(caught.value)
    assert not (home / "postgres").exists()


def test_a_missing_database_is_said(postgres_server: PostgresForTests, home: Path) -> None:
    settings = Settings(home=home, database_url=SecretStr(postgres_server.url("no_such_database")))
    with pytest.raises(InfrastructureError, match="Create it"):
        open_database(settings)


def test_an_old_server_is_refused(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OLDEST_SERVER", 99)
    engine = make_engine(driver_url(database))
    with pytest.raises(InfrastructureError, match="MAP4 needs 99 or newer"):
        engine.connect()


def test_another_encoding_is_refused(postgres_server: PostgresForTests) -> None:
    postgres_server.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc")
    try:
        engine = make_engine(driver_url(postgres_server.url("latin")))
        with pytest.raises(InfrastructureError, match=r"LATIN1.*UTF8"):
            engine.connect()
    finally:
        postgres_server.execute("DROP DATABASE latin")


def test_without_an_address_the_embedded_server_is_used(home: Path, clean_environment: None) -> None:
    settings = Settings(home=home)
    with careless():
        engine = open_database(settings)
    try:
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM tracks")) == 0
        dagster = dagster_url(settings)
        assert make_url(dagster).database == "map4_dagster"
        assert dagster_url(settings) == dagster
        with make_engine(dagster).connect() as connection:
            assert connection.scalar(text("SELECT current_database()")) == "map4_dagster"
    finally:
        engine.dispose()
        EmbeddedPostgres(home).stop(force=True)


def test_dagster_gets_a_database_beside_map4s(settings: Settings) -> None:
    url = make_url(dagster_url(settings))
    assert url.drivername == "postgresql+psycopg2"
    assert url.database == f"{make_url(resolve_url(settings)).database}_dagster"
    with make_engine(dagster_url(settings)).connect() as connection:
        assert connection.scalar(text("SHOW server_encoding")) == "UTF8"


def test_dagster_gets_a_schema_where_no_database_may_be_created(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_create_database", lambda connection, name: False)
    url = dagster_url(settings)
    assert "options=-csearch_path%3Ddagster" in url
    engine = make_engine(url)
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT current_schema()")) == "dagster"
        connection.execute(text("CREATE TABLE runs ()"))
    engine.dispose()
    monkeypatch.undo()
    assert dagster_url(Settings(home=settings.home, database_url=settings.database_url)) == url  # it stays where its data is


def test_a_user_who_may_not_create_databases(postgres_server: PostgresForTests, database: str) -> None:
    name = make_url(database).database
    postgres_server.execute("DROP ROLE IF EXISTS plain", "CREATE ROLE plain LOGIN PASSWORD 'plain'", superuser=True)
    postgres_server.execute(f"ALTER DATABASE {name} OWNER TO plain", superuser=True)
    try:
        plain = make_url(database).set(username="plain", password="plain").render_as_string(hide_password=False)
        settings = Settings(home=Path("/nowhere"), database_url=SecretStr(plain))
        assert "search_path%3Ddagster" in dagster_url(settings)
    finally:
        postgres_server.execute("DROP OWNED BY plain", database=str(name), superuser=True)
        postgres_server.execute(f"ALTER DATABASE {name} OWNER TO map4", "DROP ROLE plain", superuser=True)


def test_dagsters_own_setting_wins(home: Path) -> None:
    settings = Settings(home=home, dagster_database_url=SecretStr("postgres://d@h/x"), database_url=SecretStr("postgres://m@h/y"))
    assert dagster_url(settings) == "postgresql+psycopg2://d@h/x"


def test_a_lock_is_held_by_one(engine: Engine) -> None:
    with engine.connect() as first, engine.connect() as second:
        with advisory_lock(first, 7) as got:
            assert got
            assert not first.in_transaction()
            with advisory_lock(second, 7, wait=False) as again:
                assert not again
            with advisory_lock(second, 8, wait=False) as other:
                assert other
            first.execute(text("SELECT 1"))
            first.commit()
            with advisory_lock(second, 7, wait=False) as again:
                assert not again
        with advisory_lock(second, 7, wait=False) as again:
            assert again


def test_a_lock_is_released_after_a_failed_statement(engine: Engine) -> None:
    with engine.connect() as first, engine.connect() as second:
        with pytest.raises(Exception, match="division by zero"), advisory_lock(first, 7):
            first.execute(text("SELECT 1/0"))
        with advisory_lock(second, 7, wait=False) as got:
            assert got


def test_waiting_for_a_lock(engine: Engine) -> None:
    order: list[str] = []

    def wait() -> None:
        with engine.connect() as connection, advisory_lock(connection, 1):
            order.append("second")

    with engine.connect() as connection, advisory_lock(connection, 1):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_json_refuses_what_was_not_measured() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"bpm": float("nan")})


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
ANY_JSON = st.recursive(ANY_TEXT | st.integers() | st.none(), lambda x: st.lists(x) | st.dictionaries(ANY_TEXT, x), max_leaves=8)


@settings_of_hypothesis(max_examples=60, deadline=None)
@given(ANY_JSON)
def test_json_is_what_jsonb_takes(value: object) -> None:
    encoded = to_json(value)
    encoded.encode()  # no lone surrogates
    pending = [json.loads(encoded)]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            assert "\0" not in item
        elif isinstance(item, dict):
            pending += [*item, *item.values()]
        elif isinstance(item, list):
            pending += item


def test_tags_with_nul_and_lone_surrogates_are_stored(engine: Engine) -> None:
    nasty = "a\0b\ud800c \\u0000 é"
    assert storable_text(nasty) == "a\ufffdb\ufffdc \\u0000 é"
    with engine.begin() as connection:
        from map4_pipeline.store import schema

        connection.execute(schema.library_statistics.insert().values(payload={nasty: [nasty]}))
        assert connection.scalar(schema.library_statistics.select().with_only_columns(schema.library_statistics.c.payload)) == {
            storable_text(nasty): [storable_text(nasty)]
        }


def test_connections_just_used_are_trusted_and_idle_ones_are_asked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    trusting = make_engine(engine.url.render_as_string(hide_password=False), trusted_seconds=60.0, pool_size=2)
    asked: list[object] = []
    ping = trusting.dialect.do_ping

    def counting(connection: Any) -> bool:
        asked.append(connection)
        return ping(connection)

    monkeypatch.setattr(trusting.dialect, "do_ping", counting)

    def process() -> int:
        with trusting.connect() as conn:
            return int(conn.execute(text("SELECT pg_backend_pid()")).scalar_one())

    def end(pid: int) -> None:
        with engine.begin() as conn:
            conn.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})

    def minute_later(times: int) -> None:
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 61.0 * times))

    first = process()
    assert (process(), asked) == (first, [])
    end(first)
    with pytest.raises(OperationalError):
        process()
    second = process()
    assert second != first, "who meets a dead one is told; the next has a new one"
    minute_later(1)
    assert process() == second
    assert len(asked) == 1
    end(second)
    minute_later(2)
    assert process() not in (first, second), "it was asked, and replaced"
    trusting.dispose()


def test_what_is_read_stands_alone_and_leaves_the_connection_as_it_was(engine: Engine) -> None:
    state = text("SELECT state FROM pg_stat_activity WHERE pid = :pid")
    with reading(engine) as conn:
        pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with engine.connect() as other:
            assert other.execute(state, {"pid": pid}).scalar_one() == "idle"
            held = other.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with engine.connect() as third:
                assert third.execute(state, {"pid": held}).scalar_one() == "idle in transaction"
    with pytest.raises(ProgrammingError), reading(engine) as conn:
        conn.execute(text("SELECT no_such_column"))
    with engine.connect() as conn:
        conn.execute(text("CREATE TABLE left_behind ()"))  # not committed, so taken back
    with reading(engine) as conn:
        assert conn.execute(text("SELECT to_regclass('left_behind')")).scalar_one() is None
    # Neither taking nor giving back asks the server: it may be gone.
    trusting = make_engine(engine.url.render_as_string(hide_password=False), trusted_seconds=60.0)
    with trusting.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
        pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with engine.begin() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
    with reading(trusting) as conn, pytest.raises(OperationalError):
        conn.execute(text("SELECT 1"))
    trusting.dispose()
