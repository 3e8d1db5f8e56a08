"""Fit `map4_pipeline/audio/beat_model.json` to music whose beats are known and print what it is worth.

    python -m benchmarks.train_beats TRUTH.csv=AUDIO_DIR[=BEATS_DIR] [MORE.csv=DIR ...] [--write]

The files are those of `benchmarks.beats`. Two conditional logits are fitted at the true tempo: on which onsets the beat falls,
and where the bar begins. A path ending in `.npz` holds `mel` alone, as in `train_tempo.py`, and teaches nothing of bars; where no
file does, the weights of the bar stay what they were. Printed is the mean F-measure of what each chooses, for every kind of music
(a generated genre, or a set) with that kind left out of the fitting, and with all of it in.
"""

import argparse
import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.beats import Labelled, f_measure, labelled

#: Strength of the ridge penalty.
RIDGE = 1.0
#: A candidate is right from this share of the best one's F-measure.
RIGHT = 0.5
#: F-measure that the best candidate must reach, for the beats and for the bars: else the item teaches nothing.
REACHED = {"phase": 0.5, "meter": 0.8}


@dataclass
class Example:
    """The candidates of one item."""

    kind: str
    features: np.ndarray
    f_measures: np.ndarray


def measure(item: Labelled) -> dict[str, Example]:
    """Return the candidates for the beat's phase and for the bar, where the item tells which is right."""
    from map4_pipeline.audio.beat_grid import COHERENT, fit_grid
    from map4_pipeline.audio.beats import LATENCY, band_flux, largest_of_three, on_grid, onset_phases, phase_features
    from map4_pipeline.audio.engine import read_spectra
    from map4_pipeline.audio.events import STRUCK
    from map4_pipeline.audio.meter import READINGS, meter_features
    from map4_pipeline.audio.rhythm import normalised, onset_strength
    from map4_pipeline.audio.spectra import RHYTHM_FPS

    spectra = None if item.audio.suffix == ".npz" else read_spectra(item.audio)
    mel = np.load(item.audio)["mel"] if spectra is None else spectra.mel
    flux, onsets = band_flux(mel), onset_strength(mel)
    envelope = normalised(onsets.full)
    out = {}
    grid = fit_grid(envelope, item.bpm)
    if grid.coherence >= COHERENT:
        at = on_grid(60 / grid.bpm, len(envelope) / RHYTHM_FPS)
        phases = onset_phases(envelope, 60 / grid.bpm)
        scores = np.array([f_measure(item.beats, at(phase)) for phase in phases])
        out["phase"] = Example(item.kind, phase_features(flux, largest_of_three(onsets.events[:, :STRUCK]), at, phases), scores)
    if spectra is not None and item.has_bars and item.places.max() in (3, 4) and len(item.beats) >= 20:
        downbeats = item.beats[item.places == 1]
        scores = np.array([f_measure(downbeats, item.beats[first::count], 0.0) for count, first in READINGS])
        # The truth is when notes are struck; the synthesizer sounds about as late as onsets are found early.
        out["meter"] = Example(item.kind, meter_features(spectra, flux, item.beats + LATENCY), scores)
    return {name: example for name, example in out.items() if example.f_measures.max() > REACHED[name]}


def fit(examples: list[Example]) -> np.ndarray:
    """Return the weights: the penalised maximum of the likelihood that a right candidate is chosen.

    A kind counts as the square root of its items, so that a large one does not decide.
    """
    from scipy.optimize import minimize

    size = Counter(example.kind for example in examples)
    weight = np.array([size[example.kind] ** -0.5 for example in examples])
    weight *= len(weight) / weight.sum()
    features = np.concatenate([example.features for example in examples])
    right = np.concatenate([example.f_measures >= RIGHT * example.f_measures.max() for example in examples])
    counts = [len(example.features) for example in examples]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    owner = np.repeat(np.arange(len(examples)), counts)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        odds = features @ weights
        odds = np.exp(odds - np.maximum.reduceat(odds, starts)[owner])
        total = np.add.reduceat(odds, starts)
        good = np.add.reduceat(odds * right, starts) + 1e-12
        slope = features.T @ (weight[owner] * (odds * right / good[owner] - odds / total[owner]))
        value = (weight * (np.log(good) - np.log(total))).sum()
        return RIDGE * weights @ weights / 2 - value, RIDGE * weights - slope

    found = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return np.asarray(found.x)


def report(examples: list[Example]) -> np.ndarray:
    """Print the F-measures by kind and return the weights fitted to everything."""
    weights = fit(examples)
    means = []
    for kind in sorted({example.kind for example in examples}):
        inside = [example for example in examples if example.kind == kind]
        others = fit([example for example in examples if example.kind != kind])
        chosen = [[e.f_measures[int(np.argmax(e.features @ w))] for e in inside] for w in (others, weights)]
        means.append([float(np.mean(values)) for values in chosen])
        print(f"{kind:12} {len(inside):5} left out {100 * means[-1][0]:5.1f}   fitted {100 * means[-1][1]:5.1f}")
    left_out, fitted = np.mean(means, axis=0)
    print(f"{'mean':12} {len(examples):5} left out {100 * left_out:5.1f}   fitted {100 * fitted:5.1f}")
    return weights


def main() -> None:
    """Measure, fit, print and perhaps write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", nargs="+", help="TRUTH.csv=AUDIO_DIR[=BEATS_DIR]")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    items = [item for argument in options.truth for item in labelled(argument)]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        measured = list(pool.map(measure, items, chunksize=4))
    import map4_pipeline.audio

    target = Path(map4_pipeline.audio.__file__).parent / "beat_model.json"
    model = json.loads(target.read_text())
    for name in REACHED:
        found = [(item.set, examples[name]) for item, examples in zip(items, measured, strict=True) if name in examples]
        if not found:
            continue
        print(f"\n{name}")
        weights = report([example for _, example in found])
        model[f"{name}_fitted_on"] = dict(sorted(Counter(group for group, _ in found).items()))
        model[name] = [round(float(weight), 4) for weight in weights]
    if options.write:
        target.write_text(json.dumps(model, indent=1) + "\n")


if __name__ == "__main__":
    main()
