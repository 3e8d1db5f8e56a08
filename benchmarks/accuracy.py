"""Accuracy of tempo and key on labelled audio, per set, as a table: what `map4 evaluate` scores, without its worker pool.

    python -m benchmarks.accuracy [--truth TRUTH.csv] [--jobs N] [--errors] [--json FILE]

The audio is read from $MAP4_TRUTH_DIR; the truth is `truth.csv` or `open.csv` there or one folder above. Without the folder it
prints "not measured" and ends well.
"""

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from map4_pipeline.audio import evaluation
from map4_pipeline.audio.truth import Label, read_truth


def labelled(name: str, truth: Path | None = None) -> tuple[list[Label], list[Label]]:
    """Return the labels whose files are in $MAP4_TRUTH_DIR, and the others; say so where there are none."""
    folder = Path(os.environ.get("MAP4_TRUTH_DIR", ""))
    if not os.environ.get("MAP4_TRUTH_DIR") or not folder.is_dir():
        print(f"{name}: not measured (MAP4_TRUTH_DIR names no folder)")
        return [], []
    places = [truth] if truth else [place / n for n in ("open.csv", "truth.csv") for place in (folder, folder.parent)]
    table = next((place for place in places if place.is_file()), None)
    if table is None:
        print(f"{name}: not measured (no truth.csv or open.csv in {folder})")
        return [], []
    labels = read_truth(table, folder)
    present = [label for label in labels if label.path.exists()]
    if not present:
        print(f"{name}: not measured (none of the labelled files is there)")
    return present, [label for label in labels if label not in present]


def main(arguments: list[str] | None = None) -> int:
    """Analyse and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, help="CSV file with path, set, true_bpm, true_key")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--errors", action="store_true", help="list what was wrong")
    parser.add_argument("--json", type=Path, help="also write everything here")
    options = parser.parse_args(arguments)
    present, missing = labelled("accuracy", options.truth)
    if not present:
        return 0
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        answers = list(pool.map(evaluation.measure, [label.path for label in present], chunksize=2))
    pairs = list(zip(present, answers, strict=True))
    print(evaluation.table(evaluation.score(pairs)))
    print(*evaluation.calibration_lines(evaluation.calibrations(pairs)), sep="\n")
    if missing:
        print(f"{len(missing)} labelled files are not there and were left out")
    if options.errors:
        for label, answer in pairs:
            if found := evaluation.wrong(label, answer):
                print(f"  {label.name}: {'; '.join(found)}")
    if options.json:
        options.json.write_text(json.dumps(evaluation.as_json(pairs, missing), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
