"""The graph as people and programs know it: names here are a contract; change them on purpose only."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import Definitions

from map4_pipeline.audio.model import ENGINE, FEATURES_VERSION
from map4_pipeline.fingerprint import FINGERPRINT_VERSION
from map4_pipeline.fingerprint.versions import DUPLICATES_VERSION
from map4_pipeline.hamms import HAMMS_VERSION
from map4_pipeline.orchestration.definitions import build_defs, defs
from map4_pipeline.orchestration.instance import instance_template
from map4_pipeline.orchestration.resources import Map4Resource
from map4_pipeline.settings import load_settings

#: asset: (group, partitions, what it is made from)
GRAPH = {
    "scanned_files": ("ingestion", "directory", []),
    "track_features": ("analysis", "directory", ["scanned_files"]),
    "fingerprints": ("analysis", "directory", ["scanned_files"]),
    "hamms_vectors": ("analysis", "directory", ["track_features"]),
    "ai_annotations": ("enrichment", "directory", ["hamms_vectors"]),
    "duplicates": ("enrichment", None, ["fingerprints", "track_features"]),
    "library_statistics": ("reporting", None, ["duplicates", "hamms_vectors"]),
    "library_report": ("reporting", None, ["duplicates", "hamms_vectors", "library_statistics"]),
}
CODE_VERSIONS = {
    "scanned_files": "1",
    "track_features": f"{ENGINE}:{FEATURES_VERSION}",
    "fingerprints": FINGERPRINT_VERSION,
    "hamms_vectors": HAMMS_VERSION,
    "ai_annotations": "1.1",
    "duplicates": DUPLICATES_VERSION,
    "library_statistics": HAMMS_VERSION,
    "library_report": "1",
}
CHECKS = {
    "scanned_files:ledger_reconciles",
    "track_features:failure_rate",
    "hamms_vectors:hamms_quality",
    "ai_annotations:annotation_schema",
    "ai_annotations:contradiction_rate",
    "library_statistics:calibration_drift",
    "library_statistics:doubtful_share",
}
#: job: assets of an asset job, None for a job of ops
JOBS: dict[str, set[str] | None] = {
    "ingest_library": {"scanned_files", "track_features", "fingerprints", "hamms_vectors"},
    "report_library": {"duplicates", "library_statistics", "library_report"},
    "refresh_library": None,
    "backup_database": None,
    "housekeeping": None,
}
#: schedule: (cron, job, on under `map4 up`)
SCHEDULES = {
    "library_refresh": ("30 4 * * *", "refresh_library", True),
    "housekeeping": ("0 5 * * 0", "housekeeping", True),
    "database_backup": ("0 3 * * *", "backup_database", False),
}
#: sensor: (seconds, on under `map4 up`)
SENSORS = {
    "watched_folders": (30, True),
    "analysis_queue": (30, True),
    "failed_runs": (30, True),
    "follow_upstream": (30, True),
}


@pytest.fixture(scope="module")
def loaded() -> Definitions:
    return build_defs(configured=load_settings())


def nodes(loaded: Definitions) -> dict[str, Any]:
    graph = loaded.resolve_asset_graph()
    return {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}


def test_the_asset_graph_is_the_designs(loaded: Definitions) -> None:
    found = {
        name: (
            node.group_name,
            node.partitions_def.name if node.partitions_def else None,
            sorted(parent.to_user_string() for parent in node.parent_keys),
        )
        for name, node in nodes(loaded).items()
    }
    assert found == GRAPH


def test_code_versions_are_the_analysis_versions(loaded: Definitions) -> None:
    assert {name: node.code_version for name, node in nodes(loaded).items()} == CODE_VERSIONS


def test_every_asset_says_who_owns_it_what_it_is_and_what_it_is_made_with(loaded: Definitions) -> None:
    for name, node in nodes(loaded).items():
        assert node.owners == ["team:map4"], name
        assert len(node.description or "") > 60, name
        assert {"python"} < set(node.kinds), name


def test_chained_assets_share_one_backfill_policy(loaded: Definitions) -> None:
    policies = {node.backfill_policy for node in nodes(loaded).values() if node.partitions_def}
    assert len(policies) == 1
    policy = policies.pop()
    assert policy is not None
    assert policy.max_partitions_per_run == 500


def test_downstream_assets_follow_by_themselves_and_what_costs_money_does_not(loaded: Definitions) -> None:
    automated = {name for name, node in nodes(loaded).items() if node.automation_condition is not None}
    assert automated == set(GRAPH) - {"scanned_files", "ai_annotations"}
    fresh = {name for name, node in nodes(loaded).items() if node.freshness_policy is not None}
    assert fresh == {"library_statistics", "library_report"}


def test_features_and_fingerprints_come_from_one_step(loaded: Definitions) -> None:
    nodes_ = nodes(loaded)
    assert nodes_["track_features"].assets_def is nodes_["fingerprints"].assets_def
    assert nodes_["track_features"].assets_def.can_subset


def test_checks(loaded: Definitions) -> None:
    graph = loaded.resolve_asset_graph()
    assert {f"{key.asset_key.to_user_string()}:{key.name}" for key in graph.asset_check_keys} == CHECKS


def test_jobs(loaded: Definitions) -> None:
    names = {job.name for job in loaded.get_repository_def().get_all_jobs() if not job.name.startswith("__")}
    assert names == set(JOBS)
    for name, assets in JOBS.items():
        job = loaded.resolve_job_def(name)
        selected = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
        assert selected == (assets or set()), name
        assert job.description, name


def test_schedules(loaded: Definitions) -> None:
    found = {
        schedule.name: (schedule.cron_schedule, schedule.job_name, schedule.default_status.value == "RUNNING")
        for schedule in loaded.get_repository_def().schedule_defs
    }
    assert found == SCHEDULES


def test_sensors(loaded: Definitions) -> None:
    found = {
        sensor.name: (sensor.minimum_interval_seconds, sensor.default_status.value == "RUNNING")
        for sensor in loaded.get_repository_def().sensor_defs
    }
    assert found == SENSORS


def test_times_come_from_the_settings() -> None:
    configured = load_settings(refresh_cron="5 1 * * *", timezone="Europe/Zurich", watch_seconds=60)
    repository = build_defs(configured=configured).get_repository_def()
    refresh = repository.get_schedule_def("library_refresh")
    assert (refresh.cron_schedule, refresh.execution_timezone) == ("5 1 * * *", "Europe/Zurich")
    assert repository.get_sensor_def("watched_folders").minimum_interval_seconds == 60


def test_definitions_load_and_validate() -> None:
    Definitions.validate_loadable(defs)
    Definitions.validate_loadable(build_defs())


def test_every_call_gives_definitions_of_its_own_with_the_resources_asked_for() -> None:
    mine = Map4Resource(nice=7)
    swapped, plain = build_defs({"map4": mine}), build_defs()
    assert swapped is not plain
    assert swapped.resources is not None
    assert plain.resources is not None
    assert swapped.resources["map4"] is mine
    assert plain.resources["map4"] is not build_defs().resources["map4"]  # type: ignore[index]


def test_the_packages_dagster_yaml_is_the_repositorys() -> None:
    import map4_pipeline.orchestration

    copy = Path(map4_pipeline.orchestration.__file__).with_name("dagster.yaml")
    assert instance_template().read_bytes() == copy.read_bytes()


def test_dagster_yaml_gives_slots_of_killed_runs_back_and_keeps_nothing_for_ever() -> None:
    text = yaml.safe_load(instance_template().read_text())
    assert text["telemetry"] == {"enabled": False}
    assert text["run_monitoring"]["free_slots_after_run_end_seconds"] > 0
    assert text["run_queue"]["dequeue_interval_seconds"] == 1
    assert text["storage"]["custom"]["class"] == "Map4Storage"
    assert set(text["retention"]) == {"schedule", "sensor"}
