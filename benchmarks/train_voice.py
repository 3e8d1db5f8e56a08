"""Fit the voice model to labelled audio and print how well it tells tracks with a voice from instrumental ones.

    python benchmarks/train_voice.py TRUTH.csv=AUDIO_DIR [MORE.csv=DIR ...] [--cache DIR] [--write]

The CSV files have the columns path, set and voice (1: somebody sings or speaks, 0: instrumental, empty: not fitted, only shown).
They may have the columns kind and level (dB of the voice over the music), by which the figures are divided. Put music and voices
of one source into one set: what is printed leaves the whole set out of the fitting. `--write` puts the model fitted on everything
into `map4_pipeline/audio`.

A label says that a voice is somewhere in a track, not where. So the blocks of a voiced track are those that the model of the
round before finds most voice-like (Andrews, Tsochantaridis & Hofmann 2002, learning from bags), the first round taking them all.
"""

import argparse
import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

RIDGE = 100.0
ROUNDS = 4
#: Share of a voiced track's blocks that are fitted as voice: the least that is sung or spoken in most songs.
VOICED_SHARE = 0.4


@dataclass
class Item:
    """One track: its blocks' features, and what is known of it."""

    path: str
    group: str
    voice: int | None
    kind: str
    level: float | None
    features: np.ndarray
    odds: float = 0.0


def measure(path: Path, cache: Path | None) -> np.ndarray:
    """Return the features of a file's blocks."""
    from map4_pipeline.audio import descriptors, voice
    from map4_pipeline.audio.engine import read_spectra

    name = hashlib.sha256(f"{path}\n{voice.FEATURES}".encode()).hexdigest()[:24] + ".npy"
    if cache is not None and (cache / name).exists():
        return np.load(cache / name)
    features = voice.voice_features(descriptors.excerpt(read_spectra(path)))
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        np.save(cache / name, features)
    return features


def read(truth: list[str], cache: Path | None) -> list[Item]:
    """Read the labelled files."""
    items = []
    for pair in truth:
        table, _, folder = pair.partition("=")
        with Path(table).open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                voice = int(row["voice"]) if row["voice"] else None
                level = float(row["level"]) if row.get("level") else None
                features = measure(Path(folder) / row["path"], cache)
                items.append(Item(row["path"], row["set"], voice, row.get("kind") or "", level, features))
    return items


def logistic(x: np.ndarray, y: np.ndarray, weight: np.ndarray, ridge: float) -> np.ndarray:
    """Return the weights and, last, the bias of a ridge logistic regression."""
    x = np.column_stack([x, np.ones(len(x))])
    penalty = np.append(np.full(x.shape[1] - 1, ridge), 0.0)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ w
        value = float(weight @ (np.logaddexp(0, z) - y * z) + 0.5 * penalty @ w**2)
        return value, x.T @ (weight * (expit(z) - y)) + penalty * w

    return minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x


def fit(items: list[Item]) -> dict[str, object]:
    """Fit the blocks' regression; every set counts the same within each class, and so does every track within its set."""
    from map4_pipeline.audio.voice import standardised

    blocks = np.concatenate([i.features for i in items])
    mean, deviation = blocks.mean(axis=0), blocks.std(axis=0) + 1e-6
    scaled = [standardised(i.features, mean, deviation) for i in items]
    sizes = {(i.group, i.voice): 0 for i in items}
    for i in items:
        sizes[i.group, i.voice] += 1
    solution = None
    for _ in range(ROUNDS):
        rows, labels, weights = [], [], []
        for item, x in zip(items, scaled, strict=True):
            if item.voice and solution is not None:
                count = max(1, round(VOICED_SHARE * len(x)))
                x = x[np.argsort(-(x @ solution[:-1]), kind="stable")[:count]]
            rows.append(x)
            labels.append(np.full(len(x), float(item.voice)))
            weights.append(np.full(len(x), 1 / len(x) / sizes[item.group, item.voice]))
        y, w = np.concatenate(labels), np.concatenate(weights)
        w = np.where(y == 1, w / w[y == 1].sum(), w / w[y == 0].sum()) * len(y) / 2
        solution = logistic(np.concatenate(rows), y, w, RIDGE)
    return {"mean": mean, "deviation": deviation, "weight": solution[:-1], "bias": float(solution[-1])}


def score(items: list[Item], model: dict[str, object]) -> None:
    """Set each item's odds to the mean of its deciding blocks."""
    from map4_pipeline.audio.voice import deciding, standardised

    for i in items:
        i.odds = deciding(standardised(i.features, model["mean"], model["deviation"]) @ model["weight"] + model["bias"])


def auc(items: list[Item]) -> float:
    """Return the probability that a voiced item has higher odds than an instrumental one."""
    yes = np.array([i.odds for i in items if i.voice == 1])
    no = np.array([i.odds for i in items if i.voice == 0])
    if not len(yes) or not len(no):
        return float("nan")
    apart = yes[:, None] - no[None]
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())


def calibrate(items: list[Item]) -> tuple[float, float]:
    """Return scale and bias from a track's odds to true log odds, both classes counting the same."""
    y = np.array([float(i.voice) for i in items])
    weight = np.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    scale, bias = logistic(np.array([[i.odds] for i in items]), y, weight, 1e-3)
    return float(scale), float(bias)


def show(items: list[Item]) -> None:
    """Print the AUC of all, by set, by kind of voice and by level."""
    quiet = [i for i in items if i.voice == 0 or (i.level is not None and i.level < -4)]
    print(f"{'all':24} {len(items):4} {auc(items):.3f}")
    print(f"{'voice 4 dB or more under':24} {len(quiet):4} {auc(quiet):.3f}")
    for name in sorted({i.kind for i in items if i.voice == 1 and i.kind}):
        part = [i for i in items if i.voice == 0 or i.kind == name]
        print(f"{'kind ' + name:24} {len(part):4} {auc(part):.3f}")
    for name in sorted({i.kind for i in items if i.voice == 0 and i.kind}):
        part = [i for i in items if i.voice == 1 or i.kind == name]
        print(f"{'against ' + name:24} {len(part):4} {auc(part):.3f}")
    for group in sorted({i.group for i in items}):
        part = [i for i in items if i.group == group]
        print(f"{'set ' + group:24} {len(part):4} {auc(part):.3f}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("truth", nargs="+", help="TRUTH.csv=AUDIO_DIR")
    parser.add_argument("--cache", type=Path, help="where measured features are kept from one run to the next")
    parser.add_argument("--write", action="store_true", help="put the fitted model into the package")
    options = parser.parse_args()
    everything = read(options.truth, options.cache)
    items = [i for i in everything if i.voice is not None]
    for group in sorted({i.group for i in items}):
        score([i for i in items if i.group == group], fit([i for i in items if i.group != group]))
    print("AUC, each set left out of the fitting; items and area")
    show(items)
    scale, bias = calibrate(items)
    right = [(scale * i.odds + bias > 0) == (i.voice == 1) for i in items]
    print(f"right at 0.5: {np.mean(right):.3f}; log odds = {scale:.3f} x {bias:+.3f}")
    final = fit(items)
    shown = [i for i in everything if i.voice is None]
    score(shown, final)
    for i in shown:
        print(f"{i.path}: P(voice) {expit(scale * i.odds + bias):.2f}")
    if options.write:
        from map4_pipeline.audio.voice import FEATURES

        counts = {group: sum(i.group == group for i in items) for group in sorted({i.group for i in items})}
        content: dict[str, object] = {"fitted_on": counts, "features": list(FEATURES)}
        content |= {name: [float(f"{v:.6g}") for v in final[name]] for name in ("mean", "deviation", "weight")}
        content |= {"bias": round(final["bias"], 6), "track_scale": round(scale, 6), "track_bias": round(bias, 6)}
        target = Path(__file__).resolve().parents[1] / "map4_pipeline" / "audio" / "voice_model.json"
        target.write_text(json.dumps(content, indent=1) + "\n")
        print("wrote", target.name, counts)


if __name__ == "__main__":
    main()
