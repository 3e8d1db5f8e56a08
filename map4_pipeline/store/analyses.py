"""Analyses by content: one row per (audio hash, stage, engine, version, parameters), shared by all copies of a recording."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from map4_pipeline.store.schema import analyses


@dataclass(frozen=True, slots=True)
class StageKey:
    """Which results of a stage count as current: those of this engine, version and parameters."""

    stage: str
    engine: str
    version: str
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class StoredAnalysis:
    """A stage's result for a content."""

    audio_hash: str
    key: StageKey
    payload: dict[str, Any]


def find_analyses(
    conn: Connection, audio_hashes: Sequence[str], keys: Sequence[StageKey]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Return {(audio hash, stage): payload} of what is stored and current."""
    if not audio_hashes:
        return {}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for key in keys:
        query = select(analyses.c.audio_hash, analyses.c.payload).where(
            analyses.c.audio_hash == func.any(list(audio_hashes)),
            analyses.c.stage == key.stage,
            analyses.c.engine == key.engine,
            analyses.c.version == key.version,
            analyses.c.parameters == key.parameters,
        )
        for audio_hash, payload in conn.execute(query):
            found[audio_hash, key.stage] = payload
    return found


def store_analyses(conn: Connection, results: Iterable[StoredAnalysis]) -> None:
    """Insert results; one that is there already stays."""
    rows = [
        {
            "audio_hash": result.audio_hash,
            "stage": result.key.stage,
            "engine": result.key.engine,
            "version": result.key.version,
            "parameters": result.key.parameters,
            "payload": result.payload,
        }
        # Two processes that insert the same contents in one order wait for each other; in two, they would be deadlocked.
        for result in sorted(results, key=lambda result: (result.audio_hash, result.key.stage))
    ]
    if rows:
        conn.execute(insert(analyses).on_conflict_do_nothing(), rows)
