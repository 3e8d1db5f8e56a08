"""`make bench`: every measurement, one after the other; `python -m benchmarks NAME ...` runs some of them."""

import importlib
import sys

BENCHMARKS = {
    "accuracy": "tempo and key against the truth set in MAP4_TRUTH_DIR",
    "short": "the tempo of pieces of 4 to 20 seconds, and of noise (MAP4_TRUTH_DIR)",
    "engine_speed": "CPU time of one 4-minute MP3 beside the floor and the rivals that are installed (MAP4_RIVALS_PYTHON)",
    "feature_cost": "what each measurement costs",
    "memory": "start of a worker, and its memory for 10 minutes and for 3 hours",
    "throughput": "tracks a minute through the whole pipeline, and what 8 cores would do",
    "single": "one track through map4 serve: from POST to its row, with a warm resident worker",
    "api_schema": "schemathesis against map4 serve, all checks, as each role",
    "orchestration": "map4 ingest against a plain process pool",
    "refresh": "a refresh of 10,000 files in 800 directories against a bare walk",
    "scale": "the folders' sensor over a million files in 80,000 directories",
    "annotate": "1,000 tracks to each AI provider's API on a local server with faults: money, requests, cache",
    "size": "what a library takes in PostgreSQL, written by the real pipeline with invented files",
    "duplicates": "copies found again, false merges, and all pairs of 100,000 fingerprints (MAP4_TRUTH_DIR, MAP4_MORE_MUSIC)",
    "sets": "30 out of 5,000 beside repeated greedy building, 12 out of 60 beside the proven optimum, and the time",
    "similar": "similar tracks among 100,000 and 1,000,000, and whether they mean anything (MAP4_TRUTH_DIR)",
    "search": "searches over 100,000 and 1,000,000 generated tracks, by kind",
    "load": "map4 serve on 100,000 tracks under 50 and 500 users, and while Redis and PostgreSQL are killed",
    "exports": "every export of 1,000 tracks, start and total; of 100,000, peak memory",
    "chaos": "40 rounds of killing run, workers and database",
    "fuzz": "2,000 damaged files of each format",
}


def main() -> None:
    """Run the named benchmarks, or all."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise SystemExit(f"unknown benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    for name in names:
        print(f"\n== {name}: {BENCHMARKS[name]}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main([])


if __name__ == "__main__":
    main()
