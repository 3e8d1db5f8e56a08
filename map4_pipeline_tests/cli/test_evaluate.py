"""`map4 evaluate`: scores of a user's own labelled files."""

import json
import shutil
from pathlib import Path

import pytest

from .conftest import HOSTILE, Map4


@pytest.fixture
def labelled(sound: Path, tmp_path: Path) -> Path:
    """Two good files and an empty one, and their labels beside them."""
    (tmp_path / "audio").mkdir()
    for name in ("one.wav", "two.wav"):
        shutil.copyfile(sound, tmp_path / "audio" / name)
    (tmp_path / "audio" / "empty.mp3").touch()
    path = tmp_path / "truth.csv"
    path.write_text("path,bpm,key,set\none.wav,120,8A,a\ntwo.wav,90,Am,b\nempty.mp3,100,,b\n", encoding="utf-8")
    return path


def test_json_tells_scores_answers_and_what_is_missing(map4: Map4, labelled: Path) -> None:
    with labelled.open("a", encoding="utf-8") as file:
        file.write("gone.mp3,100,,\n")
    done = map4("evaluate", str(labelled), "--audio", str(labelled.parent / "audio"), "--json", "--workers", "1")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert list(found) == ["sets", "calibration", "files", "missing"]
    assert list(found["sets"]) == ["a", "b", "ALL"]
    assert found["sets"]["a"]["tempo"]["n"] == found["sets"]["a"]["key"]["n"] == 1
    assert found["sets"]["ALL"]["tempo"]["n"] == 3
    one, two, empty = found["files"]
    assert (one["path"], one["true_key"], two["true_bpm"]) == ("one.wav", "A minor", 90)
    assert one["bpm"] == two["bpm"]
    assert empty["error"] == "The file is empty (0 bytes)."
    assert found["missing"] == ["gone.mp3"]


def test_the_table_lists_errors_when_asked(map4: Map4, labelled: Path) -> None:
    audio = ("--audio", str(labelled.parent / "audio"))
    plain = map4("evaluate", str(labelled), *audio)
    assert plain.returncode == 1
    lines = plain.stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["set", "a", "b", "ALL"]
    assert "--errors lists them" in plain.stdout
    assert "empty.mp3" not in plain.stdout
    told = map4("evaluate", str(labelled), *audio, "--errors").stdout
    assert "\nempty.mp3: tempo 100, measured none; The file is empty (0 bytes).\n" in told
    assert "\ntwo.wav: tempo 90, measured" in told


def test_all_well_is_exit_code_0(map4: Map4, sound: Path, tmp_path: Path) -> None:
    # Relative to the file of labels, wherever one is.
    shutil.copyfile(sound, tmp_path / "x.wav")
    (tmp_path / "truth.csv").write_text("path,key\nx.wav,Am\n", encoding="utf-8")
    assert map4("evaluate", str(tmp_path / "truth.csv")).returncode == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"path,tempo\nx.wav,120\n", "it has: path, tempo."),
        (b"path,bpm\nx.wav,fast\n", "line 2: 'fast' is no tempo."),
        (b"path,bpm\n\xff.wav,120\n", "is not UTF-8"),
        (b"path,bpm\nx.wav,120\n", "None of the 1 labelled files is there"),
    ],
)
def test_wrong_use_is_said_in_a_sentence(map4: Map4, text: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_bytes(text)
    done = map4("evaluate", str(tmp_path / "truth.csv"))
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_files_that_are_not_there_are_said(map4: Map4, tmp_path: Path) -> None:
    done = map4("evaluate", str(tmp_path / "none.csv"))
    assert done.returncode == 2
    assert "cannot be read" in done.stderr
    assert map4("evaluate", str(tmp_path / "none.csv"), "--audio", str(tmp_path / "none")).returncode == 2


def test_hostile_labels_do_not_reach_the_terminal(map4: Map4, labelled: Path) -> None:
    (labelled.parent / "audio" / "x.wav").symlink_to("one.wav")
    hostile = HOSTILE.replace("\n", " ")
    labelled.write_text(f'path,bpm,key,set\nx.wav,90,,"{hostile}"\n', encoding="utf-8")
    shown = map4("evaluate", str(labelled), "--audio", str(labelled.parent / "audio"), "--errors").stdout
    assert "[red]not markup[/]" in shown
    assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(shown)
