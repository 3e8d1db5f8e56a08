"""What the folders' sensor remembers: where its sweep of each library is, and directories that wait for a second look."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, case, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from map4_pipeline.store.directories import COLUMNS, Directory, directory_of
from map4_pipeline.store.libraries import Library
from map4_pipeline.store.schema import directories, watch_candidates, watch_sweeps


@dataclass(slots=True)
class Sweep:
    """How far a look over a whole library has got.

    Attributes
    ----------
    phase : {"walk", "known"}
        First the disk is walked, then the directories that are known are looked for, to find those that are gone.
    after_path : bytes or None
        The walk goes on behind this directory.
    after_id : int
        In the second phase: directories up to this id were looked for.
    directories, lost : int
        Seen so far; files that are there no longer, less those that are new.
    refusal : str or None
        Why the last whole sweep has to change nothing.
    completed_at : datetime or None
        When a whole sweep last came to its end.
    """

    library_id: int
    phase: str = "walk"
    after_path: bytes | None = None
    after_id: int = 0
    directories: int = 0
    lost: int = 0
    refusal: str | None = None
    begun_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(slots=True)
class Candidate:
    """A directory that differs from what was last settled.

    Attributes
    ----------
    signature : bytes or None
        Of its entries at the last look; None when it is gone.
    shrinks : bool
        It has fewer files than it had.
    attempts : int
        Runs that were launched for this signature.
    found_at, changed_at : datetime
        When it was first noticed, and when it was first seen in this state.
    """

    library_id: int
    relative_path: bytes
    signature: bytes | None
    files: int
    shrinks: bool
    attempts: int
    found_at: datetime
    changed_at: datetime


def sweeps_in_turn(conn: Connection, libraries: Sequence[Library]) -> list[Sweep]:
    """Return the sweeps of libraries, the one that waited longest first; new ones are made."""
    if not libraries:
        return []
    ids = [library.id for library in libraries]
    conn.execute(insert(watch_sweeps).on_conflict_do_nothing(), [{"library_id": id_} for id_ in ids])
    columns = [watch_sweeps.c[name] for name in Sweep.__slots__]
    query = select(*columns).where(watch_sweeps.c.library_id == func.any(ids))
    rows = conn.execute(query.order_by(watch_sweeps.c.visited_at.nulls_first(), watch_sweeps.c.library_id))
    return [_sweep(row) for row in rows]


def _sweep(row: Any) -> Sweep:
    values = dict(row._mapping)
    values["after_path"] = None if values["after_path"] is None else bytes(values["after_path"])
    return Sweep(**values)


def save_sweep(conn: Connection, sweep: Sweep) -> None:
    """Write down where a sweep has got to."""
    values = {name: getattr(sweep, name) for name in Sweep.__slots__ if name != "library_id"}
    conn.execute(
        update(watch_sweeps)
        .where(watch_sweeps.c.library_id == sweep.library_id)
        .values(**values, visited_at=func.clock_timestamp())
    )


def refusals(conn: Connection) -> list[str]:
    """Return why libraries are left as they are."""
    query = select(watch_sweeps.c.refusal).where(watch_sweeps.c.refusal.is_not(None)).order_by(watch_sweeps.c.library_id)
    return list(conn.execute(query).scalars())


def candidates_of(conn: Connection, library_id: int, after: bytes | None, limit: int) -> list[Candidate]:
    """Return a page of a library's candidates; `after` is the last path of the page before."""
    columns = [watch_candidates.c[name] for name in Candidate.__slots__]
    query = select(*columns).where(watch_candidates.c.library_id == library_id)
    if after is not None:
        query = query.where(watch_candidates.c.path_digest > func.sha256(after))
    rows = conn.execute(query.order_by(watch_candidates.c.path_digest).limit(limit))
    return [_candidate(row) for row in rows]


def _candidate(row: Any) -> Candidate:
    values = dict(row._mapping)
    values["relative_path"] = bytes(values["relative_path"])
    values["signature"] = None if values["signature"] is None else bytes(values["signature"])
    return Candidate(**values)


def candidate_count(conn: Connection) -> int:
    """Return how many directories wait for a look or a run."""
    return int(conn.execute(select(func.count()).select_from(watch_candidates)).scalar_one())


def note_candidates(conn: Connection, library_id: int, seen: Sequence[tuple[bytes, bytes | None, int, bool]]) -> None:
    """Note directories that differ, as (path, signature or None, files, has fewer files); a state seen before keeps its time."""
    if not seen:
        return
    names = ("relative_path", "signature", "files", "shrinks")
    statement = insert(watch_candidates)
    new = statement.excluded
    same = watch_candidates.c.signature.is_not_distinct_from(new.signature)
    changed = {
        "signature": new.signature,
        "files": new.files,
        "shrinks": new.shrinks,
        "seen_at": func.now(),
        "changed_at": case((same, watch_candidates.c.changed_at), else_=func.now()),
        "attempts": case((same, watch_candidates.c.attempts), else_=0),
    }
    rows = [{"library_id": library_id, **dict(zip(names, row, strict=True))} for row in seen]
    conn.execute(statement.on_conflict_do_update(constraint="uq_watch_candidates_path", set_=changed), rows)


def forget_candidates(conn: Connection, library_id: int, paths: Iterable[bytes]) -> None:
    """Take directories off the list that are as they were settled."""
    paths = list(paths)
    if paths:
        conn.execute(
            delete(watch_candidates).where(
                watch_candidates.c.library_id == library_id, watch_candidates.c.path_digest == func.any(_digests(paths))
            )
        )


def count_attempts(conn: Connection, library_id: int, paths: Iterable[bytes]) -> None:
    """Note that a run was launched for directories."""
    paths = list(paths)
    if paths:
        conn.execute(
            update(watch_candidates)
            .where(watch_candidates.c.library_id == library_id, watch_candidates.c.path_digest == func.any(_digests(paths)))
            .values(attempts=watch_candidates.c.attempts + 1)
        )


def directories_at(conn: Connection, library_id: int, paths: Sequence[bytes]) -> dict[bytes, Directory]:
    """Return what is known of some directories, by path."""
    query = select(*COLUMNS).where(directories.c.library_id == library_id, directories.c.path_digest == func.any(_digests(paths)))
    return {found.relative_path: found for found in map(directory_of, conn.execute(query))}


def _digests(paths: Iterable[bytes]) -> list[bytes]:
    return [sha256(path).digest() for path in paths]


def known_after(conn: Connection, library_id: int, after_id: int, limit: int) -> list[Directory]:
    """Return a page of a library's directories that are not known to be gone, in the order of their ids."""
    query = select(*COLUMNS).where(
        directories.c.library_id == library_id, directories.c.id > after_id, directories.c.vanished_at.is_(None)
    )
    return [directory_of(row) for row in conn.execute(query.order_by(directories.c.id).limit(limit))]


def tracked_files(conn: Connection, library_id: int) -> int:
    """Return how many files of a library were there when its directories were last settled."""
    total = func.coalesce(func.sum(directories.c.ok_count + directories.c.failed_count), 0)
    query = select(total).where(directories.c.library_id == library_id, directories.c.vanished_at.is_(None))
    return int(conn.execute(query).scalar_one())


def ready_candidates(
    conn: Connection,
    library_ids: Sequence[int],
    settle_seconds: float,
    max_attempts: int,
    limit: int,
    busy_keys: Collection[str] = (),
) -> list[Candidate]:
    """Return candidates that a run may take and that none has in hand (`busy_keys`), those that waited longest first.

    Two looks have to agree on a state, `settle_seconds` apart. A directory that has lost files is taken only after a whole sweep
    that began no earlier than the loss was seen and was not refused: what is gone here may have moved there.
    """
    columns = [watch_candidates.c[name] for name in Candidate.__slots__]
    in_hand = exists().where(
        directories.c.library_id == watch_candidates.c.library_id,
        directories.c.path_digest == watch_candidates.c.path_digest,
        directories.c.partition_key == func.any(list(busy_keys)),
    )
    whole = (watch_sweeps.c.completed_at >= watch_candidates.c.changed_at) & watch_sweeps.c.refusal.is_(None)
    query = (
        select(*columns)
        .join(watch_sweeps, watch_sweeps.c.library_id == watch_candidates.c.library_id)
        .where(
            watch_candidates.c.library_id == func.any(list(library_ids)),
            watch_candidates.c.seen_at > watch_candidates.c.changed_at,
            watch_candidates.c.changed_at <= func.now() - timedelta(seconds=settle_seconds),
            watch_candidates.c.attempts < max_attempts,
            ~watch_candidates.c.shrinks | whole,
            ~in_hand,
        )
        .order_by(watch_candidates.c.library_id, watch_candidates.c.changed_at, watch_candidates.c.id)
        .limit(limit)
    )
    return [_candidate(row) for row in conn.execute(query)]


def given_up(conn: Connection, max_attempts: int) -> int:
    """Return how many directories no run could settle."""
    query = select(func.count()).where(watch_candidates.c.attempts >= max_attempts)
    return int(conn.execute(query).scalar_one())
