"""Dagster's storage on PostgreSQL without configuration, with the events of many partitions in one statement.

It also tells Dagster where the jobs of `map4 ingest` are defined, which executes its runs itself, and keeps what steps print
without a program for each stream.

This is the only module that touches Dagster's private parts. Measured on Dagster 1.13 with 6 assets x 800 partitions:
the stock PostgreSQL storage spends 196 s on events, this one 5.5 s, because it writes the planned events of a range in
one INSERT and keeps its connections. Should a Dagster release change what is overridden here, the stock class is
used instead (slower, never wrong), and a test against the pinned version says so.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import sqlalchemy
import sqlalchemy.pool
from dagster import DagsterEventType, DagsterRun, EventLogEntry, Field, Float, StringSource
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.remote_origin import CodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata, SqlEventLogStorageTable
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from dagster._core.storage.tags import CODE_LOCATION_TAG
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster._serdes import ConfigurableClassData
from dagster._utils import ensure_file, touch_file
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.utils import create_pg_engine

from map4_pipeline.orchestration.instance import LOCATION
from map4_pipeline.orchestration.scope import owner_of
from map4_pipeline.store.database import advisory_lock

# Read by Dagster when a run writes events; 0, its default, writes each materialization by itself.
os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")

#: What `BatchingEventLogStorage` calls; where one is missing the stock class is used.
_NEEDED = (
    "prepare_insert_event_batch",
    "index_transaction",
    "_store_asset_event",
    "_connect",
    "has_table",
    "_has_asset_key_col_on_connection",
)


#: Advisory lock of whoever makes Dagster's tables ("MAP4DAG").
_TABLES_LOCK = 0x4D415034444147
#: Stands in Dagster's database while its tables are made: they are many statements, and a process may be killed between two.
_MAKING = "map4_making_dagster_tables"
#: Events that say what a step did and are kept all the same: times of steps are shown beside runs.
_ABOUT_RUNS = ("STEP_START", "STEP_SUCCESS", "STEP_FAILURE")


class BatchingEventLogStorage(PostgresEventLogStorage):
    """Writes the planned events of a run over many partitions with one INSERT, and looks at its tables' columns once.

    The stock class asks PostgreSQL before every event whether the tables are old ones; what is there once stays.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seen: set[str] = set()

    def has_table(self, table_name: str) -> bool:
        """Return whether there is a table."""
        return self._is_there(table_name, lambda: super(BatchingEventLogStorage, self).has_table(table_name))

    def _has_asset_key_col_on_connection(self, conn: sqlalchemy.Connection, column_name: str) -> bool:
        look = super()._has_asset_key_col_on_connection
        return self._is_there(f"asset_keys.{column_name}", lambda: look(conn, column_name))

    def _is_there(self, name: str, look: Callable[[], bool]) -> bool:
        if name in self._seen:
            return True
        found = look()
        if found:
            self._seen.add(name)
        return found

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store a batch of events of one kind or another."""
        kinds = {event.get_dagster_event().event_type for event in events}
        if kinds != {DagsterEventType.ASSET_MATERIALIZATION_PLANNED}:
            super().store_event_batch(events)
            return
        with self._connect() as conn:
            statement = self.prepare_insert_event_batch(events).returning(SqlEventLogStorageTable.c.id)
            ids = [int(row[0]) for row in conn.execute(statement).fetchall()]
        # Each asset's row needs the last planned event only.
        last = {event.get_dagster_event().asset_key: (event, id_) for event, id_ in zip(events, ids, strict=True)}
        with self.index_transaction() as conn:
            for event, id_ in last.values():
                self._store_asset_event(conn, event, id_)

    def purge_step_events(self, before: float) -> int:
        """Delete events of steps and log lines from before a moment (seconds since 1970); return how many.

        Kept for ever: what happened to assets (a partition's state is read from it) and to runs as a whole.
        """
        events = SqlEventLogStorageTable.c
        kind = sqlalchemy.func.coalesce(events.dagster_event_type, "LOG")
        kept = kind.like("ASSET%") | kind.like("PIPELINE%") | kind.like("RUN%") | kind.in_(_ABOUT_RUNS)
        old = events.timestamp < datetime.fromtimestamp(before, UTC).replace(tzinfo=None)
        with self._connect() as conn:
            return int(conn.execute(sqlalchemy.delete(SqlEventLogStorageTable).where(old, ~kept)).rowcount)


class FileComputeLogManager(LocalComputeLogManager):
    """Keeps what steps print in files, from where the UI shows it, and prints it nowhere else.

    The stock class shows it on the console too, with a `tail` and a watcher for each stream. A run that is killed, or told to
    end, after the one has started and before the other has leaves that `tail` behind: 19 of 50 that were ended in those 6 ms.
    """

    def __init__(
        self, base_dir: str | None = None, polling_timeout: float | None = None, inst_data: ConfigurableClassData | None = None
    ) -> None:
        super().__init__(base_dir or str(Path(os.environ["DAGSTER_HOME"], "storage")), polling_timeout, inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """Return the shape of the `config:` block in dagster.yaml; all of it is optional."""
        return {"base_dir": Field(StringSource, is_required=False), "polling_timeout": Field(Float, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Make the manager from dagster.yaml."""
        return cls(inst_data=inst_data, **config_value)

    @contextlib.contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        """Send what this process prints in the block to the files of a step."""
        with contextlib.ExitStack() as streams:
            for stream, kind in ((sys.stdout, ComputeIOType.STDOUT), (sys.stderr, ComputeIOType.STDERR)):
                path = self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind])
                ensure_file(path)
                streams.enter_context(redirect_to_file(stream, path))
            yield CapturedLogContext(log_key)
        touch_file(self.get_captured_local_path(log_key, "complete"))


class LocatedRunStorage(PostgresRunStorage):
    """Writes down where the job of a run is defined that `map4 ingest` executes itself.

    The UI's timeline, the pages of jobs and the sensor `failed_runs` go by that; Dagster knows it of runs that it launches.
    """

    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        """Add a run."""
        location = _map4_location() if owner_of(dagster_run.tags) and dagster_run.remote_job_origin is None else None
        if location is not None:
            origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME), dagster_run.job_name)
            dagster_run = dagster_run.with_job_origin(origin).with_tags({**dagster_run.tags, CODE_LOCATION_TAG: LOCATION})
        return super().add_run(dagster_run)


def _map4_location() -> CodeLocationOrigin | None:
    """Return MAP4's code location as workspace.yaml in Dagster's home says it, or None when it is not known."""
    workspace = Path(os.environ.get("DAGSTER_HOME", ""), "workspace.yaml")
    if not workspace.is_file():
        return None
    try:
        locations = location_origins_from_yaml_paths([str(workspace)])
    except Exception:  # noqa: BLE001
        # A workspace that somebody wrote, and that Dagster refuses: its services say so when they are started.
        return None
    return next((location for location in locations if location.location_name == LOCATION), None)


@contextlib.contextmanager
def _whole_tables(connection: sqlalchemy.Connection) -> Iterator[None]:
    """Let the block make Dagster's tables where there are none; what a killed process left half made is made anew."""
    names = set(sqlalchemy.inspect(connection).get_table_names())
    if _MAKING in names:
        # Nobody has used them yet: whoever makes them holds the lock until they are whole.
        for metadata in (SqlEventLogStorageMetadata, RunStorageSqlMetadata, ScheduleStorageSqlMetadata):
            metadata.drop_all(connection)
    elif not {"event_logs", "runs", "jobs"} & names:
        connection.execute(sqlalchemy.text(f"CREATE TABLE {_MAKING} ()"))
    else:
        yield
        return
    yield
    connection.execute(sqlalchemy.text(f"DROP TABLE {_MAKING}"))


class Map4Storage(DagsterPostgresStorage):
    """Dagster's storage where `map4` keeps it: `DAGSTER_DATABASE_URL`, or beside MAP4's own database."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        # The stock storage looks for its tables and then makes them: two first commands at once would both make them.
        engine = create_pg_engine(postgres_url, poolclass=sqlalchemy.pool.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection, advisory_lock(connection, _TABLES_LOCK), _whole_tables(connection):
            super().__init__(postgres_url, inst_data=inst_data)
        engine.dispose()
        if all(hasattr(PostgresEventLogStorage, name) for name in _NEEDED):
            self._event_log_storage = BatchingEventLogStorage(postgres_url, should_autocreate_tables=False)
        if hasattr(DagsterRun, "with_job_origin"):
            self._run_storage = LocatedRunStorage(postgres_url, should_autocreate_tables=False)
        # The stock storages open a connection per statement; a run over many partitions needs thousands.
        for storage in (self._event_log_storage, self._run_storage, self._schedule_storage):
            storage._engine = create_pg_engine(
                postgres_url,
                isolation_level="AUTOCOMMIT",
                poolclass=sqlalchemy.pool.QueuePool,
                pool_size=2,
                max_overflow=20,
                pool_recycle=1800,
                pool_pre_ping=True,
            )

    @classmethod
    def config_type(cls) -> Any:
        """Return the shape of the `config:` block in dagster.yaml; all of it is optional."""
        return {"postgres_url": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Make the storage from dagster.yaml."""
        from map4_pipeline.settings import settings
        from map4_pipeline.store.database import dagster_url

        return cls(config_value.get("postgres_url") or dagster_url(settings()), inst_data=inst_data)
