"""Exports in the background: a thread that takes jobs from the table, writes their files, and can be told to stop."""

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Engine
from structlog.contextvars import bind_contextvars, reset_contextvars

from map4_pipeline.reports.fields import chosen_fields
from map4_pipeline.store.cache import TEMPORARY_SECONDS, Cache
from map4_pipeline.store.errors import InfrastructureError, StoreError
from map4_pipeline.store.exports import KINDS, ExportCancelled, ExportRequest, run_export
from map4_pipeline.store.jobs import Job, claim, fail_lost, finish_job, note_beat, note_progress
from map4_pipeline.store.query import QueryError

_log = logging.getLogger("map4.api.exports")
#: How often the table is looked at without a word from this process; another process may have written a job.
_LOOK_SECONDS = 2.0
_BEAT_SECONDS = 10.0


class Exporter:
    """Writes the files of export jobs, one after the other.

    Parameters
    ----------
    engine : Engine
    folder : Path
        Where the files go, named by their job.
    cache : Cache
        Mirrors progress under `export:{job_id}`.
    """

    def __init__(self, engine: Engine, folder: Path, cache: Cache) -> None:
        self._engine = engine
        self._folder = folder
        self._cache = cache
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="exporter", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; an export under way is cancelled at the next track, its job fails and can be asked for again."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=10)

    def wake(self) -> None:
        """Say that there is a job."""
        self._wake.set()

    def path_of(self, job: Job) -> Path:
        """Return where a job's file is."""
        return self._folder / f"{job.id}{KINDS[job.request['format']].ending}"

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._engine.begin() as conn:
                    fail_lost(conn, "export")
                    job = claim(conn, "export")
                if job is not None:
                    self._export(job)
                    continue
            except Exception:  # noqa: BLE001
                # The database is away, most likely. What matters is to be there when it is back.
                _log.warning("the exporter rests", exc_info=True)
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()

    def _export(self, job: Job) -> None:
        tokens = bind_contextvars(request_id=job.request_id, job_id=str(job.id))
        try:
            self._write(job)
        finally:
            reset_contextvars(**tokens)

    def _write(self, job: Job) -> None:
        cancelled = threading.Event()
        ended = threading.Event()
        beat = threading.Thread(target=self._beat, args=(job.id, cancelled, ended), daemon=True)
        beat.start()
        target = self.path_of(job)
        status, error = "failed", None
        result: dict[str, int] = {}

        def progress(done: int, total: int) -> None:
            with self._engine.begin() as conn:
                if note_progress(conn, job.id, done, total):
                    cancelled.set()
            self._cache.put(f"export:{job.id}", {"status": "running", "done": done, "total": total}, TEMPORARY_SECONDS)

        try:
            written = run_export(
                self._engine,
                request_of(job),
                target,
                progress=progress,
                cancelled=lambda: cancelled.is_set() or self._stop.is_set(),
            )
            status, result = "completed", {"size_bytes": written.size_bytes, "duration_ms": written.duration_ms}
        except ExportCancelled:
            stopped = self._stop.is_set() and not cancelled.is_set()
            status, error = ("failed", "The server was stopped meanwhile. Ask again.") if stopped else ("cancelled", None)
        except (QueryError, StoreError, InfrastructureError) as told:
            error = str(told)
        except Exception as defect:  # noqa: BLE001 - told in the job and in the log
            _log.exception("the export %s failed", job.id)
            error = f"MAP4 has a defect here ({type(defect).__name__}); the log has the rest."
        finally:
            ended.set()
        with self._engine.begin() as conn:
            finish_job(conn, job.id, status, result=result, error=error)
        self._cache.put(f"export:{job.id}", {"status": status}, TEMPORARY_SECONDS)

    def _beat(self, job_id: UUID, cancelled: threading.Event, ended: threading.Event) -> None:
        while not ended.wait(_BEAT_SECONDS):
            try:
                with self._engine.begin() as conn:
                    if note_beat(conn, job_id):
                        cancelled.set()
            except Exception:  # noqa: BLE001 - the database is away; the export itself will say so
                _log.warning("no beat for the export %s", job_id, exc_info=True)


def request_of(job: Job) -> ExportRequest:
    """Return what an export job asks for."""
    return request_from(job.request, None if job.user_id is None else str(job.user_id))


def request_from(asked: Mapping[str, Any], user: str | None = None) -> ExportRequest:
    """Return what a job of such a wish asks for; wishes of before lack what came later.

    Raises
    ------
    ValueError
        When there is no such field.
    """
    granted = asked.get("libraries")
    return ExportRequest(
        asked["format"],
        asked.get("query", ""),
        chosen_fields(asked.get("fields")),
        user,
        None if granted is None else frozenset(granted),
        playlist=asked.get("playlist"),
        path_map=tuple(asked.get("path_map", ())),
        notation=asked.get("key_notation"),
        new=asked.get("new", False),
        measured=asked.get("measured", False),
    )
