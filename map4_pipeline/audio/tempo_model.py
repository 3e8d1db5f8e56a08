"""Which of the tempi that fit is the beat: a small model of how likely each reading is.

Nearly every error of a tempo estimate is one of level: half, double, two thirds. What tells the levels apart is where else the
onsets repeat: at the right tempo they also repeat at its bars and subdivisions; and who plays there: kick and snare alternate on
the beats, the harmony moves with the bars. The model is a conditional logit (McFadden 1974) over the candidates: log odds =
weights . features, the features being the score that proposed the candidate and, at fixed ratios to it, the autocorrelation and
the spectrum of the onsets, of all bands and of the low ones, and the correlations of what is struck (`event_rhythm`). It knows no
genre and no name.

`tempo_model.json` holds the weights and says what they were fitted on; `benchmarks/train_tempo.py` makes it and prints the
accuracy with each set left out of the fitting.
"""

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.audio.event_rhythm import EVENT_FEATURES, EventRhythm
from map4_pipeline.audio.tempogram import GRID, Tempogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Preferred tempo (BPM) and its width in octaves: after Parncutt 1994 and Moelants 2002, widened.
PRIOR_BPM, PRIOR_OCTAVES = 105.0, 0.8
#: Ratios to the candidate's beat at which repetition is read: in time (beats), and in rate (multiples of the tempo).
LAG_RATIOS = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 4 / 3, 3 / 2, 2, 3, 4, 6, 8)
RATE_RATIOS = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 4 / 3, 3 / 2, 2, 3, 4)
#: Other levels of the three best tempi that are always considered.
_LEVELS = (2, 1 / 2, 3 / 2, 2 / 3, 4 / 3, 3 / 4, 3, 1 / 3)
#: Tempi closer than this (in log) are one.
_APART = 0.04
#: Height of the autocorrelation below which the probability is discounted. Of 1,485 labelled tracks 23 lie below it, right seven
#: times in ten; damaged sound looks like them, and the model may be sure of its level all the same.
_FIRM_PULSE = 0.35
FEATURES: tuple[str, ...] = (
    "log_score",
    "full_score",
    "low_score",
    *(f"{band}_lag_{ratio:.3f}" for band in ("full", "low") for ratio in LAG_RATIOS),
    *(f"{band}_rate_{ratio:.3f}" for band in ("full", "low") for ratio in RATE_RATIOS),
    *EVENT_FEATURES,
)
#: Standard deviations beyond which a feature tells no more: music unlike that of the fitting is not to be decided by one of them.
_FURTHEST = 6.0


@dataclass(frozen=True, slots=True)
class TempoModel:
    """Weights of the conditional logit, for standardised features."""

    mean: "NDArray[np.float64]"
    deviation: "NDArray[np.float64]"
    weight: "NDArray[np.float64]"
    #: Factor on the log odds that makes the probabilities true for kinds of music left out of the fitting.
    sharpness: float

    def probabilities(self, features: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Return the probability of each candidate, shape (candidates,), from features of shape (candidates, 194)."""
        odds = standardised(features, self.mean, self.deviation) @ self.weight * self.sharpness
        odds = np.exp(odds - odds.max())
        return np.asarray(odds / odds.sum())


def standardised(
    features: "NDArray[np.float64]", mean: "NDArray[np.float64]", deviation: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """Return features in standard deviations from the mean, six at the most."""
    return np.clip((features - mean) / deviation, -_FURTHEST, _FURTHEST)


def certainty(probability: float, pulse: float) -> float:
    """Return the confidence in a reading: its probability among the readings, less where the onsets hardly repeat.

    The probability says which level it is if there is a beat; `pulse`, in [0, 1], is the evidence that there is one.
    """
    return probability * min(1.0, pulse / _FIRM_PULSE)


@lru_cache(maxsize=1)
def load_model() -> TempoModel:
    """Return the model that comes with the package."""
    text = resources.files("map4_pipeline.audio").joinpath("tempo_model.json").read_text(encoding="utf-8")
    data = json.loads(text)
    if tuple(data["features"]) != FEATURES:
        raise RuntimeError("tempo_model.json was made for other features: run benchmarks/train_tempo.py")
    return TempoModel(
        np.array(data["mean"]), np.array(data["deviation"]), np.array(data["weight"]), float(data.get("sharpness", 1.0))
    )


def candidates(full: Tempogram, low: Tempogram, rhythm: EventRhythm) -> "tuple[list[float], NDArray[np.float64]]":
    """Return tempi (BPM) that may be the beat, the most plausible first by score alone, and their features.

    Returns
    -------
    tempi : list of float
    features : ndarray, shape (len(tempi), 194)
    """
    full_score, low_score = _normalised(full), _normalised(low)
    prior = np.exp(-0.5 * (np.log2(GRID / PRIOR_BPM) / PRIOR_OCTAVES) ** 2)
    score = (full_score + 0.5 * low_score) * prior
    tempi = [float(GRID[k]) for k in _peaks(score, 6)]
    for bpm in tempi[:3]:
        for level in _LEVELS:
            other = bpm * level
            if GRID[0] <= other <= GRID[-1] and all(abs(math.log(other / t)) > _APART for t in tempi):
                tempi.append(other)
    rows = []
    for bpm in tempi:
        k = int(np.argmin(np.abs(GRID - bpm)))
        row = [math.log(float(score[k]) + 1e-3), float(full_score[k]), float(low_score[k])]
        row += [part.at_lag(ratio, bpm) for part in (full, low) for ratio in LAG_RATIOS]
        row += [part.at_rate(ratio, bpm) for part in (full, low) for ratio in RATE_RATIOS]
        row += rhythm.describe(bpm).tolist()
        rows.append(row)
    return tempi, np.array(rows)


def _normalised(part: Tempogram) -> "NDArray[np.float64]":
    mean = part.score.mean(axis=0, dtype=np.float64)
    return np.asarray(mean / (mean.max() + 1e-9))


def _peaks(score: "NDArray[np.float64]", count: int) -> list[int]:
    """Return the positions of the highest local maxima that lie apart, the highest first."""
    order = np.flatnonzero((score[1:-1] > score[:-2]) & (score[1:-1] >= score[2:])) + 1
    chosen = [int(np.argmax(score))]
    for k in order[np.argsort(-score[order], kind="stable")]:
        if len(chosen) == count:
            break
        if all(abs(math.log(GRID[k] / GRID[c])) > _APART for c in chosen):
            chosen.append(int(k))
    return chosen
