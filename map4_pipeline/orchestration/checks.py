"""Asset checks: set-based, over the whole library, one query each.

A check that fails does not stop a run: a bad file is data. It tells whoever looks at the graph.
"""

from typing import Any

from dagster import AssetCheckResult, AssetCheckSeverity, MetadataValue, asset_check

from map4_pipeline.orchestration.metadata import bar_chart, failures_table, number_table
from map4_pipeline.orchestration.resources import Map4Resource

#: More failed files than this share are worth an alarm: a decoder or a disk may be at fault, not the files.
FAILURE_SHARE = 0.05
#: Share of doubtful tempi or keys beyond which the library is unusual (a lot of rubato, noise or speech) or the engine is wrong.
DOUBTFUL_SHARE = 0.35
#: A library of one kind of music lies far from music at large, 0.5 and more; beyond this the measurement itself is suspect.
DRIFT_APART, DRIFT_SPREAD, DRIFT_TRACKS = 0.8, 0.02, 200
#: A model of which more contradicts the measurements takes tracks for others, or the measurements are wrong: look.
CONTRADICTION_SHARE = 0.1


@asset_check(
    asset="scanned_files",
    name="ledger_reconciles",
    description="Every library's last scan: seen = analysed + reused + unchanged + failed + skipped, and one row a file.",
)
def ledger_reconciles(map4: Map4Resource) -> AssetCheckResult:
    """Check that no file was lost."""
    from map4_pipeline.store.checks import ledger_states

    states = ledger_states(map4.bench().engine)
    wrong = [state for state in states if not state.reconciles]
    metadata = {
        s.library: MetadataValue.text(f"seen {s.seen}, accounted for {s.accounted}, pending {s.pending}, rows {s.rows}")
        for s in states
    }
    return AssetCheckResult(passed=not wrong, severity=AssetCheckSeverity.ERROR, metadata=metadata)


@asset_check(
    asset="track_features",
    name="failure_rate",
    description=f"At most {FAILURE_SHARE:.0%} of the library's files failed.",
)
def failure_rate(map4: Map4Resource) -> AssetCheckResult:
    """Check the share of failed files."""
    from map4_pipeline.store.checks import failure_share, failures_by_kind

    engine = map4.bench().engine
    failed, total = failure_share(engine)
    share = failed / total if total else 0.0
    return AssetCheckResult(
        passed=share <= FAILURE_SHARE,
        severity=AssetCheckSeverity.WARN,
        metadata={"failed": failed, "share": round(share, 4), "by_reason": bar_chart(failures_by_kind(engine))},
    )


@asset_check(
    asset="hamms_vectors",
    name="hamms_quality",
    description="Every analysed track has the twelve HAMMS dimensions, each in [0, 1] or null with a reason; no NaN.",
)
def hamms_quality(map4: Map4Resource) -> AssetCheckResult:
    """Check every stored vector."""
    from map4_pipeline.store.checks import vector_problems

    looked, bad, examples = vector_problems(map4.bench().engine)
    metadata: dict[str, MetadataValue[Any]] = {"vectors": MetadataValue.int(looked), "with_problems": MetadataValue.int(bad)}
    if examples:
        metadata["examples"] = failures_table(examples)
    return AssetCheckResult(passed=bad == 0, severity=AssetCheckSeverity.ERROR, metadata=metadata)


@asset_check(
    asset="ai_annotations",
    name="annotation_schema",
    description="Every stored annotation has the claims of the schema, each with its basis and confidence.",
)
def annotation_schema(map4: Map4Resource) -> AssetCheckResult:
    """Check every stored annotation."""
    from map4_pipeline.store.annotations import stored_problems

    with map4.bench().engine.connect() as conn:
        looked, bad, examples = stored_problems(conn)
    metadata: dict[str, MetadataValue[Any]] = {"annotations": MetadataValue.int(looked), "with_problems": MetadataValue.int(bad)}
    if examples:
        metadata["examples"] = failures_table(examples)
    return AssetCheckResult(passed=bad == 0, severity=AssetCheckSeverity.ERROR, metadata=metadata)


@asset_check(
    asset="ai_annotations",
    name="contradiction_rate",
    description=f"At most {CONTRADICTION_SHARE:.0%} of the annotations have a claim that contradicts what was measured.",
)
def contradiction_rate(map4: Map4Resource) -> AssetCheckResult:
    """Check the share of annotations that were contradicted."""
    from map4_pipeline.store.annotations import contradiction_counts

    with map4.bench().engine.connect() as conn:
        flagged, total = contradiction_counts(conn)
    share = flagged / total if total else 0.0
    return AssetCheckResult(
        passed=share <= CONTRADICTION_SHARE,
        severity=AssetCheckSeverity.WARN,
        metadata={"contradicted": flagged, "annotations": total, "share": round(share, 4)},
    )


@asset_check(
    asset="library_statistics",
    name="calibration_drift",
    description=(
        f"No HAMMS dimension of a library of {DRIFT_TRACKS} tracks and more lies further than {DRIFT_APART:g} from the reference "
        f"distribution, or is squeezed into less than {DRIFT_SPREAD:g} of it."
    ),
)
def calibration_drift(map4: Map4Resource) -> AssetCheckResult:
    """Compare the dimensions' distributions with the reference: a measurement that broke shows here before anybody hears it."""
    from map4_pipeline.store.checks import dimension_drift
    from map4_pipeline.store.statistics import stored_statistics

    statistics = stored_statistics(map4.bench().engine)
    drifts = dimension_drift(statistics.hamms) if statistics is not None else []
    wrong = [d for d in drifts if d.tracks >= DRIFT_TRACKS and (d.apart > DRIFT_APART or d.spread < DRIFT_SPREAD)]
    rows = [
        {"dimension": d.name, "tracks": d.tracks, "median": round(d.median, 3), "place": round(d.place, 3)}
        | {"apart": round(d.apart, 3), "spread": round(d.spread, 3)}
        for d in drifts
    ]
    metadata: dict[str, MetadataValue[Any]] = {"dimensions": number_table(rows)}
    if wrong:
        metadata["drifted"] = MetadataValue.text(", ".join(d.name for d in wrong))
    return AssetCheckResult(passed=not wrong, severity=AssetCheckSeverity.WARN, metadata=metadata)


@asset_check(
    asset="library_statistics",
    name="doubtful_share",
    description=f"Tempo and key are doubtful (probability under 1/2) in at most {DOUBTFUL_SHARE:.0%} of the measured tracks.",
)
def doubtful_share(map4: Map4Resource) -> AssetCheckResult:
    """Check how many tempi and keys are doubtful."""
    from map4_pipeline.store.statistics import stored_statistics

    statistics = stored_statistics(map4.bench().engine)
    metadata: dict[str, MetadataValue[Any]] = {}
    worst = 0.0
    for name in ("bpm", "key"):
        histogram = getattr(statistics, f"{name}_confidence") if statistics is not None else {}
        total = sum(histogram.values())
        doubtful = getattr(statistics, f"doubtful_{name}") if statistics is not None else 0
        share = doubtful / total if total else 0.0
        # A handful of tracks says nothing of the engine.
        worst = max(worst, share if total >= DRIFT_TRACKS else 0.0)
        metadata[f"doubtful_{name}"] = MetadataValue.int(doubtful)
        metadata[f"doubtful_{name}_share"] = MetadataValue.float(round(share, 4))
        steps = {f"{low / 100:.2f}-{(low + 5) / 100:.2f}": count for low, count in sorted(histogram.items())}
        metadata[f"{name}_confidence"] = bar_chart(steps)
    return AssetCheckResult(passed=worst <= DOUBTFUL_SHARE, severity=AssetCheckSeverity.WARN, metadata=metadata)


ALL_CHECKS = [
    ledger_reconciles,
    failure_rate,
    hamms_quality,
    annotation_schema,
    contradiction_rate,
    calibration_drift,
    doubtful_share,
]
