"""Weights of the two conditional logits behind the beats: on which onsets the beat falls, and where the bar begins.

`beat_model.json` holds them and says what they were fitted on; `benchmarks/train_beats.py` makes it and prints how often they are
right about kinds of music left out of the fitting.
"""

import json
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@lru_cache(maxsize=1)
def _model() -> "dict[str, NDArray[np.float64]]":
    text = resources.files("map4_pipeline.audio").joinpath("beat_model.json").read_text("utf-8")
    model = json.loads(text)
    return {name: np.array(model[name], np.float64) for name in ("phase", "meter")}


def probabilities(name: str, features: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return the probability of each candidate, shape (candidates,), from its features, shape (candidates, features).

    Parameters
    ----------
    name : {"phase", "meter"}
        Features of `beats.phase_features` or of `meter.meter_features`.
    features : ndarray
    """
    odds = features @ _model()[name]
    odds = np.exp(odds - odds.max())
    return np.asarray(odds / odds.sum())
