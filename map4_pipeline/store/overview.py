"""How the libraries stand: their tracks and their last scan, a query for all of them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from map4_pipeline.store.schema import libraries, scans, tracks


@dataclass(frozen=True, slots=True)
class LibraryOverview:
    """A library, how many tracks it has, and how its last full scan ended.

    Attributes
    ----------
    tracks, failed, missing : int
        Tracks that are there and analysed, files that failed, tracks whose file is gone; hidden ones are left out.
    last_scan_status : str or None
        "completed", "guarded" (nothing was changed, the message says why), "failed", "running"; None before the first scan.
    last_scan_at : datetime or None
        When that scan ended, or began if it is running.
    last_completed_at : datetime or None
        When a scan last ran to its end.
    """

    id: int
    slug: str
    name: str
    root: bytes
    root_text: str
    watched: bool
    tracks: int
    failed: int
    missing: int
    last_scan_status: str | None
    last_scan_at: datetime | None
    last_scan_message: str | None
    last_completed_at: datetime | None


def library_overviews(conn: Connection) -> list[LibraryOverview]:
    """Return every registered library in the order of registration."""
    there = tracks.c.missing_since.is_(None)
    counts = (
        select(
            tracks.c.library_id,
            func.count().filter(there, tracks.c.status == "ok").label("tracks"),
            func.count().filter(there, tracks.c.status == "failed").label("failed"),
            func.count().filter(tracks.c.missing_since.is_not(None)).label("missing"),
        )
        .where(tracks.c.hidden_at.is_(None))
        .group_by(tracks.c.library_id)
        .subquery()
    )
    full = scans.c.kind == "full"
    last = (
        select(
            scans.c.library_id,
            scans.c.status,
            func.coalesce(scans.c.finished_at, scans.c.started_at).label("at"),
            scans.c.message,
        )
        .where(scans.c.id.in_(select(func.max(scans.c.id)).where(full).group_by(scans.c.library_id)))
        .subquery()
    )
    completed = (
        select(scans.c.library_id, func.max(scans.c.finished_at).label("at"))
        .where(full, scans.c.status == "completed")
        .group_by(scans.c.library_id)
        .subquery()
    )
    query = (
        select(
            *(libraries.c[name] for name in ("id", "slug", "name", "root", "root_text", "watched")),
            *(func.coalesce(counts.c[name], 0) for name in ("tracks", "failed", "missing")),
            last.c.status,
            last.c.at,
            last.c.message,
            completed.c.at,
        )
        .outerjoin(counts, counts.c.library_id == libraries.c.id)
        .outerjoin(last, last.c.library_id == libraries.c.id)
        .outerjoin(completed, completed.c.library_id == libraries.c.id)
        .order_by(libraries.c.id)
    )
    return [
        LibraryOverview(id_, slug, name, bytes(root), *rest) for id_, slug, name, root, *rest in map(tuple, conn.execute(query))
    ]
