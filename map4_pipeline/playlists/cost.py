"""What a set costs, part by part, and which wishes it breaks: the plain definition that the search has to agree with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from map4_pipeline.playlists.curves import energy_errors
from map4_pipeline.playlists.problem import USUAL_DRIFT, Problem, drift, key_steps


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a set, from 0 (perfect) to 1, and the parts that sum to it.

    Attributes
    ----------
    total : float
    transition, weakest, energy, tempo : float
        Their shares of the total, weighted.
    mean_score, weakest_score : float or None
        Of the transitions; None for a set of one track.
    energy_error : float or None
        Mean distance from the curve, in ranges of the candidates' energy; None without a curve.
    mean_drift, largest_drift : float or None
        Tempo change of a step in percent, half and double tempo counted as the same; None where no tempo is known.
    """

    total: float
    transition: float
    weakest: float
    energy: float
    tempo: float
    mean_score: float | None
    weakest_score: float | None
    energy_error: float | None
    mean_drift: float | None
    largest_drift: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {name: _rounded(getattr(self, name)) for name in self.__dataclass_fields__}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def cost_of(problem: Problem, order: Sequence[int]) -> Cost:
    """Return the cost of an order of rows of the problem's pool. Broken wishes cost nothing here: see `broken_wishes`."""
    rows = np.array(order, dtype=np.intp)
    pool, weights, curve = problem.pool, problem.weights, problem.wishes.curve
    energy_error = None
    if curve is not None:
        energy_error = float(energy_errors(curve, len(rows), pool.energy)[np.arange(len(rows)), rows].mean())
    energy = weights.energy * (energy_error or 0.0)
    if len(rows) < 2:
        return Cost(energy, 0.0, 0.0, energy, 0.0, None, None, energy_error, None, None)
    scores = problem.scores[rows[:-1], rows[1:]].astype(np.float64)
    changes = drift(pool.bpm[rows[:-1]], pool.bpm[rows[1:]])
    allowed = USUAL_DRIFT if problem.wishes.max_drift is None else problem.wishes.max_drift
    whole = max(math.log2(1 + allowed / 100), 1e-6)
    shares = np.where(np.isfinite(changes), np.minimum(np.log2(1 + changes / 100) / whole, 1), 0.5)
    known = changes[np.isfinite(changes)]
    transition = weights.transition * float((1 - scores).mean())
    weakest = weights.weakest * float(1 - scores.min())
    tempo = weights.tempo * float(shares.mean())
    return Cost(
        transition + weakest + energy + tempo,
        transition,
        weakest,
        energy,
        tempo,
        float(scores.mean()),
        float(scores.min()),
        energy_error,
        float(known.mean()) if len(known) else None,
        float(known.max()) if len(known) else None,
    )


def broken_wishes(problem: Problem, order: Sequence[int]) -> list[str]:
    """Return a sentence for each wish that an order breaks; none for a set that may be shown."""
    wishes, pool = problem.wishes, problem.pool
    ids = [int(pool.ids[row]) for row in order]
    found = []
    if len(set(ids)) < len(ids):
        found.append("a track comes twice")
    if wishes.tracks is not None and not wishes.tracks[0] <= len(ids) <= wishes.tracks[1]:
        found.append(f"{len(ids)} tracks")
    seconds = float(pool.duration[list(order)].sum())
    low, high = wishes.seconds
    if wishes.minutes is not None and not low <= seconds <= high:
        found.append(f"{seconds / 60:.1f} minutes")
    if wishes.start is not None and ids[0] != wishes.start:
        found.append("another start")
    if wishes.end is not None and ids[-1] != wishes.end:
        found.append("another end")
    found += [f"without {id_}" for id_ in wishes.must if id_ not in ids]
    found += [f"{id_} was excluded" for id_ in ids if id_ in wishes.excluded]
    artists = pool.artist[list(order)]
    for apart in range(1, min(wishes.artist_gap, len(ids))):
        found += [f"one artist {apart} apart" for _ in np.flatnonzero(artists[apart:] == artists[:-apart])]
    pairs = {frozenset(pair) for pair in wishes.apart}
    compatible = None if wishes.keys is None else key_steps(wishes.keys)
    for first, second in zip(order, list(order)[1:], strict=False):
        said = f"{pool.ids[first]} to {pool.ids[second]}: "
        if frozenset((int(pool.ids[first]), int(pool.ids[second]))) in pairs:
            found.append(said + "never adjacent")
        change = float(drift(pool.bpm[first : first + 1], pool.bpm[second : second + 1])[0])
        if wishes.max_drift is not None and not change <= wishes.max_drift + 2e-4:
            found.append(said + f"{change:.2f}%")
        if compatible is not None and (pool.key[first] < 0 or pool.key[second] < 0):
            found.append(said + "no key")
        elif compatible is not None and not compatible[pool.key[first], pool.key[second]]:
            found.append(said + "keys")
        if wishes.min_score is not None and problem.scores[first, second] < np.float32(wishes.min_score):
            found.append(said + "score")
    return found
