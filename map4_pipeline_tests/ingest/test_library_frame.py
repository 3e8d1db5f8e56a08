"""What the pages show of asking the database for whole analyses works on an ingested library."""

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from .music import Shelf

DOCS = Path(__file__).resolve().parents[2] / "docs"


def block(page: str, language: str, having: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    return str(next(one for one in blocks if having in one))


def test_a_library_becomes_a_data_frame_as_the_page_shows(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    shelf.add("a/1.wav", 1, 8.0)
    shelf.add("b/copy.wav", 1, 8.0)
    shelf.visit()
    monkeypatch.setattr("map4_pipeline.store.database.open_database", lambda _: shelf.engine)
    found: dict[str, Any] = {}
    exec(block("research.md", "python", "pandas.read_sql"), found)
    tracks = found["tracks"]
    assert len(tracks) == 2
    assert all({"beat_times", "sections", "tempo_curve"} <= features.keys() for features in tracks.features)
    with shelf.engine.connect() as conn:
        rows = conn.execute(text(block("schema.md", "sql", "beats_per_bar").rstrip(" ;\n"))).all()
    assert [row.beats for row in rows] == [features["beat_times"] for features in tracks.features]
