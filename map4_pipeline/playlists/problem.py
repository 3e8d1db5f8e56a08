"""Wishes and candidates as matrices: what every step costs, and which steps are not allowed."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from map4_pipeline.playlists.curves import energy_errors
from map4_pipeline.playlists.pool import Pool
from map4_pipeline.playlists.wishes import Weights, WishError, Wishes

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Cost of a step that a wish forbids, and of every other broken wish (each artist too near, each minute outside). A set without
#: one costs at most 1, so that no gain makes up for one.
FORBIDDEN = 1000.0
#: Tempo change of a step that counts as a whole one where no wish says how much is allowed, in percent: a player's pitch range.
USUAL_DRIFT = 8.0
#: Rounding of tempi is no tempo change.
DRIFT_EPSILON = 1e-6
#: Rows that are worked on at once, so that they stay in the processor's cache.
_BLOCK = 128


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A set to be built. Tracks are rows of `pool` from here on.

    Attributes
    ----------
    pool : Pool
        The candidates: those of the caller but for the ones left out.
    scores : ndarray of float32, shape (n, n)
        Score of the transition from the row's track to the column's.
    steps : ndarray of float32, shape (n, n)
        Cost of a step, at least `FORBIDDEN` where a wish forbids it, infinite from a track to itself.
    start, end : int or None
    must : tuple of int
        Start and end are among them.
    weights : Weights
        They sum to 1.
    left_out : dict
        {reason: how many candidates were left out for it}.
    """

    pool: Pool
    scores: "NDArray[np.float32]"
    steps: "NDArray[np.float32]"
    wishes: Wishes
    weights: Weights
    start: int | None
    end: int | None
    must: tuple[int, ...]
    left_out: dict[str, int]

    def energy_costs(self, length: int) -> "NDArray[np.float64]":
        """Return what each track costs at each position of a set of this length, shape (length, n)."""
        if self.wishes.curve is None:
            return np.zeros((length, len(self.pool)))
        return self.weights.energy * energy_errors(self.wishes.curve, length, self.pool.energy)


def usable_rows(pool: Pool, wishes: Wishes) -> "tuple[NDArray[np.intp], dict[str, int]]":
    """Return the candidates that may be in the set, and how many are left out for which reason."""
    keep = ~np.isin(pool.ids, np.array(wishes.excluded, dtype=np.int64))
    left_out = {"excluded": int((~keep).sum())}
    reasons: list[tuple[str, bool, NDArray[Any]]] = [
        ("no tempo", wishes.max_drift is not None, np.isfinite(pool.bpm)),
        ("no key", wishes.keys is not None, pool.key >= 0),
        ("no length", wishes.minutes is not None, np.isfinite(pool.duration)),
    ]
    for reason, asked, known in reasons:
        if asked:
            left_out[reason] = int((keep & ~known).sum())
            keep &= known
    return np.flatnonzero(keep), {reason: count for reason, count in left_out.items() if count}


def make_problem(pool: Pool, scores: "NDArray[np.float32]", wishes: Wishes, weights: Weights) -> Problem:
    """Return the problem of a pool, its transition scores and wishes.

    Parameters
    ----------
    scores : ndarray of float32, shape (n, n)
        In [0, 1]; the diagonal is not looked at.

    Raises
    ------
    ValueError
        When the scores do not fit the pool.
    WishError
        When all weights that count are 0.
    KeyError
        When a track that has to be in the set is not usable: `diagnosis.plain_conflicts` names it before.
    """
    if scores.shape != (len(pool), len(pool)):
        raise ValueError(f"{len(pool)} tracks have a matrix of {len(pool)} x {len(pool)} scores, not of {scores.shape}")
    rows, left_out = usable_rows(pool, wishes)
    if len(rows) < len(pool):
        pool, scores = pool.take(rows), scores[np.ix_(rows, rows)]
    weights = _normalised(weights, wishes)
    place = {int(id_): row for row, id_ in enumerate(pool.ids)}
    return Problem(
        pool,
        scores,
        _steps(pool, scores, wishes, weights),
        wishes,
        weights,
        None if wishes.start is None else place[wishes.start],
        None if wishes.end is None else place[wishes.end],
        tuple(place[id_] for id_ in wishes.required),
        left_out,
    )


def drift(bpm: "NDArray[np.float64]", to: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return the tempo change in percent between tempi that broadcast, the faster over the slower, after 1:2 or 2:1 where
    that is nearer; NaN where one is unknown.
    """
    octaves = np.abs(np.log2(bpm) - np.log2(to))
    return np.asarray(100 * (np.exp2(np.minimum(octaves, np.abs(octaves - 1))) - 1))


def key_steps(policy: str) -> "NDArray[np.bool_]":
    """Return which of the 24 Camelot places may follow which, shape (24, 24)."""
    places = np.arange(24)
    ring = (places[:, None] // 2 - places[None, :] // 2) % 12
    near, same_letter = (ring == 1) | (ring == 11), places[:, None] % 2 == places[None, :] % 2
    return np.asarray((ring == 0) | (near & (same_letter | (policy == "extended"))))


def _normalised(weights: Weights, wishes: Wishes) -> Weights:
    energy = 0.0 if wishes.curve is None else weights.energy
    total = weights.transition + weights.weakest + energy + weights.tempo
    if total <= 0:
        raise WishError("One weight at least has to be more than 0.")
    return Weights(weights.transition / total, weights.weakest / total, energy / total, weights.tempo / total)


def _steps(pool: Pool, scores: "NDArray[np.float32]", wishes: Wishes, weights: Weights) -> "NDArray[np.float32]":
    count = len(pool)
    steps = np.empty((count, count), dtype=np.float32)
    allowed = USUAL_DRIFT if wishes.max_drift is None else wishes.max_drift
    # In octaves, where the block-wise work is one subtraction; the percentage's share is nearly the octave's.
    tempo = np.log2(pool.bpm).astype(np.float32)
    whole = np.float32(max(math.log2(1 + allowed / 100), 1e-6))
    limit = None if wishes.max_drift is None else np.float32(math.log2(1 + (allowed + DRIFT_EPSILON) / 100) + 1e-6)
    compatible = None if wishes.keys is None else key_steps(wishes.keys)
    for begin in range(0, count, _BLOCK):
        block = slice(begin, begin + _BLOCK)
        score = scores[block]
        if not (np.min(score, initial=0.0) >= 0 and np.max(score, initial=0.0) <= 1):
            raise ValueError("a transition score is a number from 0 to 1")
        octaves = np.abs(tempo[block, None] - tempo[None, :])
        np.minimum(octaves, np.abs(octaves - 1), out=octaves)
        share = np.minimum(octaves / whole, 1)
        share[np.isnan(share)] = 0.5
        cost = np.float32(weights.transition) * (1 - score) + np.float32(weights.tempo) * share
        if limit is not None:
            cost += np.float32(FORBIDDEN) * (octaves > limit)
        if compatible is not None:
            cost += np.float32(FORBIDDEN) * ~compatible[pool.key[block, None], pool.key[None, :]]
        if wishes.min_score is not None:
            cost += np.float32(FORBIDDEN) * (score < np.float32(wishes.min_score))
        steps[block] = cost
    place = {int(id_): row for row, id_ in enumerate(pool.ids)}
    for first, second in wishes.apart:
        if first in place and second in place:
            steps[place[first], place[second]] += FORBIDDEN
            steps[place[second], place[first]] += FORBIDDEN
    np.fill_diagonal(steps, np.inf)
    return steps
