"""After MAP4 has written tags: the rows of those files are brought up to date, as a refresh would, without Dagster."""

from collections.abc import Sequence
from uuid import uuid4

from sqlalchemy import Engine

from map4_pipeline.ingest.scan import ScanOptions
from map4_pipeline.ingest.versions import stage_keys
from map4_pipeline.ingest.workbench import Workbench
from map4_pipeline.settings import Settings
from map4_pipeline.store.tagging import partition_keys_of


def refresh_directories(settings: Settings, engine: Engine, track_ids: Sequence[int]) -> int:
    """Bring the directories of some tracks up to date, and nothing else of their libraries; return how many there are.

    A retagged file is read and not decoded. What is new in those directories is analysed, as by any refresh.
    """
    if not track_ids:
        return 0
    with engine.connect() as conn:
        keys = partition_keys_of(conn, track_ids)
    # Reading is all there is to do: one worker starts faster than many.
    with Workbench(settings.model_copy(update={"workers": 1}), engine).workers() as pool:
        bench = Workbench(settings, engine, pool=pool)
        for start in range(0, len(keys), settings.chunk_directories):
            scope = bench.scope(keys[start : start + settings.chunk_directories], f"tags-{uuid4().hex}")
            bench.scan(scope, ScanOptions())
            bench.analyse(scope, tuple(stage_keys()))
            bench.vectors(scope)
    return len(keys)
