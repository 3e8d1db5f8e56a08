"""Beat and downbeat F-measure against known beats: what `train_beats.py` and the README's figures are judged by.

    python -m benchmarks.beats TRUTH.csv=AUDIO_DIR[=BEATS_DIR] [MORE.csv=DIR ...] [--jobs N]

A CSV has the columns path, set and perhaps how. The truth of an item is the text file BEATS_DIR/PATH.beats (beside the audio
unless another folder is named): one beat a line, its time in seconds and, where known, its place in the bar (1 is the downbeat).
Without arguments the CSV is `truth.csv` or `open.csv` in MAP4_TRUTH_DIR or one folder above, as in `benchmarks.accuracy`; where
no item has a file of beats, nothing is measured.
"""

import argparse
import csv
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

#: Seconds within which a beat is found, and seconds at the start that do not count (Davies, Degara & Plumbley 2009; mir_eval).
TOLERANCE, SKIPPED = 0.07, 5.0
#: Relative error up to which a tempo is right (Accuracy1, Gouyon et al. 2006).
TEMPO_TOLERANCE = 0.04


@dataclass(frozen=True)
class Labelled:
    """An item with known beats."""

    audio: Path
    set: str
    #: The genre of a generated item, else the set: what is left out of a fitting at once.
    kind: str
    beats: np.ndarray
    #: 1 for a downbeat, 0 where unknown.
    places: np.ndarray

    @property
    def bpm(self) -> float:
        """The usual distance of the beats, as a tempo."""
        return float(60 / np.median(np.diff(self.beats)))

    @property
    def has_bars(self) -> bool:
        """Whether the place in the bar is known of (nearly) every beat."""
        return bool((self.places > 0).mean() > 0.95)


@dataclass(frozen=True)
class Score:
    """What one item scored; None where that is not known or not told."""

    set: str
    beats: float
    tempo_right: bool
    downbeats: float | None
    told: bool


def labelled(argument: str) -> list[Labelled]:
    """Return the items of TRUTH.csv=AUDIO_DIR[=BEATS_DIR] that have a file of beats."""
    table, audio, *rest = argument.split("=")
    sidecars = Path(rest[0] if rest else audio)
    found = []
    with open(table, newline="") as file:
        for row in csv.DictReader(file):
            truth = sidecars / f"{row['path']}.beats"
            if not truth.exists() or not (Path(audio) / row["path"]).exists():
                continue
            lines = [line.split() for line in truth.read_text().splitlines() if line.strip()]
            times = np.array([float(line[0]) for line in lines])
            places = np.array([int(line[1]) if len(line) > 1 else 0 for line in lines])
            words = row.get("how", "").split()
            kind = words[2].strip(";") if words[:2] == ["own", "generated"] else row["set"]
            if len(times) >= 3:
                found.append(Labelled(Path(audio) / row["path"], row["set"], kind, times, places))
    return found


def f_measure(truth: np.ndarray, estimate: np.ndarray, skipped: float = SKIPPED) -> float:
    """Return the harmonic mean of precision and recall of beats found within 70 ms, each matched once."""
    truth, estimate = truth[truth >= skipped], estimate[estimate >= skipped]
    first = second = hits = 0
    while first < len(truth) and second < len(estimate):
        distance = estimate[second] - truth[first]
        near = abs(distance) <= TOLERANCE
        hits += near
        first += near or distance > 0
        second += near or distance < 0
    return 2 * hits / max(1, len(truth) + len(estimate))


def measure(item: Labelled) -> Score:
    """Analyse one file and compare."""
    from map4_pipeline.audio import analyse

    features = analyse(item.audio, stages=("features",)).features
    assert features is not None
    told = bool(features.downbeat_times)
    downbeats = None
    if item.has_bars and told:
        downbeats = f_measure(item.beats[item.places == 1], np.array(features.downbeat_times), 0.0)
    right = features.bpm is not None and abs(features.bpm / item.bpm - 1) <= TEMPO_TOLERANCE
    return Score(item.set, f_measure(item.beats, np.array(features.beat_times)), right, downbeats, told)


def print_table(scores: list[Score]) -> None:
    """Print the mean F-measures of every set and of all."""
    print(f"{'set':12} {'n':>5} {'beats F':>8} {'tempo right':>12} {'beats F there':>14} {'bars told':>10} {'downbeats F':>12}")
    for name in [*sorted({score.set for score in scores}), "ALL"]:
        part = [score for score in scores if name in (score.set, "ALL")]
        there = [score.beats for score in part if score.tempo_right]
        bars = [score.downbeats for score in part if score.downbeats is not None]
        print(
            f"{name:12} {len(part):5} {_mean([s.beats for s in part]):>8} {len(there):12} {_mean(there):>14} "
            f"{sum(s.told for s in part):10} {_mean(bars):>12}"
        )


def _mean(values: list[float]) -> str:
    return f"{100 * np.mean(values):.1f}" if values else "-"


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", nargs="*", help="TRUTH.csv=AUDIO_DIR[=BEATS_DIR]")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    truth = options.truth
    folder = Path(os.environ.get("MAP4_TRUTH_DIR", ""))
    if not truth and os.environ.get("MAP4_TRUTH_DIR"):
        places = [place / name for name in ("open.csv", "truth.csv") for place in (folder, folder.parent)]
        truth = [f"{place}={folder}" for place in places if place.is_file()][:1]
    items = [item for argument in truth for item in labelled(argument)]
    if not items:
        print("not measured: no item has a file of its beats beside it (PATH.beats)")
        return
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        print_table(list(pool.map(measure, items, chunksize=4)))


if __name__ == "__main__":
    main()
