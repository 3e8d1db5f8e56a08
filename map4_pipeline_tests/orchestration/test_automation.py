"""What follows what: automation conditions, evaluated against an ephemeral instance with hand-made materializations."""

from collections.abc import Iterable

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    AutomationCondition,
    DagsterInstance,
    Definitions,
    DynamicPartitionsDefinition,
    MaterializeResult,
    OpExecutionContext,
    asset,
    define_asset_job,
    evaluate_automation_conditions,
    job,
    op,
)

from map4_pipeline.orchestration.assets.common import FOLLOW, FOLLOW_ANY
from map4_pipeline.orchestration.definitions import build_defs
from map4_pipeline.orchestration.scope import WHOLE_LINE_TAG

KEY = "music/a~0"
PARTITIONED = ("scanned_files", "track_features", "fingerprints", "hamms_vectors")
WHOLE = ("duplicates", "library_statistics", "library_report")
partitions = DynamicPartitionsDefinition(name="directory")


def _conditions() -> dict[str, tuple[set[str], AutomationCondition | None]]:
    """Upstream and condition of each asset as they really are."""
    graph = build_defs().resolve_asset_graph()
    return {
        key.to_user_string(): (
            {parent.to_user_string() for parent in graph.get(key).parent_keys},
            graph.get(key).automation_condition,
        )
        for key in graph.get_all_asset_keys()
    }


def _definitions() -> Definitions:
    """The real graph with its conditions, and assets that do nothing."""
    assets = []
    for name, (upstream, condition) in _conditions().items():
        whole = name in WHOLE

        @asset(key=name, deps=sorted(upstream), partitions_def=None if whole else partitions, automation_condition=condition)
        def nothing() -> MaterializeResult[None]:
            return MaterializeResult()

        assets.append(nothing)

    @op
    def report(context: OpExecutionContext) -> None:
        for key in PARTITIONED:
            context.log_event(AssetMaterialization(key, partition=KEY))
        for key in WHOLE:
            context.log_event(AssetMaterialization(key))

    @job(tags={WHOLE_LINE_TAG: "true"})
    def refresh() -> None:
        report()

    line = define_asset_job("line", selection=list(PARTITIONED), partitions_def=partitions)
    reports = define_asset_job("reports", selection=list(WHOLE))
    return Definitions(assets=assets, jobs=[line, reports, refresh])


class Evaluator:
    """Ticks as the sensor `follow_upstream` does."""

    def __init__(self) -> None:
        self.instance = DagsterInstance.ephemeral()
        self.instance.add_dynamic_partitions("directory", [KEY, "music/b~1"])
        self.definitions = _definitions()
        self._cursor = None
        self.tick()

    def tick(self) -> set[str]:
        """Return the assets that are requested now."""
        result = evaluate_automation_conditions(defs=self.definitions, instance=self.instance, cursor=self._cursor)
        self._cursor = result.cursor
        return {name for name in _conditions() if result.get_num_requested(AssetKey(name))}

    def run(self, name: str, partition: str | None = None, assets: Iterable[str] | None = None, **tags: str) -> None:
        """Execute a job, or some of its assets."""
        chosen = self.definitions.resolve_job_def(name)
        selection = None if assets is None else [AssetKey(asset_name) for asset_name in assets]
        marks = {key.replace("__", "/"): value for key, value in tags.items()}
        done = chosen.execute_in_process(instance=self.instance, partition_key=partition, asset_selection=selection, tags=marks)
        assert done.success


@pytest.fixture
def evaluator() -> Evaluator:
    return Evaluator()


def test_a_run_over_the_whole_line_is_followed_by_the_reports_only_and_once(evaluator: Evaluator) -> None:
    evaluator.run("line", KEY)
    assert evaluator.tick() == set(WHOLE)
    evaluator.run("reports")
    assert evaluator.tick() == set()
    assert evaluator.tick() == set()


def test_an_import_that_writes_its_own_reports_is_followed_by_nothing(evaluator: Evaluator) -> None:
    evaluator.run("line", KEY, map4__whole_line="true")
    assert evaluator.tick() == set(), "between the import's runs"
    evaluator.run("reports", map4__whole_line="true")
    assert evaluator.tick() == set()


def test_a_refresh_is_followed_by_nothing(evaluator: Evaluator) -> None:
    evaluator.run("refresh")
    assert evaluator.tick() == set()


def test_one_asset_alone_is_followed_by_what_is_made_from_it(evaluator: Evaluator) -> None:
    evaluator.run("line", KEY)
    evaluator.tick()
    evaluator.run("reports")
    evaluator.tick()
    evaluator.run("line", KEY, ["scanned_files"])
    downstream = {"track_features", "fingerprints", "hamms_vectors"}
    assert evaluator.tick() == downstream
    evaluator.run("line", KEY, downstream)
    assert evaluator.tick() == set(WHOLE)


def test_registered_directories_start_nothing(evaluator: Evaluator) -> None:
    evaluator.instance.add_dynamic_partitions("directory", ["music/new~2"])
    assert evaluator.tick() == set()


def test_what_costs_money_follows_nothing() -> None:
    conditions = {name: condition for name, (_, condition) in _conditions().items()}
    assert conditions["ai_annotations"] is None
    assert conditions["scanned_files"] is None
    assert conditions["track_features"] == FOLLOW
    assert conditions["duplicates"] == FOLLOW_ANY
