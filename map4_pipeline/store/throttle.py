"""Slows down who guesses passwords: by account and by address, in PostgreSQL, so that a restart or no Redis forgives nothing."""

from sqlalchemy import Connection, case, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from map4_pipeline.store.schema import login_failures

#: So many failures are free; each one after doubles the wait from a second up to a quarter of an hour.
FREE_FAILURES = {"account": 5, "address": 20}
LONGEST_SECONDS = 900.0
#: First half of the advisory locks of attempts ("MAPL").
_LOCK = 0x4D41504C
#: After so long without a failure all is forgotten.
_FORGET_SECONDS = 86_400.0


def _subjects(name: str, address: str) -> list[str]:
    return [f"account:{name.strip().lower()[:200]}", f"address:{address[:100]}"]


def begin(conn: Connection, name: str, address: str) -> float:
    """Count an attempt as failed, before it is known to be: a hundred at once would all be checked else.

    Returns
    -------
    float
        0, when it may go on: its outcome is then told to `succeeded`, or it stands. Else the seconds that this account or
        address has to wait; nothing is counted then.
    """
    # One after the other, by account: each sees what the one before has left.
    conn.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(_subjects(name, address)[0]))))
    wait = _wait_seconds(conn, name, address)
    if wait <= 0:
        _failed(conn, name, address)
    return wait


def _wait_seconds(conn: Connection, name: str, address: str) -> float:
    left = func.extract("epoch", login_failures.c.blocked_until - func.clock_timestamp())
    query = select(func.max(left)).where(login_failures.c.subject.in_(_subjects(name, address)))
    return max(0.0, float(conn.execute(query).scalar_one_or_none() or 0.0))


def _failed(conn: Connection, name: str, address: str) -> None:
    table = login_failures
    for subject in _subjects(name, address):
        forgotten = table.c.failed_at < func.now() - text("make_interval(secs => :old)").bindparams(old=_FORGET_SECONDS)
        statement = insert(table).values(subject=subject, failures=1)
        statement = statement.on_conflict_do_update(
            index_elements=[table.c.subject],
            set_={"failures": case((forgotten, 1), else_=table.c.failures + 1), "failed_at": func.now()},
        )
        count = int(conn.execute(statement.returning(table.c.failures)).scalar_one())
        over = count - FREE_FAILURES[subject.partition(":")[0]]
        if over >= 0:
            seconds = min(LONGEST_SECONDS, 2.0 ** min(over, 20))
            until = func.clock_timestamp() + text("make_interval(secs => :wait)").bindparams(wait=seconds)
            conn.execute(table.update().where(table.c.subject == subject).values(blocked_until=until))


def succeeded(conn: Connection, name: str, address: str) -> None:
    """Forget the failures of an account whose user has logged in, and this attempt; others from the address stand."""
    account, place = _subjects(name, address)
    conn.execute(delete(login_failures).where(login_failures.c.subject == account))
    values = {"failures": func.greatest(login_failures.c.failures - 1, 0), "blocked_until": None}
    conn.execute(update(login_failures).where(login_failures.c.subject == place).values(values))


def clear(conn: Connection) -> int:
    """Delete what is forgotten anyway; return how many."""
    old = login_failures.c.failed_at < func.now() - text("make_interval(secs => :old)").bindparams(old=_FORGET_SECONDS)
    return int(conn.execute(delete(login_failures).where(old)).rowcount)
