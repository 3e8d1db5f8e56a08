"""What the pages for researchers show works as shown."""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from map4_pipeline.audio import analyse
from map4_pipeline.hamms import DIMENSIONS

from ..guest_engine import EngineShop

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / "research.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = json.loads((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            exec(compile("".join(cell["source"]), f"docs/notebook.ipynb, {cell['id']}", "exec"), found)
    assert found["features"].bpm == pytest.approx(126, rel=0.001)
    assert found["features"].key == "A minor"
    # The song is written in sixteenths, the even eighths of a beat.
    assert found["pattern"][::2].sum() > 2 * found["pattern"][1::2].sum()
    assert "A" in found["strongest"]
    assert found["table"].num_rows == len(found["frames"].time)
    assert {one["namespace"] for one in found["annotations"]} >= {"tempo", "beat", "key_mode"}
    assert len(found["vector"].values) == 12
    assert "mine" in capsys.readouterr().out


def test_the_engine_that_the_page_shows_measures(engine_shop: EngineShop, song: Path) -> None:
    project = tomllib.loads(blocks("toml")[0])["project"]
    ((name, target),) = project["entry-points"]["map4.engines"].items()
    module, _, attribute = target.partition(":")
    assert module == project["name"].replace("-", "_")
    source = next(block for block in blocks("python") if f"class {attribute}" in block)
    engine_shop.install(source, name=name, target=attribute, version=project["version"], package=project["name"])
    features = analyse(song, stages=("features",), engine=name).features
    assert features is not None
    assert features.bpm == pytest.approx(60, rel=0.01)  # the song has 120


def test_the_first_lines_that_the_page_shows_run(song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.symlink(song, "song.mp3")
    found: dict[str, Any] = {}
    exec(blocks("python")[0], found)
    assert found["track"].features.key == "C major"
    assert len(found["frames"].time) > 2000


def test_every_dimension_is_defined_on_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \| \S.*\|.*\|$", (DOCS / "research.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert tuple(rows) == DIMENSIONS
