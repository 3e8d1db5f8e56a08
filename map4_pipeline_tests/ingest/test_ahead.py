"""What is looked at before a run begins: used where the file is the one that the run's scan sees, and nowhere else."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from map4_pipeline.ingest.ahead import LookAhead
from map4_pipeline.ingest.pool import WorkerPool
from map4_pipeline.ingest.scan import ScanOptions
from map4_pipeline.ingest.session import Session
from map4_pipeline.ingest.worker import analyse_file, identify_file
from map4_pipeline.library.model import FileStat

from .music import BOTH, Shelf, counts, write_music


def _ahead(
    shelf: Shelf, session: Session, monkeypatch: pytest.MonkeyPatch, between: Callable[[], object]
) -> list[tuple[str, str]]:
    """Look ahead to its end, do something, then carry the session out; return what the run itself gave to workers."""
    given: list[tuple[str, str]] = []
    original = WorkerPool.submit

    def submit(pool: WorkerPool, function: Callable[..., Any], path: bytes, *args: Any) -> "Future[Any]":
        given.append((function.__name__, path.rsplit(b"/", 1)[-1].decode()))
        return original(pool, function, path, *args)

    monkeypatch.setattr(WorkerPool, "submit", submit)
    with shelf.bench.start_ahead(session) as pool:
        for thread in threading.enumerate():
            if thread.name == "look-ahead":
                thread.join()
        given.clear()
        between()
        shelf.bench.pool = pool
        scope = session.scope()
        shelf.bench.scan(scope, ScanOptions())
        shelf.bench.analyse(scope, BOTH)
        shelf.bench.vectors(scope)
    shelf.bench.pool = None
    return given


def test_a_run_takes_over_what_was_begun(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.add("a/1.wav", 1)
    shelf.add("b/2.flac", 2)
    shelf.add("b/copy.flac", 2)
    session = shelf.open()
    assert _ahead(shelf, session, monkeypatch, lambda: None) == []
    assert counts(session.finish()) == {"seen": 3, "analysed": 2, "reused": 1}
    plain = {name: row["hamms_vector"] for name, row in shelf.tracks().items()}
    assert all(plain.values())


def test_a_file_that_has_changed_since_is_read_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.add("1.wav", 1)
    shelf.add("2.wav", 2)
    session = shelf.open()
    given = _ahead(shelf, session, monkeypatch, lambda: write_music(shelf.root / "2.wav", 3, 2.5))
    assert given == [("identify_file", "2.wav"), ("analyse_file", "2.wav")]
    assert counts(session.finish()) == {"seen": 2, "analysed": 2}
    assert shelf.tracks()["2.wav"]["duration"] == pytest.approx(2.5, abs=0.01)


def test_known_audio_is_not_decoded_ahead(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.add("1.wav", 1)
    shelf.visit()
    (shelf.root / "1.wav").rename(shelf.root / "moved.wav")
    session = shelf.open()
    given = _ahead(shelf, session, monkeypatch, lambda: None)
    assert given == []
    assert counts(session.finish())["reused"] == 1
    assert shelf.value("SELECT sum(decodes) FROM scans") == 1


def test_what_a_run_has_asked_for_is_not_begun_twice(shelf: Shelf) -> None:
    path = bytes(shelf.add("1.wav", 1))
    stat = FileStat(1, 1)
    with shelf.bench.workers() as pool:
        ahead = LookAhead(pool, shelf.engine)
        assert ahead.take("hash", BOTH, "map4") is None
        assert ahead._begin(("hash", BOTH, "map4"), analyse_file, path, stat, BOTH, "map4") is None
        assert ahead._begin((path,), identify_file, path, stat) is not None
        ahead.stop()
        assert ahead._begin((b"/other",), identify_file, b"/other", stat) is None
