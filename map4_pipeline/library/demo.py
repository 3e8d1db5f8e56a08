"""A small library to try MAP4 on: music of our own making, several formats, tags, and a few of the oddities of real folders.

Two files have the same bytes, two hold the same recording in different formats, one is a download that broke off and one is no
audio. What each track is (`DEMO_TRACKS`) can be compared with what MAP4 measures.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from map4_pipeline.library.model import Tags
from map4_pipeline.library.synthesis import Song, Style, render

SECONDS = 45.0

# The smallest thing that calls itself a JPEG: a header and an end mark.
_COVER = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")


@dataclass(frozen=True, slots=True)
class DemoTrack:
    """One track of the demo library: where it lies, what it is, what its tags say."""

    path: str
    song: Song
    tags: Tags


def _track(path: str, bpm: float, key: str, style: Style, seed: int, genre: str, year: int, tag_tempo: bool = False) -> DemoTrack:
    from map4_pipeline.library.synthesis import NOTE_NAMES

    note, mode = key.split()
    song = Song(bpm, NOTE_NAMES.index(note), "minor" if mode == "minor" else "major", style, seed)
    artist, album, name = path.split("/")
    number, title = name.rpartition(".")[0].split(" ", 1)
    tags = Tags(
        title=title,
        artist=artist,
        album=album,
        genre=genre,
        year=year,
        track_number=int(number),
        bpm=bpm if tag_tempo else None,
        key=note + ("m" if mode == "minor" else "") if tag_tempo else None,
    )
    return DemoTrack(path, song, tags)


DEMO_TRACKS: tuple[DemoTrack, ...] = (
    _track("Lumen Arcade/Night Bus/01 Platform Nine.mp3", 124, "A minor", "house", 11, "House", 2021, tag_tempo=True),
    _track("Lumen Arcade/Night Bus/02 Glass Elevator.mp3", 126, "E minor", "electro", 12, "Electro", 2021, tag_tempo=True),
    _track("Lumen Arcade/Night Bus/03 Last Stop.flac", 120, "D minor", "house", 13, "House", 2021),
    _track("Lumen Arcade/Best of.../01 Copper Wire.wav", 128, "G minor", "electro", 14, "Electro", 2023),
    _track("Lumen Arcade/Best of.../02 Slow Signal.aiff", 100, "F major", "breaks", 15, "Breakbeat", 2023),
    _track("Käthe & die Wellen/Frühling 🌱/01 Grüne Höfe.ogg", 92, "C major", "rock", 16, "Indie", 2019),
    _track("Käthe & die Wellen/Frühling 🌱/02 Übermorgen 🎹.opus", 110, "G major", "rock", 17, "Indie", 2019),
    _track("Käthe & die Wellen/Frühling 🌱/03 Spätzug.m4a", 84, "Bb major", "ballad", 18, "Pop", 2019),
    _track("Northbound Trio/Ledgers/01 Balance Sheet.flac", 172, "C minor", "drum_and_bass", 19, "Drum & Bass", 2016),
    _track("Northbound Trio/Ledgers/02 Carried Forward.mp3", 96, "B minor", "breaks", 20, "Hip-Hop", 2016),
    _track("Northbound Trio/Ledgers/03 Petty Cash.m4a", 132, "F# minor", "electro", 21, "Techno", 2016),
    _track("Northbound Trio/Ledgers/04 Closing Entry.ogg", 76, "Eb major", "ballad", 22, "Ballad", 2016),
)

# Same bytes, same recording in another format, a broken download, a picture, beside what they are made from.
DEMO_COPY = ("Compilations/Late Trains/07 Platform Nine.mp3", DEMO_TRACKS[0].path)
DEMO_TRANSCODE = ("Compilations/Late Trains/08 Last Stop.mp3", DEMO_TRACKS[2])
DEMO_BROKEN = ("Compilations/Late Trains/09 Petty Cash (download).m4a", DEMO_TRACKS[10].path)
DEMO_PICTURE = "Lumen Arcade/Night Bus/cover.jpg"


def build_demo(folder: str | os.PathLike[str]) -> list[Path]:
    """Build the demo library, or what of it is missing.

    Equal to the byte wherever the encoders are the same. 8 s on one core; files that are there are left alone.

    Returns
    -------
    list of Path
        All files: 12 tracks, a copy, a transcode, a broken file, a picture.
    """
    root = Path(folder).absolute()
    for track in DEMO_TRACKS:
        _make(root / track.path, lambda path, track=track: _write_track(track, path))  # type: ignore[misc]
    copy, original = DEMO_COPY
    _make(root / copy, lambda path: _copy(root / original, path))
    transcode, track = DEMO_TRANSCODE
    _make(root / transcode, lambda path: _write_track(track, path))
    broken, complete = DEMO_BROKEN
    # An M4A file without its end has no index, so that no player opens it.
    _make(root / broken, lambda path: _write_bytes(path, _first_third(root / complete)))
    _make(root / DEMO_PICTURE, lambda path: _write_bytes(path, _COVER))
    made = [track.path for track in DEMO_TRACKS] + [copy, transcode, broken, DEMO_PICTURE]
    return [root / path for path in sorted(made)]


def _make(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file under a temporary name and rename it, so that a killed build leaves no half of a file behind."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".unfinished-{os.getpid()}{path.suffix}")
    try:
        write(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _first_third(path: Path) -> bytes:
    data = path.read_bytes()
    return data[: len(data) // 3]


def _copy(source: Path, path: Path) -> None:
    shutil.copyfile(source, path)


def _write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _write_track(track: DemoTrack, path: Path) -> None:
    from map4_pipeline.library.encode import encode
    from map4_pipeline.library.tag_writer import write_tags

    encode(render(track.song, SECONDS), path)
    write_tags(path, track.tags, cover=_COVER)


def main() -> None:
    """`python -m map4_pipeline.library.demo FOLDER` builds the demo library there."""
    import sys

    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m map4_pipeline.library.demo FOLDER")
    for path in build_demo(Path(sys.argv[1])):
        print(path)


if __name__ == "__main__":
    main()
