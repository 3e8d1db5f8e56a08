"""Tempo, beats, key, tuning and the descriptors on music whose answer is known."""

from pathlib import Path

import numpy as np
import pytest

from map4_pipeline.audio import Features, analyse
from map4_pipeline.audio.tonality import PITCH_CLASSES
from map4_pipeline_tests.audio import sound


def features_of(tmp_path: Path, signal: np.ndarray, rate: int = sound.RATE) -> Features:  # type: ignore[type-arg]
    result = analyse(sound.write(tmp_path / "x.wav", signal, rate)).features
    assert result is not None
    return result


@pytest.mark.parametrize("bpm", [72.0, 90.5, 103.37, 120.0, 128.0, 145.0])
def test_tempo_of_drums(bpm: float, tmp_path: Path) -> None:
    features = features_of(tmp_path, sound.drums(bpm, 30))
    assert features.bpm is not None
    assert features.bpm_confidence is not None
    readings = [features.bpm, *(float(c.value) for c in features.bpm_alternatives)]
    assert min(abs(r / bpm - 1) for r in readings) < 0.001
    assert features.bpm == pytest.approx(bpm, rel=0.001)
    total = features.bpm_confidence + sum(c.probability for c in features.bpm_alternatives)
    assert 0 < features.bpm_confidence <= total <= 1.002


def test_beats_fall_on_the_drums(tmp_path: Path) -> None:
    features = features_of(tmp_path, sound.drums(110, 30, start=0.25))
    truth = 0.25 + np.arange(int(29.5 * 110 / 60)) * 60 / 110
    beats = np.array(features.beat_times)
    hits = [np.abs(beats - t).min() < 0.07 for t in truth]
    assert np.mean(hits) > 0.95
    assert abs(len(beats) - len(truth)) <= 3
    assert features.beat_first == beats[0]


def test_a_rate_that_is_not_44100(tmp_path: Path) -> None:
    for rate in (8000, 22050, 48000, 96000):
        assert features_of(tmp_path, sound.drums(120, 12, rate), rate).bpm == pytest.approx(120, rel=0.002)


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("tonic", [0, 3, 6, 8, 11])
def test_key_of_a_cadence(tonic: int, mode: str, tmp_path: Path) -> None:
    features = features_of(tmp_path, sound.chords(tonic, mode, 16))
    assert features.key == f"{PITCH_CLASSES[tonic]} {mode}"
    assert features.key_confidence is not None
    assert 0 < features.key_confidence <= 1
    assert features.key not in [c.value for c in features.key_alternatives]


@pytest.mark.parametrize("tonic", [0, 4, 9])
def test_a_bare_minor_loop_is_its_minor_key_or_its_relative_major_and_both_are_told(tonic: int, tmp_path: Path) -> None:
    # i-VI-III-VII has the notes of III major; it begins on i, and nothing else in it says which
    triads = [((tonic + step) % 12, mode) for step, mode in ((0, "minor"), (8, "major"), (3, "major"), (10, "major"))]
    features = features_of(tmp_path, sound.loop(triads, 24))
    relative = f"{PITCH_CLASSES[(tonic + 3) % 12]} major"
    read = {features.key: features.key_confidence, **{c.value: c.probability for c in features.key_alternatives}}
    assert set(list(read)[:2]) == {f"{PITCH_CLASSES[tonic]} minor", relative}
    assert read[f"{PITCH_CLASSES[tonic]} minor"] > 0.15


@pytest.mark.parametrize("cents", [-40.0, -15.0, 20.0, 45.0])
def test_tuning_is_measured_and_does_not_move_the_key(cents: float, tmp_path: Path) -> None:
    features = features_of(tmp_path, sound.chords(9, "minor", 16, cents=cents))
    assert features.tuning_cents == pytest.approx(cents, abs=3)
    assert features.key == "A minor"
    assert features.camelot == "8A"


def test_known_groups(tmp_path: Path) -> None:
    """Hard drums against soft chords: every descriptor with a plain meaning orders them as a listener would."""
    hard = features_of(tmp_path, np.clip(sound.drums(128, 20) * 4 + sound.chords(9, "minor", 20), -1, 1))
    soft = features_of(tmp_path, sound.chords(0, "major", 20) * 0.1)
    assert hard.energy is not None
    assert soft.energy is not None
    assert hard.energy > soft.energy + 0.2
    assert hard.acousticness is not None
    assert soft.acousticness is not None
    assert hard.acousticness < soft.acousticness
    assert hard.spectral_centroid is not None
    assert soft.spectral_centroid is not None
    assert hard.spectral_centroid > soft.spectral_centroid
    assert hard.danceability is not None
    assert hard.danceability > 0.6
    assert hard.tempo_stability is not None
    assert hard.tempo_stability > 0.9


def test_major_is_happier_than_minor(tmp_path: Path) -> None:
    drums = sound.drums(120, 16) * 0.3
    happy = features_of(tmp_path, drums + sound.chords(0, "major", 16))
    sad = features_of(tmp_path, drums + sound.chords(0, "minor", 16))
    assert happy.valence is not None
    assert sad.valence is not None
    assert happy.valence > sad.valence + 0.2


def test_more_notes_are_more_complex(tmp_path: Path) -> None:
    plain = features_of(tmp_path, sound.tone(220, 16) * 0.1)
    wandering = features_of(tmp_path, sum(sound.chords(t, "minor", 16) for t in (0, 1, 6)) * 0.5)
    assert plain.harmonic_complexity is not None
    assert wandering.harmonic_complexity is not None
    assert wandering.harmonic_complexity > plain.harmonic_complexity + 0.2


def test_off_beats_make_a_rhythm_more_syncopated(tmp_path: Path) -> None:
    straight = np.zeros(sound.RATE * 20)
    shifted = np.zeros(sound.RATE * 20)
    for k in range(39):
        sound.add(straight, sound.kick(), 0.1 + k * 0.5)
        sound.add(shifted, sound.kick(), 0.1 + k * 0.5)
        sound.add(shifted, sound.hat(k) * 5, 0.1 + (k + 0.75) * 0.5)
    first, second = features_of(tmp_path, straight * 0.5), features_of(tmp_path, shifted * 0.5)
    assert first.rhythmic_pattern is not None
    assert second.rhythmic_pattern is not None
    assert second.rhythmic_pattern > first.rhythmic_pattern + 0.1


def test_loudness_range_follows_the_dynamics(tmp_path: Path) -> None:
    level = np.where(np.arange(sound.RATE * 40) // (sound.RATE * 10) % 2 == 0, 0.05, 0.5)
    dynamic = features_of(tmp_path, sound.chords(0, "major", 40) * level)
    flat = features_of(tmp_path, sound.chords(0, "major", 40) * 0.3)
    assert dynamic.dynamic_range is not None
    assert flat.dynamic_range is not None
    assert dynamic.dynamic_range > flat.dynamic_range + 0.4
