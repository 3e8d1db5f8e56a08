"""What is odd about a signal is found, said, and never invents a tempo or a key."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from map4_pipeline.audio import Features, analyse
from map4_pipeline.hamms.quality import quality_problems
from map4_pipeline.hamms.vector import hamms_vector
from map4_pipeline_tests.audio import sound


def features_of(path: Path) -> Features:
    """Analyse, and check what holds for every result."""
    result = analyse(path).features
    assert result is not None
    json.dumps(result.to_dict(), allow_nan=False)
    values = result.to_dict()
    optional = [f.name for f in dataclasses.fields(Features) if "None" in str(f.type)]
    for name in optional:
        assert (values[name] is None) == (name in result.null_reasons), name
        if isinstance(values[name], float):
            assert math.isfinite(values[name])
    vector = hamms_vector(values)
    assert quality_problems(vector.values, vector.null_reasons) == []
    return result


def codes(features: Features) -> set[str]:
    return {finding.code for finding in features.findings}


@pytest.mark.parametrize("level", [0.0, 1 / 32768, 1e-39])
def test_silence_has_no_bpm_and_no_key(level: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(-1, 2, (44100 * 5, 2)) * level
    sound.write(tmp_path / "x.wav", noise, subtype="FLOAT")
    features = features_of(tmp_path / "x.wav")
    assert features.bpm is None
    assert features.key is None
    assert features.loudness_lufs is None
    assert features.null_reasons["bpm"] == features.null_reasons["key"] == "silence"
    assert "silence" in codes(features)
    assert len(features.waveform) > 0


def test_digital_silence_has_no_fingerprint(tmp_path: Path) -> None:
    sound.write(tmp_path / "x.wav", np.zeros((44100 * 5, 2)))
    fingerprint = analyse(tmp_path / "x.wav").fingerprint
    assert fingerprint is not None
    assert fingerprint.chromaprint is None
    assert fingerprint.spectral_hash is None
    assert set(fingerprint.null_reasons) == {"chromaprint", "spectral_hash"}


def test_dc_alone_is_silence(tmp_path: Path) -> None:
    sound.write(tmp_path / "x.wav", np.full((44100 * 5, 1), 0.8))
    features = features_of(tmp_path / "x.wav")
    assert features.bpm is None
    assert features.key is None
    assert codes(features) == {"dc_offset", "silence"}


def test_a_dc_offset_changes_nothing_else(song: Path, tmp_path: Path) -> None:
    import soundfile

    data, rate = soundfile.read(song)
    sound.write(tmp_path / "x.wav", data * 0.5 + 0.2, rate)
    sound.write(tmp_path / "y.wav", data * 0.5, rate)
    shifted, plain = features_of(tmp_path / "x.wav"), features_of(tmp_path / "y.wav")
    assert "dc_offset" in codes(shifted)
    assert shifted.bpm == pytest.approx(plain.bpm, rel=1e-3)
    assert shifted.key == plain.key
    assert shifted.loudness_lufs == pytest.approx(plain.loudness_lufs, abs=0.05)
    assert shifted.crest_db == pytest.approx(plain.crest_db, abs=0.01)
    # What a player has to leave room for is not lower because the sound lies off the middle.
    largest = np.abs(data * 0.5 + 0.2).max()
    assert largest - 1e-4 < 10 ** (shifted.true_peak_dbtp / 20) < largest + 0.05


def test_deep_bass_at_the_start_is_no_offset_of_the_rest(song: Path, tmp_path: Path) -> None:
    """Its mean over the first block is not zero; of real music, one in seven tracks begins so."""
    import soundfile

    data, rate = soundfile.read(song, always_2d=True)
    data = data * 0.5 / np.abs(data).max()
    sound.write(tmp_path / "y.wav", data, rate)
    data[: rate // 2] += (0.2 * np.sin(2 * np.pi * np.arange(rate // 2) / rate))[:, None]
    sound.write(tmp_path / "x.wav", data, rate)
    changed, plain = features_of(tmp_path / "x.wav"), features_of(tmp_path / "y.wav")
    assert not codes(changed)
    assert changed.true_peak_dbtp == pytest.approx(plain.true_peak_dbtp, abs=0.02)
    assert changed.crest_db == pytest.approx(20 * np.log10(np.abs(data).max() / np.sqrt((data**2).mean())), abs=0.02)
    assert changed.loudness_lufs == pytest.approx(plain.loudness_lufs, abs=0.05)


@pytest.mark.parametrize(("before", "between", "after"), [(120, 0, 0), (0, 90, 0), (0, 0, 300)])
def test_silence_says_nothing_about_the_beat(before: int, between: int, after: int, tmp_path: Path) -> None:
    """Before, after and between two pieces, as before a hidden track."""
    piece = (sound.chords(0, "major", 20) + sound.drums(120, 20)) * 0.5
    parts = [np.zeros(before * sound.RATE), piece, np.zeros(between * sound.RATE), piece, np.zeros(after * sound.RATE)]
    sound.write(tmp_path / "x.wav", np.concatenate(parts))
    sound.write(tmp_path / "y.wav", np.concatenate([piece, piece]))
    features, plain = features_of(tmp_path / "x.wav"), features_of(tmp_path / "y.wav")
    assert features.bpm == pytest.approx(120, rel=5e-4)
    assert features.bpm_confidence == pytest.approx(plain.bpm_confidence, abs=0.05)
    assert features.tempo_stability == pytest.approx(plain.tempo_stability, abs=0.1)


def test_sound_in_the_third_channel_alone_has_a_reason_for_what_the_first_two_would_tell(tmp_path: Path) -> None:
    planes = np.zeros((8 * sound.RATE, 3))
    planes[:, 2] = 0.5 * sound.drums(120, 8)
    features = features_of(sound.write(tmp_path / "x.wav", planes))
    assert features.crest_db is None
    assert features.null_reasons["crest_db"] == "nothing sounds in the first two channels"


def test_a_steady_tone_has_a_key_but_no_beat(tmp_path: Path) -> None:
    sound.write(tmp_path / "x.wav", np.sign(sound.tone(110, 10, partials=1)))
    features = features_of(tmp_path / "x.wav")
    assert features.bpm is None
    assert "beat" in features.null_reasons["bpm"]
    assert features.beat_times == ()


def test_noise_has_no_key_and_no_confident_beat(tmp_path: Path) -> None:
    sound.write(tmp_path / "x.wav", np.random.default_rng(0).standard_normal(44100 * 15) * 0.1)
    features = features_of(tmp_path / "x.wav")
    assert features.bpm is None or (features.bpm_confidence or 0) < 0.6
    assert features.key is None
    assert features.null_reasons["key"] == "atonal"


def test_antiphase_is_found_and_one_channel_analysed(tmp_path: Path) -> None:
    mono = sound.drums(120, 20) * 0.5 + sound.chords(9, "minor", 20) * 0.5
    sound.write(tmp_path / "x.wav", np.stack([mono, -mono], axis=1))
    features = features_of(tmp_path / "x.wav")
    assert "antiphase" in codes(features)
    assert features.bpm == pytest.approx(120, rel=0.002)


def test_mono_in_stereo(tmp_path: Path) -> None:
    mono = sound.chords(0, "major", 6)
    sound.write(tmp_path / "x.wav", np.stack([mono, mono], axis=1))
    assert "mono_in_stereo" in codes(features_of(tmp_path / "x.wav"))


def test_clipping(tmp_path: Path) -> None:
    sound.write(tmp_path / "x.wav", np.clip(sound.chords(0, "major", 6) * 20, -1, 1))
    assert "clipping" in codes(features_of(tmp_path / "x.wav"))


def test_samples_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    mono = sound.drums(120, 12).astype(np.float32)
    mono[::5000], mono[7::9999], mono[9::9999] = np.nan, np.inf, -np.inf
    sound.write(tmp_path / "x.wav", mono, subtype="FLOAT")
    features = features_of(tmp_path / "x.wav")
    assert "non_finite_samples" in codes(features)
    assert features.bpm == pytest.approx(120, rel=0.002)


def test_absurd_levels_stay_finite(tmp_path: Path) -> None:
    sound.write(tmp_path / "x.wav", sound.drums(120, 12) * 1e30, subtype="FLOAT")
    features = features_of(tmp_path / "x.wav")
    assert "over_full_scale" in codes(features)
    assert features.bpm == pytest.approx(120, rel=0.002)


@pytest.mark.parametrize("extension", ["mp3", "flac", "ogg", "wav"])
def test_a_truncated_file_is_analysed_as_far_as_it_goes(extension: str, song: Path, tmp_path: Path) -> None:
    arguments = ("-c:a", "vorbis", "-strict", "-2") if extension == "ogg" else ()
    data = sound.encode(song, tmp_path / f"whole.{extension}", *arguments).read_bytes()
    path = tmp_path / f"cut.{extension}"
    path.write_bytes(data[: len(data) * 2 // 3])
    features = features_of(path)
    assert "truncated" in codes(features)
    assert features.bpm == pytest.approx(120, rel=0.003)
    assert 10 < analyse(path, stages=()).technical.duration < 20


def test_damaged_packets_do_not_become_music(song: Path, tmp_path: Path) -> None:
    data = bytearray(sound.encode(song, tmp_path / "x.mp3", "-b:a", "128k").read_bytes())
    for place in np.random.default_rng(3).integers(4000, len(data), 300):
        data[place] ^= 0xFF
    (tmp_path / "rot.mp3").write_bytes(data)
    features = features_of(tmp_path / "rot.mp3")
    assert features.bpm == pytest.approx(120, rel=0.01)
    assert features.loudness_lufs is not None
    assert features.loudness_lufs < 3


def test_a_lossless_file_made_from_a_lossy_one(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).standard_normal(44100 * 6) * 0.1
    sound.write(tmp_path / "true.wav", noise)
    sound.encode(tmp_path / "true.wav", tmp_path / "x.mp3", "-b:a", "64k")
    sound.encode(tmp_path / "x.mp3", tmp_path / "fake.flac")
    assert "spectral_cutoff" in codes(features_of(tmp_path / "fake.flac"))
    assert "spectral_cutoff" not in codes(features_of(tmp_path / "true.wav"))


def test_silence_at_the_ends(tmp_path: Path) -> None:
    quiet = np.zeros(44100 * 6)
    sound.write(tmp_path / "x.wav", np.concatenate([quiet, sound.drums(100, 8), quiet]))
    found = [f for f in features_of(tmp_path / "x.wav").findings if f.code == "silence"]
    assert len(found) == 2
    assert all(f.value == pytest.approx(6, abs=0.4) for f in found)
