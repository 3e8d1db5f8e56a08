"""Analyse what is pending: identify, look up, decode what is unknown, write in small batches.

A file passes a worker once or twice. First it is identified (hashes, tags). If its audio is known (moved, copied,
retagged), the stored analysis is reused and nothing is decoded. If not, it is decoded once, while its bytes are still
in the page cache. The thread that calls is the only one that talks to the database; results are committed after a few
files or seconds, so a killed run loses no more than that.
"""

import contextlib
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError, StatementError

from map4_pipeline.ingest.columns import feature_columns, fingerprint_columns
from map4_pipeline.ingest.limits import NO_LIMITS, Limits
from map4_pipeline.ingest.pool import WorkerPool
from map4_pipeline.ingest.progress import Progress, Summary
from map4_pipeline.ingest.versions import stage_keys
from map4_pipeline.ingest.worker import Analysed, Identified, analyse_file, identify_file
from map4_pipeline.library.keys import escape_path
from map4_pipeline.library.ledger import Ledger
from map4_pipeline.library.model import FileStat, SkippedFile
from map4_pipeline.settings import settings
from map4_pipeline.store import locks, scans
from map4_pipeline.store import tracks as store
from map4_pipeline.store.analyses import StoredAnalysis, find_analyses, store_analyses
from map4_pipeline.store.controls import is_paused
from map4_pipeline.store.database import storable_text
from map4_pipeline.store.directories import Directory
from map4_pipeline.store.tracks import Candidate, PendingTrack, TrackResult

#: How often a directory's lock is asked for while another process has it; a wait inside PostgreSQL would not hear Ctrl-C.
_LOCK_SECONDS = 0.2
#: How often a run that rests looks whether it may go on.
_PAUSE_SECONDS = 1.0
#: How often a run that may be ended early looks whether somebody wants that.
_STOP_SECONDS = 0.4


@dataclass(slots=True)
class _Item:
    track: PendingTrack
    library_id: int
    path: bytes
    identified: Identified | None = None
    moved_from: int | None = None


@dataclass(slots=True)
class _Outcome:
    item: _Item
    name: str
    result: TrackResult
    moved_from: int | None = None
    skip: SkippedFile | None = None


def analyse_directories(
    engine: Engine,
    pool: WorkerPool,
    directories: Sequence[Directory],
    roots: Mapping[int, bytes],
    scan_ids: Mapping[int, int],
    progress: Progress,
    stages: Sequence[str] = ("features", "fingerprint"),
    commit_files: int = 32,
    commit_seconds: float = 2.0,
    limits: Limits = NO_LIMITS,
) -> Summary:
    """Analyse the pending tracks of some directories.

    Parameters
    ----------
    roots, scan_ids : mapping
        Library id to its root on this machine and to the scan that counts.
    stages : sequence of str
        Which stages to bring up to date.
    commit_files, commit_seconds
        How much work a killed run may lose.
    limits : Limits
        What is left out, and when the analysis ends early.

    Returns
    -------
    Summary
    """
    run = _Run(engine, pool, roots, scan_ids, progress, tuple(stages), commit_files, commit_seconds, limits)
    return run.work(directories)


class _Run:
    def __init__(
        self,
        engine: Engine,
        pool: WorkerPool,
        roots: Mapping[int, bytes],
        scan_ids: Mapping[int, int],
        progress: Progress,
        stages: tuple[str, ...],
        commit_files: int,
        commit_seconds: float,
        limits: Limits,
    ) -> None:
        self.limits = limits
        self.engine, self.pool, self.roots, self.scan_ids = engine, pool, roots, scan_ids
        self.progress, self.stages = progress, stages
        self.keys, self.chosen = stage_keys(), settings().engine
        self.commit_files, self.commit_seconds = commit_files, commit_seconds
        self.summary = Summary()
        self.running: dict[Future[Any], tuple[_Item, tuple[str, ...]]] = {}
        self.to_analyse: deque[tuple[_Item, tuple[str, ...]]] = deque()
        self.to_identify: deque[_Item] = deque()  # once more, because their worker was killed
        self.waiting: dict[str, list[_Item]] = {}  # audio hash being decoded now -> copies that wait for it
        self.fresh_payloads: dict[str, dict[str, dict[str, Any]]] = {}  # decoded, not committed yet
        self.outcomes: list[_Outcome] = []
        self.new_analyses: list[StoredAnalysis] = []
        self.claimed: set[int] = set()
        self.open_tracks: dict[int, int] = defaultdict(int)  # directory id -> tracks under way
        self.enumerated: set[int] = set()
        self.last_commit = time.monotonic()
        self.paused = False
        self.uncounted_bytes: dict[int, int] = defaultdict(int)
        self.uncounted_decodes: dict[int, int] = defaultdict(int)

    # ------------------------------------------------------------------ the loop
    def work(self, directories: Sequence[Directory]) -> Summary:
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as lock_conn:
            self.lock_conn = lock_conn
            with self.engine.connect() as conn:
                self.progress.expect(*store.pending_totals(conn, [directory.id for directory in directories]))
            try:
                busy = self._pass(directories, wait_for_lock=False)
                self.summary.busy = bool(busy) and not self.limits.wait
                for directory in busy if self.limits.wait and not self.summary.stopped else ():
                    self.progress.stage(f"waiting for another process in {escape_path(directory.relative_path) or 'the root'}")
                    self._pass([directory], wait_for_lock=True)
            except KeyboardInterrupt:
                self.pool.close(at_once=True)
                self._commit()
                raise
            except BaseException:
                self.pool.close(at_once=True)
                raise
            finally:
                # The connection lives on in its pool, and with it every lock that an early end has left.
                # One that is lost has lost its locks.
                with contextlib.suppress(DBAPIError, PendingRollbackError):
                    locks.release_directories(lock_conn)
        self.summary.effort.stop()
        return self.summary

    def _pass(self, directories: Sequence[Directory], *, wait_for_lock: bool) -> list[Directory]:
        """Go over directories once; return those that another process has in its hands."""
        busy: list[Directory] = []
        source = self._pending(directories, busy, wait_for_lock)
        limit = 3 * self.pool.workers
        exhausted = False
        while True:
            while len(self.running) < limit and not self.paused:
                if self.to_analyse:
                    item, stages = self.to_analyse.popleft()
                    self.running[self._analysis(item, stages)] = (item, stages)
                elif self.to_identify:
                    item = self.to_identify.popleft()
                    self.running[self.pool.submit(identify_file, item.path)] = (item, ())
                elif not exhausted:
                    nxt = next(source, None)
                    if nxt is None:
                        exhausted = True
                    else:
                        self.running[self._identification(nxt)] = (nxt, ())
                else:
                    break
            if not self.running and self.paused:
                self._rest()
                continue
            if not self.running:
                break
            patience = max(0.01, self.commit_seconds - (time.monotonic() - self.last_commit))
            if self.limits.stop is not None:
                patience = min(patience, _STOP_SECONDS)
            done, _ = wait(self.running, timeout=patience, return_when=FIRST_COMPLETED)
            self._collect(done)
            if not done and self.limits.stop is not None and self.limits.stop():
                self._give_up()
                break
            if len(self.outcomes) >= self.commit_files or time.monotonic() - self.last_commit >= self.commit_seconds:
                self._commit()
                self._obey()
        self._commit()
        return busy

    def _give_up(self) -> None:
        """Leave what is in hand as it was, pending, and end its workers."""
        self.summary.stopped = True
        for future in self.running:
            future.cancel()  # pebble ends the process of a task that runs
        self.running.clear()

    def _identification(self, item: _Item) -> Future[Any]:
        """Give a file to a worker, unless one has it already (see `ahead`)."""
        early = self.pool.ahead and self.pool.ahead.take(item.path)
        return early or self.pool.submit(identify_file, item.path)

    def _analysis(self, item: _Item, stages: tuple[str, ...]) -> Future[Any]:
        early = self.pool.ahead and self.pool.ahead.take(self._hash(item), stages, self.chosen)
        state = None if item.identified is None else item.identified.state
        return early or self.pool.submit(analyse_file, item.path, stages, self.chosen, None, state)

    def _obey(self) -> None:
        """Look whether somebody has asked MAP4 to rest."""
        with self.engine.connect() as conn:
            self.paused = is_paused(conn)

    def _rest(self) -> None:
        """Wait, with all that was done written down, until MAP4 may go on."""
        self._commit()
        self.progress.stage("paused: `map4 resume` goes on")
        while self.paused:
            time.sleep(_PAUSE_SECONDS)
            self._obey()
        self.progress.stage("analysing")

    def _pending(self, directories: Sequence[Directory], busy: list[Directory], wait_for_lock: bool) -> Iterator[_Item]:
        for directory in directories:
            if not self._hold(directory, busy, wait_for_lock):
                continue
            for track in self._tracks(directory):
                if self._leaves(directory):
                    break
                self.open_tracks[directory.id] += 1
                yield _Item(track, directory.library_id, os.path.join(self.roots[directory.library_id], track.relative_path))
            self.enumerated.add(directory.id)
            if not self.open_tracks[directory.id]:
                self._leave(directory.id)

    def _tracks(self, directory: Directory) -> Iterator[PendingTrack]:
        last = 0
        while True:
            with self.engine.connect() as conn:
                page = store.pending_tracks(conn, directory.id, last, only=self.limits.only)
            if not page:
                return
            last = page[-1].id
            yield from page

    def _hold(self, directory: Directory, busy: list[Directory], wait_for_lock: bool) -> bool:
        """Take a directory in hand; False where another process has it (it is noted as busy), or nobody wants it any more."""
        while not self._leaves(directory):
            if locks.try_hold_directory(self.lock_conn, directory.id):
                return True
            if not wait_for_lock:
                busy.append(directory)
                return False
            time.sleep(_LOCK_SECONDS)
        return False

    def _leaves(self, directory: Directory) -> bool:
        if self.limits.leave is None or not self.limits.leave(directory):
            return False
        self.summary.left.add(directory.id)
        return True

    def _leave(self, directory_id: int) -> None:
        locks.release_directory(self.lock_conn, directory_id)
        self.enumerated.discard(directory_id)
        self.open_tracks.pop(directory_id, None)

    # ------------------------------------------------------------------ results
    def _collect(self, done: set[Future[Any]]) -> None:
        identified: list[_Item] = []
        for future in done:
            item, stages = self.running.pop(future)
            error = future.exception()
            if error is not None and self.pool.is_lost(error):
                if stages:
                    self.to_analyse.append((item, stages))
                else:
                    self.to_identify.append(item)
            elif not stages:
                value = Identified(None, None, 0, *self.pool.failure(error)) if error else future.result()
                item.identified = value
                self.summary.effort.bytes_read += value.bytes_read
                self.uncounted_bytes[item.library_id] += value.bytes_read
                if value.error_kind is not None:
                    self._fail(item, value.error_kind, value.error_message or "")
                else:
                    identified.append(item)
            else:
                self.summary.effort.decodes += 1
                self.uncounted_decodes[item.library_id] += 1
                self._analysed(item, stages, Analysed({}, 0.0, *self.pool.failure(error)) if error else future.result())
        if identified:
            self._look_up(identified)

    def _look_up(self, items: list[_Item]) -> None:
        """Decide for identified files: known (reuse), being decoded by a copy (wait), unknown (decode)."""
        hashes = sorted({self._hash(item) for item in items})
        with self.engine.connect() as conn:
            found = find_analyses(conn, hashes, list(self.keys.values()))
            fresh = sorted({self._hash(item) for item in items if item.track.fresh})
            candidates = store.same_audio(conn, fresh)
        for item in items:
            audio_hash = self._hash(item)
            known = {stage: found[audio_hash, stage] for stage in self.keys if (audio_hash, stage) in found}
            known |= self.fresh_payloads.get(audio_hash, {})
            needed = tuple(stage for stage in self.stages if stage not in known)
            item.moved_from = self._moved_from(item, candidates)
            if not needed:
                self._finish(item, "reused", known)
            elif audio_hash in self.waiting:
                self.waiting[audio_hash].append(item)
            else:
                self.waiting[audio_hash] = []
                self.fresh_payloads[audio_hash] = known
                self.to_analyse.append((item, needed))

    def _moved_from(self, item: _Item, candidates: Sequence[Candidate]) -> int | None:
        """Return the track that this new row's file was, when that track's own file is gone."""
        if not item.track.fresh or item.identified is None or item.identified.identity is None:
            return None
        file_hash = item.identified.identity["file_hash"]
        name = os.path.basename(item.path)

        def gone(candidate: Candidate) -> bool:
            root = self.roots.get(candidate.library_id)
            if candidate.missing or root is None:
                return candidate.missing
            return os.path.isdir(root) and not os.path.lexists(os.path.join(root, candidate.relative_path))

        same = [c for c in candidates if c.audio_hash == self._hash(item) and c.id != item.track.id and c.id not in self.claimed]
        same.sort(key=lambda c: (c.file_hash != file_hash, os.path.basename(c.relative_path) != name, c.id))
        for candidate in same:
            if gone(candidate):
                self.claimed.add(candidate.id)
                return candidate.id
        return None

    def _analysed(self, item: _Item, stages: tuple[str, ...], value: Analysed) -> None:
        audio_hash = self._hash(item)
        self.summary.effort.cpu_seconds += value.cpu_seconds
        copies = self.waiting.pop(audio_hash, [])
        if value.error_kind is not None:
            if value.error_kind in ("timeout", "crashed", "memory") and copies:
                self.to_analyse.extend((copy, stages) for copy in copies)  # may have been the moment's; each is tried by itself
            else:
                self.fresh_payloads.pop(audio_hash, None)
                for copy in copies:
                    self._fail(copy, value.error_kind, value.error_message or "")
            self._fail(item, value.error_kind, value.error_message or "")
            return
        payloads = self.fresh_payloads.setdefault(audio_hash, {})
        payloads.update(value.payloads)
        self.new_analyses += [StoredAnalysis(audio_hash, self.keys[stage], payload) for stage, payload in value.payloads.items()]
        self._finish(item, "analysed", payloads)
        for copy in copies:
            self._finish(copy, "reused", payloads)

    def _finish(self, item: _Item, name: str, payloads: Mapping[str, dict[str, Any]]) -> None:
        identified = item.identified
        assert identified is not None
        result = TrackResult(
            item.track.id if item.moved_from is None else item.moved_from,
            complete=all(stage in payloads for stage in self.keys),
            identity=identified.identity or {},
            tags=identified.tags or {},
            features=feature_columns(payloads["features"]) if "features" in payloads else None,
            fingerprint=fingerprint_columns(payloads["fingerprint"]) if "fingerprint" in payloads else None,
        )
        self.outcomes.append(_Outcome(item, name, result, item.moved_from))

    def _fail(self, item: _Item, kind: str, message: str) -> None:
        identified = item.identified
        message = storable_text(message)
        result = TrackResult(item.track.id, error_kind=kind, error_message=message)
        if identified is not None:
            result.identity, result.tags = identified.identity or {}, identified.tags or {}
        if kind == "too_short":
            stat = item.track.stat or FileStat(item.track.size, 0)
            skip = SkippedFile(os.path.basename(item.path), "too_short", message, stat)
            self.outcomes.append(_Outcome(item, "skipped", result, skip=skip))
            return
        self.outcomes.append(_Outcome(item, "failed", result))

    # ------------------------------------------------------------------ writing
    def _commit(self) -> None:
        self.last_commit = time.monotonic()
        outcomes, self.outcomes = self.outcomes, []
        new_analyses, self.new_analyses = self.new_analyses, []
        if not outcomes:
            return
        try:
            with self.engine.begin() as conn:
                self._write(conn, outcomes, new_analyses)
                self._write_effort(conn)
        except (StatementError, ValueError) as error:
            if _is_database_failure(error):
                raise
            outcomes = self._write_one_by_one(outcomes, new_analyses)
        self.uncounted_bytes.clear()
        self.uncounted_decodes.clear()
        for audio_hash in {analysis.audio_hash for analysis in new_analyses}:
            if audio_hash not in self.waiting:
                self.fresh_payloads.pop(audio_hash, None)
        for outcome in outcomes:
            self._count(outcome)

    def _write(self, conn: Connection, outcomes: Sequence[_Outcome], new_analyses: Sequence[StoredAnalysis]) -> None:
        changes: dict[tuple[int, int], Ledger] = defaultdict(Ledger)
        for outcome in outcomes:
            line = Ledger(pending=-1)
            setattr(line, outcome.name, 1)
            changes[self.scan_ids[outcome.item.library_id], outcome.item.track.directory_id] += line
        store_analyses(conn, new_analyses)
        for outcome in outcomes:
            if outcome.moved_from is not None:
                left = store.move_track(conn, outcome.moved_from, outcome.item.track.id)
                if left is not None:
                    scans.found_again(conn, list(self.scan_ids.values()), left)
        self._write_skips(conn, [outcome for outcome in outcomes if outcome.skip is not None])
        store.save_results(conn, [o.result for o in outcomes if o.skip is None], self.keys["features"].version)
        scans.add_to_directories(conn, changes)

    def _write_effort(self, conn: Connection) -> None:
        for library_id in {*self.uncounted_bytes, *self.uncounted_decodes}:
            effort = (self.uncounted_decodes[library_id], self.uncounted_bytes[library_id])
            scans.add_effort(conn, self.scan_ids[library_id], *effort)

    def _write_one_by_one(self, outcomes: Sequence[_Outcome], new_analyses: Sequence[StoredAnalysis]) -> list[_Outcome]:
        """Write what the database refused as a batch, so that a value it does not take costs its own file only."""
        written = []
        for outcome in outcomes:
            mine = [a for a in new_analyses if outcome.item.identified is not None and a.audio_hash == self._hash(outcome.item)]
            try:
                with self.engine.begin() as conn:
                    self._write(conn, [outcome], mine)
            except (StatementError, ValueError) as error:
                if _is_database_failure(error):
                    raise
                outcome = _refused(outcome, error)
                with self.engine.begin() as conn:
                    self._write(conn, [outcome], [])
            written.append(outcome)
        with self.engine.begin() as conn:
            self._write_effort(conn)
        return written

    def _write_skips(self, conn: Connection, outcomes: Sequence[_Outcome]) -> None:
        for outcome in outcomes:
            item, skip = outcome.item, outcome.skip
            assert skip is not None
            root = self.roots[item.library_id]
            files = [(item.track.relative_path, skip)]
            store.record_skips(conn, item.library_id, item.track.directory_id, root, files)
            drop: Callable[[Connection, Sequence[int]], None] = store.delete_rows if item.track.fresh else store.mark_missing
            drop(conn, [item.track.id])

    def _count(self, outcome: _Outcome) -> None:
        directory_id = outcome.item.track.directory_id
        ledger = self.summary.ledger
        ledger.seen += 1
        setattr(ledger, outcome.name, getattr(ledger, outcome.name) + 1)
        self.summary.effort.files += 1
        message = outcome.result.error_message
        if outcome.name == "failed" and len(self.summary.failures) < 200:
            self.summary.failures.append((escape_path(outcome.item.path), outcome.result.error_kind or "", message or ""))
        self.progress.done(outcome.name, escape_path(outcome.item.path), outcome.item.track.size, message)
        self.open_tracks[directory_id] -= 1
        if directory_id in self.enumerated and not self.open_tracks[directory_id]:
            self._leave(directory_id)

    def _hash(self, item: _Item) -> str:
        assert item.identified is not None
        assert item.identified.identity is not None
        return str(item.identified.identity["audio_hash"])


def _is_database_failure(error: Exception) -> bool:
    """Return whether the database itself failed (connection, disk, lock), and not a value that it does not take."""
    return isinstance(error, OperationalError) or (isinstance(error, DBAPIError) and error.connection_invalidated)


def _refused(outcome: _Outcome, error: Exception) -> _Outcome:
    """Return the fate of a file whose values the database does not take."""
    said = storable_text(str(getattr(error, "orig", None) or error)).strip().splitlines()[0][:200]
    message = f"A defect of MAP4 (a value cannot be stored: {said}). Please report it with this file."
    result = TrackResult(outcome.item.track.id, error_kind="internal", error_message=message)
    return _Outcome(outcome.item, "failed", result)
