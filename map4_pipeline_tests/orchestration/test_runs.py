"""Real Dagster runs over a real library: what is materialized, what people see, what is left alone."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetCheckEvaluation,
    DagsterEventType,
    DagsterInstance,
    DagsterInvalidInvocationError,
    ExecuteInProcessResult,
    build_run_status_sensor_context,
)

from map4_pipeline.orchestration.definitions import build_defs
from map4_pipeline.orchestration.failure_sensor import failed_runs
from map4_pipeline.orchestration.partitions import DIRECTORY, register_partitions
from map4_pipeline.settings import Settings
from map4_pipeline.store.errors import InfrastructureError
from map4_pipeline.store.failures import recent_run_failures

from ..ingest.music import Shelf
from .work import PARTITIONED, QUIET, corrupt, events, execute, materialized, metadata, registered


def fill(shelf: Shelf) -> None:
    shelf.add("a/1.wav", 1, 4.0)
    shelf.add("a/2.flac", 2)
    shelf.add("b/3.wav", 3)
    shelf.add("c/copy of 1.wav", 1, 4.0)
    (shelf.root / "c/broken.mp3").write_bytes(b"no music")
    (shelf.root / "c/cover.jpg").write_bytes(b"\xff\xd8")


def check_results(result: ExecuteInProcessResult) -> dict[str, AssetCheckEvaluation]:
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def test_a_range_of_directories_is_one_run_and_the_report_follows(
    shelf: Shelf, instance: DagsterInstance, settings: Settings
) -> None:
    fill(shelf)
    keys = registered(shelf, instance)
    assert [key.rpartition("~")[0] for key in keys] == ["music/.", "music/a", "music/b", "music/c"]
    run = execute(instance, "ingest_library", keys)
    for asset in PARTITIONED:
        assert sorted(materialized(instance, asset, run.run_id), key=str) == sorted(keys)
        planned = events(instance, asset, DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
        assert sorted(record.partition_key for record in planned) == sorted(keys)
    assert {name: row["status"] for name, row in shelf.tracks().items()} == {
        "a/1.wav": "ok",
        "a/2.flac": "ok",
        "b/3.wav": "ok",
        "c/copy of 1.wav": "ok",
        "c/broken.mp3": "failed",
    }
    assert all(row["hamms_vector"] for row in shelf.tracks().values() if row["status"] == "ok")
    # What people see of a directory.
    scanned = metadata(instance, "scanned_files", keys[3])
    assert (scanned["seen"], scanned["pending"], scanned["skipped"]) == (3, 2, 1)
    about = metadata(instance, "track_features", keys[3])
    # Of the two copies the one that a worker was quicker with is analysed.
    assert (about["seen"], about["reused"] + about["analysed"], about["failed"], about["skipped"]) == (3, 1, 1, 1)
    assert about["pending"] == 0
    assert about["dagster/row_count"] == 1
    assert about["decodes_in_run"] == 4  # three contents and the broken file
    assert [record.data["reason"] for record in about["failures"].records] == [shelf.tracks()["c/broken.mp3"]["error_kind"]]
    assert about["tracks_per_minute"] > 0
    first = metadata(instance, "track_features", keys[1])
    assert "key_distribution" in first
    assert "failures" not in first
    assert metadata(instance, "hamms_vectors", keys[1])["computed_in_run"] == 4
    assert shelf.rows("SELECT kind, status, seen, analysed, reused, failed, skipped, pending FROM scans") == [
        {
            "kind": "partial",
            "status": "completed",
            "seen": 6,
            "analysed": 3,
            "reused": 1,
            "failed": 1,
            "skipped": 1,
            "pending": 0,
        }
    ]
    # The whole library.
    shelf.visit()
    report = execute(instance, "report_library")
    checks = check_results(report)
    assert {name: check.passed for name, check in checks.items()} == {
        "ledger_reconciles": True,
        "failure_rate": False,  # one of five
        "hamms_quality": True,
        "annotation_schema": True,
        "contradiction_rate": True,
        "calibration_drift": True,
        "doubtful_share": True,
    }
    assert checks["failure_rate"].metadata["failed"].value == 1
    assert checks["ledger_reconciles"].metadata["music"].value == "seen 6, accounted for 6, pending 0, rows 6"
    files = sorted(path.name for path in settings.reports_dir.iterdir())
    assert files == ["library.html", "library.pdf", "library.xlsx"]
    assert all((settings.reports_dir / name).stat().st_size > 1000 for name in files)
    written = metadata(instance, "library_report")
    assert Path(written["pdf"]) == settings.reports_dir / "library.pdf"
    assert metadata(instance, "duplicates")["groups_identical_file"] == 1
    assert metadata(instance, "library_statistics")["tracks"] >= 4
    assert shelf.value("SELECT count(*) FROM export_history") == 3
    # Checks fail when they should.
    corrupt(
        shelf.engine, """UPDATE tracks SET hamms_vector = jsonb_set(hamms_vector, '{energy}', '1.5') WHERE file_name = '3.wav'"""
    )
    corrupt(shelf.engine, "UPDATE scans SET seen = seen + 1 WHERE id = (SELECT max(id) FROM scans)")
    broken = check_results(execute(instance, "report_library"))
    assert not broken["hamms_quality"].passed
    assert broken["hamms_quality"].metadata["with_problems"].value == 1
    assert not broken["ledger_reconciles"].passed
    corrupt(shelf.engine, "UPDATE scans SET seen = seen - 1 WHERE id = (SELECT max(id) FROM scans)")
    corrupt(shelf.engine, "DELETE FROM skipped_files")
    lost_row = check_results(execute(instance, "report_library"))
    assert not lost_row["ledger_reconciles"].passed


def test_one_directory_and_then_one_stage_after_the_other(shelf: Shelf, instance: DagsterInstance) -> None:
    fill(shelf)
    keys = registered(shelf, instance)
    a, b = keys[1], keys[2]
    execute(instance, "ingest_library", [a])
    assert set(shelf.tracks()) == {"a/1.wav", "a/2.flac"}
    for asset in PARTITIONED:
        assert materialized(instance, asset) == [a]
    execute(instance, "ingest_library", [b], assets=["scanned_files", "track_features"])
    row = shelf.tracks()["b/3.wav"]
    assert (row["status"], row["spectral_hash"]) == ("pending", None)
    assert row["energy"] is not None or row["null_reasons"]["energy"]
    assert materialized(instance, "fingerprints") == [a]
    execute(instance, "ingest_library", [b], assets=["fingerprints"])
    row = shelf.tracks()["b/3.wav"]
    assert row["status"] == "ok"
    assert row["spectral_hash"]
    assert materialized(instance, "fingerprints") == [a, b]
    seen = metadata(instance, "fingerprints", b)
    assert (seen["seen"], seen["analysed"], seen["pending"]) == (1, 1, 0)
    assert row["hamms_vector"] is None
    execute(instance, "ingest_library", [b], assets=["hamms_vectors"])
    assert shelf.tracks()["b/3.wav"]["hamms_vector"]
    # Wherever a run ends, its scan is closed, with what it came to.
    execute(instance, "ingest_library", [b], assets=["scanned_files"])
    execute(instance, "ingest_library", [a, b], assets=["scanned_files", "track_features", "fingerprints"])
    assert shelf.value("SELECT count(*) FROM scans WHERE status <> 'completed'") == 0
    counted = shelf.rows("SELECT seen, analysed, unchanged FROM scans ORDER BY id")
    assert [tuple(row.values()) for row in counted][1] == (1, 1, 0)
    assert [tuple(row.values()) for row in counted][-2:] == [(1, 0, 1), (3, 0, 3)]


def test_a_refresh_reports_the_directories_it_touched_and_no_other(shelf: Shelf, instance: DagsterInstance) -> None:
    for number in range(12):
        shelf.add(f"{number:02}/{number}.wav", number % 3)
    registered(shelf, instance)
    first = execute(instance, "refresh_library")
    keys = instance.get_dynamic_partitions(DIRECTORY)
    assert sorted(materialized(instance, "track_features", first.run_id), key=str) == sorted(keys)
    assert metadata(instance, "track_features", keys[1])["seen"] == 1
    for name in ("02", "05", "11"):
        (shelf.root / name / "new.txt").touch()
    (shelf.root / "new").mkdir()
    shutil.copy(shelf.root / "00/0.wav", shelf.root / "new/0.wav")
    shutil.rmtree(shelf.root / "07")
    second = execute(instance, "refresh_library")
    touched = {
        key
        for key in instance.get_dynamic_partitions(DIRECTORY)
        if key.split("/")[1].split("~")[0] in {"02", "05", "07", "11", "new"}
    }
    for asset in PARTITIONED:
        assert set(materialized(instance, asset, second.run_id)) == touched
    for asset in ("duplicates", "library_statistics", "library_report"):
        assert materialized(instance, asset, second.run_id) == [None]
    assert shelf.rows(
        "SELECT status, seen, unchanged, reused, skipped, missing, decodes FROM scans ORDER BY id DESC LIMIT 1"
    ) == [{"status": "completed", "seen": 15, "unchanged": 11, "reused": 1, "skipped": 3, "missing": 1, "decodes": 0}]
    third = execute(instance, "refresh_library")
    assert materialized(instance, "track_features", third.run_id) == []
    assert materialized(instance, "library_report", third.run_id) == []


def test_a_refresh_with_a_disk_gone_fails_with_a_clear_word_and_changes_nothing(
    shelf: Shelf, instance: DagsterInstance, tmp_path: Path
) -> None:
    fill(shelf)
    shelf.library()
    execute(instance, "refresh_library")
    before = shelf.tracks()
    shelf.root.rename(tmp_path / "unplugged")
    run = execute(instance, "refresh_library", fails=True)
    failure = next(event for event in run.all_events if event.event_type == DagsterEventType.STEP_FAILURE)
    assert "is not there" in str(failure.event_specific_data)
    assert {name: row["missing_since"] for name, row in shelf.tracks().items()} == dict.fromkeys(before)
    # The same for somebody who materializes a directory in the UI.
    run = execute(instance, "ingest_library", [instance.get_dynamic_partitions(DIRECTORY)[1]], fails=True)
    assert {name: row["missing_since"] for name, row in shelf.tracks().items()} == dict.fromkeys(before)
    assert materialized(instance, "scanned_files", run.run_id) == []


def test_a_run_without_a_directory_that_there_is_says_so_and_claims_nothing(
    shelf: Shelf, instance: DagsterInstance, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a launchpad allows: no partition, one that there never was (in Dagster's words), and a refresh of such a one."""
    shelf.add("1.wav", 1)
    (key,) = registered(shelf, instance)
    refresh: Any = build_defs().resolve_job_def("refresh_library")

    def refreshed(*keys: str) -> Any:
        config = {**QUIET, "ops": {"refresh": {"config": {"directories": list(keys)}}}}
        return refresh.execute_in_process(instance=instance, run_config=config, raise_on_error=False)

    def invalid(*_: Any) -> Any:
        raise DagsterInvalidInvocationError("Partition range is\n   not a valid range.")

    monkeypatch.setattr("map4_pipeline.orchestration.refresh.libraries_of", invalid)
    results = {
        "choose partitions": execute(instance, "ingest_library", fails=True),
        "Partition range is not a valid range.": execute(instance, "refresh_library", fails=True),
        "No library has a directory with the partition key music/no~0.": refreshed("music/no~0"),
    }
    for said, result in results.items():
        context = build_run_status_sensor_context(
            sensor_name="failed_runs",
            dagster_event=result.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        ).for_run_failure()
        failed_runs(settings)(context)
        with shelf.engine.connect() as conn:
            message = recent_run_failures(conn)[0].message
        assert said in message
        assert "\n" not in message
        assert "dagster._core" not in message
        assert materialized(instance, "library_report", result.run_id) == []
    assert refreshed("music/no~0", key).success
    assert shelf.value("SELECT count(*) FROM tracks WHERE status = 'ok'") == 1


def test_annotations_cost_nothing_and_say_what_to_set(shelf: Shelf, instance: DagsterInstance) -> None:
    from dagster import materialize

    from map4_pipeline.orchestration.assets import ALL_ASSETS, ai_annotations
    from map4_pipeline.orchestration.resources import default_resources

    shelf.add("a/1.wav", 1)
    keys = registered(shelf, instance)
    result = materialize(
        [*ALL_ASSETS], selection=[ai_annotations], instance=instance, partition_key=keys[1], resources=default_resources()
    )
    assert result.success
    said = metadata(instance, "ai_annotations", keys[1])
    assert said["annotated"] == 0
    assert "MAP4_AI_BUDGET_USD_PER_DAY" in said["what_to_set"]


def test_partitions_are_registered_sorted_and_never_again(shelf: Shelf, instance: DagsterInstance) -> None:
    for name in ("m", "b", "x/y"):
        shelf.add(f"{name}/1.wav", 1)
    keys = registered(shelf, instance)
    assert [key.rpartition("~")[0] for key in keys] == ["music/.", "music/b", "music/m", "music/x/y"]
    assert instance.get_dynamic_partitions(DIRECTORY) == keys
    shelf.add("c/1.wav", 1)
    shutil.rmtree(shelf.root / "m")
    more = registered(shelf, instance)
    # What is there keeps its place, gone or not; the new one comes last.
    assert more[:4] == keys
    assert more[4].startswith("music/c~")
    added: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(instance), "add_dynamic_partitions", lambda *_: added.append([]))
        assert register_partitions(instance, shelf.engine) == more
    assert added == []


def test_a_run_of_a_killed_process_is_closed_and_those_of_others_are_not(instance: DagsterInstance) -> None:
    from dagster import DagsterRunStatus

    from map4_pipeline.orchestration.definitions import build_defs
    from map4_pipeline.orchestration.orphans import close_orphans, owner_tag
    from map4_pipeline.orchestration.scope import OWNER_TAG

    job = build_defs().resolve_job_def("refresh_library")
    host, pid, started = owner_tag().split(":")
    owners = {
        "mine": owner_tag(),
        "a reused process id": f"{host}:{pid}:{int(started) - 1000}",
        "nobody": f"{host}:999999999:1",
        "another machine": f"elsewhere:{pid}:1",
        "unreadable": f"{host}:what",
    }
    runs = {
        name: instance.create_run_for_job(job, tags={OWNER_TAG: tag}, status=DagsterRunStatus.STARTED).run_id
        for name, tag in owners.items()
    }
    gone = {OWNER_TAG: owners["nobody"], "dagster/parent_run_id": runs["nobody"]}
    runs["executed again in the UI"] = instance.create_run_for_job(job, tags=gone, status=DagsterRunStatus.STARTED).run_id
    assert close_orphans(instance) == 3
    failed = {name for name, id_ in runs.items() if instance.get_run_by_id(id_).status == DagsterRunStatus.FAILURE}  # type: ignore[union-attr]
    assert failed == {"a reused process id", "nobody", "unreadable"}
    assert close_orphans(instance) == 0


def test_the_resource_tells_of_a_database_that_is_not_there(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from map4_pipeline import settings as module
    from map4_pipeline.orchestration.resources import Map4Resource

    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    module.settings.cache_clear()
    with pytest.raises(InfrastructureError, match="cannot be used"):
        Map4Resource().bench()
