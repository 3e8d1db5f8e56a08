"""Thousands of damaged files of every format through a real ingest without Dagster: nothing may crash, hang or go unexplained.

    python -m benchmarks.fuzz [--files 2000] [--formats wav,mp3,...]

Prints per format: how many could be analysed, failed by kind, the slowest file, the largest worker.
"""

import argparse
import collections
import sys
import tempfile
import time
from pathlib import Path

STAGES = ("features", "fingerprint")
FORMATS = ("wav", "flac", "mp3", "ogg", "opus", "m4a", "wma", "wv", "aiff")


def main(arguments: list[str] | None = None) -> int:
    """Damage, analyse, count."""
    from map4_pipeline.ingest.pool import WorkerPool
    from map4_pipeline.ingest.worker import analyse_file, identify_file
    from map4_pipeline_tests.ingest.music import music_bytes
    from map4_pipeline_tests.mutate import mutate

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--formats", default=",".join(FORMATS))
    options = parser.parse_args(arguments)
    unexplained = 0
    with tempfile.TemporaryDirectory() as folder, WorkerPool(2, timeout_seconds=60) as pool:
        for suffix in options.formats.split(","):
            data = music_bytes(suffix, 5)
            kinds: collections.Counter[str] = collections.Counter()
            slowest = 0.0
            begun = time.monotonic()
            for first in range(0, options.files, 100):
                work = []
                for seed in range(first, min(first + 100, options.files)):
                    path = Path(folder, f"{seed}.{suffix}")
                    path.write_bytes(mutate(data, seed))
                    name = str(path).encode()
                    work.append((path, pool.submit(identify_file, name), pool.submit(analyse_file, name, STAGES)))
                for path, *futures in work:
                    for future in futures:
                        error = future.exception()
                        kind, message = (
                            pool.failure(error) if error else (future.result().error_kind, future.result().error_message)
                        )
                        if kind in ("crashed", "timeout", "internal", "memory"):
                            unexplained += 1
                            print(f"  {path.name}: {kind}: {message}", flush=True)
                        slowest = max(slowest, getattr(None if error else future.result(), "cpu_seconds", 0.0))
                    kinds[kind or "analysed"] += 1
                    path.unlink()
            said = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            print(
                f"{suffix:5s} {options.files} files in {time.monotonic() - begun:.0f} s: {said}; slowest {slowest:.2f} s",
                flush=True,
            )
    print(f"crashed, hung, out of memory or a defect: {unexplained}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
