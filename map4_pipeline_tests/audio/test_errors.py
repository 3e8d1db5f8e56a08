"""Bad input gets a clear error of the right class, in a sentence, without the path."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from map4_pipeline.audio import AudioError, analyse, frame_features
from map4_pipeline.audio.decode_soundfile import SoundFileStream
from map4_pipeline.audio.sniff import sniff
from map4_pipeline_tests.audio import sound


def kind_of(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        analyse(path)
    error = caught.value
    assert str(path) not in str(error)
    assert path.name not in str(error)
    assert str(error).endswith(".")
    assert len(str(error)) < 200
    return error.kind


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "x.mp3").write_bytes(b"")
    assert kind_of(tmp_path / "x.mp3") == "empty"


def test_missing_and_dangling(tmp_path: Path) -> None:
    assert kind_of(tmp_path / "nowhere.mp3") == "unreadable"
    (tmp_path / "loop.mp3").symlink_to("loop.mp3")
    assert kind_of(tmp_path / "loop.mp3") == "unreadable"


def test_a_folder_and_a_pipe_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "d.mp3").mkdir()
    assert kind_of(tmp_path / "d.mp3") == "unreadable"
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "f.mp3")
        assert kind_of(tmp_path / "f.mp3") == "unreadable"


@pytest.mark.parametrize("content", [b"Not found 404\n" * 400, b"<!DOCTYPE html><html></html>" * 99, b"\xff\xfb", b"\0" * 5000])
def test_not_audio(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mp3").write_bytes(content)
    assert kind_of(tmp_path / "x.mp3") == "not_audio"


def test_random_bytes_are_no_music(tmp_path: Path) -> None:
    for seed in range(3):
        (tmp_path / "x.mp3").write_bytes(np.random.default_rng(seed).bytes(300_000))
        assert kind_of(tmp_path / "x.mp3") in ("not_audio", "damaged")


def test_damaged(song: Path, tmp_path: Path) -> None:
    flac = sound.encode(song, tmp_path / "x.flac").read_bytes()
    (tmp_path / "head.flac").write_bytes(flac[:300])
    assert kind_of(tmp_path / "head.flac") == "damaged"
    m4a = sound.encode(song, tmp_path / "x.m4a").read_bytes()
    (tmp_path / "moov.m4a").write_bytes(m4a[: len(m4a) - 900])
    assert kind_of(tmp_path / "moov.m4a") == "damaged"
    wav = bytearray(song.read_bytes())
    wav[24:28] = bytes(4)
    (tmp_path / "rate0.wav").write_bytes(wav)
    assert kind_of(tmp_path / "rate0.wav") == "damaged"
    (tmp_path / "id3.mp3").write_bytes(b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(4000))
    assert kind_of(tmp_path / "id3.mp3") == "damaged"


@pytest.mark.timeout(20)
def test_chunks_that_lead_back_to_the_start_end_the_look(tmp_path: Path) -> None:
    def chunk(name: bytes, length: int) -> bytes:
        return name + length.to_bytes(8, "big", signed=True)

    content = b"caff" + chunk(b"", 20) + chunk(b"", -20) + bytes(12) + chunk(b"xxxx", -44)
    (tmp_path / "x.caf").write_bytes(content.ljust(64, b"\0"))
    assert kind_of(tmp_path / "x.caf") == "damaged"


@pytest.mark.parametrize("samples", [0, 1, 4410, 44099])
def test_under_a_second_is_too_short(samples: int, tmp_path: Path) -> None:
    sound.write(tmp_path / "x.wav", np.full((samples, 2), 0.1))
    assert kind_of(tmp_path / "x.wav") == "too_short"


def test_no_sample_has_no_frames(tmp_path: Path) -> None:
    sound.write(tmp_path / "x.wav", np.zeros((0, 1)))
    with pytest.raises(AudioError) as caught:
        frame_features(tmp_path / "x.wav")
    assert caught.value.kind == "too_short"


def test_a_second_is_enough(tmp_path: Path) -> None:
    sound.write(tmp_path / "x.wav", sound.tone(440, 1.0) * 0.1)
    features = analyse(tmp_path / "x.wav").features
    assert features is not None
    assert features.bpm is None
    assert features.null_reasons["bpm"] == "too short for a tempo"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="not applicable: root may read everything")
def test_permission_denied(song: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(song.read_bytes())
    path.chmod(0)
    assert kind_of(path) == "unreadable"


def test_an_error_survives_the_way_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(AudioError("damaged", "It is broken.")))
    assert (error.kind, error.message) == ("damaged", "It is broken.")


def test_messages_are_back_when_two_threads_have_read_mp3(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    soundfile.write(path, np.zeros(44_100), 44_100)
    before = os.fstat(2)
    with open(path, "rb") as file:
        sniffed = sniff(file, path.stat().st_size)
    one, other = SoundFileStream(path, sniffed), SoundFileStream(path, sniffed)
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        second.enter_context(one._quiet())
        first.enter_context(other._quiet())
        second.close()
    one.close()
    other.close()
    assert os.path.samestat(os.fstat(2), before)
