"""The form of a track: where parts begin, and which return."""

import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from map4_pipeline.audio.model import Section
from map4_pipeline.audio.sections import MIN_SECONDS, find_sections, novelty
from map4_pipeline.audio.spectra import SAMPLE_RATE, Spectra, SpectraBuilder
from map4_pipeline_tests.audio import sound

if TYPE_CHECKING:
    from numpy.typing import NDArray


def spectra_of(signal: "NDArray[np.float64]") -> Spectra:
    builder = SpectraBuilder()
    builder.feed(signal.astype(np.float32))
    return builder.finish()


def sections_of(signal: "NDArray[np.float64]") -> tuple[Section, ...]:
    duration = len(signal) / SAMPLE_RATE
    found = find_sections(spectra_of(signal), duration)
    assert found[0].start == 0.0
    assert found[-1].end == duration
    assert all(left.end == right.start for left, right in pairwise(found))
    assert all(left.label != right.label for left, right in pairwise(found))
    assert len(found) == 1 or all(part.end - part.start >= MIN_SECONDS - 0.5 for part in found)
    return found


def verse(seconds: float) -> "NDArray[np.float64]":
    return sound.loop([(9, "minor"), (5, "major")], seconds, SAMPLE_RATE)


def chorus(seconds: float) -> "NDArray[np.float64]":
    return sound.loop([(0, "major"), (7, "major")], seconds, SAMPLE_RATE) + sound.drums(120, seconds, SAMPLE_RATE)


def bridge(seconds: float) -> "NDArray[np.float64]":
    return np.random.default_rng(1).standard_normal(int(seconds * SAMPLE_RATE)) * 0.02


def test_a_song_in_aba_form() -> None:
    found = sections_of(np.concatenate([verse(24), chorus(28), verse(22)]))
    assert [part.label for part in found] == ["A", "B", "A"]
    assert [part.start for part in found] == pytest.approx([0, 24, 52], abs=1.0)


def test_a_longer_form_with_a_bridge() -> None:
    found = sections_of(np.concatenate([verse(20), chorus(20), verse(20), chorus(20), bridge(16), chorus(20)]))
    assert "".join(part.label for part in found) == "ABABCB"
    assert [part.start for part in found] == pytest.approx([0, 20, 40, 60, 80, 96], abs=1.0)


def test_the_harmony_alone_makes_a_part() -> None:
    """The same instrument and rhythm in another key."""
    home, away = [(0, "major"), (5, "major")], [(6, "major"), (11, "major")]
    found = sections_of(np.concatenate([sound.loop(chords, 30, SAMPLE_RATE) for chords in (home, away, home)]))
    assert [part.label for part in found] == ["A", "B", "A"]
    assert [part.start for part in found] == pytest.approx([0, 30, 60], abs=1.5)


@pytest.mark.parametrize("make", [verse, chorus, bridge])
def test_what_does_not_change_is_one_part(make) -> None:  # type: ignore[no-untyped-def]
    assert [part.label for part in sections_of(make(90))] == ["A"]


@pytest.mark.parametrize("seconds", [1.0, 4.0, 15.0])
def test_a_short_track_is_one_part(seconds: float) -> None:
    signal = np.concatenate([verse(8), chorus(8)])[: int(seconds * SAMPLE_RATE)]
    assert len(sections_of(signal)) == 1


def test_silence_between_two_pieces_is_a_part() -> None:
    found = sections_of(np.concatenate([chorus(24), np.zeros(12 * SAMPLE_RATE), chorus(24)]))
    assert [part.label for part in found] == ["A", "B", "A"]


def test_novelty_is_the_checkerboard_kernel_on_the_matrix() -> None:
    """Foote's formula, written out, for a boundary that is far enough from both ends."""
    features = np.random.default_rng(2).standard_normal((60, 5)).astype(np.float32)
    reach, at = 12, 31
    taper = np.exp(-0.5 * (np.arange(reach) / (0.5 * reach)) ** 2)
    kernel = np.concatenate([-taper[::-1], taper]) / taper.sum()
    similarity = features.astype(np.float64) @ features.T
    window = slice(at - reach, at + reach)
    expected = float((np.outer(kernel, kernel) * similarity[window, window]).sum())
    assert novelty(features, reach)[at] == pytest.approx(expected, rel=1e-6)


def test_a_mix_of_three_hours_stays_small() -> None:
    """Memory grows with the length, not with its square, and the number of parts is bounded."""
    whole = spectra_of(np.concatenate([verse(20), chorus(20)]))
    repeats, frames = 270, len(whole.mel)
    long = Spectra(
        mel=np.tile(whole.mel, (repeats, 1)),
        power=np.tile(whole.power, repeats),
        centroid=np.tile(whole.centroid, repeats),
        peak_frequency=np.tile(whole.peak_frequency, repeats),
        peak_weight=np.tile(whole.peak_weight, repeats),
        peak_magnitude=np.tile(whole.peak_magnitude, repeats),
        peak_frame=np.concatenate([whole.peak_frame + k * whole.tonal_frames for k in range(repeats)]).astype(np.int32),
        tonal_frames=whole.tonal_frames * repeats,
        envelope=np.tile(whole.envelope, repeats),
        samples=whole.samples * repeats,
    )
    assert frames * repeats > 900_000
    tracemalloc.start()
    found = find_sections(long, long.samples / SAMPLE_RATE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 1 <= len(found) <= 60
    assert peak < 40e6
