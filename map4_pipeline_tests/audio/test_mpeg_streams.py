"""MP3 files whose first frame counts wrongly, or whose frames do not say how long they are."""

import struct
from pathlib import Path

import pytest

from map4_pipeline.audio import TrackAnalysis, analyse
from map4_pipeline.audio.mpeg_streams import find_free_format, mpeg_frame_bytes
from map4_pipeline_tests.audio import sound

COVER = b"ID3\x03\0\0\0\x01\0\0" + bytes(16384)


def encoded(song: Path, folder: Path, *arguments: str) -> bytes:
    return sound.encode(song, folder / "encoded.mp3", "-c:a", "libmp3lame", *arguments).read_bytes()


def analysed(data: bytes, folder: Path) -> TrackAnalysis:
    (folder / "x.mp3").write_bytes(data)
    return analyse(folder / "x.mp3")


def codes(result: TrackAnalysis) -> set[str]:
    assert result.features is not None
    return {finding.code for finding in result.features.findings}


@pytest.mark.parametrize(
    ("rate", "between"),
    [
        (("-b:a", "128k"), b""),
        (("-q:a", "4"), b""),
        (("-b:a", "128k"), bytes(9000)),
        (("-b:a", "128k"), b"TAG" + bytes(125) + COVER * 9),
    ],
    ids=["constant", "variable", "zeros", "tags"],
)
def test_joined_files_are_read_to_their_end(rate: tuple[str, ...], between: bytes, song: Path, tmp_path: Path) -> None:
    one = encoded(song, tmp_path, *rate)
    result = analysed(one + between + one, tmp_path)
    assert result.technical.duration == pytest.approx(48.0, abs=0.1)
    assert not {"truncated", "spectral_cutoff"} & codes(result)


def test_a_count_that_is_too_low_is_not_believed(song: Path, tmp_path: Path) -> None:
    one = encoded(song, tmp_path, "-b:a", "128k", "-ar", "48000")
    at = one.index(b"Info") + 8
    result = analysed(one[:at] + struct.pack(">I", 200) + one[at + 4 :], tmp_path)
    assert result.technical.duration == pytest.approx(24.0, abs=0.1)
    assert result.technical.bit_rate == pytest.approx(128_000, rel=0.01)


def test_what_stands_behind_the_music_has_no_part_in_the_bit_rate(song: Path, tmp_path: Path) -> None:
    """A download whose end never came is zeros; a spectrum that ends as at 128 kbit/s would look like one made from less."""
    one = encoded(song, tmp_path, "-b:a", "128k")
    plain, padded = analysed(one, tmp_path), analysed(one + bytes(500_000), tmp_path)
    assert padded.technical.decoder == "soundfile"
    assert padded.technical.bit_rate == pytest.approx(plain.technical.bit_rate, rel=0.01)
    assert padded.features == plain.features
    assert padded.fingerprint == plain.fingerprint


def freed(data: bytes) -> bytes:
    """Return a stream of one bit rate without it in its headers."""
    out, at = bytearray(data), 0
    while (length := mpeg_frame_bytes(data[at : at + 4])[0]) and at < len(data):
        out[at + 2] &= 0x0F
        at += length
    return bytes(out[:at])


@pytest.mark.parametrize("tag", [b"", COVER])
def test_free_format(tag: bytes, song: Path, tmp_path: Path) -> None:
    plain = encoded(song, tmp_path, "-b:a", "160k", "-write_xing", "0", "-id3v2_version", "0")
    free = freed(plain)
    assert find_free_format(free) == 0
    assert find_free_format(plain) is None
    result = analysed(tag + free, tmp_path)
    assert (result.technical.codec, result.technical.decoder) == ("mp3", "soundfile")
    assert result.technical.duration == pytest.approx(24.0, abs=0.1)
    assert result.technical.bit_rate == pytest.approx(160_000, rel=0.01)
    assert result.features is not None
    assert result.features.key == "C major"
    assert not codes(result)


def test_a_wav_file_that_counts_no_samples(song: Path, tmp_path: Path) -> None:
    """As a recorder leaves it that lost its power."""
    data = song.read_bytes()
    at = data.index(b"data") + 4
    (tmp_path / "x.wav").write_bytes(data[:4] + bytes(4) + data[8:at] + bytes(4) + data[at + 4 :])
    result = analyse(tmp_path / "x.wav")
    assert result.technical.duration == pytest.approx(24.0)
    assert result.features == analyse(song).features
