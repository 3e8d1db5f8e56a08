"""Tracks a minute through the whole pipeline, and a model that says what a larger machine would need.

    python -m benchmarks.throughput [--tracks 60] [--small 200] [--folder DIR]

`map4 ingest` with a fresh MAP4_HOME takes tracks of 3 to 5 minutes into the library with one worker and with two, and then one
more track into the library that is there. The model knows none of these runs. Its parts are measured by themselves: the CPU of
a track in a plain process, and, from runs over very short files, what a run costs, what a directory adds, and what a track costs
beside its analysis (database, messages between processes). A run of n tracks in d directories on w workers then takes

    run + d x directory + n x (analysis / w + beside)

in which nothing but the analysis gets faster with more workers. Printed is how far that is off on one and two workers, and what
it says for 100, 1,000 and 10,000 tracks on 8 cores.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmarks.generate import FRAME_SAMPLES, Task, make
from benchmarks.orchestration import audio_files, ingest
from map4_pipeline.ingest.worker import analyse_file, identify_file
from map4_pipeline.library.encode import encode
from map4_pipeline.library.spans import mpeg_header
from map4_pipeline.library.synthesis import SAMPLE_RATE, STYLES, Song, render

_STAGES = ("features", "fingerprint")
_ALBUM = 10
#: (workers, tracks a minute at the least).
RATES = ((1, 60.0), (2, 120.0))
#: Seconds for one more track.
ONE_TRACK = 2.0
#: (tracks, seconds), on 8 cores.
TARGETS = ((100, 30.0), (1000, 300.0), (10000, 1800.0))
CORES = 8


@dataclass(frozen=True, slots=True)
class Model:
    """What a run is made of, in seconds."""

    run: float
    directory: float
    analysis: float
    beside: float

    def predict(self, tracks: int, directories: int, workers: int) -> float:
        """Return the wall time of a run."""
        return self.run + directories * self.directory + tracks * (self.analysis / workers + self.beside)


def make_tracks(folder: Path, count: int, first_song: int = 0) -> None:
    """Write tracks of 3 to 5 minutes: a song is encoded for eight of them, which differ in the order of its bars."""
    for first in range(0, count, 8):
        number = first_song + first // 8
        bar_frames = 52 + number * 11 % 60
        song = Song(
            bpm=240 * SAMPLE_RATE / (bar_frames * FRAME_SAMPLES),
            tonic=number * 5 % 12,
            mode="minor" if number % 2 else "major",
            style=STYLES[number % len(STYLES)],
            seed=9000 + number,
        )
        names = [
            f"Artist {i // _ALBUM:04d}/Album/{i % _ALBUM + 1:02d} Track {i}.mp3" for i in range(first, min(first + 8, count))
        ]
        seconds = 180.0 + 120.0 * (number * 7 % 16) / 15
        make(
            Task(
                song, bar_frames, seconds, ("192k", "256k", "320k")[number % 3], song.seed, tuple(str(folder / n) for n in names)
            )
        )
        for name in names:
            add_info_frame(folder / name)


def add_info_frame(path: Path) -> None:
    """Put the frame in front that says how many follow, as every encoder of today writes it: decoders rely on it."""
    whole = path.read_bytes()
    # The size of an ID3 tag has seven bits a byte.
    start = 10 + sum(byte << 7 * place for place, byte in enumerate(reversed(whole[6:10]))) if whole[:3] == b"ID3" else 0
    tag, data = whole[:start], whole[start:]
    first = mpeg_header(data[:4])
    if first is None or b"Info" in data[:200]:
        return
    frames = position = 0
    while (header := mpeg_header(data[position : position + 4])) is not None:
        frames += 1
        position += header.size
    # Behind the side information (32 bytes in stereo): the mark, a flag that the number of frames follows, the number.
    info = data[:4] + bytes(32) + b"Info" + (1).to_bytes(4, "big") + frames.to_bytes(4, "big")
    path.write_bytes(tag + info.ljust(first.size, b"\0") + data)


def make_small(folder: Path, count: int, directories: int) -> None:
    """Write files of two seconds, each with its own sound."""
    for index in range(count):
        path = folder / f"Directory {index % directories:04d}" / f"{index:05d}.wav"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            encode(render(Song(120.0, index % 12, "major", STYLES[index % len(STYLES)], 5000 + index), 2.0), path)


def cpu_cost(path: bytes) -> float:
    """Return the CPU seconds of what a worker does for a file."""
    started = time.process_time()
    if identify_file(path).error_kind or analyse_file(path, _STAGES).error_kind:
        raise SystemExit(f"{os.fsdecode(path)} could not be analysed")
    return time.process_time() - started


def plain_cost(files: list[bytes], workers: int) -> float:
    """Return the median CPU seconds of a file in plain processes, as many at once as workers."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(cpu_cost, [files[0]] * workers))
        return statistics.median(pool.map(cpu_cost, files))


def measured_run(folder: Path, home: Path, workers: int) -> float:
    """Return the wall time of `map4 ingest`."""
    done = ingest(folder, home, workers)
    if done.exit_code:
        raise SystemExit(f"map4 ingest ended with exit code {done.exit_code}: {done.ledger}")
    return done.wall


def one_more(folder: Path, home: Path, extra: list[bytes], workers: int) -> float:
    """Return the median wall time of `map4 ingest` when one track has come to a library that is there."""
    environment = {**os.environ, "MAP4_HOME": str(home), "MAP4_WORKERS": str(workers)}
    for name in ("DATABASE_URL", "DAGSTER_DATABASE_URL", "DAGSTER_HOME"):
        environment.pop(name, None)
    map4 = [sys.executable, "-m", "map4_pipeline.cli.main"]
    subprocess.run([*map4, "db", "start"], env=environment, check=True, capture_output=True)
    walls = []
    try:
        for path in extra:
            shutil.copyfile(path, folder / "Artist 0000" / "Album" / os.path.basename(os.fsdecode(path)))
            started = time.perf_counter()
            subprocess.run([*map4, "ingest", "--json", str(folder)], env=environment, check=True, capture_output=True)
            walls.append(time.perf_counter() - started)
    finally:
        subprocess.run([*map4, "db", "stop"], env=environment, check=False, capture_output=True)
    return statistics.median(walls)


def measure_parts(base: Path, small: int, tracks: list[bytes], workers: int) -> Model:
    """Measure what the model is made of."""
    together, apart, single = base / "together", base / "apart", base / "single"
    directories = max(2, small // 4)
    make_small(together, small, 1)
    make_small(apart, small, directories)
    make_small(single, 1, 1)
    run = measured_run(single, base / "h1", workers)
    close = measured_run(together, base / "h2", workers)
    spread = measured_run(apart, base / "h3", workers)
    directory = max(0.0, (spread - close) / (directories - 1))
    tiny = plain_cost(audio_files(together)[:40], workers)
    beside = max(0.0, (close - run) / (small - 1) - tiny / workers)
    return Model(run - directory - beside - tiny, directory, plain_cost(tracks, workers), beside)


def main(arguments: list[str] | None = None) -> None:
    """Make the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=60)
    parser.add_argument("--small", type=int, default=200, help="very short files, from which the model's parts are measured")
    parser.add_argument("--folder", type=Path, default=Path("bench-results"), help="where the tracks are kept")
    options = parser.parse_args(arguments)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    source = (options.folder / f"throughput-{options.tracks}").absolute()
    make_tracks(source, options.tracks)
    make_tracks(source.with_name("throughput-extra"), 3, first_song=1000)
    extra = audio_files(source.with_name("throughput-extra"))
    # Short, because a socket's path may have about 100 characters.
    base = Path(tempfile.mkdtemp(prefix="map4t-"))
    try:
        report(options, source, extra, base)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def report(options: argparse.Namespace, source: Path, extra: list[bytes], base: Path) -> None:
    """Measure and print, line by line."""

    def say(name: str, value: str, bar: str = "") -> None:
        print(f"{name:<58s} {value}{'   ' + bar if bar else ''}", flush=True)

    files = audio_files(source)
    albums = len({os.path.dirname(path) for path in files})
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    model = measure_parts(base, options.small, files[:: max(1, len(files) // 12)], min(2, cores))
    say("a run / a directory", f"{model.run:.2f} s / {1000 * model.directory:.1f} ms")
    say("a track: CPU of its analysis / what it costs beside", f"{model.analysis:.3f} s / {1000 * model.beside:.1f} ms")
    for workers, rate in RATES:
        title = f"{len(files)} tracks of 3 to 5 minutes, {workers} worker{'s' if workers > 1 else ''}"
        if workers > cores:
            say(title, "not measured (too few cores)")
            continue
        library = base / f"m{workers}"
        shutil.copytree(source, library)
        wall = measured_run(library, base / f"w{workers}", workers)
        found = 60 * len(files) / wall
        expected = model.predict(len(files), albums, workers)
        say(title, f"{wall:.1f} s, {found:.0f} a minute", f"bar {rate:g}: {'holds' if found >= rate else 'MISSED'}")
        say("  the model says", f"{expected:.1f} s, off by {100 * (expected / wall - 1):+.0f}%")
    if len(files) >= _ALBUM:
        wall = one_more(base / "m1", base / "w1", extra, 1)
        say("one more track", f"{wall:.2f} s", f"bar {ONE_TRACK:g} s: {'holds' if wall < ONE_TRACK else 'MISSED'}")
    for tracks, seconds in TARGETS:
        expected = model.predict(tracks, -(-tracks // _ALBUM), CORES)
        verdict = "holds" if expected <= seconds else "MISSED"
        say(f"model: {tracks:,} tracks on {CORES} cores", f"{expected:.0f} s", f"bar {seconds:.0f} s: {verdict}")


if __name__ == "__main__":
    main()
