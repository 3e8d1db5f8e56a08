"""The same line on a PostgreSQL server that MAP4 did not start: Debian's, over TCP, with a password."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from map4_pipeline import settings as settings_module
from map4_pipeline.orchestration.instance import open_instance
from map4_pipeline.settings import Settings
from map4_pipeline.store.database import dagster_url, driver_url, make_engine

from ..postgres import PostgresForTests, system_server
from .program import Program, value
from .test_pipeline import verify_line

pytestmark = pytest.mark.own_postgres


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresForTests]:
    with system_server() as server:
        yield server


@pytest.fixture
def own(server: PostgresForTests, home: Path, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings with a database on the system's server."""
    with server.database() as url:
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("MAP4_HOME", str(home))
        monkeypatch.setenv("REDIS_URL", "none")
        monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
        yield settings_module.settings()


def verify(own: Settings, home: Path, folder: Path) -> None:
    assert own.database_url is not None
    url = own.database_url.get_secret_value()
    engine = make_engine(driver_url(url))
    try:
        verify_line(Program(home, url), engine, own, folder)
        assert not (home / "postgres").exists()
    finally:
        engine.dispose()


def test_the_line_runs_on_the_systems_server_with_dagsters_storage_beside(own: Settings, home: Path, tmp_path: Path) -> None:
    verify(own, home, tmp_path / "Music")
    assert (make_url(dagster_url(own)).database or "").endswith("_dagster")


def test_where_no_database_may_be_created_dagster_lives_in_a_schema(
    own: Settings, home: Path, tmp_path: Path, server: PostgresForTests
) -> None:
    server.execute("ALTER ROLE map4 NOCREATEDB", superuser=True)
    try:
        verify(own, home, tmp_path / "Music")
        address = make_url(dagster_url(own))
        assert "search_path=dagster" in str(address.query["options"])
        engine = make_engine(driver_url(own.database_url.get_secret_value()))  # type: ignore[union-attr]
        assert value(engine, "SELECT count(*) FROM dagster.runs") == 2
        assert value(engine, "SELECT to_regclass('public.runs')") is None
        engine.dispose()
        with open_instance(own) as instance:
            assert len(list(instance.get_runs())) == 2
    finally:
        server.execute("ALTER ROLE map4 CREATEDB", superuser=True)
