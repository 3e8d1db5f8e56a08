"""The relaxation with a memory of one track more: paths whose state is a step, so that no track and no artist comes back at once.

The plain relaxation (`relaxation`) may go to and fro between two good tracks, and prices on tracks forbid that only in the mean.
Here every three tracks in a row are different, and of different artists where the wishes say so. What a path through a step costs
at the least is known for every step at every position, which rules out most of them. Two-cycle elimination for shortest paths:
Houck, Picard, Queyranne and Vemuganti 1980. The memory takes n^3 sums a position: for small problems.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Costs = NDArray[np.float64]

#: A subgradient's step is halved after so many without a better bound.
_PATIENCE = 6


@dataclass(frozen=True, slots=True, eq=False)
class StepPrices:
    """The best prices found.

    Attributes
    ----------
    bound : float
        No set costs less.
    through : list of ndarray of float64, shape (n, n)
        For each step of the set, what no set that goes from the row's track to the column's costs less than; infinite where none
        does.
    """

    bound: float
    through: "list[Costs]"


def find_step_prices(
    steps: "Costs",
    nodes: "Costs",
    apart: "NDArray[np.bool_]",
    must: "NDArray[np.intp]",
    rounds: int,
    known_cost: float | None = None,
) -> StepPrices:
    """Return the best of `rounds` subgradient steps.

    Parameters
    ----------
    steps : ndarray, shape (n, n)
        Cost of each step.
    nodes : ndarray, shape (length, n)
        Cost of each track at each position; infinite where it may not stand. Three positions and more.
    apart : ndarray of bool, shape (n, n)
        Tracks that must not have exactly one track between them: themselves, and those of one artist.
    must : ndarray of intp
        Tracks that have to come once; the others may come once.
    known_cost : float, optional
        Cost of a set, from which the size of the steps follows.
    """
    count = nodes.shape[1]
    prices = np.zeros(count)
    free = np.ones(count, dtype=bool)
    free[must] = False
    best_bound, best_prices = -np.inf, prices
    scale, stale = 2.0, 0
    forbidden = np.where(apart, np.inf, 0.0)
    for _ in range(max(rounds, 1)):
        rest = _rest(steps, nodes + prices, forbidden)
        bound = float(rest[0].min() - prices.sum())
        if bound > best_bound + 1e-9:
            best_bound, best_prices, stale = bound, prices, 0
        else:
            stale += 1
            if stale >= _PATIENCE:
                scale, stale = scale / 2, 0
        if not np.isfinite(bound) or (known_cost is not None and best_bound > known_cost):
            break
        visits = np.bincount(_cheapest(rest, forbidden), minlength=count)
        slope = (visits - 1).astype(np.float64)
        # A free track that does not come has price 0 already, and a negative one is not allowed.
        slope[free & (prices <= 0) & (slope < 0)] = 0
        norm = float((slope**2).sum())
        if norm == 0:
            break
        gap = max((known_cost if known_cost is not None else bound + max(0.05 * abs(bound), 0.02)) - bound, 1e-6)
        prices = prices + scale * gap / norm * slope
        prices[free] = np.maximum(prices[free], 0)
    if not np.isfinite(best_bound):
        return StepPrices(best_bound, [])
    priced = nodes + best_prices
    rest = _rest(steps, priced, forbidden)
    # Read from its end, a path is a path: the same sums tell what comes before a step.
    before = _rest(steps.T, priced[::-1], forbidden)[::-1]
    total = float(best_prices.sum())
    through = []
    for position, (behind, ahead) in enumerate(zip(before, rest, strict=True)):
        # Both have the step and the two tracks at its ends.
        twice = steps + priced[position][:, None] + priced[position + 1][None, :]
        through.append(np.where(np.isfinite(twice), ahead + behind.T - np.where(np.isfinite(twice), twice, 0.0) - total, np.inf))
    return StepPrices(best_bound, through)


def _rest(steps: "Costs", nodes: "Costs", forbidden: "Costs") -> "list[Costs]":
    """Return for each step what the cheapest path costs that begins with it, with its two tracks: shape (n, n) each."""
    last = steps + nodes[-2][:, None] + nodes[-1][None, :]
    rest = [last]
    for position in range(len(nodes) - 3, -1, -1):
        # The step i to j is followed by j to k, where k may not be apart from i by one: the cheapest k for every i and j.
        following = (rest[0][None, :, :] + forbidden[:, None, :]).min(axis=2)
        rest.insert(0, steps + nodes[position][:, None] + following)
    return rest


def _cheapest(rest: "list[Costs]", forbidden: "Costs") -> "NDArray[np.intp]":
    """Return the tracks of a cheapest path."""
    first, second = np.unravel_index(int(rest[0].argmin()), rest[0].shape)
    path = [int(first), int(second)]
    for costs in rest[1:]:
        path.append(int((costs[path[-1]] + forbidden[path[-2]]).argmin()))
    return np.array(path, dtype=np.intp)
