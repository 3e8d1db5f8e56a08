"""The best order of some tracks: the path through all of them whose transitions score most together.

Up to `EXACT` tracks it is found exactly (Held and Karp 1962). Beyond, paths that begin at each track in turn and always go to the
best next one are improved until nothing helps: a stretch is moved elsewhere (Or 1976) or turned round (2-opt), scores being those
of the direction played. That is no proof of the best; no random choice is made, so the same tracks have the same order.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Scores = NDArray[np.floating]

#: So many tracks are ordered exactly: 12 take a tenth of a second, every one more twice as long.
EXACT = 12
#: Beginnings that are improved beyond that.
_STARTS = 8
#: Longest stretch that is moved.
_STRETCH = 3
_GAIN = 1e-9


@dataclass(frozen=True, slots=True)
class Order:
    """An order.

    Attributes
    ----------
    places : tuple of int
        The tracks' numbers in the order they are played.
    total : float
        Sum of the scores of its transitions.
    exact : bool
        No order scores more.
    """

    places: tuple[int, ...]
    total: float
    exact: bool


def best_order(scores: "Scores") -> Order:
    """Return the order with the greatest sum of scores.

    Parameters
    ----------
    scores : array, shape (n, n)
        Row i, column j: from track i to track j. The diagonal does not count.
    """
    table = np.asarray(scores, dtype=np.float64)
    count = len(table)
    if count < 2:
        return Order(tuple(range(count)), 0.0, True)
    places = _exact(table) if count <= EXACT else _searched(table)
    return Order(tuple(places), path_score(table, places), count <= EXACT)


def path_score(scores: "Scores", places: "list[int] | tuple[int, ...]") -> float:
    """Return the sum of the transitions along an order."""
    return float(sum(scores[a, b] for a, b in pairwise(places)))


def _exact(scores: "Scores") -> list[int]:
    """Return the best path: for each set of tracks and each last one, the best path through the set."""
    count = len(scores)
    best = np.full((1 << count, count), -np.inf)
    before = np.full((1 << count, count), -1, dtype=np.int8)
    for track in range(count):
        best[1 << track, track] = 0.0
    bits = 1 << np.arange(count)
    for visited in range(1, 1 << count):
        rest = np.flatnonzero(~visited & bits)
        if not len(rest):
            continue
        reached = best[visited][:, None] + scores[:, rest]
        last = reached.argmax(axis=0)
        grown = visited | bits[rest]
        best[grown, rest] = reached[last, np.arange(len(rest))]
        before[grown, rest] = last
    visited = (1 << count) - 1
    path = [int(best[visited].argmax())]
    while (last := int(before[visited, path[-1]])) >= 0:
        visited ^= 1 << path[-1]
        path.append(last)
    return path[::-1]


def _searched(scores: "Scores") -> list[int]:
    count = len(scores)
    open_scores = scores.copy()
    np.fill_diagonal(open_scores, -np.inf)
    greedy = [_greedy(open_scores, start) for start in range(count)]
    greedy.sort(key=lambda path: -path_score(scores, path))
    improved = [_improved(scores, path) for path in greedy[:_STARTS]]
    return max(improved, key=lambda path: path_score(scores, path))


def _greedy(scores: "Scores", start: int) -> list[int]:
    path, free = [start], np.ones(len(scores), bool)
    free[start] = False
    while len(path) < len(scores):
        following = int(np.where(free, scores[path[-1]], -np.inf).argmax())
        path.append(following)
        free[following] = False
    return path


def _improved(scores: "Scores", path: list[int]) -> list[int]:
    """Return the path after the best move or turn has been made again and again until none gains."""
    while True:
        gain, better = max((_best_turn(scores, path), _best_move(scores, path)), key=lambda found: found[0])
        if gain <= _GAIN:
            return path
        path = better


def _best_turn(scores: "Scores", path: list[int]) -> tuple[float, list[int]]:
    """Return the gain of turning the best stretch round, and the path it gives."""
    order = np.array(path)
    count = len(order)
    steps = scores[order[:-1], order[1:]]
    backs = scores[order[1:], order[:-1]]
    # inside[i, j]: what is gained within the stretch i..j by playing it backwards
    sums = np.concatenate(([0.0], np.cumsum(backs - steps)))
    inside = sums[None, :] - sums[:, None]
    gain = inside
    first, last = np.arange(count)[:, None], np.arange(count)[None, :]
    left, right = np.maximum(first - 1, 0), np.minimum(last + 1, count - 1)
    gain = gain + np.where(first > 0, scores[order[left], order[last]] - scores[order[left], order[first]], 0.0)
    gain = gain + np.where(last < count - 1, scores[order[first], order[right]] - scores[order[last], order[right]], 0.0)
    gain[first >= last] = -np.inf
    i, j = np.unravel_index(int(gain.argmax()), gain.shape)
    return float(gain[i, j]), path[:i] + path[i : j + 1][::-1] + path[j + 1 :]


def _best_move(scores: "Scores", path: list[int]) -> tuple[float, list[int]]:
    """Return the gain of moving the best stretch of up to three tracks, and the path it gives."""
    best, found = -np.inf, path
    for length in range(1, min(_STRETCH, len(path) - 1) + 1):
        for start in range(len(path) - length + 1):
            stretch, rest = path[start : start + length], path[:start] + path[start + length :]
            order = np.array(rest)
            gaps = scores[order[:-1], order[1:]]
            there = np.full(len(rest) + 1, 0.0)
            there[1:] += scores[order, stretch[0]]
            there[:-1] += scores[stretch[-1], order]
            there[1:-1] -= gaps
            here = there[start]
            there[start] = -np.inf
            place = int(there.argmax())
            if there[place] - here > best:
                best, found = float(there[place] - here), rest[:place] + stretch + rest[place:]
    return best, found
