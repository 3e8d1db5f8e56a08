"""Group `enrichment`: what is known beyond the single file's sound."""

from dagster import AssetExecutionContext, MaterializeResult, MetadataValue, asset

from map4_pipeline.fingerprint.versions import DUPLICATES_VERSION
from map4_pipeline.orchestration.assets.common import FOLLOW_ANY, OWNERS
from map4_pipeline.orchestration.metadata import groups_table
from map4_pipeline.orchestration.resources import Map4Resource


@asset(
    key="duplicates",
    deps=["fingerprints", "track_features"],
    group_name="enrichment",
    code_version=DUPLICATES_VERSION,
    owners=OWNERS,
    kinds={"python", "chromaprint", "postgres"},
    automation_condition=FOLLOW_ANY,
    description=(
        "Groups of tracks that are the same file, the same audio, the same recording by its fingerprint, or likely versions of "
        "one piece; with evidence and the copy to keep. Compares only what is new. MAP4 deletes no file, ever."
    ),
)
def duplicates(context: AssetExecutionContext, map4: Map4Resource) -> MaterializeResult[None]:
    """Bring the groups of the whole library up to date."""
    from map4_pipeline.store.duplicate_listing import list_groups
    from map4_pipeline.store.duplicates import rebuild_duplicates

    bench = map4.bench()
    summary = rebuild_duplicates(bench.engine, bench.settings.home)
    with bench.engine.connect() as conn:
        largest = list_groups(conn, limit=50)
    return MaterializeResult(
        metadata={
            **{f"groups_{kind}": MetadataValue.int(count) for kind, count in summary.groups.items()},
            "groups_decided": MetadataValue.int(summary.decided),
            "groups_changed": MetadataValue.int(summary.changed),
            "surplus_tracks": MetadataValue.int(summary.surplus),
            "surplus_megabytes": MetadataValue.float(round(summary.wasted_bytes / 1e6, 1)),
            "contents": MetadataValue.int(summary.contents),
            "contents_compared": MetadataValue.int(summary.compared),
            "unreadable_fingerprints": MetadataValue.int(summary.unreadable),
            "open_groups": groups_table(largest),
        }
    )
