"""Jobs in the background: a thread that takes those of one kind from the table, does them, and can be told to stop."""

import logging
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import Engine
from structlog.contextvars import bind_contextvars, reset_contextvars

from map4_pipeline.store.cache import TEMPORARY_SECONDS, Cache
from map4_pipeline.store.errors import InfrastructureError, StoreError
from map4_pipeline.store.jobs import Job, claim, fail_lost, finish_job, note_beat, note_progress
from map4_pipeline.store.query import QueryError

_BEAT_SECONDS = 10.0


class JobCancelled(Exception):  # noqa: N818 - no error
    """Somebody cancelled the job, or the server is being stopped."""


class JobWorker:
    """Does the jobs of one kind, one after the other.

    Parameters
    ----------
    engine : Engine
    cache : Cache
        Mirrors progress under `{kind}:{job_id}`.
    """

    #: Of the jobs, as the table has it; also what the cache mirrors them under.
    kind: str
    #: How often the table is looked at without a word from this process; another process may have written a job.
    look_seconds: float

    def __init__(self, engine: Engine, cache: Cache) -> None:
        self._engine = engine
        self._cache = cache
        self._log = logging.getLogger(f"map4.api.{self.kind}s")
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{self.kind}-jobs", daemon=True)

    def work(self, job: Job, progress: Callable[[int, int], None], cancelled: Callable[[], bool]) -> dict[str, Any]:
        """Do a job and return what is kept as its result.

        Parameters
        ----------
        progress : callable
            Takes what is done and of how much; how far the job is can be seen meanwhile.
        cancelled : callable
            Whether to stop.

        Raises
        ------
        JobCancelled
            When it was stopped for that.
        QueryError, StoreError, InfrastructureError
            When it failed; the text says why.
        """
        raise NotImplementedError

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; a job under way is cancelled at the next occasion, fails and can be asked for again."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=10)

    def wake(self) -> None:
        """Say that there is a job."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._engine.begin() as conn:
                    fail_lost(conn, self.kind)
                    job = claim(conn, self.kind)
                if job is not None:
                    self._do(job)
                    continue
            except Exception:  # noqa: BLE001 - the database is away, most likely: what matters is to be there when it is back
                self._log.warning("the jobs rest", exc_info=True)
            self._wake.wait(self.look_seconds)
            self._wake.clear()

    def _do(self, job: Job) -> None:
        tokens = bind_contextvars(request_id=job.request_id, job_id=str(job.id))
        try:
            self._finish(job, *self._attempt(job))
        finally:
            reset_contextvars(**tokens)

    def _attempt(self, job: Job) -> tuple[str, dict[str, Any], str | None]:
        """Return how a job went: its status, its result, and what went wrong."""
        cancelled = threading.Event()
        ended = threading.Event()
        threading.Thread(target=self._beat, args=(job.id, cancelled, ended), daemon=True).start()

        def progress(done: int, total: int) -> None:
            with self._engine.begin() as conn:
                if note_progress(conn, job.id, done, total):
                    cancelled.set()
            self._mirror(job, {"status": "running", "done": done, "total": total})

        try:
            return "completed", self.work(job, progress, lambda: cancelled.is_set() or self._stop.is_set()), None
        except JobCancelled:
            stopped = self._stop.is_set() and not cancelled.is_set()
            return ("failed", {}, "The server was stopped meanwhile. Ask again.") if stopped else ("cancelled", {}, None)
        except (QueryError, StoreError, InfrastructureError) as told:
            return "failed", {}, str(told)
        except Exception as defect:  # noqa: BLE001 - told in the job and in the log
            self._log.exception("the job %s failed", job.id)
            return "failed", {}, f"MAP4 has a defect here ({type(defect).__name__}); the log has the rest."
        finally:
            ended.set()

    def _finish(self, job: Job, status: str, result: dict[str, Any], error: str | None) -> None:
        with self._engine.begin() as conn:
            finish_job(conn, job.id, status, result=result, error=error)
        self._mirror(job, {"status": status})

    def _mirror(self, job: Job, shown: dict[str, Any]) -> None:
        self._cache.put(f"{self.kind}:{job.id}", shown, TEMPORARY_SECONDS)

    def _beat(self, job_id: UUID, cancelled: threading.Event, ended: threading.Event) -> None:
        while not ended.wait(_BEAT_SECONDS):
            try:
                with self._engine.begin() as conn:
                    if note_beat(conn, job_id):
                        cancelled.set()
            except Exception:  # noqa: BLE001 - the database is away; the job itself will say so
                self._log.warning("no beat for the job %s", job_id, exc_info=True)
