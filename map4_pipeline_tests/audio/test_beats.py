"""Beats are on the beat: grids, tempi that drift, loud off-beats, silence at the ends, and every encoder's delay."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from map4_pipeline.audio import analyse
from map4_pipeline.audio.beat_grid import fit_grid
from map4_pipeline.audio.beats import band_flux, track_beats
from map4_pipeline.audio.model import TempoSpan
from map4_pipeline.audio.rhythm import normalised, onset_strength
from map4_pipeline.audio.spectra import SAMPLE_RATE, Spectra, SpectraBuilder
from map4_pipeline_tests.audio import sound


def spectra_of(signal: np.ndarray) -> Spectra:
    builder = SpectraBuilder()
    builder.feed(signal.astype(np.float32))
    return builder.finish()


def beats_of(signal: np.ndarray, bpm: float) -> np.ndarray:
    mel = spectra_of(signal).mel
    onsets = onset_strength(mel)
    whole = TempoSpan(0.0, len(signal) / SAMPLE_RATE, bpm)
    return track_beats(mel, band_flux(mel), onsets.events, normalised(onsets.full), [whole]).times


def band(beats: Sequence[float], seconds: float, off_beat: float = 0.15) -> np.ndarray:
    """Kick on every beat, a snare-like burst on every other one, and a hat between them as loud as asked for."""
    out = np.zeros(int(seconds * SAMPLE_RATE))
    for k, time in enumerate(beats):
        sound.add(out, sound.kick(SAMPLE_RATE), time, SAMPLE_RATE)
        if k % 2:
            sound.add(out, sound.hat(k, SAMPLE_RATE) * 4, time, SAMPLE_RATE)
        if k + 1 < len(beats):
            hat = sound.hat(1000 + k, SAMPLE_RATE) * off_beat / 0.15
            sound.add(out, hat, (time + beats[k + 1]) / 2, SAMPLE_RATE)
    return out * 0.3


def test_steady_music_gets_a_steady_grid_on_its_beats() -> None:
    truth = np.arange(0.25, 40, 60 / 123.4)
    beats = beats_of(band(list(truth), 40), 123.5)
    assert len(beats) == len(truth)
    assert np.abs(beats - truth).max() < 0.010
    assert np.abs(np.diff(beats) - 60 / 123.4).max() < 0.0002


def test_loud_hats_between_the_beats_are_not_the_beat() -> None:
    truth = np.arange(0.25, 30, 60 / 126)
    signal = band(list(truth), 30, off_beat=1.0)
    envelope = onset_strength(spectra_of(signal).mel).full
    frame = np.rint((truth[2:40] + 30 / 126) * SAMPLE_RATE / 256).astype(int)
    on_beat = np.rint(truth[2:40] * SAMPLE_RATE / 256).astype(int)
    assert envelope[frame].mean() > envelope[on_beat].mean()
    assert np.abs(beats_of(signal, 126)[: len(truth)] - truth).max() < 0.020


def test_a_tempo_that_drifts_is_followed() -> None:
    k = np.arange(100)
    truth = 0.3 + np.cumsum(0.5 * (1 + 0.04 * np.sin(2 * np.pi * k / 60)))
    beats = beats_of(band(list(truth), 52), 120)
    distance = np.abs(beats[:, None] - truth).min(axis=0)
    assert (distance < 0.03).mean() > 0.95
    assert abs(len(beats) - len(truth)) <= 2


def test_beats_begin_and_end_with_the_sound() -> None:
    truth = np.arange(3.0, 27, 0.5)
    signal = band(list(truth), 27.2)
    beats = beats_of(np.concatenate([signal, np.zeros(5 * SAMPLE_RATE)]), 120)
    assert beats[0] == pytest.approx(3.0, abs=0.02)
    assert beats[-1] == pytest.approx(26.5, abs=0.02)


def test_a_beat_on_the_first_sample_counts() -> None:
    beats = beats_of(band(list(np.arange(0.0, 20, 0.5)), 20), 120)
    assert beats[0] == pytest.approx(0.0, abs=0.01)
    assert beats[1] == pytest.approx(0.5, abs=0.01)


def test_onsets_in_any_order_are_no_grid() -> None:
    steady = band(list(np.arange(0.1, 40, 0.5)), 40)
    scattered = band(sorted(np.random.default_rng(5).uniform(0, 40, 80)), 40)
    coherence = [fit_grid(normalised(onset_strength(spectra_of(s).mel).full), 120).coherence for s in (steady, scattered)]
    assert coherence[0] > 0.95
    assert coherence[1] < 0.7


@pytest.mark.parametrize(
    ("extension", "arguments"),
    [("mp3", ("-b:a", "192k")), ("m4a", ("-c:a", "aac", "-b:a", "160k")), ("opus", ("-b:a", "112k")), ("ogg", ("-q:a", "5"))],
)
def test_encoder_delay_does_not_move_the_beats(tmp_path: Path, extension: str, arguments: tuple[str, ...]) -> None:
    source = sound.write(tmp_path / "a.wav", sound.drums(122, 15))
    expected = analyse(source, stages=("features",)).features
    found = analyse(sound.encode(source, tmp_path / f"a.{extension}", *arguments), stages=("features",)).features
    assert expected is not None
    assert found is not None
    assert len(expected.beat_times) > 25
    assert expected.beat_first == pytest.approx(0.1, abs=0.01)
    assert np.abs(np.array(found.beat_times) - expected.beat_times).max() < 0.003
