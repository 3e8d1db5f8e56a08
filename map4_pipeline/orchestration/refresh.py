"""The op behind `refresh_library`: survey every library, bring up to date what changed, in one run.

Scattered directories would need one run per contiguous stretch of partitions (20 scattered keys: 20 runs, each
seconds of nothing). One run without a partition, whose op reports a materialization per touched directory, costs
milliseconds each.
"""

from collections.abc import Sequence

from dagster import AssetMaterialization, Config, Failure, MetadataValue, OpExecutionContext, op
from pydantic import Field

from map4_pipeline.ingest.limits import NO_LIMITS, Limits
from map4_pipeline.ingest.session import open_session
from map4_pipeline.ingest.withdrawal import Withdrawal
from map4_pipeline.ingest.workbench import Scope, Workbench
from map4_pipeline.library.ledger import Ledger
from map4_pipeline.orchestration.metadata import ledger_metadata
from map4_pipeline.orchestration.partitions import register_partitions
from map4_pipeline.orchestration.resources import Map4Resource
from map4_pipeline.orchestration.scope import QUEUE_TAG, libraries_of, loss_confirmed, options_of
from map4_pipeline.store.directories import Directory, directories_by_key

PARTITIONED = ("scanned_files", "track_features", "fingerprints", "hamms_vectors")
WHOLE = ("duplicates", "library_statistics", "library_report")


class RefreshConfig(Config):
    """What a refresh covers."""

    directories: list[str] = Field(
        default=[], description="Partition keys of the directories to bring up to date. Empty: survey every library."
    )


@op(
    name="refresh",
    description="Survey all libraries; scan, analyse and vectorise the directories that changed; renew the reports.",
)
def refresh(context: OpExecutionContext, map4: Map4Resource, config: RefreshConfig) -> None:
    """Bring every library, or some directories, up to date."""
    bench = map4.bench()
    if config.directories:
        with bench.engine.connect() as conn:
            known = {directory.partition_key for directory in directories_by_key(conn, config.directories)}
        if unknown := [key for key in config.directories if key not in known]:
            named = f"No library has a directory with the partition key {', '.join(unknown[:5])}{' ...' if unknown[5:] else ''}."
            if not known:
                raise Failure(description=named, allow_retries=False)
            context.log.warning(named)
        scope = bench.scope(config.directories, context.run_id)
        lines, left = _work(context, bench, scope, _limits(context, bench, scope))
        total = Ledger()
        for line in lines.values():
            total += line
        done = [directory for directory in scope.directories if directory.id not in left]
        context.add_output_metadata({**ledger_metadata(total), "directories_touched": MetadataValue.int(len(done))})
        if left:
            context.log.info(f"{len(left)} directories were left, because whoever asked for them has cancelled it.")
        if done or total.analysed or total.reused:
            renew_reports(map4)
            report_touched(context, done, lines)
        return
    options = options_of(context)
    session = open_session(
        bench,
        libraries=libraries_of(context, bench),
        everything=options.verify or options.retry_failed,
        confirm_loss=loss_confirmed(context),
    )
    session.begin(context.run_id)
    for refusal in session.refusals:
        context.log.error(refusal)
    if session.touched:
        register_partitions(context.instance, bench.engine)
        lines, _ = _work(context, bench, session.scope())
    total = session.finish()
    context.add_output_metadata({**ledger_metadata(total), "directories_touched": MetadataValue.int(len(session.touched))})
    context.log.info(
        f"{total.seen} files seen: {total.unchanged} unchanged, {total.analysed} analysed, {total.reused} reused, "
        f"{total.failed} failed, {total.skipped} skipped."
    )
    if session.touched:
        renew_reports(map4)
        report_touched(context, session.touched, lines)
    if session.refusals:
        raise Failure(description=" ".join(session.refusals), allow_retries=False)


def _limits(context: OpExecutionContext, bench: Workbench, scope: Scope) -> Limits:
    """Return when a run ends early: one for rows of the queue leaves what was cancelled."""
    batch = context.run.tags.get(QUEUE_TAG)
    return NO_LIMITS if batch is None else Limits(leave=Withdrawal(bench.engine, bench.settings, batch, scope.directories))


def _work(
    context: OpExecutionContext, bench: Workbench, scope: Scope, limits: Limits = NO_LIMITS
) -> tuple[dict[int, Ledger], set[int]]:
    """Scan, analyse and vectorise; return the directories' lines, and the ids of those that were left before their end."""
    bench.scan(scope, options_of(context))
    summary = bench.analyse(scope, ("features", "fingerprint"), limits)
    bench.vectors(scope)
    context.log.info(
        f"{len(scope.directories)} directories touched: {summary.ledger.analysed} analysed, {summary.ledger.reused} reused, "
        f"{summary.ledger.failed} failed."
    )
    left = [directory.partition_key for directory in scope.directories if directory.id in summary.left]
    with bench.engine.connect() as conn:
        # In some of them nothing was left to do.
        return bench.lines(scope), {directory.id for directory in directories_by_key(conn, left) if not directory.settled}


def report_touched(context: OpExecutionContext, directories: Sequence[Directory], lines: dict[int, Ledger]) -> None:
    """Tell Dagster what the run has materialized: partitions, then the assets of the whole library.

    Upstream before downstream, and all at the end: an automation condition that is evaluated meanwhile sees no asset older than
    what it is made from.
    """
    for directory in directories:
        metadata = ledger_metadata(lines.get(directory.id, Ledger()))
        for key in PARTITIONED:
            context.log_event(AssetMaterialization(key, partition=directory.partition_key, metadata=metadata))
    for key in WHOLE:
        context.log_event(AssetMaterialization(key))


def renew_reports(map4: Map4Resource) -> None:
    """Make the whole-library assets anew."""
    from map4_pipeline.store.duplicates import rebuild_duplicates
    from map4_pipeline.store.reporting import write_library_reports
    from map4_pipeline.store.statistics import refresh_statistics

    bench = map4.bench()
    rebuild_duplicates(bench.engine, bench.settings.home)
    refresh_statistics(bench.engine)
    write_library_reports(bench.engine, bench.settings.reports_dir)
