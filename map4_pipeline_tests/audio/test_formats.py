"""Every format decodes to the same music, by its content and not its name."""

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from map4_pipeline.audio import AudioError, analyse
from map4_pipeline_tests.audio import rare, sound

FORMATS = {
    # name: (extension, ffmpeg arguments, codec, decoder)
    "flac": ("flac", ("-c:a", "flac"), "flac", "soundfile"),
    "flac24": ("flac", ("-c:a", "flac", "-sample_fmt", "s32"), "flac", "soundfile"),
    "mp3": ("mp3", ("-c:a", "libmp3lame", "-b:a", "128k"), "mp3", "soundfile"),
    "mp3_vbr_without_header": ("mp3", ("-c:a", "libmp3lame", "-q:a", "2", "-write_xing", "0"), "mp3", "pyav"),
    "mp2": ("mp2", ("-c:a", "mp2"), "mp2", "pyav"),
    "vorbis": ("ogg", ("-c:a", "vorbis", "-strict", "-2", "-ac", "2"), "vorbis", "pyav"),
    "opus": ("opus", ("-c:a", "libopus"), "opus", "pyav"),
    "aac": ("m4a", ("-c:a", "aac"), "aac", "pyav"),
    "adts": ("aac", ("-c:a", "aac"), "aac", "pyav"),
    "alac": ("m4a", ("-c:a", "alac"), "alac", "pyav"),
    "aiff": ("aiff", ("-c:a", "pcm_s24be"), "pcm_s24be", "soundfile"),
    "wma": ("wma", ("-c:a", "wmav2"), "wmav2", "pyav"),
    "wavpack": ("wv", ("-c:a", "wavpack"), "wavpack", "pyav"),
    "ac3": ("ac3", ("-c:a", "ac3"), "ac3", "pyav"),
    "matroska": ("mka", ("-c:a", "flac"), "flac", "pyav"),
    "webm": ("webm", ("-c:a", "libopus"), "opus", "pyav"),
    "oggflac": ("oga", ("-c:a", "flac"), "flac", "pyav"),
    "wav_float": ("wav", ("-c:a", "pcm_f32le"), "pcm_f32le", "soundfile"),
    "wav_u8": ("wav", ("-c:a", "pcm_u8"), "pcm_u8", "soundfile"),
    "wav_adpcm": ("wav", ("-c:a", "adpcm_ima_wav"), "adpcm_ima_wav", "soundfile"),
    "tta": ("tta", ("-c:a", "tta"), "tta", "pyav"),
    "caf": ("caf", ("-c:a", "pcm_s16le"), "pcm_s16le", "pyav"),
    "eac3": ("eac3", ("-c:a", "eac3"), "eac3", "pyav"),
    "dts": ("dts", ("-c:a", "dca", "-strict", "-2"), "dts", "pyav"),
    "dts_in_wav": ("wav", ("-c:a", "dca", "-strict", "-2"), "dts", "pyav"),
    "truehd": ("thd", ("-c:a", "truehd", "-strict", "-2", "-ar", "48000"), "truehd", "pyav"),
    "m4b": ("m4b", ("-c:a", "aac", "-f", "ipod"), "aac", "pyav"),
    "w64": ("w64", (), "pcm_s16le", "soundfile"),
    "rf64": ("wav", ("-rf64", "always"), "pcm_s16le", "soundfile"),
    "aifc": ("aifc", ("-f", "aiff", "-c:a", "pcm_s16le"), "pcm_s16le", "soundfile"),
    "aifc_mulaw": ("aifc", ("-f", "aiff", "-c:a", "pcm_mulaw"), "pcm_mulaw", "soundfile"),
    "wma1": ("wma", ("-c:a", "wmav1"), "wmav1", "pyav"),
    "au": ("au", ("-c:a", "pcm_s16be"), "pcm_s16be", "soundfile"),
    "mov": ("mov", ("-c:a", "pcm_s16be"), "pcm_s16be", "pyav"),
    "mpegts": ("ts", ("-c:a", "aac"), "aac", "pyav"),
    "flv": ("flv", ("-c:a", "libmp3lame"), "mp3", "pyav"),
}


def kind_of(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        analyse(path)
    return caught.value.kind


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_gives_the_same_music(name: str, song: Path, tmp_path: Path) -> None:
    extension, arguments, codec, decoder = FORMATS[name]
    path = sound.encode(song, tmp_path / f"x.{extension}", *arguments)
    result = analyse(path)
    assert result.technical.codec == codec
    assert result.technical.decoder == decoder
    # Encoder delay and padding: AC3 and MP2 pad to whole frames.
    assert result.technical.duration == pytest.approx(24.0, abs=0.12)
    assert result.technical.bit_rate
    assert 20_000 < result.technical.bit_rate < 3_000_000
    features = result.features
    assert features is not None
    assert features.bpm is not None
    assert features.bpm == pytest.approx(120, rel=0.002)
    assert features.key == "C major"
    assert features.loudness_lufs == pytest.approx(-21.5, abs=1.0)
    assert not {"truncated", "decoder_errors"} & {f.code for f in features.findings}
    assert result.fingerprint is not None
    assert result.fingerprint.chromaprint is not None


@pytest.mark.parametrize(
    ("name", "video", "audio", "codec"),
    [
        ("film.mp4", "mpeg4", "aac", "aac"),
        ("film.mp4", "mpeg4", "alac", "alac"),
        ("film.mkv", "mpeg4", "ac3", "ac3"),
        ("film.mkv", "mpeg4", "flac", "flac"),
        ("film.mpg", "mpeg1video", "mp2", "mp2"),
        ("film.avi", "mpeg4", "libmp3lame", "mp3"),
    ],
)
def test_the_sound_of_a_film(name: str, video: str, audio: str, codec: str, song: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    picture = ("-f", "lavfi", "-i", "testsrc=d=24:s=128x96:r=25")
    sound.ffmpeg(*picture, "-i", song, "-map", "0:v", "-map", "1:a", "-c:v", video, "-c:a", audio, path)
    result = analyse(path, stages=("features",))
    assert result.technical.codec == codec
    assert result.technical.duration == pytest.approx(24.0, abs=0.1)
    assert result.technical.bit_rate is not None
    assert result.technical.bit_rate < 1_500_000, "the picture's bytes are not the sound's"
    assert result.features is not None
    assert result.features.key == "C major"
    assert not {"truncated", "decoder_errors"} & {f.code for f in result.features.findings}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("x.m4a", ("-c:a", "aac")), ("x.opus", ("-c:a", "libopus", "-mapping_family", "1")), ("x.mka", ("-c:a", "flac"))],
)
def test_eight_channels(name: str, arguments: tuple[str, ...], song: Path, tmp_path: Path) -> None:
    """As many as FFmpeg's frames have room for without a list of their own: 7.1."""
    surround = "pan=7.1|FL=FL|FR=FR|FC=.3*FL|LFE=.5*FL|BL=.3*FR|BR=.3*FL|SL=.2*FL|SR=.2*FR"
    result = analyse(sound.encode(song, tmp_path / name, "-af", surround, *arguments), stages=("features",))
    assert result.technical.channels == 8
    assert result.technical.duration == pytest.approx(24.0, abs=0.05)
    assert result.features is not None
    assert result.features.bpm == pytest.approx(120, rel=0.002)
    assert result.features.key == "C major"


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("x.ogg", ("-c:a", "vorbis", "-strict", "-2", "-ac", "2"), ("-c:a", "vorbis", "-strict", "-2", "-ac", "2")),
        (
            "x.ogg",
            ("-c:a", "vorbis", "-strict", "-2", "-ac", "2"),
            ("-c:a", "vorbis", "-strict", "-2", "-ac", "2", "-ar", "32000"),
        ),
        ("x.ogg", ("-c:a", "vorbis", "-strict", "-2", "-ac", "2"), ("-c:a", "libopus")),
        ("x.opus", ("-c:a", "libopus"), ("-c:a", "libopus", "-ac", "1")),
    ],
    ids=["alike", "rate", "codec", "channels"],
)
def test_the_links_of_a_chained_ogg_file(
    name: str, one: tuple[str, ...], other: tuple[str, ...], song: Path, tmp_path: Path
) -> None:
    """As recorders of internet radio write them, a link for each title; three, the middle one of another kind."""
    parts = [
        sound.encode(song, tmp_path / f"{serial}_{name}", *arguments, "-serial_offset", str(serial))
        for serial, arguments in ((1, one), (2, other), (3, one))
    ]
    path = tmp_path / name
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    result = analyse(path, stages=("features",))
    assert result.technical.duration == pytest.approx(72.0, abs=0.1)
    assert result.features is not None
    assert result.features.key == "C major"
    assert not result.features.findings


def test_sound_that_begins_late_is_not_cut(song: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.mka"
    sound.ffmpeg("-itsoffset", "4", "-i", song, "-c:a", "flac", path)
    result = analyse(path, stages=("features",))
    assert result.technical.duration == pytest.approx(24.0, abs=0.05)
    assert result.features is not None
    assert not result.features.findings


def test_damage_within_a_flac_file(song: Path, tmp_path: Path) -> None:
    """FFmpeg takes it for music and says nothing; libsndfile stops there."""
    data = bytearray(sound.encode(song, tmp_path / "x.flac").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    (tmp_path / "x.flac").write_bytes(data)
    result = analyse(tmp_path / "x.flac", stages=("features",))
    assert result.technical.duration == pytest.approx(24.0, abs=0.2)
    assert result.features is not None
    assert {f.code for f in result.features.findings} == {"decoder_errors"}


def test_monkeys_audio(tmp_path: Path) -> None:
    """A mono file of several frames; lossless, so that the figures are those of the same samples in a WAV file."""
    rate = 22050
    music = sound.chords(0, "major", 10, rate) * 0.5 + sound.drums(120, 10, rate) * 0.5
    plain = analyse(sound.write(tmp_path / "x.wav", np.rint(music * 32767) / 32768, rate))
    (tmp_path / "x.ape").write_bytes(rare.ape(music, rate))
    result = analyse(tmp_path / "x.ape")
    assert (result.technical.codec, result.technical.bit_depth) == ("ape", 16)
    assert result.technical.duration == plain.technical.duration
    assert result.technical.bit_rate is not None
    assert result.technical.bit_rate < rate * 16
    assert result.features == plain.features
    assert result.fingerprint == plain.fingerprint
    (tmp_path / "cut.ape").write_bytes((tmp_path / "x.ape").read_bytes()[:-150_000])
    cut = analyse(tmp_path / "cut.ape", stages=("features",))
    assert cut.technical.duration < 8
    assert cut.features is not None
    assert "truncated" in {f.code for f in cut.features.findings}


@pytest.mark.parametrize(("name", "write", "codec"), [("x.dsf", rare.dsf, "dsd_lsbf_planar"), ("x.dff", rare.dff, "dsd_msbf")])
def test_one_bit_audio(name: str, write: Callable[..., bytes], codec: str, tmp_path: Path) -> None:
    music = sound.chords(0, "major", 9) * 0.5
    plain = analyse(sound.write(tmp_path / "x.wav", music)).features
    (tmp_path / name).write_bytes(write(music, sound.RATE))
    result = analyse(tmp_path / name)
    technical, features = result.technical, result.features
    assert (technical.codec, technical.bit_depth, technical.bit_rate) == (codec, 1, rare.DSD_RATE)
    assert technical.duration == pytest.approx(9.0, abs=0.02)
    assert plain is not None
    assert features is not None
    assert features.key == plain.key == "C major"
    assert not features.findings
    (tmp_path / f"cut_{name}").write_bytes((tmp_path / name).read_bytes()[:2_000_000])
    cut = analyse(tmp_path / f"cut_{name}", stages=("features",)).features
    assert cut is not None
    assert "truncated" in {f.code for f in cut.findings}
    # The modulator's noise is far over what is heard and must not count.
    assert features.loudness_lufs == pytest.approx(plain.loudness_lufs, abs=0.3)
    assert features.spectral_centroid_hz == pytest.approx(plain.spectral_centroid_hz, rel=0.3)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("x.m4a", ("-c:a", "aac", "-movflags", "faststart")),
        ("x.mka", ("-c:a", "flac")),
        ("x.webm", ("-c:a", "libopus")),
        ("x.opus", ("-c:a", "libopus")),
        ("x.wma", ("-c:a", "wmav2")),
        ("x.wv", ("-c:a", "wavpack")),
        ("x.tta", ("-c:a", "tta")),
        ("x.aiff", ()),
        ("x.caf", ()),
        ("x.w64", ()),
        ("x.au", ()),
    ],
)
def test_a_cut_file_is_analysed_as_far_as_it_goes(name: str, arguments: tuple[str, ...], song: Path, tmp_path: Path) -> None:
    whole = sound.encode(song, tmp_path / f"whole_{name}", *arguments)
    data = whole.read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 2 // 3])
    result = analyse(tmp_path / name, stages=("features",))
    assert result.technical.duration == pytest.approx(16.0, abs=1.3)
    assert result.features is not None
    assert "truncated" in {f.code for f in result.features.findings}
    whole_features = analyse(whole, stages=("features",)).features
    assert whole_features is not None
    assert "truncated" not in {f.code for f in whole_features.findings}


def test_a_codec_nobody_knows(song: Path, tmp_path: Path) -> None:
    data = sound.encode(song, tmp_path / "x.mka", "-c:a", "flac").read_bytes()
    (tmp_path / "x.mka").write_bytes(data.replace(b"A_FLAC", b"A_XXXX", 1))
    assert kind_of(tmp_path / "x.mka") == "unsupported"
    data = sound.encode(song, tmp_path / "x.mov", "-c:a", "pcm_s16be").read_bytes()
    (tmp_path / "x.mov").write_bytes(data.replace(b"twos", b"zzzz", 1))
    assert kind_of(tmp_path / "x.mov") == "unsupported"


@pytest.mark.parametrize("entry", [b"drms", b"enca", b"aavd"])
def test_protected_mp4(entry: bytes, song: Path, tmp_path: Path) -> None:
    """The sample entry says so: FairPlay, common encryption, Audible. Without the key a decoder may make noise of it."""
    data = sound.encode(song, tmp_path / "x.m4a", "-c:a", "aac").read_bytes()
    start = data.index(b"mp4a", data.index(b"stsd"))
    (tmp_path / "x.m4a").write_bytes(data[:start] + entry + data[start + 4 :])
    assert kind_of(tmp_path / "x.m4a") == "encrypted"


def test_protected_wma(song: Path, tmp_path: Path) -> None:
    data = sound.encode(song, tmp_path / "x.wma", "-c:a", "wmav2").read_bytes()
    guid = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")
    protection = guid + struct.pack("<QIIII", 40, 0, 0, 0, 0)
    length, count = struct.unpack("<QI", data[16:28])
    header = data[:16] + struct.pack("<QI", length + len(protection), count + 1) + data[28:30]
    (tmp_path / "x.wma").write_bytes(header + protection + data[30:])
    assert kind_of(tmp_path / "x.wma") == "encrypted"


def test_a_film_without_sound_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    sound.ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=32x32:r=5", "-an", "-c:v", "mpeg4", path)
    assert kind_of(path) == "no_audio"


def test_the_name_says_nothing(song: Path, tmp_path: Path) -> None:
    flac = sound.encode(song, tmp_path / "x.flac")
    lying = tmp_path / "lying.mp3"
    flac.rename(lying)
    assert analyse(lying, stages=("fingerprint",)).technical.codec == "flac"


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_not_utf8(song: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/bad-\xff\xfe.wav"
    try:
        shutil.copyfile(song, name)
    except OSError:
        pytest.skip("not applicable: this file system takes UTF-8 names only")
    assert analyse(os.fsdecode(name), stages=()).technical.duration == pytest.approx(24.0)


def test_a_playlist_is_never_followed(song: Path, tmp_path: Path) -> None:
    """HLS and concat files name other files or addresses; FFmpeg would open them."""
    for text in (f"#EXTM3U\n#EXTINF:24,\n{song}\n", f"ffconcat version 1.0\nfile '{song}'\n"):
        path = tmp_path / "list.mp3"
        path.write_text(text)
        assert kind_of(path) == "not_audio"


def test_only_the_stages_asked_for(song: Path) -> None:
    both, features, fingerprint = analyse(song), analyse(song, stages=["features"]), analyse(song, stages=["fingerprint"])
    assert features.fingerprint is None
    assert features.features == both.features
    assert fingerprint.features is None
    assert fingerprint.fingerprint == both.fingerprint
    with pytest.raises(ValueError, match="unknown stage: lyrics"):
        analyse(song, stages=["lyrics"])
