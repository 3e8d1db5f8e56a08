"""`map4 up`: Dagster's UI and daemon on the same instance and database as `map4 ingest`, until Ctrl-C.

One code server serves both: measured on two busy cores, that is 350 MB in three processes ready in half the time of
`dagster dev`'s way, in which each loads the code in a server of its own (450 MB, four processes).
"""

import json
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from map4_pipeline.cli.services import Services
    from map4_pipeline.settings import Settings
    from map4_pipeline.store.filelock import FileLock

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: A service that is not ready by then has a problem; a slow disk with a cold cache takes a minute.
START_SECONDS = 240.0


@click.command()
@click.option("--host", help="Address to listen on. Default: MAP4_HTTP_HOST or 127.0.0.1.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port of the UI, 0 for any free one. Default: MAP4_HTTP_PORT or 3000."
)
@click.option("--open", "open_browser", is_flag=True, help="Open the UI in the browser when it is ready.")
def up(host: str | None, port: int | None, open_browser: bool) -> None:
    """Start the Dagster UI and the daemon (schedules, watched folders) on the same library; Ctrl-C stops both."""
    from map4_pipeline.audio.engines import load_engine
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.settings import settings

    configured = settings()
    load_engine(configured.engine)
    stop = _stop_on_signals()
    with _only_one(configured) as note:
        run_up(
            configured, host or configured.http_host, configured.http_port if port is None else port, note, stop,
            make_console(), open_browser,
        )  # fmt: skip


def run_up(
    configured: "Settings",
    host: str,
    port: int,
    note: "Note",
    stop: threading.Event,
    console: "Console",
    open_browser: bool,
) -> None:
    """Do what `map4 up` says, until `stop` is set.

    Raises
    ------
    InfrastructureError
        When a service does not start or ends by itself.
    """
    from map4_pipeline.api.revive import Reviver
    from map4_pipeline.cli.resident import ResidentProcess
    from map4_pipeline.cli.services import Services, free_port
    from map4_pipeline.orchestration.instance import prepare_home
    from map4_pipeline.store.database import open_database

    port = free_port(host, port)
    if host not in _LOOPBACK:
        console.print(
            f"Warning: the UI listens on {host}. It has no login: whoever reaches it can start and stop runs. "
            "Put a proxy with a login before it, or use an SSH tunnel to 127.0.0.1.",
            style="bold yellow", markup=False,
        )  # fmt: skip
    console.print("Starting the Dagster UI and its daemon ...")
    home = prepare_home(configured)
    # Joins the embedded server, which then stays up for the life of this process, and brings the schema up to date.
    open_database(configured).dispose()
    with Services(configured, home, host, port, stop, note.descriptors) as services:
        state = services.prepare()
        if stop.is_set():
            return
        services.start()
        note.write(services.url, services.process_ids)
        if not services.wait_until_ready(START_SECONDS):
            return
        _tell(console, configured, services, state)
        if open_browser:
            click.launch(services.url)
        # A single file in the queue does not wait for a run.
        with ResidentProcess(configured, services.log_folder / "resident.log"):
            # Without its database nothing here works, and nobody would start a killed one again.
            reviver = Reviver(configured)
            reviver.start()
            try:
                services.supervise(reviver.missed)
            finally:
                reviver.stop()
    console.print("Stopped. Schedules and watched folders rest until the next `map4 up`.")


def _tell(console: "Console", configured: "Settings", services: "Services", state: dict[str, Any]) -> None:
    """Print the address, the libraries, what is watched, and how to stop."""
    from map4_pipeline.cli.console import printable

    libraries = state["libraries"]
    console.print()
    console.print(f"Dagster UI  {services.url}", style="bold", markup=False, soft_wrap=True)
    if libraries:
        for number, (name, root) in enumerate(libraries):
            console.print(
                f"{'' if number else 'Libraries':<11} {printable(name)}  {printable(root)}", markup=False, soft_wrap=True
            )
        console.print(f"Partitions  {state['partitions']:,} directories")
        console.print(
            f"Watching    new, changed and vanished files in {'it' if len(libraries) == 1 else 'them'} "
            f"every {configured.watch_seconds} s; a look at everything: {configured.refresh_cron} ({configured.timezone})",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    else:
        console.print("Libraries   none yet; in another terminal: map4 ingest ~/Music")
    for sentence in state["notes"]:
        console.print(f"Note        {sentence}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"Logs        {services.log_folder}", markup=False, soft_wrap=True)
    console.print("Stop        Ctrl-C")


def _stop_on_signals() -> threading.Event:
    """Let Ctrl-C, SIGTERM and the end of the terminal set an event.

    A process that a shell script starts with `&` inherits SIGINT as ignored; a handler of our own takes it back.
    """
    stop = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, lambda *_: stop.set())
    return stop


class Note:
    """Says which `map4 up` runs on a home, and where: a lock that ends with its processes, and a file to read.

    The services inherit the lock. So it also stands while a service is left over, which would go on launching runs.
    """

    def __init__(self, lock: "FileLock", path: Path) -> None:
        self._lock = lock
        self._path = path

    def __enter__(self) -> "Note":
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        self._lock.release()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The open lock file, for the services to inherit."""
        return () if self._lock.descriptor is None else (self._lock.descriptor,)

    def write(self, url: str, process_ids: list[int]) -> None:
        """Write down where the UI is and which processes serve it."""
        self._path.write_text(json.dumps({"url": url, "pid": os.getpid(), "services": process_ids}))


def _only_one(configured: "Settings") -> Note:
    from map4_pipeline.store.errors import InfrastructureError
    from map4_pipeline.store.filelock import FileLock

    try:
        configured.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(
            f"{configured.home} cannot be made ({error.strerror}). Set MAP4_HOME to a folder that this user may write to."
        ) from None
    path = configured.home / "up.json"
    lock = FileLock(configured.home / "up.lock")
    if not lock.acquire(wait=False):
        raise click.UsageError(
            f"`map4 up` runs already on {configured.home}{_where(path)}. Stop that one first (Ctrl-C), or use it."
        )
    return Note(lock, path)


def _where(path: Path) -> str:
    """Return what a running `map4 up` wrote down about itself, as the rest of a sentence."""
    try:
        found = json.loads(path.read_text())
        return f" as process {int(found['pid'])}: {found['url']}"
    except (OSError, ValueError, KeyError, TypeError):
        return " and is starting"
