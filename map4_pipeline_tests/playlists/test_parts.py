"""Curves, artists, tempo changes, keys, parameters: the plain parts of sets."""

import numpy as np
import pytest

from map4_pipeline.hamms.camelot import KEYS, compatible_keys, to_camelot
from map4_pipeline.hamms.transition import TransitionRules
from map4_pipeline.playlists.curves import CurveError, energy_errors, parse_curve
from map4_pipeline.playlists.parameters import parameters, wishes_from_dict, wishes_to_dict
from map4_pipeline.playlists.pool import artist_codes, make_pool
from map4_pipeline.playlists.problem import drift, key_steps
from map4_pipeline.playlists.wishes import Weights, WishError, Wishes

ENERGY = np.linspace(0.0, 1.0, 101)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rise", [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("fall", [0.9, 0.7, 0.5, 0.3, 0.1]),
        ("flat", [0.5] * 5),
        ("0.2,0.6", [0.2, 0.3, 0.4, 0.5, 0.6]),
        ("0:0.4, 50:1, 100:0", [0.4, 0.7, 1.0, 0.5, 0.0]),
        ("0.7", [0.7] * 5),
    ],
)
def test_curves(name: str, expected: list[float]) -> None:
    assert parse_curve(name).targets(5, ENERGY) == pytest.approx(expected)


def test_a_peak_is_near_the_end_and_a_wave_has_two() -> None:
    peak, wave = parse_curve("PEAK").targets(21, ENERGY), parse_curve("wave").targets(21, ENERGY)
    assert 12 <= peak.argmax() <= 16
    assert peak[0] < peak[-1] < peak.max()
    tops = [place for place in range(1, 20) if wave[place] > wave[place - 1] and wave[place] > wave[place + 1]]
    assert len(tops) == 2


@pytest.mark.parametrize("text", ["", "zigzag", "0.5,1.5", "0:0.5,0:0.7", "50:0.5,20:0.7", "0.2;0.4", "nan,0.2", "120:0.3"])
def test_what_is_no_curve_is_told(text: str) -> None:
    with pytest.raises(CurveError, match="is no curve"):
        parse_curve(text)


def test_an_unknown_energy_is_half_a_range_away() -> None:
    errors = energy_errors(parse_curve("0.1,0.1"), 2, np.array([0.1, 0.5, 0.9, np.nan]))
    assert errors[0] == pytest.approx([0.0, 0.4 / (0.82 - 0.18), 1.0, 0.5])


def test_artists_are_told_apart_as_people_do() -> None:
    codes = artist_codes(
        ["Moby", "MOBY feat. Skylar Grey", " moby (ft. X)", "Mobylette", None, "", "feat. Nobody", "Featherstone"]
    )
    assert codes[0] == codes[1] == codes[2]
    assert len(set(codes.tolist())) == 6
    assert codes[4] < 0
    assert codes[5] < 0


def test_tempo_changes_count_half_and_double_as_the_same() -> None:
    first, second = np.array([120.0, 62.0, 128.0, 100.0, np.nan]), np.array([126.0, 124.0, 60.0, 141.4, 100.0])
    assert drift(first, second)[:3] == pytest.approx([5.0, 0.0, 100 * (128 / 120 - 1)])
    assert drift(first, second)[3] == pytest.approx(41.4, abs=0.1)
    assert np.isnan(drift(first, second)[4])
    assert drift(first, second)[:4] == pytest.approx(drift(second, first)[:4])


@pytest.mark.parametrize("policy", ["strict", "extended"])
def test_key_steps_are_those_of_the_camelot_ring(policy: str) -> None:
    pool = make_pool(
        list(range(24)), bpm=[None] * 24, energy=[None] * 24, duration=[None] * 24, camelot=[to_camelot(key) for key in KEYS],
        artist=[None] * 24,
    )  # fmt: skip
    table = key_steps(policy)
    for row, key in enumerate(KEYS):
        fits = {KEYS[column] for column in range(24) if table[pool.key[row], pool.key[column]]}
        assert fits == set(compatible_keys(key, diagonals=policy == "extended"))


def test_a_pool_has_each_track_once_and_no_impossible_value() -> None:
    pool = make_pool(
        [1, 2], bpm=[0.0, 120], energy=[float("inf"), 0.5], duration=[-1, 200], camelot=["13A", "1B"], artist=["a", "b"]
    )
    assert np.isnan(pool.bpm[0])
    assert np.isnan(pool.energy[0])
    assert np.isnan(pool.duration[0])
    assert pool.key.tolist() == [-1, 1]
    with pytest.raises(ValueError, match="twice"):
        make_pool([1, 1], bpm=[1, 1], energy=[1, 1], duration=[1, 1], camelot=["1A"] * 2, artist=["a"] * 2)


def test_wishes_survive_being_stored() -> None:
    wished = Wishes(
        tracks=(5, 7), minutes=30, start=1, end=2, must=(3, 4), apart=((1, 2),), excluded=(9,), curve=parse_curve("0:0.3,60:0.9"),
        max_drift=4, artist_gap=3, keys="strict", min_score=0.2,
    )  # fmt: skip
    stored = parameters(wished, Weights(), TransitionRules(), "genre:house", 200, 5000)
    assert wishes_from_dict(stored["wishes"]) == wished
    assert wishes_from_dict({"tracks": 12}) == Wishes(tracks=(12, 12))
    assert wishes_to_dict(Wishes(minutes=30))["tracks"] is None


@pytest.mark.parametrize(
    "values",
    [{"tracks": 3, "colour": "red"}, {"tracks": [3]}, {"tracks": 3, "must": ["x"]}, {"tracks": 3, "start": 1.5}, {"tracks": True},
     {"tracks": 3, "curve": "zigzag"}, {"minutes": "long"}],
)  # fmt: skip
def test_what_is_no_wish_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(WishError):
        wishes_from_dict(values)
