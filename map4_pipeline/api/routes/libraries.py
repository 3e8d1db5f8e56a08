"""Libraries: those that a user sees."""

from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from map4_pipeline.api.access import Permission, Reader
from map4_pipeline.api.context import context_of
from map4_pipeline.api.models import After, ListLimit, Next
from map4_pipeline.store.overview import library_page

router = APIRouter(prefix="/api/libraries", tags=["libraries"])


class LibraryInfo(BaseModel):
    """A library, and how many tracks it has; hidden ones are left out."""

    id: int = Field(description="What `library` of a place to analyse takes.")
    name: str
    slug: str
    path: str | None = Field(description="Its root; for those who look after libraries, null for others.")
    watched: bool
    tracks: int = Field(description="There and analysed.")
    failed: int
    missing: int = Field(description="The file is gone.")
    scanned_at: datetime | None = Field(description="When a scan last ran to its end.")


class LibraryPage(BaseModel):
    """A page of the libraries that one sees."""

    libraries: list[LibraryInfo]
    next: Next


@router.get("")
def list_libraries(request: Request, principal: Reader, limit: ListLimit = 100, after: After = None) -> LibraryPage:
    """List the libraries that one sees page by page, in the order in which they were registered."""
    with context_of(request).reading() as conn:
        found, following = library_page(conn, principal.library_ids, limit, after)
    shows_path = principal.may(Permission.LIBRARIES)
    told = [
        LibraryInfo(
            id=one.id,
            name=one.name,
            slug=one.slug,
            path=one.root_text if shows_path else None,
            watched=one.watched,
            tracks=one.tracks,
            failed=one.failed,
            missing=one.missing,
            scanned_at=one.last_completed_at,
        )
        for one in found
    ]
    return LibraryPage(libraries=told, next=following)
