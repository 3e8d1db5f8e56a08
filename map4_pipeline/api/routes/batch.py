"""Analysis that somebody asks for: single tracks, and batches, as rows of the queue that Dagster works off."""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection, select

from map4_pipeline.api.access import Analyst, Principal
from map4_pipeline.api.context import Context, context_of
from map4_pipeline.api.models import After, ListLimit, Next, Strict
from map4_pipeline.api.problems import Problem, not_found
from map4_pipeline.api.routes.auth import note
from map4_pipeline.api.routes.tracks import TrackId
from map4_pipeline.library.keys import escape_path, unescape_path
from map4_pipeline.store import jobs
from map4_pipeline.store.cache import TEMPORARY_SECONDS, batch_key
from map4_pipeline.store.libraries import all_libraries
from map4_pipeline.store.schema import tracks

router = APIRouter(prefix="/api", tags=["analysis"])
#: Files and folders of one batch.
MAX_FILES = 10_000


class Place(Strict):
    """A file or folder of a library."""

    library: int = Field(ge=0, lt=2**31, description="Id of the library.")
    path: str = Field(max_length=10_000, description="From the library's root on; empty: the root.", examples=["House/a.mp3"])


class SingleBody(Strict):
    """One track to analyse: one that is known, or a file of a library."""

    track: TrackId | None = None
    place: Place | None = None


class BatchBody(Strict):
    """Tracks, files and folders to analyse."""

    tracks: list[TrackId] = Field(default_factory=list, max_length=MAX_FILES)
    places: list[Place] = Field(default_factory=list, max_length=MAX_FILES)
    priority: int = Field(default=5, ge=1, le=9, description="1 is the most urgent.")


class BatchJob(BaseModel):
    """A batch: how far it is."""

    id: UUID
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    total: int
    done: int = Field(description="Ended, well or not.")
    failed: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None

    @classmethod
    def of(cls, job: jobs.Job) -> "BatchJob":
        """Return what is shown of a job."""
        return cls(**{name: getattr(job, name) for name in cls.model_fields})


class BatchPage(BaseModel):
    """A page of one's batches."""

    batches: list[BatchJob]
    next: Next


@router.post("/tracks/analyze", status_code=202)
def analyze_track(request: Request, principal: Analyst, body: SingleBody) -> BatchJob:
    """Ask for one track to be analysed. What is known already is not worked out anew: content decides."""
    if (body.track is None) == (body.place is None):
        raise Problem(400, "invalid-request", "Name a track or a place, one of both.")
    wanted = BatchBody(
        tracks=[] if body.track is None else [body.track], places=[] if body.place is None else [body.place], priority=1
    )
    return _enqueue(request, principal, wanted, single=True)


@router.post("/batch/analyze", status_code=202)
def analyze_batch(request: Request, principal: Analyst, body: BatchBody) -> BatchJob:
    """Ask for tracks, files and folders to be analysed."""
    if not body.tracks and not body.places:
        raise Problem(400, "invalid-request", "Name tracks or places.")
    return _enqueue(request, principal, body, single=False)


@router.get("/batch")
def list_batches(request: Request, principal: Analyst, limit: ListLimit = 50, after: After = None) -> BatchPage:
    """List what one asked to have analysed page by page, the newest first."""
    with context_of(request).engine.begin() as conn:
        found, following = jobs.job_page(conn, user_id=principal.user.id, kind="analyze", limit=limit, after=after)
        # One that goes on is brought up to what its rows say.
        now = [(jobs.get_job(conn, job.id) or job) if job.is_open else job for job in found]
    return BatchPage(batches=[BatchJob.of(job) for job in now], next=following)


@router.get("/batch/{job_id:uuid}")
def get_batch(request: Request, job_id: UUID, principal: Analyst) -> BatchJob:
    """Show how far a batch is."""
    context = context_of(request)
    job = _mine(context, principal, job_id)
    context.cache.put(batch_key(job.id), jobs.mirrored(job), TEMPORARY_SECONDS)
    return BatchJob.of(job)


@router.delete("/batch/{job_id:uuid}")
def cancel_batch(request: Request, job_id: UUID, principal: Analyst) -> BatchJob:
    """Cancel a batch: what waits is not begun, and a run that is at work on it stops after the files in hand."""
    context = context_of(request)
    _mine(context, principal, job_id)
    with context.engine.begin() as conn:
        job = jobs.cancel_job(conn, job_id)
        note(conn, request, "batch cancelled", principal.user, target=str(job_id))
    if job is None:
        raise not_found(f"batch {job_id}")
    return BatchJob.of(job)


def _enqueue(request: Request, principal: Principal, body: BatchBody, *, single: bool) -> BatchJob:
    context = context_of(request)
    with context.engine.begin() as conn:
        roots = _roots(conn, principal) if body.places else {}
        paths = [*_paths_of_tracks(conn, principal, body.tracks), *(_path_of(roots, place) for place in body.places)]
        job = jobs.create_batch(
            conn,
            list(dict.fromkeys(paths)),
            user_id=principal.user.id,
            priority=body.priority,
            single=single,
            request_id=request.state.request_id,
        )
        note(conn, request, "analysis asked for", principal.user, target=str(job.id), detail={"files": job.total})
    return BatchJob.of(job)


def _paths_of_tracks(conn: Connection, principal: Principal, ids: list[int]) -> list[str]:
    query = select(tracks.c.id, tracks.c.file_path).where(tracks.c.id.in_(ids))
    if principal.library_ids is not None:
        query = query.where(tracks.c.library_id.in_(principal.library_ids))
    found: dict[int, str] = {id_: path for id_, path in conn.execute(query)}
    missing = next((id_ for id_ in ids if id_ not in found), None)
    if missing is not None:
        raise Problem(409, "conflict", f"There is no track {missing}.")
    return [found[id_] for id_ in ids]


def _roots(conn: Connection, principal: Principal) -> dict[int, bytes]:
    """Return {id: root} of the libraries that somebody sees."""
    granted = principal.library_ids
    return {library.id: library.root for library in all_libraries(conn) if granted is None or library.id in granted}


def _path_of(roots: Mapping[int, bytes], place: Place) -> str:
    """Return the path of a place as the queue has it. It cannot lead out of its library."""
    root = roots.get(place.library)
    if root is None:
        raise Problem(409, "conflict", f"There is no library {place.library}.")
    try:
        relative = unescape_path(place.path)
    except ValueError:
        raise Problem(400, "invalid-path", "This is no path as MAP4 writes it (a backslash is written twice).") from None
    parts = relative.split(b"/")
    if relative.startswith(b"/") or b".." in parts or b"\0" in relative:
        raise Problem(400, "invalid-path", "A path goes from the library's root on, and never up.")
    return escape_path(os.path.normpath(os.path.join(root, relative)) if relative else root)


def _mine(context: Context, principal: Principal, job_id: UUID) -> jobs.Job:
    with context.engine.begin() as conn:
        job = jobs.get_job(conn, job_id)
    if job is None or job.kind != "analyze" or (job.user_id != principal.user.id and principal.user.role != "admin"):
        raise not_found(f"batch {job_id}")
    return job
