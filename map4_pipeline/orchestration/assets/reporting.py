"""Group `reporting`: the library at a glance, and the reports that people keep open."""

from datetime import timedelta
from typing import Any

from dagster import AssetExecutionContext, FreshnessPolicy, MaterializeResult, MetadataValue, asset

from map4_pipeline.hamms import HAMMS_VERSION
from map4_pipeline.orchestration.assets.common import FOLLOW_ANY, OWNERS
from map4_pipeline.orchestration.metadata import bar_chart, number_table
from map4_pipeline.orchestration.resources import Map4Resource

#: What is shown of each HAMMS dimension.
_PROFILE = ("mean", "q05", "q25", "q50", "q75", "q95")
#: The nightly refresh makes both anew where something changed; two days without one deserve a look.
DAILY = FreshnessPolicy.time_window(fail_window=timedelta(days=7), warn_window=timedelta(days=2))


@asset(
    key="library_statistics",
    deps=["hamms_vectors", "duplicates"],
    group_name="reporting",
    code_version=HAMMS_VERSION,
    owners=OWNERS,
    kinds={"python", "postgres"},
    automation_condition=FOLLOW_ANY,
    freshness_policy=DAILY,
    description="Counts and distributions of the whole library: tempo, key, energy, loudness, genres, years, HAMMS profile.",
)
def library_statistics(context: AssetExecutionContext, map4: Map4Resource) -> MaterializeResult[None]:
    """Compute the statistics and keep them; nothing to do while the library is what it was."""
    from map4_pipeline.store.statistics import refresh_statistics

    result = refresh_statistics(map4.bench().engine)
    if result.unchanged:
        context.log.info("Nothing changed since the statistics were computed.")
    profile = [
        {"dimension": name} | {key: None if (value := summary[key]) is None else round(value, 3) for key in _PROFILE}
        for name, summary in result.hamms.items()
    ]
    return MaterializeResult(
        metadata={
            "tracks": MetadataValue.int(result.tracks),
            "hours_of_music": MetadataValue.float(round(result.hours, 2)),
            "doubtful_bpm": MetadataValue.int(result.doubtful_bpm),
            "doubtful_key": MetadataValue.int(result.doubtful_key),
            "computed": MetadataValue.bool(not result.unchanged),
            "bpm_distribution": bar_chart(result.bpm),
            "key_distribution": bar_chart(result.keys),
            "energy_distribution": bar_chart(result.energy),
            "loudness_distribution": bar_chart(result.loudness),
            "genres": number_table(result.genres),
            "released": bar_chart(result.decades),
            "added": bar_chart(result.additions),
            "formats": bar_chart(result.formats),
            "hamms_profile": number_table(profile),
        }
    )


@asset(
    key="library_report",
    deps=["hamms_vectors", "duplicates", "library_statistics"],
    group_name="reporting",
    code_version="1",
    owners=OWNERS,
    kinds={"python", "pdf", "excel", "html"},
    automation_condition=FOLLOW_ANY,
    freshness_policy=DAILY,
    description="The library's report as PDF, Excel workbook and one self-contained HTML page, under MAP4_HOME/reports.",
)
def library_report(context: AssetExecutionContext, map4: Map4Resource) -> MaterializeResult[None]:
    """Write the three reports from one consistent state of the database."""
    from map4_pipeline.store.reporting import write_library_reports

    bench = map4.bench()
    files = write_library_reports(bench.engine, bench.settings.reports_dir)
    metadata: dict[str, MetadataValue[Any]] = {}
    for file in files:
        context.log.info(f"{file.path} ({file.size_bytes / 1e6:.2f} MB in {file.duration_ms} ms)")
        metadata[file.format] = MetadataValue.path(str(file.path))
        metadata[f"{file.format}_megabytes"] = MetadataValue.float(round(file.size_bytes / 1e6, 3))
    return MaterializeResult(metadata=metadata)
