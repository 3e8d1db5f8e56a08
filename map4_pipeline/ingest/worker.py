"""What runs in a worker process: identify a file, analyse a file. Plain values in, plain values out.

Nothing here knows the database. A bad file is a value (`error_kind`), never an exception.
"""

import contextlib
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from map4_pipeline.audio.errors import AudioError
from map4_pipeline.audio.model import ENGINE

if TYPE_CHECKING:
    from map4_pipeline.audio.spectra import Spectra

_LOCK_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Identified:
    """What a file's content is and what its tags say, or why it could not be read.

    `state` is the file's size and time of modification as it was read: whoever opens it again can tell whether it is the same.
    """

    identity: dict[str, Any] | None
    tags: dict[str, Any] | None
    bytes_read: int
    error_kind: str | None = None
    error_message: str | None = None
    state: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Analysed:
    """A payload per stage as it is stored, or why there is none."""

    payloads: dict[str, dict[str, Any]]
    cpu_seconds: float
    error_kind: str | None = None
    error_message: str | None = None


def prepare_worker(memory_mb: int, nice: int) -> None:
    """Set a worker process up: one thread, limits, Ctrl-C left to the parent, nothing on its standard output."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes
        import resource

        # A run that is killed takes its workers with it (1: PR_SET_PDEATHSIG).
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
        _leave_fork_server()
        # Data, not address space: numpy and FFmpeg map more than they use.
        limit = memory_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # How long workers wait for a lock that one of them was killed with, before the pool is given up and made anew (pebble: 60 s).
    from pebble import CONSTS

    CONSTS.channel_lock_timeout = _LOCK_SECONDS
    if nice and hasattr(os, "nice"):
        os.nice(nice)


def _leave_fork_server() -> None:
    """Close this worker's copy of the pipe that keeps the fork server up.

    The fork server lives as long as anybody has that pipe open, and its workers as long as the fork server. With a copy in every
    worker, one that hangs in a decoder would outlive a run that was killed.
    """
    from multiprocessing import forkserver

    server: Any = getattr(forkserver, "_forkserver", None)
    descriptor = getattr(server, "_forkserver_alive_fd", None)
    if isinstance(descriptor, int):
        server._forkserver_alive_fd = None
        os.close(descriptor)


def warm_up() -> int:
    """Load and compile what an analysis needs, so that the first file does not pay for it. Returns the process id."""
    import map4_pipeline.audio.engine
    import map4_pipeline.library.identity
    import map4_pipeline.library.tags  # noqa: F401
    from map4_pipeline.audio.vector_code import ForbiddenCodeError, compile_all

    with contextlib.suppress(ForbiddenCodeError):  # every analysis will say so
        compile_all()
    return os.getpid()


def identify_file(path: bytes) -> Identified:
    """Read a file once: hashes of its bytes and of its audio, and its tags."""
    from map4_pipeline.library.identity import identify
    from map4_pipeline.library.tags import read_tags

    name = os.fsdecode(path)
    state = _state(path)
    try:
        found = identify(name)
    except AudioError as error:
        return Identified(None, None, 0, error.kind, error.message)
    except MemoryError:
        return Identified(
            None, None, 0, "memory", "Reading this file takes more memory than a worker may use (MAP4_WORKER_MEMORY_MB)."
        )
    except Exception as error:  # noqa: BLE001  a defect of ours must not stop the run; it is reported on the file's row
        return Identified(None, None, 0, "internal", _defect(error))
    identity = {"file_hash": found.file_hash, "audio_hash": found.audio_hash, "audio_hash_kind": found.audio_hash_kind}
    try:
        tags = tag_columns(read_tags(name).to_dict())
    except Exception as error:  # noqa: BLE001  tags are never a reason to lose a track
        tags = tag_columns({"other": {"map4:tags_error": _defect(error)}})
    return Identified(identity, tags, found.bytes_read, state=state)


def _state(path: bytes) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def analyse_file(
    path: bytes,
    stages: tuple[str, ...],
    engine: str = ENGINE,
    on_spectra: "Callable[[Spectra], None] | None" = None,
    state: tuple[int, int] | None = None,
) -> Analysed:
    """Decode a file once and measure what the stages ask for, the features by an engine of this name.

    What is measured is kept under the hash of the audio that was identified. So a file that is no longer as it was then (`state`;
    where that is not given, as it was at the start) has no measurements, and is "unreadable" for this time.
    """
    state = state or _state(path)
    analysed = _analyse_file(path, stages, engine, on_spectra)
    if state is not None and _state(path) != state:
        return Analysed({}, analysed.cpu_seconds, "unreadable", "The file changed while it was read; the next run takes it up.")
    return analysed


def _analyse_file(path: bytes, stages: tuple[str, ...], engine: str, on_spectra: "Callable[[Spectra], None] | None") -> Analysed:
    from map4_pipeline.audio import analyse

    started = time.process_time()
    try:
        analysis = analyse(os.fsdecode(path), stages=stages, engine=engine, on_spectra=on_spectra)
    except AudioError as error:
        return Analysed({}, time.process_time() - started, error.kind, error.message)
    except MemoryError:
        message = "Analysing this file takes more memory than a worker may use (MAP4_WORKER_MEMORY_MB)."
        return Analysed({}, time.process_time() - started, "memory", message)
    except Exception as error:  # noqa: BLE001  as above
        return Analysed({}, time.process_time() - started, "internal", _forbidden(error) or _defect(error))
    payloads: dict[str, dict[str, Any]] = {}
    if analysis.features is not None:
        payloads["features"] = {"technical": _plain(analysis.technical), "features": analysis.features.to_dict()}
    if analysis.fingerprint is not None:
        payloads["fingerprint"] = analysis.fingerprint.to_dict()
    try:
        json.dumps(payloads, allow_nan=False)
    except ValueError as error:  # NaN is no measurement; it must neither be stored nor stop the run
        return Analysed({}, time.process_time() - started, "internal", _defect(error))
    if analysis.technical.duration > 1200:
        gc.collect()
    return Analysed(payloads, time.process_time() - started)


def tag_columns(tags: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of `tracks` that hold tags; whatever has no column of its own is in `tags`."""
    from map4_pipeline.hamms.camelot import parse_key, to_camelot

    columns = ("title", "artist", "album", "album_artist", "composer", "genre", "year", "track_number", "disc_number")
    return {
        **{name: tags.get(name) for name in columns},
        "tags_bpm": tags.get("bpm"),
        "tags_key": tags.get("key"),
        "tags_camelot": to_camelot(parse_key(tags.get("key"))),
        "tags": {**tags.get("other", {}), "has_cover": bool(tags.get("has_cover", False))},
    }


def _plain(value: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(value)


def _forbidden(error: Exception) -> str:
    from map4_pipeline.audio.vector_code import ForbiddenCodeError

    return str(error) if isinstance(error, ForbiddenCodeError) else ""


def _defect(error: Exception) -> str:
    place = ""
    trace = error.__traceback__
    while trace is not None:
        place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"A defect of MAP4 ({type(error).__name__} at {place}: {str(error)[:200]}). Please report it with this file."
