"""Library roots: register, list, find. A root has a name and a slug; nested roots are refused."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from map4_pipeline.library.keys import escape_path, slugify
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.playlists import close_gaps
from map4_pipeline.store.schema import directories, libraries, playlist_tracks, scans, skipped_files, tracks

#: A file's relative path, and its size where that is known.
SampledFile = tuple[bytes, int | None]


@dataclass(frozen=True, slots=True)
class Library:
    """A registered root. `root` is the absolute path as bytes on the machine that registered it."""

    id: int
    slug: str
    name: str
    root: bytes
    watched: bool

    @property
    def root_text(self) -> str:
        """The root for people, escaped without loss."""
        return escape_path(self.root)


def _library(row: Sequence[Any]) -> Library:
    id_, slug, name, root, watched = row
    return Library(id_, slug, name, bytes(root), watched)


_COLUMNS = (libraries.c.id, libraries.c.slug, libraries.c.name, libraries.c.root, libraries.c.watched)


def all_libraries(conn: Connection) -> list[Library]:
    """Return every registered library in the order of registration."""
    return [_library(row) for row in conn.execute(select(*_COLUMNS).order_by(libraries.c.id))]


def register_library(
    conn: Connection, root: str | os.PathLike[str], name: str | None = None, path_map: str = "", *, new: bool = True
) -> Library:
    """Return the library of this root, made when there is none yet.

    Parameters
    ----------
    root : path
        An existing folder; links in it are resolved, so that one folder is one library.
    name : str, optional
        For people; the folder's name when not given.
    path_map : str
        The setting `MAP4_PATH_MAP`: `root` is a path of this machine.
    new : bool
        False: only a library that there is already is given.

    Raises
    ------
    StoreError
        When the root lies inside a registered library or contains one, or there is no such library and none may be made.
    """
    path = registered_path(os.path.realpath(os.fsencode(root)), path_map)
    known = all_libraries(conn)
    for library in known:
        if library.root == path:
            return library
    if not new:
        raise StoreError(f"{escape_path(os.fsencode(root))} does not exist, and no library is registered there.")
    for library in known:
        _refuse_nesting(path, library)
    title = name or escape_path(os.path.basename(path)) or "root"
    slug = slugify(title)
    taken = {library.slug for library in known}
    number = 2
    candidate = slug
    while candidate in taken:
        candidate = f"{slug}-{number}"
        number += 1
    statement = (
        insert(libraries)
        .values(slug=candidate, name=title, root=path, root_text=escape_path(path))
        .on_conflict_do_nothing()
        .returning(*_COLUMNS)
    )
    row = conn.execute(statement).first()
    if row is None:  # another process registered it in this moment
        return next(library for library in all_libraries(conn) if library.root == path)
    return _library(row)


def _refuse_nesting(path: bytes, library: Library) -> None:
    inner, outer = sorted((library.root, path), key=len, reverse=True)
    if inner.startswith(outer.rstrip(b"/") + b"/"):
        relation = "lies inside" if inner == path else "contains"
        raise StoreError(
            f"{escape_path(path)} {relation} the library '{library.name}' ({library.root_text}). "
            "Libraries may not be nested, or files would be counted twice: ingest the outer folder only."
        )


def library_by_slug(conn: Connection, slug: str) -> Library:
    """Return a library.

    Raises
    ------
    StoreError
        When there is none of this slug; the text names those there are.
    """
    known = all_libraries(conn)
    for library in known:
        if library.slug == slug:
            return library
    there = ", ".join(library.slug for library in known) or "none is registered yet"
    raise StoreError(f"There is no library '{slug}'. Libraries: {there}.")


def relocate_library(conn: Connection, library: Library, root: str | os.PathLike[str], path_map: str = "") -> Library:
    """Give a library another root: the same folders and files now lie there. Tracks, keys and analyses stay.

    Raises
    ------
    StoreError
        When the new root is another library's, lies inside one or contains one.
    """
    path = registered_path(os.path.realpath(os.fsencode(root)), path_map)
    for other in all_libraries(conn):
        if other.id == library.id:
            continue
        if other.root == path:
            raise StoreError(
                f"{escape_path(path)} is the root of the library '{other.name}' already. If that one came about by mistake, "
                f"`map4 library remove {other.slug}` forgets it (no file is touched); then relocate '{library.name}' again."
            )
        _refuse_nesting(path, other)
    statement = update(libraries).where(libraries.c.id == library.id).values(root=path, root_text=escape_path(path))
    row = conn.execute(statement.returning(*_COLUMNS)).one()
    for table in (tracks, skipped_files):
        _rewrite_paths(conn, table, library.id, path)
    return _library(row)


def _rewrite_paths(conn: Connection, table: Table, library_id: int, root: bytes) -> None:
    """Derive `file_path` anew from root and relative path; it is no SQL expression, because the escaping is ours."""
    after = 0
    place = bindparam("path", type_=table.c.file_path.type)
    while True:
        query = select(table.c.id, table.c.relative_path).where(table.c.library_id == library_id, table.c.id > after)
        rows = conn.execute(query.order_by(table.c.id).limit(5000)).all()
        if not rows:
            return
        after = rows[-1][0]
        changes = [{"row": id_, "path": escape_path(os.path.join(root, bytes(relative)))} for id_, relative in rows]
        conn.execute(update(table).where(table.c.id == bindparam("row")).values(file_path=place), changes)


def set_watched(conn: Connection, library: Library, watched: bool) -> None:
    """Let the sensor look at a library, or not."""
    conn.execute(update(libraries).where(libraries.c.id == library.id).values(watched=watched))


def library_size(conn: Connection, library: Library) -> tuple[int, int]:
    """Return how many tracks a library has, and how many places in playlists they hold."""
    mine = tracks.c.library_id == library.id
    count = conn.execute(select(func.count()).select_from(tracks).where(mine)).scalar_one()
    listed = select(func.count()).select_from(playlist_tracks.join(tracks, tracks.c.id == playlist_tracks.c.track_id))
    return int(count), int(conn.execute(listed.where(mine)).scalar_one())


def remove_library(conn: Connection, library: Library) -> None:
    """Forget a library: its rows go, its files stay as they are, and so do the analyses of what is in them."""
    for table in (scans, skipped_files):
        conn.execute(delete(table).where(table.c.library_id == library.id))
    _forget(conn, [tracks.c.library_id == library.id])
    conn.execute(delete(directories).where(directories.c.library_id == library.id))
    conn.execute(delete(libraries).where(libraries.c.id == library.id))


@dataclass(frozen=True, slots=True)
class Missing:
    """Tracks whose files are gone: how many, those of them that a user corrected, and the places they hold in playlists."""

    tracks: int
    corrected: int
    places: int


def count_missing(conn: Connection, days: float, library: Library | None = None) -> Missing:
    """Count the tracks, of one library or all, whose files have been gone for so many days or longer."""
    gone = _missing_for(days, library)
    counts = select(func.count(), func.count().filter(tracks.c.corrections != {})).select_from(tracks).where(*gone)
    count, corrected = conn.execute(counts).one()
    listed = select(func.count()).select_from(playlist_tracks.join(tracks, tracks.c.id == playlist_tracks.c.track_id))
    return Missing(int(count), int(corrected), int(conn.execute(listed.where(*gone)).scalar_one()))


def forget_missing(conn: Connection, days: float, library: Library | None = None) -> int:
    """Delete the rows of tracks whose files have been gone for so many days or longer, and return how many they were.

    Their places in playlists and their corrections go with them; the analyses of what was in the files stay.
    """
    return _forget(conn, _missing_for(days, library))


def _forget(conn: Connection, which: Sequence[ColumnElement[bool]]) -> int:
    """Delete rows of tracks, and return how many; in playlists, the others move up."""
    listed = select(playlist_tracks.c.playlist_id).join(tracks, tracks.c.id == playlist_tracks.c.track_id)
    lists = conn.scalars(listed.where(*which).distinct()).all()
    count = conn.execute(delete(tracks).where(*which)).rowcount
    close_gaps(conn, lists)
    return count


def _missing_for(days: float, library: Library | None) -> list[ColumnElement[bool]]:
    gone = [tracks.c.missing_since <= func.now() - timedelta(days=days)]
    return gone if library is None else [*gone, tracks.c.library_id == library.id]


def sample_files(conn: Connection, library: Library, limit: int = 20) -> list[SampledFile]:
    """Return relative path and size of some files of a library that were there at the last scan."""
    query = (
        select(tracks.c.relative_path, tracks.c.file_size)
        .where(tracks.c.library_id == library.id, tracks.c.missing_since.is_(None), tracks.c.status == "ok")
        .order_by(tracks.c.path_digest)
        .limit(limit)
    )
    return [(bytes(path), size) for path, size in conn.execute(query)]


def local_root(library: Library, path_map: str) -> bytes:
    """Return where the library's root is on this machine.

    Parameters
    ----------
    path_map : str
        `here` for each registered prefix: `/home/me/Music=/music;/other=/mnt/other` (setting `MAP4_PATH_MAP`).
    """
    for prefix, here in _pairs(path_map):
        if _is_below(library.root, prefix):
            return here + library.root[len(prefix) :]
    return library.root


def registered_path(path: bytes, path_map: str) -> bytes:
    """Return under which path a folder of this machine is registered: `local_root` the other way round."""
    for prefix, here in _pairs(path_map):
        if _is_below(path, here):
            return prefix + path[len(here) :]
    return path


def _is_below(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder + b"/")


def _pairs(path_map: str) -> Iterator[tuple[bytes, bytes]]:
    for pair in filter(None, (part.strip() for part in path_map.split(";"))):
        registered, separator, here = pair.partition("=")
        if not separator:
            raise StoreError(f"MAP4_PATH_MAP: '{pair}' is not of the form registered=here")
        yield os.fsencode(registered.rstrip("/")), os.fsencode(here.rstrip("/"))
