"""Which user used which part of MAP4 on which day; nothing of what was looked at."""

from collections.abc import Mapping
from datetime import date

from sqlalchemy import Connection, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from map4_pipeline.store.schema import user_activity, users

#: (user id, day in UTC, part)
Use = tuple[int, date, str]


def note_uses(conn: Connection, uses: Mapping[Use, int]) -> None:
    """Add uses; those of users who are gone are left out."""
    known = set(conn.scalars(select(users.c.id).where(users.c.id.in_(sorted({user_id for user_id, _, _ in uses})))))
    # In one order, so that two processes do not wait for each other in a circle.
    rows = [
        {"user_id": user_id, "day": day, "feature": feature, "uses": count}
        for (user_id, day, feature), count in sorted(uses.items())
        if user_id in known
    ]
    if rows:
        statement = insert(user_activity)
        added = statement.on_conflict_do_update(
            index_elements=["day", "user_id", "feature"], set_={"uses": user_activity.c.uses + statement.excluded.uses}
        )
        conn.execute(added, rows)


def forget_activity(conn: Connection, days: int) -> int:
    """Delete lines that are older than so many days; return how many."""
    old = user_activity.c.day < func.current_date() - text(":days").bindparams(days=days)
    return int(conn.execute(delete(user_activity).where(old)).rowcount)
