"""`map4 playlist`: sets built, shown, stored, edited; what cannot be kept is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update

from map4_pipeline.settings import Settings
from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.libraries import register_library
from map4_pipeline.store.schema import directories, export_history, tracks

from ..playlists.pools import mix_tracks
from .conftest import HOSTILE, Invoke


@pytest.fixture
def music(settings: Settings, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """Forty tracks that can be mixed, one with a hostile title and one without tempo and key."""
    root = tmp_path_factory.mktemp("Music")
    with engine.begin() as conn:
        library = register_library(conn, root)
        register_directories(conn, library, [b"mix"])
        directory = conn.execute(select(directories.c.id)).scalar_one()
        rows = []
        for n, track in enumerate(mix_tracks(40, 5)):
            values: dict[str, Any] = {
                "bpm": track.bpm,
                "bpm_confidence": track.bpm_confidence,
                "camelot": track.camelot,
                "key_confidence": track.key_confidence,
                "energy": track.energy,
                "loudness_lufs": track.loudness_lufs,
                "duration": track.duration,
                "artist": track.artist,
                "title": HOSTILE if n == 2 else track.title,
                "genre": "House" if n < 30 else "Jazz",
            }
            if n == 3:
                values |= {"bpm": None, "camelot": None}
            place = {"library_id": library.id, "directory_id": directory, "relative_path": f"mix/{n}.mp3".encode()}
            rows.append({**place, "file_path": f"{root}/mix/{n}.mp3", "file_name": f"{n}.mp3", "status": "ok", **values})
        return sorted(conn.scalars(insert(tracks).returning(tracks.c.id), rows))


QUICK = ("--rounds", "3")


def built(invoke: Invoke, *arguments: str) -> dict[str, Any]:
    outcome = invoke("playlist", "build", *arguments, *QUICK, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    found: dict[str, Any] = json.loads(outcome.stdout)
    return found


@pytest.mark.slow
def test_a_set_is_built_stored_and_shown_again(invoke: Invoke, music: list[int]) -> None:
    wished = ["--tracks", "18", "--curve", "peak", "--artist-gap", "3", "--max-drift", "6", "--seed", "4"]
    wished += ["--start", str(music[5]), "--must", str(music[2]), "--exclude", str(music[8])]
    found = built(invoke, *wished, "--name", "Friday")
    ids = [track["id"] for track in found["order"]]
    assert len(ids) == 18
    assert ids[0] == music[5]
    assert music[2] in ids
    assert music[8] not in ids
    assert music[3] not in ids
    artists = [track["artist"] for track in found["order"]]
    assert all(len(set(artists[place : place + 3])) == 3 for place in range(16))
    assert found["order"][0]["transition"] is None
    for track in found["order"][1:]:
        assert track["transition_quality"] == pytest.approx(track["transition"]["score"], abs=1e-5)
        assert track["transition"]["reason"]
    assert found["candidates"]["left_out"] == {"excluded": 1, "no tempo": 1}
    cost = found["cost"]
    assert cost["total"] == pytest.approx(sum(cost[part] for part in ("transition", "weakest", "energy", "tempo")), abs=1e-5)
    assert (found["kind"], found["seed"], found["parameters"]["wishes"]["artist_gap"]) == ("set", 4, 3)
    shown = json.loads(invoke("playlist", "show", "Friday", "--json").stdout)
    assert shown["order"] == found["order"]
    # The same wishes and seed, the same set.
    again = built(invoke, *wished, "--dry-run")
    assert again["order"] == found["order"]
    assert (again["id"], again["stored"]) == (None, False)
    assert len(invoke("playlist", "list", "--json").stdout.splitlines()) == 1


def test_what_is_printed_says_why(invoke: Invoke, music: list[int], engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(update(tracks).where(tracks.c.id == music[9]).values(findings=[{"code": "truncated"}]))
    invoke("playlist", "create", "Friday", str(music[0]))
    named = ("--must", str(music[2]), "--name", "Friday")
    outcome = invoke("playlist", "build", "--minutes", "40", "--curve", "0.2,0.9", *named, *QUICK)
    assert outcome.exit_code == 0
    assert "\x1b" not in outcome.stdout
    for words in ("energy      ", "wished      ▂", "cost        0.", "weakest transition", "seed        1", "39 candidates"):
        assert words in outcome.stdout
    assert "1 file that ends early left out" in outcome.stdout
    assert "Another playlist is called so as well (number 1); by its name none is found. This one is number 2." in outcome.stdout
    told = invoke("playlist", "show", "Friday").stderr
    assert "2 playlists are called 'Friday'" in told
    assert "\n  1  1 track, " in told
    assert " BPM" in outcome.stdout
    listed = invoke("playlist", "list").stdout
    assert "tracks" in listed
    assert listed.rstrip().endswith("set")


def test_the_filter_chooses_the_candidates(invoke: Invoke, music: list[int]) -> None:
    found = built(invoke, "--tracks", "4..6", "--filter", "genre:jazz", "--dry-run")
    assert {track["genre"] for track in found["order"]} == {"Jazz"}
    outcome = invoke("playlist", "build", "--tracks", "4", "--filter", "genre:jazz", "--start", str(music[0]))
    assert outcome.exit_code == 2
    assert "The start (track" in outcome.stderr
    assert "Widen the filter" in outcome.stderr
    refused = json.loads(invoke("playlist", "build", "--tracks", "14", "--filter", "genre:jazz", "--json").stdout)
    assert refused["status"] == "impossible"
    assert refused["conflicts"][0]["wishes"] == ["tracks", "filter"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "in tracks or in minutes"),
        (["--tracks", "many"], "is no number of tracks"),
        (["--tracks", "4.."], "is no number of tracks"),
        (["--tracks", "4", "--tolerance", "200"], "tolerance"),
        (["--tracks", "9..4"], "the fewest first"),
        (["--tracks", "4", "--curve", "zigzag"], "is no curve"),
        (["--tracks", "4", "--filter", "bmp:120"], "Did you mean bpm?"),
        (["--tracks", "4", "--weight", "energy"], "is no weight"),
        (["--tracks", "4", "--start", "nobody at all"], "There is no track"),
    ],
)
def test_wrong_use_is_told(arguments: list[str], said: str, invoke: Invoke, music: list[int]) -> None:
    outcome = invoke("playlist", "build", *arguments)
    assert outcome.exit_code == 2
    assert said in outcome.stderr


def test_a_name_of_several_files(invoke: Invoke, music: list[int], engine: Engine) -> None:
    same = tracks.c.id.in_(music[20:22])
    with engine.begin() as conn:
        conn.execute(update(tracks).where(same).values(title="Coherence", artist="Maxstack"))
    invoke("playlist", "create", "Mine")
    told = invoke("playlist", "add", "Mine", "coherence").stderr
    assert "Maxstack - Coherence  (" in told
    assert all(f"/mix/{n}.mp3)" in told for n in (20, 21))
    # Copies of one recording are one track, in the file to keep.
    with engine.begin() as conn:
        conn.execute(update(tracks).where(same).values(audio_hash="a" * 64))
    assert "has 1 track" in invoke("playlist", "add", "Mine", "coherence").stdout


def test_a_playlist_by_hand(invoke: Invoke, music: list[int], engine: Engine) -> None:
    names = [str(id_) for id_ in music[:3]]
    assert "is made" in invoke("playlist", "create", "Mine", *names, "--description", "by hand").stdout
    assert "has 4 tracks now" in invoke("playlist", "add", "Mine", str(music[9]), "--at", "2").stdout
    assert "position 4 at 1" in invoke("playlist", "move", "Mine", "4", "1").stdout
    assert "has 3 tracks now" in invoke("playlist", "remove", "Mine", "2").stdout
    shown = json.loads(invoke("playlist", "show", "Mine", "--json").stdout)
    assert [track["id"] for track in shown["order"]] == [music[2], music[9], music[1]]
    assert all(track["transition_quality"] == pytest.approx(track["transition"]["score"]) for track in shown["order"][1:])
    # A track is measured anew: the stored quality and today's are both told, until they are worked out again.
    with engine.begin() as conn:
        conn.execute(update(tracks).where(tracks.c.id == music[9]).values(bpm=60.0 * 1.5, camelot="1A"))
    assert "map4 playlist rescore" in invoke("playlist", "show", "Mine").stdout
    assert "has 2 transitions that changed" in invoke("playlist", "rescore", "Mine").stdout
    assert "map4 playlist rescore" not in invoke("playlist", "show", "Mine").stdout
    assert "new name" in invoke("playlist", "rename", "Mine", "Yours").stdout
    assert invoke("playlist", "show", "Mine").exit_code == 2
    assert invoke("playlist", "move", "Yours", "9", "1").exit_code == 2
    assert "is deleted" in invoke("playlist", "delete", "Yours", "--yes").stdout
    assert "There is no playlist yet" in invoke("playlist", "list").stdout


def test_a_playlist_and_a_track_are_reported(invoke: Invoke, music: list[int], engine: Engine, tmp_path: Path) -> None:
    invoke("playlist", "create", "Friday", *(str(id_) for id_ in music[:6]))
    told = invoke("report", "--playlist", "Friday", "--output", str(tmp_path / "out"), "--json")
    assert told.exit_code == 0, told.stderr
    files = [Path(file["path"]) for file in json.loads(told.stdout)["files"]]
    assert [file.suffix for file in files] == [".pdf", ".html"]
    assert all(file.exists() for file in files)
    assert "[red]not markup[/] :smile:" in files[1].read_text(encoding="utf-8")
    told = invoke("report", "--track", str(music[0]), "--format", "html", "--output", str(tmp_path / "out"))
    assert told.exit_code == 0, told.stderr
    assert (tmp_path / "out" / f"track-{music[0]}.html").exists()
    with engine.connect() as conn:
        kept = conn.execute(select(export_history.c.export_type, export_history.c.track_count)).all()
    assert sorted(tuple(row) for row in kept) == [("html", 1), ("html", 6), ("pdf", 6)]


def test_a_report_that_cannot_be_is_refused(invoke: Invoke, music: list[int]) -> None:
    for arguments, why in (
        (["--track", "1", "--playlist", "2"], "not both"),
        (["--playlist", "nobody"], "There is no playlist 'nobody'"),
        (["--track", "no such track"], "There is no track"),
        (["--track", str(music[0]), "--format", "xlsx"], "the workbook is of the whole library"),
    ):
        told = invoke("report", *arguments)
        assert told.exit_code == 2
        assert why in told.stderr
