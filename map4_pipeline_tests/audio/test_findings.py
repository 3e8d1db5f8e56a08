"""Findings about quality: what is wrong is found, and what is right is left alone."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from map4_pipeline.audio import Features, Technical, analyse
from map4_pipeline.audio.bandwidth import Cutoff, cutoff_origin, spectral_cutoff
from map4_pipeline.audio.findings import silent_ends
from map4_pipeline.audio.loudness import BAND_HZ, LoudnessMeter
from map4_pipeline_tests.audio import sound

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = sound.RATE


def features_of(path: Path) -> Features:
    features = analyse(path, stages=("features",)).features
    assert features is not None
    return features


def codes(features: Features) -> set[str]:
    return {finding.code for finding in features.findings}


def value_of(features: Features, code: str) -> float:
    value = next(finding.value for finding in features.findings if finding.code == code)
    assert value is not None
    return value


def band_music(seconds: float, rate: int = RATE) -> "NDArray[np.float64]":
    """Drums and chords over noise that falls by 6 dB an octave, up to half the sampling rate, in stereo."""
    count = int(seconds * rate)
    spectrum = np.fft.rfft(np.random.default_rng(8).standard_normal((count, 2)), axis=0)
    spectrum /= np.maximum(np.arange(len(spectrum)) * rate / count, 100)[:, None] / 1000
    noise = np.fft.irfft(spectrum, count, axis=0) * 0.05
    mono = sound.drums(120, seconds, rate)[:count] * 0.4 + sound.chords(0, "major", seconds, rate)[:count] * 0.4
    return noise + mono[:, None] * [0.9, 0.7]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sound.write(tmp_path_factory.mktemp("findings") / "original.wav", band_music(10))


def test_a_sound_file_has_no_findings(original: Path) -> None:
    features = features_of(original)
    assert features.findings == ()
    assert features.spectral_cutoff_hz is None
    assert "break off" in features.null_reasons["spectral_cutoff_hz"]
    assert (features.leading_silence, features.trailing_silence) == (0.0, 0.0)


# --- level ----------------------------------------------------------------------------------------------------------


def test_clipping_is_flat_tops_and_not_a_loud_peak(tmp_path: Path) -> None:
    loud = band_music(6)
    loud /= np.abs(loud).max()
    sound.write(tmp_path / "normalised.wav", loud)
    sound.write(tmp_path / "clipped.wav", np.clip(loud * 4, -1, 1))
    assert "clipping" not in codes(features_of(tmp_path / "normalised.wav"))
    clipped = features_of(tmp_path / "clipped.wav")
    flat = np.abs(loud * 4) >= 1
    inner = flat[2:] & flat[1:-1] & flat[:-2]
    assert value_of(clipped, "clipping") == pytest.approx(100 * inner.sum() / loud.size, rel=0.02)


def test_dc_offset(tmp_path: Path) -> None:
    music = band_music(6)
    sound.write(tmp_path / "x.wav", music + np.array([0.03, 0.0]))
    sound.write(tmp_path / "y.wav", music + np.array([0.004, 0.0]))
    assert value_of(features_of(tmp_path / "x.wav"), "dc_offset") == pytest.approx(0.03, abs=0.002)
    assert "dc_offset" not in codes(features_of(tmp_path / "y.wav"))


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (1.234, 0.517), (7.5, 6.25)])
def test_silence_at_the_ends_is_measured(before: float, after: float, tmp_path: Path) -> None:
    parts = [np.zeros((round(before * RATE), 2)), band_music(5), np.zeros((round(after * RATE), 2))]
    whole = sound.write(tmp_path / "x.wav", np.concatenate(parts))
    for path in (whole, sound.encode(whole, tmp_path / "x.mp3", "-b:a", "192k"), sound.encode(whole, tmp_path / "x.m4a")):
        features = features_of(path)
        assert features.leading_silence == pytest.approx(before, abs=0.05)
        # Encoders pad the end to whole frames.
        assert features.trailing_silence == pytest.approx(after, abs=0.075)
        said = [finding.message for finding in features.findings if finding.code == "silence"]
        assert len(said) == (before >= 5) + (after >= 5)


def test_a_quiet_track_is_not_silent() -> None:
    """Silence is measured against the track's own peak, down to the dither of 16 bits."""
    step = 1024 / 22050
    envelope = np.full(200, 4e-4, np.float32)
    envelope[:50] = 2e-5
    assert silent_ends(envelope, 200 * step) == pytest.approx((50.5 * step, 0.0))
    envelope[100] = 1.0
    assert silent_ends(envelope, 200 * step) == pytest.approx((100.5 * step, 99.5 * step))
    assert silent_ends(np.full(20, 3e-5, np.float32), 20 * step) is None


# --- stereo ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoded", ["wav", "mp3", "ogg", "opus"])
def test_mono_in_stereo(encoded: str, tmp_path: Path) -> None:
    mono = band_music(6)[:, :1]
    source = sound.write(tmp_path / "mono.wav", np.repeat(mono, 2, axis=1))
    path = sound.encode(source, tmp_path / f"x.{encoded}", "-b:a", "160k")
    assert "mono_in_stereo" in codes(features_of(path))


def test_nearly_mono_is_stereo(tmp_path: Path) -> None:
    music = band_music(6)
    sound.write(tmp_path / "x.wav", music[:, :1] + music[:, 1:] * [0.02, -0.02])
    assert not codes(features_of(tmp_path / "x.wav"))


def test_one_silent_channel(tmp_path: Path) -> None:
    sound.write(tmp_path / "x.wav", band_music(6) * [1, 0])
    assert codes(features_of(tmp_path / "x.wav")) == {"one_silent_channel"}


@pytest.mark.parametrize(
    ("share_of_time", "width", "expected"),
    [(1.0, 1.0, "antiphase"), (1.0, 0.5, "phase"), (0.55, 0.5, "phase"), (0.12, 0.5, None), (1.0, 0.2, None)],
)
def test_phase_trouble(share_of_time: float, width: float, expected: str | None, tmp_path: Path) -> None:
    """`width` is the share of what both channels have with opposite sign beside what each has alone."""
    common = band_music(12)[:, :1]
    own = np.random.default_rng(3).standard_normal((len(common), 2)) * common.std()
    turned = common * [1, -1] * np.sqrt(width) + own * np.sqrt(1 - width)
    usual = common * [1, 1] * np.sqrt(0.5) + own * np.sqrt(0.5)
    cut = int(share_of_time * len(common))
    sound.write(tmp_path / "x.wav", np.concatenate([turned[:cut], usual[cut:]]) * 0.5)
    features = features_of(tmp_path / "x.wav")
    assert codes(features) == ({expected} if expected else set())
    if expected == "phase":
        said = re.search(r"(\d+)%", features.findings[0].message)
        assert said
        assert int(said[1]) == pytest.approx(100 * share_of_time, abs=8)


# --- bandwidth ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoder", "arguments", "cutoff"),
    [
        ("mp3", ("-b:a", "96k"), 15200),
        ("mp3", ("-b:a", "128k"), 17000),
        ("mp3", ("-b:a", "192k"), 18700),
        ("ogg", ("-c:a", "libvorbis", "-q:a", "2"), 16500),
    ],
)
def test_a_low_rate_is_found_behind_a_better_one(
    encoder: str, arguments: tuple[str, ...], cutoff: float, original: Path, tmp_path: Path
) -> None:
    poor = sound.encode(original, tmp_path / f"poor.{encoder}", *arguments)
    honest = features_of(poor)
    assert honest.spectral_cutoff_hz == pytest.approx(cutoff, abs=500)
    assert "spectral_cutoff" not in codes(honest), "this codec cuts there at this rate"
    fake = features_of(sound.encode(poor, tmp_path / "fake.flac"))
    assert fake.spectral_cutoff_hz == pytest.approx(cutoff, abs=500)
    assert value_of(fake, "spectral_cutoff") == fake.spectral_cutoff_hz
    better = features_of(sound.encode(poor, tmp_path / "fake.mp3", "-b:a", "320k"))
    assert "spectral_cutoff" in codes(better)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("x.flac", ()),
        ("x.mp3", ("-b:a", "320k")),
        ("x.m4a", ("-c:a", "aac", "-b:a", "256k")),
        ("x.ogg", ("-c:a", "libvorbis", "-q:a", "6")),
        ("x.opus", ("-b:a", "160k")),
    ],
)
def test_the_original_well_encoded_is_no_fake(name: str, arguments: tuple[str, ...], original: Path, tmp_path: Path) -> None:
    assert "spectral_cutoff" not in codes(features_of(sound.encode(original, tmp_path / name, *arguments)))


def test_upsampling_is_found(original: Path, tmp_path: Path) -> None:
    up = features_of(sound.encode(original, tmp_path / "up.flac", "-ar", "96000", "-sample_fmt", "s32"))
    assert up.spectral_cutoff_hz == pytest.approx(22050, abs=1000)
    assert "from 44.1 or 48 kHz" in next(finding.message for finding in up.findings)
    true = sound.write(tmp_path / "true.wav", band_music(5, 96000), 96000, "PCM_24")
    assert "spectral_cutoff" not in codes(features_of(true))


def _bands(level_at: "NDArray[np.float64]") -> "NDArray[np.float32]":
    """Return what a meter measures of noise whose level (dB) is given for every 100 Hz, dithered to 16 bits."""
    rng = np.random.default_rng(5)
    count = RATE * 6
    hertz = np.arange(count // 2 + 1) * RATE / count
    gain = 10 ** (np.interp(hertz, np.arange(len(level_at)) * BAND_HZ, level_at) / 20)
    signal = np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * gain, count)
    signal = np.rint((signal / np.abs(signal).max() * 0.5) * 32768 + rng.uniform(-1, 1, count)) / 32768
    meter = LoudnessMeter(RATE, 1)
    for start in range(0, count, 65536):
        sound.feed(meter, signal[None, start : start + 65536].astype(np.float32))
    meter.finish()
    return meter.bands()


def test_a_fade_is_no_cliff() -> None:
    """Music that has less and less treble until only the dither is left has no cutoff, however dull it is."""
    band = np.arange(221.0)
    for slope in (0.2, 0.6, 1.2):  # dB in every 100 Hz
        assert spectral_cutoff(_bands(-slope * band)) is None
    knee = -np.maximum(0, band - 120) * 1.5  # 15 dB in a kilohertz from 12 kHz on
    assert spectral_cutoff(_bands(knee)) is None


def test_a_cliff_down_to_the_dither_is_enough() -> None:
    band = np.arange(221.0)
    cliff = np.where(band > 160, -140.0, -0.35 * band)
    found = spectral_cutoff(_bands(cliff))
    assert found is not None
    assert found.hertz == pytest.approx(15900, abs=300)
    assert -85 < found.level_db < -65
    assert spectral_cutoff(np.zeros((0, 220), np.float32)) is None
    assert spectral_cutoff(np.zeros((9, 220), np.float32)) is None


def test_clicks_do_not_hide_a_cliff() -> None:
    """A decoder's clipped samples fill the whole spectrum for a moment."""
    band = np.arange(221.0)
    bands = _bands(np.where(band > 160, -140.0, -0.2 * band))
    bands[1] = bands.max()
    found = spectral_cutoff(bands)
    assert found is not None
    assert found.hertz == pytest.approx(15900, abs=300)


def _technical(codec: str, bit_rate: int | None, rate: int = 44100) -> Technical:
    return Technical(180.0, rate, 2, bit_rate, codec, codec, None, "pyav")


@pytest.mark.parametrize(
    ("cutoff", "codec", "bit_rate", "rate", "said"),
    [
        (16000, "mp3", 320_000, 44100, "about 128 kbit/s"),
        (16000, "mp3", 128_000, 44100, None),
        (16000, "mp3", 192_000, 44100, None),  # older encoders cut there at 192
        (18700, "mp3", 320_000, 44100, "about 192 kbit/s"),
        (19900, "mp3", 320_000, 44100, None),
        (9600, "mp3", 128_000, 22050, None),
        (16000, "flac", 900_000, 44100, "lossy"),
        (20300, "flac", 900_000, 44100, None),
        (9600, "pcm_s16le", 705_600, 22050, None),
        (21900, "flac", 2_500_000, 96000, "to 96 kHz from 44.1 or 48"),
        (23900, "pcm_s24le", 9_216_000, 192000, "to 192 kHz"),
        (30000, "flac", 2_500_000, 96000, None),
        (20200, "opus", 64_000, 48000, None),
        (16000, "opus", 128_000, 48000, "kbit/s"),
        (16000, "wmav2", 320_000, 44100, None),  # nothing is known of its encoders
        (16000, "mp3", None, 44100, None),
    ],
)
def test_what_a_cutoff_says(cutoff: float, codec: str, bit_rate: int | None, rate: int, said: str | None) -> None:
    origin = cutoff_origin(Cutoff(cutoff, -60), _technical(codec, bit_rate, rate))
    assert (origin is None) == (said is None)
    assert said is None or (origin is not None and said in origin and origin.endswith("."))


def test_what_an_encoder_leaves_out_of_dull_music_is_no_fake() -> None:
    """What nobody hears is not encoded: a cliff far down is the encoder's own, however many bits it had."""
    assert cutoff_origin(Cutoff(16000, -85), _technical("mp3", 320_000)) is None
    assert cutoff_origin(Cutoff(16000, -85), _technical("flac", 600_000)) is not None


# --- ReplayGain -----------------------------------------------------------------------------------------------------


def test_replay_gain(tmp_path: Path) -> None:
    """ReplayGain 2.0: the track plays at -18 LUFS after the gain; the peak is the true peak as a factor."""
    music = band_music(8) * 0.5
    features = features_of(sound.write(tmp_path / "x.wav", music))
    assert features.loudness_lufs is not None
    assert features.replaygain_db == pytest.approx(-18 - features.loudness_lufs, abs=0.01)
    assert features.true_peak_dbtp is not None
    assert features.replaygain_peak == pytest.approx(10 ** (features.true_peak_dbtp / 20), rel=1e-3)
    level = 10 ** (features.replaygain_db / 20)
    applied = features_of(sound.write(tmp_path / "y.wav", music * level, subtype="FLOAT"))
    assert applied.loudness_lufs == pytest.approx(-18, abs=0.02)
    assert applied.replaygain_db == pytest.approx(0, abs=0.02)


def test_silence_has_no_gain_and_no_ends(tmp_path: Path) -> None:
    features = features_of(sound.write(tmp_path / "x.wav", np.zeros((RATE * 3, 2))))
    for name in ("replaygain_db", "replaygain_peak", "leading_silence", "trailing_silence", "spectral_cutoff_hz"):
        assert getattr(features, name) is None
        assert features.null_reasons[name] == "silence"
    assert value_of(features, "silence") == pytest.approx(3.0)
    assert features.sections == ()
