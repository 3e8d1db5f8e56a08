"""Where there is work: the survey reads no file, and a disk that is gone never empties a library."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from map4_pipeline.ingest import survey as module
from map4_pipeline.ingest.scan import ScanOptions
from map4_pipeline.library.model import DirectoryListing, UnreadableEntry
from map4_pipeline.library.walk import walk
from map4_pipeline.store.errors import InfrastructureError

from .music import Shelf, counts


def fill(shelf: Shelf, directories: int = 3, files: int = 2) -> None:
    """Fill a shelf with files that fail quickly: the survey does not care."""
    for directory in range(directories):
        folder = shelf.root / f"d{directory}"
        folder.mkdir()
        for number in range(files):
            (folder / f"{number}.mp3").write_bytes(b"no audio %d %d" % (directory, number))


def states(shelf: Shelf) -> dict[str, bool]:
    """Return {path: missing}."""
    return {path: row["missing_since"] is not None for path, row in shelf.tracks().items()}


def test_a_library_whose_root_is_gone_is_left_as_it_is(shelf: Shelf, tmp_path: Path) -> None:
    fill(shelf)
    shelf.visit()
    library = shelf.library()
    shelf.root.rename(tmp_path / "elsewhere")
    session = module.survey(shelf.engine, library, shelf.bench.settings)
    assert session.refusal is not None
    assert "is not there" in session.refusal
    assert str(shelf.root) in session.refusal
    assert session.touched == []
    assert not any(states(shelf).values())


def test_a_library_that_is_suddenly_empty_is_left_as_it_is(shelf: Shelf) -> None:
    fill(shelf)
    shelf.visit()
    shutil.rmtree(shelf.root)
    shelf.root.mkdir()
    (shelf.root / ".hidden").touch()  # what a mount point looks like
    visit = shelf.visit()
    assert len(visit.session.refusals) == 1
    assert "is empty, although it had files" in visit.session.refusals[0]
    assert visit.touched == []
    assert not any(states(shelf).values())
    assert shelf.rows("SELECT status, message FROM scans ORDER BY id DESC LIMIT 1") == [
        {"status": "guarded", "message": visit.session.refusals[0]}
    ]


def test_the_guard_holds_for_a_run_over_partitions_too(shelf: Shelf) -> None:
    fill(shelf)
    shelf.visit()
    keys = [row["partition_key"] for row in shelf.rows("SELECT partition_key FROM directories ORDER BY id")]
    shutil.rmtree(shelf.root)
    shelf.root.mkdir()
    scope = shelf.bench.scope(keys, "run")
    with pytest.raises(InfrastructureError, match="is empty, although it had files"):
        shelf.bench.scan(scope, ScanOptions())
    assert not any(states(shelf).values())
    shelf.root.rmdir()
    with pytest.raises(InfrastructureError, match="is not there"):
        shelf.bench.scan(scope, ScanOptions(confirm_loss=True))
    assert not any(states(shelf).values())


def test_a_confirmed_loss_marks_the_tracks_missing_and_deletes_nothing(shelf: Shelf) -> None:
    fill(shelf)
    shelf.visit()
    shutil.rmtree(shelf.root)
    shelf.root.mkdir()
    visit = shelf.visit(confirm_loss=True)
    assert visit.session.refusals == []
    assert counts(visit.ledger) == {"missing": 6}
    assert all(states(shelf).values())
    assert len(states(shelf)) == 6


def test_an_empty_folder_is_an_empty_library(shelf: Shelf) -> None:
    visit = shelf.visit()
    assert visit.session.refusals == []
    assert counts(visit.ledger) == {}


@pytest.mark.skipif(os.name != "posix", reason="not applicable: permissions as on Unix")
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="not applicable: root may read everything")
def test_a_root_that_may_not_be_read_is_left_as_it_is(shelf: Shelf) -> None:
    fill(shelf)
    shelf.visit()
    shelf.root.chmod(0)
    try:
        visit = shelf.visit()
    finally:
        shelf.root.chmod(0o700)
    assert "permission denied" in visit.session.refusals[0]
    assert not any(states(shelf).values())


def test_too_much_lost_at_once_changes_nothing_until_it_is_confirmed(shelf: Shelf) -> None:
    shelf.bench.settings = shelf.bench.settings.model_copy(update={"guard_files": 4, "guard_share": 0.5})
    fill(shelf, directories=4)
    shelf.visit()
    shutil.rmtree(shelf.root / "d0")
    shutil.rmtree(shelf.root / "d1")
    just_half = shelf.visit()
    assert just_half.session.refusals == []  # 4 of 8: not more than half
    assert just_half.ledger.missing == 4
    fill_again = shelf.root / "d0"
    fill_again.mkdir()
    for number in range(4):
        (fill_again / f"{number}.mp3").write_bytes(b"new %d" % number)
    shelf.visit()
    for name in ("d0", "d2"):
        shutil.rmtree(shelf.root / name)
    (shelf.root / "d3/0.mp3").unlink()
    before = states(shelf)
    refused = shelf.visit()
    assert len(refused.session.refusals) == 1
    assert "7 of 8 files" in refused.session.refusals[0]
    assert states(shelf) == before
    confirmed = shelf.visit(confirm_loss=True)
    assert confirmed.session.refusals == []
    assert sum(not missing for missing in states(shelf).values()) == 1


def test_renaming_every_folder_is_no_loss(shelf: Shelf) -> None:
    shelf.bench.settings = shelf.bench.settings.model_copy(update={"guard_files": 1, "guard_share": 0.1})
    fill(shelf)
    shelf.visit()
    for folder in list(shelf.root.iterdir()):
        folder.rename(shelf.root / f"new {folder.name}")
    visit = shelf.visit()
    assert visit.session.refusals == []
    assert visit.ledger.seen == 6


def test_vanished_directories_come_first_and_the_rest_in_the_order_of_the_walk(shelf: Shelf) -> None:
    fill(shelf, directories=4)
    shelf.visit()
    shutil.rmtree(shelf.root / "d2")
    (shelf.root / "a0").mkdir()
    (shelf.root / "a0/x.mp3").write_bytes(b"new")
    (shelf.root / "d1/x.mp3").write_bytes(b"new")
    session = shelf.open()
    assert [d.relative_path for d in session.touched if d.relative_path] == [b"d2", b"a0", b"d1"]
    sizes = session.sizes
    assert sorted(sizes.values())[-2:] == [3, 3 + len(b"no audio 1 0") * 2]


def test_an_unchanged_library_has_no_touched_directory_and_verify_touches_all(shelf: Shelf) -> None:
    fill(shelf)
    shelf.visit()
    assert shelf.visit().touched == []
    session = shelf.open(everything=True)
    assert len(session.touched) == 4  # the root is one


def test_a_directory_that_was_not_finished_is_touched_again(shelf: Shelf) -> None:
    fill(shelf)
    shelf.visit()
    with shelf.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE directories SET settled_at = NULL WHERE path_text = 'd1'")
    assert shelf.visit().touched == [b"d1"]


def closed_folder(monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    """Let the system refuse to list a folder (root may list everything, so permissions will not do)."""
    from map4_pipeline.ingest import scan

    def unreadable() -> DirectoryListing:
        entry = UnreadableEntry(b"", "The folder cannot be listed: permission denied.", is_directory=True)
        return DirectoryListing(name, (), (), (entry,), b"\1" * 32)

    def closed_walk(root: bytes) -> Iterator[DirectoryListing]:
        for listing in walk(root):
            if listing.relative_path == name:
                yield unreadable()
            elif not listing.relative_path.startswith(name + b"/"):
                yield listing

    real = scan.list_directory

    def closed_list(root: bytes, path: bytes, **how: Any) -> DirectoryListing | None:
        return unreadable() if path == name else real(root, path, **how)

    monkeypatch.setattr(module, "walk", closed_walk)
    monkeypatch.setattr(scan, "list_directory", closed_list)


def test_nothing_is_missing_in_a_folder_that_cannot_be_opened(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(shelf)
    (shelf.root / "d1/below").mkdir()
    (shelf.root / "d1/below/x.mp3").write_bytes(b"deep")
    shelf.bench.settings = shelf.bench.settings.model_copy(update={"guard_files": 2, "guard_share": 0.01})
    shelf.visit()
    with monkeypatch.context() as patch:
        closed_folder(patch, b"d1")
        for _ in range(2):  # the second look finds a settled directory
            visit = shelf.visit()
            assert visit.session.refusals == []
            assert counts(visit.ledger) == {"seen": 5, "failed": 5}
            assert visit.ledger.reconciles
            assert not any(states(shelf).values())
        row = shelf.tracks()["d1"]
        assert (row["status"], row["error_kind"]) == ("failed", "unreadable_folder")
    visit = shelf.visit()
    assert visit.ledger.reconciles
    assert "d1" not in shelf.tracks()
    assert len(shelf.tracks()) == 7


def test_progress_tells_directories_and_files(shelf: Shelf) -> None:
    fill(shelf)
    told: list[tuple[int, int]] = []
    shelf.open(on_directory=lambda directories, files: told.append((directories, files)))
    assert told[0] == (1, 0)
    assert told[-1] == (4, 6)
    assert told == sorted(told)


def test_the_fingerprint_of_a_state_changes_with_the_state_only(shelf: Shelf) -> None:
    fill(shelf)
    first = shelf.open()
    keys = [d.partition_key for d in first.touched]
    assert first.fingerprint(keys) == shelf.open().fingerprint(keys)
    (shelf.root / "d1/0.mp3").write_bytes(b"changed")
    assert first.fingerprint(keys) != shelf.open().fingerprint(keys)
