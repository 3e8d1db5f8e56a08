"""Scans: the ledger as rows, per library and run, and per directory that a run touched."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on, insert

from map4_pipeline.library.ledger import LEDGER_FIELDS, Ledger
from map4_pipeline.store.schema import scan_directories, scans, skipped_files, tracks
from map4_pipeline.store.tracks import UNREADABLE_FOLDER

_INTERRUPTED = "interrupted; a later scan finished the work"


def begin_scan(conn: Connection, library_id: int, kind: str, run_id: str | None = None, base: Ledger | None = None) -> int:
    """Open a scan and return its id.

    Parameters
    ----------
    kind : {"full", "partial"}
        Full: the whole library was looked at. Partial: some partitions.
    base : Ledger, optional
        What the survey found in directories where nothing changed.

    Notes
    -----
    A full scan that an earlier process left open (it was killed) is closed as failed: its numbers would be wrong. Should
    that process be at work all the same, beside this one, its scan ends as it says when it ends.
    """
    if kind == "full":
        conn.execute(
            update(scans)
            .where(scans.c.library_id == library_id, scans.c.kind == "full", scans.c.status == "running")
            .values(status="failed", finished_at=func.now(), message=_INTERRUPTED)
        )
    counts = (base or Ledger()).as_dict()
    statement = insert(scans).values(library_id=library_id, kind=kind, run_id=run_id, status="running", **counts)
    return int(conn.execute(statement.returning(scans.c.id)).scalar_one())


def open_partial_scan(conn: Connection, library_id: int, run_id: str) -> int:
    """Return the scan of a run over some partitions of a library, opened when there is none yet."""
    query = select(scans.c.id).where(scans.c.run_id == run_id, scans.c.library_id == library_id, scans.c.kind == "partial")
    found = conn.execute(query.order_by(scans.c.id.desc()).limit(1)).scalar_one_or_none()
    return int(found) if found is not None else begin_scan(conn, library_id, "partial", run_id)


def set_directory(conn: Connection, scan_id: int, directory_id: int, ledger: Ledger) -> None:
    """Write a directory's line of a scan, in place of an earlier one."""
    values = ledger.as_dict()
    statement = insert(scan_directories).values(scan_id=scan_id, directory_id=directory_id, **values)
    conn.execute(statement.on_conflict_do_update(index_elements=["scan_id", "directory_id"], set_=values))


def add_to_directories(conn: Connection, changes: Mapping[tuple[int, int], Ledger]) -> None:
    """Add counts to lines of (scan id, directory id); a line that is not there is made.

    Files of which the line did not know that they are pending (the run analyses without a scan of its own, or another
    process scanned in between) count as seen, so that the line adds up.
    """
    for (scan_id, directory_id), ledger in sorted(changes.items()):
        values = ledger.as_dict()
        settled = -values.pop("pending")
        line = insert(scan_directories).values(
            scan_id=scan_id, directory_id=directory_id, **{**values, "seen": values["seen"] + settled}
        )
        sums = {name: getattr(scan_directories.c, name) + value for name, value in values.items()}
        sums["seen"] += func.greatest(settled - scan_directories.c.pending, 0)
        sums["pending"] = func.greatest(scan_directories.c.pending - settled, 0)
        conn.execute(line.on_conflict_do_update(index_elements=["scan_id", "directory_id"], set_=sums))


def found_again(conn: Connection, scan_ids: Sequence[int], directory_id: int) -> None:
    """Take a track that turned up elsewhere from the missing ones of the directory that it was missed in."""
    lines = scan_directories.c
    conn.execute(
        update(scan_directories)
        .where(lines.scan_id == func.any(list(scan_ids)), lines.directory_id == directory_id, lines.missing > 0)
        .values(missing=lines.missing - 1)
    )


def add_effort(conn: Connection, scan_id: int, decodes: int, bytes_read: int) -> None:
    """Add to the counters of what a scan cost."""
    conn.execute(
        update(scans)
        .where(scans.c.id == scan_id)
        .values(decodes=scans.c.decodes + decodes, bytes_read=scans.c.bytes_read + bytes_read)
    )


def finish_scan(conn: Connection, scan_id: int, status: str = "completed", message: str | None = None) -> Ledger:
    """Close a scan: its own counts (unchanged directories) plus the lines of the directories it touched.

    Closing a closed scan changes nothing. What is missing is a state of the library's tracks, not of the directories
    that a scan touched: a full scan counts it anew.
    """
    sums = select(*(func.coalesce(func.sum(getattr(scan_directories.c, name)), 0) for name in LEDGER_FIELDS)).where(
        scan_directories.c.scan_id == scan_id
    )
    totals = conn.execute(sums).one()
    taken_for_dead = and_(scans.c.status == "failed", scans.c.message == _INTERRUPTED)
    conn.execute(
        update(scans)
        .where(scans.c.id == scan_id, or_(scans.c.status == "running", taken_for_dead))
        .values(
            status=status,
            finished_at=func.now(),
            message=message,
            **{name: getattr(scans.c, name) + int(total) for name, total in zip(LEDGER_FIELDS, totals, strict=True)},
        )
    )
    missing = select(func.count()).where(
        tracks.c.library_id == scans.c.library_id, tracks.c.missing_since.is_not(None), tracks.c.hidden_at.is_(None)
    )
    full = (scans.c.id == scan_id, scans.c.kind == "full", scans.c.status == status)
    conn.execute(update(scans).where(*full).values(missing=missing.scalar_subquery()))
    return scan_ledger(conn, scan_id)


def finish_partial(conn: Connection, scan_ids: Sequence[int]) -> None:
    """Close those of the scans that cover some partitions only; a full scan is closed by who opened it."""
    partial = select(scans.c.id).where(scans.c.id == func.any(list(scan_ids)), scans.c.kind == "partial")
    for scan_id in conn.execute(partial).scalars().all():
        finish_scan(conn, scan_id)


def forget_scans(conn: Connection, days: int) -> int:
    """Delete scans older than so many days, each library's last completed one excepted; return how many.

    A partial scan of that age that is still open belongs to a run that was killed: no other process closes it.
    """
    kept = select(func.max(scans.c.id)).where(scans.c.kind == "full", scans.c.status == "completed").group_by(scans.c.library_id)
    age = func.now() - func.make_interval(0, 0, 0, days)
    is_over = or_(scans.c.status != "running", scans.c.kind == "partial")
    old = (scans.c.started_at < age, is_over, scans.c.id.not_in(kept))
    return conn.execute(delete(scans).where(*old)).rowcount


def scan_ledger(conn: Connection, scan_id: int) -> Ledger:
    """Return a closed scan's counts."""
    row = conn.execute(select(*(getattr(scans.c, name) for name in LEDGER_FIELDS)).where(scans.c.id == scan_id)).one()
    return Ledger(*row)


def directories_ledger(conn: Connection, scan_id: int, directory_ids: Sequence[int]) -> dict[int, Ledger]:
    """Return the lines of some directories of a scan by directory id."""
    columns = (scan_directories.c.directory_id, *(getattr(scan_directories.c, name) for name in LEDGER_FIELDS))
    query = select(*columns).where(
        scan_directories.c.scan_id == scan_id, scan_directories.c.directory_id == func.any(list(directory_ids))
    )
    return {row[0]: Ledger(*row[1:]) for row in conn.execute(query)}


def last_completed(conn: Connection) -> dict[int, tuple[int, Ledger]]:
    """Return {library id: (scan id, ledger)} of each library's last completed full scan."""
    columns = (scans.c.library_id, scans.c.id, *(getattr(scans.c, name) for name in LEDGER_FIELDS))
    query = (
        select(*columns)
        .where(scans.c.kind == "full", scans.c.status == "completed")
        .ext(distinct_on(scans.c.library_id))
        .order_by(scans.c.library_id, scans.c.id.desc())
    )
    return {row[0]: (row[1], Ledger(*row[2:])) for row in conn.execute(query)}


def state_counts(conn: Connection, library_ids: Sequence[int] | None = None) -> dict[str, int]:
    """Return how many tracks, of all libraries or some, are in which state; hidden tracks are left out."""
    present = tracks.c.missing_since.is_(None)
    query = select(
        func.count().label("total"),
        func.count().filter(present, tracks.c.status == "ok").label("ok"),
        func.count().filter(present, tracks.c.status == "failed").label("failed"),
        func.count().filter(present, tracks.c.status == "pending").label("pending"),
        func.count().filter(tracks.c.missing_since.is_not(None)).label("missing"),
    ).where(tracks.c.hidden_at.is_(None))
    if library_ids is not None:
        query = query.where(tracks.c.library_id.in_(library_ids))
    row = conn.execute(query).one()
    return {name: int(value) for name, value in row._mapping.items()}


def analysis_versions(conn: Connection) -> dict[str, int]:
    """Return by which versions of the analysis the tracks that are there and analysed were measured, most tracks first.

    "8" is MAP4's own, "8+halftime-1.0" the engine halftime (`audio.engines.features_identity`). More than one says that values of
    several stand beside each other until every library was ingested with one of them.
    """
    version = tracks.c.features_version
    there = (tracks.c.hidden_at.is_(None), tracks.c.missing_since.is_(None), tracks.c.status == "ok", version.is_not(None))
    query = select(version, func.count()).where(*there).group_by(version).order_by(func.count().desc(), version)
    return {str(name): int(count) for name, count in conn.execute(query)}


def stored_files(conn: Connection, library_id: int) -> int:
    """Return how many files of a library have a row: tracks that are there, and skipped files."""
    there = select(func.count()).select_from(tracks).where(tracks.c.library_id == library_id, tracks.c.missing_since.is_(None))
    left = select(func.count()).select_from(skipped_files).where(skipped_files.c.library_id == library_id)
    return int(conn.execute(there).scalar_one()) + int(conn.execute(left).scalar_one())


def closed_folders(conn: Connection, library_id: int) -> int:
    """Return how many folders of a library could not be opened; what is in them is unknown."""
    query = select(func.count()).where(tracks.c.library_id == library_id, tracks.c.error_kind == UNREADABLE_FOLDER)
    return int(conn.execute(query).scalar_one())
