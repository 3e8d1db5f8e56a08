"""What orchestration costs: `map4 ingest` on many small files against the same analysis in a plain process pool.

`python -m benchmarks.orchestration [--files 2000] [--directories 300] [--seconds 60] [--folder DIR]`

Both read the same files with the same functions on the same number of processes, one after the other in one run. Beside
the walls it prints what the workers' cores did in the analysis phase, the number of Dagster runs, and the largest process.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.generate import generate
from map4_pipeline.ingest.worker import analyse_file, identify_file
from map4_pipeline.library.walk import walk

_STAGES = ("features", "fingerprint")


@dataclass(slots=True)
class Watch:
    """CPU seconds and peak memory of a process and its descendants, sampled four times a second."""

    root: psutil.Process
    cpu: dict[int, float] = field(default_factory=dict)
    peak: dict[int, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    stopped: bool = False

    def run(self) -> None:
        """Sample until stopped."""
        while not self.stopped:
            self.sample()
            time.sleep(0.25)

    def sample(self) -> None:
        """Look at every process once."""
        try:
            processes = [self.root, *self.root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            try:
                times, memory = process.cpu_times(), process.memory_info().rss
                line = " ".join(process.cmdline())
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            self.cpu[process.pid] = times.user + times.system
            self.peak[process.pid] = max(memory, self.peak.get(process.pid, 0))
            self.names.setdefault(process.pid, "worker" if "forkserver" in line else line[:60])


@dataclass(frozen=True, slots=True)
class Ingested:
    """What `map4 ingest` on the folder took."""

    wall: float
    exit_code: int
    analysis_wall: float
    worker_cpu: float
    runs: int
    peak_mb: float
    peak_name: str
    ledger: dict[str, int]


def audio_files(folder: Path) -> list[bytes]:
    """Return every audio file below a folder."""
    root = os.fsencode(folder)
    return [os.path.join(root, listing.relative_path, file.name) for listing in walk(root) for file in listing.files]


def _both(path: bytes) -> bool:
    return identify_file(path).error_kind is None and analyse_file(path, _STAGES).error_kind is None


def plain_pool(files: list[bytes], workers: int) -> float:
    """Return the wall time of the same analysis in a plain process pool."""
    started = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        good = sum(pool.map(_both, files, chunksize=4))
    if good != len(files):
        raise SystemExit(f"{len(files) - good} generated files could not be analysed")
    return time.perf_counter() - started


def ingest(folder: Path, home: Path, workers: int) -> Ingested:
    """Run `map4 ingest` with a fresh home and watch it."""
    environment = {**os.environ, "MAP4_HOME": str(home), "MAP4_WORKERS": str(workers)}
    for name in ("DATABASE_URL", "DAGSTER_DATABASE_URL", "DAGSTER_HOME"):
        environment.pop(name, None)
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "map4_pipeline.cli.main", "ingest", "--json", str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    watch = Watch(psutil.Process(process.pid))
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    output, _ = process.communicate()
    wall = time.perf_counter() - started
    watch.stopped = True
    thread.join()
    script = (
        "import json\n"
        "from map4_pipeline.settings import settings\n"
        "from map4_pipeline.orchestration.instance import open_instance\n"
        "with open_instance(settings()) as instance:\n"
        "    records = instance.get_run_records()\n"
        "    stats = [s for r in records for s in instance.get_run_step_stats(r.dagster_run.run_id)]\n"
        "    steps = [s for s in stats if s.step_key == 'analysis']\n"
        "    print(json.dumps([len(records), sum(s.end_time - s.start_time for s in steps)]))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script]
    counted = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    runs, analysis_wall = json.loads(counted.stdout.strip().splitlines()[-1])
    worker_cpu = sum(seconds for pid, seconds in watch.cpu.items() if watch.names[pid] == "worker")
    largest = max(watch.peak, key=lambda pid: watch.peak[pid])
    return Ingested(
        wall,
        process.returncode,
        analysis_wall,
        worker_cpu,
        runs,
        watch.peak[largest] / 1e6,
        watch.names[largest],
        json.loads(output.strip().splitlines()[-1])["files"],
    )


def main(arguments: list[str] | None = None) -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--directories", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--folder", type=Path, default=None, help="where the generated files are kept for the next time")
    options = parser.parse_args(arguments)
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    base = Path(tempfile.mkdtemp(prefix="map4b-"))
    folder = options.folder or base / "music"
    try:
        generate(folder, options.files, options.directories, options.seconds, 1)
        files = audio_files(folder)
        before = plain_pool(files, workers)
        done = ingest(folder, base / "home", workers)
        after = plain_pool(files, workers)
        plain = (before + after) / 2
        report(options, workers, plain, (before, after), done)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def report(options: argparse.Namespace, workers: int, plain: float, runs: tuple[float, float], done: Ingested) -> None:
    """Print the table with the bars."""
    busy = done.worker_cpu / (workers * done.analysis_wall)
    rows = [
        ("files / directories / seconds each", f"{options.files} / {options.directories} / {options.seconds:g}", ""),
        ("plain process pool, wall (before, after)", f"{plain:.1f} s ({runs[0]:.1f}, {runs[1]:.1f})", ""),
        ("map4 ingest, wall, everything", f"{done.wall:.1f} s", ""),
        ("ratio", f"{done.wall / plain:.2f}", "<= 1.25"),
        ("analysis phase, wall", f"{done.analysis_wall:.1f} s", ""),
        ("workers' CPU / (cores x analysis wall)", f"{busy:.0%}", ">= 85%"),
        ("Dagster runs", f"{done.runs}", "<= 12"),
        ("largest process", f"{done.peak_mb:.0f} MB ({done.peak_name})", "<= 600 MB"),
        ("tracks a minute, whole pipeline", f"{60 * options.files / done.wall:.0f}", ""),
        ("exit code, ledger", f"{done.exit_code}, {done.ledger}", ""),
    ]
    width = max(len(name) for name, _, _ in rows)
    for name, value, bar in rows:
        print(f"{name:<{width}}  {value}{'   bar ' + bar if bar else ''}")


if __name__ == "__main__":
    main()
