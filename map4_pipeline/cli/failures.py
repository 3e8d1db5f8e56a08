"""What a command says when it cannot go on: a sentence and an exit code; a traceback goes to a log."""

import errno
import os
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

import click

#: Set to anything: errors are not caught, for those who work on MAP4 itself.
DEBUG_VARIABLE = "MAP4_DEBUG"
INFRASTRUCTURE = 3

_NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def report_failure(error: Exception) -> int:
    """Print a sentence about an error and return the exit code: 2 for wrong use and settings, 3 for all else."""
    if os.environ.get(DEBUG_VARIABLE):
        raise error
    told = explain(error)
    if told is not None:
        code, sentence = told
        click.echo(f"map4: {_printable(sentence)}", err=True)
        return code
    log = write_log(error)
    reason = _printable(f"{type(error).__name__}: {error}".splitlines()[0][:300])
    place = f"It is described in {log}: please report it with that file." if log else "No log could be written."
    click.echo(f"map4: A defect of MAP4 stopped the command ({reason}). {place}", err=True)
    return INFRASTRUCTURE


def explain(error: BaseException) -> tuple[int, str] | None:
    """Return (exit code, sentence) for an error that is not a defect of MAP4, however it is wrapped; None for others."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        told = _explain_one(link)
        if told is not None:
            return told
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return None


def _explain_one(error: BaseException) -> tuple[int, str] | None:
    from map4_pipeline.settings import SettingsError

    if isinstance(error, SettingsError):
        return 2, f"A setting cannot be used. {error}"
    code = getattr(error, "exit_code", None)
    if isinstance(code, int) and isinstance(error, Exception) and str(error):
        return code, str(error)
    if isinstance(error, MemoryError):
        return INFRASTRUCTURE, "There is not enough memory. Fewer workers need less: set MAP4_WORKERS."
    if isinstance(error, OSError):
        return _explain_system(error)
    return _explain_database(error)


def _explain_system(error: OSError) -> tuple[int, str] | None:
    """Explain what the operating system refuses; only what users can do something about."""
    name = error.filename if isinstance(error.filename, str | bytes) else None
    place = f" ({os.fsencode(name).decode('utf-8', 'backslashreplace')})" if name is not None else ""
    if error.errno in _NO_SPACE:
        return INFRASTRUCTURE, f"The disk is full{place}. Make room there, or set MAP4_HOME to a folder on another disk."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return INFRASTRUCTURE, f"{error.strerror}{place}. `map4 doctor` says what is not writable."
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return INFRASTRUCTURE, "Too many files are open. Raise the limit (ulimit -n), or set fewer MAP4_WORKERS."
    if error.errno == errno.EIO:
        return INFRASTRUCTURE, f"The disk cannot be read or written{place}: an input/output error."
    return None


def _explain_database(error: BaseException) -> tuple[int, str] | None:
    """Explain a failure of the database itself. A statement that is refused is a defect, unless the disk is full."""
    if "sqlalchemy" not in sys.modules and "psycopg2" not in sys.modules:
        return None
    import psycopg2
    from sqlalchemy.exc import DBAPIError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    from map4_pipeline.store.database import explain as explain_database

    if isinstance(error, PoolTimeout):
        return INFRASTRUCTURE, "The database gave no connection in time. Run fewer MAP4 processes, or raise its max_connections."
    failed = isinstance(error, OperationalError | psycopg2.OperationalError)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        failed = True
    if isinstance(error, psycopg2.InterfaceError) and "closed" in str(error):
        failed = True
    if not failed:
        return None
    return INFRASTRUCTURE, explain_database(error, _database_address())  # type: ignore[arg-type]


def _database_address() -> str:
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import driver_url
    from map4_pipeline.store.postgres_server import EmbeddedPostgres

    configured = settings()
    if configured.database_url is not None:
        return driver_url(configured.database_url.get_secret_value())
    return driver_url(EmbeddedPostgres(configured.home).url())


def write_log(error: BaseException) -> Path | None:
    """Append an error with its traceback to `logs/map4-error.log` in MAP4's home; return the file, None if that fails."""
    text = "".join(traceback.format_exception(error))
    folders = [Path(tempfile.gettempdir())]
    secrets: list[str] = []
    try:
        from map4_pipeline.settings import settings

        configured = settings()
        folders.insert(0, configured.home / "logs")
        secrets = _secrets(configured)
    except Exception:  # noqa: BLE001 (a log is written also where the settings are what is wrong)
        pass
    for secret in secrets:
        text = text.replace(secret, "***")
    from map4_pipeline import __version__

    python = sys.version.split()[0]
    head = f"\n--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, map4 {__version__}, Python {python}, {sys.platform}\n"
    command = " ".join(ascii(argument) for argument in sys.argv[1:])
    for folder in folders:
        path = folder / "map4-error.log"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{head}map4 {command}\n{text}")
        except OSError:
            continue
        return path
    return None


def _secrets(configured: object) -> list[str]:
    """Return what may stand in no log: passwords of addresses, as written and as meant."""
    from urllib.parse import unquote, urlsplit

    from pydantic import SecretStr

    found: list[str] = []
    for value in vars(configured).values():
        if isinstance(value, SecretStr):
            address = value.get_secret_value()
            found.append(address)
            try:
                password = urlsplit(address).password
            except ValueError:
                password = None
            if password:
                found += [password, unquote(password)]
    return sorted(set(found), key=len, reverse=True)


def _printable(text: str) -> str:
    from map4_pipeline.cli.console import printable

    return "\n".join(printable(line) for line in text.splitlines())
