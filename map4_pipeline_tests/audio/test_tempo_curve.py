"""Several tempi in one track are told; what only sounds like a change is not."""

from pathlib import Path

import numpy as np
import pytest

from map4_pipeline.audio import analyse
from map4_pipeline.audio.beats import band_flux, track_beats
from map4_pipeline.audio.model import TempoSpan
from map4_pipeline.audio.rhythm import normalised, onset_strength
from map4_pipeline.audio.spectra import SAMPLE_RATE
from map4_pipeline.audio.tempo import estimate_tempo
from map4_pipeline.audio.tempo_curve import find_spans, tempo_curve
from map4_pipeline_tests.audio import sound
from map4_pipeline_tests.audio.test_beats import band, spectra_of


def spans_of(signal: np.ndarray, bpm: float) -> tuple[TempoSpan, ...]:
    onsets = onset_strength(spectra_of(signal).mel)
    return find_spans(onsets, normalised(onsets.full), bpm, lambda part: estimate_tempo(part).bpm)


def drums(bpm: float, seconds: float) -> np.ndarray:
    return sound.drums(bpm, seconds, SAMPLE_RATE, start=0.0)


def test_one_tempo_is_one_span() -> None:
    (span,) = spans_of(drums(120, 90), 120)
    assert (span.start, span.bpm) == (0.0, 120)
    assert span.end == pytest.approx(90, abs=0.05)


def test_a_mix_of_two_tempi_is_two_spans_with_beats_in_both() -> None:
    signal = np.concatenate([drums(120, 60), drums(128, 45)])
    first, second = spans_of(signal, 120)
    assert first.bpm == pytest.approx(120, rel=0.001)
    assert second.bpm == pytest.approx(128, rel=0.001)
    assert first.end == second.start == pytest.approx(60, abs=3)
    mel = spectra_of(signal).mel
    onsets = onset_strength(mel)
    beats = track_beats(mel, band_flux(mel), onsets.events, normalised(onsets.full), (first, second)).times
    truth = np.concatenate([np.arange(0, 57, 0.5), 60 + np.arange(3.75, 44, 60 / 128)])
    assert np.abs(beats[:, None] - truth).min(axis=0).max() < 0.02
    assert np.diff(beats).min() > 0.2


def test_three_tempi_are_three_spans() -> None:
    spans = spans_of(np.concatenate([drums(96, 40), drums(110, 40), drums(135, 40)]), 110)
    assert [span.bpm for span in spans] == pytest.approx([96, 110, 135], rel=0.002)
    assert [span.start for span in spans] == pytest.approx([0, 40, 80], abs=3)


def test_the_tempo_of_a_track_with_several_is_one_of_them(tmp_path: Path) -> None:
    """Over the whole track, the beats of one pull at the other: 137.5 was measured for this."""
    signal = np.concatenate([sound.drums(100, 40), sound.drums(140, 40)]) * 0.5
    features = analyse(sound.write(tmp_path / "x.wav", signal), stages=("features",)).features
    assert features is not None
    assert [round(span.bpm) for span in features.tempo_spans] == [100, 140]
    assert features.bpm in [span.bpm for span in features.tempo_spans]


def test_the_tempo_of_a_track_that_drifts_lies_between_those_of_its_stretches(tmp_path: Path) -> None:
    signal = np.concatenate([sound.drums(122, 30), sound.drums(118.2, 20), sound.drums(122, 30)]) * 0.5
    features = analyse(sound.write(tmp_path / "x.wav", signal), stages=("features",)).features
    assert features is not None
    assert len(features.tempo_spans) > 1
    low, high = (extreme(span.bpm for span in features.tempo_spans) for extreme in (min, max))
    assert low < features.bpm < high


def test_a_span_has_the_tempo_that_it_has_on_its_own() -> None:
    signal = np.concatenate([drums(120, 40), drums(137, 40)])
    onsets = onset_strength(spectra_of(signal).mel)
    envelope = normalised(onsets.full)
    read = iter([60.0, 91.333])
    assert [span.bpm for span in find_spans(onsets, envelope, 120, lambda _: next(read))] == pytest.approx(
        [60, 91.333], rel=0.001
    )
    # What cannot be the tempo of these onsets is not believed, and nothing is no tempo.
    other = iter([101.0, None])
    assert [span.bpm for span in find_spans(onsets, envelope, 120, lambda _: next(other))] == pytest.approx([120, 137], rel=0.001)


@pytest.mark.parametrize("other", [60.0, 80.0, 90.0])
def test_another_metrical_level_is_no_change(other: float) -> None:
    signal = np.concatenate([drums(120, 48), drums(other, 24), drums(120, 48)])
    assert len(spans_of(signal, 120)) == 1


def test_a_break_is_no_change() -> None:
    pause = sound.chords(0, "minor", 24, SAMPLE_RATE)
    assert len(spans_of(np.concatenate([drums(120, 48), pause, drums(120, 48)]), 120)) == 1


def test_a_few_bars_in_another_tempo_are_no_span() -> None:
    assert len(spans_of(np.concatenate([drums(120, 50), drums(131, 8), drums(120, 50)]), 120)) == 1


def test_drift_is_one_span_and_a_curve() -> None:
    k = np.arange(180)
    interval = 0.5 * (1 + 0.05 * np.sin(2 * np.pi * k / 80))
    truth = 0.3 + np.cumsum(interval)
    signal = band(list(truth), 92)
    assert len(spans_of(signal, 120)) == 1
    curve = tempo_curve(truth, [TempoSpan(0, 92, 120)])
    assert len(curve) <= 200
    expected = np.interp([t for t, _ in curve[8:-8]], truth, 60 / interval)
    assert [bpm for _, bpm in curve[8:-8]] == pytest.approx(expected, rel=0.01)


def test_the_curve_does_not_blur_a_change() -> None:
    beats = np.concatenate([np.arange(0, 300, 0.5), np.arange(300.2, 600, 0.4)])
    curve = tempo_curve(beats, [TempoSpan(0, 300.1, 120), TempoSpan(300.1, 600, 150)])
    assert 100 < len(curve) <= 200
    assert {round(bpm) for t, bpm in curve if t < 300.1} == {120}
    assert {round(bpm) for t, bpm in curve if t > 300.1} == {150}
    assert tempo_curve(np.zeros(0), []) == ()
