"""Carry out a session's work as Dagster runs inside this process: a first import in chunks, scattered changes in one."""

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from map4_pipeline.cli import garbage
from map4_pipeline.cli.progress import RunDisplay
from map4_pipeline.library.ledger import Ledger

if TYPE_CHECKING:
    from dagster import DagsterInstance, Definitions
    from rich.console import Console

    from map4_pipeline.ingest.pool import WorkerPool
    from map4_pipeline.ingest.session import Session
    from map4_pipeline.settings import Settings

#: More ranges of neighbouring directories than this are done in one run without partitions.
MAX_RANGES = 10

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, slots=True)
class Plan:
    """How a session is carried out."""

    retry_failed: bool = False
    verify: bool = False
    confirm_loss: bool = False
    report: bool = True
    niceness: int = 0


def chunks(keys: Sequence[str], sizes: dict[str, int], order: list[str], max_bytes: int, max_directories: int) -> list[list[str]]:
    """Cut directories into ranges of neighbours of at most so many bytes and directories; a directory is never cut.

    Parameters
    ----------
    keys : sequence of str
        Partition keys with work.
    sizes : dict
        Bytes per key.
    order : list of str
        All keys in the order of registration.
    """
    from map4_pipeline.orchestration.partitions import stretches

    found: list[list[str]] = []
    for stretch in stretches(keys, order):
        current: list[str] = []
        size = 0
        for key in stretch:
            if current and (size + sizes.get(key, 0) > max_bytes or len(current) >= max_directories):
                found.append(current)
                current, size = [], 0
            current.append(key)
            size += sizes.get(key, 0)
        found.append(current)
    return found


def run_plan(configured: "Settings", session: "Session", plan: Plan, console: "Console") -> tuple[Ledger, int]:
    """Carry out a session's work; return the ledger and how many runs failed."""
    session.bench.nice = plan.niceness
    # The workers begin while Dagster is loaded, which takes longer than a track.
    ahead = session.bench.start_ahead(session) if session.touched else contextlib.nullcontext()
    with ahead as workers:
        return _run_plan(configured, session, plan, console, workers)


def _run_plan(
    configured: "Settings", session: "Session", plan: Plan, console: "Console", workers: "WorkerPool | None"
) -> tuple[Ledger, int]:
    from map4_pipeline.orchestration.definitions import build_defs
    from map4_pipeline.orchestration.instance import open_instance
    from map4_pipeline.orchestration.orphans import close_orphans, owner_tag
    from map4_pipeline.orchestration.partitions import register_partitions
    from map4_pipeline.orchestration.resources import Map4Resource
    from map4_pipeline.orchestration.scope import (
        LIBRARIES_TAG,
        LOSS_TAG,
        OWNER_TAG,
        RETRY_TAG,
        SCANS_TAG,
        VERIFY_TAG,
        WHOLE_LINE_TAG,
        scans_tag,
    )

    flags = {RETRY_TAG: plan.retry_failed, VERIFY_TAG: plan.verify, LOSS_TAG: plan.confirm_loss, WHOLE_LINE_TAG: plan.report}
    tags = {OWNER_TAG: owner_tag(), **{tag: "true" for tag, on in flags.items() if on}}
    failed = 0
    with open_instance(configured, captures=False) as instance, RunDisplay(console) as display:
        close_orphans(instance)
        order = register_partitions(instance, session.bench.engine)
        keys = [directory.partition_key for directory in session.touched]
        ranges = chunks(keys, session.sizes, order, configured.chunk_bytes, configured.chunk_directories)
        resource = Map4Resource(nice=plan.niceness).with_progress(lambda: display).with_workers(workers)
        defs = build_defs({"map4": resource})
        garbage.loaded()
        if len(ranges) > MAX_RANGES and not _is_large(ranges, session, configured):
            libraries = ",".join(str(survey.library.id) for survey in session.surveys if survey.refusal is None)
            failed += not _execute(defs, "refresh_library", instance, {**tags, LIBRARIES_TAG: libraries}, console)
            ledger = _last_ledger(session)
        else:
            session.begin()
            loading = _load_reports() if plan.report else None
            try:
                for part in ranges:
                    covered = {
                        SCANS_TAG: scans_tag(session.scan_ids),
                        "dagster/asset_partition_range_start": part[0],
                        "dagster/asset_partition_range_end": part[-1],
                    }
                    failed += not _execute(defs, "ingest_library", instance, {**tags, **covered}, console)
            except KeyboardInterrupt:
                session.finish("failed", "interrupted by the user")
                raise
            finally:
                if loading is not None:  # a thread that imports while the interpreter ends makes it abort
                    loading.join()
            ledger = session.finish("failed", f"{failed} of {len(ranges)} runs failed") if failed else session.finish()
            if plan.report:
                display.stage("writing the report")
                failed += not _execute(defs, "report_library", instance, tags, console)
    return ledger, failed


def _load_reports() -> threading.Thread:
    """Load what writes reports, in the thread that is returned, while the workers are busy and this process waits for them."""

    def load() -> None:
        with contextlib.suppress(ImportError):  # told when the report is written
            for name in ("map4_pipeline.reports.html", "map4_pipeline.reports.pdf_content", "openpyxl"):
                importlib.import_module(name)

    thread = threading.Thread(target=load, name="load-reports", daemon=True)
    thread.start()
    return thread


def _is_large(ranges: list[list[str]], session: "Session", configured: "Settings") -> bool:
    """Return whether the work is a first import's, however scattered: too much for one run."""
    return sum(session.sizes.values()) > configured.chunk_bytes and sum(map(len, ranges)) > MAX_RANGES * 10


def _last_ledger(session: "Session") -> Ledger:
    from map4_pipeline.store.scans import last_completed

    total = Ledger()
    with session.bench.engine.connect() as conn:
        found = last_completed(conn)
    for survey in session.surveys:
        if survey.library.id in found:
            total += found[survey.library.id][1]
    return total


def _execute(defs: "Definitions", job: str, instance: "DagsterInstance", tags: dict[str, str], console: "Console") -> bool:
    """Execute a job in this process; a failure is told in a sentence and logged in full in Dagster.

    Raises
    ------
    KeyboardInterrupt
        When Ctrl-C or SIGTERM ended the run: what was to follow it does not.
    """
    resolved: Any = defs.resolve_job_def(job)
    with _quiet_libraries(), _signals() as came:
        result = resolved.execute_in_process(instance=instance, tags=tags, run_config=_QUIET, raise_on_error=False)
        interrupted = came()
    if interrupted:  # also in the moment in which Dagster finishes the run: it takes the signal then, and forgets it
        raise KeyboardInterrupt
    if result.success:
        return True
    if _was_interrupted(result):
        raise KeyboardInterrupt
    console.print(f"The run {result.run_id[:8]} of {job} failed: {_reason(result)}", style="bold red", markup=False)
    console.print("What it had finished is kept; the same command goes on from there. `map4 up` shows the run.")
    return False


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C and SIGTERM, whoever handles them meanwhile; what is given says whether one came."""
    import signal
    import socket

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield lambda: False
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

        def came() -> bool:
            with contextlib.suppress(BlockingIOError):
                return not {signal.SIGINT, signal.SIGTERM}.isdisjoint(ours.recv(1024))
            return False

        try:
            yield came
        finally:
            signal.set_wakeup_fd(before)


def _errors(result: Any) -> Iterator[Any]:
    """Yield the errors of a run's events, each with its causes, the innermost last."""
    for event in result.all_events:
        error = getattr(getattr(event, "event_specific_data", None), "error", None)
        while error is not None:
            yield error
            error = error.cause


def _was_interrupted(result: Any) -> bool:
    """Return whether a signal ended the run; Dagster takes the signal and reports it as the run's failure."""
    from dagster import DagsterEventType

    canceled = any(event.event_type == DagsterEventType.PIPELINE_CANCELED for event in result.all_events)
    return canceled or any(e.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt") for e in _errors(result))


def _reason(result: Any) -> str:
    for error in _errors(result):
        if error.cause is None:
            return str(error.message).strip().splitlines()[0][:300]
    return "no reason was recorded"


@contextlib.contextmanager
def _quiet_libraries() -> Any:
    """Keep Dagster's notes to developers off the user's screen while a run is executed."""
    import logging
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger = logging.getLogger("dagster")
        before = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(before)
