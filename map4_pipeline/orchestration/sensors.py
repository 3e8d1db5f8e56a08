"""Sensors: `watched_folders` notices what changed in the registered libraries and launches runs for it.

It polls, because on network shares file events never arrive. What it has to remember is in PostgreSQL, not in its cursor
(`ingest.watch`): a tick compares the disk with what was last settled, so nothing is missed while the daemon is down. A
first import never goes through here; `map4 ingest` does that in chunks.
"""

from collections.abc import Iterator
from hashlib import sha256

from dagster import (
    AssetSelection,
    AutomationConditionSensorDefinition,
    DefaultSensorStatus,
    RunConfig,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    sensor,
)

from map4_pipeline.ingest.watch import Look, launched, look
from map4_pipeline.orchestration.jobs import ingest_library, refresh_library
from map4_pipeline.orchestration.orphans import close_orphans
from map4_pipeline.orchestration.partitions import register_partitions, stretches
from map4_pipeline.orchestration.refresh import RefreshConfig
from map4_pipeline.orchestration.resources import Map4Resource
from map4_pipeline.orchestration.under_way import RANGE_TAGS, under_way
from map4_pipeline.settings import Settings
from map4_pipeline.store.controls import is_paused

WATCH_TAG = "map4/watched"
#: More contiguous stretches than this become one run without partitions (the job `refresh_library`).
MAX_STRETCHES = 4


def watched_folders(settings: Settings) -> SensorDefinition:
    """Return the sensor with the settings' pace."""

    @sensor(
        name="watched_folders",
        jobs=[ingest_library, refresh_library],
        minimum_interval_seconds=settings.watch_seconds,
        default_status=DefaultSensorStatus.RUNNING,
        description="Looks for new, changed and vanished files in all libraries and launches runs for those directories only.",
    )
    def watch(context: SensorEvaluationContext, map4: Map4Resource) -> Iterator[RunRequest | SkipReason]:
        bench = map4.bench()
        with bench.engine.connect() as conn:
            if is_paused(conn):
                yield SkipReason("MAP4 is paused; `map4 resume` goes on.")
                return
        close_orphans(context.instance)
        busy = under_way(context.instance)
        if busy.everything is not None:
            yield SkipReason(f"Run {busy.everything[:8]} is under way; the folders are looked at again when it is done.")
            return
        found = look(bench.engine, bench.settings, busy.libraries, busy.keys)
        for refusal in found.refusals:
            context.log.error(refusal)
        if not found.ready:
            yield SkipReason(_said(found))
            return
        order = register_partitions(context.instance, bench.engine)
        pieces = stretches([ready.partition_key for ready in found.ready], order)
        states = {ready.partition_key: ready.state for ready in found.ready}
        tags = {WATCH_TAG: "true"}
        if len(pieces) > MAX_STRETCHES:
            pieces = [[key for piece in pieces for key in piece]]
            config = RunConfig(ops={"refresh": RefreshConfig(directories=pieces[0])})
            yield RunRequest(_run_key(pieces[0], states), run_config=config, job_name=refresh_library.name, tags=tags)
        else:
            for piece in pieces:
                covered = dict(zip(RANGE_TAGS, (piece[0], piece[-1]), strict=True))
                yield RunRequest(_run_key(piece, states), job_name=ingest_library.name, tags={**tags, **covered})
        launched(bench.engine, found.ready)

    return watch


def _run_key(keys: list[str], states: dict[str, str]) -> str:
    """Return what is the same for a launch that is asked for twice, and for no other."""
    return sha256("\n".join(states[key] for key in keys).encode()).hexdigest()[:32]


def _said(found: Look) -> str:
    parts = [f"{found.directories:,} directories looked at"]
    if found.waiting > 0:
        parts.append(f"{found.waiting:,} that differ wait until two looks agree or their run is done")
    if found.given_up:
        parts.append(
            f"{found.given_up:,} were left open by three runs: the next change in them or the next refresh tries again, "
            "and the runs' pages say why"
        )
    if found.refusals:
        parts.append(" ".join(found.refusals))
    if len(parts) == 1:
        parts.append("nothing changed")
    return "; ".join(parts) + "."


def automation() -> AutomationConditionSensorDefinition:
    """Return the sensor that evaluates automation conditions, so that downstream assets follow."""
    return AutomationConditionSensorDefinition(
        "follow_upstream",
        target=AssetSelection.all(),
        default_status=DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Materializes downstream assets when what they are made from has changed.",
    )
