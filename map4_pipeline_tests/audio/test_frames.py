"""Frame-level features: what the arrays hold, and the files that researchers get."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from map4_pipeline.audio import analyse, frame_features
from map4_pipeline.audio.frame_files import FrameNames, FramesNotWrittenError, jams, write_frames
from map4_pipeline.audio.frames import FLOOR_DBFS
from map4_pipeline.library.keys import escape_path

from . import sound

#: What the published schema of JAMS 0.3 asks of these namespaces: kind of the value, and of the confidence.
KEY_MODE = re.compile(r"N|([A-G][b#]?)(:(major|minor|ionian|dorian|phrygian|lydian|mixolydian|aeolian|locrian))?")


def about(path: Path, **features: Any) -> dict[str, Any]:
    analysis = analyse(path)
    assert analysis.features is not None
    found = json.loads(json.dumps(analysis.features.to_dict()))
    return {
        "technical": {"duration": analysis.technical.duration},
        "features": found | features,
        "identity": {"audio_hash": "00" * 32},
        "tags": {"title": "A Song", "artist": None, "album": "An Album"},
        "engine": "map4",
        "version": "3",
    }


def check_jams(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Check a document against the published schema's rules; return the observations by namespace."""
    assert set(document) == {"annotations", "file_metadata", "sandbox"}
    metadata = document["file_metadata"]
    assert all(isinstance(metadata[name], str) for name in ("title", "artist", "release"))
    assert metadata["duration"] >= 0
    assert isinstance(metadata["identifiers"], dict)
    assert re.fullmatch(r"[0-9]\.[0-9]\.[0-9]", metadata["jams_version"])
    found = {}
    for annotation in document["annotations"]:
        assert set(annotation) >= {"annotation_metadata", "data", "namespace"}
        by = annotation["annotation_metadata"]
        assert all(isinstance(by["curator"][name], str) for name in ("name", "email"))
        assert isinstance(by["annotator"], dict)
        texts = ("corpus", "version", "annotation_tools", "annotation_rules", "validation", "data_source")
        assert all(isinstance(by[name], str) for name in texts)
        assert isinstance(annotation["sandbox"], dict)
        assert min(annotation["time"], annotation["duration"]) >= 0
        for observation in annotation["data"]:
            assert set(observation) == {"time", "duration", "value", "confidence"}
            assert min(observation["time"], observation["duration"]) >= 0
            value, confidence = observation["value"], observation["confidence"]
            if annotation["namespace"] == "tempo":
                assert value > 0
                assert 0 <= confidence <= 1
            elif annotation["namespace"] == "beat":
                assert value is None or isinstance(value, int | float)
            elif annotation["namespace"] == "key_mode":
                assert KEY_MODE.fullmatch(value)
            else:
                assert annotation["namespace"] == "segment_open"
                assert isinstance(value, str)
        found[annotation["namespace"]] = annotation["data"]
    return found


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.5, 2.0])
def test_chroma_is_told_of_sounds_too_short_for_a_key(tmp_path: Path, seconds: float) -> None:
    tone = np.sin(2 * np.pi * 440 * sound.times(seconds)) * 0.3
    frames = frame_features(sound.write(tmp_path / "x.wav", tone))
    assert (frames.chroma.argmax(axis=1) == 9).all()
    assert frames.chroma.max(axis=1) == pytest.approx(1, abs=1e-6)
    hiss = np.random.default_rng(1).standard_normal(sound.RATE * 5) * 0.1
    assert not frame_features(sound.write(tmp_path / "hiss.wav", hiss)).chroma.any()


def test_low_and_high_onsets_end_where_they_are_said_to(tmp_path: Path) -> None:
    def strength(hertz: float) -> tuple[float, float]:
        burst = np.sin(2 * np.pi * hertz * sound.times(0.25)) * np.hanning(len(sound.times(0.25))) * 0.5
        frames = frame_features(sound.write(tmp_path / "x.wav", np.tile(np.concatenate([burst, np.zeros_like(burst)]), 6)))
        return float(frames.onset_low.max()), float(frames.onset_high.max())

    assert strength(390)[0] > 0.6 * strength(200)[0] > 2 * strength(480)[0]
    assert strength(2350)[1] > 0.6 * strength(2600)[1] > 4 * strength(2000)[1]


def test_frames_tell_level_brightness_and_pitch(tmp_path: Path) -> None:
    silence, tone = np.zeros(sound.RATE), np.sin(2 * np.pi * 440 * sound.times(2)) * 0.5
    frames = frame_features(sound.write(tmp_path / "x.wav", np.concatenate([silence, tone])))
    count = len(frames.time)
    assert count == pytest.approx(3 * 22050 / 256, abs=2)
    assert frames.time[0] == 0
    assert np.diff(frames.time) == pytest.approx(256 / 22050)
    for name in ("onset", "onset_low", "onset_high", "level_dbfs", "centroid_hz"):
        values = getattr(frames, name)
        assert (values.shape, values.dtype) == ((count,), np.float32), name
    assert (frames.chroma.shape, frames.mel.shape) == ((count, 12), (count, 40))
    quiet, loud = (frames.time > 0.1) & (frames.time < 0.9), (frames.time > 1.2) & (frames.time < 2.8)
    assert (frames.level_dbfs[quiet] == FLOOR_DBFS).all()
    # A sine of half the full scale: -6.02 dB, and 3.01 less for its shape.
    assert frames.level_dbfs[loud] == pytest.approx(-9.03, abs=0.1)
    assert frames.centroid_hz[loud] == pytest.approx(440, abs=5)
    assert frames.time[np.argmax(frames.onset)] == pytest.approx(1.0, abs=0.05)
    assert (frames.chroma[loud].argmax(axis=1) == 9).all()


def test_the_first_frame_of_a_file_of_a_second_has_a_chroma(tmp_path: Path) -> None:
    frames = frame_features(sound.write(tmp_path / "x.wav", sound.tone(440, 1.0) * 0.2))
    assert len(frames.chroma) == len(frames.time)


def test_parquet_and_jams_of_a_track(song: Path, tmp_path: Path) -> None:
    frames = frame_features(song)
    facts = about(song)
    path = os.fsencode(song)
    write_frames(tmp_path / "song.wav", path, frames, facts)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["song.wav.jams", "song.wav.parquet"]
    table = pyarrow.parquet.read_table(tmp_path / "song.wav.parquet")
    assert table.column_names[:7] == ["time", "onset", "onset_low", "onset_high", "level_dbfs", "centroid_hz", "chroma_C"]
    assert table.column_names[17:] == ["chroma_B", *(f"mel_{band:02d}" for band in range(40))]
    for name, values in (("time", frames.time), ("onset_high", frames.onset_high), ("chroma_F#", frames.chroma[:, 6])):
        assert np.array_equal(table[name].to_numpy(), values), name
    origin = json.loads(table.schema.metadata[b"map4"])
    assert origin == {"path": str(song), "engine": "map4", "features_version": "3", "audio_hash": "00" * 32}
    document = json.loads((tmp_path / "song.wav.jams").read_text(encoding="utf-8"))
    found = check_jams(document)
    (tempo,) = found["tempo"]
    assert (tempo["time"], tempo["value"]) == (0, facts["features"]["bpm"])
    assert [beat["time"] for beat in found["beat"]] == facts["features"]["beat_times"]
    assert found["key_mode"][0]["value"] == "C:major"
    assert document["file_metadata"]["title"] == "A Song"
    assert document["file_metadata"]["artist"] == ""
    assert document["file_metadata"]["identifiers"]["path"] == str(song)
    # Run again, the same bytes.
    before = [(tmp_path / f"song.wav.{ending}").read_bytes() for ending in ("jams", "parquet")]
    write_frames(tmp_path / "song.wav", path, frames, facts)
    assert [(tmp_path / f"song.wav.{ending}").read_bytes() for ending in ("jams", "parquet")] == before


def test_jams_of_a_track_whose_tempo_key_and_form_change(song: Path) -> None:
    facts = about(
        song,
        tempo_spans=[{"start": 0.0, "end": 10.0, "bpm": 120.0}, {"start": 10.0, "end": 24.0, "bpm": 90.0}],
        key_spans=[
            {"start": 0.0, "end": 12.0, "key": "C major", "probability": 0.5},
            {"start": 12.0, "end": 24.0, "key": "F# minor", "probability": 0.25},
        ],
        sections=[{"start": 0.0, "end": 24.0, "label": "A"}],
        beat_times=[0.1, 0.6, 1.1, 1.6, 2.1],
        downbeat_times=[0.6, 2.1],
        beats_per_bar=3,
    )
    found = check_jams(jams(os.fsencode(song), facts))
    assert [(o["time"], o["duration"], o["value"]) for o in found["tempo"]] == [(0, 10, 120), (10, 14, 90)]
    assert [(o["value"], o["confidence"]) for o in found["key_mode"]] == [("C:major", 0.5), ("F#:minor", 0.25)]
    assert [o["value"] for o in found["beat"]] == [3, 1, 2, 3, 1]
    assert found["segment_open"][0]["duration"] == 24


def test_jams_of_silence_has_no_annotation_and_says_why(tmp_path: Path) -> None:
    path = sound.write(tmp_path / "x.wav", np.zeros(2 * sound.RATE))
    document = jams(os.fsencode(path), about(path))
    assert check_jams(document) == {}
    assert document["sandbox"]["null_reasons"]["bpm"] == "silence"


def test_names_are_the_files_own_and_never_shared(tmp_path: Path) -> None:
    paths = [b"/a/song.mp3", b"/b/song.mp3", b"/b/SONG.mp3", b"/c/\xff\x1b.mp3", b"/d/" + b"x" * 255]
    names = FrameNames(tmp_path)
    stems = [names.stem(path) for path in paths]
    assert stems[0].name == "song.mp3"
    assert re.fullmatch(r"song\.mp3~[0-9a-f]{10}", stems[1].name)
    assert stems[3].name == "_xff_x1b.mp3"
    assert len({stem.name.casefold() for stem in stems}) == len(paths)
    assert all(len(f"{stem.name}.parquet") < 255 for stem in stems)
    # Run again, a file has the name it had, whoever comes first.
    kept = [(stem, path) for stem, path in zip(stems, paths, strict=True) if b"SONG" not in path]
    for stem, path in kept:
        document = {"file_metadata": {"identifiers": {"path": escape_path(path)}}}
        stem.with_name(f"{stem.name}.jams").write_text(json.dumps(document), encoding="utf-8")
    again = FrameNames(tmp_path)
    assert [again.stem(path) for _, path in reversed(kept)] == [stem for stem, _ in reversed(kept)]


def test_what_somebody_else_wrote_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "song.mp3.jams").write_text("by hand", encoding="utf-8")
    assert FrameNames(tmp_path).stem(b"/a/song.mp3").name.startswith("song.mp3~")


def test_a_folder_that_cannot_be_written_is_said(song: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    frames, facts = frame_features(song), about(song)
    shutil.rmtree(folder)
    folder.touch()
    with pytest.raises(FramesNotWrittenError, match=r"^The frames cannot be written to .*frames: .*\.$") as caught:
        write_frames(folder / "song.wav", os.fsencode(song), frames, facts)
    assert caught.value.exit_code == 3
