"""One of Dagster's services as a child of `map4 up`: it ends when its parent does, however that one ends.

    python -m map4_pipeline.cli.service PARENT_PID NAME ARGUMENT...

NAME is the program as Dagster installs it (`dagster`, `dagster-webserver`, `dagster-daemon`). Its public entry point is called
in this process, so that what has to be set up in the child itself can be: signals, the tie to the parent, the end of runs.
"""

import importlib.metadata
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

#: Set by `map4 up`: file of the code server's socket, which the other services wait for.
WAIT_FOR = "MAP4_WAIT_FOR_SOCKET"
WAIT_SECONDS = 180.0
#: What a service whose parent was killed has to end by itself in.
GRACE_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Call a program's entry point in this process."""
    parent, name, *rest = arguments
    signal.signal(signal.SIGINT, _end_with_runs)
    signal.signal(signal.SIGTERM, _end_with_runs)
    tie_to_parent(int(parent))
    _open_log(name)
    program = _entry_point(name)
    _wait_for_socket(os.environ.get(WAIT_FOR))
    sys.argv = [name, *rest]
    program()


def _open_log(name: str) -> None:
    """Let what this service and Dagster in it log go into MAP4's log too, as JSON; its own output stays readable for people."""
    from map4_pipeline.observe.logs import configure_logging
    from map4_pipeline.observe.sentry import start_sentry
    from map4_pipeline.settings import settings

    program = {"dagster": "code-server", "dagster-webserver": "webserver", "dagster-daemon": "daemon"}.get(name, name)
    configure_logging(settings(), program)
    start_sentry(settings(), program)


def _entry_point(name: str) -> Callable[[], Any]:
    (found,) = importlib.metadata.entry_points(group="console_scripts", name=name)
    program: Callable[[], Any] = found.load()
    return program


def _end_with_runs(_number: int, _frame: FrameType | None) -> None:
    """End as by Ctrl-C, after telling the runs that this process executes to end too (only the code server has any).

    Without it, a code server waits for its runs to end, which may take hours. Dagster lets SIGTERM do what SIGINT does.
    """
    import multiprocessing

    for run in multiprocessing.active_children():
        with suppress(OSError, ValueError):
            run.terminate()
    raise KeyboardInterrupt


def tie_to_parent(parent: int) -> None:
    """End this process when its parent is gone, also when that was killed: Linux says so, elsewhere it is asked every second."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if not _is_alive(parent):
        sys.exit(0)
    threading.Thread(target=_watch, args=(parent,), name="map4-parent", daemon=True).start()


def _watch(parent: int) -> None:
    while _is_alive(parent):
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _is_alive(parent: int) -> bool:
    if sys.platform == "win32":
        import psutil

        return bool(psutil.pid_exists(parent))
    else:
        return os.getppid() == parent


def _wait_for_socket(path: str | None) -> None:
    """Wait until the code server listens, so that the first look at the code finds it."""
    deadline = time.monotonic() + WAIT_SECONDS
    while path and not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1:])
