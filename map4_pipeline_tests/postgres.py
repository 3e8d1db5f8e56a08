"""PostgreSQL for tests: the embedded server, or the system's with MAP4_TEST_POSTGRES=system.

The real thing starts in a second, so nothing mocks it. Each test gets a fresh database, copied from a migrated template.
"""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import psycopg2
import pytest

from map4_pipeline.store import postgres_server
from map4_pipeline.store.database import driver_url, make_engine
from map4_pipeline.store.migrate import upgrade
from map4_pipeline.store.postgres_server import EmbeddedPostgres

TEMPLATE = "map4_template"
_PASSWORD = "p%40ss:word/?"


class PostgresForTests:
    """A running server on which tests make databases.

    Parameters
    ----------
    address
        libpq address with `{}` in place of the database's name.
    superuser_address
        The same for the superuser, if that is another one.
    """

    def __init__(self, address: str, superuser_address: str | None = None) -> None:
        self._address = address
        self._superuser_address = superuser_address or address
        self._numbers = itertools.count(1)
        self._has_template = False

    def url(self, database: str) -> str:
        """Return the address of a database (`postgresql://...`)."""
        return self._address.format(database)

    def execute(self, *statements: str, database: str = "postgres", superuser: bool = False) -> None:
        """Run statements outside of a transaction."""
        connection = psycopg2.connect((self._superuser_address if superuser else self._address).format(database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    def owner_value(self, statement: str) -> object:
        """Return what the superuser is told by a statement."""
        address = self._superuser_address.format("postgres")
        with contextlib.closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone()
        return None if row is None else row[0]

    @contextlib.contextmanager
    def database(self, *, migrated: bool = True) -> Iterator[str]:
        """Make a database, give its address as a user would write it, and drop it (and Dagster's beside it)."""
        name = f"test_{next(self._numbers)}"
        if migrated:
            self._make_template()
        template = TEMPLATE if migrated else "template0"
        # Copying files beats writing the copy to the log, which is the default, by a factor of two.
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8' STRATEGY file_copy")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"DROP DATABASE IF EXISTS {name}_dagster WITH (FORCE)")

    def _make_template(self) -> None:
        if self._has_template:
            return
        self.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0 ENCODING 'UTF8'")
        engine = make_engine(driver_url(self.url(TEMPLATE)))
        upgrade(engine)
        engine.dispose()
        self._has_template = True


@contextlib.contextmanager
def short_directory(parent: str = "/tmp") -> Iterator[Path]:
    """Make a temporary folder with a short path, as sockets need it."""
    path = Path(tempfile.mkdtemp(prefix="m4-", dir=parent if os.name == "posix" else None))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def quick_parent() -> str:
    """Return where files in memory may lie, if there is room for some thousands of small databases, else /tmp.

    To make and drop a test's database takes half a second on a disk and a twentieth of one in memory.
    """
    memory = Path("/dev/shm")
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        return "/tmp"
    return str(memory) if shutil.disk_usage(memory).free > 4 * 1024**3 else "/tmp"


@contextlib.contextmanager
def careless() -> Iterator[None]:
    """Let embedded servers that are started meanwhile not wait for the disk: tests need not survive a power cut."""
    options = [*postgres_server._INITDB_OPTIONS, "--no-sync"]
    with patch.dict(postgres_server._SETTINGS, fsync="off"), patch.object(postgres_server, "_INITDB_OPTIONS", options):
        yield


@contextlib.contextmanager
def running_server() -> Iterator[PostgresForTests]:
    """Run the server that MAP4_TEST_POSTGRES asks for (`embedded`, the default, or `system`)."""
    kind = os.environ.get("MAP4_TEST_POSTGRES", "embedded")
    if kind == "system":
        with system_server() as server:
            yield server
        return
    with short_directory(quick_parent()) as home:
        embedded = EmbeddedPostgres(home)
        with careless():
            embedded.start()
        try:
            yield PostgresForTests(embedded.database_url("{}"))
        finally:
            embedded.stop(force=True)


def system_programs() -> Path | None:
    """Return the folder of the newest PostgreSQL that the system has installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return Path(program).resolve().parent if program else None


@contextlib.contextmanager
def system_server() -> Iterator[PostgresForTests]:
    """Run the system's PostgreSQL on a loopback port, with a password, for a user who is no superuser."""
    programs = system_programs()
    if programs is None:
        pytest.skip("the system has no PostgreSQL (Debian: apt-get install postgresql)")
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    with short_directory() as folder:
        data = folder / "data"
        data.mkdir(mode=0o700)
        if user:
            folder.chmod(0o711)
            shutil.chown(data, "postgres", "postgres")
        initdb = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256"]
        initdb += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=data, **user)  # type: ignore[call-overload]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = [
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"port={port}",
            "-c",
            f"unix_socket_directories={data}",
            "-c",
            "fsync=off",
        ]
        command = [str(programs / "postgres"), "-D", str(data), *options]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=data, **user)  # type: ignore[call-overload]
        try:
            owner_address = f"postgresql://postgres@/{{}}?host={data}&port={port}"
            owner = PostgresForTests(owner_address)
            _wait_for(owner, process, folder / "log")
            password = _PASSWORD.replace("%40", "@")
            owner.execute(f"CREATE ROLE map4 LOGIN CREATEDB PASSWORD '{password}'")
            quoted = _PASSWORD.replace("/", "%2F").replace("?", "%3F").replace(":", "%3A")
            yield PostgresForTests(f"postgresql://map4:{quoted}@127.0.0.1:{port}/{{}}", owner_address)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def _wait_for(server: PostgresForTests, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg2.connect(server.url("postgres")).close()
            return
        except psycopg2.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.02)
