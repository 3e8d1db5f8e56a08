"""What grows is cut back, and nothing that the state of assets is read from."""

import os
import time
from pathlib import Path

from dagster import DagsterInstance
from sqlalchemy import text

from map4_pipeline.orchestration.housekeeping import purge_events, remove_logs
from map4_pipeline.store import queue
from map4_pipeline.store.scans import forget_scans, open_partial_scan

from ..ingest.music import Shelf
from .work import PARTITIONED, execute, materialized, registered


def test_old_events_go_and_the_state_of_partitions_stays(shelf: Shelf, instance: DagsterInstance) -> None:
    shelf.add("a/1.wav", 1)
    keys = registered(shelf, instance)
    run = execute(instance, "ingest_library", keys)
    before = len(instance.all_logs(run.run_id))
    assert purge_events(instance, time.time() - 3600) == 0, "nothing is old yet"
    assert purge_events(instance, time.time() + 3600) > 0
    assert len(instance.all_logs(run.run_id)) < before
    for asset in PARTITIONED:
        assert sorted(materialized(instance, asset), key=str) == sorted(keys)
    assert [step.step_key for step in instance.get_run_step_stats(run.run_id)]
    # The next run finds everything as it was.
    execute(instance, "ingest_library", keys)


def test_old_logs_go(tmp_path: Path) -> None:
    for name, age in (("old", 100), ("new", 1)):
        folder = tmp_path / name / "compute_logs"
        folder.mkdir(parents=True)
        (folder / "out").touch()
        moment = time.time() - age * 86_400
        os.utime(tmp_path / name, (moment, moment))
    assert remove_logs(tmp_path, time.time() - 90 * 86_400) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert remove_logs(tmp_path / "nothing", time.time()) == 0


def test_old_scans_go_and_the_last_completed_one_stays(shelf: Shelf) -> None:
    shelf.add("1.wav", 1)
    for _ in range(3):
        shelf.visit()
    with shelf.engine.begin() as conn:
        conn.execute(text("UPDATE scans SET started_at = started_at - interval '100 days'"))
        assert forget_scans(conn, 200) == 0
        assert forget_scans(conn, 90) == 2
    assert shelf.value("SELECT status FROM scans") == "completed"
    assert shelf.value("SELECT count(*) FROM scan_directories WHERE scan_id NOT IN (SELECT id FROM scans)") == 0


def test_a_partial_scan_of_a_run_that_was_killed_goes_with_age(shelf: Shelf) -> None:
    library = shelf.library()
    with shelf.engine.begin() as conn:
        open_partial_scan(conn, library.id, "a run that is no more")
        assert forget_scans(conn, 90) == 0
        conn.execute(text("UPDATE scans SET started_at = started_at - interval '100 days'"))
        assert forget_scans(conn, 90) == 1


def test_rows_of_the_queue_go_when_they_are_done_and_old(shelf: Shelf) -> None:
    with shelf.engine.begin() as conn:
        done, waiting, fresh = queue.enqueue(conn, ["/a", "/b", "/c"])
        queue.finish(conn, {done: None, fresh: "broken"})
        aged = "created_at = created_at - interval '100 days', completed_at = completed_at - interval '100 days'"
        conn.execute(text(f"UPDATE analysis_queue SET {aged} WHERE id <> {fresh}"))
        assert queue.forget_done(conn, 90) == 1
        assert {entry.id for entry in queue.entries(conn)} == {waiting, fresh}


def test_the_job_runs(shelf: Shelf, instance: DagsterInstance) -> None:
    shelf.add("1.wav", 1)
    shelf.visit()
    execute(instance, "housekeeping")
