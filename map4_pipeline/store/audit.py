"""Who did what, and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, text

from map4_pipeline.store.marks import cut, read_mark
from map4_pipeline.store.schema import audit_log


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that somebody did. `user_name` is None once the user was erased."""

    id: int
    at: datetime
    user_id: int | None
    user_name: str | None
    action: str
    target: str | None
    detail: dict[str, Any]
    request_id: str | None
    address: str | None


def note(
    conn: Connection,
    action: str,
    *,
    user_id: int | None = None,
    user_name: str | None = None,
    target: str | None = None,
    detail: Mapping[str, Any] | None = None,
    request_id: str | None = None,
    address: str | None = None,
) -> None:
    """Write an entry; in the transaction of what it tells of, so that neither is there without the other."""
    conn.execute(
        insert(audit_log).values(
            user_id=user_id,
            user_name=user_name,
            action=action,
            target=target,
            detail=dict(detail or {}),
            request_id=request_id,
            address=address,
        )
    )


def audit_page(conn: Connection, limit: int = 100, after: str | None = None) -> tuple[list[AuditEntry], str | None]:
    """Return a page of the log, the newest entry first, and the mark of the next page (None: this was the last).

    Raises
    ------
    MarkError
        When `after` is not the mark of such a page.
    """
    query = select(audit_log).order_by(audit_log.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(audit_log.c.id < read_mark(after, int)[0])
    return cut([AuditEntry(**row._mapping) for row in conn.execute(query)], limit, lambda entry: (entry.id,))


def forget(conn: Connection, days: int) -> int:
    """Delete entries that are older than so many days; return how many."""
    old = audit_log.c.at < func.now() - text("make_interval(days => :days)").bindparams(days=days)
    return int(conn.execute(delete(audit_log).where(old)).rowcount)
