"""What is struck is heard, and where in the beat: what the octave of a tempo rests on."""

import numpy as np
import pytest

from benchmarks.train_events import auroc, fit, frames, targets
from map4_pipeline.audio.event_rhythm import EVENT_FEATURES, PAIRS, event_rhythm
from map4_pipeline.audio.events import CONTEXT, EVENTS, STRUCK, struck
from map4_pipeline.audio.rhythm import onset_strength
from map4_pipeline.audio.spectra import RHYTHM_FPS, SAMPLE_RATE
from map4_pipeline_tests.audio import sound
from map4_pipeline_tests.audio.test_beats import spectra_of


def test_the_feature_names_are_those_of_the_pairs_of_events() -> None:
    assert set(sum(PAIRS, ())) <= set(EVENTS)
    assert len(EVENT_FEATURES) == len(set(EVENT_FEATURES)) == 143


def test_kick_and_snare_are_told_apart() -> None:
    rng = np.random.default_rng(3)
    time = np.arange(int(0.2 * SAMPLE_RATE)) / SAMPLE_RATE
    kick = np.sin(2 * np.pi * (50 * time + 3 * (1 - np.exp(-time * 40)))) * np.exp(-time * 18)
    snare = (0.5 * np.sin(2 * np.pi * 190 * time) + rng.normal(size=len(time))) * np.exp(-time * 22)
    signal = np.zeros(20 * SAMPLE_RATE)
    for beat in range(38):
        start = int((0.5 + beat / 2) * SAMPLE_RATE)
        signal[start : start + len(time)] += 0.6 * kick if beat % 2 == 0 else 0.3 * snare
    events = onset_strength(spectra_of(signal).mel).events
    beats = np.rint((0.5 + np.arange(38) / 2) * RHYTHM_FPS).astype(int)
    near = np.max([events[beats + shift] for shift in (-1, 0, 1)], axis=0)
    kicks, snares = near[::2, EVENTS.index("kick")], near[1::2, EVENTS.index("snare")]
    assert np.median(kicks) > 3 * np.median(near[1::2, EVENTS.index("kick")])
    assert np.median(snares) > 3 * np.median(near[::2, EVENTS.index("snare")])


def test_chunks_and_the_ends_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    mel = spectra_of(sound.drums(120, 12, SAMPLE_RATE, start=0.3)).mel
    whole = onset_strength(mel)
    monkeypatch.setattr("map4_pipeline.audio.rhythm._CHUNK", 256)
    np.testing.assert_allclose(onset_strength(mel).events, whole.events, atol=1e-5)
    np.testing.assert_array_equal(onset_strength(mel).full, whole.full)
    assert not onset_strength(mel[:3]).events[:, STRUCK:].any()


def test_a_backbeat_shows_at_its_distance() -> None:
    events = np.zeros((int(40 * RHYTHM_FPS), len(EVENTS)), np.float32)
    beats = np.rint(np.arange(1, 76) * RHYTHM_FPS / 2).astype(int)  # 120 BPM
    events[beats[::2], EVENTS.index("kick")] = 1
    events[beats[1::2], EVENTS.index("snare")] = 1
    rhythm = event_rhythm(events)
    right, double = (dict(zip(EVENT_FEATURES, rhythm.describe(bpm), strict=True)) for bpm in (120.0, 240.0))
    assert right["kick_snare_1.000"] > 0.25 > 2 * right["kick_snare_2.000"]
    assert right["snare_2.000"] > 0.25 > 2 * right["snare_1.000"]
    assert double["kick_snare_2.000"] > 0.25 > 2 * double["kick_snare_1.000"]
    assert not any(right[f"hat_{ratio}"] for ratio in ("1.000", "2.000"))


def test_nothing_struck_tells_nothing() -> None:
    rhythm = event_rhythm(np.zeros((int(5 * RHYTHM_FPS), len(EVENTS)), np.float32))
    assert not rhythm.describe(100.0).any()


def test_notes_become_targets_by_instrument() -> None:
    notes = np.array([[0.0, 9, 36], [1.0, 9, 38], [2.0, 9, 42], [3.0, 1, 40], [4.0, 2, 60], [99.0, 9, 36]])
    wanted = targets(notes, int(5 * RHYTHM_FPS))
    assert [int(np.argmax(column) / RHYTHM_FPS + 0.5) for column in wanted.T] == [0, 1, 2, 3, 4]
    assert (wanted == 1).sum() == 5


def test_the_fit_learns_and_runs_as_the_engine_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.train_events.BATCH", 64)
    rng = np.random.default_rng(1)
    log = rng.random((12000, 40)).astype(np.float32)
    wanted = np.stack([log[:, k] > 0.7 for k in range(STRUCK)], axis=1).astype(np.float32)
    weights = fit(frames(log), wanted)
    assert weights[0].shape[:2] == (len(CONTEXT), 40)
    heard = struck(np.pad(log, ((2, 3), (0, 0)), mode="edge"), weights)
    assert all(auroc(heard[:, k], wanted[:, k] > 0.5) > 0.9 for k in range(STRUCK))
