"""Slows down who guesses passwords: by account and by address, in PostgreSQL, so that a restart or no Redis forgives nothing."""

from sqlalchemy import Connection, case, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from map4_pipeline.store.schema import login_failures

#: So many failures are free; each one after doubles the wait from a second up to a quarter of an hour.
FREE_FAILURES = {"account": 5, "address": 20}
LONGEST_SECONDS = 900.0
#: After so long without a failure all is forgotten.
_FORGET_SECONDS = 86_400.0


def _subjects(name: str, address: str) -> list[str]:
    return [f"account:{name.strip().lower()[:200]}", f"address:{address[:100]}"]


def wait_seconds(conn: Connection, name: str, address: str) -> float:
    """Return how long this account or address has to wait before another attempt; 0: not at all."""
    left = func.extract("epoch", login_failures.c.blocked_until - func.now())
    query = select(func.max(left)).where(login_failures.c.subject.in_(_subjects(name, address)))
    return max(0.0, float(conn.execute(query).scalar_one_or_none() or 0.0))


def failed(conn: Connection, name: str, address: str) -> None:
    """Count a failed attempt."""
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
            until = func.now() + text("make_interval(secs => :wait)").bindparams(wait=seconds)
            conn.execute(table.update().where(table.c.subject == subject).values(blocked_until=until))


def succeeded(conn: Connection, name: str) -> None:
    """Forget the failures of an account whose user has logged in; those of the address stand."""
    conn.execute(delete(login_failures).where(login_failures.c.subject == _subjects(name, "")[0]))


def clear(conn: Connection) -> int:
    """Delete what is forgotten anyway; return how many."""
    old = login_failures.c.failed_at < func.now() - text("make_interval(secs => :old)").bindparams(old=_FORGET_SECONDS)
    return int(conn.execute(delete(login_failures).where(old)).rowcount)
