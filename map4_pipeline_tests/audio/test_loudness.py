"""Loudness against ffmpeg's ebur128 filter and against the standard's own figures."""

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from map4_pipeline.audio import analyse
from map4_pipeline.audio.k_weighting import KWeightedPower, biquads
from map4_pipeline.audio.loudness import LoudnessMeter, integrated_loudness, loudness_range
from map4_pipeline_tests.audio import sound


def by_ffmpeg(path: Path) -> tuple[float, float, float]:
    text = sound.ffmpeg("-i", path, "-af", "ebur128=peak=true", "-f", "null", "-")
    summary = text[text.rindex("Summary:") :]
    found = [re.search(rf"{name}:\s+(-?[\d.]+)", summary) for name in ("I", "LRA", "Peak")]
    assert all(found)
    i, span, peak = (float(m[1]) for m in found if m)
    return i, span, peak


def music(rate: int) -> np.ndarray:  # type: ignore[type-arg]
    level = np.repeat(np.random.default_rng(4).uniform(0.05, 1, 20), rate * 2)
    mono = (sound.drums(120, 40, rate) + sound.chords(2, "minor", 40, rate))[: len(level)] * level
    noise = np.random.default_rng(6).standard_normal((len(mono), 2)) * 0.02 * level[:, None]
    return mono[:, None] * [1.0, 0.6] + noise


@pytest.mark.parametrize(
    ("rate", "channels"),
    [(22050, 2), (44100, 1), (44100, 2), (48000, 2), (96000, 2), (48000, 4), (44100, 6), (48000, 8)],
)
def test_agreement_with_ffmpeg(rate: int, channels: int, tmp_path: Path) -> None:
    """Mono, stereo and surround: L R Ls Rs, 5.1 and 7.1."""
    stereo = music(rate)
    columns = [stereo[:, k % 2] * (1.0 - 0.08 * k) for k in range(channels)]
    path = sound.write(tmp_path / "x.wav", np.clip(np.stack(columns, axis=1), -1, 1), rate)
    layout = {4: "quad", 6: "5.1", 8: "7.1"}.get(channels)
    if layout:  # soundfile writes no channel mask
        sound.ffmpeg("-channel_layout", layout, "-i", path, "-c:a", "pcm_s16le", tmp_path / "y.wav")
        path = tmp_path / "y.wav"
    loudness, span, peak = by_ffmpeg(path)
    features = analyse(path, stages=("features",)).features
    assert features is not None
    # ffmpeg prints one decimal.
    assert features.loudness_lufs == pytest.approx(loudness, abs=0.1)
    assert features.loudness_range_lu == pytest.approx(span, abs=0.3)
    assert features.true_peak_dbtp == pytest.approx(peak, abs=0.2)


def test_bass_and_surround(tmp_path: Path) -> None:
    """Bass sits on the slope of the high-pass; of six channels the fourth (LFE) does not count and the last two count more."""
    bass = sound.tone(60, 10, partials=1)[:, None] * 0.2
    path = sound.write(tmp_path / "bass.wav", bass)
    features = analyse(path, stages=("features",)).features
    assert features is not None
    assert features.loudness_lufs == pytest.approx(by_ffmpeg(path)[0], abs=0.1)
    rng = np.random.default_rng(0)
    path = sound.write(tmp_path / "six.wav", rng.standard_normal((44100 * 6, 6)) * [0.1, 0.1, 0.05, 0.3, 0.1, 0.1])
    features = analyse(path, stages=("features",)).features
    assert features is not None
    assert features.loudness_lufs == pytest.approx(by_ffmpeg(path)[0], abs=0.1)


def test_the_standards_reference_tone() -> None:
    """BS.1770-5: a full-scale sine of 997 Hz in one channel reads -3.01 LKFS."""
    meter = LoudnessMeter(48000, 2)
    t = np.arange(48000 * 5) / 48000
    block = np.stack([np.sin(2 * np.pi * 997 * t), np.zeros(len(t))]).astype(np.float32)
    sound.feed(meter, block)
    meter.finish()
    assert integrated_loudness(meter.steps()) == pytest.approx(-3.01, abs=0.02)


def test_peaks_between_samples() -> None:
    """A sine of a quarter of the rate, sampled at 45 degrees, peaks 3 dB over its samples."""
    meter = LoudnessMeter(48000, 1)
    block = np.sin(np.pi / 2 * np.arange(48000) + np.pi / 4).astype(np.float32)[None]
    sound.feed(meter, block)
    assert meter.sample_peak == pytest.approx(0.7071, abs=1e-3)
    assert meter.true_peak == pytest.approx(1.0, abs=0.02)


def test_the_weighting_curve() -> None:
    z = np.exp(-2j * np.pi * np.array([10.0, 38.13547, 1000.0, 10000.0]) / 48000)
    response = np.prod([np.polyval(b[::-1], z) / np.polyval(a[::-1], z) for b, a in biquads(48000)], axis=0)
    decibels = 20 * np.log10(np.abs(response))
    assert decibels[0] < -20
    assert decibels[1] == pytest.approx(-6, abs=0.2)
    assert decibels[2] == pytest.approx(0.7, abs=0.1)
    assert decibels[3] == pytest.approx(4.0, abs=0.1)


def test_the_standards_own_coefficients() -> None:
    """BS.1770-5, tables 1 and 2, at 48 kHz."""
    (b1, a1), (b2, a2) = biquads(48000)
    assert b1 == pytest.approx([1.53512485958697, -2.69169618940638, 1.19839281085285], abs=1e-6)
    assert a1 == pytest.approx([1, -1.69065929318241, 0.73248077421585], abs=1e-6)
    assert b2 == pytest.approx([1, -2, 1])
    assert a2 == pytest.approx([1, -1.99004745483398, 0.99007225036621], abs=1e-6)


@pytest.mark.parametrize("rate", [8000, 11025, 44056, 44100, 48000, 192000])
def test_stretches_measure_what_one_recursion_does(rate: int) -> None:
    """Stretches that are filtered side by side leave no seam: the lead before each is long enough."""
    weighted = KWeightedPower(rate)
    assert weighted.hop == pytest.approx(rate / 10, abs=0.5)
    count = 3 * weighted.chunk
    time = np.arange(count) / rate
    tones = [np.sin(2 * np.pi * hertz * time) for hertz in (20, 200, 0.17 * rate, 0.45 * rate)]
    signal = np.stack([np.random.default_rng(3).standard_normal(count), *tones]).astype(np.float32)
    led = np.pad(signal, ((0, 0), (weighted.lead, 0)))
    pieces = [weighted.measure(led[:, k : k + weighted.lead + weighted.chunk]) for k in range(0, count, weighted.chunk)]
    expected = signal.astype(np.float64)
    for b, a in biquads(rate):
        expected = scipy.signal.lfilter(b, a, expected, axis=1)
    expected = (expected**2).reshape(5, -1, weighted.hop).sum(axis=2)
    error = 10 * np.log10(np.concatenate(pieces, axis=1) / expected)
    assert np.abs(error).max() < 1e-6  # LU, in any 100 ms


def test_what_the_weighting_takes_out_leaves_nothing() -> None:
    """A constant has no loudness, whatever rounding does to the difference of two large sums."""
    weighted = KWeightedPower(44100)
    power = weighted.measure(np.full((1, weighted.lead + weighted.chunk), 0.5, np.float32))[0]
    assert power.min() >= 0
    assert 10 * np.log10(power.max() / weighted.hop + 1e-20) < -100


def test_a_chunk_without_its_lead_is_refused() -> None:
    weighted = KWeightedPower(44100)
    for wrong in (np.zeros((1, weighted.chunk), np.float32), np.zeros((1, weighted.lead + weighted.chunk))):
        with pytest.raises(ValueError, match="lead"):
            weighted.measure(wrong)  # type: ignore[arg-type]


def test_deep_bass(tmp_path: Path) -> None:
    """The lowest note of a bass guitar and under it, where the weighting falls by 12 dB an octave."""
    for hertz in (25, 35, 41):
        path = sound.write(tmp_path / f"{hertz}.wav", sound.tone(hertz, 12, partials=1)[:, None] * [0.5, 0.3])
        features = analyse(path, stages=("features",)).features
        assert features is not None
        assert features.loudness_lufs == pytest.approx(by_ffmpeg(path)[0], abs=0.06)  # ffmpeg prints one decimal


def test_block_sizes_do_not_matter() -> None:
    signal = np.random.default_rng(1).standard_normal((44100 * 8, 2)).astype(np.float32) * 0.1
    results = []
    for size in (1000, 65536, len(signal)):
        meter = LoudnessMeter(44100, 2)
        for start in range(0, len(signal), size):
            sound.feed(meter, signal[start : start + size].T)
        meter.finish()
        results.append((integrated_loudness(meter.steps()), loudness_range(meter.steps())))
    assert all(r == pytest.approx(results[0], abs=1e-4) for r in results)


def test_silence_has_no_loudness() -> None:
    assert integrated_loudness(np.zeros(100)) is None
    assert integrated_loudness(np.zeros(0)) is None
    assert loudness_range(np.ones(10)) is None
