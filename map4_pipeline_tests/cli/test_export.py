"""`map4 export` as a program: what it says, and that nothing is left of one that is ended."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Invoke, Seeded


def test_the_ending_says_what_to_write(seeded: Seeded, invoke: Invoke, tmp_path: Path) -> None:
    outcome = invoke("export", "--output", str(tmp_path / "a.jsonl"), "--fields", "file_name,bpm", "sort:bpm", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    facts = json.loads(outcome.stdout)
    assert (facts["format"], facts["tracks"], facts["size_bytes"]) == ("jsonl", 3, (tmp_path / "a.jsonl").stat().st_size)
    found = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [track["bpm"] for track in found] == [128.04, 128.04, None]


def test_tracks_go_to_standard_output(seeded: Seeded, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = invoke("export", "--format", "jsonl", "--output", "-", "--fields", "bpm", "sort:bpm")
    assert [json.loads(line)["bpm"] for line in outcome.stdout.splitlines()] == [128.04, 128.04, None]
    assert outcome.stderr == "3 tracks\n"
    assert not (tmp_path / "-").exists()
    refused = invoke("export", "--format", "csv", "--output", "-", "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    to_file = invoke("export", "--output", "a.csv", "bpm:128")
    assert (to_file.stdout, to_file.exit_code) == ("a.csv\n", 0), to_file.stderr


#: The program, told to end in the middle of an export; what is in its folder then is printed.
ENDED = """
import os, signal, sys
from map4_pipeline.cli.main import run
from map4_pipeline.store import exports
original = exports.run_export
def ended(done, total):
    if found := os.listdir(os.path.dirname(sys.argv[-1])):
        print(found, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
exports.run_export = lambda *arguments, progress, **more: original(*arguments, progress=ended, **more)
run()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="not applicable: nothing asks a program to end there")
def test_one_that_is_ended_leaves_nothing(seeded: Seeded, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    command = [sys.executable, "-c", ENDED, "export", "--output", str(folder / "a.csv")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=120)
    assert ".map4-" in done.stdout
    assert (done.returncode, "Interrupted" in done.stderr) == (3, True)
    assert not list(folder.iterdir())
