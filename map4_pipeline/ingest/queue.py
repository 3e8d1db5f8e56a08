"""The queue of files and folders that somebody asked for: which directories a run has to cover, and what became of each row."""

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection

from map4_pipeline.library.keys import escape_path, unescape_path
from map4_pipeline.settings import Settings
from map4_pipeline.store import queue, watching
from map4_pipeline.store.directories import Directory, directories_by_key, register_directories
from map4_pipeline.store.libraries import Library, all_libraries, local_root
from map4_pipeline.store.queue import Entry

#: Times a row is put back whose run was never launched.
_MAX_ATTEMPTS = 3
_UNFINISHED = "The run ended without having looked at it."


@dataclass(slots=True)
class Batch:
    """Rows that one run can settle: their ids, the partition keys of the directories they lie in, the requests they come from."""

    ids: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file or folder of the queue is."""

    library: Library
    relative_path: bytes
    is_folder: bool

    @property
    def directory(self) -> bytes:
        """The directory's path from the library's root on."""
        return self.relative_path if self.is_folder else os.path.dirname(self.relative_path)


def collect(conn: Connection, settings: Settings, busy_libraries: Collection[int], busy_keys: Collection[str]) -> Batch:
    """Return the most urgent rows that a run can take now; rows that no run can settle are finished with the reason.

    What runs are at work on is passed over, however much of the queue it is.
    """
    libraries = all_libraries(conn)
    roots = {library.id: (library.root, local_root(library, settings.path_map)) for library in libraries}
    at_work = [escape_path(root) for id_ in busy_libraries if id_ in roots for root in dict.fromkeys(roots[id_])]
    in_hand = [
        escape_path(directory.path(root))
        for directory in directories_by_key(conn, list(busy_keys))
        if directory.library_id in roots
        for root in dict.fromkeys(roots[directory.library_id])
    ]
    batch, after = Batch(), None
    # What the query lets pass is seldom refused here: only a path that is not written as MAP4 writes it.
    while not batch.ids and (page := queue.pending(conn, settings.chunk_directories, after, at_work, in_hand)):
        after = page[-1]
        batch = _choose(conn, settings, libraries, page, busy_libraries, busy_keys)
    return batch


def _choose(
    conn: Connection,
    settings: Settings,
    libraries: list[Library],
    page: list[Entry],
    busy_libraries: Collection[int],
    busy_keys: Collection[str],
) -> Batch:
    batch = Batch()
    places: dict[int, Place] = {}
    hopeless: dict[int, str | None] = {}
    for entry in page:
        place = find(entry.file_path, libraries, settings)
        if isinstance(place, str):
            hopeless[entry.id] = place
        elif place.library.id not in busy_libraries:
            places[entry.id] = place
    queue.finish(conn, hopeless)
    keys: dict[tuple[int, bytes], str] = {}
    for library in libraries:
        wanted = sorted({place.directory for place in places.values() if place.library.id == library.id})
        register_directories(conn, library, wanted)
        for path, directory in watching.directories_at(conn, library.id, wanted).items():
            keys[library.id, path] = directory.partition_key
    for id_, place in places.items():
        key = keys[place.library.id, place.directory]
        if key not in busy_keys:
            batch.ids.append(id_)
            batch.keys.append(key)
    batch.keys = list(dict.fromkeys(batch.keys))
    taken = set(batch.ids)
    batch.request_ids = list(dict.fromkeys(entry.request_id for entry in page if entry.id in taken and entry.request_id))
    return batch


def find(file_path: str, libraries: list[Library], settings: Settings) -> Place | str:
    """Return where a row's file or folder is, or why there is nothing to analyse."""
    try:
        path = os.path.normpath(unescape_path(file_path))
    except ValueError:  # written by another program
        return "This is no path as MAP4 writes it (a backslash is written twice)."
    for library in libraries:
        local = local_root(library, settings.path_map)
        for root in (local, library.root):
            if path == root or path.startswith(root.rstrip(b"/") + b"/"):
                relative = path[len(root.rstrip(b"/")) + 1 :]
                try:
                    # The root itself may be a link; what is below it may not (`library.walk`).
                    status = os.lstat(os.path.join(local, relative)) if relative else os.stat(local)
                except (OSError, ValueError) as error:
                    return f"There is nothing of this name: {getattr(error, 'strerror', error)}."
                return Place(library, relative, stat.S_ISDIR(status.st_mode))
    return "It lies in no registered library. `map4 ingest FOLDER` registers one."


def settle(conn: Connection, settings: Settings, batch: list[Entry], failure: str | None) -> None:
    """Write down what became of the rows of a batch whose run has ended; `failure` says why the run failed."""
    libraries = all_libraries(conn)
    errors: dict[int, str | None] = {}
    places: dict[int, Place] = {}
    for entry in batch:
        place = find(entry.file_path, libraries, settings)
        if isinstance(place, str):
            errors[entry.id] = place
        else:
            places[entry.id] = place
    for library in libraries:
        mine = {id_: place for id_, place in places.items() if place.library.id == library.id}
        folders = watching.directories_at(conn, library.id, [p.relative_path for p in mine.values() if p.is_folder])
        files = queue.fates_of_files(conn, library.id, [p.relative_path for p in mine.values() if not p.is_folder])
        unfinished = failure or _UNFINISHED
        for id_, place in mine.items():
            path = place.relative_path
            errors[id_] = _of_folder(folders.get(path), unfinished) if place.is_folder else _of_file(files.get(path), unfinished)
    queue.finish(conn, errors)


def fate_of_file(conn: Connection, place: Place) -> str | None:
    """Return why a file is no analysed track, None where it is one."""
    return _of_file(queue.fates_of_files(conn, place.library.id, [place.relative_path]).get(place.relative_path), _UNFINISHED)


def _of_folder(found: Directory | None, unfinished: str) -> str | None:
    if found is None or not found.settled:
        return unfinished
    return f"{found.failed_count} of its files failed; `map4 tracks --failed` says why." if found.failed_count else None


def _of_file(fate: tuple[str, str | None] | None, unfinished: str) -> str | None:
    status, message = fate or (None, None)
    if status in (None, "pending"):
        return unfinished
    return None if status == "ok" else message


def put_back(conn: Connection, batch: list[Entry]) -> None:
    """Let rows wait again whose run was never launched; after three times they fail."""
    hopeless = [entry.id for entry in batch if entry.attempts >= _MAX_ATTEMPTS]
    queue.finish(conn, dict.fromkeys(hopeless, "Its run could not be launched, three times."))
    queue.put_back(conn, str(batch[0].batch))
