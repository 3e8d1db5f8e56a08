"""`map4 tags`: shown first, written on request, the library kept true, and put back."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from map4_pipeline.library.model import Tags
from map4_pipeline.library.tag_writer import read_native, write_tags
from map4_pipeline.settings import Settings
from map4_pipeline.store.corrections import correct

from ..ingest.music import Shelf, counts
from .conftest import Invoke, Outcome

BELL = "a\x1b[2Jb.mp3"


@pytest.fixture
def shelf(engine: Engine, settings: Settings, tmp_path: Path) -> Shelf:
    shelf = Shelf(engine, settings, tmp_path / "Music")
    write_tags(shelf.add("a/1.mp3", 1), Tags(title="One", genre="House", bpm=90.0))
    shelf.add(f"a/{BELL}", 2)
    write_tags(shelf.add("b/3.flac", 3), Tags(bpm=100.0))
    shelf.visit()
    rows = shelf.tracks()
    with engine.begin() as conn:
        for name in ("a/1.mp3", f"a/{BELL}"):
            correct(conn, rows[name]["id"], {"bpm": 127.96, "key": "A minor", "energy": 0.68})
    return shelf


def objects(outcome: Outcome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def contents(shelf: Shelf) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in shelf.root.rglob("*") if path.is_file()}


def test_shown_written_known_to_the_library_and_put_back(shelf: Shelf, invoke: Invoke, settings: Settings) -> None:
    before, rows = contents(shelf), shelf.tracks()
    shown = invoke("tags", "write")
    assert shown.exit_code == 0
    assert "TBPM: 90 -> 128" in shown.stdout
    assert "TKEY: - -> Am" in shown.stdout
    assert "Nothing was written" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert contents(shelf) == before
    assert not (settings.home / "undo").exists()

    done = invoke("tags", "write", "--yes", "--key-notation", "camelot", "--json")
    assert done.exit_code == 0
    *files, last = objects(done)
    assert [file["status"] for file in files] == ["written"] * 3
    assert last["summary"]["written"] == 3
    first = read_native(shelf.root / "a/1.mp3").values
    assert (first["TBPM"], first["TKEY"], first["TXXX:EnergyLevel"]) == (["128"], ["8A"], ["7"])
    statement = "SELECT payload->'features'->>'replaygain_db' FROM analyses WHERE audio_hash = :hash AND stage = 'features'"
    gain = shelf.value(statement, hash=rows["a/1.mp3"]["audio_hash"])
    assert first["TXXX:REPLAYGAIN_TRACK_GAIN"] == [f"{float(gain):.2f} dB"]
    assert read_native(shelf.root / "b/3.flac").values["REPLAYGAIN_TRACK_GAIN"][0].endswith(" dB")

    # The rows know the new tags already: nothing is decoded, each track is the one it was, and a refresh finds nothing.
    after = shelf.tracks()
    assert {name: (row["id"], row["audio_hash"]) for name, row in after.items()} == {
        name: (row["id"], row["audio_hash"]) for name, row in rows.items()
    }
    assert (after["a/1.mp3"]["tags_bpm"], after["a/1.mp3"]["tags_key"], after["a/1.mp3"]["title"]) == (128, "8A", "One")
    assert {row["file_size"] for row in after.values()} == {path.stat().st_size for path in contents(shelf)}
    assert shelf.value("SELECT sum(decodes) FROM scans WHERE kind <> 'full'") == 0
    assert counts(shelf.visit().ledger) == {"seen": 3, "unchanged": 3}
    again = invoke("tags", "write", "--yes", "--key-notation", "camelot", "--json")
    assert objects(again)[-1]["summary"]["unchanged"] == 3
    assert objects(again)[-1]["summary"]["undo_file"] is None

    (undo,) = (settings.home / "undo").iterdir()
    back = invoke("tags", "undo", undo.name)
    assert back.exit_code == 0
    assert "3 restored" in back.stdout
    assert read_native(shelf.root / "a/1.mp3").values == {"TIT2": ["One"], "TCON": ["House"], "TBPM": ["90"]}
    assert shelf.tracks()["a/1.mp3"]["tags_bpm"] == 90
    assert counts(shelf.visit().ledger) == {"seen": 3, "unchanged": 3}
    assert "3 as it should be already" in invoke("tags", "undo", str(undo)).stdout


def test_the_next_ingest_sees_a_retag(shelf: Shelf, invoke: Invoke) -> None:
    before = shelf.tracks()
    assert invoke("tags", "write", "genre:house", "--yes", "--no-refresh").exit_code == 0
    assert shelf.tracks()["a/1.mp3"]["tags_bpm"] == 90
    # What is on disk is not what was scanned: not written again before the library has seen it.
    refused = invoke("tags", "write", "genre:house", "--fields", "key", "--key-notation", "open", "--yes", "--json")
    assert refused.exit_code == 1
    assert "changed since the last scan" in objects(refused)[0]["reason"]
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 3, "reused": 1, "unchanged": 2}
    assert visit.summary.effort.decodes == 0
    after = shelf.tracks()["a/1.mp3"]
    assert (after["id"], after["tags_bpm"]) == (before["a/1.mp3"]["id"], 128)


def test_what_is_doubtful_or_not_asked_for_is_left_out(shelf: Shelf, invoke: Invoke, engine: Engine) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql(
            "UPDATE tracks SET bpm = 120.5, bpm_confidence = 0.4, key = 'C major', key_confidence = 0.8, energy = NULL"
            " WHERE file_name = '3.flac'"
        )
    arguments = ("tags", "write", "format:flac", "--json")
    (line, last) = objects(invoke(*arguments))
    assert line["withheld"] == {"bpm": "doubtful (confidence 0.40)", "energy": "not measured"}
    assert {change["field"] for change in line["changes"]} == {"key", "replaygain"}
    assert last["summary"]["withheld"] == {"bpm": 1, "energy": 1}
    (line, _) = objects(invoke(*arguments, "--min-confidence", "0.4", "--fields", "bpm,key"))
    assert [(c["field"], c["name"], c["old"], c["new"]) for c in line["changes"]] == [
        ("bpm", "BPM", "100", "120.5"),
        ("key", "INITIALKEY", None, "C"),
    ]
    (line, _) = objects(invoke(*arguments, "--min-confidence", "0", "--only-empty"))
    assert "bpm" not in {change["field"] for change in line["changes"]}


def test_a_file_that_may_not_be_changed_is_named_and_the_others_are_written(shelf: Shelf, invoke: Invoke) -> None:
    (shelf.root / "a/1.mp3").chmod(0o444)
    content = (shelf.root / "a/1.mp3").read_bytes()
    done = invoke("tags", "write", "--yes", "--fields", "replaygain", "--no-refresh")
    assert done.exit_code == 1
    assert "left as it is: The file is read-only." in done.stdout
    assert "2 written, 1 left as they are (refused)" in done.stdout
    assert (shelf.root / "a/1.mp3").read_bytes() == content
    # No file of ours stays behind.
    assert sorted(os.listdir(shelf.root / "a")) == sorted(["1.mp3", BELL])


def test_nothing_is_written_without_an_undo_file(shelf: Shelf, invoke: Invoke, settings: Settings) -> None:
    before = contents(shelf)
    (settings.home / "undo").write_text("in the way")
    outcome = invoke("tags", "write", "--yes")
    assert outcome.exit_code == 3
    assert "cannot be written down" in outcome.stderr
    assert contents(shelf) == before


def test_files_are_where_this_machine_has_them(
    shelf: Shelf, invoke: Invoke, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE libraries SET root = '/elsewhere/Music', root_text = '/elsewhere/Music'")
    assert "is gone" in invoke("tags", "write", "genre:house").stdout
    monkeypatch.setenv("MAP4_PATH_MAP", f"/elsewhere/Music={shelf.root}")
    assert invoke("tags", "write", "genre:house", "--yes").exit_code == 0
    assert read_native(shelf.root / "a/1.mp3").values["TBPM"] == ["128"]


def test_show_needs_no_database(shelf: Shelf, invoke: Invoke, tmp_path: Path) -> None:
    assert "TBPM: 90" in invoke("tags", "show", str(shelf.root / "a/1.mp3")).stdout
    (said,) = objects(invoke("tags", "show", "--json", str(shelf.root / "a/1.mp3")))
    assert said["tags"] == [{"field": "bpm", "name": "TBPM", "value": "90"}]
    assert invoke("tags", "show", str(tmp_path / "gone.mp3")).exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("write", "--fields", "mood"),
        ("write", "bpm:fast"),
        ("write", "--key-notation", "solfege"),
        ("undo", "gone.jsonl"),
        ("undo", "/dev/null"),
        ("show",),
    ],
)
def test_wrong_use_is_told(settings: Settings, invoke: Invoke, arguments: tuple[str, ...]) -> None:
    outcome = invoke("tags", *arguments)
    assert outcome.exit_code == 2
    assert "Traceback" not in outcome.stderr
