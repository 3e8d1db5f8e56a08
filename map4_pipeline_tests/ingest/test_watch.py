"""A look at watched folders: two looks have to agree, nothing is missed, a budget is kept, and no loss is believed at once."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from map4_pipeline.ingest import watch
from map4_pipeline.ingest.scan import ScanOptions
from map4_pipeline.ingest.watch import Look, launched

from .music import Shelf


class Watcher:
    """A shelf, and looks at it; time passes between looks."""

    def __init__(self, shelf: Shelf, **settings: Any) -> None:
        self.shelf = shelf
        self.settings = shelf.bench.settings.model_copy(update={"watch_settle_seconds": 5.0, **settings})

    def look(self, later: float = 10.0, **how: Any) -> Look:
        """Look once, `later` seconds after what was written down so far."""
        moments = {"watch_candidates": ("found_at", "changed_at", "seen_at"), "watch_sweeps": ("begun_at", "completed_at")}
        with self.shelf.engine.begin() as conn:
            for table, columns in moments.items():
                changes = ", ".join(f"{column} = {column} - :later" for column in columns)
                conn.execute(text(f"UPDATE {table} SET {changes}"), {"later": timedelta(seconds=later)})
        return watch.look(self.shelf.engine, self.settings, **how)

    def run(self, found: Look) -> None:
        """Do what the run of the ready directories does."""
        launched(self.shelf.engine, found.ready)
        bench = self.shelf.bench
        scope = bench.scope([ready.partition_key for ready in found.ready], "a run")
        bench.scan(scope, ScanOptions())
        bench.analyse(scope, ("features", "fingerprint"))
        bench.vectors(scope)


@pytest.fixture
def watcher(shelf: Shelf) -> Watcher:
    for folder in ("a", "b", "c/d"):
        (shelf.root / folder).mkdir(parents=True)
        for number in range(3):
            (shelf.root / folder / f"{number}.mp3").write_bytes(f"no audio {folder} {number}".encode())
    shelf.visit()
    return Watcher(shelf)


def paths(found: Look) -> list[bytes]:
    return sorted(ready.relative_path for ready in found.ready)


def test_nothing_changed(watcher: Watcher) -> None:
    found = watcher.look()
    # The root holds no files and is looked at all the same.
    assert (found.ready, found.waiting, found.directories, found.complete) == ([], 0, 4, 1)


def test_a_change_is_taken_when_two_looks_agree(watcher: Watcher) -> None:
    new = watcher.shelf.root / "e" / "new.mp3"
    new.parent.mkdir()
    new.write_bytes(b"half")
    assert (watcher.look().ready, watcher.look(0).ready) == ([], [])  # the second look comes too soon
    new.write_bytes(b"half, and the other half")
    assert watcher.look().ready == []
    found = watcher.look()
    assert paths(found) == [b"e"]
    watcher.run(found)
    after = watcher.look()
    assert (after.ready, after.waiting) == ([], 0)
    assert watcher.shelf.tracks()["e/new.mp3"]["status"] == "failed"


def test_new_changed_and_vanished_directories_in_one_look(watcher: Watcher) -> None:
    root = watcher.shelf.root
    shutil.rmtree(root / "a")
    (root / "b" / "3.mp3").write_bytes(b"one more")
    (root / "c" / "new").mkdir()
    (root / "c" / "new" / "1.mp3").write_bytes(b"first")
    watcher.look()
    found = watcher.look()
    assert paths(found) == [b"a", b"b", b"c/new"]
    watcher.run(found)
    rows = watcher.shelf.tracks()
    assert [path for path, row in rows.items() if row["missing_since"] is not None] == ["a/0.mp3", "a/1.mp3", "a/2.mp3"]
    assert watcher.look().ready == []


def test_what_goes_back_to_what_it_was_is_forgotten(watcher: Watcher) -> None:
    extra = watcher.shelf.root / "b" / "extra.mp3"
    extra.write_bytes(b"for a moment")
    assert watcher.look().waiting == 1
    extra.unlink()
    found = watcher.look()
    assert (found.ready, found.waiting) == ([], 0)


def test_a_directory_in_flight_is_left_alone(watcher: Watcher) -> None:
    (watcher.shelf.root / "b" / "3.mp3").write_bytes(b"one more")
    watcher.look()
    key = watcher.shelf.value("SELECT partition_key FROM directories WHERE path_text = 'b'")
    assert watcher.look(busy_keys={key}).ready == []
    assert watcher.look(busy_libraries={watcher.shelf.library().id}).ready == []
    assert paths(watcher.look()) == [b"b"]


def test_directories_in_flight_do_not_hold_up_those_that_wait_behind_them(shelf: Shelf, watcher: Watcher) -> None:
    """More of them than one run takes."""
    few = Watcher(shelf, chunk_directories=1)
    for name in ("a", "b", "c/d"):
        (shelf.root / name / "3.mp3").write_bytes(b"one more")
        few.look()
    keys = {row["partition_key"] for row in shelf.rows("SELECT partition_key FROM directories WHERE path_text IN ('a', 'b')")}
    assert paths(few.look(busy_keys=keys)) == [b"c/d"]
    assert len(few.look().ready) == 1


def test_three_runs_that_settle_nothing_are_enough(watcher: Watcher) -> None:
    (watcher.shelf.root / "b" / "3.mp3").write_bytes(b"one more")
    watcher.look()
    states = set()
    for _ in range(watch.MAX_ATTEMPTS):
        found = watcher.look()
        states.update(ready.state for ready in found.ready)
        launched(watcher.shelf.engine, found.ready)
    assert len(states) == watch.MAX_ATTEMPTS, "each launch has to be told from the one before"
    given_up = watcher.look()
    assert (given_up.ready, given_up.given_up) == ([], 1)
    (watcher.shelf.root / "b" / "4.mp3").write_bytes(b"a change")
    watcher.look()
    assert paths(watcher.look()) == [b"b"]


def test_a_budget_is_kept_within_a_page_too_and_the_next_look_goes_on(watcher: Watcher) -> None:
    shutil.rmtree(watcher.shelf.root / "a")
    (watcher.shelf.root / "c" / "d" / "new.mp3").write_bytes(b"new")
    ticks = iter(range(10**6))  # the clock moves a second whenever it is asked

    def slow() -> float:
        return float(next(ticks))

    hasty = Watcher(watcher.shelf, watch_budget_seconds=2.0)
    seen: set[bytes] = set()
    looks = 0
    while seen != {b"a", b"c/d"}:
        found = hasty.look(clock=slow)
        assert found.directories <= 4, "a look takes its share only"
        seen.update(paths(found))
        looks += 1
        assert looks < 40
    assert looks > 3


def test_a_library_that_lost_much_at_once_is_refused_until_it_is_back(watcher: Watcher) -> None:
    strict = Watcher(watcher.shelf, guard_files=2)
    aside = watcher.shelf.root.parent / "aside"
    shutil.move(watcher.shelf.root / "a", aside)
    for _ in range(3):
        found = strict.look()
        assert found.ready == []
    assert "3 of 9 files" in found.refusals[0]
    # What is new is taken all the same.
    (watcher.shelf.root / "b" / "3.mp3").write_bytes(b"one more")
    strict.look()
    assert paths(strict.look()) == [b"b"]
    shutil.move(aside, watcher.shelf.root / "a")
    back = strict.look()
    assert back.refusals == []
    assert strict.look().refusals == []


def test_a_folder_that_was_renamed_is_no_loss(watcher: Watcher) -> None:
    strict = Watcher(watcher.shelf, guard_files=2)
    (watcher.shelf.root / "a").rename(watcher.shelf.root / "z")
    strict.look()
    strict.look()
    found = strict.look()
    assert found.refusals == []
    assert paths(found) == [b"a", b"z"]


def test_a_root_that_is_gone_or_empty_is_told_and_changes_nothing(watcher: Watcher, tmp_path: Path) -> None:
    root = watcher.shelf.root
    root.rename(tmp_path / "unplugged")
    for _ in range(2):
        found = watcher.look()
        assert found.ready == []
        assert "is not there" in found.refusals[0]
    root.mkdir()
    assert "is empty" in watcher.look().refusals[0]
    root.rmdir()
    (tmp_path / "unplugged").rename(root)
    assert watcher.look().refusals == []
    assert watcher.look().ready == []
