"""Known groups: sounds that a listener would put in one order, and the descriptor that must put them in the same."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.signal

from map4_pipeline.audio import Features, analyse
from map4_pipeline_tests.audio import sound
from map4_pipeline_tests.audio.test_voice import SECONDS, backing, voice

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Enough for everything that is measured here, and cheap.
RATE = 22050
MINOR_FALL = [(9, "minor"), (5, "major"), (0, "major"), (7, "major")]


def measure(tmp_path: Path, signal: "NDArray[np.float64]") -> Features:
    result = analyse(sound.write(tmp_path / "x.wav", signal, RATE), stages=("features",)).features
    assert result is not None
    return result


def value(features: Features, name: str) -> float:
    measured = getattr(features, name)
    assert measured is not None, features.null_reasons.get(name)
    assert 0 <= measured <= 1
    return float(measured)


def pluck(hertz: float, seconds: float) -> "NDArray[np.float64]":
    """A string: high partials die away first."""
    t = sound.times(seconds, RATE)
    wave = np.zeros(len(t))
    for k in range(1, 13):
        if hertz * k < 9000:
            wave += np.sin(2 * np.pi * hertz * k * t) * np.exp(-t * (1.5 + 1.2 * k)) / k
    return wave


def saw(hertz: float, seconds: float) -> "NDArray[np.float64]":
    return np.asarray(scipy.signal.sawtooth(2 * np.pi * hertz * sound.times(seconds, RATE)))


def noise(seconds: float, seed: int = 0) -> "NDArray[np.float64]":
    return np.random.default_rng(seed).standard_normal(int(seconds * RATE))


def melody(seconds: float, note: float, tonic: float = 220.0) -> "NDArray[np.float64]":
    """Plucked notes of the major scale, `note` seconds each."""
    out = np.zeros(int(seconds * RATE))
    steps = (0, 4, 7, 12, 9, 7, 5, 2)
    for k in range(int(seconds / note)):
        sound.add(out, pluck(tonic * 2 ** (steps[k % 8] / 12), 1.5) * 0.3, k * note, RATE)
    return out


def hits(times: "NDArray[np.floating[Any]]", seconds: float) -> "NDArray[np.float64]":
    out = np.zeros(int(seconds * RATE))
    for k, at in enumerate(times):
        sound.add(out, sound.kick(RATE) * (1.0 if k % 2 == 0 else 0.8) + np.pad(sound.hat(k, RATE), (0, 2205)), float(at), RATE)
    return out * 0.5


@pytest.mark.parametrize(("hertz", "place"), [(125, 0.0), (250, 0.2), (500, 0.4), (1000, 0.6), (4000, 1.0)])
def test_the_centroid_of_a_sine_is_its_frequency(hertz: float, place: float, tmp_path: Path) -> None:
    features = measure(tmp_path, np.sin(2 * np.pi * hertz * sound.times(4, RATE)) * 0.3)
    assert features.spectral_centroid_hz == pytest.approx(hertz, rel=0.02)
    assert features.spectral_centroid == pytest.approx(place, abs=0.01)


def test_the_centroid_of_filtered_noise_is_the_middle_of_its_band(tmp_path: Path) -> None:
    band = scipy.signal.butter(8, (1000, 3000), "bandpass", fs=RATE, output="sos")
    features = measure(tmp_path, scipy.signal.sosfilt(band, noise(6)) * 0.2)
    assert features.spectral_centroid_hz == pytest.approx(2000, rel=0.05)


def test_energy_rises_with_level_density_and_brightness(tmp_path: Path) -> None:
    plain = melody(16, 0.5)
    base = value(measure(tmp_path, plain), "energy")
    assert value(measure(tmp_path, plain * 0.2), "energy") < base - 0.15
    assert value(measure(tmp_path, melody(16, 0.125)), "energy") > base + 0.1
    # the same notes without their fundamentals, as loud
    bright = scipy.signal.sosfilt(scipy.signal.butter(4, 1500, "high", fs=RATE, output="sos"), plain)
    features = measure(tmp_path, bright * np.sqrt((plain**2).mean() / (bright**2).mean()))
    assert value(features, "spectral_centroid") > 0.6
    assert value(features, "energy") > base + 0.05


def test_four_on_the_floor_is_for_dancing_and_rubato_is_not(tmp_path: Path) -> None:
    floor = sound.drums(122, 24, RATE)
    steps = 0.45 * (1 + 0.45 * np.random.default_rng(3).uniform(-1, 1, 60))
    rubato = np.zeros(24 * RATE)
    for k, at in enumerate(np.cumsum(steps)):
        if at < 22:
            sound.add(rubato, pluck(220 * 2 ** ((0, 4, 7, 12)[k % 4] / 12), 1.5) * 0.3, float(at), RATE)
    dance = value(measure(tmp_path, floor), "danceability")
    free = measure(tmp_path, rubato)
    assert dance > 0.7
    # where nothing repeats there is no tempo, and no danceability either
    assert free.danceability is None or free.danceability < dance - 0.3


def test_slow_and_dark_in_minor_is_sadder_than_fast_and_bright_in_major(tmp_path: Path) -> None:
    happy = sound.drums(150, 20, RATE) * 0.5 + sound.chords(0, "major", 20, RATE)
    sad = sound.drums(66, 20, RATE) * 0.1 + sound.chords(0, "minor", 20, RATE)
    dark = scipy.signal.sosfilt(scipy.signal.butter(4, 600, fs=RATE, output="sos"), sad)
    assert value(measure(tmp_path, happy), "valence") > value(measure(tmp_path, dark), "valence") + 0.4


def test_strings_are_more_acoustic_than_saws_and_noise(tmp_path: Path) -> None:
    strings = melody(16, 0.5)
    piano = melody(16, 0.25, 330.0) + melody(16, 1.0, 110.0)
    synth = np.zeros(16 * RATE)
    for k in range(8):
        for interval in (0, 4, 7):
            sound.add(synth, saw(110 * 2 ** ((interval + (0, 5, 7, 0)[k % 4]) / 12), 2.0) * 0.1, 2.0 * k, RATE)
    machine = sound.drums(128, 16, RATE)
    for k in range(64):
        sound.add(machine, noise(0.1, k) * np.exp(-sound.times(0.1, RATE) * 30) * 0.2, 0.25 * k, RATE)
    natural = [value(measure(tmp_path, x), "acousticness") for x in (strings, piano)]
    synthetic = [value(measure(tmp_path, x), "acousticness") for x in (synth, machine, synth + machine)]
    assert min(natural) > max(synthetic) + 0.2, (natural, synthetic)


def test_syncopation_lies_off_the_beat(tmp_path: Path) -> None:
    beat = 0.5
    straight = hits(np.arange(48) * beat + 0.1, 24)
    eighths = straight + sum(
        (np.roll(straight, int(RATE * shift * beat)) * level for shift, level in ((0.5, 0.3),)), np.zeros(len(straight))
    )
    # the tresillo, 3 + 3 + 2 of eight: two strokes of three are off the beat
    syncopated = hits(np.concatenate([np.arange(12) * 4 * beat + s * beat for s in (0, 0.75, 1.5, 2, 2.75, 3.5)]) + 0.1, 24)
    pulse = hits(np.arange(48) * beat + 0.1, 24) * 0.4
    first, second, third = (value(measure(tmp_path, x), "rhythmic_pattern") for x in (straight, eighths, syncopated + pulse))
    assert first < 0.2
    assert first < second < third
    assert third > first + 0.2


def test_a_drifting_tempo_is_less_stable_than_a_metronome(tmp_path: Path) -> None:
    steady = measure(tmp_path, hits(np.arange(100) * 0.5 + 0.1, 50))
    at = [0.1]
    while at[-1] < 49:
        at.append(at[-1] + 0.5 * (1 + 0.08 * np.sin(2 * np.pi * at[-1] / 50)))
    drifting = measure(tmp_path, hits(np.array(at), 50))
    assert value(steady, "tempo_stability") > 0.95
    assert value(drifting, "tempo_stability") < 0.5


def test_changing_chords_are_more_complex_than_one(tmp_path: Path) -> None:
    one = sound.loop([(0, "major")], 24, RATE)
    diatonic = sound.loop(MINOR_FALL, 24, RATE)
    chromatic = sound.loop([(0, "major"), (1, "minor"), (6, "major"), (3, "minor"), (8, "major"), (11, "minor")], 24, RATE)
    first, second, third = (value(measure(tmp_path, x), "harmonic_complexity") for x in (one, diatonic, chromatic))
    assert first + 0.1 < second
    assert second + 0.1 < third


def test_quiet_and_loud_parts_have_more_range_than_a_constant_level(tmp_path: Path) -> None:
    chords = sound.chords(0, "major", 40, RATE)
    level = np.where(np.arange(len(chords)) // (10 * RATE) % 2, 1.0, 0.15)
    constant, parts = measure(tmp_path, chords), measure(tmp_path, chords * level)
    assert parts.loudness_range_lu is not None
    assert constant.loudness_range_lu is not None
    # 20 log10(1 / 0.15) = 16.5 dB between the parts
    assert parts.loudness_range_lu == pytest.approx(16.5, abs=2.5)
    assert value(parts, "dynamic_range") > value(constant, "dynamic_range") + 0.4


@pytest.mark.parametrize("sung", [False, True])
def test_a_track_with_a_voice_is_less_instrumental(sung: bool, tmp_path: Path) -> None:
    music = backing()
    plain, voiced = measure(tmp_path, music), measure(tmp_path, music + 1.5 * voice(SECONDS, sung))
    assert value(plain, "instrumentalness") > 0.65
    assert value(voiced, "instrumentalness") < 0.35


def test_two_seconds_are_too_short_to_tell_a_voice(tmp_path: Path) -> None:
    features = measure(tmp_path, backing()[: 2 * RATE])
    assert features.instrumentalness is None
    assert "too short" in features.null_reasons["instrumentalness"]
