"""Our Chromaprint is fpcalc's."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from map4_pipeline.audio import analyse
from map4_pipeline.fingerprint.chromaprint import chromaprint_items
from map4_pipeline.fingerprint.codec import decode
from map4_pipeline.fingerprint.match import match
from map4_pipeline_tests.audio import sound


@pytest.fixture(scope="module")
def tune(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """130 s of chords and drums that change, so that no item is like another."""
    rng = np.random.default_rng(8)
    parts = [
        sound.chords(int(rng.integers(12)), str(rng.choice(["major", "minor"])), 10)
        + sound.drums(float(rng.uniform(80, 160)), 10) * 0.3
        for _ in range(13)
    ]
    mono = np.concatenate(parts) * 0.5
    noise = rng.standard_normal((len(mono), 2)) * 0.003
    return sound.write(tmp_path_factory.mktemp("tune") / "tune.wav", mono[:, None] + noise)


@pytest.mark.skipif(shutil.which("fpcalc") is None, reason="fpcalc (libchromaprint-tools) is not installed")
@pytest.mark.parametrize("extension", ["wav", "mp3"])
def test_within_a_thousandth_of_fpcalc(extension: str, tune: Path, tmp_path: Path) -> None:
    path = tune if extension == "wav" else sound.encode(tune, tmp_path / "x.mp3", "-b:a", "192k")
    printed = subprocess.run(["fpcalc", str(path)], capture_output=True, text=True, check=True).stdout
    theirs = decode(printed.split("FINGERPRINT=")[1].strip())
    fingerprint = analyse(path, stages=("fingerprint",)).fingerprint
    assert fingerprint is not None
    assert fingerprint.chromaprint is not None
    ours = decode(fingerprint.chromaprint)
    assert len(ours) == len(theirs)
    assert np.bitwise_count(ours ^ theirs).sum() / (32 * len(theirs)) < 0.001


def test_against_ffmpegs_muxer(tune: Path) -> None:
    """The same without fpcalc, from the bundled ffmpeg."""
    import imageio_ffmpeg

    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-t",
        "120",
        "-i",
        str(tune),
        "-f",
        "chromaprint",
        "-fp_format",
        "base64",
        "-",
    ]
    theirs = decode(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    fingerprint = analyse(tune, stages=("fingerprint",)).fingerprint
    assert fingerprint is not None
    assert fingerprint.chromaprint is not None
    assert match(fingerprint.chromaprint, theirs, max_shift=0).bit_error_rate < 0.001


def test_short_audio_has_none() -> None:
    assert chromaprint_items(np.zeros(22050 * 2, np.float32)) is None


def test_only_the_first_two_minutes_count(tune: Path, tmp_path: Path) -> None:
    data, rate = soundfile.read(tune)
    sound.write(tmp_path / "longer.wav", np.concatenate([data, data[::-1]]), rate)
    first = analyse(tune, stages=("fingerprint",)).fingerprint
    second = analyse(tmp_path / "longer.wav", stages=("fingerprint",)).fingerprint
    assert first is not None
    assert second is not None
    assert first.chromaprint == second.chromaprint
    assert first.spectral_hash != second.spectral_hash
    assert second.duration == pytest.approx(260, abs=0.1)


def test_a_copy_in_another_format_matches_and_another_tune_does_not(tune: Path, song_like: Path, tmp_path: Path) -> None:
    copy = sound.encode(tune, tmp_path / "x.opus", "-c:a", "libopus", "-b:a", "64k", "-ss", "1.5")
    prints = [analyse(p, stages=("fingerprint",)).fingerprint for p in (tune, copy, song_like)]
    codes = [p.chromaprint for p in prints if p is not None and p.chromaprint is not None]
    assert match(codes[0], codes[1]).is_same_recording
    assert match(codes[0], codes[1]).shift != 0
    assert not match(codes[0], codes[2]).is_same_recording


@pytest.fixture(scope="module")
def song_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("other") / "other.wav"
    return sound.write(path, sound.chords(4, "minor", 40) + sound.drums(97, 40) * 0.3)


def test_the_spectral_hash_survives_another_format_and_level(tune: Path, tmp_path: Path) -> None:
    quiet = sound.encode(tune, tmp_path / "x.mp3", "-af", "volume=-9dB", "-b:a", "128k")
    hashes = []
    for path in (tune, quiet):
        fingerprint = analyse(path, stages=("fingerprint",)).fingerprint
        assert fingerprint is not None
        assert fingerprint.spectral_hash is not None
        assert len(fingerprint.spectral_hash) == 64
        hashes.append(int(fingerprint.spectral_hash, 16))
    assert (hashes[0] ^ hashes[1]).bit_count() <= 16
