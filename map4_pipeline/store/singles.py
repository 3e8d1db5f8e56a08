"""Single rows of `analysis_queue`, which the one resident worker of a database takes: its place, its bell, and its rows."""

import select as sockets
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, Engine, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY

from map4_pipeline.store.schema import analysis_queue

#: Advisory lock of whoever takes single rows ("MAP4ONE"): one process for a database.
_PLACE = 0x4D4150344F4E45
#: Rung by a trigger of the table (migration 0010).
CHANNEL = "map4_single"
#: Times a row is begun whose worker dies with it.
MAX_ATTEMPTS = 3
_q = analysis_queue.c


@dataclass(frozen=True, slots=True)
class Single:
    """A row that the resident worker has taken.

    Attributes
    ----------
    attempt : int
        1 at the first; more where the worker before died with the row in hand.
    request_id : str or None
        Of the request of the API that asked for it.
    """

    id: int
    file_path: str
    job_id: uuid.UUID | None
    attempt: int
    request_id: str | None = None


class Place:
    """The place of the one resident worker of a database, held by a connection that also hears the bell.

    The server gives the place to the next one when the connection ends, however it ends.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None

    def take(self) -> bool:
        """Take the place if it is free; return whether this process has it. Raises what the database raises."""
        if self._connection is None:
            found = self._engine.raw_connection()
            self._connection = found.driver_connection
            # Not of the pool any more: a lock must not go back into it.
            found.detach()
            assert self._connection is not None
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (_PLACE,))
            got = bool(cursor.fetchone()[0])
            if got:
                cursor.execute(f"LISTEN {CHANNEL}")
        return got

    def wait(self, seconds: float, also: Any) -> None:
        """Wait until the bell rings, another file (`also`) can be read, or the time is over; raise if the place is lost."""
        readable, _, _ = sockets.select([self._connection, also], [], [], seconds)
        if self._connection in readable:
            self._connection.poll()
            self._connection.notifies.clear()
        elif not readable:
            # Nothing was heard: is anybody there?
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT 1")

    def leave(self) -> None:
        """Give the place up."""
        found, self._connection = self._connection, None
        if found is not None:
            found.close()


def take_single(conn: Connection, owner: str, but: Collection[int] = ()) -> Single | None:
    """Take the most urgent single row that nobody has; None when there is none.

    Parameters
    ----------
    owner : str
        Who takes it (`batch` of the row).
    but : collection of int
        Rows that have to wait a little.
    """
    left_out = bindparam("but", list(but), type_=ARRAY(BigInteger))
    waiting = (
        select(_q.id)
        .where(_q.status == "pending", _q.single, _q.id != func.all(left_out))
        .order_by(_q.priority, _q.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    statement = (
        update(analysis_queue)
        .where(_q.id == waiting.scalar_subquery())
        .values(status="running", batch=owner, run_id=None, started_at=func.clock_timestamp(), attempts=_q.attempts + 1)
        .returning(_q.id, _q.file_path, _q.job_id, _q.attempts, _q.request_id)
    )
    row = conn.execute(statement).one_or_none()
    return None if row is None else Single(*row)


def is_mine(conn: Connection, row: Single, owner: str) -> bool:
    """Return whether a row is still in its taker's hands: nobody has cancelled it."""
    return conn.scalar(select(_q.status == "running").where(_q.id == row.id, _q.batch == owner)) is True


def finish_single(conn: Connection, row: Single, owner: str, error: str | None) -> bool:
    """Write down how a row ended (None: well); return False where it was cancelled, or is somebody else's by now."""
    ended = {"status": "completed" if error is None else "failed", "error_message": error, "completed_at": func.clock_timestamp()}
    mine = (_q.id == row.id, _q.batch == owner, _q.status == "running")
    return bool(conn.execute(update(analysis_queue).where(*mine).values(**ended)).rowcount)


def give_back(conn: Connection, row: Single, owner: str, *, to_runs: bool = False, counts: bool = False) -> None:
    """Let a row wait again as if nobody had taken it.

    Parameters
    ----------
    to_runs : bool
        For a run, because it is no single file.
    counts : bool
        The attempt counts.
    """
    mine = (_q.id == row.id, _q.batch == owner, _q.status == "running")
    values: dict[str, Any] = {"status": "pending", "batch": None, "started_at": None}
    values |= {} if counts else {"attempts": _q.attempts - 1}
    conn.execute(update(analysis_queue).where(*mine).values(**values, **({"single": False} if to_runs else {})))


def take_over(conn: Connection, owner: str) -> int:
    """Let rows wait again whose worker died with them; one that took its worker down three times fails. Return how many.

    Only for who has the place: whatever another one has in hand is an orphan.
    """
    orphan = (_q.status == "running", _q.single, _q.batch != owner)
    said = "The worker that analysed it died, three times. The file may be damaged; `map4 analyze` on it says more."
    lost = update(analysis_queue).where(*orphan, _q.attempts >= MAX_ATTEMPTS)
    failed = conn.execute(lost.values(status="failed", error_message=said, completed_at=func.now())).rowcount
    waiting = update(analysis_queue).where(*orphan).values(status="pending", batch=None, started_at=None)
    return int(conn.execute(waiting).rowcount + failed)


def has_owner(conn: Connection) -> bool:
    """Return whether a resident worker is there."""
    held = text(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database()) AND classid = :high AND objid = :low)"
    )
    return bool(conn.scalar(held, {"high": _PLACE >> 32, "low": _PLACE & 0xFFFFFFFF}))
