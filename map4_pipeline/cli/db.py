"""`map4 db`: the database under the library. Without DATABASE_URL that is the embedded server, whose owner this command is."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from map4_pipeline.settings import Settings

_OWN_SERVER = "DATABASE_URL is set: MAP4 uses that server and neither starts nor stops it."


@click.group()
def db() -> None:
    """The database: its address, the embedded server, migrations, backups."""


@db.command()
def url() -> None:
    """Print the database's address for psql, psycopg2 and other clients of PostgreSQL, and nothing else.

    The embedded server is started and stays up until `map4 db stop`. An address from DATABASE_URL is printed with its password.
    """
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import driver_url, libpq_url
    from map4_pipeline.store.postgres_server import EmbeddedPostgres

    configured = settings()
    if configured.database_url is not None:
        click.echo(libpq_url(driver_url(configured.database_url.get_secret_value())))
        return
    click.echo(EmbeddedPostgres(configured.home).start(pin=True))


@db.command()
def start() -> None:
    """Start the embedded server and leave it up until `map4 db stop`."""
    from map4_pipeline.settings import settings
    from map4_pipeline.store.postgres_server import EmbeddedPostgres

    configured = settings()
    if configured.database_url is not None:
        click.echo(f"{_OWN_SERVER} Nothing to do.")
        return
    server = EmbeddedPostgres(configured.home)
    was_up = server.status().ready
    server.start(pin=True)
    click.echo(f"PostgreSQL {'was up already' if was_up else 'is up'} and stays up until `map4 db stop`.")


@db.command()
@click.option("--force", is_flag=True, help="Although other MAP4 processes use it.")
def stop(force: bool) -> None:
    """Stop the embedded server. The next command that needs it starts it again."""
    from map4_pipeline.settings import settings
    from map4_pipeline.store.postgres_server import EmbeddedPostgres

    configured = settings()
    if configured.database_url is not None:
        click.echo(f"{_OWN_SERVER} Nothing to do.")
        return
    stopped = EmbeddedPostgres(configured.home).stop(force=force)
    click.echo("PostgreSQL is stopped." if stopped else "PostgreSQL was not running.")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(as_json: bool) -> None:
    """Show whether the database is up, without starting it."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.settings import settings

    configured = settings()
    found = _own_status(configured) if configured.database_url is not None else _embedded_status(configured)
    if as_json:
        lines.write_json(found)
        return
    console = make_console()
    for name, value in found.items():
        shown = "-" if value is None else ("yes" if value else "no") if isinstance(value, bool) else value
        console.print(f"{name.replace('_', ' '):<9} {shown}", soft_wrap=True)


def _embedded_status(configured: "Settings") -> dict[str, object]:
    from map4_pipeline.store.database import driver_url, masked
    from map4_pipeline.store.postgres_server import EmbeddedPostgres

    state = EmbeddedPostgres(configured.home).status()
    return {
        "server": "embedded",
        "running": state.running,
        "ready": state.ready,
        "pid": state.pid,
        "in_use": state.in_use,
        "pinned": state.pinned,
        "url": masked(driver_url(state.url)).replace("%2F", "/"),
        "data": str(state.data),
        "log": str(state.log),
    }


def _own_status(configured: "Settings") -> dict[str, object]:
    from sqlalchemy import text

    from map4_pipeline.store.database import driver_url, infrastructure_errors, make_engine, masked
    from map4_pipeline.store.errors import InfrastructureError

    assert configured.database_url is not None
    address = driver_url(configured.database_url.get_secret_value())
    engine = make_engine(address)
    version, problem = None, None
    try:
        with infrastructure_errors(engine), engine.connect() as conn:
            version = str(conn.scalar(text("SHOW server_version")))
    except InfrastructureError as error:
        problem = str(error)
    finally:
        engine.dispose()
    return {
        "server": "DATABASE_URL",
        "running": problem is None,
        "ready": problem is None,
        "url": masked(address),
        "version": version,
        "problem": problem,
    }


@db.command()
def migrate() -> None:
    """Bring the schema up to date. Every command does that by itself; for deployments that do it apart."""
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.migrate import upgrade
    from map4_pipeline.store.schema import HEAD_REVISION

    engine = open_database(settings(), migrate=False)
    changed = upgrade(engine)
    engine.dispose()
    click.echo(f"The schema {'is now' if changed else 'was'} up to date (revision {HEAD_REVISION}).")


@db.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
def dump(file: Path | None) -> None:
    """Write the whole database to FILE; without FILE, to a new one in MAP4_HOME/backups."""
    from datetime import datetime

    from map4_pipeline.cli.console import folder_text
    from map4_pipeline.settings import settings
    from map4_pipeline.store import backup

    configured = settings()
    if file is not None and file.is_dir():
        raise click.UsageError(f"{folder_text(file)} is a folder. Name a file in it.")
    # Not the schedule's name for dumps: those are rotated, this one was asked for.
    target = file or configured.backups_dir / f"library-{datetime.now():%Y%m%d-%H%M%S}.dump"
    click.echo(folder_text(backup.dump(configured, target)))


@db.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the library that is there.")
def restore(file: Path, force: bool) -> None:
    """Replace the database by a dump, all or nothing."""
    from map4_pipeline.cli.console import folder_text
    from map4_pipeline.settings import settings
    from map4_pipeline.store import backup

    if not file.is_file():
        raise click.UsageError(f"{folder_text(file)} {'is not a file' if file.exists() else 'does not exist'}.")
    backup.restore(settings(), file, force=force)
    click.echo("Restored. `map4 status` shows the library.")
