"""Worker processes: one file that takes its worker down is one failure, and no worker outlives its run."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from map4_pipeline.ingest.pool import WorkerPool
from map4_pipeline.ingest.worker import Analysed, Identified, analyse_file, identify_file, tag_columns

from .music import write_music

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not applicable: signals as on Unix")


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def hang() -> None:
    time.sleep(600)


def die_taking() -> None:
    """Be killed as a worker that has taken the next task and not said so yet."""
    channel = next(found for found in gc.get_objects() if type(found).__name__ == "WorkerChannel")
    channel.mutex.acquire()
    channel.reader.recv()
    os.kill(os.getpid(), signal.SIGKILL)


def out_of_memory() -> None:
    raise MemoryError


def allocate(megabytes: int) -> int:
    return len(bytearray(megabytes * 1024 * 1024))


def broken() -> None:
    raise RuntimeError("a defect")


def number(value: int) -> int:
    return value


def environment() -> tuple[int, str | None, bool]:
    return os.nice(0), os.environ.get("OPENBLAS_NUM_THREADS"), signal.getsignal(signal.SIGINT) == signal.SIG_IGN


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2, timeout_seconds=2.0, memory_mb=1024) as pool:
        yield pool


def test_what_goes_wrong_in_a_worker_is_told_in_words_and_the_rest_go_on(pool: WorkerPool) -> None:
    bad = {
        "crashed": [pool.submit(die, signal.SIGSEGV), pool.submit(die, signal.SIGKILL)],
        "timeout": [pool.submit(hang)],
        "memory": [pool.submit(out_of_memory)],
        "internal": [pool.submit(broken)],
    }
    good = [pool.submit(number, value) for value in range(20)]
    assert [future.result(60) for future in good] == list(range(20))
    for kind, futures in bad.items():
        for future in futures:
            error = future.exception(60)
            assert error is not None
            found, message = pool.failure(error)
            assert found == kind
            assert message.endswith(".")
            assert len(message) > 30
    assert pool.submit(number, 7).result(60) == 7


@pytest.mark.skipif(sys.platform != "linux", reason="not applicable: memory of a process is limited on Linux only")
def test_a_worker_cannot_take_more_memory_than_it_may(pool: WorkerPool) -> None:
    error = pool.submit(allocate, 3000).exception(60)
    assert error is not None
    assert pool.failure(error)[0] == "memory"
    assert pool.submit(allocate, 10).result(60) == 10 * 1024 * 1024


def test_a_worker_that_is_killed_while_idle_costs_no_file() -> None:
    with WorkerPool(1) as pool:
        (worker,) = pool.warm_up()
        os.kill(worker, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(worker)] if psutil.pid_exists(worker) else [], timeout=20)
        for value in range(10):
            future = pool.submit(number, value)
            error = future.exception(60)
            if error is not None:
                assert pool.is_lost(error)
                future = pool.submit(number, value)
            assert future.result(60) == value


@pytest.mark.slow
def test_a_task_that_was_taken_by_a_worker_that_is_killed_in_this_moment_is_known_as_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("map4_pipeline.ingest.pool._PROBE_SECONDS", 0.5)
    with WorkerPool(1) as pool:
        killed, taken = pool.submit(die_taking), pool.submit(number, 1)
        # As long as workers wait for the locks of the one that was killed, twice.
        lost = taken.exception(timeout=60)
        assert lost is not None
        assert pool.is_lost(lost)
        assert killed.exception(timeout=10) is not None
        assert pool.submit(number, 2).result(timeout=30) == 2


def test_workers_run_one_thread_leave_ctrl_c_to_the_parent_and_are_as_many_as_asked() -> None:
    with WorkerPool(2, nice=5) as pool:
        niceness, threads, ignores = pool.submit(environment).result(60)
        assert 1 <= len(pool.warm_up()) <= 2
    assert (niceness - os.nice(0), threads, ignores) == (5, "1", True)


def test_a_closed_pool_leaves_no_process() -> None:
    with WorkerPool(2) as pool:
        workers = pool.warm_up()
    assert not [pid for pid in workers if _lives(pid)]
    pool = WorkerPool(2)
    workers = pool.warm_up()
    pool.submit(hang)
    pool.close(at_once=True)
    assert not [pid for pid in workers if _lives(pid)]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="not applicable: only Linux tells a process of its parent's death")
def test_a_killed_run_takes_its_workers_and_its_fork_server_along(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            """
            import time
            from map4_pipeline.ingest.pool import WorkerPool
            if __name__ == "__main__":
                pool = WorkerPool(2)
                pool.warm_up()
                for _ in range(4):
                    pool.submit(time.sleep, 600)
                print("ready", flush=True)
                time.sleep(600)
            """
        )
    )
    run = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    try:
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
        family = psutil.Process(run.pid).children(recursive=True)
        assert len(family) >= 3
    finally:
        run.kill()
        run.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_bad_file_is_a_value_and_never_an_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = os.fsencode(tmp_path / "gone.mp3")
    assert identify_file(gone) == Identified(None, None, 0, "unreadable", "The file is gone.")
    assert analyse_file(gone, ("features",)).error_kind == "unreadable"
    path = os.fsencode(write_music(tmp_path / "x.wav", 1))
    fine = identify_file(path)
    assert fine.error_kind is None
    assert fine.bytes_read == os.path.getsize(path)

    def out_of_memory_here(*_: object, **__: object) -> None:
        raise MemoryError

    def defect(*_: object, **__: object) -> None:
        raise KeyError("what a defect says")

    for function, kind in ((out_of_memory_here, "memory"), (defect, "internal")):
        with monkeypatch.context() as patch:
            patch.setattr("map4_pipeline.library.identity.identify", function)
            patch.setattr("map4_pipeline.audio.analyse", function)
            for value in (identify_file(path), analyse_file(path, ("features",))):
                assert isinstance(value, Identified | Analysed)
                assert value.error_kind == kind
    # Tags are never a reason to lose a track.
    monkeypatch.setattr("map4_pipeline.library.tags.read_tags", defect)
    untagged = identify_file(path)
    assert untagged.error_kind is None
    assert untagged.tags is not None
    assert "KeyError" in untagged.tags["tags"]["map4:tags_error"]


def test_not_a_number_is_a_failure_and_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from map4_pipeline import audio

    real = audio.analyse

    def with_nan(path: str, **how: object) -> object:
        analysis = real(path, **how)  # type: ignore[arg-type]
        assert analysis.features is not None
        return replace(analysis, features=replace(analysis.features, energy=float("nan")))

    monkeypatch.setattr("map4_pipeline.audio.analyse", with_nan)
    value = analyse_file(os.fsencode(write_music(tmp_path / "x.wav", 1)), ("features", "fingerprint"))
    assert (value.payloads, value.error_kind) == ({}, "internal")


def test_only_the_stages_asked_for_are_measured(tmp_path: Path) -> None:
    path = os.fsencode(write_music(tmp_path / "x.wav", 1))
    assert set(analyse_file(path, ("features",)).payloads) == {"features"}
    assert set(analyse_file(path, ("fingerprint",)).payloads) == {"fingerprint"}


def test_tags_without_a_column_are_kept_beside() -> None:
    columns = tag_columns({"title": "T", "bpm": 120.0, "key": "Am", "has_cover": True, "other": {"isrc": "X"}})
    assert (columns["title"], columns["artist"], columns["tags_bpm"], columns["tags_key"]) == ("T", None, 120.0, "Am")
    assert columns["tags"] == {"isrc": "X", "has_cover": True}
