"""Dagster's services behind `map4 up`: code server, webserver and daemon as children of this process."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

import click

from map4_pipeline.cli import service
from map4_pipeline.observe.files import BACKUPS, MAX_BYTES
from map4_pipeline.orchestration.instance import LOCATION, code_server_socket, write_workspace
from map4_pipeline.store.errors import InfrastructureError

if TYPE_CHECKING:
    from map4_pipeline.settings import Settings

MODULE = "map4_pipeline.orchestration.definitions"
#: A service's log is put aside at each start, and cut when it grows beyond this while it runs.
LOG_BYTES = MAX_BYTES
LOGS_KEPT = BACKUPS
#: How often it is asked whether the embedded servers still run.
LOOK_SECONDS = 5.0
#: A run gets this long to write down that it was ended.
STOP_SECONDS = 20.0
_LOCATIONS_QUERY = """{ workspaceOrError { ... on Workspace { locationEntries {
  locationOrLoadError { __typename ... on PythonError { message } } } } } }"""


def free_port(host: str, port: int, command: str = "map4 up") -> int:
    """Return the port when it can be listened on, for 0 any that can; as `bound_socket`."""
    with bound_socket(host, port, command) as probe:
        return int(probe.getsockname()[1])


def bound_socket(host: str, port: int, command: str) -> socket.socket:
    """Return a socket that has a port, for 0 any that can be listened on, and does not listen yet.

    Parameters
    ----------
    host : str
        Of a name that has both, the IPv4 address is taken.
    command : str
        What the user typed.

    Raises
    ------
    click.UsageError
        When it is taken or not allowed, or the host is no address of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        with contextlib.ExitStack() as unless_bound:
            made = unless_bound.enter_context(socket.socket(family, kind, protocol))
            if sys.platform != "win32":
                # As the server does: connections of a server that has just ended do not count.
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            unless_bound.pop_all()
            return made
    except PermissionError:
        raise click.UsageError(
            f"Port {port} may only be used by an administrator. Choose another: {command} --port 3000"
        ) from None
    except OSError as error:
        if isinstance(error, socket.gaierror):
            raise click.UsageError(f"{host} is no address of this machine ({error.strerror}).") from None
        raise click.UsageError(
            f"Port {port} on {host} cannot be used ({error.strerror}). Choose another: {command} --port {min(port + 1, 65535)}"
        ) from None


@dataclass(slots=True)
class _Child:
    name: str
    title: str
    process: "subprocess.Popen[bytes]"
    log: Path


class Services:
    """Starts Dagster's services, watches them and ends them.

    Parameters
    ----------
    home : Path
        Dagster's home.
    stop : threading.Event
        Set when the user wants an end.
    inherited : sequence of int
        Open files that the services keep open: the lock of the one `map4 up` on this home.
    """

    def __init__(
        self, configured: "Settings", home: Path, host: str, port: int, stop: threading.Event, inherited: Sequence[int] = ()
    ) -> None:
        self._settings = configured
        self._home = home
        self._host = host
        self._port = port
        self._stop = stop
        self._inherited = inherited
        self._children: list[_Child] = []
        self._temporary: Path | None = None
        self.log_folder = configured.home / "logs"

    @property
    def url(self) -> str:
        """The UI's address as a browser on this machine takes it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    @property
    def process_ids(self) -> list[int]:
        """The services' process ids."""
        return [child.process.pid for child in self._children]

    def __enter__(self) -> Self:
        self.log_folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    # Starting

    def prepare(self) -> dict[str, Any]:
        """Bring Dagster's storage up to date, close what a killed `map4 up` left open, register directories.

        In a process of its own: this one then stays small, and three services do not all make the same tables.

        Returns
        -------
        dict
            `libraries` as (name, root), number of `partitions`, and `notes` for the user.
        """
        command = [sys.executable, "-m", "map4_pipeline.cli.prepare", str(self._socket())]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment(), cwd=self._home)
        if done.returncode != 0:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
            raise InfrastructureError(f"Dagster's storage cannot be used: {lines[-1].removeprefix('map4: ')}")
        state: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return state

    def start(self) -> None:
        """Start the services; webserver and daemon wait for the code server by themselves."""
        where = self._socket()
        server: dict[str, str | int]
        if sys.platform == "win32":
            port = free_port("127.0.0.1", 0)
            listen, waiting = ["--port", str(port), "--host", "127.0.0.1"], None
            server = {"host": "127.0.0.1", "port": port}
        else:
            where.unlink(missing_ok=True)
            listen, waiting = ["--socket", str(where)], str(where)
            server = {"socket": str(where)}
        workspace = write_workspace(self._home, server)
        code = ["api", "grpc", *listen, "--module-name", MODULE, "--location-name", LOCATION]
        code += ["--empty-working-directory", "--use-python-environment-entry-point"]
        web = ["--host", self._host, "--port", str(self._port), "--workspace", str(workspace)]
        self._spawn("code-server", "The code server", "dagster", code, None)
        self._spawn("webserver", "The Dagster UI", "dagster-webserver", web, waiting)
        self._spawn("daemon", "The Dagster daemon", "dagster-daemon", ["run", "--workspace", str(workspace)], waiting)

    def wait_until_ready(self, seconds: float) -> bool:
        """Wait until the UI answers and knows the assets; return False when the user did not want to wait.

        Raises
        ------
        InfrastructureError
            When a service ended or the time is over.
        """
        deadline = time.monotonic() + seconds
        while not self._stop.wait(0.25):
            self._check()
            if self._is_loaded():
                return True
            if time.monotonic() > deadline:
                raise InfrastructureError(
                    f"The Dagster UI did not answer within {seconds:.0f} s. See the logs in {self.log_folder}."
                )
        return False

    def supervise(self, look: Callable[[], None]) -> None:
        """Wait until the user wants an end.

        Parameters
        ----------
        look : callable
            Called every `LOOK_SECONDS`.

        Raises
        ------
        InfrastructureError
            When a service ended by itself, with the last it said.
        """
        looked = time.monotonic()
        while not self._stop.wait(1.0):
            self._check()
            if time.monotonic() - looked > LOOK_SECONDS:
                look()
                looked = time.monotonic()
            for child in self._children:
                _cut(child.log)

    def _is_loaded(self) -> bool:
        body = json.dumps({"query": _LOCATIONS_QUERY}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        try:
            # Not through a proxy that the environment names: this is our own machine.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=10) as answer:
                entries = json.load(answer)["data"]["workspaceOrError"].get("locationEntries") or []
        except (OSError, urllib.error.URLError, ValueError, KeyError, TypeError):
            return False
        loaded = [entry["locationOrLoadError"] for entry in entries if entry["locationOrLoadError"]]
        for location in loaded:
            if location["__typename"] == "PythonError":
                raise InfrastructureError(f"MAP4's assets cannot be loaded: {location['message'].strip().splitlines()[-1]}")
        return bool(loaded)

    def _spawn(self, name: str, title: str, program: str, arguments: Sequence[str], wait_for: str | None) -> None:
        log = self.log_folder / f"{name}.log"
        _rotate(log)
        environment = self._environment()
        if wait_for is not None:
            environment[service.WAIT_FOR] = wait_for
        options: dict[str, Any] = {}
        if sys.platform == "win32":
            options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
        else:
            # A session of its own: it hears no Ctrl-C of the terminal, and it and its runs can be ended as one group.
            options["start_new_session"] = True
            options["pass_fds"] = self._inherited
        with log.open("ab") as output:
            command = [sys.executable, "-m", service.__name__, str(os.getpid()), program, *arguments]
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=self._home, **options
            )
        self._children.append(_Child(name, title, process, log))

    def _environment(self) -> dict[str, str]:
        # The services work in Dagster's home, not where the user stands: no stray module or .env is found there.
        found = {**os.environ, "MAP4_HOME": str(self._settings.home), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        found.pop(service.WAIT_FOR, None)
        return found

    def _socket(self) -> Path:
        """Return the code server's socket; a folder of its own outside Dagster's home is one that only this user can open."""
        path = code_server_socket(self._home)
        folder = path.parent
        if folder != self._home:
            folder.mkdir(mode=0o700, exist_ok=True)
            state = folder.lstat()
            if state.st_uid != os.getuid() or state.st_mode & 0o077 or folder.is_symlink():
                raise InfrastructureError(f"{folder} belongs to somebody else. Set MAP4_HOME to a folder with a shorter path.")
            self._temporary = folder
        return path

    # Watching and ending

    def _check(self) -> None:
        for child in self._children:
            code = child.process.poll()
            if code is not None and not self._stop.is_set():
                how = f"was killed by signal {-code}" if code < 0 else f"ended (exit code {code})"
                raise InfrastructureError(f"{child.title} {how}. The last it said: {_last_words(child.log)} (log: {child.log})")

    def end(self) -> None:
        """End the services: the daemon first, so that nothing is launched any more, then the code server with its runs."""
        order = sorted(self._children, key=lambda child: ("daemon", "code-server", "webserver").index(child.name))
        for child in order:
            _interrupt(child.process)
            if child.name == "daemon":
                # It may be launching a run in this moment.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(5)
        deadline = time.monotonic() + STOP_SECONDS
        for child in order:
            try:
                child.process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                _kill(child.process)
                child.process.wait()
            else:
                _kill(child.process, only_group=True)
        self._children.clear()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _interrupt(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        process.send_signal(signal.CTRL_BREAK_EVENT)
    else:
        process.send_signal(signal.SIGTERM)


def _kill(process: "subprocess.Popen[bytes]", *, only_group: bool = False) -> None:
    """Kill a service and what it started; with `only_group` what is left of a service that has ended."""
    if sys.platform == "win32":
        if not only_group:
            process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _rotate(log: Path) -> None:
    """Put a log aside and keep the newest ones."""
    with contextlib.suppress(OSError):
        if log.exists() and log.stat().st_size:
            _make_room(log)
            log.replace(log.with_name(f"{log.name}.1"))


def _make_room(log: Path) -> None:
    """Let the name of the newest older log be free; the oldest one goes."""
    for number in range(LOGS_KEPT, 1, -1):
        older = log.with_name(f"{log.name}.{number - 1}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number}"))


def _cut(log: Path) -> None:
    """Put aside a copy of a log that has grown large, and empty it; it is open for appending."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_BYTES:
            _make_room(log)
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)


def _last_words(log: Path, lines: int = 3) -> str:
    with contextlib.suppress(OSError), log.open("rb") as file:
        return _tail(file, lines)
    return "nothing"


def _tail(file: IO[bytes], lines: int) -> str:
    file.seek(0, os.SEEK_END)
    file.seek(max(file.tell() - 8192, 0))
    found = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return " / ".join(found[-lines:])[-600:] or "nothing"
