"""Look at the first new files while whoever executes the run still starts up.

Loading Dagster and creating a run take a second or two, in which the workers would wait. What is found is only handed to a run
while the file is still the one that was looked at: same size, same times.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import TYPE_CHECKING, Any

from map4_pipeline.ingest.classify import classify
from map4_pipeline.ingest.versions import stage_keys
from map4_pipeline.ingest.worker import analyse_file, identify_file
from map4_pipeline.library.model import FileStat
from map4_pipeline.library.walk import list_directory
from map4_pipeline.settings import settings
from map4_pipeline.store import tracks as store
from map4_pipeline.store.analyses import find_analyses
from map4_pipeline.store.controls import is_paused

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from map4_pipeline.ingest.pool import WorkerPool
    from map4_pipeline.ingest.session import Session

_log = logging.getLogger(__name__)
#: Directories in which new files are looked for.
_DIRECTORIES = 4
_STAGES = ("features", "fingerprint")
#: The longest that is waited for the end of the thread: it may hang on a disk that has gone.
_JOIN_SECONDS = 5.0


class LookAhead:
    """Files that workers identify and, where their audio is unknown, analyse before anybody has asked.

    Parameters
    ----------
    pool : WorkerPool
    engine : Engine
        MAP4's database, which is only read.
    """

    def __init__(self, pool: "WorkerPool", engine: "Engine") -> None:
        self._pool, self._engine = pool, engine
        self._chosen = settings().engine
        self._lock = threading.Lock()
        #: (path,) of what is identified, (audio hash, stages, engine) of what is analysed -> path, its stat, and the work.
        self._early: dict[tuple[Any, ...], tuple[bytes, FileStat, Future[Any]]] = {}
        #: What a run has asked for in vain: it does that itself.
        self._refused: set[tuple[Any, ...]] = set()
        self._ended = False
        self._thread: threading.Thread | None = None

    def start(self, session: "Session") -> None:
        """Begin to look at the first new files of a session, as many as a run takes in hand at once.

        In a thread: the first worker is there after most of a second.
        """
        self._thread = threading.Thread(target=self._look, args=(session,), name="look-ahead", daemon=True)
        self._thread.start()

    def _look(self, session: "Session") -> None:
        try:
            files = list(islice(self._new_files(session), 3 * self._pool.workers))
            for path, stat in files:
                self._begin((path,), identify_file, path, stat)
            self._follow(files)
        except Exception:  # noqa: BLE001 (whatever it was, the run meets it again and reports it)
            _log.debug("nothing more is looked at ahead", exc_info=True)

    def take(self, *key: Any) -> "Future[Any] | None":
        """Return what is under way, None where nothing is or where the file has changed since.

        Parameters
        ----------
        *key
            The path of a file to identify, or audio hash, stages and engine of what is to be analysed: which one of several
            copies that is does not matter.
        """
        with self._lock:
            found = self._early.pop(key, None)
            if found is None:
                self._refused.add(key)
                return None
        path, seen, future = found
        lost = future.done() and (future.cancelled() or future.exception() is not None)
        return None if lost or not _is_as(path, seen) else future

    def stop(self) -> None:
        """Begin nothing more."""
        with self._lock:
            self._ended = True

    def join(self) -> None:
        """Wait until nothing is looked at any more; when the workers have ended, that is at once."""
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def _begin(
        self, key: tuple[Any, ...], function: Callable[..., Any], path: bytes, stat: FileStat, *args: Any
    ) -> "Future[Any] | None":
        with self._lock:
            if self._ended or key in self._refused:
                return None
            future = self._pool.submit(function, path, *args)
            self._early[key] = (path, stat, future)
            return future

    def _new_files(self, session: "Session") -> "Iterator[tuple[bytes, FileStat]]":
        roots = {found.library.id: found.root for found in session.surveys}
        with self._engine.connect() as conn:
            if is_paused(conn):
                return
            versions = {stage: key.version for stage, key in stage_keys().items()}
            for directory in session.touched[:_DIRECTORIES]:
                root = roots[directory.library_id]
                listing = list_directory(root, directory.relative_path)
                if listing is None:
                    continue
                known, skips = store.known_tracks(conn, directory.id), store.known_skips(conn, directory.id)
                for path, file in classify(listing, known, skips, versions).new:
                    yield os.path.join(root, path), file.stat

    def _follow(self, files: Sequence[tuple[bytes, FileStat]]) -> None:
        """Have those files analysed whose audio is unknown, one of every content."""
        keys = list(stage_keys().values())
        decoded: set[str] = set()
        for path, stat in files:
            with self._lock:
                found = self._early.get((path,))
            # Where the run has it already, it goes on by itself.
            if found is None:
                continue
            identified = found[2].result()
            identity = identified.identity
            if identity is None or identity["audio_hash"] in decoded:
                continue
            audio_hash = identity["audio_hash"]
            decoded.add(audio_hash)
            with self._engine.connect() as conn:
                known = find_analyses(conn, [audio_hash], keys)
            if not known:
                key = (audio_hash, _STAGES, self._chosen)
                self._begin(key, analyse_file, path, stat, _STAGES, self._chosen, None, identified.state)


def _is_as(path: bytes, seen: FileStat) -> bool:
    try:
        now = os.stat(path)
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns) == (seen.size, seen.mtime_ns)
