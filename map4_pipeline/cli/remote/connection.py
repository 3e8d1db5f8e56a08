"""Which server is asked, and with which token: from the options, the environment, or a file that only its user can read."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from map4_pipeline.client import Client
    from map4_pipeline.settings import Settings


def server_of(ctx: click.Context) -> str:
    """Return the address of the server that is meant."""
    from map4_pipeline.settings import settings

    return str(ctx.find_root().obj or settings().server)


def read_token(configured: "Settings") -> str | None:
    """Return the token of this user; None where there is none.

    Raises
    ------
    click.UsageError
        When others could read the file that it is in.
    """
    if configured.token is not None:
        return configured.token.get_secret_value()
    path = configured.token_file
    try:
        status = path.stat()
        if sys.platform != "win32" and (status.st_mode & 0o077 or status.st_uid != os.getuid()):
            raise click.UsageError(f"Others can read {path}, and with it your token. Close it: chmod 600 {path}")
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read ({error.strerror}).") from None


def write_token(path: Path, token: str) -> None:
    """Keep a token where only this user can read it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{token}\n")
    part.replace(path)


@contextlib.contextmanager
def asking(ctx: click.Context) -> Iterator["Client"]:
    """Give a client of the server that is meant; what it refuses is told as wrong use, and that it is away as an outage."""
    from map4_pipeline.client import Client, ProblemError, TransportError
    from map4_pipeline.settings import settings
    from map4_pipeline.store.errors import InfrastructureError

    try:
        with Client(server_of(ctx), read_token(settings())) as client:
            yield client
    except ProblemError as problem:
        if problem.status == 401:
            raise click.UsageError(f"{problem} `map4 --server {server_of(ctx)} login` gets a token.") from None
        if problem.status >= 500:
            raise InfrastructureError(f"{server_of(ctx)} says: {problem}") from None
        raise click.UsageError(str(problem)) from None
    except TransportError as error:
        raise InfrastructureError(str(error)) from None
