"""Tracks and skipped files as rows: what a scan compares with, what it writes, what an analysis fills in."""

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, bindparam, case, cast, delete, func, literal, null, select, text, update
from sqlalchemy.dialects.postgresql import insert

from map4_pipeline.library.keys import escape_path
from map4_pipeline.library.model import FileStat, FoundFile, SkippedFile
from map4_pipeline.store.schema import skipped_files, tracks

#: What a failed row of a folder that cannot be opened carries as `error_kind`.
UNREADABLE_FOLDER = "unreadable_folder"


@dataclass(frozen=True, slots=True)
class KnownTrack:
    """A track as it was last written, as far as a scan has to know it."""

    id: int
    relative_path: bytes
    stat: FileStat | None
    status: str
    missing: bool
    features_version: str | None
    fingerprint_version: str | None
    error_kind: str | None


@dataclass(frozen=True, slots=True)
class KnownSkip:
    """A skipped file as it was last written."""

    id: int
    relative_path: bytes
    reason: str
    stat: FileStat | None


@dataclass(frozen=True, slots=True)
class PendingTrack:
    """A track that waits for analysis. `fresh`: it was never analysed, so it may turn out to be a moved one."""

    id: int
    directory_id: int
    relative_path: bytes
    size: int
    stat: FileStat | None
    fresh: bool


@dataclass(slots=True)
class TrackResult:
    """What became of a pending track.

    Attributes
    ----------
    identity : dict
        Columns file_hash, audio_hash, audio_hash_kind, file_size.
    tags : dict
        Columns made from the file's tags.
    features, fingerprint : dict or None
        Columns of a stage, when there is a current result for it.
    error_kind, error_message : str or None
        When it failed.
    """

    track_id: int
    complete: bool = False
    identity: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, Any] = field(default_factory=dict)
    features: dict[str, Any] | None = None
    fingerprint: dict[str, Any] | None = None
    error_kind: str | None = None
    error_message: str | None = None


def _stat(size: int | None, mtime_ns: int | None, ctime_ns: int | None, inode: Any) -> FileStat | None:
    return None if mtime_ns is None else FileStat(size or 0, mtime_ns, ctime_ns or 0, int(inode or 0))


def _stat_columns(stat: FileStat) -> dict[str, int]:
    return {"mtime_ns": stat.mtime_ns, "ctime_ns": stat.ctime_ns, "inode": stat.inode}


def known_tracks(conn: Connection, directory_id: int, only: Collection[bytes] | None = None) -> dict[bytes, KnownTrack]:
    """Return a directory's tracks, missing ones too, by relative path; with `only` those of these paths."""
    t = tracks.c
    query = select(
        t.id,
        t.relative_path,
        t.file_size,
        t.mtime_ns,
        t.ctime_ns,
        t.inode,
        t.status,
        t.missing_since,
        t.features_version,
        t.fingerprint_version,
        t.error_kind,
    ).where(t.directory_id == directory_id, *_among(t, only))
    known = {}
    for id_, path, size, mtime, ctime, inode, status, missing_since, features, fingerprint, error_kind in conn.execute(query):
        relative = bytes(path)
        known[relative] = KnownTrack(
            id_,
            relative,
            _stat(size, mtime, ctime, inode),
            status,
            missing_since is not None,
            features,
            fingerprint,
            error_kind,
        )
    return known


def known_skips(conn: Connection, directory_id: int, only: Collection[bytes] | None = None) -> dict[bytes, KnownSkip]:
    """Return a directory's skipped files by relative path; with `only` those of these paths."""
    s = skipped_files.c
    columns = (s.id, s.relative_path, s.reason, s.size, s.mtime_ns, s.ctime_ns, s.inode)
    query = select(*columns).where(s.directory_id == directory_id, *_among(s, only))
    return {
        bytes(path): KnownSkip(id_, bytes(path), reason, _stat(size, mtime, ctime, inode))
        for id_, path, reason, size, mtime, ctime, inode in conn.execute(query)
    }


def _among(columns: Any, paths: Collection[bytes] | None) -> tuple[ColumnElement[bool], ...]:
    """Return the condition that a row's file is one of these; None: any."""
    return () if paths is None else (columns.path_digest == func.any([sha256(path).digest() for path in paths]),)


def _place(library_id: int, directory_id: int, root: bytes, relative_path: bytes) -> dict[str, Any]:
    return {
        "library_id": library_id,
        "directory_id": directory_id,
        "relative_path": relative_path,
        "file_path": escape_path(os.path.join(root, relative_path)),
    }


def insert_pending(
    conn: Connection, library_id: int, directory_id: int, root: bytes, files: Iterable[tuple[bytes, FoundFile]]
) -> None:
    """Insert files that are new, as pending tracks. `files`: (relative path, file)."""
    rows = [
        {
            **_place(library_id, directory_id, root, path),
            "file_name": escape_path(file.name),
            "file_size": file.stat.size,
            **_stat_columns(file.stat),
            "status": "pending",
        }
        for path, file in files
    ]
    if rows:
        statement = insert(tracks)
        again = {
            name: statement.excluded[name] for name in ("directory_id", "file_size", "mtime_ns", "ctime_ns", "inode", "status")
        }
        conn.execute(
            statement.on_conflict_do_update(
                index_elements=["library_id", "path_digest"], set_={**again, "file_hash": None, "missing_since": None}
            ),
            rows,
        )


def mark_changed(conn: Connection, files: Iterable[tuple[int, FileStat]]) -> None:
    """Set tracks to pending whose file changed; what was measured stays until the new content is known."""
    rows = [
        {"row": id_, "size": stat.size, "mtime": stat.mtime_ns, "ctime": stat.ctime_ns, "node": stat.inode} for id_, stat in files
    ]
    if rows:
        conn.execute(
            update(tracks)
            .where(tracks.c.id == bindparam("row"))
            .values(
                status="pending",
                missing_since=None,
                file_hash=None,
                file_size=bindparam("size"),
                mtime_ns=bindparam("mtime"),
                ctime_ns=bindparam("ctime"),
                inode=bindparam("node"),
            ),
            rows,
        )


def mark_pending(conn: Connection, track_ids: Sequence[int]) -> None:
    """Set tracks to pending whose analysis is out of date."""
    if track_ids:
        conn.execute(update(tracks).where(tracks.c.id == func.any(list(track_ids))).values(status="pending"))


def mark_returned(conn: Connection, track_ids: Sequence[int]) -> None:
    """Clear `missing_since` of tracks whose file is there again, unchanged."""
    if track_ids:
        conn.execute(update(tracks).where(tracks.c.id == func.any(list(track_ids))).values(missing_since=None))


def mark_missing(conn: Connection, track_ids: Sequence[int]) -> None:
    """Mark tracks whose file is gone. Nothing is deleted."""
    if track_ids:
        conn.execute(
            update(tracks)
            .where(tracks.c.id == func.any(list(track_ids)))
            .values(missing_since=func.coalesce(tracks.c.missing_since, func.now()))
        )


def delete_rows(conn: Connection, track_ids: Sequence[int]) -> None:
    """Delete rows that never were tracks: a folder that could not be opened, a file that turned out to be a moved track."""
    if track_ids:
        conn.execute(delete(tracks).where(tracks.c.id == func.any(list(track_ids))))


def record_unreadable(
    conn: Connection, library_id: int, directory_id: int, root: bytes, entries: Iterable[tuple[bytes, str, bool]]
) -> None:
    """Write failed rows for entries that could not be looked at. `entries`: (relative path, message, is a folder)."""
    rows = [
        {
            **_place(library_id, directory_id, root, path),
            "file_name": escape_path(os.path.basename(path)),
            "status": "failed",
            "error_kind": UNREADABLE_FOLDER if is_directory else "unreadable",
            "error_message": message,
        }
        for path, message, is_directory in entries
    ]
    if rows:
        statement = insert(tracks)
        again = {name: statement.excluded[name] for name in ("status", "error_kind", "error_message")}
        again_there = {**again, "missing_since": None}
        conn.execute(statement.on_conflict_do_update(index_elements=["library_id", "path_digest"], set_=again_there), rows)


def record_skips(
    conn: Connection, library_id: int, directory_id: int, root: bytes, files: Iterable[tuple[bytes, SkippedFile]]
) -> None:
    """Write skipped files with their reasons."""
    rows = [
        {
            **_place(library_id, directory_id, root, path),
            "reason": file.reason,
            "detail": file.detail,
            "size": file.stat.size,
            **_stat_columns(file.stat),
        }
        for path, file in files
    ]
    if rows:
        statement = insert(skipped_files)
        again = {
            name: statement.excluded[name]
            for name in ("directory_id", "reason", "detail", "size", "mtime_ns", "ctime_ns", "inode")
        }
        conn.execute(
            statement.on_conflict_do_update(
                index_elements=["library_id", "path_digest"], set_={**again, "last_seen_at": func.now()}
            ),
            rows,
        )


def forget_skips(conn: Connection, skip_ids: Sequence[int]) -> None:
    """Delete rows of skipped files that are gone or are no longer skipped."""
    if skip_ids:
        conn.execute(delete(skipped_files).where(skipped_files.c.id == func.any(list(skip_ids))))


def pending_tracks(
    conn: Connection, directory_id: int, after_id: int = 0, limit: int = 500, only: Collection[bytes] | None = None
) -> list[PendingTrack]:
    """Return the next pending tracks of a directory by id, so that memory does not depend on the directory's size.

    Parameters
    ----------
    only : collection of bytes, optional
        Relative paths; other tracks are left out.
    """
    t = tracks.c
    query = (
        select(t.id, t.directory_id, t.relative_path, t.file_size, t.mtime_ns, t.ctime_ns, t.inode, t.features_version)
        .where(
            t.directory_id == directory_id, t.status == "pending", t.missing_since.is_(None), t.id > after_id, *_among(t, only)
        )
        .order_by(t.id)
        .limit(limit)
    )
    return [
        PendingTrack(id_, directory, bytes(path), size or 0, _stat(size, mtime, ctime, inode), features is None)
        for id_, directory, path, size, mtime, ctime, inode, features in conn.execute(query)
    ]


def pending_totals(conn: Connection, directory_ids: Sequence[int]) -> tuple[int, int]:
    """Return (files, bytes) that wait for analysis in some directories."""
    query = select(func.count(), func.coalesce(func.sum(tracks.c.file_size), 0)).where(
        tracks.c.directory_id == func.any(list(directory_ids)),
        tracks.c.status == "pending",
        tracks.c.missing_since.is_(None),
    )
    count, size = conn.execute(query).one()
    return int(count), int(size)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An earlier track with the same audio, whose file may be gone."""

    id: int
    audio_hash: str
    file_hash: str | None
    library_id: int
    relative_path: bytes
    missing: bool


def same_audio(conn: Connection, audio_hashes: Sequence[str]) -> list[Candidate]:
    """Return the analysed tracks with these contents, oldest first."""
    if not audio_hashes:
        return []
    t = tracks.c
    query = (
        select(t.id, t.audio_hash, t.file_hash, t.library_id, t.relative_path, t.missing_since)
        .where(t.audio_hash == func.any(list(audio_hashes)), t.features_version.is_not(None))
        .order_by(t.id)
    )
    return [
        Candidate(id_, audio_hash, file_hash, library_id, bytes(path), missing_since is not None)
        for id_, audio_hash, file_hash, library_id, path, missing_since in conn.execute(query)
    ]


def move_track(conn: Connection, moved_id: int, pending_id: int) -> int | None:
    """Give a track whose file moved the place of the pending row that its file was found under.

    The pending row goes; the moved track keeps its id, its playlists and what a user corrected. Where it was forgotten
    meanwhile (`libraries.forget_missing`), nothing changes: the pending row waits for the next run.

    Returns
    -------
    int or None
        The directory in which the track was missed, if it was.
    """
    place = (
        "library_id",
        "directory_id",
        "relative_path",
        "file_path",
        "file_name",
        "file_size",
        "mtime_ns",
        "ctime_ns",
        "inode",
    )
    moved = select(tracks.c.directory_id, tracks.c.missing_since).where(tracks.c.id == moved_id).with_for_update()
    there = conn.execute(moved).first()
    if there is None:
        return None
    row = conn.execute(delete(tracks).where(tracks.c.id == pending_id).returning(*(tracks.c[name] for name in place))).one()
    conn.execute(
        update(tracks)
        .where(tracks.c.id == moved_id)
        .values(status="pending", missing_since=None, file_hash=None, **dict(zip(place, row, strict=True)))
    )
    return None if there.missing_since is None else int(there.directory_id)


_IDENTITY_COLUMNS = ("file_hash", "audio_hash", "audio_hash_kind")
_TAG_COLUMNS = (
    "title",
    "artist",
    "album",
    "album_artist",
    "composer",
    "genre",
    "year",
    "track_number",
    "disc_number",
    "tags_bpm",
    "tags_key",
    "tags_camelot",
    "tags",
)
#: Columns that a correction may cover: what the file says is kept beside it.
CORRECTABLE_TAGS = ("title", "artist", "album", "album_artist", "composer", "genre", "year", "track_number", "disc_number")
CORRECTABLE_FEATURES = ("bpm", "bpm_confidence", "key", "camelot", "key_confidence", "energy")
#: Columns by the names in a payload's parts `technical` and `features`.
TECHNICAL_COLUMNS = ("duration", "sample_rate", "bit_rate", "channels", "codec", "container", "bit_depth")
MEASURED_COLUMNS = (
    "bpm",
    "bpm_confidence",
    "bpm_alternatives",
    "key",
    "camelot",
    "key_confidence",
    "key_alternatives",
    "energy",
    "loudness_lufs",
    "loudness_range_lu",
    "true_peak_dbtp",
    "null_reasons",
    "findings",
)
_FEATURE_COLUMNS = (*TECHNICAL_COLUMNS, *MEASURED_COLUMNS, "features_version")
_FINGERPRINT_COLUMNS = ("chromaprint_fp", "spectral_hash", "fingerprint_version")


def _update_many(conn: Connection, names: Sequence[str], rows: list[dict[str, Any]], **fixed: Any) -> None:
    if rows:
        values = {name: bindparam(f"v_{name}", type_=tracks.c[name].type) for name in names}
        conn.execute(update(tracks).where(tracks.c.id == bindparam("row")).values(**values, **fixed), rows)


def _with_originals(names: Sequence[str], *, none: bool = False) -> ColumnElement[Any]:
    """Return a track's corrections, knowing what would stand in these columns without them (`store.corrections`).

    That is what the statement writes, or nothing with `none`.
    """
    pairs: list[Any] = []
    for name in names:
        kind = tracks.c[name].type
        pairs += [literal(name, Text), null() if none else cast(bindparam(f"v_{name}", type_=kind), kind)]
    corrections = tracks.c.corrections
    return case(
        (corrections == text("'{}'::jsonb"), corrections),
        else_=func.map4_with_originals(corrections, func.jsonb_build_object(*pairs)),
    )


def _rows(results: Iterable[tuple[int, dict[str, Any]]], names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"row": id_, **{f"v_{name}": columns.get(name) for name in names}} for id_, columns in results]


def save_results(conn: Connection, results: Sequence[TrackResult], failed_version: str) -> None:
    """Write what became of tracks: a handful of statements, whatever their number.

    Parameters
    ----------
    failed_version : str
        Version of the engine that judged failed files; another version tries them again.
    """
    identified = [(r.track_id, r.identity) for r in results if r.identity]
    _update_many(conn, _IDENTITY_COLUMNS, _rows(identified, _IDENTITY_COLUMNS))
    tagged = [(r.track_id, r.tags) for r in results if r.tags]
    _update_many(conn, _TAG_COLUMNS, _rows(tagged, _TAG_COLUMNS), corrections=_with_originals(CORRECTABLE_TAGS))
    # A vector belongs to the features it was made from.
    features = [(r.track_id, r.features) for r in results if r.features is not None]
    _update_many(
        conn,
        _FEATURE_COLUMNS,
        _rows(features, _FEATURE_COLUMNS),
        analyzed_at=func.now(),
        corrections=_with_originals(CORRECTABLE_FEATURES),
        hamms_vector=None,
        hamms_confidence=None,
        hamms_version=None,
    )
    fingerprints = [(r.track_id, r.fingerprint) for r in results if r.fingerprint is not None]
    rows = _rows(fingerprints, _FINGERPRINT_COLUMNS)
    for row, (_, columns) in zip(rows, fingerprints, strict=True):
        row["reasons"] = columns.get("null_reasons", {})
    reasons = tracks.c.null_reasons.op("||")(bindparam("reasons", type_=tracks.c.null_reasons.type))
    _update_many(conn, _FINGERPRINT_COLUMNS, rows, null_reasons=reasons)
    complete = [r.track_id for r in results if r.complete]
    if complete:
        conn.execute(
            update(tracks)
            .where(tracks.c.id == func.any(complete))
            .values(status="ok", error_kind=None, error_message=None, attempts=0)
        )
    failed = [
        {"row": r.track_id, "v_error_kind": r.error_kind, "v_error_message": r.error_message}
        for r in results
        if r.error_kind is not None
    ]
    # A file that failed has no values: those of an earlier content would be a lie.
    nothing: dict[str, Any] = {
        name: None for name in (*_FEATURE_COLUMNS, *_FINGERPRINT_COLUMNS) if name not in ("null_reasons", "findings")
    }
    nothing.update(corrections=_with_originals(CORRECTABLE_FEATURES, none=True))
    nothing.update(features_version=failed_version, hamms_vector=None, hamms_confidence=None, hamms_version=None)
    nothing.update(null_reasons={}, findings=[], status="failed", attempts=tracks.c.attempts + 1)
    _update_many(conn, ("error_kind", "error_message"), failed, **nothing)
