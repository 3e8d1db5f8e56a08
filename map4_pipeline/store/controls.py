"""Switches that every process obeys, kept in the database."""

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from map4_pipeline.store.schema import controls

_PAUSED = "paused"


def is_paused(conn: Connection) -> bool:
    """Return whether somebody has asked MAP4 to rest."""
    return conn.execute(select(controls.c.name).where(controls.c.name == _PAUSED)).first() is not None


def pause(conn: Connection, reason: str = "") -> None:
    """Ask every run to rest: what is in hand is finished and kept, nothing new is begun, no run is launched."""
    statement = insert(controls).values(name=_PAUSED, value=reason)
    conn.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": reason, "changed_at": func.now()}))


def resume(conn: Connection) -> bool:
    """Let everything go on; return whether it was paused."""
    return conn.execute(delete(controls).where(controls.c.name == _PAUSED)).rowcount > 0
