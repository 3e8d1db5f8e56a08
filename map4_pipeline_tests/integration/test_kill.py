"""Processes die, connections break, two commands run at once: the same command finishes the work, and nothing is done twice."""

import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from dagster import AssetKey, DagsterRunStatus
from sqlalchemy import Engine

from map4_pipeline.orchestration.instance import open_instance
from map4_pipeline.settings import Settings
from map4_pipeline.store.checks import ledger_states

from ..ingest.music import write_music
from ..postgres import PostgresForTests
from .program import Program, Told, family, finish, last_ledger, mortals, rows, survivors, value, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="not applicable: processes and signals as on Linux")

FILES = 100
COMMIT = 4


@pytest.fixture
def program(home: Path, database: str) -> Program:
    return Program(home, database, MAP4_COMMIT_FILES=str(COMMIT))


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    return settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """100 different files in 10 directories."""
    for number in range(FILES):
        write_music(tmp_path / "Music" / f"{number % 10}" / f"{number:03}.wav", 1000 + number, 1.2)
    return tmp_path / "Music"


def analysed(engine: Engine) -> int:
    return int(value(engine, "SELECT count(DISTINCT audio_hash) FROM analyses"))


def verify_whole(engine: Engine) -> None:
    """Everything is there once, and the books agree."""
    assert rows(engine, "SELECT status, count(*) AS n FROM tracks GROUP BY 1") == [{"status": "ok", "n": FILES}]
    assert value(engine, "SELECT count(*) FROM tracks WHERE hamms_vector IS NULL OR spectral_hash IS NULL") == 0
    assert value(engine, "SELECT count(DISTINCT relative_path) FROM tracks") == FILES
    assert value(engine, "SELECT count(*) FROM analyses") == 2 * FILES
    assert last_ledger(engine).reconciles
    assert last_ledger(engine).seen == FILES
    assert [state.reconciles for state in ledger_states(engine)] == [True]


def again(program: Program, folder: Path) -> Told:
    told = program.run("ingest", "--no-report", folder)
    assert told.code == 0, told.all
    return told


@pytest.mark.chaos
def test_a_killed_run_is_finished_by_the_next_and_little_is_done_twice(
    program: Program, engine: Engine, settings: Settings, folder: Path
) -> None:
    run = program.start("ingest", "--no-report", folder)
    wait_until(lambda: analysed(engine) >= 20, run)
    below = family(run)
    assert len(below) >= 3
    run.kill()
    finish(run)
    done = analysed(engine)
    assert done < FILES
    assert survivors(below) == []
    with open_instance(settings) as instance:
        started = instance.get_runs()
        assert [one.status for one in started] == [DagsterRunStatus.STARTED]
        # No partition is shown as materialized that is not.
        settled = {
            row["partition_key"] for row in rows(engine, "SELECT partition_key FROM directories WHERE settled_at IS NOT NULL")
        }
        assert instance.get_materialized_partitions(AssetKey("hamms_vectors")) <= settled
        assert instance.get_materialized_partitions(AssetKey("track_features")) == set()
    again(program, folder)
    verify_whole(engine)
    decodes = value(engine, "SELECT sum(decodes) FROM scans")
    assert decodes - FILES <= COMMIT
    # What the killed process had under way is lost with it: it is not in its books. The next one did all that was not stored.
    assert value(engine, "SELECT decodes FROM scans ORDER BY id DESC LIMIT 1") == FILES - done
    with open_instance(settings) as instance:
        assert [one.status for one in instance.get_runs()] == [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
        assert len(instance.get_materialized_partitions(AssetKey("hamms_vectors"))) == 11
    assert [row["status"] for row in rows(engine, "SELECT status FROM scans ORDER BY id")] == ["failed", "completed"]


@pytest.mark.chaos
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_told_to_stop_says_so_and_leaves_nothing_behind(
    program: Program, engine: Engine, settings: Settings, folder: Path, number: signal.Signals
) -> None:
    run = program.start("ingest", folder, MAP4_CHUNK_DIRECTORIES="2")
    wait_until(lambda: analysed(engine) >= 10, run)
    below = family(run)
    run.send_signal(number)
    told = finish(run)
    assert told.code == 3, told.all
    assert "Interrupted. " in told.all
    assert "Traceback" not in told.all
    assert survivors(below) == []
    # It stopped: it did not go on with the next chunk.
    done = analysed(engine)
    assert done < FILES
    with open_instance(settings) as instance:
        statuses = {one.status for one in instance.get_runs()}
        assert statuses <= {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}
        assert {one.job_name for one in instance.get_runs()} == {"ingest_library"}
    again(program, folder)
    verify_whole(engine)
    assert value(engine, "SELECT sum(decodes) FROM scans") <= FILES + 64


@pytest.mark.chaos
def test_a_lost_database_connection_ends_the_command_with_a_sentence_and_the_next_finishes(
    program: Program, engine: Engine, settings: Settings, folder: Path, postgres_server: PostgresForTests
) -> None:
    run = program.start("ingest", "--no-report", folder)
    wait_until(lambda: analysed(engine) >= 10, run)
    below = family(run)
    name = engine.url.database
    engine.dispose()
    postgres_server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname IN ('{name}', '{name}_dagster') AND pid <> pg_backend_pid()",
        superuser=True,
    )
    told = finish(run)
    assert told.code == 3, told.all
    assert "Traceback" not in told.all
    assert told.all.strip()
    assert survivors(below) == []
    again(program, folder)
    verify_whole(engine)


@pytest.mark.chaos
def test_a_worker_that_is_killed_costs_one_file_at_most(program: Program, engine: Engine, folder: Path) -> None:
    run = program.start("ingest", "--no-report", folder)
    wait_until(lambda: analysed(engine) >= 10, run)
    workers = [child for child in family(run) if child.ppid() != run.pid]
    assert workers
    workers[0].send_signal(signal.SIGKILL)
    told = finish(run)
    failed = value(engine, "SELECT count(*) FROM tracks WHERE status = 'failed'")
    assert failed <= 1, rows(engine, "SELECT file_name, error_kind, error_message FROM tracks WHERE status = 'failed'")
    assert told.code == failed, told.all
    if failed:
        assert value(engine, "SELECT error_kind FROM tracks WHERE status = 'failed'") == "crashed"
        assert program.run("ingest", "--no-report", "--retry-failed", folder).code == 0
    verify_whole(engine)


@pytest.mark.slow
def test_two_commands_on_the_same_folder_at_once_both_finish(program: Program, engine: Engine, folder: Path) -> None:
    started = [program.start("ingest", "--no-report", folder, MAP4_CHUNK_DIRECTORIES="4") for _ in range(2)]
    told = [finish(run) for run in started]
    assert [one.code for one in told] == [0, 0], told
    verify_whole(engine)
    for row in rows(engine, "SELECT * FROM scans"):
        assert row["status"] == "completed"
        assert row["seen"] == row["analysed"] + row["reused"] + row["unchanged"] + row["failed"] + row["skipped"] == FILES
        assert row["pending"] == 0
    assert value(engine, "SELECT sum(decodes) FROM scans") == FILES


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(5))
def test_killed_at_any_point_the_same_command_finishes(
    program: Program, engine: Engine, settings: Settings, folder: Path, seed: int
) -> None:
    random_ = random.Random(seed)
    for _ in range(3):
        run = program.start("ingest", "--no-report", folder)
        time.sleep(random_.uniform(0.5, 6.0))
        below = family(run) if run.poll() is None else []
        victims = mortals(run) if run.poll() is None else []
        victim = random_.choice([run.pid, *[process.pid for process in victims]])
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        if victim == run.pid:
            assert survivors(below) == []
        told = finish(run)
        assert "Traceback" not in told.all
    program.run("ingest", "--no-report", "--retry-failed", folder)
    again(program, folder)
    verify_whole(engine)
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or [])]
