"""Group `ingestion`: what is in the folders."""

from dagster import AssetExecutionContext, MaterializeResult, asset

from map4_pipeline.library.ledger import Ledger
from map4_pipeline.orchestration.assets.common import CHUNKS, OWNERS
from map4_pipeline.orchestration.metadata import ledger_metadata
from map4_pipeline.orchestration.partitions import directory_partitions
from map4_pipeline.orchestration.resources import Map4Resource
from map4_pipeline.orchestration.scope import close_partial_scans, options_of, scope_of


@asset(
    key="scanned_files",
    group_name="ingestion",
    partitions_def=directory_partitions,
    backfill_policy=CHUNKS,
    code_version="1",
    owners=OWNERS,
    kinds={"python", "postgres"},
    description=(
        "Every file of a directory and its fate: new, changed, unchanged, skipped (why) or missing. Compares the folder with "
        "PostgreSQL by size and times; reads no audio. A partition is one directory of a library."
    ),
)
def scanned_files(context: AssetExecutionContext, map4: Map4Resource) -> MaterializeResult[None]:
    """Bring a directory's rows up to date with the disk."""
    bench = map4.bench()
    scope = scope_of(context, bench)
    lines = bench.scan(scope, options_of(context))
    close_partial_scans(context, bench, scope, "track_features", "fingerprints", "hamms_vectors")
    total = Ledger()
    for directory in scope.directories:
        total += lines[directory.id]
        context.add_asset_metadata(ledger_metadata(lines[directory.id]), partition_key=directory.partition_key)
    context.log.info(
        f"{len(scope.directories)} directories, {total.seen} files: {total.pending} to analyse, {total.unchanged} unchanged, "
        f"{total.skipped} skipped, {total.failed} failed earlier, {total.missing} missing."
    )
    return MaterializeResult()
