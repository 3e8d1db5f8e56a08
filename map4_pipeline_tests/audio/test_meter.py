"""The bar: four beats or three, where it begins, and nothing where it cannot be told."""

import numpy as np
import pytest

from map4_pipeline.audio.beats import Beats, band_flux
from map4_pipeline.audio.meter import Meter, find_meter
from map4_pipeline.audio.spectra import SAMPLE_RATE
from map4_pipeline_tests.audio import sound
from map4_pipeline_tests.audio.test_beats import spectra_of

BEAT = 0.5
#: Roots over which triads change from bar to bar.
ROOTS = (0, 9, 5, 7)


def music(beats_per_bar: int, first: int, bars: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A bass note and a kick on one, chords on the other beats, a new chord every bar; bars begin on beat `first`."""
    count = beats_per_bar * bars
    times = 0.2 + BEAT * np.arange(count)
    out = np.zeros(int((count * BEAT + 1) * SAMPLE_RATE))
    for k, time in enumerate(times):
        bar, place = divmod(k - first, beats_per_bar)
        root = ROOTS[bar % 4]
        if place == 0:
            sound.add(out, sound.kick(SAMPLE_RATE) * 0.6, time, SAMPLE_RATE)
            note = sound.tone(65.4 * 2 ** (root / 12), BEAT * beats_per_bar, SAMPLE_RATE)
            sound.add(out, note * np.linspace(1, 0.2, len(note)) * 0.2, time, SAMPLE_RATE)
            continue
        for interval in (0, 4, 7):
            note = sound.tone(261.6 * 2 ** ((root + interval) % 12 / 12), BEAT * 0.8, SAMPLE_RATE)
            sound.add(out, note * np.linspace(1, 0, len(note)) * 0.08, time, SAMPLE_RATE)
    return out, times


def meter_of(signal: np.ndarray, times: np.ndarray, phase: float = 1.0, tempo: float = 1.0) -> Meter:
    spectra = spectra_of(signal)
    return find_meter(spectra, band_flux(spectra.mel), Beats(times, phase), tempo)


@pytest.mark.parametrize(("beats_per_bar", "first"), [(4, 0), (4, 1), (4, 2), (4, 3), (3, 0), (3, 1), (3, 2)])
def test_the_bar_begins_where_bass_and_chord_change(beats_per_bar: int, first: int) -> None:
    signal, times = music(beats_per_bar, first)
    meter = meter_of(signal, times)
    assert meter.beats_per_bar == beats_per_bar
    np.testing.assert_array_equal(meter.downbeats, times[first::beats_per_bar])
    assert meter.confidence is not None
    assert meter.confidence > 0.6


def test_beats_that_are_all_alike_have_no_bar() -> None:
    times = 0.2 + BEAT * np.arange(80)
    out = np.zeros(int(41 * SAMPLE_RATE))
    for time in times:
        sound.add(out, sound.kick(SAMPLE_RATE), time, SAMPLE_RATE)
    meter = meter_of(out, times)
    assert (meter.beats_per_bar, meter.confidence, len(meter.downbeats)) == (None, None, 0)
    assert "cannot be told" in meter.reason


def test_doubtful_beats_make_doubtful_bars() -> None:
    signal, times = music(4, 0)
    sure, doubtful = meter_of(signal, times), meter_of(signal, times, 0.8, 0.9)
    assert sure.confidence is not None
    assert doubtful.confidence == pytest.approx(0.72 * sure.confidence)
    assert meter_of(signal, times, 0.3).beats_per_bar is None


def test_a_few_beats_make_no_bar() -> None:
    signal, times = music(4, 0)
    meter = meter_of(signal[: 5 * SAMPLE_RATE], times[:9])
    assert meter.beats_per_bar is None
    assert meter.reason == "too few beats for a bar"
