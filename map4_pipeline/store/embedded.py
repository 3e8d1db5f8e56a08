"""Who owns a server that several MAP4 processes share: start it, join it, leave it, and let the last one stop it.

Three lock files in the server's folder say everything. The operating system drops locks when a process ends,
so that a killed process leaves no wrong answer behind:

`server.lock`
    Held by the server itself, which inherits the open file. Free means: no process of that server is left.
`clients.lock`
    Shared by every process that uses the server, for as long as it lives.
`start.lock`
    Held while somebody starts or stops the server.

Leaving means dropping the share; who then gets `clients.lock` alone was the last one and stops the server, unless
the file `pinned` is there (`map4 db start`). A server whose last user was killed stays up, is joined by the next
process and stopped by the last one again.
"""

import atexit
import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .errors import InfrastructureError
from .filelock import FileLock

log = logging.getLogger(__name__)

#: Longest path of a Unix socket that every system takes (104 bytes on macOS, 108 on Linux, with the final NUL).
MAX_SOCKET_PATH = 100
#: Crash recovery replays the write-ahead log, which may hold a few GB.
START_TIMEOUT_SECONDS = 900.0
STOP_TIMEOUT_SECONDS = 60.0
#: A start that takes longer is explained; normally it takes a tenth of a second.
PATIENCE_SECONDS = 10.0
#: What the end of a process waits for another one that is starting or stopping the server.
LEAVE_TIMEOUT_SECONDS = 10.0
#: What a server says on every start, and does not explain why one failed.
_USUAL = re.compile(r"LOG:  (starting|listening|aborting|shutting down|database system (was|is) shut down)")


@dataclass(frozen=True)
class ServerStatus:
    """How an embedded server stands.

    Attributes
    ----------
    running
        The server's process exists (it may still be starting).
    ready
        It answers.
    pid
        Its process id, if known.
    pinned
        It stays up when nobody uses it.
    in_use
        Some process, this one included, uses it.
    url
        Its address, whether it runs or not.
    data
        Where its data is.
    log
        Its log file.
    """

    running: bool
    ready: bool
    pid: int | None
    pinned: bool
    in_use: bool
    url: str
    data: Path
    log: Path


class EmbeddedServer(ABC):
    """A server under MAP4's home, shared by all MAP4 processes of this home.

    Instances are handles: any number of them for one home share this process's one share in the server.

    Parameters
    ----------
    home
        MAP4's home.
    """

    #: Name of the folder, of the log file and in messages.
    name: ClassVar[str]
    title: ClassVar[str]

    _shares: ClassVar[dict[Path, FileLock]] = {}
    _children: ClassVar[dict[Path, subprocess.Popen[bytes]]] = {}
    _mutex: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, home: Path) -> None:
        self.home = Path(os.path.realpath(home))
        self.directory = self.home / self.name
        self.log_file = self.home / "logs" / f"{self.name}.log"
        self._pin = self.directory / "pinned"

    # What a server has to bring along

    @abstractmethod
    def url(self) -> str:
        """Return the server's address."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make the server's data if there is none; raise InfrastructureError if it cannot be used."""

    @abstractmethod
    def _launch(self, lock: FileLock) -> None:
        """Start the server's process and let it inherit the lock; do not wait for it."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Return whether the server answers."""

    @abstractmethod
    def _pid(self) -> int | None:
        """Return the id of the server's process as the server noted it."""

    # What callers use

    def start(self, pin: bool = False) -> str:
        """Join the server, starting it if need be, and keep it up while this process lives.

        Parameters
        ----------
        pin
            Leave it up when this process and all others have ended, until `stop`.

        Returns
        -------
        str
            Its address.
        """
        with self._mutex:
            self._make_directories()
            with self._starting():
                joined = self.directory in self._shares
                if not joined:
                    share = FileLock(self.directory / "clients.lock")
                    share.acquire(shared=True)
                    self._shares[self.directory] = share
                try:
                    if not self._is_ready():
                        self._start_process()
                    self._after_start()
                    if pin:
                        self._pin.touch()
                except BaseException:
                    # After Ctrl-C the server may be up: then the end of this process has to stop it.
                    if not joined and not self._is_alive():
                        self._shares.pop(self.directory).release()
                    raise
            return self.url()

    def release(self) -> None:
        """Leave the server; if nobody else uses it and it is not pinned, stop it."""
        with self._mutex:
            share = self._shares.pop(self.directory, None)
            if share is None:
                return
            with contextlib.ExitStack() as stack:
                stack.callback(share.release)
                start = FileLock(self.directory / "start.lock")
                deadline = time.monotonic() + LEAVE_TIMEOUT_SECONDS
                share.release()
                if not self.directory.is_dir():
                    return  # the home was removed; a server without its data ends by itself
                while not start.acquire(wait=False):
                    if time.monotonic() > deadline:
                        return  # somebody is starting it, and will stop it
                    time.sleep(0.02)
                stack.callback(start.release)
                if not self._pin.exists() and share.acquire(wait=False):
                    self._stop_process()

    def stop(self, force: bool = False) -> bool:
        """Unpin the server and stop it.

        Parameters
        ----------
        force
            Stop it although others use it.

        Returns
        -------
        bool
            Whether it was running.

        Raises
        ------
        InfrastructureError
            If other processes use it and `force` is false.
        """
        with self._mutex:
            if not self.directory.is_dir():
                return False
            with self._starting():
                share = self._shares.get(self.directory)
                lock = share or FileLock(self.directory / "clients.lock")
                alone = lock.acquire(wait=False)
                if not alone and not force:
                    if share is not None:
                        share.acquire(shared=True)
                    raise InfrastructureError(f"{self.title} is in use by another MAP4 process. End that first, or use --force.")
                try:
                    self._pin.unlink(missing_ok=True)
                    running = self._is_alive()
                    self._stop_process()
                finally:
                    lock.release()
                    self._shares.pop(self.directory, None)
                return running

    def status(self) -> ServerStatus:
        """Return how the server stands, without starting it."""
        running = self._is_alive()
        return ServerStatus(
            running=running,
            ready=running and self._is_ready(),
            pid=self._pid() if running else None,
            pinned=self._pin.exists(),
            in_use=self._is_held("clients.lock"),
            url=self.url(),
            data=self.directory / "data",
            log=self.log_file,
        )

    # How it is done

    def _after_start(self) -> None:  # noqa: B027 (most servers have nothing to do)
        """Do what is due each time a process joins."""

    def _stop_signal(self) -> int:
        """Return the signal that ends the server in an orderly way."""
        return signal.SIGTERM

    def _make_directories(self) -> None:
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            self.log_file.parent.mkdir(exist_ok=True)
            self.directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise InfrastructureError(
                f"Cannot use {self.directory}: {error.strerror or error}. "
                "Set MAP4_HOME to a folder that this user may write to, or DATABASE_URL to a server of your own."
            ) from error

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        lock = FileLock(self.directory / "start.lock")
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _is_held(self, name: str) -> bool:
        """Return whether somebody holds a lock alone (`server.lock`) or at all (`clients.lock`)."""
        path = self.directory / name
        if not path.exists():
            return False
        lock = FileLock(path)
        free = lock.acquire(shared=name == "server.lock", wait=False)
        lock.release()
        return not free

    def _is_alive(self) -> bool:
        """Return whether a process of the server exists."""
        self._reap()
        return self._is_held("server.lock")

    def _reap(self) -> None:
        child = self._children.get(self.directory)
        if child is not None and child.poll() is not None:
            del self._children[self.directory]

    def _start_process(self) -> None:
        """Start the server, or wait for one that is on its way up or down."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        patience = time.monotonic() + PATIENCE_SECONDS
        launched = False
        pause = 0.01
        while not self._is_ready():
            lock = FileLock(self.directory / "server.lock")
            if lock.acquire(wait=False):
                try:
                    if launched:
                        raise self._failure()
                    self._prepare()
                    self._rotate_log()
                    self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
                    self._launch(lock)
                    launched = True
                except BaseException:
                    lock.release()
                    raise
                lock.hand_over()
            if time.monotonic() > deadline:
                raise InfrastructureError(f"{self.title} does not answer. See {self.log_file}.")
            if time.monotonic() > patience:
                log.warning("%s is not ready yet: it is recovering from a crash, or the disk is slow ...", self.title)
                patience = deadline
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    def _spawn(self, command: list[str], lock: FileLock, **options: object) -> None:
        """Start a process that outlives this one, hears no Ctrl-C of its terminal and holds `lock`."""
        descriptor = lock.descriptor
        assert descriptor is not None
        with self.log_file.open("ab") as output:
            if os.geteuid() == 0:
                # Root working in a user's home leaves no file there that the user cannot write to.
                owner = self.home.stat()
                os.fchown(output.fileno(), owner.st_uid, owner.st_gid)
            child: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(descriptor,),
                **options,  # type: ignore[call-overload]
            )
        # Kept, so that its end is noticed (a zombie is not gone) and no warning says that it still runs: it should.
        self._children[self.directory] = child

    def _stop_process(self) -> None:
        """Stop the server and wait until it is gone."""
        if not self._is_alive():
            return
        pid = self._pid()
        if pid is None or not _may_be(pid, self.name):
            raise InfrastructureError(f"{self.title} runs where this process cannot reach it, perhaps in another container.")
        log.debug("stopping %s, process %d", self.title, pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, self._stop_signal())
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while self._is_alive():
            if time.monotonic() > deadline:
                raise InfrastructureError(f"{self.title} (process {pid}) does not stop. See {self.log_file}.")
            time.sleep(0.01)

    def _rotate_log(self) -> None:
        with contextlib.suppress(OSError):
            if self.log_file.stat().st_size > 10_000_000:
                self.log_file.replace(self.log_file.with_suffix(".log.1"))

    def _failure(self) -> InfrastructureError:
        """Return why the server ended while it was starting, in its own words."""
        with self.log_file.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read().decode(errors="replace").strip().splitlines()
        said = [re.sub(r"^[\d-]+ [\d:.]+ \w+ \[\d+\] *", "", line).strip() for line in lines]
        telling = [line for line in said if line and not _USUAL.search(line)]
        why = " / ".join(telling[-3:]) or "it said nothing"
        return InfrastructureError(f"{self.title} did not start: {why} (log: {self.log_file})")

    @classmethod
    def _release_all(cls) -> None:
        """Leave every server at the end of the process."""
        for directory in list(cls._shares):
            for kind in cls.__subclasses__():
                if kind.name == directory.name:
                    try:
                        kind(directory.parent).release()
                    except InfrastructureError as error:
                        log.warning("%s", error)

    @classmethod
    def _forget_after_fork(cls) -> None:
        """Take the parent's shares from a forked child, which neither keeps the server up nor stops it."""
        cls._shares.clear()
        cls._children.clear()
        cls._mutex = EmbeddedServer._mutex = threading.RLock()


def _may_be(pid: int, name: str) -> bool:
    """Return whether a process may be the server: its id could have gone to another one (checked on Linux only)."""
    if sys.platform != "linux":
        return True
    try:
        return name[:6] in Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return False


atexit.register(EmbeddedServer._release_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=EmbeddedServer._forget_after_fork)
