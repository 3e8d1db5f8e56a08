"""A million files in 80,000 directories: what looking at them costs the folders' sensor, tick by tick, and in memory.

    python -m benchmarks.scale [--directories 80000] [--files 1000000] [--folder DIR] [--budget 20]

The files are empty, the rows are made by SQL from a real walk. Ticks have their budget, and the sweep goes on from one to the
next as in `map4 up`. Printed: the walk alone, the sweep's ticks, the process's memory, and how a change is noticed.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def make_tree(folder: Path, directories: int, files: int) -> None:
    """Write empty files, those that are not there yet."""
    each, more = divmod(files, directories)
    for number in range(directories):
        place = folder / f"{number // 2000:03}" / f"{number // 20 % 100:02}" / f"{number:05}"
        if place.is_dir():
            continue
        place.mkdir(parents=True)
        for name in range(each + (number < more)):
            os.close(os.open(place / f"{name:02}.mp3", os.O_CREAT | os.O_WRONLY))


def main(arguments: list[str] | None = None) -> int:
    """Generate, fill, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directories", type=int, default=80_000)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--budget", type=float, default=20.0)
    parser.add_argument("--folder", type=Path, default=None, help="where the tree is kept for the next time")
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="map4s-"))
    folder = options.folder or base / "music"
    os.environ["MAP4_HOME"] = str(base / "home")
    for name in ("DATABASE_URL", "DAGSTER_DATABASE_URL", "DAGSTER_HOME"):
        os.environ.pop(name, None)
    try:
        make_tree(folder, options.directories, options.files)
        return measure(folder, options.budget)
    finally:
        subprocess.run([sys.executable, "-m", "map4_pipeline.cli.main", "db", "stop"], check=False, capture_output=True)
        shutil.rmtree(base, ignore_errors=True)


def measure(folder: Path, budget: float) -> int:
    """Fill a database with what a walk finds, then look."""
    from map4_pipeline.ingest.watch import look
    from map4_pipeline.settings import load_settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.libraries import register_library

    configured = load_settings(watch_budget_seconds=budget, watch_settle_seconds=0)
    engine = open_database(configured)
    with engine.begin() as conn:
        library = register_library(conn, folder)
    begun = time.perf_counter()
    count, files = fill(engine, library, folder)
    print(f"walk, and rows for {count:,} directories with {files:,} files: {time.perf_counter() - begun:.0f} s", flush=True)

    def sweep() -> tuple[list[float], int]:
        ticks, ready = [], 0
        while True:
            begun = time.perf_counter()
            found = look(engine, configured)
            ticks.append(time.perf_counter() - begun)
            ready += len(found.ready)
            if found.complete:
                return ticks, ready

    before = _peak()
    ticks, ready = sweep()
    first = _peak()
    more, _ = sweep()
    print(
        f"whole sweep, nothing changed: {sum(ticks):.1f} s in {len(ticks)} ticks, the longest {max(ticks):.1f} s of {budget:g} s"
    )
    print(
        f"again: {sum(more):.1f} s in {len(more)} ticks, the median tick {statistics.median(more):.1f} s; runs asked for: {ready}"
    )
    print(f"peak memory: {before:.0f} MB before, {first:.0f} MB after one sweep, {_peak():.0f} MB after two")
    place = next(path for path in sorted(folder.rglob("*.mp3"))[-1:])
    extra = place.with_name("zz new.mp3")
    extra.touch()
    try:
        begun = time.perf_counter()
        looks = 0
        while True:
            found = look(engine, configured)
            looks += 1
            if found.ready:
                break
        print(f"a new file in the last directory: asked for after {looks} ticks, {time.perf_counter() - begun:.1f} s of looking")
    finally:
        extra.unlink()
    engine.dispose()
    return 0 if ready == 0 and max(ticks + more) < budget + 5 else 1


def fill(engine: object, library: object, folder: Path) -> tuple[int, int]:
    """Make a settled row for every directory, with the signature that the walk gives it."""
    from typing import Any

    from sqlalchemy import func, insert

    from map4_pipeline.ingest.versions import versions_text
    from map4_pipeline.library.keys import escape_path, partition_key
    from map4_pipeline.library.walk import walk
    from map4_pipeline.store.schema import directories

    place: Any = library
    database: Any = engine
    rows: list[dict[str, object]] = []
    count = files = 0

    def write() -> None:
        with database.begin() as conn:
            conn.execute(insert(directories).values(settled_at=func.now()), rows)
        rows.clear()

    for listing in walk(os.fsencode(folder)):
        count += 1
        files += len(listing.files)
        rows.append(
            {
                "library_id": place.id,
                "relative_path": listing.relative_path,
                "path_text": escape_path(listing.relative_path) or ".",
                "partition_key": partition_key(place.slug, place.id, listing.relative_path),
                "signature": listing.signature,
                "versions": versions_text(),
                "ok_count": len(listing.files),
            }
        )
        if len(rows) == 5000:
            write()
    write()
    return count, files


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
