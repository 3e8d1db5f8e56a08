"""A voice over music is told from the same music without it."""

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.signal

from map4_pipeline.audio.descriptors import excerpt, instrumentalness
from map4_pipeline.audio.spectra import SAMPLE_RATE, Spectra, SpectraBuilder
from map4_pipeline.audio.voice import DECIDING, FEATURES, deciding, load_model, voice_features, voice_probability
from map4_pipeline_tests.audio import sound

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: First three formants (Hz) of ah, ee, oo, eh, oh; means of men after Peterson & Barney 1952.
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
SECONDS = 24


def spectra_of(signal: "NDArray[np.float64]") -> Spectra:
    builder = SpectraBuilder()
    builder.feed(signal.astype(np.float32))
    return builder.finish()


def probability(signal: "NDArray[np.float64]") -> float:
    return voice_probability(excerpt(spectra_of(signal)))


def glottis(hertz: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Pulses at a changing pitch, 12 dB an octave down as those of the vocal folds."""
    pulse = np.diff(np.floor(np.cumsum(hertz) / SAMPLE_RATE), prepend=0.0)
    return np.asarray(scipy.signal.lfilter([1], [1, -1.9, 0.9025], pulse))


def syllable(vowel: int, following: int, hertz: "NDArray[np.float64]", seed: int) -> "NDArray[np.float64]":
    """A hiss, then a vowel that moves to the next one."""
    source = glottis(hertz)
    count = len(source)
    voiced = np.zeros(count)
    glide = np.linspace(0, 1, count) ** 2
    for place, weight in ((vowel, 1 - glide), (following, glide)):
        part = source
        for formant in VOWELS[place]:
            radius = np.exp(-np.pi * 90 / SAMPLE_RATE)
            angle = 2 * np.pi * formant / SAMPLE_RATE
            part = scipy.signal.lfilter(
                [1 - 2 * radius * np.cos(angle) + radius**2], [1, -2 * radius * np.cos(angle), radius**2], part
            )
        voiced += part * weight
    voiced *= np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.03 * SAMPLE_RATE))
    voiced = np.diff(voiced, prepend=0.0)
    voiced *= 0.1 / (np.sqrt((voiced**2).mean()) + 1e-9)
    hiss = np.diff(np.random.default_rng(seed).standard_normal(int(0.07 * SAMPLE_RATE) + 1), 1) * 0.03
    return np.concatenate([hiss * np.hanning(len(hiss)), voiced])


def voice(seconds: float, sung: bool) -> "NDArray[np.float64]":
    """Phrases of syllables: spoken with a falling pitch, or sung on the notes of a scale with vibrato; a breath after each."""
    random = np.random.default_rng(11 if sung else 12)
    out = np.zeros(int(seconds * SAMPLE_RATE))
    at, degree, k = 0.3, 2, 0
    while at < seconds - 1:
        last = k % 9 == 8
        length = float(random.choice([0.22, 0.35, 0.7])) if sung else float(random.uniform(0.1, 0.22))
        t = sound.times(length, SAMPLE_RATE)
        if sung:
            degree = int(np.clip(degree + random.integers(-2, 3), 0, 7))
            note = (0, 2, 4, 5, 7, 9, 11, 12)[degree]
            hertz = 196 * 2 ** (
                (note + 0.4 * np.sin(2 * np.pi * 5.5 * t) * np.minimum(1, t / 0.3) - 1.5 * np.exp(-t / 0.04)) / 12
            )
        else:
            hertz = 120 * 2 ** ((random.uniform(-2, 3) - 8 * t * (k % 9) / 9) / 12)
        sound.add(out, syllable(int(random.integers(5)), int(random.integers(5)), hertz, k), at, SAMPLE_RATE)
        at += length + 0.05 + (float(random.uniform(0.4, 0.8)) if last else 0.0)
        k += 1
    return out


def backing() -> "NDArray[np.float64]":
    return sound.chords(0, "major", SECONDS, SAMPLE_RATE) * 0.5 + sound.drums(100, SECONDS, SAMPLE_RATE) * 0.3


def lead() -> "NDArray[np.float64]":
    """An instrument that plays the sung melody's kind of notes, with vibrato, but has no formants to move."""
    random = np.random.default_rng(11)
    out = np.zeros(SECONDS * SAMPLE_RATE)
    at = 0.3
    while at < SECONDS - 1:
        length = float(random.choice([0.22, 0.35, 0.7]))
        t = sound.times(length, SAMPLE_RATE)
        hertz = 392 * 2 ** ((random.choice([0, 2, 4, 5, 7]) + 0.4 * np.sin(2 * np.pi * 5.5 * t) * np.minimum(1, t / 0.3)) / 12)
        phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
        note = sum((np.sin(j * phase) / j for j in range(1, 9)), np.zeros(len(t))) * np.minimum(1, t[::-1] / 0.03)
        sound.add(out, note * 0.1, at, SAMPLE_RATE)
        at += length + 0.05
    return out


@pytest.mark.parametrize("sung", [False, True])
def test_a_voice_over_music_is_heard(sung: bool) -> None:
    music = backing()
    assert probability(music) < 0.35
    # 2 dB and 5 dB over the music: a voice in front
    assert probability(music + 1.5 * voice(SECONDS, sung)) > 0.65


@pytest.mark.parametrize("sung", [False, True])
def test_the_louder_the_voice_the_surer(sung: bool) -> None:
    music, singer = backing(), voice(SECONDS, sung)
    rising = [probability(music + level * singer) for level in (0.0, 0.5, 1.0, 2.0)]
    assert rising == sorted(rising)


@pytest.mark.parametrize("sung", [False, True])
def test_a_voice_alone_is_a_voice(sung: bool) -> None:
    assert probability(voice(SECONDS, sung)) > 0.9


def test_an_instrument_that_leads_like_a_voice_is_none() -> None:
    assert probability(lead()) < 0.25
    assert probability(backing() + lead()) < 0.5


def test_sounds_unlike_any_music_are_no_voice() -> None:
    t = sound.times(12, SAMPLE_RATE)
    assert probability(np.random.default_rng(0).standard_normal(len(t)) * 0.1) < 0.2
    assert probability(np.sin(2 * np.pi * 440 * t) * 0.3) < 0.2


def test_a_voice_in_a_quarter_of_the_track_is_enough() -> None:
    music = backing()
    verse = np.zeros(len(music))
    verse[6 * SAMPLE_RATE : 13 * SAMPLE_RATE] = voice(7, True)
    assert probability(music + 2 * verse) > probability(music) + 0.3


def test_the_level_of_the_track_does_not_matter() -> None:
    song = backing() + voice(SECONDS, True)
    assert probability(song * 0.01) == pytest.approx(probability(song), abs=0.01)


def test_too_short_to_tell() -> None:
    spectra = spectra_of(backing()[: 2 * SAMPLE_RATE])
    assert instrumentalness(spectra, excerpt(spectra)) is None
    whole = spectra_of(backing())
    assert instrumentalness(whole, excerpt(whole)) == pytest.approx(1 - probability(backing()))


def test_many_blocks_are_a_sample_and_every_feature_is_finite() -> None:
    blocks = excerpt(spectra_of(backing()))
    many = np.tile(blocks, (40, 1, 1))
    assert voice_features(many).shape == (100, len(FEATURES))
    assert voice_features(blocks).shape == (len(blocks), len(FEATURES))
    assert np.isfinite(voice_features(np.zeros_like(blocks))).all()
    # same input, same bits
    assert voice_probability(blocks) == voice_probability(blocks)


def test_the_highest_fifth_of_the_blocks_decides() -> None:
    odds = np.array([-3.0] * 8 + [1.0, 3.0])
    assert DECIDING == 0.2
    assert deciding(odds) == pytest.approx(2.0)
    assert deciding(odds[:1]) == -3.0


def test_the_model_is_the_one_for_these_features() -> None:
    model = load_model()
    assert len(model.mean) == len(model.deviation) == len(model.weight) == len(FEATURES)
    assert (model.deviation > 0).all()
    assert model.track_scale > 0
