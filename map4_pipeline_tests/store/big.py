"""A generated library for tests of the store: made once a module, large enough for the planner to prefer indexes."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from benchmarks.fake_library import fill
from map4_pipeline.store.database import driver_url, make_engine

from ..postgres import PostgresForTests


@contextmanager
def generated_library(server: PostgresForTests, tracks: int, seed: int = 1) -> Iterator[Engine]:
    """Give the engine of a database with so many invented tracks."""
    with server.database() as url:
        engine = make_engine(driver_url(url))
        fill(engine, tracks, seed)
        yield engine
        engine.dispose()
