"""`map4 analyze`: files in, a line a file out; no database, and nothing is written but what `--frames` asks for."""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from map4_pipeline.audio.frame_files import FrameNames
    from map4_pipeline.settings import Settings

#: (path, None), or (path, why it cannot even be tried).
Candidate = tuple[bytes, str | None]
Record = dict[str, Any]
_Made = TypeVar("_Made")

#: Results wait in memory for the one before them, so that they come in order; so many per worker at most.
_AHEAD = 32
_ENDING = (signal.SIGINT, signal.SIGTERM)


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--format", "output", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True, help="What is printed."
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json: one object a line.")
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes that analyse at the same time. Default: one per core.")
@click.option(
    "--frames",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write features of every frame (Parquet), and tempo, beats, keys and sections (JAMS), a file each, into DIR.",
)
def analyze(paths: tuple[str, ...], output: str, as_json: bool, workers: int | None, frames: Path | None) -> None:
    """Analyse FILEs and print a line for each, in the order given; folders are searched for audio.

    No database is needed and nothing is written but into DIR. A file that cannot be analysed has its line too, with the reason,
    and the exit code is then 1. In CSV the twelve HAMMS dimensions have a column each (hamms_bpm, ...), and a text that
    a spreadsheet program would take for a formula begins with an apostrophe.
    """
    from map4_pipeline.audio.engines import load_engine
    from map4_pipeline.settings import settings

    configured = settings()
    load_engine(configured.engine)
    writer = record_writer("json" if as_json else output)
    failed = 0
    found = False
    # Closed even if the reader goes away, so that no worker is left.
    files = find_files(map(os.fsencode, paths))
    records = analyse_all(files, configured, workers or configured.workers, frames=_names_in(frames))
    try:
        for record in records:
            found = True
            failed += record["status"] != "ok"
            writer(record)
    finally:
        records.close()
    if not found:
        click.echo("There is no audio file in what was given.", err=True)
    sys.exit(1 if failed else 0)


def find_files(paths: Iterable[bytes]) -> Iterator[Candidate]:
    """Yield the files to analyse: those that were named, whatever they are, and the audio files of folders."""
    for path in paths:
        if os.path.isdir(path):
            yield from _files_below(path)
        else:
            yield path, None


def _files_below(folder: bytes) -> Iterator[Candidate]:
    from map4_pipeline.library.filesystem import system_message
    from map4_pipeline.library.walk import walk

    try:
        for listing in walk(folder):
            directory = os.path.join(folder, listing.relative_path) if listing.relative_path else folder
            found = [(file.name, None) for file in listing.files] + [(entry.name, entry.message) for entry in listing.unreadable]
            for name, message in sorted(found):
                yield os.path.join(directory, name) if name else directory, message
    except OSError as error:
        yield folder, f"The folder cannot be listed: {system_message(error)}."


def _names_in(folder: Path | None) -> "FrameNames | None":
    if folder is None:
        return None
    from map4_pipeline.audio.frame_files import FrameNames

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"The folder {folder} cannot be made: {error.strerror}.") from None
    return FrameNames(folder)


def analyse_all(
    files: Iterator[Candidate], configured: "Settings", workers: int, *, frames: "FrameNames | None" = None
) -> Generator[Record, None, None]:
    """Yield a record a file, in order, as they come. A file that crashes its decoder or hangs costs its own record only."""
    from map4_pipeline.audio.engines import features_identity
    from map4_pipeline.audio.model import ENGINE
    from map4_pipeline.cli.records import analyse_path, failed_record

    first = list(islice(files, max(workers, 2)))
    # An engine that was loaded may have started threads, after which a fork is not safe; and only a pool hands errors back.
    if len(first) == 1 and configured.engine == ENGINE and frames is None:
        yield _alone(first[0], configured)
    elif first:

        def task(path: bytes) -> Callable[[bytes], Record]:
            return partial(analyse_path, engine=configured.engine, frames=None if frames is None else frames.stem(path))

        failed = partial(failed_record, version=features_identity(configured.engine)[1])
        yield from in_pool(chain(first, files), task, failed, configured, min(workers, len(first)))


def _alone(candidate: Candidate, configured: "Settings") -> Record:
    """Analyse a single file without a pool, which would take longer to start than the analysis takes."""
    from map4_pipeline.cli.records import analyse_path, failed_record

    path, message = candidate
    if message is not None:
        return failed_record(path, "unreadable", message)
    if sys.platform != "linux":
        return analyse_path(path)
    # This process has one thread and has loaded next to nothing: a fork is safe, takes a millisecond, and keeps a
    # crash or a hang away from the user.
    import multiprocessing

    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(path, configured.worker_memory_mb, sender), daemon=True)
    # A signal to the whole group must not find our handlers in the child, which would print a traceback.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    sender.close()
    try:
        if not receiver.poll(configured.file_timeout_seconds):
            limit = f"{configured.file_timeout_seconds:.0f} s"
            text = f"The analysis took longer than {limit} and was stopped (MAP4_FILE_TIMEOUT_SECONDS)."
            return failed_record(path, "timeout", text)
        record: Record = receiver.recv()
        return record
    except EOFError:
        process.join()
        text = f"The decoder crashed on this file (exit code {process.exitcode}); the file is probably damaged."
        return failed_record(path, "crashed", text)
    finally:
        process.kill()
        process.join()


def _child(path: bytes, memory_mb: int, sender: Any) -> None:
    from map4_pipeline.cli.records import analyse_path
    from map4_pipeline.ingest.worker import prepare_worker, warm_up

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    # Before the limits, since a compiler that runs out of memory ends the process.
    warm_up()
    prepare_worker(memory_mb, 0)
    sender.send(analyse_path(path))


def in_pool(
    files: Iterator[Candidate],
    task: Callable[[bytes], Callable[[bytes], _Made]],
    failed: Callable[[bytes, str, str], _Made],
    configured: "Settings",
    workers: int,
) -> Iterator[_Made]:
    """Yield what worker processes make of files, in order.

    Parameters
    ----------
    task : callable
        Returns the function that a worker calls with a path.
    failed : callable
        Makes what stands for a path that could not even be tried, or that took its worker down: (path, error kind, message).
    """
    from map4_pipeline.ingest.pool import WorkerPool

    pool = WorkerPool(workers, configured.file_timeout_seconds, configured.worker_memory_mb)
    waiting: deque[tuple[bytes, Any]] = deque()
    finished = False
    try:
        while True:
            while len(waiting) < _AHEAD * workers:
                candidate = next(files, None)
                if candidate is None:
                    break
                path, message = candidate
                waiting.append((path, pool.submit(task(path), path) if message is None else message))
            if not waiting:
                break
            path, result = waiting.popleft()
            if isinstance(result, str):
                yield failed(path, "unreadable", result)
                continue
            error = result.exception()
            if hasattr(error, "exit_code"):  # not the file's fault: no other file would fare better
                raise error
            yield failed(path, *pool.failure(error)) if error else result.result()
        finished = True
    finally:
        pool.close(at_once=not finished)


def record_writer(output: str) -> Callable[[Record], None]:
    """Return what prints a record; each line is out before the next file is done."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.records import NAMES

    if output == "json":
        return lambda record: lines.write_json(record, flush=True)
    if output == "csv":
        csv_lines = lines.CsvLines(NAMES)
        csv_lines.write_header()
        return lambda record: csv_lines.write(record, flush=True)
    from map4_pipeline.cli.tables import FileLines

    return FileLines().write
