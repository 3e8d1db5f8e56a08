"""The way to PostgreSQL: which server, at which address, and how a connection is set up.

`open_database` is what most callers want. Every failure to get at the database is an `InfrastructureError`
whose text is a sentence without a password.
"""

import contextlib
import json
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError, OperationalError, ProgrammingError

from .errors import InfrastructureError

if TYPE_CHECKING:
    from map4_pipeline.settings import Settings

#: psycopg2 spelled out: SQLAlchemy 2.1 takes plain `postgresql://` to mean psycopg 3, which Dagster does not work with.
DRIVER = "postgresql+psycopg2"
OLDEST_SERVER = 15
#: Schema for Dagster's tables where no database may be created.
DAGSTER_SCHEMA = "dagster"

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
_INSUFFICIENT_PRIVILEGE, _FEATURE_NOT_SUPPORTED, _DUPLICATE_DATABASE, _UNIQUE_VIOLATION = "42501", "0A000", "42P04", "23505"


def resolve_url(settings: "Settings") -> str:
    """Return the SQLAlchemy address of MAP4's database, starting the embedded server if none is configured."""
    if settings.database_url is not None:
        return driver_url(settings.database_url.get_secret_value(), "DATABASE_URL")
    from .postgres_server import EmbeddedPostgres

    return driver_url(EmbeddedPostgres(settings.home).start())


def driver_url(address: str, name: str = "DATABASE_URL") -> str:
    """Return an address as SQLAlchemy wants it, whatever scheme it was written with.

    Parameters
    ----------
    address
        `postgres://`, `postgresql://`, `postgresql+<driver>://` or libpq's `host=... dbname=...`.
    name
        The setting it comes from, for the message.

    Raises
    ------
    InfrastructureError
        If it is no address of a PostgreSQL database.
    """
    address = address.strip()
    if "://" not in address and "=" in address:
        address = _from_keywords(address, name)
    scheme, _, rest = address.partition("://")
    if not rest or scheme.split("+")[0] not in ("postgres", "postgresql"):
        raise InfrastructureError(f"{name} has to look like postgresql://user:password@host:5432/database.")
    try:
        url = make_url(f"{DRIVER}://{rest}")
    except (ArgumentError, ValueError):
        raise InfrastructureError(
            f"{name} cannot be read. Special characters in the password have to be written as in %40 for @."
        ) from None
    return url.render_as_string(hide_password=False)


def libpq_url(url: str) -> str:
    """Return an address as psql, pg_dump and other clients of libpq take it (with the password)."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def masked(url: str) -> str:
    """Return an address for people to read: `***` in place of the password."""
    plain = make_url(url).set(drivername="postgresql")
    hidden = {key: "***" if key in ("password", "sslpassword") else value for key, value in plain.query.items()}
    return plain.set(query=hidden).render_as_string(hide_password=True)


def make_engine(url: str, *, trusted_seconds: float = 0.0, **options: Any) -> Engine:
    """Return an engine for MAP4's database or another one on the same server; connects when first used.

    Parameters
    ----------
    url
        From `resolve_url`.
    trusted_seconds
        A connection that was used so short a time ago is not asked first whether it still is one. For servers, where asking
        costs as much as the work; whoever meets a dead one is told, and the others of the pool are thrown away with it.
    options
        For `sqlalchemy.create_engine`.
    """
    arguments = {"application_name": "map4", "connect_timeout": 10, "keepalives_idle": 60}
    arguments |= dict(options.pop("connect_args", {}))
    settings = {"pool_pre_ping": not trusted_seconds, "pool_size": 5, "max_overflow": 15, "json_serializer": to_json}
    # Many rows updated with one statement cost one round trip per page, not one per row.
    settings |= {"executemany_mode": "values_plus_batch", "executemany_batch_page_size": 200}
    engine = create_engine(url, connect_args=arguments, **(settings | options))
    event.listen(engine, "connect", _check_server)
    if trusted_seconds:
        _ask_the_idle(engine, trusted_seconds)
    return engine


def _ask_the_idle(engine: Engine, seconds: float) -> None:
    """Ask connections that lay idle for longer whether they still are some, before they are used."""

    def returned(_connection: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    def taken(connection: Any, record: Any, _proxy: Any) -> None:
        used = record.info.get("used")
        if not connection.closed and (used is None or time.monotonic() - used < seconds):  # a new one has just been answered
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # SQLAlchemy makes new ones, and tries once more.
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", returned)
    event.listen(engine, "checkout", taken)


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection on which every statement stands alone: without a BEGIN before and a ROLLBACK behind all of them.

    For a server that answers many short questions, where those two are half of the way. SQLAlchemy's own AUTOCOMMIT asks the
    server whenever it is taken back.
    """
    with engine.connect() as conn:
        plain: Any = conn.connection.dbapi_connection
        # With a level of its own, psycopg2 would ask the server at both changes.
        plain.isolation_level = None
        plain.autocommit = True
        try:
            yield conn
        finally:
            if not plain.closed:
                plain.autocommit = False


def open_database(settings: "Settings", *, migrate: bool = True) -> Engine:
    """Return an engine for MAP4's database, with the server running and the schema up to date.

    Raises
    ------
    InfrastructureError
        If the database cannot be reached or used.
    """
    engine = make_engine(resolve_url(settings))
    try:
        if migrate:
            from .migrate import upgrade

            upgrade(engine)
        else:
            with infrastructure_errors(engine), engine.connect():
                pass
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextlib.contextmanager
def infrastructure_errors(engine: Engine) -> Iterator[None]:
    """Turn failures of the database itself (not of a statement) into InfrastructureError."""
    try:
        yield
    except OperationalError as error:
        raise InfrastructureError(explain(error, engine.url)) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise InfrastructureError(explain(error, engine.url)) from error
        raise


def explain(error: Exception, url: URL | str) -> str:
    """Return a sentence that says why the database cannot be used and what to do, without the password."""
    address = masked(url if isinstance(url, str) else url.render_as_string(hide_password=False))
    said = str(getattr(error, "orig", None) or error).strip()
    detail = re.sub(r"\s+", " ", said)
    advice = next((advice for sign, advice in _ADVICE if re.search(sign, said)), "")
    if advice == _UNREACHABLE and re.search("host=(/|%2F)", address):  # a socket, such as the embedded server's
        advice = "Is the server running? `map4 db status` shows it."
    return f"The database {address} cannot be used: {detail.rstrip('.')}.{' ' + advice if advice else ''}"


_UNREACHABLE = "Is the server running there? Check host and port in DATABASE_URL."
_ADVICE = (
    (
        r"certificate verify failed|server certificate for|root certificate file",
        "The server's certificate is not of the CA that sslrootcert names, or not for this host.",
    ),
    (r"no encryption|SSL off", "Add ?sslmode=verify-full&sslrootcert=/path/to/ca.pem to DATABASE_URL."),
    (r"password authentication failed|no password supplied", "Check user and password in DATABASE_URL."),
    (r"could not translate host name|Name or service not known", "Check the host in DATABASE_URL."),
    (r"database .* does not exist", "Create it (CREATE DATABASE), or name another one in DATABASE_URL."),
    (r"No space left|could not extend file|disk full", "Make room on the disk that holds the database."),
    (r"too many clients|remaining connection slots", "Raise max_connections of the server, or run fewer processes."),
    (r"Connection refused|No such file|timeout expired|server closed", _UNREACHABLE),
)


def dagster_url(settings: "Settings") -> str:
    """Return the SQLAlchemy address of Dagster's storage, which is made if there is none.

    `DAGSTER_DATABASE_URL` if set; else the database `<name>_dagster` on MAP4's server; else, where no database may
    be created, the schema `dagster` in MAP4's database.
    """
    if settings.dagster_database_url is not None:
        return driver_url(settings.dagster_database_url.get_secret_value(), "DAGSTER_DATABASE_URL")
    main = make_url(resolve_url(settings))
    name = f"{(main.database or 'map4')[:55]}_dagster"
    own = main.set(database=name).render_as_string(hide_password=False)
    shared = _with_search_path(main, DAGSTER_SCHEMA)
    engine = make_engine(main.render_as_string(hide_password=False), isolation_level="AUTOCOMMIT", pool_size=1)
    try:
        with infrastructure_errors(engine), engine.connect() as connection:
            if connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}):
                return own
            # Once Dagster lives in the schema it stays there, even if creating databases is allowed one day.
            if connection.scalar(text(f"SELECT to_regclass('{DAGSTER_SCHEMA}.runs')")):
                return shared
            if _create_database(connection, name):
                return own
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {DAGSTER_SCHEMA}"))
            return shared
    except ProgrammingError as error:
        raise InfrastructureError(
            f"Dagster needs a database or a schema of its own, and neither may be created: {explain(error, main)} "
            "Set DAGSTER_DATABASE_URL."
        ) from error
    finally:
        engine.dispose()


def _create_database(connection: Connection, name: str) -> bool:
    """Create a UTF-8 database if that is permitted; another process may be doing the same."""
    quoted = connection.dialect.identifier_preparer.quote_identifier(name)
    try:
        connection.exec_driver_sql(f"CREATE DATABASE {quoted} ENCODING 'UTF8' TEMPLATE template0")
    except DBAPIError as error:
        code = getattr(error.orig, "pgcode", None)
        if code in (_DUPLICATE_DATABASE, _UNIQUE_VIOLATION):
            return True
        if code in (_INSUFFICIENT_PRIVILEGE, _FEATURE_NOT_SUPPORTED):
            return False
        raise
    return True


def _with_search_path(url: URL, schema: str) -> str:
    options = url.query.get("options", "")
    options = options if isinstance(options, str) else " ".join(options)
    return url.update_query_dict({"options": f"{options} -csearch_path={schema}".strip()}).render_as_string(hide_password=False)


@contextlib.contextmanager
def advisory_lock(connection: Connection, key: int, *, wait: bool = True) -> Iterator[bool]:
    """Hold a PostgreSQL advisory lock for as long as the block lasts.

    It belongs to the connection, not to a transaction: commits in between keep it, and the server drops it when the
    connection ends, however it ends.

    Parameters
    ----------
    connection
        The connection that holds it.
    key
        A 64-bit number.
    wait
        Wait until it is free.

    Yields
    ------
    bool
        Whether it was got; always true when waiting.
    """
    call = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
    answer = _scalar(connection, f"SELECT {call}({key})")
    got = True if wait else bool(answer)
    try:
        yield got
    except BaseException:
        # A failed transaction refuses every statement, the unlocking too.
        if got and not connection.closed and not connection.invalidated and connection.in_transaction():
            connection.rollback()
        raise
    finally:
        if got and not connection.closed and not connection.invalidated:
            _scalar(connection, f"SELECT pg_advisory_unlock({key})")


def _scalar(connection: Connection, statement: str) -> Any:
    """Run a statement in the open transaction, or in one of its own so that none is left open."""
    if connection.in_transaction():
        return connection.scalar(text(statement))
    with connection.begin():
        return connection.scalar(text(statement))


def to_json(value: Any) -> str:
    """Return a value as JSON that JSONB takes.

    PostgreSQL refuses NUL and lone surrogates in text; tags and file names have both. They become U+FFFD.

    Raises
    ------
    ValueError
        For NaN and infinities: what was not measured is null.
    """
    encoded = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    if "\\u0000" not in encoded and (encoded.isascii() or not _LONE_SURROGATE.search(encoded)):
        return encoded
    return json.dumps(_storable(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def storable_text(value: str) -> str:
    """Return a text that PostgreSQL takes: NUL and lone surrogates become U+FFFD."""
    return _NOT_STORABLE.sub("\ufffd", value)


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value


def _from_keywords(address: str, name: str) -> str:
    import psycopg2
    from psycopg2.extensions import parse_dsn

    try:
        parts = parse_dsn(address)
    except psycopg2.ProgrammingError:
        raise InfrastructureError(f"{name} has to look like postgresql://user:password@host:5432/database.") from None
    if not parts:
        raise InfrastructureError(f"{name} has to look like postgresql://user:password@host:5432/database.")
    host = parts.pop("host", "")
    port = parts.pop("port", None)
    query = {"host": host} if host.startswith("/") else {}
    return URL.create(
        "postgresql",
        username=parts.pop("user", None),
        password=parts.pop("password", None),
        host=None if query else host or None,
        port=int(port) if port else None,
        database=parts.pop("dbname", None),
        query=query | parts,
    ).render_as_string(hide_password=False)


def _check_server(connection: Any, _record: Any) -> None:
    """Refuse a server that MAP4's SQL does not run on; costs no query, the server says both as it greets."""
    version = connection.server_version
    if version < OLDEST_SERVER * 10000:
        raise InfrastructureError(f"The database is PostgreSQL {version // 10000}; MAP4 needs {OLDEST_SERVER} or newer.")
    encoding = connection.get_parameter_status("server_encoding")
    if encoding != "UTF8":
        raise InfrastructureError(f"The database's encoding is {encoding}; MAP4 needs one created with ENCODING 'UTF8'.")
