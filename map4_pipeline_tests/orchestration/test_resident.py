"""The resident worker: single rows are taken at once, told to Dagster, cancelled for real, and taken again after a death."""

import contextlib
import os
import signal
import threading
import time
import uuid
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from dagster import AssetKey, DagsterInstance
from sqlalchemy import text

from map4_pipeline.cli.resident import ResidentProcess
from map4_pipeline.orchestration.partitions import DIRECTORY
from map4_pipeline.orchestration.refresh import PARTITIONED
from map4_pipeline.orchestration.resident import Resident
from map4_pipeline.settings import Settings
from map4_pipeline.store import controls, jobs, locks, queue, singles
from map4_pipeline.store.cache import Cache
from map4_pipeline.store.directories import directories_of

from ..ingest.music import Shelf
from ..integration.program import command_of
from .work import tick

pytestmark = pytest.mark.xdist_group("resident")


def until(condition: Callable[[], Any], seconds: float = 200.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)


@contextlib.contextmanager
def at_work(shelf: Shelf, instance: DagsterInstance, **changes: Any) -> Iterator[Resident]:
    """A resident worker in this process."""
    configured = shelf.bench.settings.model_copy(update=changes)
    resident = Resident(configured, shelf.engine, Cache(None), lambda: instance)
    thread = threading.Thread(target=resident.run)
    thread.start()
    try:
        yield resident
    finally:
        resident.stop()
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instance belongs to the fixture; a worker that ends leaves it open."""
    monkeypatch.setattr(DagsterInstance, "dispose", lambda self: None)


def ask(shelf: Shelf, *paths: Path) -> list[int]:
    with shelf.engine.begin() as conn:
        return queue.enqueue(conn, [str(path) for path in paths], 1, single=True)


def states(shelf: Shelf) -> dict[int, str]:
    return {row["id"]: row["status"] for row in shelf.rows("SELECT id, status FROM analysis_queue")}


def error_of(shelf: Shelf, id_: int) -> str:
    return str(shelf.value("SELECT error_message FROM analysis_queue WHERE id = :id", id=id_))


def ended(shelf: Shelf) -> bool:
    return not {"pending", "running"} & set(states(shelf).values())


def test_a_single_file_is_analysed_alone_and_dagster_is_told(shelf: Shelf, instance: DagsterInstance) -> None:
    wanted, other = shelf.add("a/wanted.wav", 1), shelf.add("a/other.wav", 2)
    shelf.library()
    with at_work(shelf, instance):
        (asked,) = ask(shelf, wanted)
        until(lambda: ended(shelf))
    assert states(shelf) == {asked: "completed"}
    track = shelf.tracks()["a/wanted.wav"]
    assert (track["status"], track["hamms_vector"] is not None) == ("ok", True)
    assert "a/other.wav" not in shelf.tracks(), "its neighbour is for the next look at the folder"
    (key,) = instance.get_dynamic_partitions(DIRECTORY)
    for asset in PARTITIONED:
        event = instance.get_latest_materialization_event(AssetKey(asset))
        assert event is not None
        told = event.asset_materialization
        assert told is not None
        assert told.partition == key
        assert told.metadata["analysed"].value == 1
    # What a run would have found is still found: the folder is not taken for seen.
    assert b"a" in shelf.visit().touched
    assert {name: row["status"] for name, row in shelf.tracks().items()} == {"a/wanted.wav": "ok", "a/other.wav": "ok"}
    assert other.exists()


def test_a_settled_folder_stays_settled_and_an_old_version_is_not_taken_for_new(shelf: Shelf, instance: DagsterInstance) -> None:
    first = shelf.add("a/1.wav", 1)
    shelf.add("a/2.wav", 2)
    library = shelf.library()
    shelf.visit()

    def directory() -> Any:
        with shelf.engine.connect() as conn:
            return directories_of(conn, library.id)[b"a"]

    before = directory()
    with shelf.engine.begin() as conn:
        conn.execute(
            text("UPDATE tracks SET status = 'failed', error_kind = 'damaged', error_message = 'x' WHERE file_name = '1.wav'")
        )
    with at_work(shelf, instance):
        ask(shelf, first)
        until(lambda: ended(shelf))
        assert directory().settled
        assert directory().signature == before.signature
        # Now the neighbour has an older version: only a look at the whole folder may call it up to date.
        with shelf.engine.begin() as conn:
            conn.execute(text("UPDATE directories SET versions = 'old'"))
            conn.execute(text("UPDATE tracks SET features_version = 'old'"))
        ask(shelf, first)
        until(lambda: ended(shelf))
    assert not directory().settled
    assert shelf.tracks()["a/2.wav"]["features_version"] == "old"
    shelf.visit()
    assert shelf.tracks()["a/2.wav"]["features_version"] != "old"


def test_what_is_no_track_is_told_and_a_folder_is_left_to_a_run(shelf: Shelf, instance: DagsterInstance, tmp_path: Path) -> None:
    broken = shelf.root / "a" / "broken.mp3"
    broken.parent.mkdir()
    broken.write_bytes(b"no sound at all " * 500)
    elsewhere = tmp_path / "elsewhere.wav"
    elsewhere.write_bytes(b"")
    shelf.library()
    with at_work(shelf, instance):
        bad, gone, foreign, folder = ask(shelf, broken, shelf.root / "gone.wav", elsewhere, broken.parent)
        until(lambda: set(states(shelf).values()) == {"failed", "pending"} and not still_single(shelf))
    assert states(shelf) == {bad: "failed", gone: "failed", foreign: "failed", folder: "pending"}
    assert error_of(shelf, bad) == shelf.tracks()["a/broken.mp3"]["error_message"]
    assert "nothing of this name" in error_of(shelf, gone)
    assert "no registered library" in error_of(shelf, foreign)
    (request,), _ = tick(instance, "analysis_queue")
    assert states(shelf)[folder] == "running"
    assert request.job_name == "refresh_library"


def still_single(shelf: Shelf) -> bool:
    return bool(shelf.value("SELECT bool_or(single) FROM analysis_queue WHERE status = 'pending'"))


def test_a_row_whose_directory_a_run_has_in_hand_waits_for_it(shelf: Shelf, instance: DagsterInstance) -> None:
    wanted, free = shelf.add("a/1.wav", 1), shelf.add("b/1.wav", 2)
    library = shelf.library()
    shelf.visit()
    shelf.add("a/1.wav", 3)
    shelf.add("b/1.wav", 4)
    with shelf.engine.connect() as conn:
        directory = directories_of(conn, library.id)[b"a"]
    with shelf.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as run:
        assert locks.try_hold_directory(run, directory.id)
        with at_work(shelf, instance, single_workers=1):
            first, second = ask(shelf, wanted, free)
            until(lambda: states(shelf)[second] == "completed")
            assert states(shelf)[first] in ("pending", "running")
            locks.release_directory(run, directory.id)
            until(lambda: ended(shelf))
    assert states(shelf) == {first: "completed", second: "completed"}
    assert shelf.value("SELECT attempts FROM analysis_queue WHERE id = :id", id=first) == 1


def test_the_sensor_leaves_single_rows_alone_until_nobody_has_taken_them_for_long(
    shelf: Shelf, instance: DagsterInstance
) -> None:
    wanted = shelf.add("a/1.wav", 1)
    shelf.library()
    (asked,) = ask(shelf, wanted)
    assert tick(instance, "analysis_queue")[0] == []
    with shelf.engine.begin() as conn:
        taken = singles.take_single(conn, "somebody")
    assert taken is not None
    assert tick(instance, "analysis_queue")[0] == []
    with shelf.engine.begin() as conn:
        assert singles.take_single(conn, "somebody else") is None
        conn.execute(text("UPDATE analysis_queue SET started_at = started_at - interval '1 hour'"))
    assert tick(instance, "analysis_queue")[0] == [], "what the worker has in hand is no lost run"
    with shelf.engine.begin() as conn:
        singles.give_back(conn, taken, "somebody")
        conn.execute(text("UPDATE analysis_queue SET created_at = created_at - interval '2 minutes'"))
    assert len(tick(instance, "analysis_queue")[0]) == 1
    with shelf.engine.begin() as conn:
        assert singles.take_single(conn, "too late") is None
    assert states(shelf) == {asked: "running"}


def test_a_long_file_is_cancelled_in_the_middle(shelf: Shelf, instance: DagsterInstance) -> None:
    shelf.library()
    long = shelf.add("a/long.wav", 1)
    with wave.open(str(long), "rb") as short:
        parameters, frames = short.getparams(), short.readframes(short.getnframes())
    with wave.open(str(long), "wb") as file:
        file.setparams(parameters)
        file.writeframes(900 * frames)  # half an hour: more than a second's work
    with at_work(shelf, instance, single_workers=1):
        with shelf.engine.begin() as conn:
            job = jobs.create_batch(conn, [str(long)], single=True)
        until(lambda: shelf.value("SELECT count(*) FROM tracks WHERE status = 'pending'") == 1)
        with shelf.engine.begin() as conn:
            ended_job = jobs.cancel_job(conn, job.id)
        assert ended_job is not None
        assert ended_job.status == "cancelled"
        (after,) = ask(shelf, shelf.add("b/short.wav", 2))
        until(lambda: states(shelf)[after] == "completed")
    assert sorted(states(shelf).values()) == ["cancelled", "completed"]
    assert shelf.tracks()["a/long.wav"]["status"] == "pending"
    assert shelf.directories_held() == 0
    assert shelf.visit().ledger.analysed == 1, "the next look takes it up"


def test_while_paused_nothing_is_taken(shelf: Shelf, instance: DagsterInstance) -> None:
    wanted = shelf.add("a/1.wav", 1)
    shelf.library()
    with shelf.engine.begin() as conn:
        controls.pause(conn, "")
    with at_work(shelf, instance):
        until(lambda: shelf.bench.engine and has_owner(shelf))
        (asked,) = ask(shelf, wanted)
        with at_work(shelf, instance):  # stands by, and takes nothing either
            assert states(shelf) == {asked: "pending"}
        with shelf.engine.begin() as conn:
            controls.resume(conn)
        until(lambda: states(shelf) == {asked: "completed"})


def has_owner(shelf: Shelf) -> bool:
    with shelf.engine.connect() as conn:
        return singles.has_owner(conn)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_followed_by_another_which_takes_its_rows(
    shelf: Shelf, instance: DagsterInstance, settings: Settings, tmp_path: Path
) -> None:
    shelf.library()
    long = shelf.add("a/long.wav", 1, seconds=120.0)
    with ResidentProcess(settings, tmp_path / "log"):
        until(lambda: has_owner(shelf))
        (asked,) = ask(shelf, long)
        until(lambda: states(shelf)[asked] == "running")
        (first,) = [child for child in psutil.Process().children() if "map4_pipeline.cli.resident" in command_of(child)]
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: states(shelf)[asked] == "completed")
    assert shelf.value("SELECT attempts FROM analysis_queue") == 2
    assert shelf.tracks()["a/long.wav"]["status"] == "ok"
    assert instance.get_latest_materialization_event(AssetKey("hamms_vectors")) is not None
    until(lambda: not has_owner(shelf))


def test_a_row_that_kills_whoever_takes_it_fails_at_last(shelf: Shelf) -> None:
    (asked,) = ask(shelf, shelf.root / "poison.wav")
    for attempt in range(1, singles.MAX_ATTEMPTS + 1):
        owner = uuid.uuid4().hex
        with shelf.engine.begin() as conn:
            taken = singles.take_single(conn, owner)
            assert taken is not None
            assert taken.attempt == attempt
            assert singles.take_over(conn, owner) == 0, "one's own rows are no orphans"
            assert singles.take_over(conn, "the next one") == 1
            assert not singles.finish_single(conn, taken, owner, None), "who lost a row does not end it"
    assert states(shelf) == {asked: "failed"}
    assert "three times" in error_of(shelf, asked)
