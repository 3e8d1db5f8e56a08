"""How sure a tempo is, and what the fitting of the model learns."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.train_tempo import Item, confidences, fit
from map4_pipeline.audio import analyse
from map4_pipeline.audio.events import EVENTS
from map4_pipeline.audio.rhythm import Onsets
from map4_pipeline.audio.spectra import RHYTHM_FPS
from map4_pipeline.audio.tempo import estimate_tempo
from map4_pipeline.audio.tempo_model import certainty
from map4_pipeline_tests.audio import sound


def pulses(bpm: float, jitter: float, seconds: float = 40) -> Onsets:
    """Return onsets on every beat, each off by up to `jitter` of a beat."""
    rng = np.random.default_rng(5)
    beats = np.arange(1, seconds * bpm / 60 - 1)
    frames = ((beats + rng.uniform(-jitter, jitter, len(beats))) * 60 / bpm * RHYTHM_FPS).round().astype(int)
    envelope = np.zeros(int(seconds * RHYTHM_FPS), np.float32)
    for offset, height in ((-1, 0.5), (0, 1.0), (1, 0.5)):
        envelope[frames + offset] += np.float32(height)
    return Onsets(envelope, envelope, envelope, np.zeros((len(envelope), len(EVENTS)), np.float32))


def test_a_pulse_that_hardly_repeats_is_not_trusted() -> None:
    steady, loose = estimate_tempo(pulses(100, 0.0)), estimate_tempo(pulses(100, 0.1))
    assert steady.confidence is not None
    assert loose.confidence is not None
    assert loose.pulse < 0.35 < steady.pulse
    assert loose.confidence < 0.8 * steady.confidence


@pytest.mark.parametrize("bpm", [85, 100, 120, 140, 174])
@pytest.mark.parametrize("seconds", [4, 6, 8, 11])
def test_a_short_piece_has_the_tempo_of_a_long_one(bpm: float, seconds: float, tmp_path: Path) -> None:
    """What does not repeat only because it is short does not speak for twice the tempo."""
    features = analyse(sound.write(tmp_path / "short.wav", sound.drums(bpm, seconds) * 0.5), extras=False).features
    assert features is not None
    assert features.bpm == pytest.approx(bpm, rel=0.005)


@pytest.mark.parametrize("seconds", [5, 12, 30, 120])
def test_noise_has_no_tempo(seconds: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).standard_normal(int(seconds * sound.RATE)) * 0.1
    features = analyse(sound.write(tmp_path / "noise.wav", noise), extras=False).features
    assert features is not None
    assert features.bpm is None
    assert features.null_reasons["bpm"] == "no beat found: the onsets do not repeat at a steady distance"


def test_certainty_never_exceeds_the_probability() -> None:
    assert certainty(0.9, 0.8) == 0.9
    assert certainty(0.9, 0.175) == pytest.approx(0.45)
    assert certainty(0.9, 0.0) == 0.0


def test_the_fit_finds_the_feature_that_tells_the_beat() -> None:
    rng = np.random.default_rng(2)
    items = []
    for k in range(80):
        right = np.eye(4)[k % 4]
        features = np.column_stack([rng.normal(size=4), rng.normal(size=4) + 3 * right, rng.normal(size=4)])
        items.append(Item(0, str(k), "a" if k % 2 else "b", 120.0, np.full(4, 120.0), features, right, np.ones(4)))
    model = fit(items)
    assert model["weight"][1] > 3 * max(abs(model["weight"][0]), abs(model["weight"][2]))
    pairs = confidences([(item, model) for item in items], 1.0)
    assert np.mean([hit for _, hit in pairs]) > 0.9
    assert np.mean([c for c, hit in pairs if hit]) > np.mean([c for c, hit in pairs if not hit] or [0.0])
