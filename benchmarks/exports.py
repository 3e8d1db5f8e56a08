"""Exports of generated libraries of 1,000 and 100,000 tracks out of a real PostgreSQL, each by `map4 export` in a fresh process.

    python -m benchmarks.exports [--tracks 1000 100000] [--formats csv parquet ...] [--rounds 3]

Start is the time from the start of the process until the export tells that it has begun, total the time to its end, memory the
largest resident set of the process or of a child of it. The tracks have beat grids as the engine keeps them. A round over all
formats comes first, so that bytecode is written and the database's memory is warm; figures are medians of the rounds after it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fake_library import prepared

FORMATS = ("csv", "json", "jsonl", "parquet", "xlsx", "rekordbox", "traktor", "m3u8", "pdf", "html")
#: Of 100,000 tracks: those with a bar, and what DJ programs take besides.
LARGE = ("csv", "jsonl", "parquet", "xlsx", "rekordbox", "json", "traktor", "m3u8")
#: Seconds, with 1,000 tracks; megabytes, with 100,000.
START_BAR, TOTAL_BAR, MEMORY_BAR = 2.0, 5.0, 500.0
_MANY = 10_000

# The real command; only the moment of the first word on progress is written down besides.
_CHILD = """\
import json, sys, time
from map4_pipeline.store import exports
begun = []
def noted(progress):
    def told(done, total):
        if not begun:
            begun.append(time.time())
        progress(done, total)
    return told
original = exports.run_export
def run(engine, request, target, *, progress, **more):
    return original(engine, request, target, progress=noted(progress), **more)
exports.run_export = run
from map4_pipeline.cli.main import run as program
try:
    program()
finally:
    with open(sys.argv[-1] + ".begun", "w") as file:
        json.dump(begun, file)
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds to the start and to the end, CPU seconds, peak memory in MB, size of the file in MB."""

    start: float
    total: float
    cpu: float
    memory: float
    size: float


def measure(url: str, kind: str, target: Path, home: Path) -> Measured:
    """Export everything in a fresh process."""
    environment = {**os.environ, "DATABASE_URL": url, "MAP4_HOME": str(home), "REDIS_URL": "none"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begun = time.time()
    command = [sys.executable, "-c", _CHILD, "export", "--format", kind, "--output", str(target)]
    # Waited for by hand, because only so the memory is this child's (and of those that it waited for).
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    total = time.time() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the export {kind} failed with exit code {process.returncode}")
    note = target.with_name(f"{target.name}.begun")
    start = min(json.loads(note.read_text()), default=time.time()) - begun
    scale = 1e6 if sys.platform == "darwin" else 1024
    return Measured(start, total, used.ru_utime + used.ru_stime, used.ru_maxrss / scale, target.stat().st_size / 1e6)


def bars_of(tracks: int, kind: str, found: Measured) -> str:
    """Return which bars hold."""
    if tracks >= _MANY:
        bars = [(found.memory < MEMORY_BAR, f"{MEMORY_BAR:.0f} MB")]
    else:
        bars = [(found.start < START_BAR, f"start {START_BAR:.0f} s"), (found.total < TOTAL_BAR, f"total {TOTAL_BAR:.0f} s")]
    return ", ".join(f"{bar}: {'holds' if holds else 'MISSED'}" for holds, bar in bars)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--formats", nargs="+", choices=FORMATS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    for tracks in options.tracks:
        engine = prepared(tracks, grids=True)
        url = engine.url.render_as_string(hide_password=False)
        engine.dispose()
        many = tracks >= _MANY
        kinds = options.formats or (LARGE if many else FORMATS)
        rounds = 1 if many else options.rounds
        with tempfile.TemporaryDirectory(prefix="map4-exports-") as name:
            folder = Path(name)
            if not many:
                for kind in kinds:
                    measure(url, kind, folder / f"warm.{kind}", folder / "home")
            print(f"{tracks:,} tracks, load {os.getloadavg()[0]:.1f}")
            print(f"{'':10s} {'start':>8s} {'total':>8s} {'CPU':>8s} {'memory':>8s} {'file':>9s}")
            repeats: dict[str, list[Measured]] = {kind: [] for kind in kinds}
            for _ in range(rounds):
                for kind in kinds:
                    repeats[kind].append(measure(url, kind, folder / f"out.{kind}", folder / "home"))
            for kind, found in repeats.items():
                median = Measured(*(statistics.median(getattr(one, name) for one in found) for name in Measured.__slots__))
                print(
                    f"{kind:10s} {median.start:6.2f} s {median.total:6.2f} s {median.cpu:6.2f} s {median.memory:5.0f} MB "
                    f"{median.size:6.1f} MB  {bars_of(tracks, kind, median)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
