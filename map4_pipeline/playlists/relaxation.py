"""The set problem without its hardest rule, that no track comes twice: a shortest path through positions.

Dynamic programming solves it exactly. Its cost is a lower bound of every set's, and what the rest of a path costs from a track
at a position guides the search. Prices on tracks (Lagrange multipliers, found by subgradient steps: Held and Karp 1971, Fisher
1981) make tracks that come too often dear and tracks that have to come cheap, which raises the bound towards the truth.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 128
#: A subgradient's step is halved after so many without a better bound.
_PATIENCE = 5


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """The best prices found.

    Attributes
    ----------
    bound : float
        No set costs less.
    prices : ndarray of float64, shape (n,)
        What a visit of a track costs beside.
    rest : ndarray of float64, shape (length, n)
        Cost of the cheapest path from a track at a position to the end, both with prices.
    """

    bound: float
    prices: "NDArray[np.float64]"
    rest: "NDArray[np.float64]"


def costs_to_end(steps: "NDArray[np.floating]", nodes: "NDArray[np.floating]") -> "NDArray[np.floating]":
    """Return what the cheapest path from each track at each position to the last position costs.

    Parameters
    ----------
    steps : ndarray, shape (n, n)
        Cost of each step.
    nodes : ndarray, shape (length, n)
        Cost of each track at each position; infinite where it may not stand.

    Returns
    -------
    ndarray, shape (length, n)
        With the node's own cost.
    """
    length, count = nodes.shape
    rest = np.empty_like(nodes)
    rest[-1] = nodes[-1]
    buffer = np.empty((_BLOCK, count), dtype=nodes.dtype)
    for position in range(length - 2, -1, -1):
        for begin in range(0, count, _BLOCK):
            block = steps[begin : begin + _BLOCK]
            np.add(block, rest[position + 1], out=buffer[: len(block)])
            rest[position, begin : begin + _BLOCK] = buffer[: len(block)].min(axis=1)
        rest[position] += nodes[position]
    return rest


def costs_from_start(steps: "NDArray[np.floating]", nodes: "NDArray[np.floating]") -> "NDArray[np.floating]":
    """Return what the cheapest path from the first position to each track at each position costs, shape (length, n)."""
    length, count = nodes.shape
    so_far = np.empty_like(nodes)
    so_far[0] = nodes[0]
    buffer = np.empty((_BLOCK, count), dtype=nodes.dtype)
    for position in range(1, length):
        best = np.full(count, np.inf, dtype=nodes.dtype)
        for begin in range(0, count, _BLOCK):
            block = steps[begin : begin + _BLOCK]
            np.add(block, so_far[position - 1, begin : begin + _BLOCK, None], out=buffer[: len(block)])
            np.minimum(best, buffer[: len(block)].min(axis=0), out=best)
        so_far[position] = best + nodes[position]
    return so_far


def cheapest_path(steps: "NDArray[np.floating]", rest: "NDArray[np.floating]") -> "NDArray[np.intp]":
    """Return the tracks of a cheapest path, shape (length,); a track may come again."""
    path = [int(rest[0].argmin())]
    for position in range(1, len(rest)):
        path.append(int((steps[path[-1]] + rest[position]).argmin()))
    return np.array(path, dtype=np.intp)


def find_prices(
    steps: "NDArray[np.float64]",
    nodes: "NDArray[np.float64]",
    must: "NDArray[np.intp]",
    rounds: int,
    known_cost: float | None = None,
) -> Prices:
    """Return the best of `rounds` subgradient steps.

    Parameters
    ----------
    must : ndarray of intp
        Tracks that have to come once; the others may come once.
    known_cost : float, optional
        Cost of a set, from which the size of the steps follows.
    """
    count = nodes.shape[1]
    prices = np.zeros(count)
    free = np.ones(count, dtype=bool)
    free[must] = False
    best: Prices | None = None
    scale, stale = 1.0, 0
    for _ in range(max(rounds, 1)):
        rest = costs_to_end(steps, nodes + prices)
        bound = float(rest[0].min() - prices.sum())
        if best is None or bound > best.bound + 1e-9:
            best, stale = Prices(bound, prices.copy(), rest.astype(np.float64, copy=False)), 0
        else:
            stale += 1
            if stale >= _PATIENCE:
                scale, stale = scale / 2, 0
        if not np.isfinite(bound):
            break
        visits = np.bincount(cheapest_path(steps, rest), minlength=count)
        slope = (visits - 1).astype(np.float64)
        # A free track that does not come has price 0 already, and a negative one is not allowed.
        slope[free & (prices <= 0) & (slope < 0)] = 0
        norm = float((slope**2).sum())
        if norm == 0:
            break
        gap = max((known_cost if known_cost is not None else bound + max(0.05 * abs(bound), 0.02)) - bound, 1e-6)
        prices = prices + scale * gap / norm * slope
        prices[free] = np.maximum(prices[free], 0)
    assert best is not None
    return best
