"""The main line, whole and real: `map4 ingest` on folders of music, Dagster runs, PostgreSQL, reports."""

import os
import shutil
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus
from sqlalchemy import Engine

from map4_pipeline.library.model import Tags
from map4_pipeline.library.tag_writer import write_tags
from map4_pipeline.orchestration.instance import open_instance
from map4_pipeline.orchestration.partitions import DIRECTORY
from map4_pipeline.settings import Settings
from map4_pipeline.store.checks import ledger_states, vector_problems

from ..ingest.music import write_music
from .program import Program, last_ledger, rows, value

FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "m4a", "aiff")
PARTITIONED = ("scanned_files", "track_features", "fingerprints", "hamms_vectors")


def make_library(folder: Path) -> None:
    """Make a small library: seven formats, tags, a copy, a broken file, a picture, a folder with a difficult name."""
    for number, suffix in enumerate(FORMATS):
        path = write_music(folder / f"Album {number % 3}" / f"{number:02}.{suffix}", number, 4.0)
        write_tags(path, Tags(title=f"Title {number}", artist="Käthe 🎹", year=2001))
    (folder / "Best of...").mkdir()
    shutil.copy(folder / "Album 0/00.wav", folder / "Best of.../copy.wav")
    (folder / "Best of.../broken.mp3").write_bytes(b"This is no music." * 100)
    (folder / "Best of.../cover.jpg").write_bytes(b"\xff\xd8\xff\xd9")


def verify_line(program: Program, engine: Engine, settings: Settings, folder: Path) -> None:
    """Bring the library in, look at everything, bring it in again."""
    make_library(folder)
    code, told = program.ingest_json(folder)
    assert code == 1  # one file failed
    tracks = {row["file_name"]: row for row in rows(engine, "SELECT * FROM tracks")}
    assert {name: row["status"] for name, row in tracks.items()} == {
        **{f"{number:02}.{suffix}": "ok" for number, suffix in enumerate(FORMATS)},
        "copy.wav": "ok",
        "broken.mp3": "failed",
    }
    for row in tracks.values():
        if row["status"] == "failed":
            assert row["error_message"]
            continue
        assert row["title"].startswith("Title ")
        assert (row["artist"], row["year"]) == ("Käthe 🎹", 2001)
        assert row["duration"] == pytest.approx(4.0, abs=0.15)
        assert row["chromaprint_fp"]
        assert len(row["spectral_hash"]) == 64
        assert len(row["hamms_vector"]) == 12
        for name in ("bpm", "key", "energy"):
            assert row[name] is not None or row["null_reasons"][name]
    assert tracks["copy.wav"]["bpm"] == tracks["00.wav"]["bpm"]
    assert vector_problems(engine) == (8, 0, [])
    assert all(state.reconciles for state in ledger_states(engine))
    assert value(engine, "SELECT sum(decodes) FROM scans") == 8
    ledger = last_ledger(engine)
    assert ledger.reconciles
    assert (ledger.seen, ledger.analysed, ledger.reused, ledger.failed, ledger.skipped) == (10, 7, 1, 1, 1)
    assert told["files"]["seen"] == 10
    assert sorted(path.name for path in settings.reports_dir.iterdir()) == ["library.html", "library.pdf", "library.xlsx"]
    # The same in Dagster.
    with open_instance(settings) as instance:
        keys = instance.get_dynamic_partitions(DIRECTORY)
        assert len(keys) == 5
        for asset in PARTITIONED:
            assert instance.get_materialized_partitions(AssetKey(asset)) == set(keys)
        runs = [(run.job_name, run.status) for run in instance.get_runs()]
        assert runs == [("report_library", DagsterRunStatus.SUCCESS), ("ingest_library", DagsterRunStatus.SUCCESS)]
    # Again: nothing is read, nothing changes.
    before = rows(engine, "SELECT * FROM tracks ORDER BY id")
    code, told = program.ingest_json(folder)
    assert code == 1  # it failed earlier and is unchanged
    assert {name: told["files"][name] for name in ("seen", "unchanged", "failed", "skipped", "analysed")} == {
        "seen": 10,
        "unchanged": 8,
        "failed": 1,
        "skipped": 1,
        "analysed": 0,
    }
    assert rows(engine, "SELECT * FROM tracks ORDER BY id") == before
    assert rows(engine, "SELECT decodes, bytes_read FROM scans ORDER BY id DESC LIMIT 1") == [{"decodes": 0, "bytes_read": 0}]


@pytest.fixture
def program(home: Path, database: str) -> Program:
    return Program(home, database)


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    return settings


def test_a_folder_becomes_a_library_and_a_second_look_reads_nothing(
    program: Program, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    verify_line(program, engine, settings, tmp_path / "Music")


def small(folder: Path, directories: int) -> None:
    """Make directories with a file each that is decided on quickly."""
    for number in range(directories):
        (folder / f"{number:02}").mkdir(parents=True)
        (folder / f"{number:02}/x.mp3").write_bytes(b"no music %d" % number)


def job_runs(instance: DagsterInstance) -> list[str]:
    return [run.job_name for run in reversed(list(instance.get_runs()))]


@pytest.mark.slow
def test_a_first_import_comes_in_chunks_and_scattered_changes_in_one_run(
    program: Program, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "Music"
    small(folder, 24)
    told = program.run("ingest", folder, MAP4_CHUNK_DIRECTORIES="9")
    assert told.code == 1
    with open_instance(settings) as instance:
        assert job_runs(instance) == ["ingest_library"] * 3 + ["report_library"]
        assert len(instance.get_materialized_partitions(AssetKey("hamms_vectors"))) == 25
    for number in range(0, 24, 2):
        (folder / f"{number:02}/y.txt").touch()
    code, told_again = program.ingest_json(folder)
    assert code == 1
    assert (told_again["files"]["seen"], told_again["files"]["failed"], told_again["files"]["skipped"]) == (36, 24, 12)
    with open_instance(settings) as instance:
        assert job_runs(instance)[4:] == ["refresh_library"]
    assert all(state.reconciles for state in ledger_states(engine))
    # Without a folder: all that are registered. With the flag: failed ones again.
    assert program.ingest_json()[1]["files"]["failed"] == 24
    code, retried = program.ingest_json("--retry-failed", "--no-report", folder)
    assert (code, retried["files"]["seen"], retried["files"]["failed"]) == (1, 36, 24)
    # A run that was killed before its report leaves it as that one did; the next one writes it, though nothing changed, once.
    for expected in (["report_library"], []):
        with open_instance(settings) as instance:
            before = len(job_runs(instance))
        assert program.run("ingest", folder).code == 1
        with open_instance(settings) as instance:
            assert job_runs(instance)[before:] == expected
    # A disk that is gone.
    folder.rename(tmp_path / "unplugged")
    folder.mkdir()
    told = program.run("ingest", folder)
    assert told.code == 3
    assert "is empty, although it had files" in " ".join(told.all.split())
    assert "Traceback" not in told.all
    assert value(engine, "SELECT count(*) FROM tracks WHERE missing_since IS NOT NULL") == 0
    told = program.run("ingest", "--confirm-loss", folder)
    assert told.code == 0, told.all
    assert value(engine, "SELECT count(*) FROM tracks WHERE missing_since IS NOT NULL") == 24


@pytest.mark.slow
def test_one_library_is_not_stopped_by_another_whose_disk_is_gone(
    program: Program, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    small(tmp_path / "gone", 1)
    small(tmp_path / "Music", 26)
    assert program.run("ingest", "--no-report", tmp_path / "gone", tmp_path / "Music").code == 1
    shutil.rmtree(tmp_path / "gone")
    for number in range(0, 26, 2):
        (tmp_path / "Music" / f"{number:02}/y.txt").touch()
    told = program.run("ingest", "--no-report", tmp_path / "Music")
    assert told.code == 1, told.all
    assert value(engine, "SELECT count(*) FROM skipped_files") == 13


@pytest.mark.skipif(os.name != "posix", reason="not applicable: the embedded server's socket is a Unix one")
@pytest.mark.slow
def test_without_a_database_the_embedded_server_is_started_and_stopped(home: Path, tmp_path: Path) -> None:
    program = Program(home, None)
    small(tmp_path / "Music", 1)
    assert program.run("ingest", "--no-report", tmp_path / "Music").code == 1
    code, told = program.ingest_json("--no-report", tmp_path / "Music")
    assert (code, told["files"]["failed"]) == (1, 1)
