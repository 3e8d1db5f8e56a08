"""Brings the database's schema to the state this program knows, with the migrations in `sql/`.

Up to date, which is nearly always, it costs one query and does not import Alembic.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, column, select, table
from sqlalchemy.exc import DBAPIError, ProgrammingError

from .database import advisory_lock, explain, infrastructure_errors
from .errors import InfrastructureError
from .schema import HEAD_REVISION, VERSION_TABLE

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

#: Advisory lock of whoever changes the schema ("MAP4SQL").
_SCHEMA_LOCK = 0x4D41503453514C


def upgrade(engine: Engine) -> bool:
    """Bring the schema up to date; two processes at once wait for each other.

    Returns
    -------
    bool
        Whether something had to be done.

    Raises
    ------
    InfrastructureError
        If the database is newer than this program, cannot be reached, or may not be changed by this user.
    """
    if current(engine) == HEAD_REVISION:
        return False
    with infrastructure_errors(engine), engine.connect() as connection, advisory_lock(connection, _SCHEMA_LOCK):
        revision = _current(connection)
        connection.rollback()
        if revision == HEAD_REVISION:
            return False
        refuse_newer(revision)
        _run(connection, "upgrade", "head")
    return True


def downgrade(engine: Engine, revision: str) -> None:
    """Take the schema back to a revision (`base`: nothing), dropping what came after it."""
    with infrastructure_errors(engine), engine.connect() as connection, advisory_lock(connection, _SCHEMA_LOCK):
        refuse_newer(_current(connection))
        connection.rollback()
        _run(connection, "downgrade", revision)


def current(engine: Engine) -> str | None:
    """Return the revision that the database has, None if it has no MAP4 tables."""
    with infrastructure_errors(engine), engine.connect() as connection:
        return _current(connection)


def script_location() -> Path:
    """Return the folder with the migrations: `sql/` of the checkout, or `share/map4/sql` where a wheel put it."""
    checkout = Path(__file__).resolve().parents[2] / "sql"
    if (checkout / "env.py").is_file():
        return checkout
    from importlib import metadata

    for file in metadata.files("map4") or ():
        if file.parts[-3:] == ("map4", "sql", "env.py"):
            return Path(str(file.locate())).resolve().parent
    raise InfrastructureError("MAP4's migrations (sql/) are missing: the installation is incomplete.")


def alembic_config(connection: "Connection | None" = None) -> "Config":
    """Return Alembic's configuration for the migrations, to be run on a connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(script_location()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _current(connection: "Connection") -> str | None:
    try:
        revision = connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
    except ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) != "42P01":  # undefined table
            raise InfrastructureError(explain(error, connection.engine.url)) from error
        connection.rollback()
        return None
    return None if revision is None else str(revision)


def refuse_newer(revision: str | None, what: str = "The database") -> None:
    """Raise if this program does not know a schema's revision; `what` has it, for the sentence.

    Raises
    ------
    InfrastructureError
        A program that is older than the data must not touch them.
    """
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    if revision is None:
        return
    try:
        ScriptDirectory.from_config(alembic_config()).get_revision(revision)
    except CommandError:
        raise InfrastructureError(
            f"{what} was made by a newer MAP4 (schema {revision}, this program knows up to {HEAD_REVISION}). "
            "Update MAP4, or restore a dump from before the update."
        ) from None


def _run(connection: "Connection", direction: str, revision: str) -> None:
    from alembic import command

    try:
        with connection.begin():
            getattr(command, direction)(alembic_config(connection), revision)
    except ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) == "42501":  # insufficient privilege
            raise InfrastructureError(
                f"{explain(error, connection.engine.url)} MAP4 creates its tables and the extension unaccent: make its user the "
                "owner of the database, or have an administrator run CREATE EXTENSION unaccent."
            ) from error
        raise
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) in ("58P01", "0A000"):  # undefined file, feature not supported
            raise InfrastructureError(
                f"{explain(error, connection.engine.url)} PostgreSQL's contrib modules have to be installed (unaccent)."
            ) from error
        raise
