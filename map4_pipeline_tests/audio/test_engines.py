"""Engines that users install: they measure in MAP4's place, and their mistakes are told as theirs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from map4_pipeline.audio import ENGINE, FEATURES_VERSION, AudioError, Candidate, Features, analyse
from map4_pipeline.audio.engines import EngineError, Sound, features_identity, installed_engines, load_engine

from ..guest_engine import METRONOME, EngineShop

STUDIO = """
class Studio:
    name, version, stages, wants_samples = "studio", "2", ("features",), True

    def features(self, sound, measure):
        return hear(sound, measure)


def hear(sound, measure):
    raise NotImplementedError
"""


def measured(path: Path, engine: str = ENGINE) -> Features:
    features = analyse(path, stages=("features",), engine=engine).features
    assert features is not None
    return features


def test_without_an_engine_nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("map4_pipeline.audio.engines.installed_engines", None)
    assert load_engine(ENGINE) is None
    assert features_identity(ENGINE) == (ENGINE, FEATURES_VERSION)


def test_an_engine_measures_tempo_and_key_and_map4_builds_on_them(engine_shop: EngineShop, song: Path) -> None:
    engine_shop.install()
    own, other = measured(song), measured(song, "metronome")
    assert (other.bpm, other.bpm_confidence) == (77.7, 0.625)
    assert [(c.value, c.probability) for c in other.bpm_alternatives] == [(155.4, 0.25)]
    # Spelled as MAP4 spells; no confidence is no invention.
    assert (other.key, other.camelot, other.key_confidence) == ("F# minor", "11A", None)
    assert [(c.value, c.probability) for c in other.key_alternatives] == [("A major", 0.125)]
    # One opinion of the tempo and of the key, in every field.
    assert [span.bpm for span in other.tempo_spans] == [77.7]
    assert (other.open_key, other.key_spans) == ("4m", ())
    # The song is not at this tempo: beats are looked for near it.
    assert np.median(np.diff(other.beat_times)) == pytest.approx(60 / 77.7, rel=0.1)
    assert np.median(np.diff(own.beat_times)) == pytest.approx(0.5, rel=0.02)
    assert other.valence is not None
    assert own.valence is not None
    assert other.valence < own.valence  # minor, not major
    # What no engine replaces is as it was.
    assert (other.loudness_lufs, other.spectral_centroid, other.waveform) == (
        own.loudness_lufs,
        own.spectral_centroid,
        own.waveform,
    )


def test_an_engine_that_is_sure_of_a_key_has_it_from_end_to_end(engine_shop: EngineShop, song: Path) -> None:
    engine_shop.install(METRONOME.replace('KeyReading("F#m", None', 'KeyReading("F#m", 0.75'))
    (span,) = measured(song, "metronome").key_spans
    assert (span.start, span.end, span.key, span.probability) == (0, pytest.approx(24), "F# minor", 0.75)


def test_an_engine_that_finds_nothing_leaves_null_with_a_reason(engine_shop: EngineShop, song: Path) -> None:
    silent = """
    from map4_pipeline.audio.engines import KeyReading, TempoReading

    class Metronome:
        name, version, stages, wants_samples = "metronome", "1", {"tempo", "key"}, False
        def tempo(self, sound):
            return TempoReading(None, reason="the model hears no drummer")
        def key(self, sound):
            return KeyReading(None)
    """
    engine_shop.install(silent)
    features = measured(song, "metronome")
    assert (features.bpm, features.key, features.camelot, features.beat_times) == (None, None, None, ())
    assert features.null_reasons["bpm"] == features.null_reasons["beat_first"] == "the model hears no drummer"
    assert features.null_reasons["key"] == "no key found by the engine metronome 1"


@pytest.mark.parametrize("bpm", [12.0, 60.0, 98.0, 120.0, 900.0])
def test_what_a_tempo_of_an_engine_leaves_unknown_has_a_reason(bpm: float, engine_shop: EngineShop, song: Path) -> None:
    engine_shop.install(METRONOME.replace("77.7, 0.625, (Candidate(155.4, 0.25),)", str(bpm)))
    features = measured(song, "metronome")
    nothing = {name for name, value in features.to_dict().items() if value is None}
    assert nothing <= features.null_reasons.keys()
    assert (
        features.null_reasons["bpm_confidence"]
        == features.null_reasons["key_confidence"]
        == "the engine metronome 1.0 gives none"
    )
    assert ("tempo_stability" in features.null_reasons) == (bpm not in (60.0, 120.0))


def test_danceability_rests_on_the_pulse_at_the_engines_tempo(engine_shop: EngineShop, song: Path) -> None:
    def danceability(bpm: float) -> float:
        engine_shop.install(METRONOME.replace("77.7, 0.625, (Candidate(155.4, 0.25),)", str(bpm)))
        value = measured(song, "metronome").danceability
        assert value is not None
        return value

    own = measured(song)
    assert own.danceability is not None
    assert own.bpm is not None
    assert danceability(own.bpm) == pytest.approx(own.danceability, abs=0.01)
    # As near to 120 BPM as makes no difference, and nothing repeats there: the pulse of low and of all bands is gone.
    assert danceability(own.bpm * 1.1) < own.danceability - 0.3


def test_an_engine_of_all_features_may_change_some(engine_shop: EngineShop, song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine_shop.install(STUDIO, name="studio", target="Studio", package="studio-for-map4")
    own, heard = measured(song), []

    def hear(sound: Sound, measure: object) -> Features:
        heard.append(sound)
        features: Features = measure()  # type: ignore[operator]
        return replace(features, danceability=0.125, valence=None)

    load_engine("studio")
    monkeypatch.setattr("studio_for_map4.hear", hear)
    other = measured(song, "studio")
    reasons = own.null_reasons | {"valence": "not measured by the engine studio 2"}
    assert other == replace(own, danceability=0.125, valence=None, null_reasons=reasons)
    (sound,) = heard
    assert (sound.path, sound.technical.channels) == (str(song), 2)
    # The whole track, which a fingerprint alone would not keep.
    assert sound.samples.dtype == np.float32
    assert len(sound.samples) == sound.spectra.samples == pytest.approx(24 * 22050, abs=2)


def test_all_features_of_an_engine_take_the_form_of_map4s(
    engine_shop: EngineShop, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_shop.install(STUDIO, name="studio", target="Studio", package="studio-for-map4")
    load_engine("studio")

    def answer(**changes: object) -> Features:
        monkeypatch.setattr("studio_for_map4.hear", lambda sound, measure: replace(measure(), **changes))
        return measured(song, "studio")

    key = answer(key="F#m", key_alternatives=[Candidate("2B", np.float64(0.25))], null_reasons={"key": "atonal"})
    assert (key.key, key.camelot, key.open_key) == ("F# minor", "11A", "4m")
    assert key.key_alternatives == (Candidate("F# major", 0.25),)
    assert "key" not in key.null_reasons
    numbers = answer(
        bpm=np.float32(93.5), energy=np.float64(0.5), beat_times=np.array([0.5, 1.25], np.float32), beats_per_bar=np.int64(3)
    )
    assert json.loads(json.dumps(numbers.to_dict()))["beat_times"] == [0.5, 1.25]
    assert (numbers.bpm, numbers.energy, numbers.beats_per_bar) == (93.5, 0.5, 3)
    nothing = answer(bpm=None, key=None)
    assert (nothing.bpm_confidence, nothing.bpm_alternatives, nothing.key_confidence, nothing.key_alternatives) == (
        None,
        (),
        None,
        (),
    )
    assert (nothing.camelot, nothing.null_reasons["camelot"]) == (None, "not measured by the engine studio 2")


@pytest.mark.parametrize(
    ("stage", "answer", "told"),
    [
        ("tempo", "None", "gave no usable answer in its stage tempo"),
        ("tempo", "TempoReading(float('nan'))", "nan"),
        ("tempo", "TempoReading('fast')", "fast"),
        ("tempo", "TempoReading(120.0, 1.5)", "probability 1.5"),
        ("tempo", "TempoReading(120.0, None, (Candidate(-1.0, 0.5),))", "-1.0"),
        ("key", "KeyReading('X sharp')", "X sharp"),
        ("key", "KeyReading('Am', 0.5, (Candidate('', 0.1),))", "no usable answer"),
        ("tempo", "1 / 0", "ZeroDivisionError"),
        ("features", "replace(measure(), energy=float('nan'))", "energy = nan"),
        ("features", "replace(measure(), energy=7.0)", "energy = 7.0"),
        ("features", "replace(measure(), bpm='fast')", "bpm = 'fast'"),
        ("features", "replace(measure(), bpm=-5)", "bpm = -5"),
        ("features", "replace(measure(), bpm_confidence=True)", "bpm_confidence = True"),
        ("features", "replace(measure(), key='H moll')", "key = 'H moll'"),
        ("features", "replace(measure(), key_alternatives=(Candidate(70.0, 0.5),))", "key_alternatives = "),
        ("features", "replace(measure(), beat_times=(3.0, 1.0))", "beat_times = (3.0, 1.0)"),
        ("features", "replace(measure(), sections=None)", "sections = None"),
        ("features", "replace(measure(), sections=({'label': 'A'},))", "sections = "),
        ("features", "replace(measure(), beats_per_bar=3.5)", "beats_per_bar = 3.5"),
        ("tempo", "TempoReading(__import__('numpy').ones(2))", "array"),
    ],
)
def test_what_an_engine_does_wrong_is_the_files_error_and_names_the_engine(
    stage: str, answer: str, told: str, engine_shop: EngineShop, song: Path
) -> None:
    source = f"""
    from dataclasses import replace
    from map4_pipeline.audio.engines import KeyReading, TempoReading
    from map4_pipeline.audio.model import Candidate

    class Metronome:
        name, version, stages, wants_samples = "metronome", "0.9", ("{stage}",), False
        def {stage}(self, sound, measure=None):
            return {answer}
    """
    engine_shop.install(source)
    with pytest.raises(AudioError) as caught:
        measured(song, "metronome")
    assert caught.value.kind == "engine"
    assert "metronome 0.9" in caught.value.message
    assert told in caught.value.message
    assert "\n" not in caught.value.message


def test_a_damaged_file_is_damaged_whoever_measures(engine_shop: EngineShop, tmp_path: Path) -> None:
    engine_shop.install()
    (tmp_path / "x.mp3").touch()
    with pytest.raises(AudioError) as caught:
        measured(tmp_path / "x.mp3", "metronome")
    assert caught.value.kind == "empty"


def test_an_engine_that_is_not_there_is_told_with_those_that_are(engine_shop: EngineShop) -> None:
    engine_shop.install()
    assert "metronome" in installed_engines()
    with pytest.raises(EngineError, match=r"no engine 'metronom' \(MAP4_ENGINE\). Installed: map4, metronome\.") as caught:
        load_engine("metronom")
    assert caught.value.exit_code == 2
    engine_shop.install(package="another-metronome")
    with pytest.raises(EngineError, match=r"another-metronome 1\.0 and metronome-for-map4 1\.0") as caught:
        load_engine("metronome")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import a_package_that_is_not_there", "cannot be loaded (ModuleNotFoundError"),
        ("class Metronome:\n    name = 'metronome'", "it lacks name, version, stages or wants_samples"),
        (
            "class Metronome:\n    name, version, stages, wants_samples = 'organ', '1', ('tempo',), False",
            "it calls itself 'organ'",
        ),
        (
            "class Metronome:\n    name, version, stages, wants_samples = 'metronome', '1', ('melody',), False",
            "its stages are ['melody']",
        ),
        (
            "class Metronome:\n    name, version, stages, wants_samples = 'metronome', '1', ('tempo',), False",
            "it has no method tempo",
        ),
        (
            "class Metronome:\n    name, version, stages, wants_samples = 'metronome', 1, ('tempo',), False",
            "its version is no text",
        ),
    ],
)
def test_an_engine_that_cannot_be_used_names_its_package(source: str, told: str, engine_shop: EngineShop) -> None:
    engine_shop.install(source)
    with pytest.raises(EngineError) as caught:
        load_engine("metronome")
    assert caught.value.exit_code == 3
    assert "metronome-for-map4 1.0" in str(caught.value)
    assert told in str(caught.value)


def test_two_versions_of_an_engine_are_two_engines(engine_shop: EngineShop, song: Path) -> None:
    engine_shop.install()
    first = features_identity("metronome")
    engine_shop.install(version="1.1")
    second = features_identity("metronome")
    assert first == ("metronome", f"{FEATURES_VERSION}+metronome-1.0")
    assert second == ("metronome", f"{FEATURES_VERSION}+metronome-1.1")
    # What an engine answers can be stored.
    json.dumps(measured(song, "metronome").to_dict(), allow_nan=False)
