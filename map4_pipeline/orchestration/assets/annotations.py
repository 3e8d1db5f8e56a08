"""The asset `ai_annotations`: what language models say about a directory's tracks, within a budget."""

from typing import Any

from dagster import AssetExecutionContext, MaterializeResult, MetadataValue, asset

from map4_pipeline.annotate import ANNOTATION_VERSION
from map4_pipeline.annotate.prompts import PROMPT_VERSION
from map4_pipeline.ingest.annotation_setup import NotConfiguredError, budget_of, configured_providers
from map4_pipeline.orchestration.assets.common import CHUNKS, FOLLOW, OWNERS
from map4_pipeline.orchestration.metadata import bar_chart, failures_table
from map4_pipeline.orchestration.partitions import directory_partitions
from map4_pipeline.orchestration.resources import Map4Resource
from map4_pipeline.settings import settings

#: Runs that annotate at the same time share the providers' limits: `concurrency.pools` in dagster.yaml says how many there are.
POOL = "ai_annotations"


@asset(
    key="ai_annotations",
    deps=["hamms_vectors"],
    group_name="enrichment",
    partitions_def=directory_partitions,
    backfill_policy=CHUNKS,
    code_version=f"{ANNOTATION_VERSION}.{PROMPT_VERSION}",
    owners=OWNERS,
    kinds={"python", "openai", "postgres"},
    pool=POOL,
    # It costs money: only on request, unless the user has switched it on.
    automation_condition=FOLLOW if settings().ai_automatic else None,
    description=(
        "What a language model says about each track (genre, moods, era), with its evidence. Nothing is sent to anybody "
        "without a provider's key and a budget; until both are set this materializes with 0 annotated."
    ),
)
def ai_annotations(context: AssetExecutionContext, map4: Map4Resource) -> MaterializeResult[None]:
    """Ask about the tracks of some directories that have no annotation yet."""
    from map4_pipeline.ingest.annotating import Result, Selection, annotate_tracks
    from map4_pipeline.store.annotations import directory_states, failures_of, wanted
    from map4_pipeline.store.directories import directories_by_key

    bench = map4.bench()
    with bench.engine.connect() as conn:
        directories = directories_by_key(conn, context.partition_keys)
    ids = [directory.id for directory in directories]
    message = None
    result = Result(context.run.run_id)
    try:
        chain = configured_providers(bench.settings)
        budget = budget_of(bench.settings)
        result = annotate_tracks(bench.engine, bench.settings, chain, budget, Selection(wanted(ids)), context.run.run_id)
    except NotConfiguredError as error:
        message = f"0 tracks annotated: {error}"
        context.log.info(message)
    else:
        total = result.total
        context.log.info(
            f"{total.annotated} annotated, {total.reused} known before, {total.failed} failed, {result.left} not asked about; "
            f"{result.requests} requests, ${total.cost:.6f}."
        )
        if result.stopped:
            context.log.warning(f"Stopped: {result.stopped}")
    with bench.engine.connect() as conn:
        states = directory_states(conn, ids)
        failures = failures_of(conn, context.run.run_id)
    for directory in directories:
        metadata: dict[str, Any] = {}
        counts, state = result.counts.get(directory.id), states.get(directory.id)
        metadata["annotated"] = MetadataValue.int(counts.annotated if counts else 0)
        metadata["reused"] = MetadataValue.int(counts.reused if counts else 0)
        metadata["failed"] = MetadataValue.int(counts.failed if counts else 0)
        metadata["failed_before"] = MetadataValue.int(counts.failed_before if counts else 0)
        metadata["cost_usd"] = MetadataValue.float(float(counts.cost) if counts else 0.0)
        metadata["input_tokens"] = MetadataValue.int(counts.tokens.input if counts else 0)
        metadata["output_tokens"] = MetadataValue.int(counts.tokens.output if counts else 0)
        if state is not None:
            metadata["dagster/row_count"] = MetadataValue.int(state.annotated)
            metadata["contradicted"] = MetadataValue.int(state.contradicted)
        mine = [(path, f"{provider}: {kind}", said or "") for id_, path, provider, kind, said in failures if id_ == directory.id]
        if mine:
            metadata["failures"] = failures_table(mine)
        if result.by_provider:
            metadata["by_provider_in_run"] = bar_chart(result.by_provider)
        if result.stopped:
            metadata["stopped"] = MetadataValue.text(result.stopped)
        if message is not None:
            metadata["what_to_set"] = MetadataValue.text(message)
        context.add_asset_metadata(metadata, partition_key=directory.partition_key)
    return MaterializeResult()
