"""What cannot be met is named, with the tracks and with what would help."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from map4_pipeline.playlists.builder import build_set
from map4_pipeline.playlists.pool import Pool, make_pool
from map4_pipeline.playlists.wishes import Conflict, InfeasibleError, Wishes


def a_pool(count: int = 10, **columns: Sequence[Any]) -> Pool:
    """Ten tracks of 120 BPM, five minutes, in one key, by ten artists."""
    values: dict[str, Any] = {
        "bpm": [120.0] * count,
        "energy": [0.5] * count,
        "duration": [300.0] * count,
        "camelot": ["8A"] * count,
        "artist": [f"Artist {row}" for row in range(count)],
        "names": [f"Title {row}" for row in range(count)],
    }
    return make_pool(list(range(count)), **(values | columns))


def conflicts(pool: Pool, **wishes: Any) -> tuple[Conflict, ...]:
    scores = np.full((len(pool), len(pool)), 0.5, dtype=np.float32)
    with pytest.raises(InfeasibleError) as caught:
        build_set(pool, scores, Wishes(**wishes), rounds=5)
    assert str(caught.value).startswith("No set keeps all wishes.")
    return caught.value.conflicts


def test_a_start_outside_the_filter() -> None:
    (found,) = conflicts(a_pool(), tracks=(4, 4), start=99)
    assert found.wishes == ("start", "filter")
    assert "track 99" in found.message
    assert found.proven


def test_a_must_play_that_is_excluded() -> None:
    (found,) = conflicts(a_pool(), tracks=(4, 4), must=(3,), excluded=(3,))
    assert found.wishes == ("must", "excluded")
    assert "Title 3" in found.message


def test_a_must_play_without_a_tempo_under_a_limit_of_tempo() -> None:
    pool = a_pool(bpm=[None, *[120.0] * 9])
    (found,) = conflicts(pool, tracks=(4, 4), must=(0,), max_drift=4.0)
    assert found.wishes == ("must", "max_drift")
    assert "no known tempo" in found.message


def test_more_must_plays_than_tracks() -> None:
    (found,) = conflicts(a_pool(), tracks=(3, 3), start=0, must=(1, 2, 3))
    assert found.wishes == ("must", "tracks")
    assert "4 tracks have to be" in found.message
    assert "Allow 4" in found.remedy


def test_start_and_end_are_the_same() -> None:
    (found,) = conflicts(a_pool(), tracks=(3, 3), start=1, end=1)
    assert found.wishes == ("start", "end")


def test_too_few_candidates_says_what_was_left_out() -> None:
    pool = a_pool(camelot=["8A"] * 3 + [None] * 7)
    (found,) = conflicts(pool, tracks=(4, 4), keys="strict", excluded=(2,))
    assert "there are 2 candidates" in found.message
    assert "7 no key" in found.message
    assert set(found.wishes) == {"tracks", "filter", "excluded", "keys"}


def test_too_few_artists() -> None:
    pool = a_pool(artist=["One", "Two", "Three"] * 3 + ["one feat. Someone"])
    (found,) = conflicts(pool, tracks=(8, 8), artist_gap=5)
    assert found.wishes == ("artist_gap", "tracks")
    assert "There are 3 artists" in found.message
    assert "gap of 3" in found.remedy


def test_too_many_must_plays_by_one_artist() -> None:
    pool = a_pool(artist=["One"] * 3 + [f"Other {n}" for n in range(7)])
    (found,) = conflicts(pool, tracks=(6, 6), must=(0, 1, 2), artist_gap=4)
    assert found.wishes == ("must", "artist_gap")
    assert "Title 0; Title 1; Title 2" in found.message


@pytest.mark.parametrize(
    ("wishes", "named", "said"),
    [
        ({"minutes": 60.0}, ("minutes", "filter"), "together last 50.0 minutes"),
        ({"minutes": 12.0}, ("minutes",), "No number of the candidates"),
        ({"tracks": (4, 4), "minutes": 40.0}, ("tracks", "minutes"), "With 8 to 8 tracks"),
        ({"minutes": 10.0, "must": (0, 1, 2)}, ("must", "minutes"), "15.0 minutes"),
    ],
)
def test_minutes_that_cannot_be(wishes: dict[str, Any], named: tuple[str, ...], said: str) -> None:
    (found,) = conflicts(a_pool(), **wishes)
    assert found.wishes == named
    assert said in str(found)


def test_a_tempo_nobody_can_get_to() -> None:
    pool = a_pool(bpm=[90.0, *[120.0] * 9])
    (found,) = conflicts(pool, tracks=(5, 5), start=0, max_drift=4.0)
    assert found.wishes == ("max_drift", "start")
    assert "Title 0 (90.0 BPM)" in found.message
    assert "33.3% away" in found.remedy


def test_two_tempi_that_steps_this_small_do_not_join_in_time() -> None:
    """100 to 134 BPM in steps of 3.8%, as there are tracks for, takes nine tracks."""
    pool = a_pool(9, bpm=[100 * 1.0372**step for step in range(9)])
    (found,) = conflicts(pool, tracks=(6, 6), start=0, end=8, max_drift=4.0)
    assert found.wishes == ("max_drift", "start", "end", "tracks")
    assert "it takes 9 tracks to get from Title 0 (100.0 BPM)" in found.message
    assert "A tempo change of 8% a step would do" in found.remedy
    scores = np.full((9, 9), 0.5, dtype=np.float32)
    build_set(pool, scores, Wishes(tracks=(6, 6), start=0, end=8, max_drift=8.0), rounds=5)


def test_half_tempo_is_no_tempo_change() -> None:
    pool = a_pool(bpm=[62.0, 124.0, *[123.0] * 8])
    scores = np.full((10, 10), 0.5, dtype=np.float32)
    built = build_set(pool, scores, Wishes(tracks=(2, 2), start=0, end=1, max_drift=0.0), rounds=2)
    assert built.ids == (0, 1)


def test_keys_that_no_candidate_joins() -> None:
    pool = a_pool(camelot=["2A"] + ["8A"] * 8 + ["8B"])
    (found,) = conflicts(pool, tracks=(4, 4), must=(0,), keys="strict")
    assert found.wishes == ("keys", "must")


def test_three_must_plays_that_do_not_fit_between_start_and_end() -> None:
    """In a chain of tempi each pair is joined in time, all together are not."""
    pool = a_pool(9, bpm=[100 * 1.0372**step for step in range(9)])
    (found,) = conflicts(pool, tracks=(8, 8), start=4, must=(0, 8), max_drift=4.0)
    assert set(found.wishes) == {"max_drift", "must", "tracks"}


def test_wishes_in_each_others_way_are_found_by_trying_without_each() -> None:
    """Two artists alternate at best, but the only steps that keep the tempo stay with one artist."""
    pool = a_pool(8, bpm=[100.0] * 4 + [130.0] * 4, artist=["One"] * 4 + ["Two"] * 4)
    (found,) = conflicts(pool, tracks=(4, 4), max_drift=4.0, artist_gap=2)
    assert set(found.wishes) >= {"artist_gap", "max_drift"}
    assert "without the artist gap" in found.remedy
    assert "without a tempo change of at most 4%" in found.remedy
