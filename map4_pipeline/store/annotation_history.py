"""What models have said of a track over time: the newest answer, earlier ones, and what went wrong."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, func, or_, select

from map4_pipeline.store.marks import cut, read_mark
from map4_pipeline.store.schema import annotations, tracks


@dataclass(frozen=True, slots=True)
class Said:
    """What a provider said of a recording with its tags of then, or why it said nothing."""

    id: int
    provider: str
    model: str
    prompt_version: str
    status: str
    payload: Mapping[str, Any] | None
    error_kind: str | None
    error_message: str | None
    confidence: float | None
    contradictions: int
    cost_usd: Decimal
    created_at: datetime
    updated_at: datetime


_COLUMNS = tuple(annotations.c[name] for name in Said.__dataclass_fields__)


def annotation_page(
    conn: Connection, track_id: int, library_ids: Collection[int] | None, limit: int, after: str | None = None
) -> tuple[list[Said], str | None]:
    """Return a page of what was said of a track's recording, the newest first, and the mark of the next (None: the last).

    Parameters
    ----------
    library_ids : collection of int, or None
        Of libraries that the reader sees; tags of a copy in another one are not told.

    Raises
    ------
    MarkError
        When `after` is not the mark of such a page.
    """
    sound = select(func.coalesce(tracks.c.audio_hash, tracks.c.file_hash)).where(tracks.c.id == track_id).scalar_subquery()
    query = select(*_COLUMNS).where(annotations.c.audio_hash == sound)
    if library_ids is not None:
        seen = select(tracks.c.id).where(tracks.c.library_id.in_(library_ids))
        query = query.where(or_(annotations.c.track_id.is_(None), annotations.c.track_id.in_(seen)))
    if after is not None:
        query = query.where(annotations.c.id < read_mark(after, int)[0])
    rows = conn.execute(query.order_by(annotations.c.id.desc()).limit(limit + 1))
    return cut([Said(*row) for row in rows], limit, lambda one: (one.id,))
