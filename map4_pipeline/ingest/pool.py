"""Worker processes: as many as cores, each replaced when a file takes it down, none outlives the run.

Pebble's pool is used, not `concurrent.futures`: there a worker that crashes or hangs breaks the whole pool; here it
costs the one file.
"""

import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Self

from pebble import ProcessExpired, ProcessPool

from map4_pipeline.ingest.worker import prepare_worker, warm_up
from map4_pipeline.store.errors import InfrastructureError

if TYPE_CHECKING:
    from map4_pipeline.ingest.ahead import LookAhead

#: Threads that a numerical library may start by itself would fight with the other workers.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

#: So many times a pool is replaced whose workers were killed from outside (by the system, for want of memory) between two tasks.
_MAX_RESTARTS = 10
#: Seconds between two looks at whether workers still take tasks, while some are under way.
_PROBE_SECONDS = 15.0


def answer() -> None:
    """Do nothing, in a worker: what comes back says that tasks are taken."""


class WorkerPool:
    """A pool of processes for `worker.identify_file` and `worker.analyse_file`.

    Parameters
    ----------
    workers : int
    timeout_seconds : float
        A task that takes longer is stopped with its process.
    memory_mb : int
        Limit of one worker (Linux).
    nice : int
        Added to the workers' niceness.

    Attributes
    ----------
    ahead : LookAhead or None
        Files that are looked at before a run asks for them.
    closed : bool
        The workers were ended.
    """

    ahead: "LookAhead | None" = None

    def __init__(self, workers: int, timeout_seconds: float = 600.0, memory_mb: int = 2048, nice: int = 0) -> None:
        self.workers = workers
        self._timeout = timeout_seconds
        for name in _ONE_THREAD:
            os.environ.setdefault(name, "1")
        # Dagster runs threads, so a plain fork is not safe; a fork server that has numpy loaded is, and starts in milliseconds.
        context = multiprocessing.get_context("spawn" if sys.platform in ("win32", "darwin") else "forkserver")
        if sys.platform not in ("win32", "darwin"):
            context.set_forkserver_preload(["map4_pipeline.ingest.preload"])
        self._options: dict[str, Any] = {
            "max_workers": workers,
            "initializer": prepare_worker,
            "initargs": (memory_mb, nice),
            "context": context,
        }
        self._restarts = 0
        self._open = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._prober: threading.Thread | None = None
        self.closed = False
        self._pool = ProcessPool(**self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def warm_up(self) -> set[int]:
        """Start every worker and return their process ids."""
        futures = [self._pool.schedule(warm_up) for _ in range(self.workers * 2)]
        return {future.result() for future in futures}

    def submit(self, function: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Run a function of `worker` in a process."""
        if not self._pool.active:
            self._restart()
        try:
            future = self._pool.schedule(function, args=args, timeout=self._timeout)
        except RuntimeError:  # it broke in this moment
            self._restart()
            future = self._pool.schedule(function, args=args, timeout=self._timeout)
        self._watch(future)
        return future

    def _watch(self, future: "Future[Any]") -> None:
        with self._lock:
            self._open += 1
            if self._prober is None:
                self._prober = threading.Thread(target=self._probe, args=(self._pool, self._ended), name="prober", daemon=True)
                self._prober.start()
        future.add_done_callback(self._settled)

    def _settled(self, _: "Future[Any]") -> None:
        with self._lock:
            self._open -= 1

    def _probe(self, pool: ProcessPool, ended: threading.Event) -> None:
        """Give the workers a task of no work now and then.

        One that is killed after it has taken a task and before it has said so leaves a task that nobody does, which pebble takes
        for one that waits, and the locks that it held. Whoever takes the next task cannot, and the pool is given up: `is_lost`.
        """
        probe: Future[Any] | None = None
        while not ended.wait(_PROBE_SECONDS):
            if self._open and (probe is None or probe.done()):
                with contextlib.suppress(RuntimeError):  # it is broken or closed already
                    probe = pool.schedule(answer)

    def is_lost(self, error: BaseException) -> bool:
        """Return whether a task was lost with the pool, by no fault of its own: it may be submitted again.

        Pebble gives a pool up when a worker is killed that has no task in hand.
        """
        return isinstance(error, BrokenProcessPool)

    def _restart(self) -> None:
        self._restarts += 1
        if self._restarts > _MAX_RESTARTS:
            raise InfrastructureError(
                "The worker processes are killed again and again, probably for want of memory. Set MAP4_WORKERS lower."
            )
        self.close(at_once=True)
        with self._lock:
            self._pool, self.closed = ProcessPool(**self._options), False
            self._ended, self._prober = threading.Event(), None

    def failure(self, error: BaseException) -> tuple[str, str]:
        """Return (error kind, message) for a task that did not come back with a value."""
        if isinstance(error, FutureTimeoutError | TimeoutError):
            return "timeout", f"The analysis took longer than {self._timeout:.0f} s and was stopped (MAP4_FILE_TIMEOUT_SECONDS)."
        if isinstance(error, ProcessExpired):
            return "crashed", f"The decoder crashed on this file (exit code {error.exitcode}); the file is probably damaged."
        if isinstance(error, MemoryError):
            return "memory", "Analysing this file takes more memory than a worker may use (MAP4_WORKER_MEMORY_MB)."
        return "internal", f"A defect of MAP4 ({type(error).__name__}: {str(error)[:200]}). Please report it with this file."

    def close(self, *, at_once: bool = False) -> None:
        """End the workers; `at_once` without waiting for what they are doing."""
        self.closed = True
        self._ended.set()
        if at_once:
            self._pool.stop()  # type: ignore[no-untyped-call]
        else:
            self._pool.close()  # type: ignore[no-untyped-call]
        self._pool.join()
