"""The vector always has its twelve names, stays in [0, 1], and is null only with a reason."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from map4_pipeline.hamms import DIMENSIONS, WEIGHTS
from map4_pipeline.hamms.camelot import KEYS
from map4_pipeline.hamms.quality import quality_problems
from map4_pipeline.hamms.vector import bpm_from_normalised, hamms_vector, normalised_bpm, normalised_key

numbers = st.one_of(st.none(), st.floats(0, 1), st.floats(allow_nan=True, allow_infinity=True))
rows = st.fixed_dictionaries(
    {name: numbers for name in DIMENSIONS if name not in ("bpm", "key")}
    | {
        "bpm": st.one_of(st.none(), st.floats(1, 1000), st.floats()),
        "key": st.one_of(st.none(), st.sampled_from(KEYS), st.text(max_size=5)),
        "bpm_confidence": numbers,
        "key_confidence": numbers,
        "null_reasons": st.one_of(st.none(), st.dictionaries(st.sampled_from(DIMENSIONS), st.text(max_size=9))),
    }
)


def test_names_and_weights() -> None:
    assert DIMENSIONS[:3] == ("bpm", "key", "energy")
    assert len(DIMENSIONS) == 12
    assert sum(WEIGHTS.values()) == pytest.approx(10.8)


@given(rows)
def test_any_row_gives_a_sound_vector(row: dict[str, Any]) -> None:
    vector = hamms_vector(row)
    assert tuple(vector.values) == DIMENSIONS
    assert quality_problems(vector.values, vector.null_reasons) == []
    assert vector.confidence is None or 0 <= vector.confidence <= 1


@given(st.floats(40, 125))
def test_an_octave_is_the_same_distance_everywhere(bpm: float) -> None:
    octave = math.log(2) / math.log(250 / 40)
    assert normalised_bpm(2 * bpm) - normalised_bpm(bpm) == pytest.approx(octave)
    assert bpm_from_normalised(normalised_bpm(bpm)) == pytest.approx(bpm)


def test_keys_have_places_of_their_own() -> None:
    places = [normalised_key(key) for key in KEYS]
    assert len(set(places)) == 24
    assert min(places) >= 0
    assert max(places) < 1
    assert normalised_key("Ab minor") == 0.0


def test_nothing_measured_is_no_confidence() -> None:
    vector = hamms_vector({"null_reasons": {"bpm": "silence"}})
    assert vector.confidence is None
    assert vector.null_reasons["bpm"] == "silence"
    assert vector.null_reasons["energy"] == "not measured"


def test_doubt_about_tempo_and_key_lowers_the_confidence() -> None:
    row: dict[str, Any] = dict.fromkeys(DIMENSIONS, 0.5) | {"bpm": 120.0, "key": "A minor"}
    sure = hamms_vector(row | {"bpm_confidence": 1.0, "key_confidence": 1.0}).confidence
    unsure = hamms_vector(row | {"bpm_confidence": 0.2, "key_confidence": 0.2}).confidence
    assert sure == 1.0
    assert unsure is not None
    assert unsure < 0.8


def test_quality_problems_are_named() -> None:
    good: dict[str, Any] = dict.fromkeys(DIMENSIONS, 0.5)
    assert quality_problems(good) == []
    bad = good | {"bpm": None, "key": float("nan"), "energy": 1.5, "valence": "x", "danceability": True, "tempo": 0.1}
    del bad["dynamic_range"]
    assert set(quality_problems(bad)) == {
        "dynamic_range is missing",
        "tempo is no HAMMS dimension",
        "bpm is null without a reason",
        "key is not finite",
        "energy is outside [0, 1]",
        "valence is not a number",
        "danceability is not a number",
    }
    assert quality_problems(good | {"bpm": None}, {"bpm": "silence"}) == []
    assert quality_problems(good, {"bpm": "silence"}) == ["bpm has a value and a reason for having none"]
