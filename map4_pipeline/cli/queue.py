"""`map4 queue`: ask for files or folders to be analysed by the running pipeline, see how that stands, take it back."""

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from map4_pipeline.cli import MOST_ROWS

if TYPE_CHECKING:
    from sqlalchemy import Engine

#: How often the queue is looked at while somebody waits.
_LOOK_SECONDS = 0.5


@click.group()
def queue() -> None:
    """Ask a running `map4 up` or `map4 serve` to analyse files or folders, by priority.

    A single file is taken at once; folders and several files become a run of `map4 up`, which looks every MAP4_WATCH_SECONDS.
    """


@queue.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path())
@click.option("--priority", type=click.IntRange(1, 9), default=5, show_default=True, help="1 is the most urgent.")
@click.option("--wait", is_flag=True, help="Wait until all are done; exit code 1 when some failed.")
def add(paths: tuple[str, ...], priority: int, wait: bool) -> None:
    """Put files or folders of registered libraries into the queue."""
    from map4_pipeline.cli.console import at_home
    from map4_pipeline.library.keys import escape_path
    from map4_pipeline.settings import settings
    from map4_pipeline.store import queue as store
    from map4_pipeline.store.database import open_database

    paths = tuple(at_home(path) for path in paths)
    for path in paths:
        if not os.path.lexists(path):
            raise click.UsageError(f"{escape_path(os.fsencode(path))} does not exist.")
    found = [escape_path(_absolute(os.fsencode(path))) for path in paths]
    engine = open_database(settings())
    # One file is what somebody waits for: the resident worker takes it at once. Folders and many files are a run's.
    single = len(paths) == 1 and os.path.isfile(paths[0])
    with engine.begin() as conn:
        ids = store.enqueue(conn, found, priority, single=single)
    for id_, path in zip(ids, found, strict=True):
        click.echo(f"{id_}  {path}")
    them = "it" if len(ids) == 1 else "them"
    by = "`map4 up` or `map4 serve`" if single else "`map4 up`"
    if wait:
        click.echo(f"Waiting until a running {by} has done {them}.", err=True)
        well = _wait(engine, ids)
    else:
        click.echo(f"A running {by} takes {them}; `map4 queue list` tells how it goes.", err=True)
        well = True
    engine.dispose()
    if not well:
        sys.exit(1)


def _rest() -> None:
    time.sleep(_LOOK_SECONDS)


def _wait(engine: "Engine", ids: list[int]) -> bool:
    """Wait until rows are done, say how each ended, and return whether all ended well."""
    from map4_pipeline.cli.console import printable
    from map4_pipeline.store import queue as store

    while True:
        with engine.connect() as conn:
            rows = store.by_ids(conn, ids)
        if all(row.status not in ("pending", "running") for row in rows):
            break
        _rest()
    for row in rows:
        click.echo(f"{row.id}  {row.status}" + (f": {printable(row.error_message)}" if row.error_message else ""))
    return all(row.status == "completed" for row in rows)


def _absolute(path: bytes) -> bytes:
    """Return the path with links in its folders resolved, as libraries are registered; a link itself stays one."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


@queue.command("list")
@click.option("--status", type=click.Choice(["pending", "running", "completed", "failed", "cancelled"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, MOST_ROWS), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(status: str | None, limit: int, as_json: bool) -> None:
    """List the queue: what is being worked on, what waits, what is done."""
    from dataclasses import asdict

    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console, printable
    from map4_pipeline.settings import settings
    from map4_pipeline.store import queue as store
    from map4_pipeline.store.database import open_database

    engine = open_database(settings())
    with engine.connect() as conn:
        entries = store.entries(conn, status, limit)
    engine.dispose()
    if as_json:
        for entry in entries:
            moments = {name: value.isoformat() for name, value in asdict(entry).items() if hasattr(value, "isoformat")}
            lines.write_json(asdict(entry) | moments)
        return
    console = make_console()
    if not entries:
        console.print("The queue is empty. `map4 queue add FILE` asks for a file to be analysed.")
    for entry in entries:
        console.print(f"{entry.id:>6}  {entry.status:<9}  {entry.priority}  {printable(entry.file_path)}", soft_wrap=True)
        if entry.error_message:
            console.print(f"        {printable(entry.error_message)}", style="yellow", soft_wrap=True)


@queue.command()
@click.argument("ids", nargs=-1, required=True, type=int)
def cancel(ids: tuple[int, ...]) -> None:
    """Take rows of the queue back by their numbers. What a run has in hand it finishes."""
    from map4_pipeline.settings import settings
    from map4_pipeline.store import queue as store
    from map4_pipeline.store.database import open_database

    engine = open_database(settings())
    with engine.begin() as conn:
        cancelled = store.cancel(conn, ids)
    engine.dispose()
    left = sorted(set(ids) - set(cancelled))
    if cancelled:
        click.echo(f"Cancelled: {', '.join(map(str, cancelled))}")
    if left:
        click.echo(f"Not there, or done already: {', '.join(map(str, left))}", err=True)
        sys.exit(1)
