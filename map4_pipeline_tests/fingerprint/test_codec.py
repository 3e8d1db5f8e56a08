"""The compressed form round-trips, and what is none is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from map4_pipeline.fingerprint.codec import algorithm_of, decode, encode

items = st.lists(st.integers(0, 2**32 - 1), max_size=60)


@given(items, st.integers(0, 255))
def test_round_trip(values: list[int], algorithm: int) -> None:
    text = encode(np.array(values, dtype=np.uint32), algorithm)
    assert decode(text).tolist() == values
    assert algorithm_of(text) == algorithm
    assert "=" not in text
    assert "+" not in text
    assert "/" not in text


def test_known_fingerprint() -> None:
    """One item with bits 0 and 31: distances 1 and 31, the second as 7 and 24."""
    raw = bytes([1, 0, 0, 1, 0b00111001, 0b00000000, 24])
    assert decode("AQAAATkAGA").tolist() == [0x80000001]
    assert encode(np.array([0x80000001], dtype=np.uint32)) == "AQAAATkAGA"
    assert len(raw) == 7


@pytest.mark.parametrize("text", ["", "AQ", "not base64!", "AQAAEA", "\u00e9"])
def test_no_fingerprint(text: str) -> None:
    with pytest.raises(ValueError, match="not a fingerprint"):
        decode(text)
