"""The part of a problem that the search works in: some hundred promising tracks, one length, costs ready to be summed.

Everything is evaluated in batches: a move is a row of an array of orders, and numpy sums thousands of them at once.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.playlists.problem import Problem
from map4_pipeline.playlists.relaxation import costs_from_start, costs_to_end

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Orders = NDArray[np.intp]
    Costs = NDArray[np.float64]

#: Cost of an artist too near, and of each minute outside the wished length: more than any set costs.
BROKEN = 30.0
#: How strongly the choice of tracks for the arena leans to the length that a set's tracks have to have on average.
_LENGTH_LEAN = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Arena:
    """Tracks 0 to k - 1 of an arena are rows `rows` of the problem's pool.

    Attributes
    ----------
    steps, scores : ndarray, shape (k, k)
        Cost of a step as a part of the set's total, and its score.
    nodes : ndarray, shape (length, k)
        Cost of a track at a position as a part of the total.
    artist, seconds : ndarray, shape (k,)
    low, high : float
        Bounds of the set's length in seconds.
    gap : int
        No artist twice among so many tracks in a row.
    weakest : float
        Weight of the weakest transition.
    start, end : int or None
    must : ndarray of bool, shape (k,)
    """

    rows: "NDArray[np.intp]"
    steps: "Costs"
    scores: "Costs"
    nodes: "Costs"
    artist: "NDArray[np.int64]"
    seconds: "Costs"
    low: float
    high: float
    gap: int
    weakest: float
    start: int | None
    end: int | None
    must: "NDArray[np.bool_]"

    @property
    def length(self) -> int:
        """Number of positions."""
        return len(self.nodes)

    @property
    def timed(self) -> bool:
        """Whether the length in seconds matters."""
        return np.isfinite(self.high) or self.low > 0

    def open_nodes(self) -> "Costs":
        """Return the nodes with start and end in their places and nowhere else, for paths."""
        return _with_ends(self.nodes, self.start, self.end).astype(np.float64, copy=False)

    def free_positions(self) -> "NDArray[np.intp]":
        """Return the positions that are neither a wished start nor a wished end."""
        first, last = int(self.start is not None), self.length - int(self.end is not None)
        return np.arange(first, last)

    def totals(self, orders: "Orders") -> "Costs":
        """Return the cost of each order, broken wishes included, shape (m,) for orders of shape (m, length)."""
        count = len(self.rows)
        total = self.nodes.ravel().take(orders + count * np.arange(self.length)).sum(axis=1)
        if self.length > 1:
            arcs = orders[:, :-1] * count + orders[:, 1:]
            total += self.steps.ravel().take(arcs).sum(axis=1)
            if self.weakest:
                total += self.weakest * (1 - self.scores.ravel().take(arcs).min(axis=1))
        if self.gap > 1:
            artists = self.artist.take(orders)
            for apart in range(1, min(self.gap, self.length)):
                total += BROKEN * (artists[:, apart:] == artists[:, :-apart]).sum(axis=1)
        if self.timed:
            total += self.overrun(self.seconds.take(orders).sum(axis=1))
        return np.asarray(total)

    def overrun(self, seconds: "Costs") -> "Costs":
        """Return what a set of so many seconds costs for being too short or too long."""
        outside = np.maximum(self.low - seconds, seconds - self.high)
        return np.where(outside > 0, BROKEN * (1 + outside / 60), 0.0)

    def replacements(self, order: "Orders") -> "tuple[NDArray[np.intp], Costs]":
        """Return what an order costs with the track at one position replaced by each track of the arena.

        Returns
        -------
        positions : ndarray, shape (p,)
            Those whose track may go.
        totals : ndarray, shape (p, k)
            Infinite for tracks that are in the order.
        """
        length = self.length
        places = self.free_positions()
        places = places[~self.must[order[places]]]
        if not len(places):
            return places, np.zeros((0, len(self.rows)))
        total = np.zeros((len(places), len(self.rows)))
        arcs = self.steps[order[:-1], order[1:]]
        scores = self.scores[order[:-1], order[1:]]
        padded = np.concatenate(([0.0], arcs, [0.0]))
        total += (arcs.sum() - padded[places] - padded[places + 1])[:, None]
        held = self.nodes[np.arange(length), order]
        total += (held.sum() - held[places])[:, None]
        total += self.nodes[places]
        # The weakest of the steps that stay: before the one into a position, and behind the one out of it.
        before = np.concatenate(([1.0, 1.0], np.minimum.accumulate(scores)))[places]
        behind = np.concatenate((np.minimum.accumulate(scores[::-1])[::-1], [1.0, 1.0]))[places + 1]
        weakest = np.broadcast_to(np.minimum(before, behind)[:, None], total.shape).copy()
        inner = places > 0
        total[inner] += self.steps[order[places[inner] - 1]]
        weakest[inner] = np.minimum(weakest[inner], self.scores[order[places[inner] - 1]])
        inner = places < length - 1
        total[inner] += self.steps.T[order[places[inner] + 1]]
        weakest[inner] = np.minimum(weakest[inner], self.scores.T[order[places[inner] + 1]])
        if self.weakest:
            total += self.weakest * (1 - weakest)
        if self.gap > 1:
            total += BROKEN * self._clashes(order, places)
        if self.timed:
            seconds = self.seconds[order]
            total += self.overrun((seconds.sum() - seconds[places])[:, None] + self.seconds[None, :])
        total[:, order] = np.inf
        return places, total

    def _clashes(self, order: "Orders", places: "NDArray[np.intp]") -> "Costs":
        """Return how many pairs of an artist too near an order has with each track at each of the places."""
        artists = self.artist[order]
        found = np.zeros((len(places), len(self.rows)))
        for apart in range(1, min(self.gap, self.length)):
            same = artists[apart:] == artists[:-apart]
            for side in (-apart, apart):
                near = places + side
                there = (near >= 0) & (near < self.length)
                found[there] += artists[near[there]][:, None] == self.artist[None, :]
            # Pairs that the position has no part in stay.
            first = np.arange(len(same))
            touched = (places[:, None] == first) | (places[:, None] == first + apart)
            found += (same[None, :] & ~touched).sum(axis=1)[:, None]
        return found


def make_arena(problem: Problem, length: int, rows: "NDArray[np.intp]") -> Arena:
    """Return the arena of some rows of a problem's pool and a length."""
    each_step, each_node = 1 / max(length - 1, 1), 1 / length
    low, high = problem.wishes.seconds
    must = np.isin(rows, np.array(problem.must, dtype=np.intp))
    place = {int(row): index for index, row in enumerate(rows)}
    grid = np.ix_(rows, rows)
    return Arena(
        rows,
        problem.steps[grid].astype(np.float64) * each_step,
        problem.scores[grid].astype(np.float64),
        problem.energy_costs(length)[:, rows] * each_node,
        problem.pool.artist[rows],
        np.nan_to_num(problem.pool.duration[rows]),
        low,
        high,
        problem.wishes.artist_gap,
        problem.weights.weakest,
        None if problem.start is None else place[problem.start],
        None if problem.end is None else place[problem.end],
        must,
    )


def promising_rows(problem: Problem, length: int, count: int) -> "NDArray[np.intp]":
    """Return the rows of the tracks that stand on the cheapest paths through the whole pool.

    The tracks are taken by turns over the positions, so that each part of the set has its own; the ones that have to be in it
    are always there.
    """
    size = len(problem.pool)
    if size <= count:
        return np.arange(size)
    nodes = _pool_nodes(problem, length)
    to_end, from_start = costs_to_end(problem.steps, nodes), costs_from_start(problem.steps, nodes)
    with np.errstate(invalid="ignore"):
        through = to_end + from_start - nodes
    through[np.isnan(through)] = np.inf
    if problem.wishes.minutes is not None:
        each = 60 * problem.wishes.minutes / length
        through += np.float32(_LENGTH_LEAN) * np.abs(problem.pool.duration / each - 1).astype(np.float32)
    ranks = np.argsort(np.argsort(through, axis=1, kind="stable"), axis=1, kind="stable").min(axis=0)
    ranks[list(problem.must)] = -1
    return np.sort(np.argsort(ranks, kind="stable")[: max(count, len(problem.must))])


def pool_bound(problem: Problem, length: int, rows: "NDArray[np.intp]", prices: "NDArray[np.float64]") -> float:
    """Return what every set of so many tracks of the whole pool costs at least, by prices of some rows; the others' are 0."""
    nodes = _pool_nodes(problem, length)
    each_step = 1 / max(length - 1, 1)
    nodes[:, rows] += (prices / each_step).astype(np.float32)
    cheapest = float(costs_to_end(problem.steps, nodes)[0].min()) * each_step - float(prices.sum())
    # Single precision: what its rounding may have added.
    return cheapest - 1e-5


def _pool_nodes(problem: Problem, length: int) -> "NDArray[np.float32]":
    """Return the costs of the whole pool's tracks at the positions in units of a step, so that steps need no copy."""
    nodes = problem.energy_costs(length) * (max(length - 1, 1) / length)
    return _with_ends(nodes, problem.start, problem.end).astype(np.float32)


def neighbouring_rows(problem: Problem, arena: Arena, order: "Orders", each: int) -> "NDArray[np.intp]":
    """Return the rows of the `each` tracks of the whole pool that would cost least in place of each track of an order."""
    rows = arena.rows[order]
    each_step, each_node = 1 / max(len(rows) - 1, 1), 1 / len(rows)
    energy = problem.energy_costs(len(rows))
    found = [rows, np.array(problem.must, dtype=np.intp)]
    for position in arena.free_positions():
        cost = energy[position] * each_node
        if position > 0:
            cost = cost + problem.steps[rows[position - 1]] * each_step
        if position < len(rows) - 1:
            cost = cost + problem.steps[:, rows[position + 1]] * each_step
        found.append(np.argsort(cost, kind="stable")[:each])
    return np.unique(np.concatenate(found))


def _with_ends(nodes: "NDArray[np.floating]", start: int | None, end: int | None) -> "NDArray[np.floating]":
    closed = nodes.copy()
    count = closed.shape[1]
    for track, position in ((start, 0), (end, len(nodes) - 1)):
        if track is not None:
            closed[position, np.arange(count) != track] = np.inf
            if len(nodes) > 1:
                closed[np.arange(len(nodes)) != position, track] = np.inf
    return closed
