"""Tags are read from every format, whatever the file is called, and bad ones never raise."""

import os
import shutil
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from map4_pipeline.library.encode import encode
from map4_pipeline.library.model import Tags
from map4_pipeline.library.tag_writer import TagWriteError, write_tags
from map4_pipeline.library.tags import MAX_OTHER_TAGS, parse_year, read_tags

FORMATS = ("mp3", "flac", "ogg", "opus", "m4a", "aiff", "wav", "wma", "wv")
FULL = Tags(
    title="Übermorgen 🎹",
    artist="Käthe",
    album="Frühling",
    album_artist="Various",
    genre="House",
    composer="J. S.",
    year=1999,
    track_number=3,
    disc_number=2,
    bpm=128.0,
    key="Am",
)


@pytest.fixture(scope="module")
def silence(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("silence")
    for suffix in FORMATS:
        encode(np.zeros((22050, 2), np.float32), folder / f"x.{suffix}")
    return {suffix: folder / f"x.{suffix}" for suffix in FORMATS}


def id3(frames: bytes, version: int = 3) -> bytes:
    size = len(frames)
    return b"ID3" + bytes((version, 0, 0, size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127)) + frames


def frame(name: str, data: bytes, flags: bytes = b"\0\0") -> bytes:
    return name.encode() + struct.pack(">I", len(data)) + flags + data


def read(folder: Path, data: bytes) -> Tags:
    path = folder / "x.bin"
    path.write_bytes(data)
    return read_tags(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_field_of_every_format(silence: dict[str, Path], suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "named otherwise.txt"
    shutil.copyfile(silence[suffix], path)
    assert read_tags(path).title is None
    write_tags(path, FULL, cover=b"\xff\xd8\xff\xd9")
    tags = read_tags(os.fsencode(path))
    for field in (
        "title",
        "artist",
        "album",
        "album_artist",
        "genre",
        "composer",
        "year",
        "track_number",
        "disc_number",
        "bpm",
        "key",
    ):
        assert getattr(tags, field) == getattr(FULL, field), field
    assert tags.has_cover == (suffix in ("mp3", "flac", "m4a", "aiff", "wav"))


def test_a_file_without_tags_has_none(silence: dict[str, Path], tmp_path: Path) -> None:
    assert read_tags(silence["wav"]) == Tags()
    assert read_tags(tmp_path / "gone.mp3") == Tags()
    assert read_tags(tmp_path) == Tags()


def test_nul_is_a_separator_and_other_controls_stay(tmp_path: Path) -> None:
    tags = read(tmp_path, id3(frame("TIT2", b"\x03a\0b\nc\x1b[31m" + "\u202e".encode())))
    assert tags.title == "a; b\nc\x1b[31m\u202e"


def test_invalid_utf8_is_replaced_and_the_rest_kept(tmp_path: Path) -> None:
    tags = read(tmp_path, id3(frame("TPE1", b"\x03\xff\xfe\x80bad") + frame("TALB", b"\0Album")))
    assert tags.artist == "\ufffd\ufffd\ufffdbad"
    assert tags.album == "Album"


def test_large_cover_art_is_noticed_and_not_kept(tmp_path: Path) -> None:
    data = id3(frame("APIC", b"\0image/jpeg\0\x03\0" + bytes(40_000_000)) + frame("TIT2", b"\0Behind the picture"))
    path = tmp_path / "art.mp3"
    path.write_bytes(data)
    read_tags(path)
    tracemalloc.start()
    tags = read_tags(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tags.title, tags.has_cover) == ("Behind the picture", True)
    assert peak < 5_000_000


def test_a_compressed_frame_cannot_fill_the_memory(tmp_path: Path) -> None:
    bomb = struct.pack(">I", 50_000_000) + zlib.compress(b"\0" + b"A" * 50_000_000, 9)
    path = tmp_path / "bomb.mp3"
    path.write_bytes(id3(frame("TIT2", bomb, b"\0\x80") + frame("TPE1", b"\0Artist")))
    tracemalloc.start()
    tags = read_tags(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tags.artist == "Artist"
    assert peak < 20_000_000


@pytest.mark.timeout(5)
def test_thousands_of_frames_are_cut(tmp_path: Path) -> None:
    frames = b"".join(frame("TXXX", b"\0k%d\0%s" % (number, b"v" * 20)) for number in range(5000))
    tags = read(tmp_path, id3(frames + frame("TSRC", b"\0GBAYE0000001")))
    assert len(tags.other) == MAX_OTHER_TAGS
    # What is known comes before what is not.
    assert tags.other["isrc"] == "GBAYE0000001"


@pytest.mark.parametrize(
    ("text", "bpm"),
    [
        ("128", 128),
        ("127.96", 127.96),
        ("127,5", 127.5),
        (" 90 BPM ", 90),
        ("999", 999),
        ("0", None),
        ("1000", None),
        ("fast", None),
        ("-5", None),
    ],
)
def test_tempo_tags(tmp_path: Path, text: str, bpm: float | None) -> None:
    assert read(tmp_path, id3(frame("TBPM", b"\0" + text.encode()))).bpm == bpm


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("2004", 2004),
        ("2004-05-01T10:00:00", 2004),
        ("01/05/2004", 2004),
        ("20040501", 2004),
        ("(P) 1999 Label", 1999),
        ("May 1, 1987", 1987),
        ("12345", None),
        ("0000", None),
        ("3021", None),
        ("", None),
        ("98", None),
    ],
)
def test_years(text: str, year: int | None) -> None:
    assert parse_year(text) == year


def test_key_tags_are_kept_as_written(tmp_path: Path) -> None:
    assert read(tmp_path, id3(frame("TKEY", b"\0Q##"))).key == "Q##"
    assert read(tmp_path, id3(frame("TXXX", b"\0INITIALKEY\x008A"))).key == "8A"
    assert len(read(tmp_path, id3(frame("TKEY", b"\0" + b"x" * 99))).key or "") == 40


def test_track_numbers(tmp_path: Path) -> None:
    for text, number in ((b"3/12", 3), (b"03", 3), (b"A1", None), (b"0", None), (b"99999999999", None)):
        assert read(tmp_path, id3(frame("TRCK", b"\0" + text))).track_number == number


def test_old_id3_and_ape_tags_behind_an_mp3(silence: dict[str, Path], tmp_path: Path) -> None:
    data = silence["mp3"].read_bytes()
    audio = data[data.index(b"\xff\xfb") :]
    v1 = (
        b"TAG"
        + b"Title".ljust(30, b"\0")
        + b"Artist".ljust(30, b"\0")
        + b"Album".ljust(30, b"\0")
        + b"1987"
        + b"c".ljust(30, b"\0")
        + b"\x23"
    )
    tags = read(tmp_path, audio + v1)
    assert (tags.title, tags.artist, tags.album, tags.year, tags.genre) == ("Title", "Artist", "Album", 1987, "House")
    item = struct.pack("<II", 6, 0) + b"Title\0Behind"
    footer = b"APETAGEX" + struct.pack("<IIII", 2000, len(item) + 32, 1, 0) + bytes(8)
    assert read(tmp_path, audio + item + footer).title == "Behind"
    assert read(tmp_path, audio + b"APETAGEX" + b"\xff" * 24 + v1).title == "Title"


def test_info_chunks_of_wav_files(silence: dict[str, Path], tmp_path: Path) -> None:
    text = b"INFO" + b"INAM" + struct.pack("<I", 6) + b"T\xefle\0\0" + b"ICRD" + struct.pack("<I", 4) + b"2001"
    tags = read(tmp_path, silence["wav"].read_bytes() + b"LIST" + struct.pack("<I", len(text)) + text)
    assert (tags.title, tags.year) == ("Tïle", 2001)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_tags_never_raise(silence: dict[str, Path], tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "damaged"
    shutil.copyfile(silence[data.draw(st.sampled_from(FORMATS))], path)
    write_tags(path, FULL)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 30))):
        content[data.draw(st.integers(0, min(len(content), 1500) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    text = str(read_tags(path).to_dict())
    assert "\0" not in text
    text.encode("utf-8")


def test_what_takes_no_tags_says_so(tmp_path: Path) -> None:
    path = tmp_path / "text.mp3"
    path.write_text("no audio")
    with pytest.raises(TagWriteError):
        write_tags(path, FULL)
    with pytest.raises(TagWriteError):
        write_tags(tmp_path / "gone.mp3", FULL)
