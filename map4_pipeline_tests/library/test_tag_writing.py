"""Measured values in users' files: every format, nothing else touched, the same audio, and back again."""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import av
import mutagen
import mutagen.id3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from map4_pipeline.library.encode import encode
from map4_pipeline.library.identity import identify
from map4_pipeline.library.model import Tags
from map4_pipeline.library.tag_files import Rewrite, TagRefusedError, examine, rewrite
from map4_pipeline.library.tag_plan import FIELDS, Measured, Wish, energy_level, plan, r128_gain
from map4_pipeline.library.tag_undo import UndoFile, UndoFileError, read_undo, restore
from map4_pipeline.library.tag_writer import NativeTags, TagWriteError, read_native, write_native, write_tags
from map4_pipeline.library.tags import read_tags

FORMATS = ("mp3", "flac", "ogg", "opus", "m4a", "aiff", "wav", "wma", "wv")
MEASURED = Measured(bpm=127.96, key="F# minor", energy=0.68, replaygain_db=-7.254, replaygain_peak=0.9885531)
DEFAULT = Wish()
ITUNES = "----:com.apple.iTunes:"
ID3 = {
    "TBPM": ["128"],
    "TKEY": ["F#m"],
    "TXXX:EnergyLevel": ["7"],
    "TXXX:REPLAYGAIN_TRACK_GAIN": ["-7.25 dB"],
    "TXXX:REPLAYGAIN_TRACK_PEAK": ["0.988553"],
}
VORBIS = {
    "BPM": ["127.96"],
    "INITIALKEY": ["F#m"],
    "ENERGYLEVEL": ["7"],
    "REPLAYGAIN_TRACK_GAIN": ["-7.25 dB"],
    "REPLAYGAIN_TRACK_PEAK": ["0.988553"],
}
LOUDNESS = {"REPLAYGAIN_TRACK_GAIN": ["-7.25 dB"], "REPLAYGAIN_TRACK_PEAK": ["0.988553"]}
EXPECTED: dict[str, dict[str, list[Any]]] = {
    **dict.fromkeys(("mp3", "aiff", "wav"), ID3),
    **dict.fromkeys(("flac", "ogg"), VORBIS),
    # -7.254 dB to -18 LUFS is -12.254 dB to -23 LUFS; in 1/256 dB.
    "opus": {"BPM": ["127.96"], "INITIALKEY": ["F#m"], "ENERGYLEVEL": ["7"], "R128_TRACK_GAIN": ["-3137"]},
    "m4a": {
        "tmpo": [128],
        f"{ITUNES}initialkey": ["F#m"],
        f"{ITUNES}EnergyLevel": ["7"],
        f"{ITUNES}replaygain_track_gain": ["-7.25 dB"],
        f"{ITUNES}replaygain_track_peak": ["0.988553"],
    },
    "wma": {"WM/BeatsPerMinute": ["127.96"], "WM/InitialKey": ["F#m"], "EnergyLevel": ["7"], **LOUDNESS},
    "wv": {"BPM": ["127.96"], "InitialKey": ["F#m"], "EnergyLevel": ["7"], **LOUDNESS},
}


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tones")
    tone = (0.3 * np.sin(np.arange(22050) / 20)).astype(np.float32)[:, None]
    for suffix in FORMATS:
        encode(tone, folder / f"x.{suffix}")
    return {suffix: folder / f"x.{suffix}" for suffix in FORMATS}


@pytest.fixture
def tone(tones: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copyfile(tones["mp3"], tmp_path / "tone.mp3"))


def put(path: Path, measured: Measured = MEASURED, wish: Wish = DEFAULT, undo: UndoFile | None = None) -> bool:
    name = os.fsencode(path)
    writes = plan(read_native(name), measured, wish).writes
    if writes:
        rewrite(name, examine(name), writes, note=lambda done: undo.note(7, done) if undo else None)
    return bool(writes)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_takes_every_field_keeps_all_else_and_gives_it_back(
    tones: dict[str, Path], suffix: str, tmp_path: Path
) -> None:
    path = Path(shutil.copyfile(tones[suffix], tmp_path / f"Käthe \udcff.{suffix}"))
    write_tags(path, Tags(title="Übermorgen 🎹", artist="Käthe", year=1999, track_number=3, bpm=90.0), cover=b"\xff\xd8\xff\xd9")
    before, audio = read_native(path), identify(path).audio_hash
    said = read_tags(path)
    with UndoFile(tmp_path / "undo") as undo:
        assert put(path, undo=undo)
    after = read_native(path)
    assert {name: after.values[name] for name in EXPECTED[suffix]} == EXPECTED[suffix]
    assert set(after.values) == set(before.values) | set(EXPECTED[suffix])
    assert after.rest == before.rest
    assert identify(path).audio_hash == audio
    now = read_tags(path)
    assert (now.title, now.artist, now.year, now.has_cover) == (said.title, said.artist, said.year, said.has_cover)
    assert (round(now.bpm or 0), now.key) == (128, "F#m")
    # A second run finds nothing to do.
    assert plan(after, MEASURED, Wish()).changes == ()

    assert undo.path is not None
    (record,) = read_undo(undo.path)
    assert record.track_id == 7
    with UndoFile(tmp_path / "undo") as again:
        assert restore(record, again)
        assert not restore(record, again)
    assert read_native(path) == before
    assert identify(path).audio_hash == audio
    # And an undo can be undone.
    assert again.path is not None
    (redo,) = read_undo(again.path)
    with UndoFile(tmp_path / "undo") as third:
        assert restore(redo, third)
    assert read_native(path) == after


@pytest.mark.parametrize("suffix", FORMATS)
def test_ffmpeg_reads_what_was_written(tones: dict[str, Path], suffix: str, tmp_path: Path) -> None:
    """By libav, as ffprobe does: another reader than the one that wrote."""
    path = Path(shutil.copyfile(tones[suffix], tmp_path / f"x.{suffix}"))
    assert put(path)
    with av.open(str(path)) as container:
        found = {**container.metadata, **container.streams.audio[0].metadata}
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert abs(samples - 22050) < 4000
    for name, values in EXPECTED[suffix].items():
        if name == "tmpo":  # libav passes it over
            continue
        plain = name.removeprefix("TXXX:").removeprefix(ITUNES).upper()
        assert {key.upper(): value for key, value in found.items()}[plain] == str(values[0]), name


@pytest.mark.parametrize("suffix", FORMATS)
def test_ffprobe_reads_what_was_written(tones: dict[str, Path], suffix: str, tmp_path: Path) -> None:
    program = shutil.which("ffprobe")
    if program is None:
        pytest.skip("needs ffprobe")
    path = Path(shutil.copyfile(tones[suffix], tmp_path / f"x.{suffix}"))
    assert put(path)
    command = [program, "-v", "error", "-of", "json", "-show_entries", "format_tags:stream_tags", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    said = json.loads(done.stdout)
    found = {key.upper(): value for part in (said["format"], *said["streams"]) for key, value in part.get("tags", {}).items()}
    for name, values in EXPECTED[suffix].items():
        if name != "tmpo":  # ffprobe passes it over
            assert found[name.removeprefix("TXXX:").removeprefix(ITUNES).upper()] == str(values[0]), name


@pytest.mark.parametrize("suffix", ["mp3", "wav", "aiff", "wv"])
def test_a_file_without_any_tag_has_none_after_an_undo(tones: dict[str, Path], suffix: str, tmp_path: Path) -> None:
    path = Path(shutil.copyfile(tones[suffix], tmp_path / f"x.{suffix}"))
    write_native(path, dict.fromkeys(read_native(path).values), drop_empty=True)
    assert not read_native(path).has_tags
    with UndoFile(tmp_path / "undo") as undo:
        assert put(path, undo=undo)
    assert undo.path is not None
    with UndoFile(tmp_path / "undo") as again:
        assert [restore(record, again) for record in read_undo(undo.path)] == [True]
    assert not read_native(path).has_tags


def test_an_old_id3_tag_stays_one_and_keeps_what_other_programs_put_there(tone: Path) -> None:
    id3: Any = mutagen.id3
    frames = id3.ID3()
    frames.add(id3.TYER(encoding=0, text="1999"))
    frames.add(id3.TIT2(encoding=1, text="Übermorgen"))
    frames.add(id3.GEOB(encoding=0, mime="application/octet-stream", filename="", desc="Serato Markers2", data=b"\x01\x02" * 99))
    frames.add(id3.COMM(encoding=1, lang="eng", desc="", text="7A - Energy 6"))
    frames.add(id3.TXXX(encoding=0, desc="ENERGYLEVEL", text="6"))
    frames.save(tone, v2_version=3)
    before = read_native(tone)
    assert put(tone)
    assert tone.read_bytes()[:4] == b"ID3\x03"
    after = read_native(tone)
    assert after.rest == before.rest
    assert after.values["TYER"] == ["1999"]
    # The name's spelling is the file's own; no second one stands beside it.
    assert after.values["TXXX:ENERGYLEVEL"] == ["7"]
    assert "TXXX:EnergyLevel" not in after.values


def test_the_same_in_other_words_is_left() -> None:
    def changes(values: dict[str, list[Any]], wish: Wish = DEFAULT, family: str = "id3") -> list[str]:
        return [change.name for change in plan(NativeTags(family, True, values), MEASURED, wish).changes]

    same = {
        "TBPM": ["127.96"],
        "TKEY": ["F#min"],
        "TXXX:energylevel": ["7.0"],
        "TXXX:replaygain_track_gain": ["-7.254 dB"],
        "TXXX:replaygain_track_peak": ["0.98855312"],
    }
    assert changes(same) == []
    assert changes(same, Wish(notation="camelot")) == ["TKEY"]
    assert changes({**same, "TKEY": ["11A"]}, Wish(notation="camelot")) == []
    assert changes({**same, "TKEY": ["04m"]}, Wish(notation="open")) == []
    assert changes(same, Wish(bpm_decimals=2)) == []
    assert changes({**same, "TBPM": ["128"]}, Wish(bpm_decimals=2)) == ["TBPM"]
    assert changes({**same, "TBPM": ["64"]}) == ["TBPM"]
    assert changes({**same, "TBPM": ["fast"]}) == ["TBPM"]
    # A second place where a program keeps the tempo must not say another one.
    assert changes({**same, "TXXX:BPM": ["90"]}) == ["TXXX:BPM"]
    assert changes({"BPM": ["128.4"]}, Wish(["bpm"]), "vorbis") == ["BPM"]


def test_only_empty_leaves_whatever_is_there() -> None:
    there = NativeTags("mp4", True, {"tmpo": [0], f"{ITUNES}KEY": ["Q##"], f"{ITUNES}REPLAYGAIN_TRACK_GAIN": ["+1 dB"]})
    found = plan(there, MEASURED, Wish(only_empty=True))
    assert {(change.field, change.old) for change in found.changes} == {("bpm", "0"), ("energy", None)}
    assert plan(there, MEASURED, Wish(["energy"])).writes == {f"{ITUNES}EnergyLevel": ["7"]}
    assert plan(there, Measured(), Wish()).writes == {}


@given(
    family=st.sampled_from(["id3", "vorbis", "opus", "mp4", "asf", "ape"]),
    bpm=st.floats(20, 400),
    energy=st.floats(0, 1),
    gain=st.floats(-60, 60),
    peak=st.floats(0, 4),
    key=st.sampled_from(["C major", "A minor", "F# major", "Ab minor"]),
    notation=st.sampled_from(["musical", "camelot", "open"]),
    decimals=st.sampled_from([None, 0, 1, 2]),
)
def test_what_was_written_is_never_written_again(
    family: str, bpm: float, energy: float, gain: float, peak: float, key: str, notation: str, decimals: int | None
) -> None:
    measured, wish = Measured(bpm, key, energy, gain, peak), Wish(FIELDS, notation, decimals)
    first = plan(NativeTags(family, False), measured, wish)
    assert {change.field for change in first.changes} == set(FIELDS)
    written = {name: values for name, values in first.writes.items() if values is not None}
    assert plan(NativeTags(family, True, written), measured, wish).writes == {}


def test_figures_as_other_programs_have_them() -> None:
    assert [energy_level(value) for value in (0.0, 0.04, 0.14, 0.5, 0.68, 0.97, 1.0)] == [1, 1, 1, 5, 7, 10, 10]
    # A track at -23 LUFS needs no gain in Opus and 5 dB in ReplayGain.
    assert r128_gain(5.0) == 0
    assert r128_gain(-200.0) == -32768


def test_mode_attributes_and_owner_stay_and_the_time_is_new(tone: Path) -> None:
    tone.chmod(0o640)
    os.utime(tone, ns=(10**18, 10**18))
    try:
        os.setxattr(tone, "user.rating", b"5")
        has_attributes = True
    except (OSError, AttributeError):
        has_attributes = False
    before = tone.stat()
    assert put(tone)
    after = tone.stat()
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_mtime_ns > before.st_mtime_ns
    assert not has_attributes or os.getxattr(tone, "user.rating") == b"5"
    assert os.listdir(tone.parent) == [tone.name]


def test_what_is_not_to_be_touched_is_refused_in_words(tone: Path, tmp_path: Path) -> None:
    def refusal(path: Path, **known: Any) -> str:
        with pytest.raises(TagRefusedError) as refused:
            examine(os.fsencode(path), **known)
        return str(refused.value)

    state = tone.stat()
    assert "changed since the last scan" in refusal(tone, size=state.st_size + 1)
    assert "changed since the last scan" in refusal(tone, size=state.st_size, mtime_ns=1)
    link = tmp_path / "link.mp3"
    link.symlink_to(tone)
    assert "It is a link" in refusal(link)
    (tmp_path / "folder").mkdir()
    shutil.copyfile(tone, tmp_path / "folder/a.mp3")
    (tmp_path / "other").symlink_to(tmp_path / "folder", target_is_directory=True)
    assert "is a link now" in refusal(tmp_path / "other/a.mp3", root=os.fsencode(tmp_path))
    assert examine(os.fsencode(tmp_path / "folder/a.mp3"), root=os.fsencode(tmp_path))
    assert "is gone" in refusal(tmp_path / "gone.mp3")
    assert "no regular file" in refusal(tmp_path)
    tone.chmod(0o444)
    assert "read-only" in refusal(tone)
    tone.chmod(0o644)
    os.link(tone, tmp_path / "second.mp3")
    assert "hard link" in refusal(tone)


def test_nothing_is_left_half_done(tone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, name = tone.read_bytes(), os.fsencode(tone)

    def attempt(**how: Any) -> str:
        with pytest.raises((TagRefusedError, OSError)) as refused:
            rewrite(name, examine(name), {"TBPM": ["1"]}, **how)
        assert tone.read_bytes() == content
        assert os.listdir(tmp_path) == [tone.name]
        return str(refused.value)

    assert "other audio" in attempt(audio_hash="0" * 64)

    def no_space(done: Rewrite) -> None:
        raise OSError(28, "No space left on device")

    assert "No space" in attempt(note=no_space)

    def spoil(path: bytes, changes: Any, **how: Any) -> None:
        write_native(path, changes, **how)
        with open(path, "r+b") as file:
            file.seek(-500, os.SEEK_END)
            file.write(b"\0" * 200)

    monkeypatch.setattr("map4_pipeline.library.tag_files.write_native", spoil)
    assert "would change its audio" in attempt()

    def overreach(path: bytes, changes: Any, **how: Any) -> None:
        write_native(path, {**changes, "TIT2": ["another"]}, **how)

    monkeypatch.setattr("map4_pipeline.library.tag_files.write_native", overreach)
    assert "other tags as well (TIT2, title)" in attempt()

    def meanwhile(path: bytes, changes: Any, **how: Any) -> None:
        write_native(path, changes, **how)
        os.utime(name)

    monkeypatch.setattr("map4_pipeline.library.tag_files.write_native", meanwhile)
    assert "changed meanwhile" in attempt()


def test_an_undo_leaves_what_somebody_has_changed_since(tone: Path, tmp_path: Path) -> None:
    with UndoFile(tmp_path / "undo") as undo:
        put(tone, undo=undo)
    assert undo.path is not None
    write_tags(tone, Tags(bpm=90.0))
    content = tone.read_bytes()
    (record,) = read_undo(undo.path)
    with UndoFile(tmp_path / "undo") as again, pytest.raises(TagRefusedError, match="TBPM"):
        restore(record, again)
    assert tone.read_bytes() == content
    assert again.path is None


def test_undo_files_that_are_cut_or_none(tone: Path, tmp_path: Path) -> None:
    with UndoFile(tmp_path / "undo") as undo:
        put(tone, undo=undo)
    assert undo.path is not None
    text = undo.path.read_text()
    # Killed while it was written: the file of that line was not touched.
    undo.path.write_text(text + text.splitlines()[1][:40])
    assert len(list(read_undo(undo.path))) == 1
    undo.path.write_text(text.splitlines()[0] + "\n{}\n" + text.splitlines()[1] + "\n")
    with pytest.raises(UndoFileError, match="line 2"):
        read_undo(undo.path)
    for other in ("", "[]", "no json", '{"format": "another"}'):
        undo.path.write_text(other)
        with pytest.raises(UndoFileError):
            read_undo(undo.path)


@pytest.mark.parametrize("version", [3, 4])
def test_a_tag_that_would_be_lost_in_writing_keeps_the_file_as_it_is(tone: Path, version: int) -> None:
    """Text marked as UTF-8 that is none: legible to MAP4, and dropped by mutagen."""
    audio = tone.read_bytes()[read_id3_size(tone) :]
    text = b"\x03Caf\xe9"
    frames = b"TPE1" + bytes((0, 0, 0, len(text), 0, 0)) + text + b"TIT2" + bytes((0, 0, 0, 2, 0, 0)) + b"\0A"
    tone.write_bytes(b"ID3" + bytes((version, 0, 0, 0, 0, 0, len(frames))) + frames + audio)
    content = tone.read_bytes()
    with pytest.raises(TagRefusedError, match="artist"):
        put(tone)
    assert tone.read_bytes() == content


def read_id3_size(path: Path) -> int:
    head = path.read_bytes()[:10]
    return 10 + sum(part << shift for part, shift in zip(head[6:], (21, 14, 7, 0), strict=True)) if head[:3] == b"ID3" else 0


def test_id3_of_version_2_2_keeps_what_it_says(tone: Path) -> None:
    audio = tone.read_bytes()[read_id3_size(tone) :]
    frames = b"TT2" + bytes((0, 0, 2)) + b"\0A" + b"TP1" + bytes((0, 0, 2)) + b"\0B" + b"TYE" + bytes((0, 0, 5)) + b"\x001999"
    tone.write_bytes(b"ID3" + bytes((2, 0, 0, 0, 0, 0, len(frames))) + frames + audio)
    assert put(tone)
    said = read_tags(tone)
    assert (said.title, said.artist, said.year, said.bpm, said.key) == ("A", "B", 1999, 128, "F#m")


def test_damaged_tags_are_refused_and_never_a_defect(tones: dict[str, Path], tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for number in range(90):
        suffix = FORMATS[number % len(FORMATS)]
        path = tmp_path / f"{number}.{suffix}"
        content = bytearray(tones[suffix].read_bytes())
        for place in random.integers(0, 400, 12):
            content[place] = random.integers(0, 256)
        path.write_bytes(content)
        try:
            put(path)
        except (TagRefusedError, TagWriteError):
            assert path.read_bytes() == content


def test_what_takes_no_tags_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    path.write_text("no audio at all")
    with pytest.raises(TagWriteError):
        read_native(path)
