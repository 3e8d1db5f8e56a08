"""The embedded PostgreSQL server: real PostgreSQL from a wheel, under MAP4's home, shared by all MAP4 processes.

Who starts and stops it is in `embedded`; the programs and the user they run as are in `postgres_install`. The layout
under MAP4's home::

    postgres/data          the database cluster
    postgres/s             the Unix socket (0700: the only way in, so that no password is needed)
    postgres/*.lock        who uses it
    logs/postgres.log      what the server says

The server listens on no network address, except on Windows, where it listens on 127.0.0.1 and asks for a
password.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .embedded import MAX_SOCKET_PATH, EmbeddedServer, ServerStatus
from .errors import InfrastructureError
from .filelock import FileLock
from .postgres_install import Account, account_for, programs_for

__all__ = ["EmbeddedPostgres", "ServerStatus"]

_USER = _DATABASE = "map4"
_PORT = 5432
_WINDOWS = sys.platform == "win32"

_INITDB_OPTIONS = [
    "--encoding=UTF8",
    # Sorted by code point, upper and lower case for all of Unicode, and the same on every machine.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
]

_SETTINGS = {
    "max_connections": "200",
    # Dropping and restoring the schema takes a lock on every table and index; Dagster's adds to it.
    "max_locks_per_transaction": "256",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    # A library is small for PostgreSQL, and the cores belong to the analysis. Also, parallel queries want
    # /dev/shm, of which a container has 64 MB.
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
    # Durable, and no more written than that needs: nobody replicates this server.
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %a ",
    "logging_collector": "off",
    "unix_socket_permissions": "0700",
}


class EmbeddedPostgres(EmbeddedServer):
    """MAP4's own PostgreSQL server; see `EmbeddedServer` for start, stop, release and status."""

    name = "postgres"
    title = "The embedded PostgreSQL"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.data = self.directory / "data"
        self._sockets = self.directory / "s"
        self._has_database = False

    def url(self) -> str:
        """Return libpq's address of the database `map4` on this server."""
        return self.database_url(_DATABASE)

    def database_url(self, name: str) -> str:
        """Return libpq's address of a database on this server."""
        if _WINDOWS:
            password = _read(self.directory / "password")
            return f"postgresql://{_USER}:{password}@127.0.0.1:{_read(self.directory / 'port') or _PORT}/{name}"
        # The port says which socket; spelled out, because PGPORT may be set.
        return f"postgresql://{_USER}@/{name}?host={quote(str(self._socket_directory()), safe='/')}&port={_PORT}"

    # Starting

    def _make_directories(self) -> None:
        super()._make_directories()
        try:
            if _WINDOWS:
                return
            # Root's server runs as somebody else, who has to get to `data` and `s`, and to nothing beside them.
            if os.geteuid() == 0 and self.directory.stat().st_uid == 0:
                self.directory.chmod(0o711)
            self._sockets.mkdir(mode=0o700, exist_ok=True)
            alias = self._socket_directory()
            if alias != self._sockets:
                _point(alias, self._sockets)
        except OSError as error:
            raise InfrastructureError(f"Cannot use {self.directory}: {error.strerror or error}.") from error

    def _prepare(self) -> None:
        try:
            account = account_for(self.data)
            binaries = programs_for(account, self.directory)
            if not _WINDOWS and account.uid is not None:
                os.chown(self._sockets, account.uid, account.gid or -1)
            if (self.data / "PG_VERSION").exists():
                self._check_version(binaries)
            else:
                self._initialise(binaries, account)
            # Nobody holds `server.lock`, so these are leftovers. PostgreSQL would ask whether some process has the id
            # that is in them: in a container or after a reboot one often has, and a killed server that its parent has not
            # taken note of has it as long as the parent lives.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            (self._sockets / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)
        except OSError as error:
            raise InfrastructureError(f"Cannot prepare {self.data}: {error.strerror or error}.") from error

    def _check_version(self, binaries: Path) -> None:
        found = _read(self.data / "PG_VERSION")
        output = subprocess.run([str(binaries / "postgres"), "--version"], capture_output=True, text=True, check=True).stdout
        own = output.split()[-1].split(".")[0]
        if found != own:
            raise InfrastructureError(
                f"The data in {self.data} was written by PostgreSQL {found}, and this MAP4 brings PostgreSQL {own}. "
                "With the MAP4 that wrote it: `map4 db dump library.dump`. Then move that folder away, and with this one: "
                "`map4 db restore library.dump`."
            )

    def _initialise(self, binaries: Path, account: Account) -> None:
        """Make a new database cluster; under another name first, so that a half-made one is never taken for data."""
        partial = self.directory / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        if self.data.exists():
            if any(self.data.iterdir()):
                raise InfrastructureError(f"{self.data} holds something that is no PostgreSQL data. Move it away.")
            self.data.rmdir()
        partial.mkdir(mode=0o700)
        if account.uid is not None:
            os.chown(partial, account.uid, account.gid or -1)
        directory, options = _place(partial, account)
        command = [str(binaries / "initdb"), "-D", directory, "-U", _USER, *_INITDB_OPTIONS]
        with contextlib.ExitStack() as stack:
            if _WINDOWS:
                password = secrets.token_urlsafe(24)
                (self.directory / "password").write_text(password)
                file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "password"
                file.write_text(password)
                command += ["--auth=scram-sha-256", f"--pwfile={file}"]
            else:
                command += ["--auth=trust"]
            done = subprocess.run(command, capture_output=True, check=False, **options)
        if done.returncode != 0:
            shutil.rmtree(partial, ignore_errors=True)
            reason = _reason(done.stderr.decode(errors="replace"))
            if "user does not exist" in reason:
                reason += ". The user of this process has no name (no entry in /etc/passwd): give it one, or set DATABASE_URL"
            raise InfrastructureError(f"PostgreSQL could not set up its data in {self.data}: {reason}.")
        partial.rename(self.data)

    def _launch(self, lock: FileLock) -> None:
        account = account_for(self.data)
        binaries = programs_for(account, self.directory)
        directory, options = _place(self.data, account)
        # Relative to the data: short enough for a socket, and reachable, whatever the home's path is.
        settings = _SETTINGS | {"listen_addresses": "", "unix_socket_directories": "../s", "port": str(_PORT)}
        if _WINDOWS:
            self._launch_on_windows(binaries, options)
            return
        command = [str(binaries / "postgres"), "-D", directory]
        for key, value in settings.items():
            command += ["-c", f"{key}={value}"]
        try:
            self._spawn(command, lock, **options)
        except OSError as error:
            raise InfrastructureError(f"PostgreSQL cannot be run: {error.strerror or error}.") from error

    def _after_start(self) -> None:
        """Create the database `map4` when the server is new."""
        import psycopg2

        if self._has_database:
            return
        try:
            self._connect(_DATABASE).close()
        except psycopg2.OperationalError as error:
            if "does not exist" not in str(error):
                raise InfrastructureError(f"{self.title} takes no connection: {_reason(str(error))}") from error
            connection = self._connect("postgres")
            try:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute(f"CREATE DATABASE {_DATABASE}")
            finally:
                connection.close()

    def _connect(self, database: str) -> "psycopg2.extensions.connection":  # type: ignore[name-defined]  # noqa: F821
        import psycopg2

        return psycopg2.connect(self.database_url(database), connect_timeout=10, application_name="map4")

    def _is_ready(self) -> bool:
        import psycopg2

        self._has_database = False
        if not _WINDOWS and not (self._sockets / f".s.PGSQL.{_PORT}").exists():
            return False
        try:
            self._connect(_DATABASE).close()
        except psycopg2.OperationalError as error:
            # Anything but these is an answer of a server that works: no such database yet, no free connection, ...
            said = str(error)
            signs = (
                "starting up",
                "shutting down",
                "not yet accepting",
                "recovery",
                "refused",
                "No such file",
                "closed the connection",
            )
            return "FATAL" in said and not any(sign in said for sign in signs)
        self._has_database = True
        return True

    # Stopping

    def _pid(self) -> int | None:
        first = _read(self.data / "postmaster.pid").partition("\n")[0]
        return int(first) if first.isdigit() else None

    def _stop_signal(self) -> int:
        return signal.SIGINT  # "fast": ends sessions, writes a checkpoint

    # Where the socket is

    def _socket_directory(self) -> Path:
        """Return the folder through which clients find the socket.

        It is an alias in /tmp if an address cannot hold the real one's path: too long, a comma (which separates hosts), no text.
        """
        path = os.fsencode(self._sockets / f".s.PGSQL.{_PORT}")
        if len(path) <= MAX_SOCKET_PATH and b"," not in path and path.decode(errors="ignore").encode() == path:
            return self._sockets
        digest = hashlib.sha256(path).hexdigest()[:12]
        return Path("/tmp") / f"map4-{os.geteuid()}-{digest}"

    # Windows has no Unix sockets for PostgreSQL, and open files are not inherited: pg_ctl does both jobs there

    def _launch_on_windows(self, binaries: Path, options: dict[str, Any]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        (self.directory / "port").write_text(str(port))
        settings = _SETTINGS | {"listen_addresses": "127.0.0.1", "port": str(port)}
        del settings["unix_socket_permissions"]
        arguments = " ".join(f'-c "{key}={value}"' for key, value in settings.items())
        command = [str(binaries / "pg_ctl"), "start", "-W", "-D", str(self.data), "-l", str(self.log_file), "-o", arguments]
        # Through pg_ctl, which also gives up an administrator's rights: postgres refuses them as it refuses root.
        subprocess.run(command, check=True, capture_output=True, **options)

    def _is_alive(self) -> bool:
        if not _WINDOWS:
            return super()._is_alive()
        return self._pid() is not None and self._is_ready()

    def _stop_process(self) -> None:
        if not _WINDOWS:
            super()._stop_process()
        elif self._is_alive():
            binaries = programs_for(Account(), self.directory)
            command = [str(binaries / "pg_ctl"), "stop", "-w", "-m", "fast", "-D", str(self.data)]
            subprocess.run(command, check=False, capture_output=True)


def _place(directory: Path, account: Account) -> tuple[str, dict[str, Any]]:
    """Return a directory's name for the account's programs, and the options to run them with.

    If the account cannot pass the folders above it (a home under /root, a private temporary folder), the program is
    started inside the directory and finds it as /proc/self/cwd. That changes no permission on the way.
    """
    options: dict[str, Any] = {"cwd": str(directory), **account.options()}
    if account.reaches(directory):
        return str(directory), options
    if sys.platform != "linux":
        raise InfrastructureError(
            f"PostgreSQL runs as another user than root, and that user cannot reach {directory}. Set MAP4_HOME to another folder."
        )
    return "/proc/self/cwd", options


def _point(alias: Path, target: Path) -> None:
    """Make a symbolic link in /tmp that is surely ours: nobody else can replace it there, or have made it before."""
    with contextlib.suppress(FileExistsError):
        alias.symlink_to(target)
    if alias.lstat().st_uid != os.geteuid() or os.readlink(alias) != str(target):
        raise InfrastructureError(f"{alias} is in the way. Remove it, or set MAP4_HOME to a folder with a shorter path.")


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.strip().splitlines() if line.strip()]
    telling = [line for line in lines if "rror" in line or "FATAL" in line or "could not" in line] or lines[-3:]
    return " / ".join(telling) or "it said nothing"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
