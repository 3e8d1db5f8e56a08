"""The one pass over stereo says what the long way says."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from map4_pipeline.audio.intake import Intake

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 44100


def stream(kind: str) -> "NDArray[np.float32]":
    """Return three seconds of stereo of which something wants looking after, or nothing."""
    rng = np.random.default_rng(4)
    signal = rng.uniform(-0.4, 0.4, (3 * RATE + 7, 2)).astype(np.float32)
    if kind == "loud":
        signal = np.clip(signal * 9, -1, 1)
    elif kind == "antiphase":
        signal[:, 1] = -0.9 * signal[:, 0]
    elif kind == "silent":
        signal[:] = 0
    elif kind == "tiny":
        signal *= np.float32(1e-20)
    elif kind == "offset":
        signal += np.array([0.02, -0.001], np.float32)
    elif kind == "broken":
        signal[70000] = np.nan, np.inf
    elif kind == "damaged":
        signal[70000, 1] = 50.0
    return signal


@pytest.mark.parametrize("is_float", [False, True])
@pytest.mark.parametrize("kind", ["plain", "loud", "antiphase", "silent", "tiny", "offset", "broken", "damaged"])
def test_both_ways_say_the_same(kind: str, is_float: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    signal = stream(kind)
    found = []
    for quick in (True, False):
        if not quick:
            monkeypatch.setattr(Intake, "_take_ordinary", lambda *_: None)
        intake = Intake(RATE, 2, 9.0, loudness=True, float_samples=is_float)
        for start in range(0, len(signal), 20001):
            intake.feed(signal[start : start + 20001].copy())
        intake.feed(signal[:0].copy())
        intake.finish()
        found.append(intake)
    one, other = found
    for name in ("frames", "non_finite", "damaged", "clipped", "gain", "antiphase_frames", "negative_frames", "audible_frames"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("offset", "sum", "energy", "cross"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-4, abs=1e-2), name
    assert one.meter is not None
    assert other.meter is not None
    assert one.meter.steps() == pytest.approx(other.meter.steps(), rel=1e-6)
    assert one.meter.true_peak == other.meter.true_peak
    assert one.head == pytest.approx(other.head, abs=1e-6)
    assert one.clipped > 0 or kind != "loud"
    assert one.antiphase_frames > 0 or kind != "antiphase"


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_an_empty_block_is_nothing(channels: int) -> None:
    intake = Intake(RATE, channels, 0.0, loudness=True, float_samples=False)
    intake.feed(np.zeros((0, channels), np.float32))
    assert intake.frames == 0
