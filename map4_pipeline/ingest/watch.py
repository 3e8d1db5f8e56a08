"""One look at the watched libraries within a time budget: which directories changed and have come to rest.

A look goes on where the last one stopped (the state is in PostgreSQL), so a library of any size and a share of any speed is gone
over in as many looks as it takes, each within its budget and with little in memory. First the directories that were seen to
differ are looked at again; then the disk is walked on; at the end of a walk, the directories that are known are looked for, to
find those that are gone.
"""

import os
import stat
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from sqlalchemy import Engine, func, select

from map4_pipeline.ingest.survey import is_settled, loss_refusal, root_refusal
from map4_pipeline.ingest.versions import versions_text
from map4_pipeline.library.filesystem import root_state
from map4_pipeline.library.model import DirectoryListing
from map4_pipeline.library.walk import list_directory, walk
from map4_pipeline.settings import Settings
from map4_pipeline.store import watching
from map4_pipeline.store.directories import Directory, register_directories
from map4_pipeline.store.libraries import Library, all_libraries, local_root
from map4_pipeline.store.watching import Candidate, Sweep

#: Directories that are compared with what is known in one query, in a walk and in the search for those that are gone.
_WALK_PAGE, _KNOWN_PAGE, _CANDIDATE_PAGE = 256, 2000, 500
#: Runs that leave a directory open are launched again so many times at most; then only a change or the nightly refresh helps.
MAX_ATTEMPTS = 3
#: Part of the budget for looking; the rest is for choosing and noting what is due.
_FOR_LOOKING = 0.95


@dataclass(frozen=True, slots=True)
class Ready:
    """A directory that a run may take: `state` is equal for equal contents and attempts."""

    library_id: int
    relative_path: bytes
    partition_key: str
    state: str


@dataclass(slots=True)
class Look:
    """What a look came to.

    Attributes
    ----------
    ready : list of Ready
        Directories for which a run is due.
    waiting, given_up : int
        Directories that differ and are still being written (or wait for a whole sweep, or for a run under way); those that three
        runs left open.
    directories : int
        Directories that were looked at.
    complete : int
        Libraries whose sweep came to its end.
    refusals : list of str
        Why libraries are left as they are.
    """

    ready: list[Ready] = field(default_factory=list)
    waiting: int = 0
    given_up: int = 0
    directories: int = 0
    complete: int = 0
    refusals: list[str] = field(default_factory=list)


def look(
    engine: Engine,
    settings: Settings,
    busy_libraries: Collection[int] = (),
    busy_keys: Collection[str] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Look:
    """Look at the watched libraries for at most `settings.watch_budget_seconds`.

    Parameters
    ----------
    busy_libraries, busy_keys : collection
        What runs are at work on: left alone.
    clock : callable
        Seconds, for the budget.
    """
    found = Look()
    deadline = clock() + _FOR_LOOKING * settings.watch_budget_seconds
    with engine.begin() as conn:
        libraries = {
            library.id: library for library in all_libraries(conn) if library.watched and library.id not in busy_libraries
        }
        sweeps = watching.sweeps_in_turn(conn, list(libraries.values()))
    open_libraries = []
    for number, sweep in enumerate(sweeps):
        if number and clock() >= deadline:
            break
        library = libraries[sweep.library_id]
        visit = _Visit(engine, settings, library, sweep, found, lambda: clock() >= deadline)
        if visit.work():
            open_libraries.append(library.id)
    with engine.begin() as conn:
        found.refusals += watching.refusals(conn)
        ready = watching.ready_candidates(
            conn, open_libraries, settings.watch_settle_seconds, MAX_ATTEMPTS, settings.chunk_directories, busy_keys
        )
        found.given_up = watching.given_up(conn, MAX_ATTEMPTS)
        for library_id in dict.fromkeys(candidate.library_id for candidate in ready):
            mine = [candidate for candidate in ready if candidate.library_id == library_id]
            paths = [candidate.relative_path for candidate in mine]
            register_directories(conn, libraries[library_id], sorted(paths))
            known = watching.directories_at(conn, library_id, paths)
            found.ready += [_ready(candidate, known[candidate.relative_path]) for candidate in mine]
        found.waiting = watching.candidate_count(conn) - found.given_up - len(found.ready)
    return found


def _ready(candidate: Candidate, directory: Directory) -> Ready:
    signature = "gone" if candidate.signature is None else candidate.signature.hex()[:16]
    state = f"{directory.partition_key}:{signature}:{candidate.changed_at.isoformat()}:{candidate.attempts}"
    return Ready(candidate.library_id, candidate.relative_path, directory.partition_key, state)


def launched(engine: Engine, ready: Collection[Ready]) -> None:
    """Note that a run was launched for directories."""
    with engine.begin() as conn:
        for library_id in {item.library_id for item in ready}:
            watching.count_attempts(conn, library_id, [item.relative_path for item in ready if item.library_id == library_id])


class _Visit:
    """A look at one library."""

    def __init__(
        self, engine: Engine, settings: Settings, library: Library, sweep: Sweep, found: Look, is_over: Callable[[], bool]
    ) -> None:
        self.engine, self.settings, self.library, self.sweep, self.found = engine, settings, library, sweep, found
        self.is_over = is_over
        self.root = local_root(library, settings.path_map)
        self.versions = versions_text()

    def work(self) -> bool:
        """Go on with the sweep; return whether the library's root is there."""
        with self.engine.connect() as conn:
            tracked = watching.tracked_files(conn, self.library.id)
        state = root_state(self.root)
        if state != "ok" and not (state == "empty" and not tracked):
            self.found.refusals.append(root_refusal(self.library.name, self.root, state, self.library.slug))
            return False
        try:
            self._look_again()
            if self.sweep.phase == "walk":
                self._walk_on()
            if self.sweep.phase == "known":
                self._look_for_known(tracked)
        except OSError as error:  # the share went away in the middle
            refusal = root_refusal(self.library.name, self.root, "unreadable", self.library.slug)
            self.found.refusals.append(f"{refusal} ({error.strerror})")
            return False
        finally:
            with self.engine.begin() as conn:
                watching.save_sweep(conn, self.sweep)
        return True

    def _look_again(self) -> None:
        after: bytes | None = None
        while True:
            with self.engine.connect() as conn:
                page = watching.candidates_of(conn, self.library.id, after, _CANDIDATE_PAGE)
                known = watching.directories_at(conn, self.library.id, [candidate.relative_path for candidate in page])
            if not page:
                return
            listings: dict[bytes, DirectoryListing | None] = {}
            for candidate in page:
                after = candidate.relative_path
                listings[after] = list_directory(self.root, after)
                if self.is_over():  # on a slow share a page takes many seconds
                    break
            with self.engine.begin() as conn:
                differs = [path for path, listing in listings.items() if self._differs(listing, known.get(path))]
                rows = [_row(path, listings[path], known.get(path)) for path in differs]
                watching.note_candidates(conn, self.library.id, rows)
                watching.forget_candidates(conn, self.library.id, listings.keys() - set(differs))
            self.found.directories += len(listings)
            if self.is_over():
                return

    def _walk_on(self) -> None:
        if self.sweep.after_path is None:
            self.sweep.directories = self.sweep.lost = 0
            with self.engine.connect() as conn:
                self.sweep.begun_at = conn.execute(select(func.clock_timestamp())).scalar_one()
        for page in _pages(walk(self.root, after=self.sweep.after_path), _WALK_PAGE, self.is_over):
            with self.engine.begin() as conn:
                known = watching.directories_at(conn, self.library.id, [listing.relative_path for listing in page])
                differs = [listing for listing in page if self._differs(listing, known.get(listing.relative_path))]
                rows = [_row(listing.relative_path, listing, known.get(listing.relative_path)) for listing in differs]
                watching.note_candidates(conn, self.library.id, rows)
            self.sweep.lost += sum(_lost(listing, known.get(listing.relative_path)) for listing in differs)
            self.sweep.directories += len(page)
            self.sweep.after_path = page[-1].relative_path
            self.found.directories += len(page)
            if self.is_over():
                return
        self.sweep.phase, self.sweep.after_path, self.sweep.after_id = "known", None, 0

    def _look_for_known(self, tracked: int) -> None:
        while True:
            with self.engine.connect() as conn:
                page = watching.known_after(conn, self.library.id, self.sweep.after_id, _KNOWN_PAGE)
            if not page:
                break
            gone: list[Directory] = []
            for directory in page:
                last = directory.id
                if _is_gone(os.path.join(self.root, directory.relative_path)):
                    gone.append(directory)
                if self.is_over():
                    break
            with self.engine.begin() as conn:
                watching.note_candidates(conn, self.library.id, [(directory.relative_path, None, 0, True) for directory in gone])
            self.sweep.lost += sum(directory.ok_count + directory.failed_count for directory in gone)
            self.sweep.after_id = last
            if self.is_over():
                return
        sweep, settings = self.sweep, self.settings
        is_loss = sweep.lost >= settings.guard_files and sweep.lost > settings.guard_share * tracked
        sweep.refusal = loss_refusal(self.library.name, self.root, sweep.lost, tracked) if is_loss else None
        # A loss seen while this sweep was under way waits for the next: what moved may have been counted on one side only.
        sweep.completed_at = sweep.begun_at
        sweep.phase, sweep.after_path, sweep.after_id = "walk", None, 0
        self.found.complete += 1

    def _differs(self, listing: DirectoryListing | None, record: Directory | None) -> bool:
        if listing is None:
            return record is not None and not record.vanished
        if record is None:
            return bool(listing.files or listing.skipped or listing.unreadable or not listing.relative_path)
        if listing.is_unreadable and record.settled:
            return False  # what is in it is unknown
        return not is_settled(record, listing.signature, self.versions)


def _row(path: bytes, listing: DirectoryListing | None, record: Directory | None) -> tuple[bytes, bytes | None, int, bool]:
    if listing is None:
        return path, None, 0, True
    return path, listing.signature, len(listing.files), _lost(listing, record) > 0


def _lost(listing: DirectoryListing, record: Directory | None) -> int:
    """Return how many files fewer a directory has than it had."""
    before = 0 if record is None or record.vanished else record.ok_count + record.failed_count
    return before - len(listing.files)


def _is_gone(path: bytes) -> bool:
    try:
        return not stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def _pages(listings: Iterator[DirectoryListing], size: int, is_over: Callable[[], bool]) -> Iterator[list[DirectoryListing]]:
    """Give listings by so many, and fewer when the time is over."""
    page: list[DirectoryListing] = []
    for listing in listings:
        page.append(listing)
        if len(page) == size or is_over():
            yield page
            page = []
    if page:
        yield page
