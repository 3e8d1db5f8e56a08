"""Advisory locks: one writer per directory, whatever process it is in. They go with their connection or transaction."""

from sqlalchemy import Connection, text

#: First half of the advisory lock key, so that MAP4's locks meet nobody else's ("MAP4" in ASCII).
_CLASS = 0x4D415034


def lock_directory(conn: Connection, directory_id: int) -> None:
    """Wait for a directory's lock and keep it to the end of the transaction."""
    conn.execute(text("SELECT pg_advisory_xact_lock(:a, :b)"), {"a": _CLASS, "b": directory_id})


def try_hold_directory(conn: Connection, directory_id: int) -> bool:
    """Take a directory's analysis lock for the session, or return False when another process has it."""
    return bool(conn.execute(text("SELECT pg_try_advisory_lock(:a, :b)"), {"a": _CLASS + 1, "b": directory_id}).scalar_one())


def release_directories(conn: Connection) -> None:
    """Give back every analysis lock that this session still has."""
    conn.execute(text("SELECT pg_advisory_unlock_all()"))


def release_directory(conn: Connection, directory_id: int) -> None:
    """Give a directory's analysis lock back."""
    conn.execute(text("SELECT pg_advisory_unlock(:a, :b)"), {"a": _CLASS + 1, "b": directory_id})
