"""How the libraries stand: their tracks and their last scan, a query for all of them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from map4_pipeline.store.marks import cut, read_mark
from map4_pipeline.store.schema import libraries, scans, track_search


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


def library_page(
    conn: Connection, library_ids: Collection[int] | None, limit: int, after: str | None = None
) -> tuple[list[LibraryOverview], str | None]:
    """Return a page of the registered libraries, or of those of these ids, and the mark of the next one (None: the last).

    Raises
    ------
    MarkError
        When `after` is not the mark of such a page.
    """
    query = select(libraries.c.id).order_by(libraries.c.id).limit(limit + 1)
    if library_ids is not None:
        query = query.where(libraries.c.id.in_(library_ids))
    if after is not None:
        query = query.where(libraries.c.id > read_mark(after, int)[0])
    page, following = cut(list(conn.scalars(query)), limit, lambda id_: (id_,))
    # Where all fit, all are counted, and not by their ids.
    whole = library_ids is None and after is None and following is None
    return library_overviews(conn, None if whole else page), following


def library_overviews(conn: Connection, library_ids: Collection[int] | None = None) -> list[LibraryOverview]:
    """Return every registered library, or those of these ids, in the order of registration."""
    # A tenth as wide as the tracks, and as true.
    t = track_search.c
    counts = (
        select(
            t.library_id,
            func.count().filter(t.listed).label("tracks"),
            func.count().filter(t.failed, ~t.missing).label("failed"),
            func.count().filter(t.missing).label("missing"),
        )
        .where(~t.hidden)
        .group_by(t.library_id)
    )
    if library_ids is not None:
        counts = counts.where(t.library_id.in_(library_ids))
    counted = counts.subquery()
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
            *(func.coalesce(counted.c[name], 0) for name in ("tracks", "failed", "missing")),
            last.c.status,
            last.c.at,
            last.c.message,
            completed.c.at,
        )
        .outerjoin(counted, counted.c.library_id == libraries.c.id)
        .outerjoin(last, last.c.library_id == libraries.c.id)
        .outerjoin(completed, completed.c.library_id == libraries.c.id)
        .order_by(libraries.c.id)
    )
    if library_ids is not None:
        query = query.where(libraries.c.id.in_(library_ids))
    return [
        LibraryOverview(id_, slug, name, bytes(root), *rest) for id_, slug, name, root, *rest in map(tuple, conn.execute(query))
    ]
