"""Rows of `track_search` that a process holds in memory, and how they follow the database.

They are read once by COPY. `map4_generation` tells whether anything changed since, and the moment at which a row was written
tells what; so what another process wrote is seen at the next question. What was deleted is not seen: whoever finds a row here
looks it up in the database before it is shown.
"""

import io
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from map4_pipeline.store.cache import GENERATION, library_generation

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_CHUNK = 200_000
#: What other roles' sessions do is not shown to everybody: their transactions are taken to be no older than this.
_HIDDEN_MINUTES = 10

#: The state of the library, and from when on another transaction may still have written what is not seen yet.
_STATE = f"""
    SELECT ({GENERATION}) AS generation,
           least(clock_timestamp(), min(xact_start), CASE WHEN bool_or(query = '<insufficient privilege>')
               THEN clock_timestamp() - make_interval(mins => %s) END) AS since
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND coalesce(backend_type, 'client backend') = 'client backend'
"""
#: The row with the lowest id, and which transaction wrote it.
_OLDEST = """
    SELECT s.track_id, CAST(s.xmin AS text) AS written, t.updated_at FROM track_search AS s JOIN tracks AS t ON t.id = s.track_id
    ORDER BY s.track_id LIMIT 1
"""


class FollowedRows:
    """What is held of a database's rows; what that is, a class below this says."""

    #: Which rows are read at first.
    _first = "true"

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._generation: str | None = None
        self._since: Any = None
        self._oldest: Any = None

    def is_current(self, conn: Connection) -> bool:
        """Return whether nothing was written since the rows were read."""
        return self.is_of(library_generation(conn))

    def is_of(self, generation: str) -> bool:
        """Return whether the rows are those of a state of the database (`cache.library_generation`)."""
        return generation == self._generation

    def refresh(self, conn: Connection) -> None:
        """Take over what was written since the last time; read everything the first time."""
        # Without the lock, so that threads that find nothing new do not wait for each other's answer.
        if self.is_current(conn):
            return
        with self._lock:
            # Else the second look in a transaction sees the sessions of the first.
            conn.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
            state = conn.exec_driver_sql(_STATE, (_HIDDEN_MINUTES,)).one()
            if state.generation == self._generation:
                return
            oldest = conn.exec_driver_sql(_OLDEST).one_or_none()
            if self._generation is None or _is_other(state.generation, self._generation):
                self._load(conn)
            else:
                self._read(conn, "JOIN tracks AS t ON t.id = s.track_id WHERE t.updated_at >= %s", (self._since,))
                if self._were_rebuilt(conn):
                    self._load(conn)
            self._generation, self._since, self._oldest = state.generation, state.since, oldest

    def _were_rebuilt(self, conn: Connection) -> bool:
        """Return whether rows came without a trigger: a bulk load, `map4_rebuild_search`."""
        if 0 < self._newest < conn.exec_driver_sql("SELECT coalesce(max(track_id), 0) FROM track_search").scalar_one():
            return True
        # Written anew, and the track was not. What was deleted tells nothing.
        rewritten = f"SELECT FROM ({_OLDEST}) AS oldest WHERE track_id = %s AND written <> %s AND updated_at < %s"
        return self._oldest is not None and conn.exec_driver_sql(rewritten, (*self._oldest[:2], self._since)).first() is not None

    def _load(self, conn: Connection) -> None:
        self._generation = None
        self._clear()
        last = -1
        while True:
            which = f"WHERE s.track_id > %s AND {self._first} ORDER BY s.track_id LIMIT {_CHUNK}"
            ids = self._read(conn, which, (last,))
            if len(ids) < _CHUNK:
                return
            last = int(ids[-1])

    @property
    def _newest(self) -> int:
        """The greatest id that is held; 0 when there is none."""
        raise NotImplementedError

    def _clear(self) -> None:
        raise NotImplementedError

    def _read(self, conn: Connection, which: str, values: Sequence[Any]) -> "NDArray[np.int64]":
        """Read rows of `track_search AS s`, replacing what is held of them, and return their ids in the order they came."""
        raise NotImplementedError


def copied(conn: Connection, columns: "Mapping[str, tuple[str, pa.DataType]]", which: str, values: Sequence[Any]) -> "pa.Table":
    """Return rows of `track_search AS s`.

    Parameters
    ----------
    columns : mapping
        Name -> (SQL, type).
    which : str
        What follows the table's name in SQL, with `%s` for each of `values`.
    """
    import pyarrow as pa
    from pyarrow import csv

    cursor: Any = conn.connection.cursor()
    try:
        wanted = ", ".join(sql for sql, _ in columns.values())
        statement = cursor.mogrify(f"SELECT {wanted} FROM track_search AS s {which}", tuple(values)).decode()
        file = io.BytesIO()
        cursor.copy_expert(f"COPY ({statement}) TO STDOUT (FORMAT csv)", file)
    finally:
        cursor.close()
    types = {name: type_ for name, (_, type_) in columns.items()}
    if not file.tell():
        return pa.table({name: pa.array([], type_) for name, type_ in types.items()})
    file.seek(0)
    return csv.read_csv(
        file,
        read_options=csv.ReadOptions(column_names=list(types), use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=types, null_values=[""]),
    )


def _is_other(now: str, before: str) -> bool:
    """Return whether a backup was restored under us: other tables, or a state that was there before."""
    (changes, table), (known, held) = (text.split("/") for text in (now, before))
    return table != held or int(changes.split("-")[0]) < int(known.split("-")[0])
