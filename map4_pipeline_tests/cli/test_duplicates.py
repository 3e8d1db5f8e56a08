"""`map4 duplicates`: what is shown, decided and taken back, for people and programs."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from map4_pipeline.cli.duplicates import duplicates
from map4_pipeline.settings import Settings

from ..store.test_duplicates import FLAC, HOSTILE_NAME, MP3, Shelf, noisy, walk


@pytest.fixture
def shelf(settings: Settings, engine: Engine, tmp_path: Path) -> Shelf:
    root = tmp_path / "Music"
    root.mkdir()
    shelf = Shelf(engine, settings.home, root)
    shelf.add("song.flac", walk(1), **FLAC, file_size=30_000_000)
    shelf.add(HOSTILE_NAME, noisy(walk(1), 0.02), **MP3, file_size=2_000_000)
    shelf.add("other.mp3", walk(2))
    return shelf


def call(*arguments: str) -> Result:
    return CliRunner().invoke(duplicates, arguments)


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_group_is_shown_decided_and_taken_back(shelf: Shelf) -> None:
    assert "No duplicates" in call().output
    assert "1 the same recording" in call("refresh").output
    shown = call().output
    assert "lossless (FLAC)" in shown
    assert "2.0 MB could go" in shown
    assert "\x1b" not in shown
    (group,) = lines(call("list", "--json"))
    number = str(group["group"])
    assert (group["kind"], group["state"], group["keeper"]) == ("same_recording", "open", shelf.ids["song.flac"])
    assert group["tracks"][0]["file_path"].endswith("song.flac")
    assert call("list", "--json", "--kind", "identical-file").stdout == ""

    assert call("surplus").stdout == ""
    assert HOSTILE_NAME.encode() in call("surplus", "--suggested", "--null").stdout_bytes
    assert "is the one to keep" in call("keep", number, "--note", "best").output
    assert lines(call("list", "--json")) == []
    (kept,) = lines(call("list", "--state", "keep", "--json"))
    assert kept["state"] == "keep"
    assert call("surplus", "-0").stdout_bytes.endswith(HOSTILE_NAME.encode() + b"\0")
    assert "\x1b" not in call("surplus").stdout
    (detail,) = lines(call("show", number, "--json"))
    assert [one["note"] for one in detail["decisions"]] == ["best"]
    assert "bits differ" in call("show", number).output

    assert "Taken back" in call("undo", number).output
    assert len(lines(call("list", "--json"))) == 1
    for verb, state in (("reject", "not-duplicates"), ("ignore", "ignore")):
        assert call(verb, number).exit_code == 0
        assert len(lines(call("list", "--state", state, "--json"))) == 1
        assert call("undo", number).exit_code == 0


@pytest.mark.parametrize("arguments", [("show", "99"), ("keep", "99"), ("undo", "99"), ("list", "--kind", "twins")])
def test_wrong_use_is_told(shelf: Shelf, arguments: tuple[str, ...]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
