"""Exports in the background: files that are written one after the other."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from map4_pipeline.api.job_worker import JobCancelled, JobWorker
from map4_pipeline.reports.fields import chosen_fields
from map4_pipeline.store.cache import Cache
from map4_pipeline.store.exports import KINDS, ExportCancelled, ExportRequest, run_export
from map4_pipeline.store.jobs import Job


class Exporter(JobWorker):
    """Writes the files of export jobs.

    Parameters
    ----------
    folder : Path
        Where the files go, named by their job.
    """

    kind = "export"
    look_seconds = 2.0

    def __init__(self, engine: Engine, folder: Path, cache: Cache) -> None:
        super().__init__(engine, cache)
        self._folder = folder

    def path_of(self, job: Job) -> Path:
        """Return where a job's file is."""
        return self._folder / f"{job.id}{KINDS[job.request['format']].ending}"

    def work(self, job: Job, progress: Callable[[int, int], None], cancelled: Callable[[], bool]) -> dict[str, Any]:
        """Write a file; one that is cancelled is left at the next track, and no file stays."""
        try:
            written = run_export(self._engine, request_of(job), self.path_of(job), progress=progress, cancelled=cancelled)
        except ExportCancelled:
            raise JobCancelled from None
        return {"size_bytes": written.size_bytes, "duration_ms": written.duration_ms}


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
