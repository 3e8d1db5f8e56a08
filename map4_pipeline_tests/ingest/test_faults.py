"""Bad files, files that change under our hands, databases that go away, two processes at once: nothing is lost or invented."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from map4_pipeline.ingest import worker
from map4_pipeline.ingest.analyse import analyse_directories
from map4_pipeline.ingest.columns import feature_columns, fingerprint_columns
from map4_pipeline.ingest.pool import WorkerPool
from map4_pipeline.ingest.progress import Effort, Silent
from map4_pipeline.ingest.scan import ScanOptions, scan_directory
from map4_pipeline.ingest.workbench import Workbench
from map4_pipeline.ingest.worker import Analysed, Identified
from map4_pipeline.settings import Settings
from map4_pipeline.store import locks
from map4_pipeline.store.checks import ledger_states, vector_problems
from map4_pipeline.store.controls import pause, resume
from map4_pipeline.store.scans import open_partial_scan

from .music import BOTH, Shelf, counts, music_bytes, write_music


class Told(Silent):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, str, str | None]] = []
        self.expected = 0
        self.resting = False

    def stage(self, name: str) -> None:
        self.resting = name.startswith("paused")

    def expect(self, files: int, size_bytes: int) -> None:
        self.expected += files

    def done(self, outcome: str, path: str, size_bytes: int, message: str | None = None) -> None:
        self.outcomes.append((outcome, os.path.basename(path), message))


def test_a_bad_file_is_a_row_with_its_reason_and_the_rest_go_on(shelf: Shelf) -> None:
    shelf.add("good.wav", 1)
    (shelf.root / "empty.mp3").touch()
    (shelf.root / "text.mp3").write_text("This is no music. " * 50)
    (shelf.root / "cut.flac").write_bytes(music_bytes("flac", 2)[:40])
    told = Told()
    visit = shelf.visit(progress=told)
    assert counts(visit.ledger) == {"seen": 4, "analysed": 1, "failed": 3}
    rows = shelf.tracks()
    assert {name: row["status"] for name, row in rows.items()} == {
        "good.wav": "ok",
        "empty.mp3": "failed",
        "text.mp3": "failed",
        "cut.flac": "failed",
    }
    for name in ("empty.mp3", "text.mp3", "cut.flac"):
        row = rows[name]
        assert row["error_kind"]
        assert row["error_message"].endswith(".")
        assert row["bpm"] is row["hamms_vector"] is row["chromaprint_fp"] is row["duration"] is None
    assert {path.rpartition("/")[2]: kind for path, kind, _ in visit.summary.failures} == {
        name: rows[name]["error_kind"] for name in ("empty.mp3", "text.mp3", "cut.flac")
    }
    assert told.expected == len(told.outcomes) == 4
    assert {name for outcome, name, message in told.outcomes if outcome == "failed" and message} == {
        "empty.mp3",
        "text.mp3",
        "cut.flac",
    }


def test_a_failed_file_is_tried_again_when_asked_or_when_it_changed(shelf: Shelf) -> None:
    path = shelf.root / "1.wav"
    path.write_bytes(b"RIFF, or so it says")
    shelf.visit()
    again = shelf.visit()
    assert counts(again.ledger) == {"seen": 1, "failed": 1}
    assert again.touched == []
    retried = shelf.visit(retry_failed=True)
    assert counts(retried.ledger) == {"seen": 1, "failed": 1}
    assert retried.summary.effort.files == 1
    assert shelf.value("SELECT attempts FROM failing_tracks") == 2
    write_music(path, 1)
    mended = shelf.visit()
    assert counts(mended.ledger) == {"seen": 1, "analysed": 1}
    row = shelf.tracks()["1.wav"]
    assert (row["status"], row["error_kind"], row["error_message"], row["attempts"]) == ("ok", None, None, 0)


def test_a_track_whose_file_breaks_has_no_values_of_an_earlier_content(shelf: Shelf) -> None:
    path = shelf.add("1.wav", 1)
    shelf.visit()
    path.write_bytes(b"RIFF no more")
    assert counts(shelf.visit().ledger) == {"seen": 1, "failed": 1}
    row = shelf.tracks()["1.wav"]
    values = ("bpm", "key", "energy", "loudness_lufs", "duration", "hamms_vector", "chromaprint_fp", "spectral_hash")
    assert [row[name] for name in values] == [None] * len(values)


def test_a_short_file_is_skipped_and_not_decoded_again(shelf: Shelf) -> None:
    shelf.add("short.wav", 1, 0.4)
    first = shelf.visit()
    assert counts(first.ledger) == {"seen": 1, "skipped": 1}
    assert first.summary.effort.decodes == 1
    assert shelf.skips() == {"short.wav": "too_short"}
    assert shelf.tracks() == {}
    (shelf.root / "x.txt").touch()  # the directory is looked at again
    again = shelf.visit()
    assert counts(again.ledger) == {"seen": 2, "skipped": 2}
    assert again.summary.effort.decodes == 0
    shelf.add("short.wav", 1, 2.0)
    grown = shelf.visit()
    assert counts(grown.ledger) == {"seen": 2, "analysed": 1, "skipped": 1}
    assert shelf.skips() == {"x.txt": "not_audio"}


def test_a_track_that_becomes_too_short_is_missing_and_its_file_skipped(shelf: Shelf) -> None:
    shelf.add("1.wav", 1)
    shelf.visit()
    shelf.add("1.wav", 1, 0.4)
    visit = shelf.visit()
    assert visit.ledger.reconciles
    assert (visit.ledger.seen, visit.ledger.skipped) == (1, 1)
    assert shelf.tracks()["1.wav"]["missing_since"] is not None
    assert all(state.reconciles for state in ledger_states(shelf.engine))
    assert counts(shelf.visit().ledger) == {"seen": 1, "skipped": 1, "missing": 1}


@pytest.mark.skipif(os.name != "posix", reason="not applicable: permissions as on Unix")
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="not applicable: root may read everything")
def test_a_file_without_permission_fails_with_a_reason_and_is_read_once_it_may_be(shelf: Shelf) -> None:
    path = shelf.add("1.wav", 1)
    path.chmod(0)
    assert counts(shelf.visit().ledger) == {"seen": 1, "failed": 1}
    assert "permission denied" in shelf.tracks()["1.wav"]["error_message"]
    path.chmod(0o600)
    assert counts(shelf.visit().ledger) == {"seen": 1, "analysed": 1}


def test_a_file_that_goes_between_scan_and_analysis_fails_and_is_missing_at_the_next_look(shelf: Shelf) -> None:
    path = shelf.add("a/1.wav", 1)
    shelf.add("a/2.wav", 2)
    session = shelf.open()
    scope = session.scope()
    shelf.bench.scan(scope, ScanOptions())
    path.unlink()
    summary = shelf.bench.analyse(scope, BOTH)
    shelf.bench.vectors(scope)
    assert counts(session.finish()) == {"seen": 2, "analysed": 1, "failed": 1}
    assert summary.failures[0][1:] == ("unreadable", "The file is gone.")
    after = shelf.visit()
    assert counts(after.ledger) == {"seen": 1, "unchanged": 1, "missing": 1}


def test_a_pipe_in_the_place_of_a_file_is_noticed_and_not_waited_for(shelf: Shelf) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("not applicable: no named pipes")
    path = shelf.add("a/1.wav", 1)
    session = shelf.open()
    scope = session.scope()
    shelf.bench.scan(scope, ScanOptions())
    path.unlink()
    os.mkfifo(path)
    shelf.bench.analyse(scope, BOTH)
    assert shelf.tracks()["a/1.wav"]["error_kind"] == "unreadable"


def poison_in_hand(path: bytes) -> Path:
    """Return a file beside the library that tells the other workers that the poison is being decoded."""
    return Path(os.fsdecode(path)).parent.with_suffix(".poison")


def crash(path: bytes, stages: tuple[str, ...], *more: Any) -> Analysed:
    """Stand in for a decoder that takes its process down on one file."""
    if b"poison" in path:
        poison_in_hand(path).touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    return worker.analyse_file(path, stages, *more)


def copy_comes_later(path: bytes) -> Identified:
    """Identify a file; its copy only once the decoder has the poison in hand, so that the copy never comes first."""
    deadline = time.monotonic() + 60
    while b"same as" in path and not poison_in_hand(path).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return worker.identify_file(path)


def hang_or_eat(path: bytes, stages: tuple[str, ...], *more: Any) -> Analysed:
    """Stand in for a decoder that never ends on one file, and takes memory without end on another."""
    if b"endless" in path:
        while True:
            time.sleep(1)
    kept = []
    while b"greedy" in path:
        kept.append(bytearray(64 * 1024 * 1024))
    return worker.analyse_file(path, stages, *more)


def odd(path: bytes, stages: tuple[str, ...], *more: Any) -> Analysed:
    """Stand in for a defect that makes values which the database refuses."""
    found = worker.analyse_file(path, stages, *more)
    if b"odd" in path:
        found.payloads["features"]["features"]["bpm"] = 1e9
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="not applicable: signals as on Unix")
def test_a_decoder_that_crashes_costs_its_file_only(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("map4_pipeline.ingest.analyse.analyse_file", crash)
    monkeypatch.setattr("map4_pipeline.ingest.analyse.identify_file", copy_comes_later)
    for number in range(6):
        shelf.add(f"{number}.wav", number)
    shelf.add("poison.wav", 99)
    # The same audio beside it is tried by itself: the crash may have been the moment's.
    shelf.add("same as the other.wav", 99)
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 8, "analysed": 7, "failed": 1}
    row = shelf.tracks()["poison.wav"]
    assert (row["status"], row["error_kind"]) == ("failed", "crashed")
    assert "crashed" in row["error_message"]
    assert counts(shelf.visit().ledger) == {"seen": 8, "unchanged": 7, "failed": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="not applicable: memory of a process is limited on Linux only")
@pytest.mark.slow
def test_a_decoder_that_hangs_or_eats_memory_is_stopped_at_the_limits_that_are_set(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("map4_pipeline.ingest.analyse.analyse_file", hang_or_eat)
    limits = {"file_timeout_seconds": 6.0, "worker_memory_mb": 700}
    shelf.bench = Workbench(shelf.bench.settings.model_copy(update=limits), shelf.engine)
    for number, name in enumerate(("1", "endless", "2", "greedy", "3", "4")):
        shelf.add(f"{name}.wav", number)
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 6, "analysed": 4, "failed": 2}
    rows = shelf.tracks()
    said = {name: (rows[name]["error_kind"], rows[name]["error_message"]) for name in ("endless.wav", "greedy.wav")}
    assert {name: kind for name, (kind, _) in said.items()} == {"endless.wav": "timeout", "greedy.wav": "memory"}
    assert "longer than 6 s" in said["endless.wav"][1]
    assert "MAP4_WORKER_MEMORY_MB" in said["greedy.wav"][1]
    assert counts(shelf.visit().ledger) == {"seen": 6, "unchanged": 4, "failed": 2}


def test_a_run_that_is_paused_rests_with_everything_written_and_goes_on(shelf: Shelf) -> None:
    for number in range(12):
        shelf.add(f"{number}.wav", number)
    with shelf.engine.begin() as conn:
        pause(conn)
    told = Told()
    bench = Workbench(shelf.bench.settings.model_copy(update={"commit_files": 1, "commit_seconds": 60.0}), shelf.engine)
    shelf.bench = bench
    work = threading.Thread(target=lambda: shelf.visit(progress=told))
    work.start()
    deadline = time.monotonic() + 60
    while not told.resting and time.monotonic() < deadline:
        time.sleep(0.05)
    settled = shelf.value("SELECT count(*) FROM tracks WHERE status = 'ok'")
    time.sleep(1.5)
    assert work.is_alive()
    assert 0 < settled == shelf.value("SELECT count(*) FROM tracks WHERE status = 'ok'") < 12
    with shelf.engine.begin() as conn:
        assert resume(conn)
    work.join(60)
    assert shelf.value("SELECT count(*) FROM tracks WHERE status = 'ok'") == 12


def test_a_value_that_the_database_refuses_costs_its_file_only(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("map4_pipeline.ingest.analyse.analyse_file", odd)
    for number in range(4):
        shelf.add(f"{number}.wav", number)
    shelf.add("odd.wav", 99)
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 5, "analysed": 4, "failed": 1}
    row = shelf.tracks()["odd.wav"]
    assert (row["status"], row["error_kind"]) == ("failed", "internal")
    assert "cannot be stored" in row["error_message"]
    assert [kind for _, kind, _ in visit.summary.failures] == ["internal"]
    assert shelf.value("SELECT sum(decodes) FROM scans") == 5


def test_no_number_in_the_database_is_not_a_number(shelf: Shelf) -> None:
    import numpy as np
    import soundfile

    samples = np.zeros((22050 * 2, 1), np.float32)
    samples[100:200] = np.nan
    samples[300] = np.inf
    soundfile.write(shelf.root / "nan.wav", samples, 22050, subtype="FLOAT")
    soundfile.write(shelf.root / "silence.wav", np.zeros((22050 * 2, 1), np.float32), 22050)
    shelf.visit()
    rows = shelf.tracks()
    assert rows["silence.wav"]["status"] == "ok"
    assert rows["silence.wav"]["bpm"] is None
    assert rows["silence.wav"]["null_reasons"]["bpm"]
    for row in rows.values():
        for value in row.values():
            assert not (isinstance(value, float) and value != value)
    for row in shelf.rows("SELECT payload FROM analyses"):
        json.dumps(row["payload"], allow_nan=False)
    assert vector_problems(shelf.engine)[1] == 0


def test_a_stage_alone_leaves_the_other_to_a_later_run(shelf: Shelf) -> None:
    shelf.add("a/1.wav", 1)
    first = shelf.visit(stages=["features"])
    assert first.summary.effort.decodes == 1
    row = shelf.tracks()["a/1.wav"]
    assert row["bpm"] is not None or row["null_reasons"]["bpm"]
    assert (row["chromaprint_fp"], row["fingerprint_version"], row["status"]) == (None, None, "pending")
    key = shelf.value("SELECT partition_key FROM directories WHERE path_text = 'a'")
    scope = shelf.bench.scope([key], "a run over fingerprints alone")
    summary = shelf.bench.analyse(scope, ["fingerprint"])
    shelf.bench.vectors(scope)
    assert counts(summary.ledger) == {"seen": 1, "analysed": 1}
    row = shelf.tracks()["a/1.wav"]
    assert row["status"] == "ok"
    assert row["spectral_hash"]
    assert row["hamms_vector"]
    # The run did not scan, and its line adds up all the same.
    line = shelf.bench.lines(scope)[scope.directories[0].id]
    assert counts(line) == {"seen": 1, "analysed": 1}
    assert shelf.value("SELECT count(*) FROM analyses") == 2
    assert shelf.rows("SELECT status, seen, analysed, pending FROM scans WHERE kind = 'partial'") == [
        {"status": "completed", "seen": 1, "analysed": 1, "pending": 0}
    ]


def test_a_run_over_partitions_has_one_scan_of_its_own(shelf: Shelf) -> None:
    library = shelf.library()
    with shelf.engine.begin() as conn:
        first = open_partial_scan(conn, library.id, "run 1")
        assert open_partial_scan(conn, library.id, "run 1") == first
        assert open_partial_scan(conn, library.id, "run 2") != first


def test_a_scan_of_a_directory_can_be_repeated(shelf: Shelf) -> None:
    shelf.add("a/1.wav", 1)
    session = shelf.open()
    directory = next(d for d in session.touched if d.relative_path == b"a")
    scan_id = session.scan_ids[directory.library_id]
    root = os.fsencode(shelf.root)
    first = scan_directory(shelf.engine, scan_id, root, directory)
    rows = shelf.tracks()
    assert scan_directory(shelf.engine, scan_id, root, directory) == first
    again = shelf.tracks()
    assert {name: row["id"] for name, row in again.items()} == {name: row["id"] for name, row in rows.items()}
    assert shelf.value("SELECT count(*) FROM scan_directories") == 1


def test_two_looks_at_the_same_folder_at_once_do_not_hurt_each_other(shelf: Shelf, settings: Settings) -> None:
    for number in range(12):
        shelf.add(f"{number % 3}/{number}.wav", number)
    shelf.add("0/short.wav", 50, 0.4)
    (shelf.root / "1/bad.mp3").write_bytes(b"bad")
    shelf.library()
    visits: list[Any] = []
    errors: list[BaseException] = []

    def look() -> None:
        engine = create_engine(shelf.engine.url, json_serializer=shelf.engine.dialect._json_serializer)  # type: ignore[attr-defined]
        try:
            visits.append(Shelf(engine, settings, shelf.root).visit())
        except BaseException as error:  # told by the main thread
            errors.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors
    assert len(visits) == 2
    for visit in visits:
        assert visit.ledger.reconciles
        assert (visit.ledger.seen, visit.ledger.failed, visit.ledger.skipped) == (14, 1, 1)
    assert sum(visit.summary.ledger.analysed for visit in visits) == 12
    assert sum(visit.summary.effort.decodes for visit in visits) == 14  # and the two that came to nothing
    assert len(shelf.tracks()) == 13
    assert shelf.value("SELECT count(*) FROM analyses") == 24
    assert all(state.reconciles for state in ledger_states(shelf.engine))
    assert counts(shelf.visit().ledger) == {"seen": 14, "unchanged": 12, "failed": 1, "skipped": 1}


def test_a_directory_in_another_process_hands_is_waited_for(shelf: Shelf) -> None:
    shelf.add("a/1.wav", 1)
    shelf.add("b/2.wav", 2)
    session = shelf.open()
    scope = session.scope()
    shelf.bench.scan(scope, ScanOptions())
    held = next(d for d in scope.directories if d.relative_path == b"a")

    class Watch(Told):
        waits = 0

        def stage(self, text: str) -> None:
            if "waiting for another process in a" in text:
                self.waits += 1
                # All else is done by then.
                assert [name for _, name, _ in self.outcomes] == ["2.wav"]
                locks.release_directory(other, held.id)

    shelf.bench.progress = watch = Watch()
    with shelf.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
        assert locks.try_hold_directory(other, held.id)
        shelf.bench.analyse(scope, BOTH)
    assert watch.waits == 1
    assert {row["status"] for row in shelf.tracks().values()} == {"pending", "ok"} - {"pending"}


class Interrupt(Told):
    """Stops the run after so many files, as Ctrl-C does."""

    def __init__(self, after: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        super().__init__()
        self.after, self.error = after, error

    def done(self, outcome: str, path: str, size_bytes: int, message: str | None = None) -> None:
        super().done(outcome, path, size_bytes, message)
        if len(self.outcomes) == self.after:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_goes_on_where_it_was(shelf: Shelf, error: type[BaseException]) -> None:
    shelf.bench.settings = shelf.bench.settings.model_copy(update={"commit_files": 1})
    for number in range(8):
        shelf.add(f"{number}.wav", number)
    with pytest.raises(error):
        shelf.visit(progress=Interrupt(3, error))
    done = [row for row in shelf.tracks().values() if row["status"] == "ok"]
    assert len(done) >= 3
    assert len(shelf.tracks()) == 8
    visit = shelf.visit()
    assert visit.ledger.reconciles
    assert visit.ledger.seen == 8
    assert {row["status"] for row in shelf.tracks().values()} == {"ok"}
    assert all(row["hamms_vector"] for row in shelf.tracks().values())
    assert shelf.value("SELECT count(*) FROM analyses") == 16
    # What was committed is not decoded again.
    assert visit.summary.effort.decodes <= 8 - len(done)
    assert shelf.rows("SELECT status FROM scans WHERE kind = 'full' ORDER BY id") == [
        {"status": "failed"},
        {"status": "completed"},
    ]


def cut_connections(engine: Engine) -> None:
    """End every connection to this database but the one that asks, as a restart of the server does."""
    other = create_engine(engine.url)
    with other.connect() as conn:
        conn.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.dispose()


def test_a_lost_database_connection_stops_the_run_and_the_next_one_finishes(shelf: Shelf) -> None:
    shelf.bench.settings = shelf.bench.settings.model_copy(update={"commit_files": 1})
    for number in range(8):
        shelf.add(f"{number % 4}/{number}.wav", number)

    class Cut(Told):
        def done(self, outcome: str, path: str, size_bytes: int, message: str | None = None) -> None:
            super().done(outcome, path, size_bytes, message)
            if len(self.outcomes) == 2:
                cut_connections(shelf.engine)

    with pytest.raises(OperationalError):
        shelf.visit(progress=Cut())
    shelf.engine.dispose()
    visit = shelf.visit()
    assert visit.ledger.reconciles
    assert {row["status"] for row in shelf.tracks().values()} == {"ok"}
    assert shelf.value("SELECT count(*) FROM analyses") == 16


def test_stored_payloads_become_columns_and_null_reasons_of_both_stages_meet(shelf: Shelf) -> None:
    found = worker.analyse_file(os.fsencode(write_music(shelf.root / "x.wav", 1)), BOTH)
    columns = feature_columns(found.payloads["features"])
    assert columns["duration"] == pytest.approx(2.0, abs=0.01)
    assert columns["features_version"]
    prints = fingerprint_columns(found.payloads["fingerprint"])
    assert prints["null_reasons"] == {"chromaprint": "too short for a fingerprint (3 s)"}
    shelf.visit()
    reasons = shelf.tracks()["x.wav"]["null_reasons"]
    assert reasons["chromaprint"] == "too short for a fingerprint (3 s)"
    assert {**columns["null_reasons"], **prints["null_reasons"]}.items() <= reasons.items()


def test_effort_knows_its_rate() -> None:
    effort = Effort()
    assert effort.tracks_per_minute == 0.0
    effort.files, effort.wall_seconds = 30, 60.0
    assert effort.tracks_per_minute == 30.0


def test_analysis_of_nothing_is_nothing(shelf: Shelf) -> None:
    with WorkerPool(1) as pool:
        summary = analyse_directories(shelf.engine, pool, [], {}, {}, Silent())
    assert counts(summary.ledger) == {}


def test_a_library_that_moved_to_another_disk_is_found_through_the_path_map(shelf: Shelf, tmp_path: Path) -> None:
    shelf.add("1.wav", 1)
    shelf.visit()
    shutil.move(shelf.root, tmp_path / "mounted elsewhere")
    with shelf.engine.connect() as conn:
        from map4_pipeline.store.libraries import all_libraries

        libraries = all_libraries(conn)
    path_map = f"{shelf.root}={tmp_path / 'mounted elsewhere'}"
    shelf.bench.settings = shelf.bench.settings.model_copy(update={"path_map": path_map})
    from map4_pipeline.ingest.session import open_session

    session = open_session(shelf.bench, libraries=libraries)
    session.begin()
    assert session.refusals == []
    assert counts(session.finish())["unchanged"] == 1
