"""What is struck when: kick, snare, hi-hat, bass, other notes, and where the sound changes.

Which of two tempi an octave apart is the beat, and on which onsets it falls, is told by who plays there: the snare answers the
kick on every other beat, the bass moves with the bar. A small network (one hidden layer over five frames of the mel bands) tells
how likely each is struck in a frame. `event_model.json` holds its weights and says what they were fitted on;
`benchmarks/train_events.py` makes it and prints how well it hears pieces that it was not fitted on.
"""

import json
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import scipy.special

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Columns of the events: five probabilities, then how suddenly the sound, and the bass, changes.
EVENTS = ("kick", "snare", "hat", "bass", "note", "change", "bass_change")
#: Columns that the network gives.
STRUCK = 5
#: Frames round the one that is judged, and how many are needed before and after it.
CONTEXT = (-2, 0, 1, 3)
BEFORE, AFTER = 2, 3
#: Frames averaged before the sound is compared with itself, and the spans compared, in such averages (0.28 s).
DECIMATION = 4
_SPAN = 6
#: Bands compared: all but the hi-hats', and the bass.
_PITCHED, _DEEP = 28, 8
#: Averages (1 s) over which a change stands out.
_NEAR = 21
#: Averages compared at once: bounds the memory for mixes of hours.
_CHUNK = 1 << 12


@lru_cache(maxsize=1)
def _model() -> "tuple[NDArray[np.float32], ...]":
    text = resources.files("map4_pipeline.audio").joinpath("event_model.json").read_text(encoding="utf-8")
    data = json.loads(text)
    if tuple(data["events"]) != EVENTS[:STRUCK] or tuple(data["context"]) != CONTEXT:
        raise RuntimeError("event_model.json was made for other events: run benchmarks/train_events.py")
    return tuple(np.array(data[name], np.float32) for name in ("hidden", "hidden_bias", "output", "output_bias"))


def struck(log: "NDArray[np.float32]", model: "tuple[NDArray[np.float32], ...] | None" = None) -> "NDArray[np.float32]":
    """Return the probability that each instrument is struck, shape (n, 5).

    Parameters
    ----------
    log : ndarray, shape (2 + n + 3, 40)
        Compressed mel power as in `rhythm.onset_strength`, with two frames before the first that is judged and three after the
        last.
    model : tuple of ndarray, optional
        Weights (frames of the context, 40, hidden), (hidden,), (hidden, 5), (5,); by default those that come with the package.
    """
    hidden, hidden_bias, output, output_bias = model or _model()
    count, width = len(log) - BEFORE - AFTER, len(hidden_bias)
    products = log @ hidden.transpose(1, 0, 2).reshape(log.shape[1], -1)
    total = np.broadcast_to(hidden_bias, (count, width)).copy()
    for k, shift in enumerate(CONTEXT):
        total += products[BEFORE + shift : BEFORE + shift + count, k * width : (k + 1) * width]
    np.maximum(total, 0, out=total)
    return np.asarray(scipy.special.expit(total @ output + output_bias))


def changes(log: "NDArray[np.float32]", count: int) -> "NDArray[np.float32]":
    """Return how much the sound and the bass change, over the mean of the second round it, shape (count, 2), mean about 1.

    Parameters
    ----------
    log : ndarray, shape (count // 4, 28)
        Means of four frames of the lowest bands, compressed.
    count : int
        Rhythm frames.
    """
    out = np.zeros((count, 2), np.float32)
    length = len(log)
    if length < 4 * _SPAN:
        return out
    distances = np.zeros((2, length))
    compared = np.zeros((log.shape[1], 2), np.float32)
    compared[:_PITCHED, 0] = compared[:_DEEP, 1] = 1.0
    for start in range(0, length - 2 * _SPAN + 1, _CHUNK):
        piece = log[start : start + _CHUNK + 2 * _SPAN - 1]
        mean = sum((piece[k : len(piece) - _SPAN + 1 + k] for k in range(1, _SPAN)), piece[: len(piece) - _SPAN + 1])
        mean = mean / np.float32(_SPAN)
        square = (mean[_SPAN:] - mean[:-_SPAN]) ** 2
        distances[:, start + _SPAN : start + _SPAN + len(square)] = np.sqrt(square @ compared).T
    where = np.arange(count) / DECIMATION
    for column, distance in enumerate(distances):
        usual = np.convolve(distance, np.full(_NEAR, 1 / _NEAR), "same") if length >= _NEAR else distance.mean()
        sudden = np.maximum(distance - usual, 0) / (distance.mean() + 1e-6)
        # The difference of what follows and what precedes average k peaks at its start.
        out[:, column] = np.interp(where, np.arange(length), sudden)
    return out
