"""Start of a worker and its memory: each measured in a fresh process.

    python -m benchmarks.memory [--folder DIR]

The worker does for a file what those of the pipeline do: identify it, read its tags, analyse it. Start is the time from the start
of the interpreter to the first result; memory is the largest resident set while a track of 10 minutes and a mix of 3 hours
(the 4-minute track looped) are analysed.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.music import loop_track, make_track

#: (title, seconds of audio, bar for the start in seconds, bar for the memory in MB).
CASES = (
    ("4 minutes", 240.0, 1.5, None),
    ("10 minutes", 600.0, None, 400.0),
    ("3 hours", 10800.0, None, 600.0),
)
_WORKER = """\
import json, os, resource, sys, time
from map4_pipeline.ingest.worker import analyse_file, identify_file
path = os.fsencode(sys.argv[1])
results = identify_file(path), analyse_file(path, ("features", "fingerprint"))
assert all(result.error_kind is None for result in results), results
scale = 1e6 if sys.platform == "darwin" else 1024
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"end": time.time(), "mb": usage.ru_maxrss / scale, "cpu": usage.ru_utime + usage.ru_stime}))
"""


def measure(path: Path) -> tuple[float, float, float]:
    """Return (seconds from the start of a fresh worker to its first result, its CPU seconds, its peak memory in MB)."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    started = time.time()
    command = [sys.executable, "-W", "ignore", "-c", _WORKER, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found["end"] - started, found["cpu"], found["mb"]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("bench-results"), help="where the tracks are kept")
    options = parser.parse_args(arguments)
    source = make_track(options.folder / "four-minutes.mp3").absolute()
    measure(source)  # bytecode is written and the file is in the page cache
    print(f"{'':12s} {'start to first result':>22s} {'CPU':>8s} {'peak memory':>12s}")
    for title, seconds, start_bar, memory_bar in CASES:
        path = source if seconds == 240 else loop_track(source, source.with_name(f"{int(seconds)}-seconds.mp3"), seconds)
        repeats = [measure(path) for _ in range(5 if start_bar else 1)]
        wall, cpu, peak = sorted(repeats)[len(repeats) // 2]
        verdict = []
        if start_bar:
            verdict.append(f"bar {start_bar:g} s: {'holds' if wall < start_bar else 'MISSED'}")
        if memory_bar:
            verdict.append(f"bar {memory_bar:g} MB: {'holds' if peak < memory_bar else 'MISSED'}")
        print(f"{title:12s} {wall:20.2f} s {cpu:6.2f} s {peak:9.0f} MB  {', '.join(verdict)}", flush=True)


if __name__ == "__main__":
    main()
