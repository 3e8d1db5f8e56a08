"""The checks of `map4 doctor` on what runs beside MAP4: database, Dagster's storage, cache, `map4 up`."""

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from map4_pipeline.cli.health import Check

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from map4_pipeline.settings import Settings


def database(configured: "Settings") -> Iterator[Check]:
    """Check that the database is reached and can be used, that its schema is up to date, and that the libraries are there."""
    from map4_pipeline.store.database import infrastructure_errors, make_engine, masked, resolve_url
    from map4_pipeline.store.errors import InfrastructureError

    embedded = configured.database_url is None
    try:
        address = resolve_url(configured)
        engine = make_engine(address)
        with infrastructure_errors(engine), engine.connect() as conn:
            yield from _server(conn, "embedded PostgreSQL" if embedded else "PostgreSQL", masked(address).replace("%2F", "/"))
            yield from _privileges(conn)
    except InfrastructureError as error:
        advice = "" if not embedded else f"Its log is {configured.home / 'logs' / 'postgres.log'}."
        yield Check("database", "fail", str(error), advice)
        return
    try:
        yield from _schema(engine, configured)
    finally:
        engine.dispose()


def _server(conn: "Connection", kind: str, address: str) -> Iterator[Check]:
    from sqlalchemy import text

    version = conn.scalar(text("SHOW server_version"))
    encoding = conn.scalar(text("SHOW server_encoding"))
    yield Check("database", "ok", f"{kind} {str(version).split()[0]}, {encoding}: {address}")


def _privileges(conn: "Connection") -> Iterator[Check]:
    from sqlalchemy import text

    user = conn.scalar(text("SELECT current_user"))
    schema = conn.scalar(text("SELECT current_schema()"))
    if schema is None or not conn.scalar(text("SELECT has_schema_privilege(:schema, 'CREATE')"), {"schema": schema}):
        advice = f"As its owner: GRANT CREATE, USAGE ON SCHEMA {schema or 'public'} TO {user}"
        yield Check("privileges", "fail", f"{user} may not create tables in the schema {schema or 'public'}.", advice)
        return
    may_write = "SELECT NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off'"
    if not conn.scalar(text(may_write)):
        yield Check("privileges", "fail", "The server is read-only.", "Name the primary server in DATABASE_URL.")
        return
    may_extend = conn.scalar(
        text(
            "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'unaccent')"
            " OR (EXISTS (SELECT FROM pg_available_extensions WHERE name = 'unaccent')"
            " AND has_database_privilege(current_database(), 'CREATE'))"
        )
    )
    if not may_extend:
        yield Check(
            "privileges", "fail", "The extension unaccent is missing and may not be created.",
            "Have an administrator install PostgreSQL's contrib modules and run CREATE EXTENSION unaccent.",
        )  # fmt: skip
        return
    yield Check("privileges", "ok", f"{user} may create and write")


def _schema(engine: "Engine", configured: "Settings") -> Iterator[Check]:
    from map4_pipeline.store.errors import InfrastructureError
    from map4_pipeline.store.migrate import current, upgrade
    from map4_pipeline.store.schema import HEAD_REVISION

    revision = current(engine)
    if revision is None:
        yield Check("schema", "ok", "empty; the first command makes the tables")
        return
    try:
        upgraded = upgrade(engine)
    except InfrastructureError as error:
        yield Check("schema", "fail", str(error))
        return
    yield Check("schema", "ok", f"revision {HEAD_REVISION}{f', upgraded from {revision}' if upgraded else ''}")
    yield from _libraries(engine, configured)


def _libraries(engine: "Engine", configured: "Settings") -> Iterator[Check]:
    from map4_pipeline.library.filesystem import root_state
    from map4_pipeline.library.keys import escape_path
    from map4_pipeline.store.libraries import all_libraries, local_root
    from map4_pipeline.store.overview import library_overviews

    words = {
        "absent": "is not there",
        "not_a_directory": "is not a folder",
        "unreadable": "cannot be opened: permission denied",
        "empty": "is empty",
    }
    with engine.connect() as conn:
        known = all_libraries(conn)
        overviews = {overview.id: overview for overview in library_overviews(conn)}
    if not known:
        yield Check("libraries", "ok", "none is registered yet: map4 ingest ~/Music")
    for library in known:
        root = local_root(library, configured.path_map)
        state = root_state(root)
        place = f"{library.name}: {escape_path(root)}"
        if state == "ok" or (state == "empty" and not overviews[library.id].tracks):
            yield Check("library", "ok", place)
        else:
            yield Check(
                "library", "warn", f"{place} {words.get(state, 'cannot be read')}.",
                f"Connect its disk, or if it was moved: map4 library relocate {library.slug} NEW_FOLDER. Its tracks are kept.",
            )  # fmt: skip


def dagster(configured: "Settings") -> Iterator[Check]:
    """Check Dagster's home and its storage."""
    from map4_pipeline.orchestration.instance import open_instance
    from map4_pipeline.store.database import masked

    with open_instance(configured) as instance:
        runs = instance.get_runs_count()
        storage = type(instance.event_log_storage).__name__
        address = str(getattr(instance.event_log_storage, "postgres_url", "") or "")
        place = f" in {masked(address).replace('%2F', '/')}" if address else ""
    yield Check("dagster", "ok", f"home {os.environ.get('DAGSTER_HOME', '')}")
    if "Postgres" in storage or "Batching" in storage:
        yield Check("dagster storage", "ok", f"PostgreSQL{place}, {runs:,} runs")
    else:
        advice = "Many partitions are slow on it. Remove `storage:` from dagster.yaml in Dagster's home to use PostgreSQL."
        yield Check("dagster storage", "warn", f"{storage}, {runs:,} runs", advice)


def cache(configured: "Settings") -> Iterator[Check]:
    """Check that Redis answers where one is configured; without one nothing is lost but speed."""
    from map4_pipeline.store.errors import InfrastructureError
    from map4_pipeline.store.valkey_server import EmbeddedValkey, redis_url

    embedded = configured.redis_url is None
    if embedded and not EmbeddedValkey.is_available():
        yield Check("cache", "ok", "none: no REDIS_URL, and the embedded Valkey is not installed; nothing is lost but speed")
        return
    try:
        address = redis_url(configured)
    except InfrastructureError as error:
        yield Check("cache", "warn", f"The embedded Valkey does not start: {error}", "Set REDIS_URL=none to do without.")
        return
    if address is None:
        yield Check("cache", "ok", "switched off (REDIS_URL=none)")
        return
    try:
        import redis
    except ImportError:
        yield Check("cache", "warn", "REDIS_URL is set and the package redis is missing.", "pip install 'map4[cache]'")
        return
    advice = "MAP4 works without it, only slower. Start it, correct REDIS_URL, or set REDIS_URL=none."
    name = "embedded Valkey" if embedded else "Redis"
    try:
        client = redis.Redis.from_url(address, socket_timeout=3, socket_connect_timeout=3)
        about = client.info("server")
        # Valkey says under the old name with which version of Redis it is compatible.
        version = about.get("valkey_version") or about.get("redis_version", "")
    except (redis.RedisError, ValueError, OSError) as error:
        yield Check("cache", "warn", f"{name} does not answer: {error}", advice)
        return
    yield Check("cache", "ok", f"{name} {version}")


def running_up(configured: "Settings") -> Iterator[Check]:
    """Say whether `map4 up` runs on this home, and where."""
    from map4_pipeline.store.filelock import FileLock

    path = configured.home / "up.lock"
    if path.exists():
        lock = FileLock(path)
        free = lock.acquire(wait=False)
        lock.release()
        if not free:
            yield Check("map4 up", "ok", f"runs{_where(configured)}")
            return
    yield Check("map4 up", "ok", "does not run; schedules and watched folders rest")


def _where(configured: "Settings") -> str:
    try:
        return f" at {json.loads((configured.home / 'up.json').read_text())['url']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
