"""One file that somebody waits for: found, looked at, analysed, its vector computed. The line of a run, for one file.

Its directory is not gone over: however large that is, the one file is taken first. What else is new in it is left to the next
look at the folder, which finds this file done.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from map4_pipeline.ingest.limits import Limits
from map4_pipeline.ingest.queue import fate_of_file, find
from map4_pipeline.ingest.scan import ScanOptions
from map4_pipeline.ingest.settle import settle
from map4_pipeline.ingest.versions import stage_keys, versions_text
from map4_pipeline.ingest.workbench import Workbench
from map4_pipeline.library.ledger import Ledger
from map4_pipeline.store import locks, watching
from map4_pipeline.store.directories import Directory, register_directories
from map4_pipeline.store.libraries import all_libraries


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a file that somebody asked for.

    Attributes
    ----------
    error : str or None
        Why it was not analysed.
    directory : Directory or None
        The partition that it lies in, where it lies in a library.
    ledger : Ledger
        Of the file alone.
    is_folder : bool
        It is no file: a run has to see to it. Nothing was done.
    busy : bool
        Another process has its directory in hand. Nothing was done.
    stopped : bool
        It was given up because `stop` said so.
    """

    error: str | None = None
    directory: Directory | None = None
    ledger: Ledger = field(default_factory=Ledger)
    is_folder: bool = False
    busy: bool = False
    stopped: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything about the file is new."""
        ledger = self.ledger
        return bool(ledger.analysed or ledger.reused or ledger.failed or ledger.skipped)


def analyse_single(bench: Workbench, file_path: str, run_id: str, stop: Callable[[], bool]) -> Done:
    """Bring the track of one file up to date; one that failed before is tried again.

    Parameters
    ----------
    file_path : str
        Absolute, as MAP4 writes it.
    run_id : str
        Names the scan that counts the file.
    stop : callable
        Asked several times a second whether nobody waits any more.
    """
    with bench.engine.begin() as conn:
        libraries = all_libraries(conn)
        place = find(file_path, libraries, bench.settings)
        if isinstance(place, str):
            return Done(place)
        if place.is_folder:
            return Done(is_folder=True)
        found = watching.directories_at(conn, place.library.id, [place.directory])
        if place.directory not in found:
            register_directories(conn, place.library, [place.directory])
            found = watching.directories_at(conn, place.library.id, [place.directory])
    directory = found[place.directory]
    if _is_busy(bench, directory):
        return Done(directory=directory, busy=True)
    # What else is in it is known to be of today's versions, so this file alone decides whether the directory is settled again.
    was_settled = directory.settled and directory.versions == versions_text()
    scope = bench.scope([directory.partition_key], run_id)
    only = frozenset((place.relative_path,))
    bench.scan(scope, ScanOptions(retry_failed=True, only=only))
    summary = bench.analyse(scope, tuple(stage_keys()), Limits(only, wait=False, stop=stop))
    if not (summary.busy or summary.stopped):
        bench.compute_vectors(scope)
        if was_settled:
            settle(bench.engine, scope.directory_ids, scope.scan_ids)
    bench.close_partial_scans(scope)
    if summary.busy or summary.stopped:
        return Done(directory=directory, busy=summary.busy, stopped=summary.stopped)
    with bench.engine.connect() as conn:
        error = fate_of_file(conn, place)
    return Done(error, directory, bench.lines(scope).get(directory.id, Ledger()))


def _is_busy(bench: Workbench, directory: Directory) -> bool:
    """Return whether another process has a directory in hand, before anything of it is looked at."""
    with bench.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        if not locks.try_hold_directory(conn, directory.id):
            return True
        locks.release_directory(conn, directory.id)
        return False
