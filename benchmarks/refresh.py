"""What a refresh costs: 10,000 small files in 800 directories, ingested, then looked at again and again.

    python -m benchmarks.refresh [--files 10000] [--directories 800] [--folder DIR]

Compared with a bare walk with stat of the same tree. Then 10 files are retagged, 10 moved, 10 directories renamed, and 10 files
are new: what each costs in decodes and bytes is read from the scan's own counters in the database.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def write_track(path: Path, seed: int) -> None:
    """Write 1.2 s of a chord and a click that no other seed has, as FLAC."""
    import soundfile

    chance = np.random.default_rng(seed)
    clock = np.arange(int(1.2 * 22050)) / 22050
    tones = 110 * 2 ** (chance.uniform(0, 36, 3) / 12)
    sound = sum(np.sin(2 * np.pi * tone * clock) for tone in tones) / 5 * (0.4 + 0.6 * (clock % 0.5 < 0.1))
    soundfile.write(path, sound.astype(np.float32), 22050, subtype="PCM_16")


def make_tree(folder: Path, files: int, directories: int) -> None:
    """Write what is not there yet."""
    for number in range(files):
        place = folder / f"artist {number % directories // 10:03}" / f"album {number % directories:04}"
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{number // directories:02} track.flac"
        if not path.exists():
            write_track(path, number)


def bare_walk(folder: Path) -> float:
    """Return the seconds that a walk with a stat of every entry takes, the median of three."""
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        for base, _, names in os.walk(folder):
            for name in names:
                os.stat(os.path.join(base, name))
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


class Library:
    """`map4` on a home of its own."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "MAP4_HOME": str(home)}
        for name in ("DATABASE_URL", "DAGSTER_DATABASE_URL", "DAGSTER_HOME"):
            self.environment.pop(name, None)

    def map4(self, *arguments: str) -> str:
        """Run a command."""
        command = [sys.executable, "-m", "map4_pipeline.cli.main", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    def ingest(self) -> tuple[float, dict[str, int], int, int, int]:
        """Return (seconds, ledger, decodes, bytes read, Dagster runs) of an ingest."""
        before = self.runs()
        begun = time.perf_counter()
        said = json.loads(self.map4("ingest", "--json", "--no-report", str(self.folder)).strip().splitlines()[-1])
        wall = time.perf_counter() - begun
        decodes, size = self.query("SELECT decodes, bytes_read FROM scans WHERE kind = 'full' ORDER BY id DESC LIMIT 1")
        return wall, said["files"], decodes, size, self.runs() - before

    def query(self, statement: str) -> Any:
        """Return the first row of a query."""
        import psycopg2

        with psycopg2.connect(self.map4("db", "url").strip()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()

    def runs(self) -> int:
        """Return how many Dagster runs there are."""
        script = (
            "from map4_pipeline.settings import settings\n"
            "from map4_pipeline.orchestration.instance import open_instance\n"
            "with open_instance(settings()) as instance:\n"
            "    print(len(instance.get_run_ids()))\n"
        )
        command = [sys.executable, "-W", "ignore", "-c", script]
        return int(subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout.split()[-1])


def main(arguments: list[str] | None = None) -> int:
    """Generate, ingest, change, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--directories", type=int, default=800)
    parser.add_argument("--folder", type=Path, default=None, help="where the generated files are kept for the next time")
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="map4r-"))
    kept = options.folder or base / "kept"
    make_tree(kept, options.files, options.directories)
    folder = base / "music"
    shutil.copytree(kept, folder, copy_function=shutil.copy2)
    library = Library(base / "home", folder)
    missed = 0

    def show(name: str, result: tuple[float, dict[str, int], int, int, int], expected: dict[str, int]) -> None:
        nonlocal missed
        wall, ledger, decodes, size, runs = result
        counts = {key: value for key, value in ledger.items() if value}
        found = {"decodes": decodes, "bytes": size, "runs": runs}
        wrong = {key: found[key] for key, value in expected.items() if found[key] != value}
        missed += bool(wrong)
        print(f"{name:<28} {wall:6.1f} s  {decodes:6d} decodes  {size:11,d} bytes read  {runs} runs  {counts}", flush=True)
        if wrong:
            print(f"    expected {expected}")

    try:
        show("first ingest", library.ingest(), {"decodes": options.files})
        walk = bare_walk(folder)
        unchanged = library.ingest()
        show("nothing changed", unchanged, {"decodes": 0, "bytes": 0, "runs": 0})
        limit = 3 * walk + 10
        missed += unchanged[0] > limit
        print(f"    bare walk with stat {walk:.2f} s; bar 3 x that + 10 s = {limit:.1f} s")
        paths = sorted(folder.rglob("*.flac"))
        change(paths, folder)
        show("10 retagged, moved, renamed", library.ingest(), {"decodes": 0})
        for number in range(10):
            write_track(folder / f"new {number}.flac", 1_000_000 + number)
        show("10 new", library.ingest(), {"decodes": 10})
    finally:
        library.map4("db", "stop")
        shutil.rmtree(base, ignore_errors=True)
    print("all bars kept" if not missed else f"{missed} bars missed")
    return 1 if missed else 0


def change(paths: list[Path], folder: Path) -> None:
    """Retag 10 files, move 10, rename 10 directories, all different ones."""
    import mutagen.flac

    albums = sorted({path.parent for path in paths})
    for album in albums[:10]:
        path = sorted(album.glob("*.flac"))[0]
        tags = mutagen.flac.FLAC(path)
        tags["title"], tags["artist"] = "Another Title", "Somebody Else"
        tags.save()
    for number, album in enumerate(albums[20:30]):
        sorted(album.glob("*.flac"))[0].rename(folder / f"moved {number}.flac")
    for album in albums[40:50]:
        album.rename(album.with_name(f"{album.name} (renamed)"))


if __name__ == "__main__":
    sys.exit(main())
