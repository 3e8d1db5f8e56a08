"""Fit the weights of `map4_pipeline.audio.key_evidence` to labelled audio and print what they are worth.

    python benchmarks/train_key.py TRAIN.csv=AUDIO_DIR [MORE.csv=DIR ...] [--judge OPEN.csv=DIR] [--reliability FILE.json]

The CSV files have the columns path, set and true_key (empty where unknown). Every piece is read whole and as three excerpts that
begin and end anywhere: what is learned must not hang on how a file begins. Printed: the MIREX score of the judged items, whole
and cut by 7.3 s and 5 s, with weights fitted on all training items and with weights fitted without the item's set; how many
pieces in one key are divided; and what the confidence of all items is worth, each with its set left out. `--reliability` writes
the latter as pairs of confidence and whether the key was right.

With `--songs N`, N songs of MAP4's own synthesis join the training as the set "songs", with a smaller share: their progressions
are others (I-IV-V-I), and what was learned from the rest alone took their subdominant for home. On 42 recordings without
labels, weights fitted with them agree more often with two other programs (25 or 26 of 37 in place of 24).

Four weights, a strong ridge, and one factor for all of them that puts the confidence right again: with more evidence (bass notes,
the end, counts of chords, the dominant) or a weaker ridge the items of a set that was left out got worse, not better.
"""

import argparse
import csv
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from map4_pipeline.audio.spectra import RHYTHM_HOP, TONAL_FPS, TONAL_HOP, Spectra

RIDGE = 0.02
#: How much of the ridge each kind of evidence bears: the profile is the only one that does not hang on a piece's form.
RIDGE_SHARES = np.array([0.3, 1.0, 1.0, 1.0])
#: Seconds cut off the beginning and the end; the first is the whole, the second is judged as well.
CUTS = ((0.0, 0.0), (7.3, 5.0), (3.1, 9.7), (16.9, 2.3))
#: How much each counts in the fit: most files are whole, and of an even loop only its beginning says where home is.
CUT_SHARES = (12.0, 1.0, 1.0, 1.0)
#: Share of the synthesised songs in the fit, beside 1 for every other set, and their length in seconds.
SONG_SHARE, SONG_SECONDS = 0.3, (40.0, 60.0, 75.0)
SONGS = "songs"
BINS = 5


@dataclass
class Item:
    """One labelled track."""

    group: str
    key: int
    #: One (24, 4) array for each of `CUTS`.
    evidence: np.ndarray
    divided: bool


def excerpt(spectra: Spectra, start: float, end: float) -> Spectra:
    """Return what the key needs of the sound without its first `start` and last `end` seconds, at least half of it."""
    share = min(1.0, 0.5 * spectra.tonal_frames / TONAL_FPS / max(start + end, 1e-9)) * TONAL_FPS
    first = round(start * share)
    last = spectra.tonal_frames - round(end * share)
    keep = (spectra.peak_frame >= first) & (spectra.peak_frame < last)
    step = TONAL_HOP // RHYTHM_HOP
    return replace(
        spectra,
        mel=spectra.mel[first * step : (last + 2) * step],
        peak_frequency=spectra.peak_frequency[keep],
        peak_weight=spectra.peak_weight[keep],
        peak_magnitude=spectra.peak_magnitude[keep],
        peak_frame=spectra.peak_frame[keep] - np.int32(first),
        tonal_frames=last - first,
        samples=(last - first + 1) * TONAL_HOP,
    )


def examine(spectra: Spectra, group: str, truth: str) -> Item | None:
    """Return the evidence of a piece, whole and cut; None when it has no key."""
    from map4_pipeline.audio.tonality import estimate_key, key_names
    from map4_pipeline.hamms.camelot import parse_key

    found = [estimate_key(excerpt(spectra, start, end)) for start, end in CUTS]
    name = parse_key(truth)
    if name is None or any(reading.key is None for reading in found):
        return None
    evidence = np.stack([reading.evidence for reading in found])
    return Item(group, key_names().index(name), evidence, len(found[0].spans) > 1)


def measure(job: tuple[str, str, str]) -> Item | None:
    """Analyse one file."""
    from map4_pipeline.audio.engine import read_spectra

    path, group, truth = job
    return examine(read_spectra(path), group, truth)


def measure_song(number: int) -> Item | None:
    """Synthesise a song that no other number gives, and analyse it."""
    import random

    import soxr

    from map4_pipeline.audio.spectra import SAMPLE_RATE, SpectraBuilder
    from map4_pipeline.audio.tonality import key_names
    from map4_pipeline.library import synthesis

    chance = random.Random(9000 + number)
    bpm, tonic, mode = chance.uniform(70, 175), chance.randrange(12), chance.choice(("major", "minor"))
    song = synthesis.Song(bpm, tonic, mode, synthesis.STYLES[number % len(synthesis.STYLES)], 50_000 + number)
    sound = synthesis.render(song, chance.choice(SONG_SECONDS)).mean(axis=1)
    builder = SpectraBuilder()
    builder.feed(soxr.resample(sound, synthesis.SAMPLE_RATE, SAMPLE_RATE).astype(np.float32))
    return examine(builder.finish(), SONGS, key_names()[tonic + (12 if mode == "minor" else 0)])


def mirex(found: int, truth: int) -> float:
    """Return the MIREX weight of an answer."""
    if found == truth:
        return 1.0
    step = (found - truth) % 12
    if (found < 12) == (truth < 12):
        return 0.5 if step in (5, 7) else 0.0
    if step == 0:
        return 0.2
    return 0.3 if step == (9 if truth < 12 else 3) else 0.0


def fit(items: list[Item]) -> np.ndarray:
    """Return the weights of a conditional logit over the 24 keys; every set counts the same.

    A ridge picks the direction; one factor for all weights, fitted without it, undoes its shrinking, so that the odds stay
    probabilities (temperature scaling, Guo et al. 2017).
    """
    cuts = len(CUTS)
    evidence = np.concatenate([item.evidence for item in items])
    rows = np.arange(len(evidence))
    truth = np.repeat([item.key for item in items], cuts)
    share = np.repeat([1 / sum(other.group == item.group for other in items) for item in items], cuts)
    share *= np.tile(CUT_SHARES, len(items))
    share *= np.repeat([SONG_SHARE if item.group == SONGS else 1.0 for item in items], cuts)
    share /= share.sum()
    scale = evidence.reshape(-1, evidence.shape[2]).std(axis=0) + 1e-9
    scaled = evidence / scale

    def loss(weights: np.ndarray, ridge: float) -> tuple[float, np.ndarray]:
        logit = scaled @ weights
        logit -= logit.max(axis=1, keepdims=True)
        chance = np.exp(logit)
        chance /= chance.sum(axis=1, keepdims=True)
        slope = np.einsum("nk,nkj->nj", chance, scaled) - scaled[rows, truth]
        missed = -float(share @ np.log(chance[rows, truth] + 1e-300))
        return missed + ridge / 2 * float(RIDGE_SHARES @ weights**2), share @ slope + ridge * RIDGE_SHARES * weights

    weights = minimize(loss, np.ones(len(scale)), args=(RIDGE,), jac=True, method="L-BFGS-B").x
    factor = minimize_scalar(lambda f: loss(weights * f, 0.0)[0], bounds=(0.5, 5.0), method="bounded").x
    return np.asarray(weights * factor / scale)


def answer(item: Item, weights: np.ndarray, cut: int) -> tuple[int, float]:
    """Return the key found and its probability."""
    logit = item.evidence[cut] @ weights
    chance = np.exp(logit - logit.max())
    return int(np.argmax(logit)), float(chance.max() / chance.sum())


def score(items: list[Item], weights: dict[str, np.ndarray], cut: int) -> float:
    """Return the mean MIREX score in percent; `weights` by set."""
    return 100 * float(np.mean([mirex(answer(item, weights[item.group], cut)[0], item.key) for item in items]))


def worth(pairs: np.ndarray) -> str:
    """Return what confidences are worth: Brier skill, area under the curve, calibration error in bins of equal mass."""
    confidence, right = pairs[:, 0], pairs[:, 1]
    rate = float(right.mean())
    skill = 1 - float(np.mean((confidence - right) ** 2)) / (rate * (1 - rate))
    better = confidence[right == 1][:, None] - confidence[right == 0][None, :]
    area = float(np.mean((better > 0) + 0.5 * (better == 0)))
    bins = np.array_split(np.argsort(confidence, kind="stable"), BINS)
    error = float(np.mean([abs(confidence[part].mean() - right[part].mean()) for part in bins]))
    return f"right {100 * rate:.1f}%, Brier {100 * skill:+.0f}% on the base rate, AUROC {area:.2f}, calibration error {error:.3f}"


def report(train: list[Item], judged: list[Item], reliability: str | None) -> None:
    """Print scores and confidence, and write the reliability pairs."""
    groups = sorted({item.group for item in train + judged})
    if len({item.group for item in train}) < 2:
        raise SystemExit("There must be two sets at least: what is fitted on one is judged on another.")
    fitted = fit(train)
    print(f"{len(train)} items, weights", ", ".join(f"{weight:.2f}" for weight in fitted))
    same = dict.fromkeys(groups, fitted)
    rest = {group: fit([item for item in train if item.group != group]) for group in groups}
    for group in [*groups, "ALL"]:
        mine = [item for item in judged if group in (item.group, "ALL")]
        if mine:
            whole = f"whole: fitted {score(mine, same, 0):5.1f}  set left out {score(mine, rest, 0):5.1f}"
            clipped = f"cut: fitted {score(mine, same, 1):5.1f}  set left out {score(mine, rest, 1):5.1f}"
            print(f"{group:10s} n {len(mine):4d}  {whole}   {clipped}")
    everything = train + [item for item in judged if not any(item is other for other in train)]
    print(f"in one key, but divided: {sum(item.divided for item in everything)} of {len(everything)}")
    for cut, label in ((0, "whole"), (1, "cut")):
        answers = [answer(item, rest[item.group], cut) for item in everything]
        pairs = np.array([(chance, float(key == item.key)) for item, (key, chance) in zip(everything, answers, strict=True)])
        print(f"confidence, {label}, {len(pairs)} items, set left out: {worth(pairs)}")
        if reliability and cut == 0:
            Path(reliability).write_text(json.dumps([[round(c, 4), bool(right)] for c, right in pairs]) + "\n")


def read(pairs: list[str], jobs: int) -> list[Item]:
    """Analyse the labelled files of each `CSV=DIR`."""
    rows: list[tuple[str, str, str]] = []
    for pair in pairs:
        table, _, folder = pair.partition("=")
        with open(table, newline="") as file:
            rows += [(str(Path(folder) / r["path"]), r["set"], r["true_key"]) for r in csv.DictReader(file) if r["true_key"]]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        found = pool.map(measure, [row for row in rows if Path(row[0]).exists()], chunksize=4)
        return [item for item in found if item is not None]


def main() -> None:
    """Read, fit, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", metavar="CSV=DIR", nargs="+")
    parser.add_argument("--songs", type=int, default=0, metavar="N", help="synthesised songs beside the files")
    parser.add_argument("--judge", metavar="CSV=DIR")
    parser.add_argument("--reliability", metavar="FILE.json")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    train = read(options.train, options.jobs)
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        train += [item for item in pool.map(measure_song, range(options.songs), chunksize=4) if item is not None]
    judged = read([options.judge], options.jobs) if options.judge else train
    report(train, judged, options.reliability)


if __name__ == "__main__":
    main()
