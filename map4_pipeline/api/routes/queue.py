"""The queue of what is to be analysed, everybody's: for those who look after libraries."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from map4_pipeline.api.access import LibraryAdmin
from map4_pipeline.api.context import context_of
from map4_pipeline.api.models import After, ListLimit, Next
from map4_pipeline.store import queue

router = APIRouter(prefix="/api/queue", tags=["analysis"])
Status = Literal["pending", "running", "completed", "failed", "cancelled"]


class QueueEntry(BaseModel):
    """A file or folder that somebody asked to have analysed."""

    id: int
    file_path: str
    priority: int = Field(description="1 is the most urgent.")
    status: Status
    error_message: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    run_id: str | None = Field(description="Dagster's run that works, or worked, on it.")
    attempts: int
    request_id: str | None = Field(description="Of the request that asked for it.")


class QueuePage(BaseModel):
    """A page of the queue."""

    entries: list[QueueEntry]
    next: Next


@router.get("")
def list_queue(
    request: Request, principal: LibraryAdmin, status: Status | None = None, limit: ListLimit = 100, after: After = None
) -> QueuePage:
    """List the queue page by page: what is in work, what waits by its urgency, what is done, the newest first."""
    with context_of(request).reading() as conn:
        found, following = queue.queue_page(conn, status, limit, after)
    told = [QueueEntry(**{name: getattr(entry, name) for name in QueueEntry.model_fields}) for entry in found]
    return QueuePage(entries=told, next=following)
