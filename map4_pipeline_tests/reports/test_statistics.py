"""Statistics: true counts for any library, in one pass, and back from JSON unchanged."""

import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from map4_pipeline.reports import TrackRow, tagcheck
from map4_pipeline.reports.series import quality_rows
from map4_pipeline.reports.statistics import CAMELOT_CODES, HAMMS_NAMES, LibraryStatistics, collect
from map4_pipeline_tests.reports.factory import nasty_snapshot, snapshot, track

_UNIT = st.none() | st.floats(0, 1)
_ROWS = st.lists(
    st.builds(
        TrackRow,
        id=st.integers(1, 10**6),
        file_path=st.text(max_size=20),
        genre=st.none() | st.text(max_size=8),
        year=st.none() | st.integers(1000, 2999),
        duration=st.none() | st.floats(0, 10_000),
        bpm=st.none() | st.floats(20, 400),
        bpm_confidence=_UNIT,
        camelot=st.none() | st.sampled_from(CAMELOT_CODES),
        energy=_UNIT,
        loudness_lufs=st.none() | st.floats(-70, 5),
        hamms=st.dictionaries(st.sampled_from(HAMMS_NAMES), _UNIT),
        tags_bpm=st.none() | st.floats(0.1, 999),
        tags_key=st.none() | st.text(max_size=5),
        status=st.sampled_from(("ok", "failed")),
        missing=st.booleans(),
    ),
    max_size=20,
)


@settings(max_examples=25, deadline=None)
@given(_ROWS)
def test_every_track_is_counted_once(rows: list[TrackRow]) -> None:
    found = collect(rows)
    there = [row for row in rows if not row.missing]
    good = [row for row in there if row.status == "ok"]
    assert (found.tracks, found.measured, found.failed) == (len(good), len(good), len(there) - len(good))
    assert found.missing == len(rows) - len(there)
    assert sum(found.error_kinds.values()) == found.failed
    assert sum(found.bpm.values()) + found.unmeasured.get("bpm", 0) == len(good)
    assert sum(found.keys.values()) == sum(row.camelot is not None for row in good)
    assert sum(found.energy.values()) + found.unmeasured.get("energy", 0) == len(good)
    assert sum(found.genres.values()) == sum(bool(row.genre and row.genre.strip()) for row in good)
    assert sum(found.years.values()) == sum(row.year is not None for row in good)


@settings(max_examples=25, deadline=None)
@given(_ROWS)
def test_means_and_quantiles_lie_within_the_values(rows: list[TrackRow]) -> None:
    found = collect(rows)
    for name in HAMMS_NAMES:
        values = [row.hamms[name] for row in rows if row.status == "ok" and not row.missing and row.hamms.get(name) is not None]
        summary = found.hamms[name]
        assert summary["count"] == len(values)
        if not values:
            assert summary["mean"] is None
            assert summary["q50"] is None
            continue
        quantiles = [summary[key] for key in ("q05", "q25", "q50", "q75", "q95")]
        assert quantiles == sorted(quantiles)
        assert all(min(values) <= value <= max(values) for value in (*quantiles, summary["mean"]))


@settings(max_examples=25, deadline=None)
@given(_ROWS)
def test_json_round_trip(rows: list[TrackRow]) -> None:
    found = collect(rows)
    assert LibraryStatistics.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


@settings(max_examples=25, deadline=None)
@given(_ROWS)
def test_the_order_of_the_tracks_does_not_matter(rows: list[TrackRow]) -> None:
    forth, back = collect(rows).to_dict(), collect(reversed(rows)).to_dict()
    for name, value in forth.items():
        if not isinstance(value, float) and name != "hamms":
            assert back[name] == value


def test_hostile_text_survives_the_round_trip() -> None:
    found = nasty_snapshot().statistics
    assert LibraryStatistics.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_the_median_is_right_to_half_a_bin() -> None:
    rows = [track(index, hamms={"energy": index / 1000}, status="ok", missing=False) for index in range(1001)]
    assert collect(rows).hamms["energy"]["q50"] == pytest.approx(0.5, abs=0.0025)


def test_not_a_number_is_not_a_measurement() -> None:
    found = collect([track(0, bpm=math.nan, energy=math.inf, hamms={"energy": math.nan})])
    assert not found.bpm
    assert found.unmeasured["bpm"] == 1
    assert found.energy_mean is None
    assert found.hamms["energy"]["mean"] is None


def test_a_million_genres_need_no_more_room_than_some() -> None:
    found = collect(track(0, genre=f"genre {index}") for index in range(5_000))
    assert len(found.genres) == 2_000
    assert found.overflow["genres"] == 3_000


def test_months_are_counted_in_utc() -> None:
    late = datetime(2026, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert collect([track(0, added_at=late)]).additions == {"2026-02": 1}
    assert collect([track(0, added_at=datetime(2026, 1, 31, tzinfo=UTC))]).additions == {"2026-01": 1}


@pytest.mark.parametrize(
    ("measured", "tag", "verdict"),
    [
        (127.6, 128, None),
        (174.0, 87, "ratio"),
        (126.0, 84, "ratio"),
        (140.0, 120, "different"),
        (120.0, None, None),
        (None, 120, None),
        (120.0, 0, None),
        (3.0, math.nan, None),
    ],
)
def test_tempo_tags(measured: float | None, tag: float | None, verdict: str | None) -> None:
    assert tagcheck.bpm_conflict(measured, tag) == verdict


def test_key_tags_are_compared_by_meaning() -> None:
    assert tagcheck.key_conflict("8A", "Am") is None
    assert tagcheck.key_conflict("8A", "1m") is None
    assert tagcheck.key_conflict("8A", "C major") == "8B"
    assert tagcheck.key_conflict("8A", "off-key or whatever") is None


def test_quality_counts_findings() -> None:
    found = snapshot(size=200)
    assert [finding.code for finding in found.quality] == ["clipping"]
    assert found.quality[0].track_count == sum(bool(row.findings) for row in found.tracks())


def test_the_reasons_of_failed_files_add_up() -> None:
    rows = [track(29, error_kind=kind, missing=False) for kind in ("empty", "empty", "not_audio", "unreadable", "odd", "rare")]
    shown = {name: why for name, _, why in quality_rows(snapshot(rows))}
    assert shown["Failed"] == "empty (2), not audio (1), odd (1), others (2)"
    shown = {name: why for name, _, why in quality_rows(snapshot(rows[1:5]))}
    assert shown["Failed"] == "empty (1), not audio (1), odd (1), unreadable (1)"
