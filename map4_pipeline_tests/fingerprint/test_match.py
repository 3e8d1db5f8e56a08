"""Laws of fingerprint matching."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from map4_pipeline.fingerprint.codec import encode
from map4_pipeline.fingerprint.match import bit_error_rate, is_duplicate, match


def noise(count: int, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)


@given(st.integers(0, 1000), st.integers(-100, 100))
def test_a_shifted_copy_is_found(seed: int, shift: int) -> None:
    whole = noise(500, seed)
    a, b = whole[100:400], whole[100 - shift : 400 - shift]
    found = match(a, b)
    assert found.bit_error_rate == 0
    assert found.shift == shift
    assert found.overlap == 300 - abs(shift)
    back = match(b, a)
    assert back.bit_error_rate == 0
    assert back.shift == -shift


def test_unrelated_audio_differs_in_half_the_bits() -> None:
    assert bit_error_rate(noise(900), noise(900, 1)) == pytest.approx(0.5, abs=0.02)
    assert not match(noise(900), noise(900, 1)).is_same_recording


def test_text_and_items_are_the_same() -> None:
    a, b = noise(100), noise(100) ^ np.uint32(1)
    assert bit_error_rate(encode(a), encode(b)) == bit_error_rate(a, b) == 1 / 32


def test_nothing_matches_nothing() -> None:
    assert not match(noise(0), noise(0)).is_same_recording
    assert not match(noise(0), noise(9)).is_same_recording


def test_a_duplicate_has_the_same_length() -> None:
    assert is_duplicate(noise(300), noise(300), 200.0, 205.0)
    assert not is_duplicate(noise(300), noise(300), 200.0, 208.0)
