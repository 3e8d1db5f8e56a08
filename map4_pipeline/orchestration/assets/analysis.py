"""Group `analysis`: what is in the sound. A file is opened and decoded once, for every stage asked for."""

from collections.abc import Iterator
from typing import Any

from dagster import AssetExecutionContext, AssetSpec, MaterializeResult, MetadataValue, asset, multi_asset

from map4_pipeline.fingerprint import FINGERPRINT_VERSION
from map4_pipeline.hamms import HAMMS_VERSION
from map4_pipeline.ingest.versions import features_key
from map4_pipeline.orchestration.assets.common import CHUNKS, FOLLOW, OWNERS
from map4_pipeline.orchestration.metadata import (
    BPM_EDGES,
    CONFIDENCE_EDGES,
    bar_chart,
    failures_table,
    histogram,
    ledger_metadata,
)
from map4_pipeline.orchestration.partitions import directory_partitions
from map4_pipeline.orchestration.resources import Map4Resource
from map4_pipeline.orchestration.scope import close_partial_scans, scope_of
from map4_pipeline.store.summaries import directory_summaries

#: With an engine that the user installed, a version of its own.
_FEATURES = features_key()


@multi_asset(
    name="analysis",
    can_subset=True,
    partitions_def=directory_partitions,
    backfill_policy=CHUNKS,
    specs=[
        AssetSpec(
            "track_features",
            deps=["scanned_files"],
            group_name="analysis",
            code_version=f"{_FEATURES.engine}:{_FEATURES.version}",
            owners=OWNERS,
            kinds={"python", "numpy", "postgres"},
            automation_condition=FOLLOW,
            description=(
                "BPM, key, energy, loudness and the descriptors of HAMMS, each with its confidence, measured from one decode. "
                "Moved, copied and retagged files reuse what is known of their audio. A bad file is a row with its error."
            ),
        ),
        AssetSpec(
            "fingerprints",
            deps=["scanned_files"],
            group_name="analysis",
            code_version=FINGERPRINT_VERSION,
            owners=OWNERS,
            kinds={"python", "chromaprint", "postgres"},
            automation_condition=FOLLOW,
            description="Chromaprint over the first 120 seconds, as fpcalc prints it, and a spectral hash; from the same decode.",
        ),
    ],
)
def analysis_assets(context: AssetExecutionContext, map4: Map4Resource) -> Iterator[MaterializeResult[None]]:
    """Analyse what is pending in some directories with worker processes, and write it in small batches."""
    bench = map4.bench()
    scope = scope_of(context, bench)
    wanted = {key.to_user_string() for key in context.selected_asset_keys}
    stages = [
        stage for asset_name, stage in (("track_features", "features"), ("fingerprints", "fingerprint")) if asset_name in wanted
    ]
    summary = bench.analyse(scope, stages)
    close_partial_scans(context, bench, scope, "hamms_vectors")
    effort, ledger = summary.effort, summary.ledger
    context.log.info(
        f"{ledger.analysed} analysed, {ledger.reused} reused, {ledger.failed} failed, {ledger.skipped} skipped in "
        f"{effort.wall_seconds:.1f} s ({effort.tracks_per_minute:.0f} tracks a minute, {effort.decodes} decodes, "
        f"{effort.bytes_read / 1e6:.1f} MB read)."
    )
    for path, kind, message in summary.failures[:20]:
        context.log.warning(f"{path}: {message} ({kind})")
    run = {
        "tracks_per_minute": MetadataValue.float(round(effort.tracks_per_minute, 1)),
        "decodes_in_run": MetadataValue.int(effort.decodes),
        "worker_cpu_seconds_in_run": MetadataValue.float(round(effort.cpu_seconds, 2)),
    }
    lines = bench.lines(scope)
    summaries = directory_summaries(bench.engine, scope.directory_ids)
    for directory in scope.directories:
        about = summaries.get(directory.id)
        metadata: dict[str, Any] = {}
        # In the order in which the UI shows it: what people look for first.
        if about is not None:
            metadata["dagster/row_count"] = MetadataValue.int(about.ok)
            if about.failures:
                metadata["failures"] = failures_table(about.failures)
            if about.bpms and "track_features" in wanted:
                metadata["bpm_distribution"] = bar_chart(histogram(about.bpms, BPM_EDGES, " BPM"))
                metadata["key_distribution"] = bar_chart(about.keys)
        metadata |= {**(ledger_metadata(lines[directory.id]) if directory.id in lines else {}), **run}
        for key in sorted(wanted):
            context.add_asset_metadata(metadata, asset_key=key, partition_key=directory.partition_key)
    for key in sorted(wanted):
        yield MaterializeResult(asset_key=key)


@asset(
    key="hamms_vectors",
    deps=["track_features"],
    group_name="analysis",
    partitions_def=directory_partitions,
    backfill_policy=CHUNKS,
    code_version=HAMMS_VERSION,
    owners=OWNERS,
    kinds={"python", "postgres"},
    automation_condition=FOLLOW,
    description=(
        "The twelve HAMMS dimensions of every track, in [0, 1] or null with a reason, computed from the measured features; "
        "no genre tables."
    ),
)
def hamms_vectors(context: AssetExecutionContext, map4: Map4Resource) -> MaterializeResult[None]:
    """Compute the vectors that are due and settle the directories."""
    bench = map4.bench()
    scope = scope_of(context, bench)
    summary = bench.vectors(scope)
    context.log.info(f"{summary.computed} vectors computed in {len(scope.directories)} directories.")
    if len(scope.directories) <= 20 and summary.computed:
        shared = {
            "computed_in_run": MetadataValue.int(summary.computed),
            "confidence_distribution": bar_chart(histogram(summary.confidences, CONFIDENCE_EDGES)),
            "null_dimensions": bar_chart(summary.null_reasons),
        }
        for directory in scope.directories:
            context.add_asset_metadata(shared, partition_key=directory.partition_key)
    return MaterializeResult()
