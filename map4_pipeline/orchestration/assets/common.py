"""What all assets share: owners, kinds, the policy that cuts backfills into chunks."""

from dagster import AutomationCondition, BackfillPolicy

from map4_pipeline.orchestration.scope import WHOLE_LINE_TAG

OWNERS = ["team:map4"]

#: The same on every chained asset, or Dagster would start a run per partition. A chunk of directories keeps two cores
#: busy for minutes while a run's own cost stays at seconds.
CHUNKS = BackfillPolicy.multi_run(max_partitions_per_run=500)

#: An upstream asset is new, and the run that made it leaves what is downstream to others. `any_deps_updated` alone sees to runs
#: that materialize both; the refresh reports its materializations from an op, and `map4 ingest` writes the report itself.
UPSTREAM_CHANGED = AutomationCondition.any_deps_match(
    (
        AutomationCondition.newly_updated()
        & ~AutomationCondition.executed_with_root_target()
        & ~AutomationCondition.executed_with_tags(tag_values={WHOLE_LINE_TAG: "true"})
    )
    | AutomationCondition.will_be_requested()
).with_label("upstream changed")

_RESTING = ~AutomationCondition.any_deps_in_progress() & ~AutomationCondition.in_progress()

#: Whole-library assets follow when something upstream changed and nothing of it is under way. `eager` would in addition wait for
#: partitions that never were materialized (directories of a run that failed), which may be for ever.
FOLLOW_ANY = (UPSTREAM_CHANGED.since_last_handled() & _RESTING).with_label("follows any directory")

#: Partitioned assets follow directory by directory. Partitions that are only registered start nothing: the import that
#: registered them is on its way.
FOLLOW = (UPSTREAM_CHANGED.since_last_handled() & ~AutomationCondition.any_deps_missing() & _RESTING).with_label(
    "follows its upstream"
)
