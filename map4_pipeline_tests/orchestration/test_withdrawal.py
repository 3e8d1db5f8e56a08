"""A cancelled batch whose run is at work: the run stops after the files in hand, and goes on with what others asked for."""

import threading
from typing import Any

import pytest
from dagster import DagsterInstance

from map4_pipeline.ingest.limits import Limits
from map4_pipeline.ingest.scan import ScanOptions
from map4_pipeline.store import jobs, locks, queue
from map4_pipeline.store.directories import Directory, directories_of

from ..ingest.music import Shelf
from .test_resident import until
from .test_sensors import launch
from .work import materialized, tick

pytestmark = pytest.mark.xdist_group("resident")


def test_a_run_leaves_what_was_cancelled_and_does_what_others_asked_for(shelf: Shelf, instance: DagsterInstance) -> None:
    mine, theirs = shelf.add("a/1.wav", 1), shelf.add("b/1.wav", 2)
    library = shelf.library()
    shelf.visit()
    shelf.add("a/1.wav", 3)
    shelf.add("b/1.wav", 4)
    shelf.add("c/1.wav", 5)
    with shelf.engine.connect() as conn:
        blocked = directories_of(conn, library.id)[b"a"]
    with shelf.engine.begin() as conn:
        # The folder around the others is no reason to go on with one of them.
        wanted = jobs.create_batch(conn, [str(shelf.root), str(theirs)])
        unwanted = jobs.create_batch(conn, [str(mine), str(mine.parent), str(shelf.root / "c")])
    (request,), _ = tick(instance, "analysis_queue")
    results: list[Any] = []
    run = threading.Thread(target=lambda: results.append(launch(instance, request)))
    with shelf.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as another:
        # Another process has the directory in hand, so the run comes to it last, and waits.
        assert locks.try_hold_directory(another, blocked.id)
        run.start()
        try:
            until(lambda: shelf.tracks()["b/1.wav"]["status"] == "ok" and "c/1.wav" in shelf.tracks())
            until(lambda: shelf.tracks()["c/1.wav"]["status"] == "ok")
            with shelf.engine.begin() as conn:
                cancelled = jobs.cancel_job(conn, unwanted.id)
            run.join(90)
            assert not run.is_alive(), "it would wait for the directory for ever"
        finally:
            locks.release_directory(another, blocked.id)
            run.join(90)
    assert cancelled is not None
    assert cancelled.status == "cancelled"
    assert {name: row["status"] for name, row in shelf.tracks().items()} == {
        "a/1.wav": "pending",
        "b/1.wav": "ok",
        "c/1.wav": "ok",
    }
    with shelf.engine.connect() as conn:
        keys = {name: directory.partition_key for name, directory in directories_of(conn, library.id).items()}
    told = materialized(instance, "track_features", results[0].run_id)
    assert set(told) == {keys[b""], keys[b"b"], keys[b"c"]}, "of what was left nobody is told that it is done"
    tick(instance, "analysis_queue")
    with shelf.engine.begin() as conn:
        ended = jobs.get_job(conn, wanted.id)
        assert ended is not None
        assert (ended.status, ended.failed) == ("completed", 0)
        assert {entry.status for entry in queue.entries(conn)} == {"completed", "cancelled"}
    assert shelf.visit().ledger.analysed == 1, "the next look takes it up"


def test_what_is_in_hand_is_finished_and_the_rest_of_a_directory_waits(shelf: Shelf) -> None:
    for number in range(12):
        shelf.add(f"a/{number}.wav", number)
    session = shelf.open()
    scope = session.scope()
    shelf.bench.scan(scope, ScanOptions())
    asked: list[Directory] = []

    def leave(directory: Directory) -> bool:
        asked.append(directory)
        return len(asked) > 5

    summary = shelf.bench.analyse(scope, ("features", "fingerprint"), Limits(leave=leave))
    shelf.bench.vectors(scope)
    session.finish()
    begun = sum(row["status"] == "ok" for row in shelf.tracks().values())
    assert 0 < begun <= 5
    assert summary.ledger.analysed == begun
    assert summary.left == {directory.id for directory in scope.directories if directory.relative_path == b"a"}
    assert shelf.directories_held() == 0
    assert shelf.visit().ledger.analysed == 12 - begun
