"""What runs are at work on, read from their tags and configuration: nothing is launched twice for it."""

from typing import Any

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from map4_pipeline.orchestration.jobs import ingest_library, refresh_library
from map4_pipeline.orchestration.partitions import DIRECTORY
from map4_pipeline.orchestration.scope import scan_ids_of

#: Tags of a run over a range of partitions.
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_UNDER_WAY = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]


class UnderWay:
    """What runs are at work on: everything (then the run's id), whole libraries, directories by their partition keys."""

    def __init__(self) -> None:
        self.everything: str | None = None
        self.libraries: set[int] = set()
        self.keys: set[str] = set()


def under_way(instance: DagsterInstance) -> UnderWay:
    """Return what runs are queued for or at work on."""
    found = UnderWay()
    order: list[str] = []
    for record in instance.get_run_records(RunsFilter(statuses=_UNDER_WAY)):
        run = record.dagster_run
        operations: Any = run.run_config.get("ops", {})
        named = operations.get("refresh", {}).get("config", {}).get("directories")
        first, last = (run.tags.get(tag) for tag in RANGE_TAGS)
        if named:
            found.keys.update(named)
        elif scan_ids_of(run.tags):  # a part of what `map4 ingest` is doing
            found.libraries.update(scan_ids_of(run.tags))
        elif first is not None and last is not None:
            order = order or list(instance.get_dynamic_partitions(DIRECTORY))
            found.keys.update(order[order.index(first) : order.index(last) + 1] if {first, last} <= set(order) else ())
        elif "dagster/partition" in run.tags:
            found.keys.add(run.tags["dagster/partition"])
        elif run.job_name in (ingest_library.name, refresh_library.name):
            found.everything = run.run_id
    return found
