"""Jobs: work that somebody asked for and comes back to: exports, and batches of files to analyse.

The table is the truth. Of a batch, the rows of `analysis_queue` that belong to it say how far it is.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, text, tuple_, update

from map4_pipeline.store.marks import cut, read_mark
from map4_pipeline.store.schema import analysis_queue, jobs

OPEN = ("pending", "running")
#: A job whose server was not heard of for so long was lost with it.
LOST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """Something that somebody asked for.

    Attributes
    ----------
    kind : str
        "analyze", "export" or "annotation".
    status : str
        "pending", "running", "completed", "failed" or "cancelled".
    request, result : dict
        What was asked for, and what came of it.
    total, done, failed : int
        Tracks or files; `done` counts failed ones too.
    """

    id: uuid.UUID
    kind: str
    user_id: int | None
    status: str
    request: dict[str, Any]
    result: dict[str, Any]
    total: int
    done: int
    failed: int
    error_message: str | None
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    request_id: str | None

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.status in OPEN


_COLUMNS = tuple(jobs.c[name] for name in Job.__dataclass_fields__)


def create_job(
    conn: Connection,
    kind: str,
    request: Mapping[str, Any],
    *,
    user_id: int | None = None,
    total: int = 0,
    request_id: str | None = None,
) -> Job:
    """Note that somebody asks for something."""
    values = {"id": uuid.uuid4(), "kind": kind, "user_id": user_id, "request": dict(request), "total": total}
    return Job(*conn.execute(insert(jobs).values(**values, request_id=request_id).returning(*_COLUMNS)).one())


def create_batch(
    conn: Connection,
    paths: Sequence[str],
    *,
    user_id: int | None = None,
    priority: int = 5,
    single: bool = False,
    request_id: str | None = None,
) -> Job:
    """Put files or folders into the queue as one job.

    Parameters
    ----------
    paths : sequence of str
        Absolute, as MAP4 writes them.
    single : bool
        One file that somebody waits for: the resident worker takes it at once.
    """
    job = create_job(conn, "analyze", {"files": len(paths)}, user_id=user_id, total=len(paths), request_id=request_id)
    row = {"priority": priority, "job_id": job.id, "user_id": user_id, "single": single, "request_id": request_id}
    if paths:
        conn.execute(insert(analysis_queue), [{**row, "file_path": path} for path in paths])
    return job


def get_job(conn: Connection, job_id: uuid.UUID) -> Job | None:
    """Return a job; a batch with what became of its rows so far."""
    row = conn.execute(select(*_COLUMNS).where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        return None
    job = Job(*row)
    return _batch(conn, job) if job.kind == "analyze" and job.is_open else job


def _batch(conn: Connection, job: Job) -> Job:
    """Bring an open batch up to what its rows say."""
    q = analysis_queue.c
    numbers = select(q.status, func.count()).where(q.job_id == job.id).group_by(q.status)
    counts: dict[str, int] = {status: number for status, number in conn.execute(numbers)}
    left = counts.get("pending", 0) + counts.get("running", 0)
    values: dict[str, Any] = {"done": job.total - left, "failed": counts.get("failed", 0)}
    if left == 0:
        ended = "cancelled" if job.cancel_requested or counts.get("cancelled") == job.total else "completed"
        values |= {"status": ended, "completed_at": func.now(), "result": {name: counts[name] for name in sorted(counts)}}
    elif counts.get("running") or left < job.total:
        values |= {"status": "running", "started_at": func.coalesce(jobs.c.started_at, func.now())}
    changed = update(jobs).where(jobs.c.id == job.id, jobs.c.status.in_(OPEN)).values(values).returning(*_COLUMNS)
    row = conn.execute(changed).one_or_none()
    return job if row is None else Job(*row)


def mirrored(job: Job) -> dict[str, Any]:
    """Return what the cache shows of a job under its temporary key."""
    return {"status": job.status, "done": job.done, "total": job.total, "failed": job.failed}


def list_jobs(
    conn: Connection,
    *,
    user_id: int | None = None,
    kind: str | None = None,
    limit: int = 50,
    after: tuple[datetime, uuid.UUID] | None = None,
) -> list[Job]:
    """Return jobs, the newest first; of everybody without `user_id`. `after`: only those that come after this time and id."""
    query = select(*_COLUMNS).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(tuple_(jobs.c.created_at, jobs.c.id) < tuple_(*after))
    if user_id is not None:
        query = query.where(jobs.c.user_id == user_id)
    if kind is not None:
        query = query.where(jobs.c.kind == kind)
    return [Job(*row) for row in conn.execute(query)]


def job_page(conn: Connection, *, user_id: int, kind: str, limit: int, after: str | None = None) -> tuple[list[Job], str | None]:
    """Return a page of somebody's jobs, the newest first, and the mark of the next one (None: this was the last).

    Raises
    ------
    MarkError
        When `after` is not the mark of such a page.
    """
    place = None if after is None else read_mark(after, datetime, uuid.UUID)
    found = list_jobs(conn, user_id=user_id, kind=kind, limit=limit + 1, after=place)
    return cut(found, limit, lambda job: (job.created_at, job.id))


def claim(conn: Connection, kind: str) -> Job | None:
    """Take the oldest job of a kind that nobody works on; None when there is none."""
    waiting = (
        select(jobs.c.id)
        .where(jobs.c.kind == kind, jobs.c.status == "pending")
        .order_by(jobs.c.created_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    statement = (
        update(jobs)
        .where(jobs.c.id == waiting.scalar_subquery())
        .values(status="running", started_at=func.now(), beat_at=func.now())
    )
    row = conn.execute(statement.returning(*_COLUMNS)).one_or_none()
    return None if row is None else Job(*row)


def note_progress(conn: Connection, job_id: uuid.UUID, done: int, total: int) -> bool:
    """Write down how far a job is; return whether it is to stop."""
    values = {"done": done, "total": total, "beat_at": func.now()}
    statement = update(jobs).where(jobs.c.id == job_id).values(values).returning(jobs.c.cancel_requested)
    return bool(conn.execute(statement).scalar_one_or_none())


def note_beat(conn: Connection, job_id: uuid.UUID) -> bool:
    """Write down that a job's server is alive; return whether the job is to stop."""
    statement = update(jobs).where(jobs.c.id == job_id).values(beat_at=func.now()).returning(jobs.c.cancel_requested)
    return bool(conn.execute(statement).scalar_one_or_none())


def finish_job(
    conn: Connection, job_id: uuid.UUID, status: str, *, result: Mapping[str, Any] | None = None, error: str | None = None
) -> None:
    """Write down how a job ended."""
    values = {"status": status, "result": dict(result or {}), "error_message": error, "completed_at": func.now()}
    conn.execute(update(jobs).where(jobs.c.id == job_id, jobs.c.status.in_(OPEN)).values(values))


def cancel_job(conn: Connection, job_id: uuid.UUID) -> Job | None:
    """Cancel a job that goes on: what waits never begins, what runs stops at the next occasion; None: there is no such job."""
    row = conn.execute(select(*_COLUMNS).where(jobs.c.id == job_id).with_for_update()).one_or_none()
    if row is None:
        return None
    job = Job(*row)
    if not job.is_open:
        return job
    conn.execute(update(jobs).where(jobs.c.id == job_id).values(cancel_requested=True))
    if job.kind == "analyze":
        q = analysis_queue.c
        waiting = update(analysis_queue).where(q.job_id == job_id, q.status.in_(OPEN))
        conn.execute(waiting.values(status="cancelled", completed_at=func.now()))
    elif job.status == "pending":
        finish_job(conn, job_id, "cancelled")
    return get_job(conn, job_id)


def fail_lost(conn: Connection, kind: str) -> int:
    """Fail the jobs of a kind whose server was not heard of for a minute; return how many."""
    silent = jobs.c.beat_at < func.now() - text("make_interval(secs => :seconds)").bindparams(seconds=LOST_SECONDS)
    lost = update(jobs).where(jobs.c.kind == kind, jobs.c.status == "running", silent)
    said = "The server was stopped meanwhile. Ask again."
    return int(conn.execute(lost.values(status="failed", error_message=said, completed_at=func.now())).rowcount)


def forget_jobs(conn: Connection, days: int) -> int:
    """Delete jobs that ended so many days ago; return how many."""
    old = jobs.c.completed_at < func.now() - text("make_interval(days => :days)").bindparams(days=days)
    return int(conn.execute(delete(jobs).where(old)).rowcount)
