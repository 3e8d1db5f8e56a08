"""The resident worker as a process of its own, and who starts it anew when it dies.

    python -m map4_pipeline.cli.resident PARENT_PID

A process of its own, because loading Dagster and writing results would slow down the answers of `map4 serve`. It ends with its
parent, however that ends.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from map4_pipeline.settings import Settings

#: The rest before a worker that has died is started anew: short at first, longer where it dies again and again.
_REST_SECONDS = (0.2, 1.0, 5.0, 15.0)
_STOP_SECONDS = 15.0
#: The log is put aside when it is larger than this at a start.
_LOG_BYTES = 10_000_000


class ResidentProcess:
    """Keeps the resident worker's process up for the length of a `with` block; nothing where the settings want none.

    Parameters
    ----------
    log : Path
        Where it writes what it has to say.
    """

    def __init__(self, settings: "Settings", log: Path) -> None:
        self._settings = settings
        self._log = log
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        # The thread that starts a process is the one with which Linux lets it end: this one lives as long as the block.
        self._thread = threading.Thread(target=self._keep, name="resident-keeper", daemon=True)

    def __enter__(self) -> Self:
        if self._settings.single_workers:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        if not self._settings.single_workers:
            return
        with self._lock:
            process = self._process
        if process is not None:
            process.terminate()
        self._thread.join(_STOP_SECONDS + 5)

    def _keep(self) -> None:
        deaths = 0
        while not self._stop.is_set():
            with self._open_log() as log, self._lock:
                if self._stop.is_set():
                    return
                self._process = process = self._start(log)
            while True:
                try:
                    process.wait(1.0)
                    break
                except subprocess.TimeoutExpired:
                    if self._stop.is_set():
                        self._end(process)
                        return
            self._stop.wait(_REST_SECONDS[min(deaths, len(_REST_SECONDS) - 1)])
            deaths += 1

    def _start(self, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "MAP4_HOME": str(self._settings.home), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", __name__, str(os.getpid())]
        # A session of its own: Ctrl-C in the terminal is for the parent, which then ends this one.
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=self._settings.home,
            start_new_session=sys.platform != "win32",
        )  # fmt: skip

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _open_log(self) -> IO[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
            self._log.replace(self._log.with_name(f"{self._log.name}.1"))
        return self._log.open("ab")


def main(arguments: list[str]) -> None:
    """Be the resident worker of a parent process."""
    from map4_pipeline.audio.engines import load_engine
    from map4_pipeline.cli.service import tie_to_parent
    from map4_pipeline.observe.logs import configure_logging
    from map4_pipeline.observe.sentry import start_sentry
    from map4_pipeline.orchestration.resident import resident_of
    from map4_pipeline.settings import settings

    configured = settings()
    configure_logging(configured, "resident", console=sys.stderr)
    start_sentry(configured, "resident")
    load_engine(configured.engine)
    with resident_of(configured) as resident:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: resident.stop())
        tie_to_parent(int(arguments[0]))
        resident.run()


if __name__ == "__main__":
    main(sys.argv[1:])
