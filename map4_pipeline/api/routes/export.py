"""Exports: jobs that write a file, and the way to fetch it."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from starlette.convertors import Convertor, register_url_convertor

from map4_pipeline.api.access import Exporter, Principal
from map4_pipeline.api.context import Context, context_of
from map4_pipeline.api.exporter import request_from
from map4_pipeline.api.models import After, ListLimit, Next, Strict
from map4_pipeline.api.problems import Problem, not_found
from map4_pipeline.api.routes.auth import note
from map4_pipeline.reports.interchange.places import PathMap, PathMapError
from map4_pipeline.store import jobs
from map4_pipeline.store.cache import TEMPORARY_SECONDS, export_key
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.exports import KINDS, misfit
from map4_pipeline.store.playlists import find_by_id
from map4_pipeline.store.query import parse_query


class _Word(Convertor[str]):
    """A name without dashes: an export's id is none, so its address does not seem to take POST."""

    regex = "[a-z0-9]+"

    def convert(self, value: str) -> str:
        """Return the name."""
        return value

    def to_string(self, value: str) -> str:
        """Return the name."""
        return value


register_url_convertor("word", _Word())
router = APIRouter(prefix="/api/export", tags=["export"])
#: Exports of one user that may wait or run at once.
MAX_OPEN = 5

#: Names in addresses; `excel` is the requirements' name of xlsx.
Format = StrEnum("Format", {name: name for name in ("excel", *KINDS)})  # type: ignore[misc]


class ExportBody(Strict):
    """Which tracks, which of their fields, and how a DJ program or a player takes them."""

    query: str = Field(
        default="", max_length=2000, description="As in a search; empty: all.", examples=["genre:house bpm:120..128"]
    )
    fields: list[str] | None = Field(
        default=None, max_length=100, description="Of csv, json, jsonl and parquet; null: all.", examples=[["path", "bpm", "key"]]
    )
    playlist: int | None = Field(
        default=None, ge=1, lt=2**31, description="Only this playlist's tracks, in its order. Of rekordbox, traktor and m3u8."
    )
    path_map: list[Annotated[str, Field(max_length=2000, pattern=r"^[^\x00-\x1f\x7f]*$")]] = Field(
        default=[],
        max_length=100,
        description="FROM=TO: where the other program finds the files. Of rekordbox, traktor and m3u8.",
        examples=[["/music=/Users/anna/Music"]],
    )
    key_notation: Literal["musical", "camelot", "open"] | None = Field(
        default=None, description="Am, 8A or 1m; null: what the program is used to. Of rekordbox and traktor."
    )
    new: bool = Field(
        default=False,
        description="Add a playlist of what came since your last such export (rekordbox, traktor); only those tracks (m3u8).",
    )
    measured: bool = Field(
        default=False, description="BPM, key and grid as measured, also where an import has the DJ's. Of rekordbox and traktor."
    )


class ExportJob(BaseModel):
    """An export: how far it is, and where its file is once it is there."""

    id: UUID
    format: str
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    query: str
    playlist: int | None = Field(description="Only this playlist's tracks.")
    new: bool = Field(description="What came since the last such export is told apart.")
    done: int = Field(description="Tracks written.")
    total: int
    size_bytes: int | None
    duration_ms: int | None
    error: str | None
    created_at: datetime
    completed_at: datetime | None
    file: str | None = Field(description="Address of the file.")

    @classmethod
    def of(cls, job: jobs.Job) -> "ExportJob":
        """Return what is shown of a job."""
        ready = job.status == "completed"
        return cls(
            id=job.id,
            format=job.request["format"],
            status=job.status,
            query=job.request.get("query", ""),
            playlist=job.request.get("playlist"),
            new=job.request.get("new", False),
            done=job.done,
            total=job.total,
            size_bytes=job.result.get("size_bytes"),
            duration_ms=job.result.get("duration_ms"),
            error=job.error_message,
            created_at=job.created_at,
            completed_at=job.completed_at,
            file=f"/api/export/{job.id}/file" if ready else None,
        )


class ExportPage(BaseModel):
    """A page of one's exports."""

    exports: list[ExportJob]
    next: Next


@router.post("/{format:word}", status_code=202)
def create_export(request: Request, format: Format, principal: Exporter, body: ExportBody | None = None) -> ExportJob:
    """Begin an export. It goes on by itself: ask for its state, then fetch its file."""
    asked = body or ExportBody()
    kind = "xlsx" if format.value == "excel" else format.value
    parse_query(asked.query)
    context = context_of(request)
    granted = principal.library_ids
    wanted = asked.model_dump() | {"format": kind, "libraries": None if granted is None else sorted(granted)}
    try:
        PathMap(asked.path_map)
        wrong = misfit(request_from(wanted), call=_property, takes_fields=asked.fields is not None)
    except PathMapError as error:
        raise Problem(400, "invalid-path-map", str(error)) from None
    except ValueError as error:
        raise Problem(400, "invalid-fields", str(error)) from None
    if wrong:
        raise Problem(400, "invalid-export", wrong)
    with context.engine.begin() as conn:
        if asked.playlist is not None:
            try:
                find_by_id(conn, asked.playlist)
            except StoreError as error:
                raise Problem(400, "invalid-playlist", str(error)) from None
        mine = jobs.list_jobs(conn, user_id=principal.user.id, kind="export", limit=MAX_OPEN)
        if sum(job.is_open for job in mine) >= MAX_OPEN:
            raise Problem(429, "too-many-exports", f"{MAX_OPEN} of your exports wait or run. Wait for one, or cancel one.")
        job = jobs.create_job(conn, "export", wanted, user_id=principal.user.id, request_id=request.state.request_id)
        note(conn, request, "export", principal.user, target=kind, detail={"query": asked.query})
    context.exporter.wake()
    return ExportJob.of(job)


@router.get("")
def list_exports(request: Request, principal: Exporter, limit: ListLimit = 50, after: After = None) -> ExportPage:
    """List one's exports page by page, the newest first."""
    with context_of(request).engine.connect() as conn:
        found, following = jobs.job_page(conn, user_id=principal.user.id, kind="export", limit=limit, after=after)
    return ExportPage(exports=[ExportJob.of(job) for job in found], next=following)


@router.get("/{job_id:uuid}")
def get_export(request: Request, job_id: UUID, principal: Exporter) -> ExportJob:
    """Show how far an export is."""
    context = context_of(request)
    job = _mine(context, principal, job_id)
    context.cache.put(export_key(job.id), jobs.mirrored(job), TEMPORARY_SECONDS)
    return ExportJob.of(job)


@router.delete("/{job_id:uuid}")
def cancel_export(request: Request, job_id: UUID, principal: Exporter) -> ExportJob:
    """Cancel an export; no file is left. One that has ended stays as it is."""
    context = context_of(request)
    _mine(context, principal, job_id)
    with context.engine.begin() as conn:
        job = jobs.cancel_job(conn, job_id)
    if job is None:
        raise not_found(f"export {job_id}")
    return ExportJob.of(job)


@router.get("/{job_id:uuid}/file", response_class=FileResponse)
def get_export_file(request: Request, job_id: UUID, principal: Exporter) -> FileResponse:
    """Fetch the file of an export."""
    context = context_of(request)
    job = _mine(context, principal, job_id)
    granted, written = principal.library_ids, job.request.get("libraries")
    if granted is not None and (written is None or not granted.issuperset(written)):
        raise Problem(403, "not-allowed", "This export holds tracks of libraries that you no longer see. Ask for another one.")
    path = context.exporter.path_of(job)
    if job.status != "completed" or not path.is_file():
        raise Problem(404, "no-file", "The export has no file: it has not ended well, or the file was removed since.")
    moment = re.sub(r"\D", "", job.created_at.strftime("%Y%m%d%H%M"))
    return FileResponse(path, filename=f"map4-library-{moment}{path.suffix}")


def _property(name: str) -> str:
    """Return the body's name of an export's attribute."""
    return "key_notation" if name == "notation" else name


def _mine(context: Context, principal: Principal, job_id: UUID) -> jobs.Job:
    """Return one of a user's exports; of another's nobody is told that it exists."""
    with context.engine.begin() as conn:
        job = jobs.get_job(conn, job_id)
    if job is None or job.kind != "export" or job.user_id != principal.user.id:
        raise not_found(f"export {job_id}")
    return job
