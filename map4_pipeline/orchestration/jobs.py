"""Jobs: ingest (partitions), refresh (whatever changed, in one run), report (the whole library), backup, housekeeping."""

from typing import Any

from dagster import AssetCheckKey, AssetKey, AssetSelection, Backoff, RetryPolicy, define_asset_job, job, op

from map4_pipeline.orchestration.housekeeping import tidy
from map4_pipeline.orchestration.refresh import refresh
from map4_pipeline.orchestration.resources import Map4Resource
from map4_pipeline.orchestration.scope import WHOLE_LINE_TAG

#: AI is not part of an ingest: it costs money.
PIPELINE = AssetSelection.assets("scanned_files", "track_features", "fingerprints", "hamms_vectors")
CHECKS = AssetSelection.checks(
    AssetCheckKey(AssetKey("scanned_files"), "ledger_reconciles"),
    AssetCheckKey(AssetKey("track_features"), "failure_rate"),
    AssetCheckKey(AssetKey("hamms_vectors"), "hamms_quality"),
    AssetCheckKey(AssetKey("ai_annotations"), "annotation_schema"),
    AssetCheckKey(AssetKey("ai_annotations"), "contradiction_rate"),
)
REPORT = AssetSelection.assets("duplicates", "library_statistics", "library_report")

ingest_library = define_asset_job(
    "ingest_library",
    selection=PIPELINE.without_checks(),
    description="Scan, analyse, fingerprint and vectorise directories. A run covers a contiguous range of them.",
)

report_library = define_asset_job(
    "report_library",
    selection=REPORT | CHECKS,
    description="Find duplicates, compute statistics, check the ledger and write the reports of the whole library.",
)


@job(
    tags={WHOLE_LINE_TAG: "true"},
    description="Look at every directory of every library and bring up to date what changed, in one run without partitions.",
)
def refresh_library() -> None:
    """Refresh all libraries."""
    refresh()


@op(retry_policy=RetryPolicy(max_retries=2, delay=30, backoff=Backoff.EXPONENTIAL))
def dump_database(map4: Map4Resource) -> str:
    """Write a dump of MAP4's database and remove the oldest ones."""
    from map4_pipeline.store.backup import scheduled_dump

    return str(scheduled_dump(map4.bench().settings))


@job(description="Write a dump of the database to MAP4_HOME/backups and keep the newest ones (MAP4_BACKUP_KEEP).")
def backup_database() -> None:
    """Back the database up."""
    dump_database()


@job(description="Remove events of steps, logs of runs and scans that are older than MAP4_KEEP_DAYS.")
def housekeeping() -> None:
    """Cut back what grows."""
    tidy()


ALL_JOBS: list[Any] = [ingest_library, report_library, refresh_library, backup_database, housekeeping]
