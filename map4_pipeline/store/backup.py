"""Dumps of MAP4's database, and the way back.

A dump is pg_dump's custom format, written by the newest pg_dump at hand, so that it reads every server that MAP4 supports and
carries a library over a major upgrade of PostgreSQL. Dagster's tables are not in it: they are a record of runs,
not of music.

Restoring replaces MAP4's tables in one transaction: it succeeds as a whole or changes nothing.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from .database import DAGSTER_SCHEMA, make_engine, masked, open_database, resolve_url
from .errors import InfrastructureError
from .migrate import current, refuse_newer, upgrade
from .schema import SEARCH_CONFIGURATION, VERSION_TABLE, metadata

if TYPE_CHECKING:
    from map4_pipeline.settings import Settings

_NAME = re.compile(r"map4-\d{8}-\d{6}\.dump")
#: A restore waits so long for others to let go of the tables.
_LOCK_TIMEOUT = "10s"


def dump(settings: "Settings", target: Path) -> Path:
    """Write MAP4's database to a file, which appears under its name only when it is complete.

    Parameters
    ----------
    settings
        Which database.
    target
        The file; its folder is made if need be. An existing file is replaced.

    Raises
    ------
    InfrastructureError
        If the database cannot be read or the file cannot be written.
    """
    engine = open_database(settings)
    engine.dispose()
    target = target.expanduser().absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # A library is its owner's business: mkstemp makes files that nobody else can read.
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    except OSError as error:
        raise InfrastructureError(f"Cannot write to {target.parent}: {error.strerror or error}.") from error
    partial = Path(name)
    arguments = ["--format=custom", "--no-owner", "--no-privileges", "--no-comments", f"--exclude-schema={DAGSTER_SCHEMA}"]
    try:
        os.close(descriptor)
        # By its name, not as standard output: into that pg_dump cannot write the table of contents a second time, in
        # place. It syncs the file to the disk itself.
        _run_client("pg_dump", [*arguments, f"--file={partial}"], engine)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def scheduled_dump(settings: "Settings") -> Path:
    """Write a dump named by the time into the backup folder and remove the oldest ones; return the dump."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    target = dump(settings, settings.backups_dir / f"map4-{stamp}.dump")
    rotate(settings.backups_dir, settings.backup_keep)
    return target


def rotate(directory: Path, keep: int) -> list[Path]:
    """Remove all but the newest dumps of `scheduled_dump` from a folder; files with other names stay.

    Returns
    -------
    list of Path
        What was removed.
    """
    dumps = sorted(path for path in directory.glob("map4-*.dump") if _NAME.fullmatch(path.name) and path.is_file())
    old = dumps[: -max(keep, 1)]
    for path in old:
        path.unlink()
    return old


def restore(settings: "Settings", source: Path, *, force: bool = False) -> None:
    """Replace MAP4's database by a dump, all or nothing, and bring its schema up to date.

    Parameters
    ----------
    settings
        Which database.
    source
        A file that `dump` wrote, by this or an older MAP4.
    force
        Replace a library that is there. Without it, only a database without libraries is filled.

    Raises
    ------
    InfrastructureError
        If the file is no dump or a newer MAP4's, the database holds a library and `force` is false, or anything fails.
    """
    source = source.expanduser().absolute()
    _check_dump(source)
    refuse_newer(_revision(source), str(source))
    engine = make_engine(resolve_url(settings))
    try:
        if not force and _holds_a_library(engine):
            address = masked(engine.url.render_as_string(hide_password=False))
            raise InfrastructureError(f"{address} already holds a library. Use --force to replace it by {source.name}.")
        _replace(engine, source)
        upgrade(engine)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM (ANALYZE)"))
    finally:
        engine.dispose()


#: MAP4's functions, of any version: their names begin alike.
_DROP_FUNCTIONS = r"""DO $$
DECLARE
    -- The names before the first is dropped: others go with it, and have none any more.
    names text[] := (SELECT coalesce(array_agg(oid::regprocedure::text), '{}') FROM pg_proc
                     WHERE proname LIKE 'map4\_%' AND pronamespace = current_schema()::regnamespace);
    name text;
BEGIN
    FOREACH name IN ARRAY names LOOP
        EXECUTE 'DROP FUNCTION IF EXISTS ' || name || ' CASCADE';
    END LOOP;
END $$;
"""


def _check_dump(source: Path) -> None:
    try:
        with source.open("rb") as file:
            start = file.read(5)
    except OSError as error:
        raise InfrastructureError(f"Cannot read {source}: {error.strerror or error}.") from error
    listing = b""
    if start == b"PGDMP":
        done = subprocess.run([*_client("pg_restore"), "--list", str(source)], capture_output=True, check=False)
        listing = done.stdout if done.returncode == 0 else b""
    if f" {VERSION_TABLE} ".encode() not in listing:
        raise InfrastructureError(f"{source} is not a dump of a MAP4 database, or it is damaged.")


def _revision(source: Path) -> str | None:
    """Return the schema's revision in a dump."""
    table = [*_client("pg_restore"), "--data-only", f"--table={VERSION_TABLE}", "--file=-", str(source)]
    done = subprocess.run(table, capture_output=True, check=False)
    found = re.search(rb"^COPY .*\n(?!\\\.)(.+)$", done.stdout, re.MULTILINE)
    return found[1].decode() if found else None


def _holds_a_library(engine: Engine) -> bool:
    if current(engine) is None:
        return False
    with engine.connect() as connection:
        return bool(connection.scalar(text("SELECT EXISTS (SELECT FROM libraries) OR EXISTS (SELECT FROM analyses)")))


def _replace(engine: Engine, source: Path) -> None:
    """Drop MAP4's objects and restore the dump's, in one transaction of psql."""
    # A newer schema than the dump's has more tables; an older one fewer: hence IF EXISTS and all that this program knows.
    tables = ", ".join([*(table.name for table in metadata.sorted_tables), VERSION_TABLE])
    drop = (
        f"SET lock_timeout = '{_LOCK_TIMEOUT}';\nDROP TABLE IF EXISTS {tables} CASCADE;\n{_DROP_FUNCTIONS}"
        f"DROP TEXT SEARCH CONFIGURATION IF EXISTS {SEARCH_CONFIGURATION};\n"
    )
    unpack = [*_client("pg_restore"), "--no-owner", "--no-privileges", "--no-comments", "--file=-", str(source)]
    apply = ["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--single-transaction", "--file=-"]
    with tempfile.TemporaryFile() as complaints, _client_process("psql", apply, engine) as psql:
        assert psql.stdin is not None
        with subprocess.Popen(unpack, stdout=subprocess.PIPE, stderr=complaints) as restore_process:
            assert restore_process.stdout is not None
            try:
                psql.stdin.write(drop.encode())
                _copy_script(restore_process.stdout, psql.stdin, _server_version(engine))
            except BrokenPipeError:  # psql stopped at an error, which it says below
                restore_process.kill()
            if restore_process.wait() != 0:
                # Before its input ends: psql would take the end for the end of the script, and commit.
                psql.kill()
        _, errors = psql.communicate()
        complaints.seek(0)
        said = (errors + complaints.read()).decode(errors="replace")
    if psql.returncode != 0 or restore_process.returncode != 0:
        advice = " Other MAP4 processes use the database: end them first." if "lock timeout" in said else ""
        raise InfrastructureError(f"{source.name} could not be restored, and nothing was changed: {_first_error(said)}.{advice}")


def _copy_script(script: IO[bytes], target: IO[bytes], server_version: int) -> None:
    """Copy a restore script; leave out a setting of newer dumps that servers before 17 refuse."""
    head = script.read(1 << 16)
    if server_version < 170000:
        head = head.replace(b"SET transaction_timeout = 0;\n", b"", 1)
    target.write(head)
    shutil.copyfileobj(script, target, 1 << 20)


def _server_version(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT current_setting('server_version_num')")) or 0)


def _client(name: str) -> list[str]:
    """Return the command of one of PostgreSQL's client programs: the wheel's, which is the newest, or the system's."""
    from .postgres_install import programs

    suffix = ".exe" if os.name == "nt" else ""
    with contextlib.suppress(InfrastructureError):
        path = programs() / f"{name}{suffix}"
        if path.exists():
            return [str(path)]
    found = shutil.which(name)
    if found is None:
        raise InfrastructureError(f"PostgreSQL's program {name} is missing. Install PostgreSQL's client programs.")
    return [found]


def _connection_options(engine: Engine) -> tuple[list[str], dict[str, str]]:
    """Return a client's arguments and environment for a database; the password is seen in no list of processes."""
    url = engine.url
    query = dict(url.query)
    password = url.password or query.pop("password", None)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")} | {"LC_ALL": "C"}
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    bare = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
    address = bare.render_as_string(hide_password=False)
    return [f"--dbname={address}"], environment


@contextlib.contextmanager
def _client_process(name: str, arguments: list[str], engine: Engine) -> Iterator[subprocess.Popen[bytes]]:
    connection, environment = _connection_options(engine)
    command = [*_client(name), *arguments, "--no-password", *connection]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _run_client(name: str, arguments: list[str], engine: Engine) -> None:
    connection, environment = _connection_options(engine)
    commands = [_client(name)]
    # The wheel's programs are built without TLS, which a server elsewhere may insist on.
    if (system := shutil.which(name)) and [system] not in commands:
        commands.append([system])
    said = ""
    for command in commands:
        whole = [*command, *arguments, "--no-password", *connection]
        done = subprocess.run(whole, check=False, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode == 0:
            return
        said = said or done.stderr.decode(errors="replace")
    address = masked(engine.url.render_as_string(hide_password=False))
    raise InfrastructureError(f"{address} could not be dumped: {_first_error(said)}.")


def _first_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or "FATAL" in line] or lines[-1:]
    return errors[0].rstrip(".") if errors else "no reason was given"
