"""Generate a large library of different files, quickly.

`python -m benchmarks.generate DIR --files 2000 --directories 300 --seconds 60 [--seed 1]`

Encoding a minute of MP3 takes half a second, so encoding each of 2,000 files would take most of a quarter of an hour. Instead a
song (own tempo, key, style, melody) is synthesised and encoded once for sixteen files, with tempos at which a bar is a whole
number of MP3 frames and without a bit reservoir. Its bars can then be put in another order without decoding, on the beat, and
each file has audio of its own. The other formats are encoded from bars in another order. Rerunning completes what is missing.
"""

import argparse
import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from map4_pipeline.library.encode import encode
from map4_pipeline.library.spans import mpeg_header, mpeg_span, without_tags
from map4_pipeline.library.synthesis import SAMPLE_RATE, STYLES, Song, render

FRAME_SAMPLES = 1152
FILES_PER_SONG = 16
# Of sixteen files of a song 13 are MP3, as in most libraries, two are FLAC, and the last one takes turns.
_TAKING_TURNS = ("m4a", "ogg", "wav", "opus", "aiff")
_BIT_RATES = ("128k", "192k", "256k", "320k")


@dataclass(frozen=True, slots=True)
class Task:
    """All files of one song."""

    song: Song
    bar_frames: int
    seconds: float
    bit_rate: str
    seed: int
    paths: tuple[str, ...]


def plan(folder: Path, files: int, directories: int, seconds: float, seed: int) -> list[Task]:
    """Decide which files there will be: names, directories and songs follow from the seed alone."""
    chance = random.Random(seed)
    bar_seconds_shortest = 52 * FRAME_SAMPLES / SAMPLE_RATE
    # Fewer than eight bars have too few orders to choose from: then every file is a song of its own.
    per_song = FILES_PER_SONG if seconds >= 12 * bar_seconds_shortest * 2 else 1
    names = [_directory(index) for index in range(min(directories, files))]
    tasks = []
    for first in range(0, files, per_song):
        count = min(per_song, files - first)
        song_index = first // per_song
        bar_frames = chance.randint(52, 115)
        song = Song(
            bpm=240 * SAMPLE_RATE / (bar_frames * FRAME_SAMPLES),
            tonic=chance.randrange(12),
            mode="minor" if chance.random() < 0.6 else "major",
            style=STYLES[song_index % len(STYLES)],
            seed=seed * 1_000_003 + song_index,
        )
        paths = []
        for index in range(first, first + count):
            suffix = _suffix(index)
            # Neighbours of one song lie in different directories.
            directory = names[(index * 7919) % len(names)]
            paths.append(str(folder / directory / f"{index:06d} {song.key} {song.style}.{suffix}"))
        tasks.append(Task(song, bar_frames, seconds, chance.choice(_BIT_RATES), song.seed, tuple(paths)))
    return tasks


def _directory(index: int) -> str:
    return f"Artist {index // 4:04d}/Album {index:05d}"


def _suffix(index: int) -> str:
    place = index % FILES_PER_SONG
    if place in (6, 14):
        return "flac"
    if place == 15:
        return _TAKING_TURNS[index // FILES_PER_SONG % len(_TAKING_TURNS)]
    return "mp3"


def make(task: Task) -> Counter[str]:
    """Write the files of one song that are not there yet; return how many by format."""
    made: Counter[str] = Counter()
    wanted = [Path(path) for path in task.paths if not os.path.exists(path)]
    if not wanted:
        return made
    # Two bars more than needed, so that files also differ in which bars they have.
    bar_samples = task.bar_frames * FRAME_SAMPLES
    length = round(task.seconds * SAMPLE_RATE)
    bars = -(-length // bar_samples) + 2
    audio = render(task.song, bars * bar_samples / SAMPLE_RATE)
    frames: list[bytes] | None = None
    orders = _orders(task, bars)
    for path, order in zip((Path(path) for path in task.paths), orders, strict=True):
        if path not in wanted:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished{path.suffix}")
        if path.suffix == ".mp3":
            frames = frames or _encoded_frames(task, audio, unfinished)
            unfinished.write_bytes(_tag(path) + _reordered_frames(frames, order, task))
        else:
            options = ("-compression_level", "0") if path.suffix == ".flac" else ()
            encode(_reordered_samples(audio, order, bar_samples, length), unfinished, options=options)
        unfinished.replace(path)
        made[path.suffix[1:]] += 1
    return made


def _orders(task: Task, bars: int) -> list[list[int]]:
    """Return an order of bars for every file of a song, all different. Phrases of two bars stay together."""
    chance = random.Random(task.seed)
    orders: list[list[int]] = []
    while len(orders) < len(task.paths):
        phrases = [list(range(bar, min(bar + 2, bars))) for bar in range(0, bars, 2)]
        if len(task.paths) > 1:
            chance.shuffle(phrases)
        order = [bar for phrase in phrases for bar in phrase]
        # What is cut off at the end must not be the only difference.
        if all(order[: bars - 2] != other[: bars - 2] for other in orders):
            orders.append(order)
    return orders


def _reordered_samples(audio: NDArray[np.float32], order: list[int], bar_samples: int, length: int) -> NDArray[np.float32]:
    return np.concatenate([audio[bar * bar_samples : (bar + 1) * bar_samples] for bar in order])[:length]


def _encoded_frames(task: Task, audio: NDArray[np.float32], beside: Path) -> list[bytes]:
    """Encode a song to MP3 once and return its frames, which do not depend on each other."""
    path = beside.with_suffix(".song.mp3")
    options = ("-b:a", task.bit_rate, "-reservoir", "0", "-write_xing", "0", "-id3v2_version", "0")
    try:
        encode(audio, path, options=options)
        data = path.read_bytes()
        with path.open("rb") as file:
            found = mpeg_span(file, without_tags(file, len(data)))
    finally:
        path.unlink(missing_ok=True)
    if found is None:
        raise RuntimeError("the encoder wrote no MP3")
    position, end = found[1].start, found[1].end
    frames = []
    while position + 4 <= end and (header := mpeg_header(data[position : position + 4])) is not None:
        frames.append(data[position : position + header.size])
        position += header.size
    return frames


def _reordered_frames(frames: list[bytes], order: list[int], task: Task) -> bytes:
    ordered = [frame for bar in order for frame in frames[bar * task.bar_frames : (bar + 1) * task.bar_frames]]
    return b"".join(ordered[: round(task.seconds * SAMPLE_RATE / FRAME_SAMPLES)])


def _tag(path: Path) -> bytes:
    """Return an ID3v2.3 tag with title, artist and album; mutagen would take longer than all the rest of the file."""
    texts = {b"TIT2": path.stem, b"TPE1": path.parent.parent.name, b"TALB": path.parent.name}
    frames = b""
    for name, text in texts.items():
        data = b"\0" + text.encode("latin-1", "replace")
        frames += name + len(data).to_bytes(4, "big") + b"\0\0" + data
    size = len(frames)
    return b"ID3\x03\0\0" + bytes((size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127)) + frames


def generate(
    folder: Path, files: int, directories: int, seconds: float, seed: int = 1, workers: int | None = None
) -> Counter[str]:
    """Write a library.

    Returns
    -------
    Counter
        Files made, by extension; those that were there are not counted.
    """
    made: Counter[str] = Counter()
    tasks = plan(folder.absolute(), files, directories, seconds, seed)
    with ProcessPoolExecutor(workers) as pool:
        for part in pool.map(make, tasks):
            made += part
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--directories", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=None, help="processes, default: one per core")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    made = generate(options.folder, options.files, options.directories, options.seconds, options.seed, options.workers)
    formats = ", ".join(f"{count} {name}" for name, count in made.most_common()) or "nothing to do"
    print(f"{sum(made.values())} files in {time.perf_counter() - started:.1f} s: {formats}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
