"""Runs that failed, kept where `map4 status` shows them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from map4_pipeline.store.schema import run_failures

#: Newest failures that are kept.
_KEPT = 1000


@dataclass(frozen=True, slots=True)
class RunFailure:
    """A failed Dagster run; `partitions` is how many directories it covered."""

    run_id: str
    job: str
    message: str
    partitions: int
    failed_at: datetime


_COLUMNS = tuple(run_failures.c[name] for name in RunFailure.__slots__)


def record_run_failure(conn: Connection, run_id: str, job: str, message: str, partitions: int = 0) -> bool:
    """Write a failed run down; return whether it is new."""
    statement = insert(run_failures).values(run_id=run_id, job=job, message=message, partitions=partitions)
    is_new = conn.execute(statement.on_conflict_do_nothing()).rowcount > 0
    oldest = select(run_failures.c.failed_at).order_by(run_failures.c.failed_at.desc()).offset(_KEPT).limit(1)
    conn.execute(delete(run_failures).where(run_failures.c.failed_at <= oldest.scalar_subquery()))
    return is_new


def recent_run_failures(conn: Connection, days: int = 7, limit: int = 20) -> list[RunFailure]:
    """Return the runs that failed lately, the newest first."""
    query = select(*_COLUMNS).where(run_failures.c.failed_at > func.now() - func.make_interval(0, 0, 0, days))
    return [RunFailure(*row) for row in conn.execute(query.order_by(run_failures.c.failed_at.desc()).limit(limit))]
