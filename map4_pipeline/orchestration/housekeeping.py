"""What grows without end is cut back: events of steps, logs of runs, scans, the queue. What assets and runs came to is kept."""

import shutil
import time
from pathlib import Path

from dagster import DagsterInstance, MetadataValue, OpExecutionContext, op

from map4_pipeline.orchestration.resources import Map4Resource

_DAY = 86_400


@op(description="Remove events of steps, logs, scans and done rows of the queue that are older than MAP4_KEEP_DAYS.")
def tidy(context: OpExecutionContext, map4: Map4Resource) -> None:
    """Cut back what grows."""
    from map4_pipeline.store import throttle
    from map4_pipeline.store.activity import forget_activity
    from map4_pipeline.store.audit import forget
    from map4_pipeline.store.jobs import forget_jobs
    from map4_pipeline.store.queue import forget_done
    from map4_pipeline.store.scans import forget_scans
    from map4_pipeline.store.tokens import clear_expired

    bench = map4.bench()
    days = bench.settings.keep_days
    before = time.time() - days * _DAY
    events = purge_events(context.instance, before)
    logs = remove_logs(bench.settings.dagster_home / "storage", before)
    with bench.engine.begin() as conn:
        scans, queued, used = forget_scans(conn, days), forget_done(conn, days), forget_activity(conn, days)
        jobs, logins = forget_jobs(conn, days), clear_expired(conn) + throttle.clear(conn)
        audit = forget(conn, bench.settings.audit_days)
    exports = remove_files(bench.settings.home / "exports" / "jobs", before)
    removed = {"events": events, "logs": logs, "scans": scans, "queue_rows": queued, "activity": used, "jobs": jobs}
    removed |= {"export_files": exports, "ended_logins": logins, "audit_entries": audit}
    said = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in removed.items())
    context.log.info(f"Older than {days} days and removed: {said}.")
    context.add_output_metadata({name: MetadataValue.int(count) for name, count in removed.items()})


def purge_events(instance: DagsterInstance, before: float) -> int:
    """Delete old events of steps where Dagster's storage is MAP4's; elsewhere its owner looks after it."""
    from map4_pipeline.orchestration.storage import BatchingEventLogStorage

    storage = instance.event_log_storage
    return storage.purge_step_events(before) if isinstance(storage, BatchingEventLogStorage) else 0


def remove_files(folder: Path, before: float) -> int:
    """Remove the files of a folder that are older than a moment; return how many."""
    removed = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_file() and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def remove_logs(folder: Path, before: float) -> int:
    """Remove the folders with what runs wrote to their standard output that are older than a moment."""
    removed = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and path.stat().st_mtime < before:
            shutil.rmtree(path, ignore_errors=True)
            removed += not path.exists()
    return removed
