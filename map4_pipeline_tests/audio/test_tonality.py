"""Key, its changes and its absence: what must not depend on how a file begins, and what has no key."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from map4_pipeline.audio import analyse
from map4_pipeline.audio.key_evidence import key_evidence, key_scores, section_starts, timbre_frames, triad_likeness
from map4_pipeline.audio.key_spans import find_key_changes, relative_key
from map4_pipeline.audio.spectra import SAMPLE_RATE, TONAL_FPS, Spectra, SpectraBuilder
from map4_pipeline.audio.tonality import PITCH_CLASSES, Tonality, estimate_key, key_names
from map4_pipeline.hamms.camelot import to_open_key
from map4_pipeline_tests.audio import sound

RATE = SAMPLE_RATE


def spectra_of(signal: np.ndarray) -> Spectra:  # type: ignore[type-arg]
    builder = SpectraBuilder()
    builder.feed(signal.astype(np.float32))
    return builder.finish()


def key_of(signal: np.ndarray) -> Tonality:  # type: ignore[type-arg]
    return estimate_key(spectra_of(signal))


def noise(seconds: float, level: float, seed: int = 7) -> np.ndarray:  # type: ignore[type-arg]
    return level * np.random.default_rng(seed).standard_normal(int(seconds * RATE))


def minor_loop(tonic: int, seconds: float) -> np.ndarray:  # type: ignore[type-arg]
    """i-VI-III-VII, two seconds each, the drums in for 16 s and out for 16 s."""
    triads = [((tonic + step) % 12, mode) for step, mode in ((0, "minor"), (8, "major"), (3, "major"), (10, "major"))]
    out = sound.loop(triads, seconds, RATE)
    beat = sound.drums(120, 16, RATE, start=0.0)
    for start in range(0, int(seconds), 32):
        sound.add(out, beat * 0.6, start, RATE)
    return out


def row(seed: int, seconds: float, pitches: tuple[int, ...]) -> np.ndarray:  # type: ignore[type-arg]
    """A melody without accompaniment, four notes a second, every pitch class of `pitches` before any comes again."""
    generator = np.random.default_rng(seed)
    out = np.zeros(int(seconds * RATE))
    order: list[int] = []
    for k in range(int(seconds * 4)):
        order = order or list(generator.permutation(pitches))
        sound.add(out, sound.tone(220 * 2 ** (order.pop() / 12), 0.25, RATE) * 0.2, k / 4, RATE)
    return out


def cluster(notes: int, seconds: float) -> np.ndarray:  # type: ignore[type-arg]
    """Neighbouring semitones at once, on another one every two seconds."""
    lowest = np.random.default_rng(notes).integers(0, 12, int(seconds / 2))
    return (
        np.concatenate([sum(sound.tone(220 * 2 ** ((low + k) / 12), 2.0, RATE) for k in range(notes)) for low in lowest]) * 0.02
    )


def siren(seconds: float) -> np.ndarray:  # type: ignore[type-arg]
    t = sound.times(seconds, RATE)
    return np.sin(2 * np.pi * np.cumsum(300 * 2 ** np.sin(2 * np.pi * t / 3.7)) / RATE) * 0.3


BEFORE_THE_MUSIC = {
    "nothing": np.zeros(0),
    "drums": sound.drums(126, 9, RATE),
    "noise": noise(6, 0.1),
    "silence with the noise of the recording": noise(6, 1e-5),
    "digital silence": np.zeros(4 * RATE),
}


@pytest.mark.parametrize("before", BEFORE_THE_MUSIC)
def test_what_comes_before_the_music_does_not_move_the_key(before: str) -> None:
    found = key_of(np.concatenate([BEFORE_THE_MUSIC[before], minor_loop(9, 64)]))
    assert found.key == "A minor"
    assert len(found.spans) == 1


@pytest.mark.parametrize("cut", [2.0, 7.3])
def test_a_loop_cut_in_the_middle_is_heard_from_its_sections(cut: float) -> None:
    """The file begins on VI or VII; the drums come and go on i."""
    signal = minor_loop(4, 96)[int(cut * RATE) : -5 * RATE]
    assert key_of(signal).key == "E minor"


def test_a_fade_in_keeps_the_key() -> None:
    signal = minor_loop(2, 64)
    assert key_of(signal * np.minimum(1.0, np.arange(len(signal)) / (12 * RATE))).key == "D minor"


def test_sections_begin_where_the_drums_come_and_go() -> None:
    starts, changes = section_starts(timbre_frames(spectra_of(minor_loop(9, 96))))
    for expected in (16, 32, 48, 64, 80):
        assert np.abs(starts / TONAL_FPS - expected).min() < 0.6
    assert np.all(changes > 0)


def test_sections_of_even_sound_say_nothing() -> None:
    spectra = spectra_of(sound.chords(0, "major", 48, RATE))
    likeness = triad_likeness(estimate_key(spectra).frames)
    even = np.repeat(timbre_frames(spectra).mean(axis=0, keepdims=True), len(likeness), axis=0)
    assert np.abs(key_evidence(np.ones(12), likeness, even)[:, 3]).max() < 1e-6


@pytest.mark.parametrize(("tonic", "mode"), [(0, "major"), (6, "minor"), (10, "major")])
def test_a_track_in_one_key_is_one_span(tonic: int, mode: str) -> None:
    signal = sound.chords(tonic, mode, 60, RATE)
    found = key_of(signal)
    (span,) = found.spans
    assert span.key == found.key == f"{PITCH_CLASSES[tonic]} {mode}"
    assert span.probability == pytest.approx(found.confidence, abs=1e-3)
    assert (span.start, span.end) == (0.0, pytest.approx(len(signal) / RATE, abs=1e-3))


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("step", [1, 2, 3, 6, 11])
def test_a_change_of_key_is_found_where_it_is(step: int, mode: str) -> None:
    first, second = sound.chords(4, mode, 40, RATE), sound.chords((4 + step) % 12, mode, 32, RATE)
    found = key_of(np.concatenate([first, second]))
    keys = [f"{PITCH_CLASSES[4]} {mode}", f"{PITCH_CLASSES[(4 + step) % 12]} {mode}"]
    assert [span.key for span in found.spans] == keys
    assert found.spans[1].start == pytest.approx(40, abs=4)
    assert found.key == keys[0], "the key of the longer part"
    assert keys[1] in [c.value for c in found.alternatives]


def test_spans_have_no_gaps_and_a_track_may_come_back() -> None:
    home, away = sound.chords(7, "major", 30, RATE), sound.chords(8, "major", 20, RATE)
    found = key_of(np.concatenate([home, away, home]))
    assert [span.key for span in found.spans] == ["G major", "Ab major", "G major"]
    assert all(one.end == other.start for one, other in pairwise(found.spans))
    assert found.confidence is not None
    assert found.confidence + sum(c.probability for c in found.alternatives) <= 1.002


def test_a_key_and_its_relative_are_not_told_apart_by_frames() -> None:
    scores = np.zeros((200, 24))
    scores[:100, 0] = scores[100:, 21] = 1.0
    assert len(find_key_changes(scores)) == 1
    scores[100:, 21], scores[100:, 20] = 0.0, 1.0
    assert find_key_changes(scores) == [(0, 100, 0), (100, 200, 20)]


def test_relative_keys() -> None:
    names = key_names()
    assert names[relative_key(names.index("C major"))] == "A minor"
    assert all(relative_key(relative_key(key)) == key for key in range(24))


def test_a_chord_out_of_the_key_is_no_change_of_key() -> None:
    signal = sound.chords(0, "major", 48, RATE)
    strange = sound.chords(6, "major", 2, RATE)
    signal[20 * RATE : 22 * RATE] = strange[: 2 * RATE]
    assert len(key_of(signal).spans) == 1


ATONAL = {
    "white noise": noise(20, 0.1),
    "brown noise": np.cumsum(noise(20, 0.1)) * 0.003,
    "drums": sound.drums(124, 24, RATE),
    "slow drums": sound.drums(85, 24, RATE),
    "twelve-note cluster": cluster(12, 20),
    "six-note cluster": cluster(6, 20),
    "twelve-tone row": row(3, 24, tuple(range(12))),
    "siren": siren(20),
}


@pytest.mark.parametrize("name", ATONAL)
def test_what_has_no_key_gets_none(name: str) -> None:
    found = key_of(ATONAL[name])
    assert found.key is None
    assert found.reason == "atonal"
    assert found.confidence is None
    assert found.spans == ()
    assert found.alternatives == ()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_melody_without_chords_has_a_key(seed: int) -> None:
    melody = row(seed, 24, (0, 2, 4, 5, 7, 9, 11, 12))
    assert key_of(melody).key in ("A major", "F# minor"), "the scale is that of A major"


@pytest.mark.parametrize("cents", [-48.0, -30.0, 30.0, 48.0])
def test_tuning_up_to_a_quarter_tone(cents: float) -> None:
    found = key_of(sound.chords(3, "minor", 24, RATE, cents=cents))
    assert found.key == "Eb minor"
    assert found.tuning_cents == pytest.approx(cents, abs=2)


def test_scores_of_frames_are_those_of_each() -> None:
    frames = np.random.default_rng(1).random((5, 12))
    assert np.allclose(key_scores(frames), [key_scores(frame) for frame in frames])


def test_too_little_sound_for_a_key() -> None:
    spectra = spectra_of(sound.chords(0, "major", 1.2, RATE))
    assert estimate_key(spectra).reason == "too short for a key"
    assert estimate_key(replace(spectra, peak_frequency=spectra.peak_frequency[:3])).reason == "no pitched sound found"


def test_an_analysis_says_it_all(tmp_path: Path) -> None:
    signal = np.concatenate([sound.chords(9, "minor", 30), sound.chords(10, "minor", 24)])
    features = analyse(sound.write(tmp_path / "x.wav", signal)).features
    assert features is not None
    assert features.key == "A minor"
    assert features.open_key == to_open_key("A minor") == "1m"
    assert [span.key for span in features.key_spans] == ["A minor", "Bb minor"]
    drums = analyse(sound.write(tmp_path / "drums.wav", sound.drums(120, 20))).features
    assert drums is not None
    assert drums.key is None
    assert drums.key_spans == ()
    for name in ("key", "camelot", "open_key", "key_confidence"):
        assert getattr(drums, name) is None
        assert drums.null_reasons[name] == "atonal"
