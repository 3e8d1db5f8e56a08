"""The track that somebody means: by id, by its file, or by a search that finds it and no other."""

import os
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, select

from map4_pipeline.store.libraries import all_libraries, local_root
from map4_pipeline.store.listing import NAMES
from map4_pipeline.store.query import parse_query
from map4_pipeline.store.schema import tracks
from map4_pipeline.store.search import search

#: Of the tracks that a name may mean, so many are told.
SHOWN = 10


def candidates(conn: Connection, name: str, path_map: str = "") -> list[dict[str, Any]]:
    """Return the tracks that a name may mean, with the names of `store.listing`: one when it is plain, none when it means none.

    Parameters
    ----------
    name : str
        A track's id, the path of its file (absolute or from the working directory), or a query of `map4 search`.
    path_map : str
        Setting `MAP4_PATH_MAP`.

    Raises
    ------
    QueryError
        When it is no id, no file and no query either.
    """
    clean = name.strip()
    if clean.isdecimal() and len(clean) <= 18:
        found = _rows(conn, tracks.c.id == int(clean))
        if found:
            return found
    path = os.path.abspath(os.fsencode(name))
    if os.sep in name or os.path.lexists(path):
        found = _by_path(conn, path, path_map)
        if found or os.path.isabs(name):
            return found
    return search(conn, parse_query(name), SHOWN + 1).rows


def _by_path(conn: Connection, path: bytes, path_map: str) -> list[dict[str, Any]]:
    # A link on the way to the file, or to the library, is another name of the same place.
    spellings = {path, os.path.realpath(path)}
    for library in all_libraries(conn):
        here = local_root(library, path_map)
        for root in {library.root, here, os.path.realpath(here)}:
            for spelling in spellings:
                if spelling.startswith(root.rstrip(b"/") + b"/"):
                    relative = spelling[len(root.rstrip(b"/")) + 1 :]
                    found = _rows(conn, tracks.c.library_id == library.id, tracks.c.path_digest == sha256(relative).digest())
                    if found:
                        return found
    return []


def _rows(conn: Connection, *conditions: Any) -> list[dict[str, Any]]:
    statement = select(*(column.label(name) for name, column in NAMES.items())).where(*conditions)
    return [dict(row._mapping) for row in conn.execute(statement.limit(2))]
