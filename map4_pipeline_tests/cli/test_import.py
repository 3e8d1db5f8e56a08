"""`map4 import`: what it tells, in words and as JSON, and how it refuses."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, insert, select

from map4_pipeline.settings import Settings
from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.libraries import register_library
from map4_pipeline.store.schema import deck_entries, directories, tracks

from ..reports.interchange.decks import REKORDBOX, TRAKTOR
from .conftest import HOSTILE, Invoke


@pytest.fixture
def folder(settings: Settings, engine: Engine, tmp_path: Path) -> Path:
    """A library with one track of the rekordbox collection, which lies beside it as c.xml."""
    root = tmp_path / "Music"
    root.mkdir()
    with engine.begin() as conn:
        library = register_library(conn, root)
        register_directories(conn, library, [b""])
        place = {"library_id": library.id, "directory_id": conn.execute(select(directories.c.id)).scalar_one()}
        name = "House/Ünder & Over.mp3"
        values = {
            "relative_path": name.encode(),
            "file_path": name,
            "file_name": name,
            "status": "ok",
            "title": HOSTILE,
            "bpm": 126.0,
        }
        conn.execute(insert(tracks).values(**place, **values))
    (tmp_path / "c.xml").write_text(REKORDBOX, "utf-8")
    return tmp_path


def test_it_tells_what_was_matched_and_what_differs(invoke: Invoke, folder: Path) -> None:
    outcome = invoke("import", str(folder / "c.xml"), "--path-map", f"{folder}/Music=C:/Music")
    assert outcome.exit_code == 0, outcome.stderr
    assert "4 entries of rekordbox, 1 matched (1 by path)." in outcome.stdout
    assert "Not in the library, kept for the next export: 3" in outcome.stdout
    assert "bpm 128.00 in rekordbox, 126.00 measured (+1.6%)" in outcome.stdout
    assert "Playlists: 2 in 3 folders." in outcome.stdout
    assert "\x1b" not in outcome.stdout
    assert "\u202e" not in outcome.stdout


def test_json_has_all_of_it(invoke: Invoke, folder: Path, engine: Engine) -> None:
    outcome = invoke("import", str(folder / "c.xml"), "--path-map", f"{folder}/Music=C:/Music", "--dry-run", "--json")
    found = json.loads(outcome.stdout)
    assert (found["dry_run"], found["entries"], found["matched"]) == (True, 4, {"path": 1})
    (difference,) = found["disagreements"]
    assert (difference["what"], difference["theirs"], difference["ours"]) == ("bpm", 128.0, 126.0)
    assert difference["path"].endswith("Ünder & Over.mp3")
    assert len(found["unmatched"]) == 3
    with engine.connect() as conn:
        assert conn.execute(select(func.count()).select_from(deck_entries)).scalar_one() == 0


def test_traktor_and_players_lists_come_in_too(invoke: Invoke, folder: Path) -> None:
    (folder / "c.nml").write_text(TRAKTOR, "utf-8")
    (folder / "p.m3u8").write_text(f"#EXTM3U\n{folder}/Music/House/Ünder & Over.mp3\n", "utf-8")
    outcome = invoke("import", str(folder / "c.nml"))
    assert outcome.exit_code == 0, outcome.stderr
    assert "1 smart playlists are searches in traktor" in outcome.stdout
    outcome = invoke("import", str(folder / "p.m3u8"))
    assert "Made: the playlist 'p'." in outcome.stdout
    assert "1 matched (1 by path)" in outcome.stdout


def test_what_comes_in_goes_out_again(invoke: Invoke, folder: Path) -> None:
    assert invoke("import", str(folder / "c.xml")).exit_code == 0
    target = folder / "out.xml"
    outcome = invoke("export", "--output", str(target), "--format", "rekordbox", "--new")
    assert outcome.exit_code == 0, outcome.stderr
    written = target.read_text("utf-8")
    assert '<COLLECTION Entries="5">' in written
    assert 'Name="New"' in written


@pytest.mark.parametrize(
    ("name", "content", "options", "reason"),
    [
        ("c.xml", "<html/>", (), "no file of rekordbox"),
        ("c.nml", "<NML><COLLECTION>", (), "cut off"),
        ("c.xml", "<!DOCTYPE x><DJ_PLAYLISTS/>", (), "document type declaration"),
        ("c.txt", "", (), "ends in .xml"),
        ("c.m3u8", "", ("--replace",), "--replace"),
        ("c.m3u8", "C:/Users/dj/Music/x.mp3\n", (), "Music=C:/Users/dj/Music'"),
        ("c.xml", "", ("--path-map", "x"), "FROM=TO"),
    ],
)
def test_what_cannot_be_imported_is_told(
    invoke: Invoke, folder: Path, name: str, content: str, options: tuple[str, ...], reason: str
) -> None:
    (folder / name).write_text(content)
    outcome = invoke("import", str(folder / name), *options)
    assert outcome.exit_code == 2
    assert reason in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize(
    "options",
    [("--format", "csv", "--new"), ("--format", "m3u8", "--measured"), ("--format", "m3u8", "--new", "--playlist", "x")],
)
def test_exports_refuse_what_they_do_not_have(invoke: Invoke, folder: Path, options: tuple[str, ...]) -> None:
    outcome = invoke("export", *options)
    assert outcome.exit_code == 2
    assert "--new" in outcome.stderr or "--measured" in outcome.stderr
