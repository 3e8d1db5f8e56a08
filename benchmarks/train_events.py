"""Fit `map4_pipeline/audio/event_model.json` to rendered music whose notes are known and print what it is worth.

    python -m benchmarks.train_events TRUTH.csv=AUDIO_DIR[=NOTES_DIR] [MORE.csv=DIR ...] [--write]

A CSV has the columns path and set. The notes of an item are the text file NOTES_DIR/PATH.notes: one struck note a line, its time
in seconds, its MIDI channel (9 is the drums) and its number. A path ending in `.npz` holds `mel`, as in `train_tempo.py`.
Printed is, for every instrument, the area under the ROC curve over the frames of a fifth of the pieces, kept out of a first fit.
"""

import argparse
import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

Weights = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

HIDDEN = 16
EPOCHS, BATCH, RATE, DECAY = 5, 2048, 3e-3, 1e-5
#: General MIDI drums counted as each instrument.
DRUMS = ({35, 36}, {31, 32, 37, 38, 39, 40}, {22, 26, 42, 44, 46, 51, 53, 54, 59, 69, 70, 82})
#: Notes below E3 are the bass.
BASS = 52
#: Share of the frames with and without an onset that are looked at, and how many frames a set may give at the most.
SHARES, MOST = (0.3, 0.15), 120_000


def targets(notes: np.ndarray, count: int) -> np.ndarray:
    """Return what is struck in each frame, shape (count, 5): 1 at the onset, less in the frames beside it."""
    from map4_pipeline.audio.events import STRUCK
    from map4_pipeline.audio.spectra import RHYTHM_FPS

    out = np.zeros((count, STRUCK), np.float32)
    time, channel, number = notes.T
    drum = channel == 9
    chosen = [drum & np.isin(number, list(numbers)) for numbers in DRUMS]
    chosen += [~drum & (number < BASS), ~drum & (number >= BASS)]
    for column, which in enumerate(chosen):
        frame = np.rint(time[which] * RHYTHM_FPS + 0.5).astype(int)
        for offset, value in ((0, 1.0), (1, 0.6), (-1, 0.4)):
            at = frame + offset
            at = at[(at >= 0) & (at < count)]
            out[at, column] = np.maximum(out[at, column], value)
    return out


def frames(log: np.ndarray) -> np.ndarray:
    """Return the frames of the context side by side, shape (n, 4 * 40)."""
    from map4_pipeline.audio.events import AFTER, BEFORE, CONTEXT

    padded = np.pad(log, ((BEFORE, AFTER), (0, 0)), mode="edge")
    return np.concatenate([padded[BEFORE + shift : BEFORE + shift + len(log)] for shift in CONTEXT], axis=1)


def examples(argument: str, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield set, inputs and targets of some frames of every item that has a file of notes."""
    from map4_pipeline.audio.engine import read_spectra

    table, audio, *rest = argument.split("=")
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    size = Counter(row["set"] for row in rows)
    for row in rows:
        path, sidecar = Path(audio) / row["path"], Path(rest[0] if rest else audio) / f"{row['path']}.notes"
        if not (path.exists() and sidecar.exists()):
            continue
        mel = np.load(path)["mel"] if path.suffix == ".npz" else read_spectra(path).mel
        log = np.log1p(mel * np.float32(100 / (float(mel.mean(dtype=np.float64)) + 1e-20)))
        wanted = targets(np.loadtxt(sidecar, ndmin=2), len(mel))
        share = np.where(wanted.max(axis=1) > 0, *SHARES)
        share *= min(1.0, MOST / (size[row["set"]] * share.sum()))
        picked = rng.random(len(mel)) < share
        yield row["set"], frames(log)[picked].astype(np.float16), wanted[picked]


def fit(inputs: np.ndarray, wanted: np.ndarray, seed: int = 0) -> Weights:
    """Return the weights: the least cross entropy, by Adam (Kingma & Ba 2015)."""
    from map4_pipeline.audio.events import CONTEXT

    rng = np.random.default_rng(seed)
    mean, deviation = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64) + 1e-3
    size = inputs.shape[1]
    weights = [
        rng.normal(size=(size, HIDDEN)) / np.sqrt(size),
        np.zeros(HIDDEN),
        rng.normal(size=(HIDDEN, wanted.shape[1])) * 0.2,
        np.full(wanted.shape[1], -2.5),
    ]
    weights = [weight.astype(np.float32) for weight in weights]
    first, second = ([np.zeros_like(weight) for weight in weights] for _ in range(2))
    steps, total = 0, EPOCHS * (len(inputs) // BATCH)
    for _ in range(EPOCHS):
        order = rng.permutation(len(inputs))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            some = order[start : start + BATCH]
            x, y = ((inputs[some] - mean) / deviation).astype(np.float32), wanted[some]
            inner = np.maximum(x @ weights[0] + weights[1], 0)
            error = (1 / (1 + np.exp(-(inner @ weights[2] + weights[3]))) - y) / y.size
            back = (error @ weights[2].T) * (inner > 0)
            slopes = [x.T @ back + 2 * DECAY * weights[0], back.sum(axis=0), inner.T @ error, error.sum(axis=0)]
            steps += 1
            rate = RATE * (1 - 0.95 * steps / total)
            for k, slope in enumerate(slopes):
                first[k] = 0.9 * first[k] + 0.1 * slope
                second[k] = 0.999 * second[k] + 0.001 * slope**2
                change = (first[k] / (1 - 0.9**steps)) / (np.sqrt(second[k] / (1 - 0.999**steps)) + 1e-7)
                weights[k] = (weights[k] - rate * change).astype(np.float32)
    hidden = weights[0] / deviation[:, None]
    bias = weights[1] - mean @ hidden
    return hidden.reshape(len(CONTEXT), -1, HIDDEN).astype(np.float32), bias.astype(np.float32), weights[2], weights[3]


def auroc(score: np.ndarray, hit: np.ndarray) -> float:
    """Return the area under the ROC curve."""
    from scipy.stats import rankdata

    rank = rankdata(score)[hit]
    return float((rank.sum() - len(rank) * (len(rank) + 1) / 2) / (len(rank) * (len(hit) - len(rank))))


def main() -> None:
    """Read, fit, report, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", nargs="+", metavar="CSV=AUDIO_DIR[=NOTES_DIR]")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    from map4_pipeline.audio.events import CONTEXT, EVENTS, STRUCK

    rng = np.random.default_rng(1)
    items = [item for argument in options.truth for item in examples(argument, rng)]
    held = rng.random(len(items)) < 0.2
    parts = [
        [np.concatenate([item[k] for item, out in zip(items, held, strict=True) if out == side]) for k in (1, 2)]
        for side in (False, True)
    ]
    hidden, bias, output, output_bias = fit(*parts[0])
    inner = np.maximum(parts[1][0].astype(np.float32) @ hidden.reshape(-1, HIDDEN) + bias, 0)
    score = inner @ output + output_bias
    print(f"{len(items)} pieces, {sum(len(part[0]) for part in parts)} frames; AUROC on {int(held.sum())} pieces kept out:")
    print("  ".join(f"{EVENTS[k]} {auroc(score[:, k], parts[1][1][:, k] > 0.5):.3f}" for k in range(STRUCK)), flush=True)
    if options.write:
        import map4_pipeline.audio

        final = fit(*(np.concatenate([part[k] for part in parts]) for k in (0, 1)))
        counts = dict(sorted(Counter(item[0] for item in items).items()))
        content: dict[str, object] = {"fitted_on": counts, "events": EVENTS[:STRUCK], "context": CONTEXT}
        for name, values in zip(("hidden", "hidden_bias", "output", "output_bias"), final, strict=True):
            content[name] = np.vectorize(lambda v: float(f"{v:.4g}"))(values).tolist()
        target = Path(map4_pipeline.audio.__file__).parent / "event_model.json"
        target.write_text(json.dumps(content) + "\n")
        print("wrote", target.name, counts)


if __name__ == "__main__":
    main()
