"""A file's identity survives moves, renames, retags, new covers and remuxing, and nothing else."""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from map4_pipeline.audio.errors import AudioError
from map4_pipeline.library.encode import encode
from map4_pipeline.library.identity import identify
from map4_pipeline.library.model import Tags
from map4_pipeline.library.spans import id3v2_size, mpeg_header, without_tags
from map4_pipeline.library.tag_writer import write_tags

FORMATS = ("mp3", "flac", "ogg", "opus", "m4a", "aiff", "wav", "wma", "wv")
RETAGGED = Tags(
    title="Größe 🎵", artist="Somebody", album="Elsewhere", genre="House", year=1999, track_number=3, bpm=128.0, key="Am"
)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three seconds in every format."""
    folder = tmp_path_factory.mktemp("songs")
    time = np.arange(3 * 44100) / 44100
    tone = (0.4 * np.sin(2 * np.pi * 220 * time) * np.exp(-((time * 2) % 1) * 4)).astype(np.float32)
    samples = np.stack([tone, tone[::-1]], 1)
    for suffix in FORMATS:
        encode(samples, folder / f"song.{suffix}")
    return {suffix: folder / f"song.{suffix}" for suffix in FORMATS}


@pytest.mark.parametrize("suffix", FORMATS)
def test_new_tags_and_a_new_cover_keep_the_audio_hash(songs: dict[str, Path], suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"copy.{suffix}"
    shutil.copyfile(songs[suffix], path)
    before = identify(path)
    assert before.audio_hash_kind == "packets"
    assert before.audio_hash != before.file_hash
    assert before.bytes_read == path.stat().st_size
    seen = {before.file_hash}
    for tags, cover in (
        (RETAGGED, None),
        (RETAGGED, b"\xff\xd8" + os.urandom(90_000)),
        (Tags(title="x" * 5000), b"\xff\xd8\xff\xfb\x90"),
    ):
        write_tags(path, tags, cover)
        after = identify(path)
        assert (after.audio_hash, after.audio_hash_kind) == (before.audio_hash, "packets")
        seen.add(after.file_hash)
    assert len(seen) >= 3


@pytest.mark.parametrize("suffix", FORMATS)
def test_another_programs_copy_of_the_stream_keeps_the_audio_hash(songs: dict[str, Path], suffix: str, tmp_path: Path) -> None:
    import imageio_ffmpeg

    path = tmp_path / f"remuxed.{suffix}"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        songs[suffix],
        "-map",
        "0:a:0",
        "-c",
        "copy",
        "-metadata",
        "title=Hi",
        path,
    ]
    subprocess.run(command, check=True)
    assert identify(path).audio_hash == identify(songs[suffix]).audio_hash
    assert identify(path).file_hash != identify(songs[suffix]).file_hash


@pytest.mark.parametrize("suffix", FORMATS)
def test_one_changed_byte_of_audio_changes_the_audio_hash(songs: dict[str, Path], suffix: str, tmp_path: Path) -> None:
    data = bytearray(songs[suffix].read_bytes())
    data[len(data) * 6 // 10] ^= 0x10
    path = tmp_path / f"changed.{suffix}"
    path.write_bytes(data)
    assert identify(path).audio_hash != identify(songs[suffix]).audio_hash


def test_formats_of_one_recording_are_different_audio(songs: dict[str, Path]) -> None:
    assert len({identify(path).audio_hash for path in songs.values()}) == len(FORMATS)


def test_a_name_says_nothing(songs: dict[str, Path], tmp_path: Path) -> None:
    for suffix, path in songs.items():
        renamed = tmp_path / f"{suffix}.txt"
        shutil.copyfile(path, renamed)
        assert identify(renamed) == identify(os.fsencode(path))


def test_file_hash_is_plain_sha256(songs: dict[str, Path]) -> None:
    assert identify(songs["mp3"]).file_hash == hashlib.sha256(songs["mp3"].read_bytes()).hexdigest()


def test_tags_before_and_behind_an_mp3_do_not_count(songs: dict[str, Path], tmp_path: Path) -> None:
    data = songs["mp3"].read_bytes()
    audio = data[id3v2_size(data[:10]) :]
    ape = b"APETAGEX" + (2000).to_bytes(4, "little") + (2000).to_bytes(4, "little") + bytes(16)
    variants = (
        audio,
        b"ID3\x04\0\0\0\0\x0a\0" + b"\xff\xfb\x90\x44" * 320 + audio,
        b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + audio,
        b"ID3\x03\0\0\0\0\0\x05abcde" * 3 + audio,
        bytes(3000) + audio,
        audio + b"TAG" + b"\xe9" * 125,
        audio + b"A" * (2000 - 32) + ape + b"TAG" + bytes(125),
        audio + b"LYRICSBEGIN" + b"IND0000200" + b"000021LYRICS200" + b"TAG" + bytes(125),
        audio + b"APETAGEX" + b"\xff" * 24 + b"TAG" + bytes(125),
    )
    hashes = set()
    for index, variant in enumerate(variants):
        path = tmp_path / f"{index}.mp3"
        path.write_bytes(variant)
        hashes.add(identify(path).audio_hash)
    assert hashes == {identify(songs["mp3"]).audio_hash}


def test_what_cannot_be_demuxed_is_known_by_its_bytes(tmp_path: Path, songs: dict[str, Path]) -> None:
    m4a = songs["m4a"].read_bytes()
    for data in (
        b"Not found 404\n" * 400,
        os.urandom(50_000),
        b"\0" * 5000,
        m4a[: len(m4a) // 2],
        songs["flac"].read_bytes()[:60],
        b"x",
    ):
        path = tmp_path / "bad.mp3"
        path.write_bytes(data)
        identity = identify(path)
        assert identity.audio_hash_kind == "file"
        assert identity.audio_hash == identity.file_hash


def test_playlists_are_not_followed(tmp_path: Path, songs: dict[str, Path]) -> None:
    path = tmp_path / "list.mp3"
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{songs['mp3']}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {songs['mp3']}\n",
    ):
        path.write_text(text)
        assert identify(path).audio_hash_kind == "file"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_never_raises(songs: dict[str, Path], tmp_path: Path, data: st.DataObject) -> None:
    original = bytearray(songs[data.draw(st.sampled_from(FORMATS))].read_bytes())
    for _ in range(data.draw(st.integers(1, 30))):
        original[data.draw(st.integers(0, min(len(original), 4000) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(original[: data.draw(st.integers(1, len(original)))])
    identity = identify(path)
    assert len(identity.audio_hash) == 64
    assert identify(path) == identity


def test_errors_say_what_happened(tmp_path: Path) -> None:
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "folder.mp3").mkdir()
    cases = {
        "empty.mp3": ("empty", "0 bytes"),
        "gone.mp3": ("unreadable", "gone"),
        "folder.mp3": ("unreadable", "cannot|regular"),
    }
    for name, (kind, words) in cases.items():
        with pytest.raises(AudioError, match=words) as caught:
            identify(tmp_path / name)
        assert caught.value.kind == kind


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
@pytest.mark.timeout(5)
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.mp3")
    with pytest.raises(AudioError) as caught:
        identify(tmp_path / "fifo.mp3")
    assert caught.value.kind == "unreadable"


@given(st.binary(min_size=0, max_size=600))
def test_the_span_between_tags_lies_within_the_file(data: bytes) -> None:
    import io

    span = without_tags(io.BytesIO(data), len(data))
    assert 0 <= span.start <= span.end <= len(data)


def test_mpeg_headers() -> None:
    header = mpeg_header(bytes.fromhex("fffb9044"))
    assert header is not None
    assert dataclasses.astuple(header) == (1, 3, 44100, 2, 417)
    assert mpeg_header(bytes.fromhex("ffffffff")) is None
