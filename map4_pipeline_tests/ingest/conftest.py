"""Fixtures: a shelf (folder and database) for every test."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from map4_pipeline.settings import Settings

from .music import Shelf


@pytest.fixture
def shelf(engine: Engine, settings: Settings, tmp_path: Path) -> Shelf:
    return Shelf(engine, settings, tmp_path / "Music")
