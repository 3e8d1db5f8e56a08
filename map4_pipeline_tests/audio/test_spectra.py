"""The shared spectra are what their description says, however the samples come in."""

import numpy as np
import pytest

from map4_pipeline.audio.spectra import (
    RHYTHM_FRAME,
    RHYTHM_HOP,
    SAMPLE_RATE,
    TONAL_FRAME,
    TONAL_HOP,
    Spectra,
    SpectraBuilder,
    hann,
)

TONES = (110.0, 440.0, 987.77, 1900.0)


def build(signal: np.ndarray, pieces: int = 1) -> Spectra:
    builder = SpectraBuilder()
    for piece in np.array_split(signal.astype(np.float32), pieces):
        builder.feed(piece)
    return builder.finish()


def music(seconds: float) -> np.ndarray:
    """Return four tones, noise, and a loud one where a coarse filter would fold it onto 512 Hz."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tones = sum(0.1 * np.sin(2 * np.pi * hertz * time) for hertz in TONES)
    return np.asarray(tones + 0.5 * np.sin(2 * np.pi * 5000 * time) + np.random.default_rng(3).normal(0, 1e-4, len(time)))


def test_pieces_of_any_size_give_the_same() -> None:
    signal = music(9)
    one, many = build(signal), build(signal, 77)
    for name in ("mel", "power", "centroid", "peak_frequency", "peak_weight", "peak_magnitude", "peak_frame", "envelope"):
        assert np.array_equal(getattr(one, name), getattr(many, name)), name


def test_power_and_centroid_are_those_of_the_frames() -> None:
    signal = music(4)
    spectra = build(signal)
    for k in (2, 100, 300):
        middle = k * RHYTHM_HOP
        frame = signal[middle - RHYTHM_FRAME // 2 : middle + RHYTHM_FRAME // 2]
        power = np.abs(np.fft.rfft(frame * hann(RHYTHM_FRAME))) ** 2
        assert spectra.power[k] == pytest.approx(power.sum(), rel=1e-4)
        hertz = np.fft.rfftfreq(RHYTHM_FRAME, 1 / SAMPLE_RATE)
        assert spectra.centroid[k] == pytest.approx((power * hertz).sum() / power.sum(), rel=1e-4)


def test_peaks_are_those_of_all_samples() -> None:
    """The filter and the samples left out change neither frequency nor height, and a high tone does not fold back."""
    signal = music(4)
    spectra = build(signal)
    frames = 1 + (len(signal) - TONAL_FRAME) // TONAL_HOP
    assert spectra.tonal_frames == frames
    for k in (0, 7, frames - 1):
        here = spectra.peak_frame == k
        frame = signal[k * TONAL_HOP : k * TONAL_HOP + TONAL_FRAME]
        magnitude = np.abs(np.fft.rfft(frame * hann(TONAL_FRAME)))
        loud = here & (spectra.peak_magnitude > 1)
        assert spectra.peak_frequency[loud] == pytest.approx(TONES, abs=0.2)
        for hertz, height in zip(spectra.peak_frequency[loud], spectra.peak_magnitude[loud], strict=True):
            assert height == pytest.approx(magnitude[round(float(hertz) * TONAL_FRAME / SAMPLE_RATE)], rel=1e-3)


@pytest.mark.parametrize("samples", [1, 100, TONAL_FRAME - 1, TONAL_FRAME, TONAL_FRAME + TONAL_HOP, 1 << 16, (1 << 16) + 48])
def test_a_track_of_any_length_has_its_frames(samples: int) -> None:
    spectra = build(np.random.default_rng(2).normal(0, 0.1, samples))
    assert spectra.samples == samples
    assert spectra.tonal_frames == max(1, 1 + (samples - TONAL_FRAME) // TONAL_HOP)
    assert len(spectra.mel) == 1 + samples // RHYTHM_HOP
