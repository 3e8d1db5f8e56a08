"""Many rounds of killing run, workers and database while new files come in; then the work has to be whole and done once.

python -m benchmarks.chaos [--rounds 40] [--seed 1]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Kill, finish, count."""
    from map4_pipeline_tests.integration.chaos import chaos

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="map4c-") as folder:
        tally = chaos(Path(folder, "h"), Path(folder, "Music"), options.rounds, options.seed, patience=900)
    files = 20 * options.rounds
    print(f"{options.rounds} rounds in {time.monotonic() - begun:.0f} s, killed: {tally.killed}, {tally.at_work} of them at work")
    print(f"{files} files, {tally.decodes} decodes, rows: {tally.rows}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
