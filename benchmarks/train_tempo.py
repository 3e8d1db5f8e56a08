"""Fit `map4_pipeline/audio/tempo_model.json` to labelled audio and print what it is worth.

    python benchmarks/train_tempo.py TRUTH.csv=AUDIO_DIR [MORE.csv=DIR ...] [--reliability FILE.json] [--write]

The CSV files have the columns path, set and true_bpm (empty where unknown). The first is the one that accuracy is printed for:
with each set left out of the fitting in turn ("set left out"), and by eightfold cross-validation. What the confidence is worth is
printed over the items of all files, each with its set left out; `--reliability` writes those pairs of confidence and "was right".
`--write` fits on everything and writes the weights. A path ending in `.npz` holds `mel`, the spectra of a file analysed before
(`read_spectra(path).mel`), so that rendered training music need not be kept as sound.
"""

import argparse
import csv
import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

#: Strength of the ridge penalty, and how much weaker it is on the proposing score: chosen with sets left out.
RIDGE, RIDGE_ON_SCORE = 200.0, 0.2
#: Every set counts as this many items, so that a large set does not decide, but at most three times each item. The generated sets
#: count more: they stand for many genres.
SET_WEIGHT, MOST = 60.0, 3.0
GENERATED = {"dance": 200.0, "fiddle": 100.0}
TOLERANCE = 0.04


@dataclass
class Item:
    """One labelled track."""

    source: int
    name: str
    set: str
    bpm: float
    tempi: np.ndarray
    features: np.ndarray
    right: np.ndarray
    pulse: np.ndarray


def measure(job: tuple[int, str, str, str, float]) -> Item | None:
    """Analyse one file; None when it has no onsets."""
    from map4_pipeline.audio.engine import read_spectra
    from map4_pipeline.audio.rhythm import normalised, onset_strength
    from map4_pipeline.audio.tempo import pulse, readings

    source, path, name, group, bpm = job
    mel = np.load(path)["mel"] if path.endswith(".npz") else read_spectra(path).mel
    onsets = onset_strength(mel)
    full, tempi, features = readings(onsets, normalised(onsets.full))
    found = np.array(tempi)
    right = (np.abs(found / bpm - 1) <= TOLERANCE).astype(float)
    return Item(source, name, group, bpm, found, features, right, np.array([pulse(full, t) for t in tempi]))


def fit(items: list[Item]) -> dict[str, np.ndarray]:
    """Return mean, deviation and weight: the penalised maximum of the likelihood that a right candidate is chosen."""
    from scipy.optimize import minimize

    from map4_pipeline.audio.tempo_model import standardised

    stacked = np.concatenate([item.features for item in items])
    mean, deviation = stacked.mean(axis=0), stacked.std(axis=0) + 1e-6
    size = Counter(item.set for item in items)
    used = [item for item in items if item.right.any()]
    features = standardised(np.concatenate([item.features for item in used]), mean, deviation)
    right = np.concatenate([item.right for item in used])
    importance = np.array([min(MOST, GENERATED.get(item.set, SET_WEIGHT) / size[item.set]) for item in used])
    lengths = np.array([len(item.right) for item in used])
    starts = np.cumsum(lengths) - lengths
    ridge = np.full(len(mean), RIDGE)
    ridge[0] *= RIDGE_ON_SCORE

    def loss(weight: np.ndarray) -> tuple[float, np.ndarray]:
        odds = features @ weight
        p = np.exp(odds - np.repeat(np.maximum.reduceat(odds, starts), lengths))
        p /= np.repeat(np.add.reduceat(p, starts), lengths)
        hit = np.add.reduceat(p * right, starts) + 1e-12
        slope = features.T @ (np.repeat(importance, lengths) * (p - p * right / np.repeat(hit, lengths)))
        return 0.5 * float(ridge @ weight**2) - float(importance @ np.log(hit)), slope + ridge * weight

    weight = minimize(loss, np.zeros(len(mean)), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return {"mean": mean, "deviation": deviation, "weight": weight}


def log_odds(item: Item, model: dict[str, np.ndarray]) -> np.ndarray:
    """Return the log odds of the candidates, not sharpened."""
    from map4_pipeline.audio.tempo_model import standardised

    return np.asarray(standardised(item.features, model["mean"], model["deviation"]) @ model["weight"])


def sharpen(judged: list[tuple[Item, dict[str, np.ndarray]]]) -> float:
    """Return the factor on the log odds that makes the probabilities true: most likely on items of sets left out of the fitting.

    The ridge penalty holds the weights small, which leaves the probabilities too modest.
    """
    from scipy.optimize import minimize_scalar

    cases = []
    for item, model in judged:
        odds = log_odds(item, model)
        if item.right.any():
            cases.append((odds - odds.max(), item.right))

    def loss(factor: float) -> float:
        total = 0.0
        for odds, right in cases:
            p = np.exp(factor * odds)
            total -= float(np.log(p @ right / p.sum() + 1e-12))
        return total

    return float(minimize_scalar(loss, bounds=(0.3, 5.0), method="bounded").x)


def choose(item: Item, model: dict[str, np.ndarray]) -> float:
    """Return the tempo the model takes."""
    return float(item.tempi[int(np.argmax(log_odds(item, model)))])


def confidences(judged: list[tuple[Item, dict[str, np.ndarray]]], sharpness: float) -> list[tuple[float, bool]]:
    """Return the confidence of each item's best tempo, and whether that tempo is right."""
    from map4_pipeline.audio.tempo_model import certainty

    pairs = []
    for item, model in judged:
        odds = log_odds(item, model) * sharpness
        best = int(np.argmax(odds))
        pairs.append((certainty(1 / float(np.exp(odds - odds[best]).sum()), float(item.pulse[best])), bool(item.right[best])))
    return pairs


def show(title: str, chosen: list[tuple[Item, float]]) -> None:
    """Print Accuracy1/Accuracy2 at 4% per set."""
    sets: dict[str, list[tuple[bool, bool]]] = {}
    for item, bpm in chosen:
        exact = abs(bpm / item.bpm - 1) <= TOLERANCE
        level = any(abs(bpm / (item.bpm * k) - 1) <= TOLERANCE for k in (1, 2, 1 / 2, 3, 1 / 3))
        for name in (item.set, "ALL"):
            sets.setdefault(name, []).append((exact, level))
    parts = [
        f"{name} {100 * np.mean([e for e, _ in v]):.1f}/{100 * np.mean([a for _, a in v]):.1f}"
        for name, v in sorted(sets.items())
    ]
    print(f"{title:14s}", "  ".join(parts), flush=True)


def main() -> None:
    """Read, fit, report, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", nargs="+", metavar="CSV=DIR")
    parser.add_argument("--reliability", metavar="FILE.json")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    from map4_pipeline.audio.evaluation import calibration

    jobs = []
    for source, pair in enumerate(options.truth):
        table, _, folder = pair.partition("=")
        with open(table, newline="") as file:
            for row in csv.DictReader(file):
                path = Path(folder) / row["path"]
                if row["true_bpm"] and path.exists():
                    jobs.append((source, str(path), row["path"], row["set"], float(row["true_bpm"])))
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        items = [item for item in pool.map(measure, jobs, chunksize=4) if item is not None]
    judged = [item for item in items if item.source == 0]
    show("score alone", [(i, float(i.tempi[int(np.argmax(i.features[:, 0]))])) for i in judged])
    models = []
    for group in sorted({i.set for i in items}):
        model = fit([i for i in items if i.set != group])
        models += [(i, model) for i in items if i.set == group]
    sharpness = sharpen(models)
    print(f"sharpness {sharpness:.3f}")
    show("set left out", [(i, choose(i, model)) for i, model in models if i.source == 0])
    show("all files", [(i, choose(i, model)) for i, model in models])
    pairs = confidences(models, sharpness)
    worth = calibration(pairs)
    print(
        f"confidence of {worth.n} items, set left out: right {100 * worth.right:.1f}%, Brier {100 * (worth.gain or 0):+.1f}%"
        f" on the base rate, AUROC {worth.auroc or 0:.3f}, calibration error {worth.error:.3f}"
    )
    if options.reliability:
        Path(options.reliability).write_text(json.dumps([[round(c, 4), hit] for c, hit in pairs]) + "\n")
    fold = np.random.default_rng(0).permutation(len(judged)) % 8
    crossed = []
    for k in range(8):
        held = {id(i) for i, f in zip(judged, fold, strict=True) if f == k}
        model = fit([i for i in items if id(i) not in held])
        crossed += [(i, choose(i, model)) for i in judged if id(i) in held]
    show("eightfold", crossed)
    final = fit(items)
    show("fitted", [(i, choose(i, final)) for i in judged])
    if options.write:
        from map4_pipeline.audio.tempo_model import FEATURES

        counts = {group: sum(i.set == group for i in items) for group in sorted({i.set for i in items})}
        content = {"fitted_on": counts, "sharpness": round(sharpness, 3), "features": list(FEATURES)}
        content |= {name: [float(f"{v:.6g}") for v in values] for name, values in final.items()}
        target = Path(__file__).resolve().parents[1] / "map4_pipeline" / "audio" / "tempo_model.json"
        target.write_text(json.dumps(content, indent=1) + "\n")
        print("wrote", target.name, counts)


if __name__ == "__main__":
    main()
