"""The table `analysis_queue`: files and folders that somebody asked to have analysed, the most urgent first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    Text,
    all_,
    case,
    column,
    delete,
    extract,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from map4_pipeline.store.marks import cut, read_mark
from map4_pipeline.store.schema import analysis_queue, skipped_files, tracks

#: Of an entry that says nothing else; 1 is the most urgent.
DEFAULT_PRIORITY = 5
#: A single row that no resident worker has taken for so long (there is none, or it has its hands full) goes to a run.
SINGLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the queue.

    Attributes
    ----------
    status : {"pending", "running", "completed", "failed", "cancelled"}
    batch : str or None
        Rows that one run was launched for have the same.
    run_id : str or None
        Dagster's id of that run, once it is known.
    request_id : str or None
        Of the request of the API that asked for it.
    """

    id: int
    file_path: str
    priority: int
    status: str
    error_message: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    batch: str | None
    run_id: str | None
    attempts: int
    request_id: str | None


_COLUMNS = tuple(analysis_queue.c[name] for name in Entry.__slots__)


def enqueue(conn: Connection, paths: Sequence[str], priority: int = DEFAULT_PRIORITY, *, single: bool = False) -> list[int]:
    """Add files or folders (absolute paths, as MAP4 writes them) to the queue; return the rows' ids.

    Parameters
    ----------
    single : bool
        Files that somebody waits for: the resident worker takes them at once (`store.singles`).
    """
    rows = [{"file_path": path, "priority": priority, "single": single} for path in paths]
    return list(conn.scalars(insert(analysis_queue).returning(analysis_queue.c.id), rows)) if rows else []


def entries(conn: Connection, status: str | None = None, limit: int = 100) -> list[Entry]:
    """Return rows of the queue, those in work first, then by priority, then what is done, the newest first."""
    return queue_page(conn, status, limit)[0]


def queue_page(conn: Connection, status: str | None, limit: int, after: str | None = None) -> tuple[list[Entry], str | None]:
    """Return a page of the queue in the order of `entries`, and the mark of the next page (None: this was the last).

    Raises
    ------
    MarkError
        When `after` is not the mark of such a page.
    """
    rank = case({"running": 0, "pending": 1}, value=analysis_queue.c.status, else_=2)
    # Microseconds, so that one comparison of whole numbers holds for the whole order.
    age = -func.coalesce(extract("epoch", analysis_queue.c.completed_at) * 1_000_000, 0).cast(BigInteger)
    order = (rank, age, *_URGENCY)
    query = select(*_COLUMNS, rank.label("rank"), age.label("age")).order_by(*order).limit(limit + 1)
    if status is not None:
        query = query.where(analysis_queue.c.status == status)
    if after is not None:
        query = query.where(tuple_(*order) > tuple_(*read_mark(after, int, int, int, int)))
    page, following = cut(conn.execute(query).all(), limit, lambda row: (row.rank, row.age, row.priority, row.id))
    return [Entry(*row[: len(_COLUMNS)]) for row in page], following


_URGENCY = (analysis_queue.c.priority, analysis_queue.c.id)


def pending(
    conn: Connection,
    limit: int,
    after: Entry | None = None,
    not_below: Sequence[str] = (),
    not_in: Sequence[str] = (),
) -> list[Entry]:
    """Return the most urgent rows that nobody has begun with; single ones once the resident worker has left them for a while.

    Parameters
    ----------
    after : Entry, optional
        The last one of the page before.
    not_below : sequence of str
        Folders (as text) whose rows are left out, whatever lies in them.
    not_in : sequence of str
        Folders that are left out, with what lies in them directly.
    """
    path = analysis_queue.c.file_path
    left = analysis_queue.c.created_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, SINGLE_SECONDS)
    query = select(*_COLUMNS).where(analysis_queue.c.status == "pending", or_(~analysis_queue.c.single, left))
    if after is not None:
        query = query.where(tuple_(*_URGENCY) > tuple_(literal(after.priority), literal(after.id)))
    for folder in not_below:
        query = query.where(path != folder, ~func.starts_with(path, folder.rstrip("/") + "/"))
    if not_in:
        folders = literal(list(not_in), ARRAY(Text))
        place = func.regexp_replace(path, "/[^/]*$", "", type_=Text())
        query = query.where(path != all_(folders), place != all_(folders))
    return [Entry(*row) for row in conn.execute(query.order_by(*_URGENCY).limit(limit))]


def running(conn: Connection) -> list[Entry]:
    """Return the rows that runs are at work on; those in the resident worker's hands are its own affair."""
    work = (analysis_queue.c.status == "running", ~analysis_queue.c.single)
    query = select(*_COLUMNS).where(*work).order_by(analysis_queue.c.batch, analysis_queue.c.id)
    return [Entry(*row) for row in conn.execute(query)]


def by_ids(conn: Connection, ids: Sequence[int]) -> list[Entry]:
    """Return rows by their ids."""
    query = select(*_COLUMNS).where(analysis_queue.c.id.in_(ids)).order_by(analysis_queue.c.id)
    return [Entry(*row) for row in conn.execute(query)]


def begin(conn: Connection, ids: Sequence[int], batch: str) -> int:
    """Note that a run is launched for rows; return for how many (not for those that were cancelled or taken meanwhile)."""
    taken = {"status": "running", "batch": batch, "run_id": None, "started_at": func.now(), "single": False}
    return conn.execute(
        update(analysis_queue)
        .where(analysis_queue.c.id == func.any(list(ids)), analysis_queue.c.status == "pending")
        .values(**taken, attempts=analysis_queue.c.attempts + 1)
    ).rowcount


def withdrawn_of_batch(conn: Connection, batch: str) -> dict[str, bool]:
    """Return {path: whether all who asked for it have cancelled} of the rows that a run was launched for."""
    withdrawn = func.bool_and(analysis_queue.c.status == "cancelled")
    query = select(analysis_queue.c.file_path, withdrawn).where(analysis_queue.c.batch == batch)
    return {path: bool(said) for path, said in conn.execute(query.group_by(analysis_queue.c.file_path))}


def note_run(conn: Connection, batch: str, run_id: str) -> None:
    """Note which run works on a batch."""
    rows = (analysis_queue.c.batch == batch, analysis_queue.c.run_id.is_(None))
    conn.execute(update(analysis_queue).where(*rows).values(run_id=run_id))


def put_back(conn: Connection, batch: str) -> None:
    """Let the rows of a batch wait again: its run was never launched."""
    rows = (analysis_queue.c.batch == batch, analysis_queue.c.status == "running")
    conn.execute(update(analysis_queue).where(*rows).values(status="pending", batch=None, started_at=None))


def finish(conn: Connection, errors: Mapping[int, str | None]) -> None:
    """Write down how rows ended, by their ids (None: well); those that were cancelled meanwhile stay so."""
    ended = func.unnest(literal(list(errors), ARRAY(BigInteger)), literal(list(errors.values()), ARRAY(Text)))
    fate = ended.table_valued(column("id", BigInteger), column("error", Text)).render_derived(name="fate")
    conn.execute(
        update(analysis_queue)
        .where(analysis_queue.c.id == fate.c.id, analysis_queue.c.status.in_(("pending", "running")))
        .values(
            status=case((fate.c.error.is_(None), "completed"), else_="failed"),
            error_message=fate.c.error,
            completed_at=func.now(),
        )
    )


def cancel(conn: Connection, ids: Sequence[int]) -> list[int]:
    """Cancel rows that are not done; return those that were. A run that is at work on them stops after the files in hand."""
    statement = (
        update(analysis_queue)
        .where(analysis_queue.c.id == func.any(list(ids)), analysis_queue.c.status.in_(("pending", "running")))
        .values(status="cancelled", completed_at=func.now())
    )
    return sorted(conn.scalars(statement.returning(analysis_queue.c.id)))


def forget_done(conn: Connection, days: int) -> int:
    """Delete rows that were done so many days ago; return how many."""
    done = analysis_queue.c.status.in_(("completed", "failed", "cancelled"))
    old = analysis_queue.c.completed_at < func.now() - func.make_interval(0, 0, 0, days)
    return conn.execute(delete(analysis_queue).where(done, old)).rowcount


def fates_of_files(conn: Connection, library_id: int, paths: Sequence[bytes]) -> dict[bytes, tuple[str, str | None]]:
    """Return (status, message) of files by their relative path.

    The status is "ok", "failed", "pending", "missing" or "skipped"; a file that was never seen is not there.
    """
    digests = [sha256(path).digest() for path in paths]
    found: dict[bytes, tuple[str, str | None]] = {}
    t, s = tracks.c, skipped_files.c
    query = select(t.relative_path, t.status, t.error_message, t.missing_since)
    for path, status, message, missing in conn.execute(
        query.where(t.library_id == library_id, t.path_digest == func.any(digests))
    ):
        found[bytes(path)] = (status, message) if missing is None else ("missing", "The file is gone.")
    skips = select(s.relative_path, s.detail).where(s.library_id == library_id, s.path_digest == func.any(digests))
    for path, detail in conn.execute(skips):
        if found.get(bytes(path), ("missing", None))[0] == "missing":
            found[bytes(path)] = "skipped", detail or "It is no file that MAP4 analyses."
    return found
