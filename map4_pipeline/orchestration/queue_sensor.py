"""The sensor `analysis_queue`: rows of that table become runs, and what became of them is written back."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from uuid import uuid4

from dagster import (
    DagsterInstance,
    DefaultSensorStatus,
    RunConfig,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    sensor,
)
from sqlalchemy import Connection

from map4_pipeline.ingest.queue import collect, put_back, settle
from map4_pipeline.orchestration.jobs import refresh_library
from map4_pipeline.orchestration.partitions import register_partitions
from map4_pipeline.orchestration.refresh import RefreshConfig
from map4_pipeline.orchestration.resources import Map4Resource
from map4_pipeline.orchestration.scope import QUEUE_TAG, REQUEST_TAG, RETRY_TAG, WHOLE_LINE_TAG
from map4_pipeline.orchestration.under_way import under_way
from map4_pipeline.settings import Settings
from map4_pipeline.store import queue
from map4_pipeline.store.controls import is_paused

#: A run that was asked for and is not there after so many seconds never came to be.
_LAUNCH_SECONDS = 300
#: Requests that a run names; a run for more of them names the most urgent ones.
_REQUESTS = 20


def analysis_queue(settings: Settings) -> SensorDefinition:
    """Return the sensor that works the table `analysis_queue` off."""

    @sensor(
        name="analysis_queue",
        jobs=[refresh_library],
        minimum_interval_seconds=settings.watch_seconds,
        default_status=DefaultSensorStatus.RUNNING,
        description="Turns rows of the table analysis_queue into runs, the most urgent first, and writes their fate back.",
    )
    def work_off(context: SensorEvaluationContext, map4: Map4Resource) -> Iterator[RunRequest | SkipReason]:
        bench = map4.bench()
        with bench.engine.begin() as conn:
            open_batches = _settle_batches(conn, context.instance, bench.settings)
            busy = under_way(context.instance)
            if is_paused(conn) or busy.everything is not None or open_batches:
                waits = "MAP4 is paused" if is_paused(conn) else "a run is under way"
                yield SkipReason(f"{waits}; the queue goes on after it.")
                return
            batch = collect(conn, bench.settings, busy.libraries, busy.keys)
            if not batch.ids:
                yield SkipReason("Nothing is waiting.")
                return
            name = uuid4().hex
            if not queue.begin(conn, batch.ids, name):
                yield SkipReason("What was waiting was cancelled in this moment.")
                return
        register_partitions(context.instance, bench.engine)
        config = RunConfig(ops={"refresh": RefreshConfig(directories=batch.keys)})
        tags = {QUEUE_TAG: name, RETRY_TAG: "true", WHOLE_LINE_TAG: "true"}
        if batch.request_ids:
            tags[REQUEST_TAG] = ",".join(batch.request_ids[:_REQUESTS])
        yield RunRequest(name, run_config=config, job_name=refresh_library.name, tags=tags)

    return work_off


def _settle_batches(conn: Connection, instance: DagsterInstance, settings: Settings) -> int:
    """Write back what became of the rows whose run has ended; return how many batches are still under way."""
    left = 0
    for name, rows in groupby(queue.running(conn), key=lambda entry: str(entry.batch)):
        entries = list(rows)
        records = instance.get_run_records(RunsFilter(tags={QUEUE_TAG: name}), limit=1)
        if not records:
            waited = datetime.now(UTC) - (entries[0].started_at or datetime.now(UTC))
            if waited.total_seconds() > _LAUNCH_SECONDS:
                put_back(conn, entries)
            else:
                left += 1
            continue
        run = records[0].dagster_run
        queue.note_run(conn, name, run.run_id)
        if not run.is_finished:
            left += 1
            continue
        failed = None if run.is_success else f"The run {run.run_id[:8]} failed; its page in the Dagster UI says why."
        settle(conn, settings, entries, failed)
    return left
