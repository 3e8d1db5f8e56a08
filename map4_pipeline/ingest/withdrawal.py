"""Directories of a queued run that nobody wants any more, because the rows that asked for them were cancelled meanwhile."""

import os
import time
from collections.abc import Sequence

from sqlalchemy import Engine

from map4_pipeline.library.keys import unescape_path
from map4_pipeline.settings import Settings
from map4_pipeline.store import queue
from map4_pipeline.store.directories import Directory
from map4_pipeline.store.libraries import all_libraries, local_root

#: How often the queue is looked at; in between, what it said last holds.
LOOK_SECONDS = 0.5


class Withdrawal:
    """Tells of a run's directories whether every row of the queue that asked for them was cancelled (`Limits.leave`).

    Parameters
    ----------
    batch : str
        The rows that the run was launched for.
    directories : sequence of Directory
        What the run covers.
    """

    def __init__(self, engine: Engine, settings: Settings, batch: str, directories: Sequence[Directory]) -> None:
        self._engine = engine
        self._batch = batch
        with engine.connect() as conn:
            roots = {library.id: {library.root, local_root(library, settings.path_map)} for library in all_libraries(conn)}
        self._directories = {
            directory.path(root): directory.id for directory in directories for root in roots.get(directory.library_id, ())
        }
        self._looked: float | None = None
        self._withdrawn: set[int] = set()

    def __call__(self, directory: Directory) -> bool:
        """Return whether nobody wants a directory any more."""
        if self._looked is None or time.monotonic() - self._looked >= LOOK_SECONDS:
            self._withdrawn = self._look()
            self._looked = time.monotonic()
        return directory.id in self._withdrawn

    def _look(self) -> set[int]:
        with self._engine.connect() as conn:
            rows = queue.withdrawn_of_batch(conn, self._batch)
        if not any(rows.values()):
            return set()
        cancelled: set[int] = set()
        wanted: set[int] = set()
        for file_path, is_withdrawn in rows.items():
            path = os.path.normpath(unescape_path(file_path))
            asked = self._directories.get(path) or self._directories.get(os.path.dirname(path))
            if asked is not None:
                (cancelled if is_withdrawn else wanted).add(asked)
        return cancelled - wanted
