"""Fixtures: a Dagster instance on PostgreSQL, as `map4` makes it, and a library whose directories are registered."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance
from sqlalchemy import Engine

from map4_pipeline.orchestration.instance import open_instance
from map4_pipeline.settings import Settings

from ..ingest.music import Shelf


@pytest.fixture
def instance(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    """The instance that `map4 up` would show, on the database of this test."""
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
    with open_instance(settings) as instance:
        yield instance


@pytest.fixture
def shelf(engine: Engine, settings: Settings, tmp_path: Path) -> Shelf:
    return Shelf(engine, settings, tmp_path / "Music")
