"""Keys in every spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from map4_pipeline.hamms.camelot import (
    KEYS,
    compatible_keys,
    from_camelot,
    parse_key,
    ring_distance,
    split_key,
    to_camelot,
    to_open_key,
)

keys = st.sampled_from(KEYS)


@pytest.mark.parametrize(
    ("key", "camelot", "open_key"),
    [
        ("C major", "8B", "1d"),
        ("A minor", "8A", "1m"),
        ("G major", "9B", "2d"),
        ("E minor", "9A", "2m"),
        ("F major", "7B", "12d"),
        ("Ab minor", "1A", "6m"),
        ("B major", "1B", "6d"),
        ("E major", "12B", "5d"),
        ("Db minor", "12A", "5m"),
        ("F# major", "2B", "7d"),
        ("Eb minor", "2A", "7m"),
    ],
)
def test_the_published_ring(key: str, camelot: str, open_key: str) -> None:
    assert to_camelot(key) == camelot
    assert to_open_key(key) == open_key


@given(keys)
def test_every_notation_round_trips(key: str) -> None:
    assert parse_key(key) == parse_key(to_camelot(key)) == parse_key(to_open_key(key)) == key
    camelot = to_camelot(key)
    assert camelot is not None
    assert from_camelot(int(camelot[:-1]), camelot[-1]) == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Am", "A minor"),
        ("a min", "A minor"),
        ("A:min", "A minor"),
        ("AM", "A major"),
        ("A", "A major"),
        ("Amaj", "A major"),
        ("A MAJOR", "A major"),
        ("g#m", "Ab minor"),
        ("G\u266fm", "Ab minor"),
        ("B\u266d minor", "Bb minor"),
        ("D-flat major", "Db major"),
        ("C sharp minor", "Db minor"),
        ("Cb", "B major"),
        ("E#m", "F minor"),
        ("08a", "A minor"),
        ("12B", "E major"),
        ("1m", "A minor"),
        ("  F# moll ", "F# minor"),
        ("C dur", "C major"),
    ],
)
def test_spellings(text: str, key: str) -> None:
    assert parse_key(text) == key


@pytest.mark.parametrize("text", ["", None, "H", "13A", "0A", "Q##", "A lydian", "none", "8C", "A minor major"])
def test_what_is_no_key(text: str | None) -> None:
    assert parse_key(text) is None


def test_no_key_is_an_error_where_one_is_needed() -> None:
    with pytest.raises(ValueError, match="not a key"):
        split_key("H")
    assert to_camelot(None) is None
    assert to_open_key(None) is None


@given(keys, keys)
def test_the_ring_is_a_ring(a: str, b: str) -> None:
    assert ring_distance(a, b) == ring_distance(b, a) <= 6
    assert ring_distance(a, a) == 0


def test_twelve_is_next_to_one() -> None:
    assert ring_distance(from_camelot(12, "A"), from_camelot(1, "A")) == 1


@given(keys)
def test_compatible_keys(key: str) -> None:
    strict, wide = compatible_keys(key), compatible_keys(key, diagonals=True)
    assert len(set(strict)) == 4
    assert len(set(wide)) == 6
    assert set(strict) < set(wide)
    assert strict[0] == key
    assert all(ring_distance(key, other) <= 1 for other in wide)
