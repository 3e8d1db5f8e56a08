"""Corrections win, survive whatever is written later, and can be taken back to what holds by then."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, select, update

from map4_pipeline.hamms.vector import normalised_bpm, normalised_key
from map4_pipeline.store.corrections import correct, withdraw
from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.libraries import register_library
from map4_pipeline.store.schema import analyses, directories, track_edits, tracks
from map4_pipeline.store.tracks import TrackResult, save_results

MEASURED = {"bpm": 64.0, "bpm_confidence": 0.4, "key": "A minor", "camelot": "8A", "key_confidence": 0.7, "energy": 0.3}


@pytest.fixture
def track_id(engine: Engine, tmp_path: Path) -> int:
    with engine.begin() as conn:
        library = register_library(conn, tmp_path)
        register_directories(conn, library, [b""])
        place = {"library_id": library.id, "directory_id": conn.execute(select(directories.c.id)).scalar_one()}
        at = {"relative_path": b"a.mp3", "file_name": "a.mp3", "file_path": "/m/a.mp3", "status": "ok", "audio_hash": "x"}
        vector = {"hamms_vector": {"bpm": 0.1}, "features_version": "1"}
        row = place | at | MEASURED | vector | {"title": "Old", "artist": "Someone"}
        payload = {"features": MEASURED | {"energy": 0.3, "danceability": 0.5}}
        conn.execute(insert(analyses).values(audio_hash="x", stage="features", engine="map4", version="1", payload=payload))
        return int(conn.execute(insert(tracks).values(**row).returning(tracks.c.id)).scalar_one())


def track(conn: Connection, track_id: int) -> Any:
    return conn.execute(select(tracks).where(tracks.c.id == track_id)).one()


def result(track_id: int, **more: Any) -> TrackResult:
    return TrackResult(track_id=track_id, **more)


def test_a_correction_stands_in_the_column_and_the_measured_value_beside_it(engine: Engine, track_id: int) -> None:
    with engine.begin() as conn:
        changes = correct(conn, track_id, {"bpm": 128, "key": "8B", "title": " New "}, user_name="anna")
        assert changes == {"bpm": (64.0, 128.0), "key": ("A minor", "C major"), "title": ("Old", "New")}
        found = track(conn, track_id)
    assert (found.bpm, found.bpm_confidence, found.key, found.camelot, found.title) == (128.0, 1.0, "C major", "8B", "New")
    assert found.corrections["bpm"]["original"] == {"bpm": 64.0, "bpm_confidence": 0.4}
    assert found.corrections["key"]["by"] == "anna"
    assert found.hamms_vector["bpm"] == pytest.approx(normalised_bpm(128), abs=1e-6)
    assert found.hamms_vector["key"] == pytest.approx(normalised_key("C major"), abs=1e-6)
    assert found.hamms_vector["danceability"] == 0.5


def test_a_correction_survives_a_new_analysis_and_new_tags(engine: Engine, track_id: int) -> None:
    with engine.begin() as conn:
        correct(conn, track_id, {"bpm": 128, "title": "Mine"})
        newer = MEASURED | {"bpm": 63.5, "bpm_confidence": 0.6, "energy": 0.9, "null_reasons": {}, "findings": []}
        save_results(conn, [result(track_id, features=newer, tags={"title": "Retagged", "artist": "Other", "tags": {}})], "1")
        found = track(conn, track_id)
        assert (found.bpm, found.bpm_confidence, found.title) == (128.0, 1.0, "Mine")
        assert (found.energy, found.artist) == (0.9, "Other")
        assert withdraw(conn, track_id) == {"bpm": (128.0, 63.5), "title": ("Mine", "Retagged")}
        found = track(conn, track_id)
    assert (found.bpm, found.bpm_confidence, found.title, found.corrections) == (63.5, 0.6, "Retagged", {})


def test_a_measurement_that_agrees_with_the_correction_is_what_comes_back(engine: Engine, track_id: int) -> None:
    with engine.begin() as conn:
        correct(conn, track_id, {"bpm": 128})
        newer = MEASURED | {"bpm": 128.0, "bpm_confidence": 0.9, "null_reasons": {}, "findings": []}
        save_results(conn, [result(track_id, features=newer)], "1")
        withdraw(conn, track_id, ["bpm"])
        found = track(conn, track_id)
    assert (found.bpm, found.bpm_confidence) == (128.0, 0.9)


def test_a_file_that_fails_later_keeps_the_correction_and_nothing_measured(engine: Engine, track_id: int) -> None:
    with engine.begin() as conn:
        correct(conn, track_id, {"bpm": 128})
        save_results(conn, [result(track_id, error_kind="damaged", error_message="It is damaged.")], "1")
        found = track(conn, track_id)
        assert (found.status, found.bpm, found.key) == ("failed", 128.0, None)
        withdraw(conn, track_id)
        assert track(conn, track_id).bpm is None


def test_correcting_twice_keeps_what_was_measured(engine: Engine, track_id: int) -> None:
    with engine.begin() as conn:
        correct(conn, track_id, {"bpm": 128})
        correct(conn, track_id, {"bpm": 130})
        assert withdraw(conn, track_id, ["bpm"]) == {"bpm": (130.0, 64.0)}


def test_other_writers_need_not_know(engine: Engine, track_id: int) -> None:
    with engine.begin() as conn:
        correct(conn, track_id, {"genre": "House"})
        conn.execute(update(tracks).where(tracks.c.id == track_id).values(genre="Pop", file_size=7))
        found = track(conn, track_id)
    assert (found.genre, found.file_size) == ("House", 7)


def test_who_changed_what_is_kept(engine: Engine, track_id: int) -> None:
    with engine.begin() as conn:
        correct(conn, track_id, {"year": 1999})
        withdraw(conn, track_id)
        edits = conn.execute(
            select(track_edits.c.field, track_edits.c.before, track_edits.c.after).order_by(track_edits.c.id)
        ).all()
    assert [tuple(edit) for edit in edits] == [("year", None, 1999), ("year", 1999, None)]


def test_clearing_a_tag_is_a_correction_too(engine: Engine, track_id: int) -> None:
    with engine.begin() as conn:
        correct(conn, track_id, {"artist": "  "})
        assert track(conn, track_id).artist is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"bpm": "fast"}, "bpm has to be a number"),
        ({"bpm": float("nan")}, "bpm has to be a number"),
        ({"bpm": True}, "bpm has to be a number"),
        ({"key": "H"}, "key has to be a key"),
        ({"year": 20}, "year has to be a whole number"),
        ({"title": 7}, "title has to be text"),
        ({"title": "x" * 20_001}, "longer"),
        ({"file_path": "/etc/passwd"}, "cannot be corrected"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(engine: Engine, track_id: int, values: dict[str, Any], said: str) -> None:
    with engine.begin() as conn, pytest.raises(StoreError, match=said):
        correct(conn, track_id, {"genre": "House"} | values)
    with engine.connect() as conn:
        assert track(conn, track_id).corrections == {}
    with engine.begin() as conn, pytest.raises(StoreError, match="no track"):
        correct(conn, track_id + 1, {"genre": "House"})
