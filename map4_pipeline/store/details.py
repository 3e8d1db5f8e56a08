"""One track with all that is known of it, as pages and programs show it; and hiding it."""

import os
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from map4_pipeline.store.cache import Cache
from map4_pipeline.store.libraries import all_libraries, local_root
from map4_pipeline.store.reads import ROW_VERSION, plain, read_track
from map4_pipeline.store.schema import libraries, tracks

_MORE = ("library_id", "album_artist", "composer", "track_number", "disc_number", "file_size", "bit_depth", "codec", "findings",
         "corrections", "ai_provider", "ai_analysis", "ai_analyzed_at", "hidden_at", "created_at", "analyzed_at",
         "loudness_range_lu")  # fmt: skip


def lock_track(conn: Connection, track_id: int) -> None:
    """Let nobody else change a track before the end of the transaction."""
    conn.execute(select(tracks.c.id).where(tracks.c.id == track_id).with_for_update())


def track_version(conn: Connection, track_id: int, library_ids: Collection[int] | None = None) -> str | None:
    """Return what every change of a track changes; None: there is none in these libraries (None: in any)."""
    query = select(ROW_VERSION).where(tracks.c.id == track_id)
    if library_ids is not None:
        query = query.where(tracks.c.library_id.in_(library_ids))
    version = conn.execute(query).scalar_one_or_none()
    return None if version is None else f"{track_id}-{version}"


def visible_ids(conn: Connection, ids: Collection[int], library_ids: Collection[int] | None = None) -> set[int]:
    """Return which of these tracks there are, in these libraries (None: in any)."""
    query = select(tracks.c.id).where(tracks.c.id == func.any(list(ids)))
    if library_ids is not None:
        query = query.where(tracks.c.library_id.in_(library_ids))
    return set(conn.scalars(query))


def track_detail(conn: Connection, cache: Cache, track_id: int) -> dict[str, Any] | None:
    """Return a track with its analysis, corrections, annotation and findings; None: there is none."""
    row = conn.execute(_DETAIL, {"track": track_id}).mappings().one_or_none()
    if row is None:
        return None
    shown = dict(row)
    found = read_track(conn, cache, track_id, (shown.pop("file_hash"), shown.pop("row_version")))
    return None if found is None else {**found, **plain(shown)}


_DETAIL = (
    select(
        *(tracks.c[name] for name in _MORE),
        libraries.c.name.label("library"),
        tracks.c.file_hash,
        ROW_VERSION.label("row_version"),
    )
    .join(libraries, libraries.c.id == tracks.c.library_id)
    .where(tracks.c.id == bindparam("track"))
)


def track_file(
    conn: Connection, track_id: int, path_map: str, library_ids: Collection[int] | None = None
) -> tuple[bytes, bytes] | None:
    """Return (root of its library, path of its file) of a track as this machine has them; None: there is none in these libraries.

    Parameters
    ----------
    path_map : str
        Setting `MAP4_PATH_MAP`.
    """
    query = select(tracks.c.library_id, tracks.c.relative_path).where(tracks.c.id == track_id)
    if library_ids is not None:
        query = query.where(tracks.c.library_id.in_(library_ids))
    row = conn.execute(query).one_or_none()
    library = None if row is None else next((one for one in all_libraries(conn) if one.id == row.library_id), None)
    if row is None or library is None:
        return None
    root = local_root(library, path_map)
    return root, os.path.join(root, bytes(row.relative_path))


def hide_track(conn: Connection, track_id: int) -> bool:
    """Hide a track from lists, searches, reports and exports; return whether it was to be seen. Its file stays."""
    statement = update(tracks).where(tracks.c.id == track_id, tracks.c.hidden_at.is_(None)).values(hidden_at=func.now())
    return bool(conn.execute(statement).rowcount)


def restore_track(conn: Connection, track_id: int) -> bool:
    """Show a hidden track again; return whether it was hidden."""
    statement = update(tracks).where(tracks.c.id == track_id, tracks.c.hidden_at.is_not(None)).values(hidden_at=None)
    return bool(conn.execute(statement).rowcount)
