"""The resident worker: takes single rows of `analysis_queue` at once, with workers that are warm and no run.

One process for a database has the place (`store.singles.Place`); others stand by and take it when that one ends. The thread that
calls `run` listens and hands out rows; each row is worked on by a thread with a worker process of its own, so that a file which
takes minutes, or kills its worker, holds up no other. What a run has in hand stays the run's: such a row waits.
"""

import contextlib
import logging
import os
import queue
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from structlog.contextvars import bound_contextvars

from map4_pipeline.ingest.pool import WorkerPool
from map4_pipeline.ingest.single import Done, analyse_single
from map4_pipeline.ingest.workbench import Workbench
from map4_pipeline.settings import Settings
from map4_pipeline.store import jobs, singles
from map4_pipeline.store.cache import TEMPORARY_SECONDS, Cache, batch_key
from map4_pipeline.store.controls import is_paused
from map4_pipeline.store.singles import Single

if TYPE_CHECKING:
    from dagster import DagsterInstance

_log = logging.getLogger("map4.resident")
#: How often the table is looked at although the bell was silent.
LOOK_SECONDS = 1.0
#: How often who stands by asks for the place; and the rest after a failure.
STANDBY_SECONDS = 2.0
#: A row whose directory a run has in hand is tried again after so long.
BUSY_SECONDS = 1.0


class Resident:
    """Takes single rows as long as it has the place.

    Parameters
    ----------
    engine : Engine
        MAP4's database, up to date.
    cache : Cache
        Mirrors the jobs that rows belong to.
    instance : callable
        Opens the Dagster instance that is told of materializations.
    """

    def __init__(self, settings: Settings, engine: Engine, cache: Cache, instance: "Callable[[], DagsterInstance]") -> None:
        self._settings = settings
        self._engine = engine
        self._cache = cache
        self._open_instance = instance
        self._instance: DagsterInstance | None = None
        self._instance_lock = threading.Lock()
        self._owner = f"resident-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._place = singles.Place(engine)
        self._rows: queue.SimpleQueue[Single | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._free = settings.single_workers
        #: Rows that have to wait until a moment (monotonic), because their directory is busy.
        self._later: dict[int, float] = {}
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        self._ended = threading.Event()

    def stop(self) -> None:
        """End: what is in hand is given back. May be called from a signal handler."""
        self._ended.set()
        self._wake()

    def run(self) -> None:
        """Take rows until `stop`; whatever fails is tried again."""
        threads: list[threading.Thread] = []
        try:
            while not self._ended.is_set():
                try:
                    if not self._place.take():
                        self._ended.wait(STANDBY_SECONDS)
                        continue
                    threads = threads or self._start()
                    with self._engine.begin() as conn:
                        if lost := singles.take_over(conn, self._owner):
                            _log.warning("%d rows were left by a worker that is gone", lost)
                    while not self._ended.is_set():
                        self._hand_out()
                        self._place.wait(LOOK_SECONDS, self._ours)
                        self._drain()
                except Exception:  # noqa: BLE001
                    # The database is away, most likely. What matters is to be there when it is back.
                    _log.warning("the resident worker rests", exc_info=True)
                    with contextlib.suppress(Exception):
                        self._place.leave()
                    self._ended.wait(STANDBY_SECONDS)
        finally:
            for _ in threads:
                self._rows.put(None)
            for thread in threads:
                thread.join(timeout=10)
            with contextlib.suppress(Exception):
                self._place.leave()
            if self._instance is not None:
                self._instance.dispose()

    # ------------------------------------------------------------------ handing out
    def _start(self) -> list[threading.Thread]:
        """Start the threads, and load Dagster beside: the first row does not wait for it."""
        names = [f"single-{number + 1}" for number in range(self._settings.single_workers)]
        threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]
        for thread in threads:
            thread.start()
        threading.Thread(target=self._load_dagster, name="dagster", daemon=True).start()
        return threads

    def _hand_out(self) -> None:
        """Give rows to threads that have none."""
        while True:
            now = time.monotonic()
            with self._lock:
                if not self._free:
                    return
                self._later = {id_: moment for id_, moment in self._later.items() if moment > now}
                but = list(self._later)
            with self._engine.begin() as conn:
                row = None if is_paused(conn) else singles.take_single(conn, self._owner, but)
            if row is None:
                return
            with self._lock:
                self._free -= 1
            self._rows.put(row)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._theirs.send(b"x")

    def _drain(self) -> None:
        self._ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self._ours.recv(4096)

    # ------------------------------------------------------------------ a thread's work
    def _work(self) -> None:
        with _Workers(self._settings) as workers:
            while (row := self._rows.get()) is not None:
                with bound_contextvars(request_id=row.request_id):
                    try:
                        self._one(row, workers.bench(self._engine))
                    except Exception:  # noqa: BLE001
                        # Nothing is known of the file then: the row is taken again once the trouble is over.
                        _log.warning("row %d could not be worked on", row.id, exc_info=True)
                        self._return(row)
                with self._lock:
                    self._free += 1
                self._wake()

    def _one(self, row: Single, bench: Workbench) -> None:
        asked = 0.0

        def nobody_waits() -> bool:
            nonlocal asked
            if self._ended.is_set():
                return True
            if time.monotonic() - asked < 0.3:
                return False
            asked = time.monotonic()
            with self._engine.connect() as conn:
                return not singles.is_mine(conn, row, self._owner)

        done = analyse_single(bench, row.file_path, f"single-{row.id}-{row.attempt}", nobody_waits)
        if done.is_folder or done.busy or done.stopped:
            if done.busy:
                self._let_wait(row, BUSY_SECONDS)
            with self._engine.begin() as conn:
                singles.give_back(conn, row, self._owner, to_runs=done.is_folder)
            return
        # After the worker before died, Dagster may not have been told what it had finished.
        if done.directory is not None and (done.changed or row.attempt > 1):
            self._report(done, row)
        with self._engine.begin() as conn:
            singles.finish_single(conn, row, self._owner, done.error)
        _log.info("row %d is done%s", row.id, "" if done.error is None else ", its file failed")
        self._mirror(row)

    def _let_wait(self, row: Single, seconds: float) -> None:
        with self._lock:
            self._later[row.id] = time.monotonic() + seconds

    def _return(self, row: Single) -> None:
        """Let a row wait that met trouble; the attempt counts, so that it does not come back for ever."""
        self._let_wait(row, STANDBY_SECONDS)
        with contextlib.suppress(Exception), self._engine.begin() as conn:
            if row.attempt < singles.MAX_ATTEMPTS:
                singles.give_back(conn, row, self._owner, counts=True)
            else:
                said = "It could not be analysed, three times; the log of the resident worker says why."
                singles.finish_single(conn, row, self._owner, said)

    def _mirror(self, row: Single) -> None:
        if row.job_id is None:
            return
        with self._engine.begin() as conn:
            job = jobs.get_job(conn, row.job_id)
        if job is not None:
            self._cache.put(batch_key(job.id), jobs.mirrored(job), TEMPORARY_SECONDS)

    # ------------------------------------------------------------------ Dagster
    def _load_dagster(self) -> None:
        try:
            with self._instance_lock:
                self._dagster()
        except Exception:  # noqa: BLE001 - tried again with the first report
            _log.warning("Dagster's storage does not answer", exc_info=True)

    def _dagster(self) -> "DagsterInstance":
        from map4_pipeline.orchestration import runless  # noqa: F401 - loads Dagster

        if self._instance is None:
            self._instance = self._open_instance()
        return self._instance

    def _report(self, done: Done, row: Single) -> None:
        """Tell Dagster. Should its storage be away, the track is in the library all the same, and the next look tells."""
        assert done.directory is not None
        try:
            with self._instance_lock:
                from map4_pipeline.orchestration.runless import report_single

                report_single(self._dagster(), done.directory.partition_key, done.ledger, row.file_path)
        except Exception:  # noqa: BLE001
            _log.warning("Dagster was not told of row %d", row.id, exc_info=True)


class _Workers:
    """The worker process of a thread, warm; made anew where it was given up."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: WorkerPool | None = None

    def __enter__(self) -> "_Workers":
        with contextlib.suppress(Exception):  # it is tried again with the first row, which then says why
            self._make().warm_up()
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None and not self._pool.closed:
            self._pool.close(at_once=True)

    def bench(self, engine: Engine) -> Workbench:
        """Return a workbench with the process."""
        pool = self._pool
        if pool is None or pool.closed:
            pool = self._make()
        return Workbench(self._settings, engine, pool=pool)

    def _make(self) -> WorkerPool:
        found = self._settings
        self._pool = WorkerPool(1, found.file_timeout_seconds, found.worker_memory_mb)
        return self._pool


@contextlib.contextmanager
def resident_of(settings: Settings) -> Iterator[Resident]:
    """Make the resident worker of this process, with connections of its own."""
    from map4_pipeline.orchestration.instance import open_instance
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.valkey_server import redis_url

    engine = open_database(settings)
    cache = Cache(redis_url(settings))
    try:
        yield Resident(settings, engine, cache, lambda: open_instance(settings))
    finally:
        cache.close()
        engine.dispose()
