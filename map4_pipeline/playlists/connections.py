"""Which track may follow which, and whether the tracks that have to be in a set can be reached from each other in time."""

from dataclasses import replace
from itertools import pairwise, permutations
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.playlists.lengths import possible_lengths
from map4_pipeline.playlists.problem import FORBIDDEN, Problem, drift, make_problem
from map4_pipeline.playlists.wishes import Conflict, Weights, Wishes

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Must-plays whose best order is looked for exactly; of more, pairs are looked at.
_ORDERED = 6
#: Larger tempo changes are not proposed.
_MOST_DRIFT = 50.0


def graph_conflicts(problem: Problem) -> list[Conflict]:
    """Return which tracks that have to be in the set cannot be reached, or not in so many tracks."""
    wishes, must = problem.wishes, list(problem.must)
    limits = _limits(wishes)
    lengths = possible_lengths(problem.pool, wishes)
    if not limits or not lengths or lengths[-1] < 2:
        return []
    most = lengths[-1]
    allowed = problem.steps < FORBIDDEN / 2
    if not must:
        return [] if _longest_reach(allowed, lengths[0]) else [_nowhere(problem, limits, lengths[0])]
    ahead = {row: hops_from(allowed, row) for row in must}
    lonely = [row for row in must if not _has_neighbours(problem, allowed, row)]
    if lonely:
        return [_lonely(problem, row, limits) for row in lonely]
    for first in must:
        for second in must:
            if first == second or second == problem.start or first == problem.end:
                continue
            # Either order will do unless an end is fixed.
            there = ahead[first][second]
            if first != problem.start and second != problem.end:
                there = min(there, ahead[second][first])
            if there + 1 > most:
                return [_too_far(problem, first, second, float(there), most, limits)]
    least = _shortest_tour(problem, ahead)
    if least is not None and least + 1 > most:
        names = "; ".join(problem.pool.names[row] for row in must)
        far = "cannot be joined" if not np.isfinite(least) else f"need {least + 1:.0f} tracks"
        told = f"With {_listed(wishes, limits)}, start, end and must-plays ({names}) {far}; the set has {most} at most."
        return [Conflict((*limits, "must", "tracks"), told, "Allow more tracks, drop a must-play, or loosen that.")]
    return []


def hops_from(allowed: "NDArray[np.bool_]", row: int) -> "NDArray[np.float64]":
    """Return how many steps each track is away from one, infinite where there is no way."""
    hops = np.full(len(allowed), np.inf)
    hops[row] = 0
    reached = np.zeros(len(allowed), dtype=bool)
    reached[row] = True
    edge = np.array([row])
    step = 0
    while len(edge):
        step += 1
        new = allowed[edge].any(axis=0) & ~reached
        hops[new] = step
        reached |= new
        edge = np.flatnonzero(new)
    return hops


def _limits(wishes: Wishes) -> tuple[str, ...]:
    """Return the wishes that forbid steps."""
    named = {
        "max_drift": wishes.max_drift is not None,
        "keys": wishes.keys is not None,
        "min_score": wishes.min_score is not None,
        "apart": bool(wishes.apart),
    }
    return tuple(name for name, there in named.items() if there)


def _longest_reach(allowed: "NDArray[np.bool_]", length: int) -> bool:
    """Return whether there is a walk of so many tracks at all."""
    alive = np.arange(len(allowed))
    for _ in range(length - 1):
        left = alive[allowed[np.ix_(alive, alive)].any(axis=1)]
        if not len(left):
            return False
        if len(left) == len(alive):
            # Every track that was left has a next one: nothing will change.
            return True
        alive = left
    return True


def _has_neighbours(problem: Problem, allowed: "NDArray[np.bool_]", row: int) -> bool:
    into, out = bool(allowed[:, row].any()), bool(allowed[row].any())
    if row == problem.start:
        return out
    return into if row == problem.end else into or out


def _shortest_tour(problem: Problem, ahead: "dict[int, NDArray[np.float64]]") -> float | None:
    """Return the fewest steps through all required tracks, None where they are too many to try every order."""
    inner = [row for row in problem.must if row not in (problem.start, problem.end)]
    if len(inner) > _ORDERED:
        return None
    before = [] if problem.start is None else [problem.start]
    behind = [] if problem.end is None else [problem.end]
    return min(
        sum(float(ahead[first][second]) for first, second in pairwise([*before, *middle, *behind]))
        for middle in permutations(inner)
    )


def _nowhere(problem: Problem, limits: tuple[str, ...], length: int) -> Conflict:
    told = f"With {_listed(problem.wishes, limits)}, no {length} candidates follow one another."
    return Conflict((*limits, "tracks"), told, f"{_loosened(problem, limits)} Or widen the filter.")


def _lonely(problem: Problem, row: int, limits: tuple[str, ...]) -> Conflict:
    wish = "start" if row == problem.start else "end" if row == problem.end else "must"
    told = f"With {_listed(problem.wishes, limits)}, no candidate can stand next to {_about(problem, row)}."
    remedy = _loosened(problem, limits)
    if "max_drift" in limits:
        others = np.delete(problem.pool.bpm, row)
        nearest = float(np.nanmin(drift(problem.pool.bpm[row : row + 1], others))) if len(others) else np.inf
        if nearest > (problem.wishes.max_drift or 0) and nearest <= _MOST_DRIFT:
            remedy = f"The nearest tempo is {nearest:.1f}% away: allow that, or widen the filter."
    return Conflict((*limits, wish), told, remedy)


def _too_far(problem: Problem, first: int, second: int, steps: float, most: int, limits: tuple[str, ...]) -> Conflict:
    wishes = []
    for row in (first, second):
        wishes.append("start" if row == problem.start else "end" if row == problem.end else "must")
    a, b = _about(problem, first), _about(problem, second)
    if np.isfinite(steps):
        told = f"With {_listed(problem.wishes, limits)}, it takes {steps + 1:.0f} tracks to get from {a} to {b}; "
        told += f"the set has {most} at most."
        remedy = f"Allow {steps + 1:.0f} tracks, or loosen that."
    else:
        told = f"With {_listed(problem.wishes, limits)}, no row of candidates leads from {a} to {b}."
        remedy = _loosened(problem, limits)
    if "max_drift" in limits:
        enough = _drift_that_connects(problem, first, second, most)
        if enough is not None:
            remedy = f"A tempo change of {enough:g}% a step would do, or widen the filter."
    return Conflict((*limits, *wishes, *(("tracks",) if np.isfinite(steps) else ())), told, remedy)


def _drift_that_connects(problem: Problem, first: int, second: int, most: int) -> float | None:
    """Return the smallest whole percentage with which the second track is reached in time, None when none does."""
    low = int(problem.wishes.max_drift or 0) + 1
    for percent in (*range(low, 13), 15, 20, 25, 30, 40, 50):
        if percent < low:
            continue
        wider = make_problem(problem.pool, problem.scores, replace(problem.wishes, max_drift=float(percent)), Weights())
        if hops_from(wider.steps < FORBIDDEN / 2, first)[second] + 1 <= most:
            return float(percent)
    return None


def _loosened(problem: Problem, limits: tuple[str, ...]) -> str:
    said = {
        "max_drift": "a larger tempo change",
        "keys": "keys of the extended policy" if problem.wishes.keys == "strict" else "any key",
        "min_score": "a lower score",
        "apart": "the pairs to be adjacent",
    }
    return f"Allow {' or '.join(said[name] for name in limits)}."


def _listed(wishes: Wishes, limits: tuple[str, ...]) -> str:
    said = {
        "max_drift": f"a tempo change of at most {wishes.max_drift:g}% a step" if wishes.max_drift is not None else "",
        "keys": f"compatible keys only ({wishes.keys})",
        "min_score": f"no score under {wishes.min_score:g}" if wishes.min_score is not None else "",
        "apart": "the pairs that are never adjacent",
    }
    return " and ".join(said[name] for name in limits)


def _about(problem: Problem, row: int) -> str:
    bpm = problem.pool.bpm[row]
    return f"{problem.pool.names[row]}{f' ({bpm:.1f} BPM)' if np.isfinite(bpm) else ''}"
