"""The library's statistics: what PostgreSQL counts is what a pass in Python counts, and nothing is computed twice."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from map4_pipeline.reports.statistics import LibraryStatistics, collect
from map4_pipeline.store.checks import dimension_drift
from map4_pipeline.store.snapshot import track_rows
from map4_pipeline.store.statistics import (
    genre_distribution,
    genre_statistics,
    library_statistics,
    refresh_statistics,
    timeline,
)

from ..postgres import PostgresForTests
from .big import generated_library


@pytest.fixture(scope="module")
def engine(postgres_server: PostgresForTests) -> Iterator[Engine]:
    """A library of 3,000 invented tracks, with some that a generator would not invent."""
    with generated_library(postgres_server, 3_000) as engine:
        with engine.begin() as conn:
            for statement in (
                "UPDATE tracks SET genre = E' \\t House \\n', year = -5 WHERE id = 10",
                "UPDATE tracks SET bpm = 0.4, loudness_lufs = -99, energy = 1 WHERE id = 11 AND status = 'ok'",
                "UPDATE tracks SET bpm = 9999, loudness_lufs = 9, energy = 0.15, key_confidence = 0.3 WHERE id = 12",
                'UPDATE tracks SET null_reasons = \'{"bpm": "no steady beat"}\' WHERE id = 13',
                'UPDATE tracks SET findings = \'[{"message": "?"}, {"code": "clipping"}]\', ai_analysis = \'{}\' WHERE id = 14',
                "UPDATE tracks SET status = 'failed', error_kind = NULL WHERE id = 15",
                'UPDATE tracks SET hamms_vector = \'{"bpm": 1, "key": 0, "energy": null, "valence": 0.9975}\' WHERE id = 16',
                "UPDATE tracks SET genre = E'\\u3000', sample_rate = 0, codec = '' WHERE id = 17",
            ):
                conn.execute(text(statement.replace(":", "\\:")))
        yield engine


def test_postgresql_counts_what_python_counts(engine: Engine) -> None:
    with engine.connect() as conn:
        counted = library_statistics(conn).to_dict()
        expected = collect(track_rows(conn)).to_dict()
    # Which message of a finding's is shown depends on the order; sums of floating numbers do in the last digits.
    for found in (counted, expected):
        for finding in found["findings"].values():
            finding.pop("message")
        found["findings"] = dict(sorted(found["findings"].items()))
    assert set(counted) == set(expected)
    for name, value in expected.items():
        assert _rounded(counted[name]) == _rounded(value), name
    assert LibraryStatistics.from_dict(counted).tracks > 2_900


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_nothing_is_computed_while_nothing_changes(engine: Engine) -> None:
    first = refresh_statistics(engine)
    assert not first.unchanged
    again = refresh_statistics(engine)
    assert again.unchanged
    assert (again.tracks, again.keys, again.genres, again.bpm) == (first.tracks, first.keys, first.genres, first.bpm)
    with engine.begin() as conn:
        conn.execute(text("UPDATE tracks SET hidden_at = now() WHERE id = (SELECT min(id) FROM tracks WHERE hidden_at IS NULL)"))
    changed = refresh_statistics(engine)
    assert not changed.unchanged
    assert changed.tracks == first.tracks - 1


def test_genres_and_time(engine: Engine) -> None:
    with engine.connect() as conn:
        genres = genre_distribution(conn)
        listed = conn.execute(text("SELECT count(*) FROM track_search WHERE listed")).scalar_one()
        assert sum(row["tracks"] for row in genres) == listed
        # House and house are one genre, under the spelling of its first track.
        names = [row["genre"] for row in genres]
        assert len({(name or "").lower() for name in names}) == len(names)
        [house] = [row for row in genres if row["genre"] in ("House", "house")]
        assert 110 < house["bpm"] < 130
        about = genre_statistics(conn, "HOUSE")
        assert {name: about[name] for name in house if name != "genre"} == {
            name: house[name] for name in house if name != "genre"
        }
        assert sum(about["keys"].values()) <= about["tracks"]
        assert about["tempi"]["120"] > about["tempi"].get("90", 0)
        assert genre_statistics(conn, "no such genre")["tracks"] == 0
        times = timeline(conn)
        assert [row["year"] for row in times["years"]] == sorted({row["year"] for row in times["years"]})
        assert sum(row["tracks"] for row in times["added"]) == listed
        assert times["added"][0]["month"] == "2022-01"


def test_a_dimension_that_broke_shows_as_drift(engine: Engine) -> None:
    with engine.connect() as conn:
        hamms = library_statistics(conn).hamms
    usual = {drift.name: drift for drift in dimension_drift(hamms)}
    assert len(usual) == 10
    assert "key" not in usual
    assert all(0 < drift.spread <= 1 and drift.apart < 0.8 for drift in usual.values())
    stuck = {f"q{share}": 0.5 for share in ("05", "25", "50", "75", "95")}
    broken = {drift.name: drift for drift in dimension_drift({**hamms, "valence": {"count": 3_000, "mean": 0.5, **stuck}})}
    assert broken["valence"].spread == 0
    assert broken["energy"] == usual["energy"]
    assert dimension_drift({"valence": {"count": 0, "mean": None}}) == []
