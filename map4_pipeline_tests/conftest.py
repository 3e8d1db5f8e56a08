"""Fixtures for all tests: PostgreSQL, a database, MAP4's settings."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import Engine

from map4_pipeline import settings as settings_module
from map4_pipeline.settings import Settings
from map4_pipeline.store.database import driver_url, make_engine

from .guest_engine import EngineShop
from .postgres import PostgresForTests, running_server, short_directory

# How long an example takes is the machine's matter: a loaded one may need a second for what takes a millisecond.
hypothesis.settings.register_profile("map4", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("map4")


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking through modules and tests again and again: that took a twentieth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresForTests]:
    """PostgreSQL for the whole session (each pytest-xdist worker has its own)."""
    with running_server() as server:
        yield server


@pytest.fixture
def database(postgres_server: PostgresForTests) -> Iterator[str]:
    """Address of a fresh database with MAP4's schema, as a user writes it in DATABASE_URL."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def empty_database(postgres_server: PostgresForTests) -> Iterator[str]:
    """Address of a database without any table."""
    with postgres_server.database(migrated=False) as url:
        yield url


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """Engine of a fresh database with MAP4's schema."""
    engine = make_engine(driver_url(database))
    yield engine
    engine.dispose()


@pytest.fixture
def home() -> Iterator[Path]:
    """A fresh home for MAP4 with a short path."""
    with short_directory() as path:
        yield path


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of MAP4 in the environment, and none remembered."""
    for name in list(os.environ):
        if (name.startswith(("MAP4_", "PG")) and name != "MAP4_TEST_POSTGRES") or name in _OTHER_SETTINGS:
            monkeypatch.delenv(name)
    settings_module.settings.cache_clear()
    yield
    settings_module.settings.cache_clear()


@pytest.fixture
def settings(database: str, home: Path, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """MAP4's settings with a fresh home and a fresh database; subprocesses see them too."""
    monkeypatch.setenv("MAP4_HOME", str(home))
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("REDIS_URL", "none")
    return settings_module.settings()


@pytest.fixture
def engine_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineShop]:
    """Where a test installs engines; afterwards they are gone."""
    shop = EngineShop(tmp_path / "site-packages", monkeypatch)
    yield shop
    shop.forget()


_OTHER_SETTINGS = (
    "DATABASE_URL", "DAGSTER_DATABASE_URL", "REDIS_URL", "DAGSTER_HOME", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL",
)  # fmt: skip
