"""Commands that steer a library from day to day: pause, queue, estimate, watch, remove."""

import json
import os
import shutil
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from map4_pipeline.cli.estimate import size_text, time_text
from map4_pipeline.ingest.roots import check_new_root
from map4_pipeline.settings import Settings
from map4_pipeline.store import queue
from map4_pipeline.store.corrections import correct
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.failures import record_run_failure
from map4_pipeline.store.libraries import all_libraries, local_root, register_library, registered_path, relocate_library
from map4_pipeline.store.playlists import create_playlist, entries
from map4_pipeline.store.schema import VERSION_TABLE

from .conftest import Invoke, Seeded


def test_pause_and_resume_are_told_by_the_status(invoke: Invoke, seeded: Seeded) -> None:
    assert not json.loads(invoke("status", "--json").stdout)["paused"]
    assert "resume" in invoke("pause", "the party begins").stdout
    assert json.loads(invoke("status", "--json").stdout)["paused"]
    assert "Paused" in invoke("status").stdout
    assert invoke("resume").stdout == "Going on.\n"
    assert invoke("resume").stdout == "Nothing was paused.\n"


def test_the_status_tells_when_values_of_several_engines_stand_beside_each_other(
    invoke: Invoke, seeded: Seeded, engine: Engine
) -> None:
    assert len(json.loads(invoke("status", "--json").stdout)["analysis_versions"]) <= 1
    assert "Versions" not in invoke("status").stdout
    there = "status = 'ok' AND missing_since IS NULL AND hidden_at IS NULL"
    with engine.begin() as conn:
        conn.execute(text(f"UPDATE tracks SET features_version = '8' WHERE {there}"))
        one = "8+halftime-1.0"
        conn.execute(
            text(f"UPDATE tracks SET features_version = :one WHERE id = (SELECT min(id) FROM tracks WHERE {there})"),
            {"one": one},
        )
    versions = json.loads(invoke("status", "--json").stdout)["analysis_versions"]
    assert list(versions) == ["8", one]
    assert versions[one] == 1
    assert (
        f"Versions    8 ({versions['8']} tracks), {one} (1 track): their values are not to be compared" in invoke("status").stdout
    )


def test_failed_runs_are_in_the_status(invoke: Invoke, seeded: Seeded, engine: Engine) -> None:
    with engine.begin() as conn:
        assert record_run_failure(conn, "0123456789", "refresh_library", "The disk is full.")
        assert not record_run_failure(conn, "0123456789", "refresh_library", "The disk is full.")
        record_run_failure(conn, "old", "refresh_library", "Long ago.")
        conn.execute(text("UPDATE run_failures SET failed_at = now() - interval '30 days' WHERE run_id = 'old'"))
    shown = invoke("status").stdout
    assert "01234567 of refresh_library: The disk is full." in shown
    assert "Long ago" not in shown
    (run,) = json.loads(invoke("status", "--json").stdout)["failed_runs"]
    assert run["message"] == "The disk is full."


def test_tracks_that_are_gone_for_good_are_forgotten_with_what_hangs_on_them(
    invoke: Invoke, seeded: Seeded, engine: Engine
) -> None:
    slug = seeded.library.slug
    with engine.begin() as conn:
        ids = {name: id_ for id_, name in conn.execute(text("SELECT id, file_name FROM tracks"))}
        conn.execute(text("UPDATE tracks SET missing_since = now() - interval '3 days' WHERE file_name = 'two.mp3'"))
        correct(conn, ids["gone.mp3"], {"bpm": 126.0}, user_id=None, user_name="Anna")
        order = [ids[name] for name in ("one.mp3", "gone.mp3", "three.mp3", "two.mp3")]
        made = create_playlist(conn, "mine", order, qualities=[0.5, 0.6, 0.7])
    asked = invoke("library", "forget", slug)
    assert (asked.exit_code, "Forgotten" in asked.stdout) == (2, False), "nobody has said yes"
    told = "Forget 1 track of the library 'music-blue', missing for 30 days or longer? With them go: 1 place in playlists and 1"
    assert told in asked.stdout
    done = invoke("library", "forget", "--yes")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "Forgotten: 1 missing track. 1 that went later is kept (--days).\n"
    with engine.connect() as conn:
        left = set(conn.scalars(text("SELECT file_name FROM tracks")))
        listed = [(entry.position, entry.track["id"], entry.transition_quality) for entry in entries(conn, made.id)]
    assert left == {"one.mp3", "two.mp3", "three.mp3", "broken.mp3"}
    assert listed == [(1, order[0], None), (2, order[2], None), (3, order[3], 0.7)], "the places move up"
    assert "No track has been missing for 30 days or longer." in invoke("library", "forget").stdout
    assert invoke("library", "forget", "--days", "0", "--yes").stdout == "Forgotten: 1 missing track.\n"
    assert invoke("library", "forget", "--days", "0").stdout == "No track has been missing.\n"
    assert json.loads(invoke("status", "--json").stdout)["tracks"] == {
        "ok": 2,
        "failed": 1,
        "missing": 0,
        "pending": 0,
        "total": 3,
    }
    assert invoke("library", "forget", "no-such-library").exit_code == 2


def test_an_older_program_refuses_the_database_of_a_newer_one(invoke: Invoke, seeded: Seeded, engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    for command in (["status"], ["tracks"], ["db", "migrate"], ["library", "list"]):
        told = invoke(*command)
        assert told.exit_code == 3, command
        assert "made by a newer MAP4 (schema 9999" in told.stderr
        assert "Update MAP4, or restore a dump from before the update." in told.stderr
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM tracks")) == 5


def test_one_waits_for_what_one_asked_for(
    invoke: Invoke, seeded: Seeded, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one.mp3", "two.mp3"):
        (seeded.root / name).touch()

    def work() -> None:
        """Do what a worker does, while the program waits."""
        with engine.begin() as conn:
            first, second = (row.id for row in queue.entries(conn, "pending"))
            queue.finish(conn, {first: None, second: "no sound in it"})

    monkeypatch.setattr("map4_pipeline.cli.queue._rest", work)
    outcome = invoke("queue", "add", str(seeded.root / "one.mp3"), str(seeded.root / "two.mp3"), "--wait")
    assert outcome.exit_code == 1
    assert [line.partition("  ")[2] for line in outcome.stdout.splitlines()[2:]] == ["completed", "failed: no sound in it"]
    left = invoke("queue", "add", str(seeded.root / "one.mp3"))
    assert (left.exit_code, "`map4 queue list` tells how it goes" in left.stderr) == (0, True)


def test_the_queue_is_filled_shown_and_taken_back(invoke: Invoke, seeded: Seeded) -> None:
    assert "empty" in invoke("queue", "list").stdout
    album = seeded.root / "album"
    added = invoke("queue", "add", str(album / "one.mp3"), str(album), "--priority", "2").stdout.splitlines()
    assert [line.partition("  ")[2] for line in added] == [str(album / "one.mp3"), str(album)]
    first, second = (line.partition("  ")[0] for line in added)
    assert invoke("queue", "add", str(album / "nothing.mp3")).exit_code == 2
    entries = [json.loads(line) for line in invoke("queue", "list", "--json").stdout.splitlines()]
    assert [(str(entry["id"]), entry["status"], entry["priority"]) for entry in entries] == [
        (first, "pending", 2),
        (second, "pending", 2),
    ]
    assert invoke("queue", "cancel", second).exit_code == 0
    again = invoke("queue", "cancel", second, first)
    assert (again.stdout, again.exit_code) == (f"Cancelled: {first}\n", 1)
    assert "cancelled" in invoke("queue", "list").stdout


def test_a_library_is_forgotten_and_its_files_are_not(invoke: Invoke, seeded: Seeded, engine: Engine) -> None:
    slug = seeded.library.slug
    before = sorted(seeded.root.rglob("*"))
    with engine.begin() as conn:
        conn.execute(text("INSERT INTO playlists (name) VALUES ('mine')"))
        first = "SELECT p.id, t.id, 1 FROM playlists p, tracks t LIMIT 1"
        conn.execute(text(f"INSERT INTO playlist_tracks (playlist_id, track_id, position) {first}"))
    assert invoke("library", "remove", slug).exit_code != 0, "nobody has said yes"
    done = invoke("library", "remove", slug, "--yes")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "3 tracks (and 1 failed, 1 missing) and 1 place in playlists" in done.stdout
    assert sorted(seeded.root.rglob("*")) == before
    with engine.connect() as conn:
        for table in ("libraries", "directories", "tracks", "scans", "scan_directories", "skipped_files", "playlist_tracks"):
            assert conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0
    assert invoke("library", "remove", slug, "--yes").exit_code != 0


def test_a_library_whose_disk_is_gone_is_named_and_guarded(invoke: Invoke, seeded: Seeded, engine: Engine) -> None:
    seeded.root.rename(seeded.root.with_name("unplugged"))
    told = invoke("ingest", "--no-report", str(seeded.root))
    assert told.exit_code == 3
    assert "is not there. Nothing was changed." in told.stdout
    # What matters is all that is said, and how to go on.
    assert told.stdout.rstrip().endswith(f"map4 library relocate {seeded.library.slug} NEW_FOLDER")
    assert len(told.stdout.splitlines()) == 1
    told = invoke("ingest", "--no-report", str(seeded.root / "elsewhere"))
    assert told.exit_code == 2
    assert "does not exist, and no library is registered there" in told.stderr
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM libraries")) == 1
        assert conn.scalar(text("SELECT count(*) FROM tracks WHERE missing_since IS NULL")) == 4


def test_a_library_that_was_moved_is_not_taken_for_a_new_one(
    invoke: Invoke, seeded: Seeded, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug, moved = seeded.library.slug, seeded.root.with_name("Musik neu")
    seeded.root.rename(moved)
    monkeypatch.setenv("HOME", str(moved.parent))
    with engine.begin() as conn:
        conn.execute(text("UPDATE tracks SET file_size = 0"))
    told = invoke("ingest", "--no-report", "~/Musik neu")
    assert (told.exit_code, told.stdout) == (2, "")
    assert f"holds the files of the library 'Music [blue]', which is no longer at {seeded.root}" in told.stderr
    assert f"map4 library relocate {slug} '{moved}'" in told.stderr
    assert f"map4 ingest --new-library '{moved}'" in told.stderr
    with engine.begin() as conn:
        assert conn.scalar(text("SELECT count(*) FROM libraries")) == 1
        # Other music under the same names, by its sizes: no copy.
        conn.execute(text("UPDATE tracks SET file_size = 5"))
    check_new_root(engine, moved, "")
    with engine.begin() as conn:
        conn.execute(text("UPDATE tracks SET file_size = 0"))
    # The library is where it was: a copy of it is one of its own.
    shutil.copytree(moved, seeded.root)
    check_new_root(engine, moved, "")
    # It was moved all the same, and a second library came about before: which one is to go is said.
    with engine.begin() as conn:
        register_library(conn, moved)
    told = invoke("library", "relocate", slug, str(moved))
    assert told.exit_code == 2
    assert "`map4 library remove musik-neu` forgets it" in told.stderr


def test_a_new_folder_without_audio_is_registered_only_on_request(
    invoke: Invoke, settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    (empty / "scans").mkdir(parents=True)
    for words in ("(it is empty)", "(1 other file)"):
        told = invoke("ingest", "--no-report", str(empty))
        assert (told.exit_code, told.stdout) == (2, "")
        assert f"There is no audio in {empty} {words}. Nothing was registered" in told.stderr
        assert f"map4 ingest --new-library {empty}" in told.stderr
        (empty / "scans" / "cover.jpg").touch()
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM libraries")) == 0
    (empty / "scans" / "cover.jpg").unlink()
    for options in (["--new-library"], []):  # once it is a library, it may well be empty
        told = invoke("ingest", "--no-report", *options, str(empty))
        assert (told.exit_code, told.stderr) == (0, "")
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM libraries")) == 1


def test_a_mapped_library_is_the_same_under_the_name_it_has_here(invoke: Invoke, seeded: Seeded, engine: Engine) -> None:
    here = seeded.root.with_name("mounted")
    seeded.root.rename(here)
    path_map = f"/other=/elsewhere; {seeded.root}={here}"
    with engine.begin() as conn:
        (library,) = all_libraries(conn)
        assert local_root(library, path_map) == os.fsencode(here)
        for place in (here, seeded.root):
            assert register_library(conn, place, path_map=path_map) == library
        with pytest.raises(StoreError, match="lies inside"):
            register_library(conn, here / "album", path_map=path_map)
        assert relocate_library(conn, library, here, path_map) == library
    assert registered_path(b"/elsewhere/x", path_map) == b"/other/x"
    assert registered_path(b"/elsewhere else/x", path_map) == b"/elsewhere else/x"
    with pytest.raises(StoreError, match="not of the form"):
        local_root(library, "/no/equals/sign")


def test_a_library_is_watched_or_not(invoke: Invoke, seeded: Seeded) -> None:
    slug = seeded.library.slug
    for switch, watched in (("off", False), ("on", True)):
        assert invoke("library", "watch", slug, switch).exit_code == 0
        assert json.loads(invoke("library", "list", "--json").stdout)["watched"] is watched


def test_an_estimate_measures_and_writes_nothing(invoke: Invoke, sound: Path, tmp_path: Path) -> None:
    music = tmp_path / "music"
    for folder in ("a", "b"):
        (music / folder).mkdir(parents=True)
        for number in range(3):
            (music / folder / f"{number}.wav").write_bytes(sound.read_bytes())
    found = json.loads(invoke("estimate", str(music), "--json").stdout)
    assert (found["files"], found["directories"], found["sampled"]) == (6, 2, 6)
    assert found["audio_bytes"] == 6 * sound.stat().st_size
    assert 0 < found["seconds_low"] <= found["seconds"] <= found["seconds_high"]
    shown = invoke("estimate", str(music)).stdout
    assert "6 in 2 folders" in shown
    empty = tmp_path / "empty"
    empty.mkdir()
    assert invoke("estimate", str(empty)).exit_code == 1


@pytest.mark.parametrize(
    ("seconds", "said"), [(40, "40 s"), (119.4, "119 s"), (720, "12 min"), (12600, "3.5 h"), (181440, "2.1 days")]
)
def test_durations_as_people_say_them(seconds: float, said: str) -> None:
    assert time_text(seconds) == said


@pytest.mark.parametrize(("size", "said"), [(12, "12 B"), (12_345_000_000, "12.3 GB"), (2.5e12, "2.5 TB")])
def test_sizes_as_people_say_them(size: float, said: str) -> None:
    assert size_text(size) == said


def test_a_search_finds_counts_and_pages(invoke: Invoke, seeded: Seeded) -> None:
    assert [json.loads(line)["file_name"] for line in invoke("search", "--json", "bpm:128").stdout.splitlines()] == [
        "one.mp3",
        "two.mp3",
    ]
    assert "A Title" in invoke("search", "title").stdout
    assert invoke("search", "bpm:128", "--count").stdout == "2\n"
    assert json.loads(invoke("search", "--facets", "--json").stdout)["camelot"] == {"8A": 2}
    assert "8A 2" in invoke("search", "--facets").stdout
    page = invoke("search", "sort:bpm", "--limit", "1").stdout
    mark = page.rpartition("--after ")[2].strip()
    assert "1 of 3" in page
    assert "HYPERLINK" in invoke("search", "sort:bpm", "--limit", "1", "--after", mark).stdout
    assert "Nothing was found" in invoke("search", "nothing", "like", "this").stdout


def test_a_query_that_cannot_be_read_is_told_with_its_place(invoke: Invoke, seeded: Seeded) -> None:
    told = invoke("search", "night bpm:fast")
    assert told.exit_code == 2
    lines = told.stderr.splitlines()
    assert lines[0] == "'fast' is no number."
    assert lines[2].index("^") == lines[1].index("fast")
