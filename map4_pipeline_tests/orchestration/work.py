"""Execute MAP4's jobs in process, as `map4 ingest` does."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dagster import (
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    EventRecordsFilter,
    ExecuteInProcessResult,
    RunRequest,
    SkipReason,
    build_sensor_context,
)
from sqlalchemy import Engine

from map4_pipeline.ingest.session import open_session
from map4_pipeline.orchestration.definitions import build_defs
from map4_pipeline.orchestration.partitions import register_partitions
from map4_pipeline.orchestration.resources import default_resources

from ..ingest.music import Shelf

QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
PARTITIONED = ("scanned_files", "track_features", "fingerprints", "hamms_vectors")


def registered(shelf: Shelf, instance: DagsterInstance) -> list[str]:
    """Survey the shelf, register its directories and return the partition keys in Dagster's order."""
    open_session(shelf.bench, libraries=[shelf.library()])
    return register_partitions(instance, shelf.engine)


def execute(
    instance: DagsterInstance,
    job: str,
    keys: Sequence[str] = (),
    *,
    assets: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    fails: bool = False,
) -> ExecuteInProcessResult:
    """Execute a job over a range of partitions (first and last of `keys`), one partition, or none."""
    covered = dict(tags or {})
    single = keys[0] if len(keys) == 1 else None
    if len(keys) > 1:
        covered |= {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    resolved: Any = build_defs().resolve_job_def(job)
    result: ExecuteInProcessResult = resolved.execute_in_process(
        instance=instance,
        partition_key=single,
        tags=covered,
        run_config=QUIET,
        asset_selection=[AssetKey(name) for name in assets] if assets else None,
        raise_on_error=not fails,
    )
    assert result.success != fails
    return result


def events(instance: DagsterInstance, asset: str, kind: DagsterEventType = DagsterEventType.ASSET_MATERIALIZATION) -> list[Any]:
    """Return an asset's events, oldest first."""
    records = instance.get_event_records(EventRecordsFilter(kind, asset_key=AssetKey(asset)), ascending=True)
    return list(records)


def materialized(instance: DagsterInstance, asset: str, run_id: str | None = None) -> list[str | None]:
    """Return the partitions of an asset's materializations (of one run), oldest first."""
    return [record.partition_key for record in events(instance, asset) if run_id in (None, record.run_id)]


def metadata(instance: DagsterInstance, asset: str, key: str | None = None) -> dict[str, Any]:
    """Return the metadata of an asset's last materialization (of a partition)."""
    found = [record for record in events(instance, asset) if key is None or record.partition_key == key]
    values = found[-1].asset_materialization.metadata.items()
    return {name: value if name == "failures" else value.value for name, value in values}


def corrupt(engine: Engine, statement: str) -> None:
    """Change the database behind MAP4's back."""
    with engine.begin() as conn:
        conn.exec_driver_sql(statement)


def tick(instance: DagsterInstance, name: str = "watched_folders") -> tuple[list[RunRequest], list[str]]:
    """Evaluate a sensor once; return what it launches, and why it launches nothing."""
    repository = build_defs().get_repository_def()
    with build_sensor_context(instance=instance, repository_def=repository, resources=default_resources()) as context:
        found: Any = repository.get_sensor_def(name)(context)
        results: Sequence[Any] = list(found) if isinstance(found, Iterator) else [found]
    requests = [item for item in results if isinstance(item, RunRequest)]
    return requests, [str(item.skip_message) for item in results if isinstance(item, SkipReason)]
