"""What a run covers, read from its partitions and tags."""

from collections.abc import Mapping

from dagster import AssetExecutionContext, AssetKey, Failure, OpExecutionContext

from map4_pipeline.ingest.scan import ScanOptions
from map4_pipeline.ingest.workbench import Scope, Workbench
from map4_pipeline.store.libraries import Library, all_libraries

#: `{library id}:{scan id}` pairs: the run is part of a scan that `map4 ingest` opened.
SCANS_TAG = "map4/scans"
RETRY_TAG = "map4/retry_failed"
VERIFY_TAG = "map4/verify"
LOSS_TAG = "map4/confirm_loss"
#: Library ids that a refresh is about, with commas between; all libraries where the tag is not there.
LIBRARIES_TAG = "map4/libraries"
#: "true": whoever started the run renews what is downstream too, so that no automation condition has to.
WHOLE_LINE_TAG = "map4/whole_line"
#: Process that executes the run itself (`map4 ingest`), as `host:pid:start time`.
OWNER_TAG = "map4/owner"
#: Dagster's; a run that is executed again has the tags of the first one besides, and is nobody's part any more.
_PARENT_TAG = "dagster/parent_run_id"
#: The batch of rows of `analysis_queue` that a run was launched for.
QUEUE_TAG = "map4/queue"
#: Requests of the API that asked for what a run does (X-Request-ID), with commas between.
REQUEST_TAG = "map4/request_id"


def scan_ids_of(tags: Mapping[str, str]) -> dict[int, int]:
    """Return {library id: scan id} from a run's tags; the scans of a run that is executed again are closed."""
    if _PARENT_TAG in tags:
        return {}
    pairs = (pair.split(":") for pair in tags.get(SCANS_TAG, "").split(",") if pair)
    return {int(library): int(scan) for library, scan in pairs}


def owner_of(tags: Mapping[str, str]) -> str | None:
    """Return the process that executes the run itself, or None where Dagster launched it."""
    return None if _PARENT_TAG in tags else tags.get(OWNER_TAG)


def scans_tag(scan_ids: dict[int, int]) -> str:
    """Return the tag's value for some scans."""
    return ",".join(f"{library}:{scan}" for library, scan in sorted(scan_ids.items()))


def scope_of(context: AssetExecutionContext, bench: Workbench) -> Scope:
    """Return the directories, roots and scans of a run over partitions.

    Raises
    ------
    Failure
        When whoever launched the run chose no partition, as Dagster's launchpad allows.
    """
    if not context.has_partition_key_range and not context.has_partition_key:
        said = "The run covers no directory: choose partitions, or launch `refresh_library`, which looks at all of them."
        raise Failure(description=said, allow_retries=False)
    return bench.scope(context.partition_keys, context.run_id, scan_ids_of(dict(context.run.tags)))


def close_partial_scans(context: AssetExecutionContext, bench: Workbench, scope: Scope, *downstream: str) -> None:
    """Close the scans of a run in which none of the assets that follow was chosen; the last of them does it otherwise."""
    # Empty where a job runs as a whole.
    chosen = context.run.asset_selection
    if chosen and chosen.isdisjoint(AssetKey(name) for name in downstream):
        bench.close_partial_scans(scope)


def options_of(context: AssetExecutionContext | OpExecutionContext) -> ScanOptions:
    """Return how the run treats what is known."""
    tags = context.run.tags
    retry, verify, loss = (tags.get(name) == "true" for name in (RETRY_TAG, VERIFY_TAG, LOSS_TAG))
    return ScanOptions(retry, verify, loss)


def libraries_of(context: OpExecutionContext, bench: Workbench) -> list[Library]:
    """Return the libraries that a refresh is about."""
    with bench.engine.connect() as conn:
        libraries = all_libraries(conn)
    wanted = context.run.tags.get(LIBRARIES_TAG)
    return libraries if wanted is None else [library for library in libraries if str(library.id) in wanted.split(",")]


def loss_confirmed(context: OpExecutionContext) -> bool:
    """Return whether the user has said that what is gone is meant to be gone."""
    return context.run.tags.get(LOSS_TAG) == "true"
