"""The bench that every caller works at: settings, database, workers and progress in one place.

Dagster's assets, the command line and the resident worker call these methods by name; each is one step of the line.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from map4_pipeline.ingest.analyse import analyse_directories
from map4_pipeline.ingest.limits import NO_LIMITS, Limits
from map4_pipeline.ingest.pool import WorkerPool
from map4_pipeline.ingest.progress import Progress, Silent, Summary
from map4_pipeline.ingest.scan import ScanOptions, scan_directory
from map4_pipeline.ingest.settle import VectorSummary, compute_vectors, settle
from map4_pipeline.ingest.survey import root_refusal
from map4_pipeline.library.filesystem import root_state
from map4_pipeline.library.ledger import Ledger
from map4_pipeline.settings import Settings
from map4_pipeline.store import scans
from map4_pipeline.store.directories import Directory, directories_by_key
from map4_pipeline.store.errors import InfrastructureError
from map4_pipeline.store.libraries import all_libraries, local_root

if TYPE_CHECKING:
    from map4_pipeline.ingest.session import Session


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run covers.

    Attributes
    ----------
    directories : sequence of Directory
    roots : mapping
        Library id to where it is on this machine.
    scan_ids : mapping
        Library id to the scan that counts the run's files.
    """

    directories: Sequence[Directory]
    roots: Mapping[int, bytes]
    scan_ids: Mapping[int, int]

    @property
    def directory_ids(self) -> list[int]:
        """The directories' ids."""
        return [directory.id for directory in self.directories]


@dataclass(slots=True)
class Workbench:
    """Settings, database and progress of a run, and workers where they are there already."""

    settings: Settings
    engine: Engine
    progress: Progress = field(default_factory=Silent)
    nice: int = 0
    pool: WorkerPool | None = None

    def scope(self, keys: Sequence[str], run_id: str, scan_ids: Mapping[int, int] | None = None) -> Scope:
        """Return what a run over these partition keys covers, with a partial scan of its own where none is given."""
        with self.engine.begin() as conn:
            directories = directories_by_key(conn, keys)
            libraries = {library.id: library for library in all_libraries(conn)}
            roots = {id_: local_root(library, self.settings.path_map) for id_, library in libraries.items()}
            concerned = sorted({directory.library_id for directory in directories})
            known = dict(scan_ids or {})
            for library_id in concerned:
                if library_id not in known:
                    known[library_id] = scans.open_partial_scan(conn, library_id, run_id)
        return Scope(directories, roots, known)

    def scan(self, scope: Scope, options: ScanOptions) -> dict[int, Ledger]:
        """Bring the rows of the scope's directories up to date with the disk. Returns a line per directory id.

        Raises
        ------
        InfrastructureError
            When a library's root is not there or suddenly empty: an unmounted disk must not empty a library.
        """
        self.progress.stage("scanning")
        self._require_roots(scope, options)
        return {
            directory.id: scan_directory(
                self.engine, scope.scan_ids[directory.library_id], scope.roots[directory.library_id], directory, options
            )
            for directory in scope.directories
        }

    def _require_roots(self, scope: Scope, options: ScanOptions) -> None:
        for library_id, root in scope.roots.items():
            mine = [directory for directory in scope.directories if directory.library_id == library_id]
            state = root_state(root) if mine else "ok"
            had_files = any(d.ok_count + d.failed_count for d in mine if not d.vanished)
            if state != "ok" and not (state == "empty" and (options.confirm_loss or not had_files)):
                slug = mine[0].partition_key.split("/")[0]
                raise InfrastructureError(root_refusal(slug, root, state, slug))

    def analyse(self, scope: Scope, stages: Sequence[str], limits: Limits = NO_LIMITS) -> Summary:
        """Analyse what is pending in the scope's directories."""
        self.progress.stage("analysing")
        with self.workers() as pool:
            return analyse_directories(
                self.engine,
                pool,
                scope.directories,
                scope.roots,
                scope.scan_ids,
                self.progress,
                stages,
                self.settings.commit_files,
                self.settings.commit_seconds,
                limits,
            )

    def vectors(self, scope: Scope) -> VectorSummary:
        """Compute HAMMS vectors that are due, and settle the directories."""
        summary = self.compute_vectors(scope)
        settle(self.engine, scope.directory_ids, scope.scan_ids)
        self.close_partial_scans(scope)
        return summary

    def compute_vectors(self, scope: Scope) -> VectorSummary:
        """Compute HAMMS vectors that are due in the scope's directories."""
        self.progress.stage("computing HAMMS vectors")
        return compute_vectors(self.engine, scope.directory_ids)

    def close_partial_scans(self, scope: Scope) -> None:
        """Close those of the scope's scans that are the run's own; a full scan is closed by who opened it."""
        with self.engine.begin() as conn:
            scans.finish_partial(conn, list(scope.scan_ids.values()))

    def lines(self, scope: Scope) -> dict[int, Ledger]:
        """Return the ledger's line of each directory as it stands."""
        found: dict[int, Ledger] = {}
        with self.engine.connect() as conn:
            for scan_id in set(scope.scan_ids.values()):
                found |= scans.directories_ledger(conn, scan_id, scope.directory_ids)
        return found

    @contextmanager
    def start_ahead(self, session: "Session") -> Iterator[WorkerPool]:
        """Start the workers, let them look at a session's first new files before a run does, and end them at last."""
        from map4_pipeline.ingest.ahead import LookAhead

        ahead: LookAhead | None = None
        try:
            with self.workers() as pool:
                ahead = pool.ahead = LookAhead(pool, self.engine)
                ahead.start(session)
                try:
                    yield pool
                finally:
                    ahead.stop()
        finally:
            if ahead is not None:
                ahead.join()

    @contextmanager
    def workers(self) -> Iterator[WorkerPool]:
        """Start worker processes and end them; those that are there already are left to whoever started them."""
        if self.pool is not None and not self.pool.closed:
            yield self.pool
            return
        settings = self.settings
        pool = WorkerPool(settings.workers, settings.file_timeout_seconds, settings.worker_memory_mb, self.nice)
        try:
            yield pool
        except BaseException:
            pool.close(at_once=True)
            raise
        else:
            if not pool.closed:
                pool.close()
