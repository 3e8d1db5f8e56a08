"""The demo library and the generator of large ones."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.generate import generate, plan
from map4_pipeline.library.demo import DEMO_BROKEN, DEMO_COPY, DEMO_PICTURE, DEMO_TRACKS, DEMO_TRANSCODE, build_demo
from map4_pipeline.library.identity import identify
from map4_pipeline.library.model import Identity
from map4_pipeline.library.synthesis import SAMPLE_RATE, STYLES, Song, render
from map4_pipeline.library.tags import read_tags
from map4_pipeline.library.walk import walk


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo library, with tracks cut to five seconds."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("map4_pipeline.library.demo.SECONDS", 5.0)
        build_demo(folder)
    return folder


def identities(folder: Path) -> dict[str, Identity]:
    found = {}
    for listing in walk(str(folder)):
        for file in listing.files:
            path = os.path.join(os.fsencode(folder), listing.relative_path, file.name)
            found[os.fsdecode(os.path.relpath(path, os.fsencode(folder)))] = identify(path)
    return found


def test_the_demo_holds_what_it_says(demo: Path) -> None:
    found = identities(demo)
    assert set(found) == {track.path for track in DEMO_TRACKS} | {DEMO_COPY[0], DEMO_TRANSCODE[0], DEMO_BROKEN[0]}
    assert found[DEMO_COPY[0]].file_hash == found[DEMO_COPY[1]].file_hash
    assert found[DEMO_TRANSCODE[0]].audio_hash != found[DEMO_TRANSCODE[1].path].audio_hash
    # 15 files, one of them a copy.
    assert len({identity.audio_hash for identity in found.values()}) == 14
    skipped = [entry.name for listing in walk(str(demo)) for entry in listing.skipped]
    assert skipped == [os.fsencode(Path(DEMO_PICTURE).name)]


def test_the_broken_file_is_broken(demo: Path) -> None:
    assert identify(demo / DEMO_BROKEN[1]).audio_hash_kind == "packets"
    assert identify(demo / DEMO_BROKEN[0]).audio_hash_kind == "file"


def test_demo_tracks_say_what_they_are(demo: Path) -> None:
    for track in DEMO_TRACKS:
        tags = read_tags(demo / track.path)
        expected = track.tags
        assert (tags.title, tags.artist, tags.album, tags.genre) == (
            expected.title,
            expected.artist,
            expected.album,
            expected.genre,
        )
        assert (tags.year, tags.track_number, tags.bpm, tags.key) == (
            expected.year,
            expected.track_number,
            expected.bpm,
            expected.key,
        )


def test_building_twice_changes_nothing_and_repairs_what_is_missing(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("map4_pipeline.library.demo.SECONDS", 5.0)
    victim = demo / DEMO_TRACKS[1].path
    data = victim.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in build_demo(demo) if path != victim}
    victim.unlink()
    after = {path: path.stat().st_mtime_ns for path in build_demo(demo) if path != victim}
    assert before == after
    # Deterministic to the byte.
    assert victim.read_bytes() == data


def test_a_demo_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        build_demo(tmp_path / "file")


@pytest.mark.parametrize("style", STYLES)
def test_songs_are_audible_stereo_and_the_same_every_time(style: str) -> None:
    song = Song(bpm=120, tonic=9, mode="minor", style=style, seed=3)  # type: ignore[arg-type]
    audio = render(song, 6)
    assert song.key == "A minor"
    assert audio.shape == (6 * SAMPLE_RATE, 2)
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert 0.05 < audio.std() < np.abs(audio).max() < 1
    assert (audio[:, 0] != audio[:, 1]).any()
    assert (render(song, 6) == audio).all()


def test_songs_follow_the_beat_and_the_key() -> None:
    # Energy of the bass drum repeats with the beat; the tonic's pitch class is stronger than its neighbour's.
    audio = render(Song(120, 9, "minor", "house", 1), 20).mean(axis=1)
    spectrum = np.abs(np.fft.rfft(audio))
    hertz = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)

    def level(frequency: float) -> float:
        return float(spectrum[(hertz > frequency * 0.99) & (hertz < frequency * 1.01)].max())

    assert level(220.0) > 3 * level(233.08)
    envelope = np.add.reduceat(audio**2, np.arange(0, len(audio), 441))
    flux = np.maximum(0, np.diff(envelope))
    correlation = [float(flux[:-lag] @ flux[lag:]) for lag in range(30, 60)]
    assert 30 + int(np.argmax(correlation)) == 50


def test_generated_libraries_have_as_many_different_files_as_asked(tmp_path: Path) -> None:
    made = generate(tmp_path, files=20, directories=7, seconds=2, seed=5, workers=2)
    found = identities(tmp_path)
    assert sum(made.values()) == len(found) == 20
    assert len({identity.audio_hash for identity in found.values()}) == 20
    assert {identity.audio_hash_kind for identity in found.values()} == {"packets"}
    assert len({os.path.dirname(path) for path in found}) == 7
    # A second run has nothing to do.
    assert not generate(tmp_path, files=20, directories=7, seconds=2, seed=5, workers=1)
    assert identities(tmp_path) == found


def test_files_of_one_song_differ_in_the_order_of_their_bars(tmp_path: Path) -> None:
    generate(tmp_path, files=6, directories=2, seconds=33, seed=5, workers=1)
    found = identities(tmp_path)
    assert len({identity.audio_hash for identity in found.values()}) == 6
    import av

    for path in found:
        with av.open(str(tmp_path / path)) as container:
            assert abs(container.duration / 1e6 - 33) < 0.1


def test_a_plan_follows_from_its_seed(tmp_path: Path) -> None:
    one = plan(tmp_path, 2000, 300, 60, 1)
    assert one == plan(tmp_path, 2000, 300, 60, 1)
    assert one != plan(tmp_path, 2000, 300, 60, 2)
    paths = [path for task in one for path in task.paths]
    assert len(set(paths)) == 2000
    assert len({os.path.dirname(path) for path in paths}) == 300
    assert all(79 <= task.song.bpm <= 180 for task in one)
