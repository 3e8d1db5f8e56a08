"""Roots that are new: whether a folder is a library that was moved, and whether there is audio in it at all.

A renamed folder that is taken for a second library leaves corrections and playlists with paths that are dead; a mount point
without its disk, or a mistyped name, makes a library of nothing. Both are told before anything is registered.
"""

import os
import shlex
from collections.abc import Sequence

from sqlalchemy import Engine

from map4_pipeline.library.filesystem import root_state, system_message
from map4_pipeline.library.keys import escape_path
from map4_pipeline.library.walk import walk
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.libraries import Library, SampledFile, all_libraries, local_root, registered_path, sample_files

#: Of the files that are looked for in a new place, so many have to be there.
ENOUGH = 0.5


def check_new_root(engine: Engine, folder: str | os.PathLike[str], path_map: str) -> None:
    """Refuse a folder that is no library yet, and had better not become one as it is. One that is registered is not looked at.

    Raises
    ------
    StoreError
        When it holds the files of a library whose own root is gone, holds no audio, or cannot be opened.
    """
    root = os.path.realpath(os.fsencode(folder))
    with engine.connect() as conn:
        known = all_libraries(conn)
        if any(library.root == registered_path(root, path_map) for library in known):
            return
        away = [library for library in known if root_state(local_root(library, path_map)) in ("absent", "empty")]
        for library in away:
            sample = sample_files(conn, library)
            there = found_in(root, sample)
            if there and there >= ENOUGH * len(sample) and _may_be_the_same(root, sample):
                raise StoreError(_moved(library, root, there, len(sample), path_map))
    _require_audio(root)


def found_in(root: bytes, sample: Sequence[SampledFile]) -> int:
    """Return how many of a library's files are in a folder, by their relative paths."""
    return sum(os.path.lexists(os.path.join(root, path)) for path, _ in sample)


def _may_be_the_same(root: bytes, sample: Sequence[SampledFile]) -> bool:
    """Return whether a file has the size it had: names like `CD1/01.mp3` alone say little. Retagged files have other sizes."""
    compared = 0
    for path, size in sample:
        try:
            now = os.lstat(os.path.join(root, path)).st_size
        except OSError:
            continue
        if size is None or now == size:
            return True
        compared += 1
    return not compared


def _moved(library: Library, root: bytes, there: int, of: int, path_map: str) -> str:
    place, old = escape_path(root), escape_path(local_root(library, path_map))
    argument = shlex.quote(place)
    files = "its only file is" if of == 1 else f"{there} of {of} files that were looked for are"
    return (
        f"{place} holds the files of the library '{library.name}', which is no longer at {old} ({files} here). "
        f"Nothing was changed.\n"
        f"If it was moved or renamed, this keeps its corrections and playlists: map4 library relocate {library.slug} {argument}\n"
        f"If it is a copy, and the other one comes back: map4 ingest --new-library {argument}"
    )


def _require_audio(root: bytes) -> None:
    """Refuse a folder without audio; what cannot be looked into may hold some."""
    place = escape_path(root)
    others = 0
    try:
        for listing in walk(root):
            if listing.files or listing.unreadable:
                return
            others += len(listing.skipped)
    except OSError as error:
        raise StoreError(f"{place} cannot be opened: {system_message(error)}. Nothing was registered.") from None
    files = {0: "it is empty", 1: "1 other file"}.get(others, f"{others:,} other files")
    raise StoreError(
        f"There is no audio in {place} ({files}). Nothing was registered: is a disk not connected, or the name another?\n"
        f"If music is to come there, register it now all the same: map4 ingest --new-library {shlex.quote(place)}"
    )
