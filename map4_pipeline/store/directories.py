"""Directories: what a library's folders were when they were last settled, and their partition keys."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from map4_pipeline.library.keys import escape_path, partition_key
from map4_pipeline.store.libraries import Library
from map4_pipeline.store.schema import directories


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory as it was last seen.

    Attributes
    ----------
    relative_path : bytes
        From the library's root, `b""` for the root.
    signature : bytes or None
        Of its entries when it was last scanned.
    versions : str or None
        Analysis versions that its tracks have.
    settled : bool
        Every stage went over what the last scan found.
    ok_count, failed_count, skipped_count : int
        Its files as of then.
    vanished : bool
        It was not there at the last scan.
    """

    id: int
    library_id: int
    relative_path: bytes
    partition_key: str
    signature: bytes | None
    versions: str | None
    settled: bool
    ok_count: int
    failed_count: int
    skipped_count: int
    vanished: bool

    def path(self, root: bytes) -> bytes:
        """Return the absolute path below a root."""
        return os.path.join(root, self.relative_path) if self.relative_path else root


#: What `directory_of` reads, in its order.
COLUMNS = (
    directories.c.id,
    directories.c.library_id,
    directories.c.relative_path,
    directories.c.partition_key,
    directories.c.signature,
    directories.c.versions,
    directories.c.settled_at,
    directories.c.ok_count,
    directories.c.failed_count,
    directories.c.skipped_count,
    directories.c.vanished_at,
)


def directory_of(row: Sequence[Any]) -> Directory:
    """Return a directory from a row of `COLUMNS`."""
    id_, library_id, path, key, signature, versions, settled_at, ok, failed, skipped, vanished_at = row
    return Directory(
        id_,
        library_id,
        bytes(path),
        key,
        bytes(signature) if signature is not None else None,
        versions,
        settled_at is not None,
        ok,
        failed,
        skipped,
        vanished_at is not None,
    )


def directories_of(conn: Connection, library_id: int) -> dict[bytes, Directory]:
    """Return a library's directories by relative path (about 0.5 kB each in memory)."""
    rows = conn.execute(select(*COLUMNS).where(directories.c.library_id == library_id))
    return {directory.relative_path: directory for directory in map(directory_of, rows)}


def directories_by_key(conn: Connection, keys: Sequence[str]) -> list[Directory]:
    """Return the directories of partition keys, in the order of the keys; unknown keys are left out."""
    rows = conn.execute(select(*COLUMNS).where(directories.c.partition_key == func.any(list(keys))))
    found = {directory.partition_key: directory for directory in map(directory_of, rows)}
    return [found[key] for key in keys if key in found]


def register_directories(conn: Connection, library: Library, paths: Iterable[bytes]) -> None:
    """Insert directories that are not known yet; known ones stay as they are."""
    rows = [
        {
            "library_id": library.id,
            "relative_path": path,
            "path_text": escape_path(path) or ".",
            "partition_key": partition_key(library.slug, library.id, path),
        }
        for path in paths
    ]
    if rows:
        conn.execute(insert(directories).on_conflict_do_nothing(), rows)


def partition_keys_in_order(conn: Connection) -> list[str]:
    """Return every registered key, sorted as they are handed to Dagster: by library, then by path."""
    order = (directories.c.library_id, directories.c.relative_path)
    return list(conn.execute(select(directories.c.partition_key).order_by(*order)).scalars())


def record_scanned(conn: Connection, directory_id: int, signature: bytes | None, size_bytes: int) -> None:
    """Note that a directory was scanned and is not settled yet. `signature` None: it is gone."""
    conn.execute(
        update(directories)
        .where(directories.c.id == directory_id)
        .values(
            signature=signature,
            size_bytes=size_bytes,
            settled_at=None,
            last_seen_at=func.now() if signature is not None else directories.c.last_seen_at,
            vanished_at=None if signature is not None else func.coalesce(directories.c.vanished_at, func.now()),
        )
    )


def unsettle(conn: Connection, directory_id: int) -> None:
    """Note that a file of a directory waits for its analysis: should that not come to an end, the next look goes over it all."""
    conn.execute(update(directories).where(directories.c.id == directory_id).values(settled_at=None))


_SETTLE = text(
    """
    WITH state AS (
        SELECT d.id,
               count(t.id) FILTER (WHERE t.missing_since IS NULL AND t.status = 'ok') AS ok,
               count(t.id) FILTER (WHERE t.missing_since IS NULL AND t.status = 'failed') AS failed,
               count(t.id) FILTER (WHERE t.missing_since IS NULL AND (t.status = 'pending'
                   OR (t.status = 'ok' AND t.hamms_version IS DISTINCT FROM :hamms))) AS open
        FROM directories d LEFT JOIN tracks t ON t.directory_id = d.id
        WHERE d.id = ANY(:ids)
        GROUP BY d.id
    )
    UPDATE directories d
    SET settled_at = now(), versions = :versions, ok_count = state.ok, failed_count = state.failed,
        skipped_count = (SELECT count(*) FROM skipped_files s WHERE s.directory_id = d.id)
    FROM state
    WHERE state.id = d.id AND state.open = 0
    RETURNING d.id
    """
)

#: A file that another process analysed while we waited for its directory is still pending in our ledger.
_CLAIM_LEFTOVERS = text(
    """
    UPDATE scan_directories s
    SET failed = s.failed + o.failed, skipped = s.skipped + o.skipped,
        reused = s.reused + s.pending - o.failed - o.skipped, pending = 0
    FROM (
        SELECT l.scan_id, l.directory_id, f.failed,
               LEAST(l.pending - f.failed, GREATEST(d.skipped_count - l.skipped, 0)) AS skipped
        FROM scan_directories l
        JOIN directories d ON d.id = l.directory_id
        CROSS JOIN LATERAL (SELECT LEAST(l.pending, GREATEST(d.failed_count - l.failed, 0)) AS failed) f
        WHERE d.id = ANY(:ids) AND l.scan_id = ANY(:scans) AND l.pending > 0
    ) o
    WHERE s.scan_id = o.scan_id AND s.directory_id = o.directory_id
    """
)


def settle_directories(conn: Connection, directory_ids: Sequence[int], hamms: str, versions: str, scan_ids: Sequence[int]) -> int:
    """Mark directories as settled where nothing is pending, with the counts of their files; return how many."""
    parameters = {"ids": list(directory_ids), "hamms": hamms, "versions": versions}
    settled = list(conn.execute(_SETTLE, parameters).scalars())
    if settled and scan_ids:
        conn.execute(_CLAIM_LEFTOVERS, {"ids": settled, "scans": list(scan_ids)})
    return len(settled)
