"""Making a set better: descents over all replacements and changes of order, and stretches torn out and filled anew.

Large-neighbourhood search (Shaw 1998; Ropke and Pisinger 2006): a round tears out a stretch or some tracks, fills the holes by a
small beam search, goes down to the next local optimum, and keeps the result if it is not much worse than what it came from
(a threshold that falls to nothing). Rounds are counted, not seconds, so that the same seed gives the same set.
"""

from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.playlists.arena import Arena
from map4_pipeline.playlists.beam import fill
from map4_pipeline.playlists.moves import permutations
from map4_pipeline.playlists.relaxation import costs_to_end

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Order = NDArray[np.intp]

_EPSILON = 1e-12
#: Permutations that are evaluated at once.
_BATCH = 1024
#: Longest stretch that is torn out, tracks that may fill it, partial sets side by side.
_STRETCH, _FILLERS, _WIDTH = 9, 140, 12
#: A round may end worse than it began by this share of the cost, at first.
_THRESHOLD = 0.06
#: After so many rounds without a better set, the search goes on from the best.
_RETURN = 60


def descend(arena: Arena, order: "Order", rng: "np.random.Generator") -> "tuple[Order, float]":
    """Return the local optimum below an order, and its cost: no replacement and no move of `moves` makes it cheaper."""
    order = order.copy()
    total = float(arena.totals(order[None, :])[0])
    table = permutations(arena.length, arena.start is not None, arena.end is not None)
    while True:
        before = total
        order, total = _replace(arena, order, total)
        # In an order of its own each time, or the first moves of the list would be preferred.
        shuffled = rng.permutation(len(table))
        for begin in range(0, len(table), _BATCH):
            orders = order[table[shuffled[begin : begin + _BATCH]]]
            totals = arena.totals(orders)
            best = int(totals.argmin())
            if totals[best] < total - _EPSILON:
                order, total = orders[best], float(totals[best])
        if total >= before - _EPSILON:
            return order, total


def _replace(arena: Arena, order: "Order", total: float) -> "tuple[Order, float]":
    """Replace tracks until no replacement of a single one gains: the best at each position at once where that gains most."""
    while True:
        places, totals = arena.replacements(order)
        if not totals.size:
            return order, total
        tracks = totals.argmin(axis=1)
        gains = total - totals[np.arange(len(places)), tracks]
        if gains.max() <= _EPSILON:
            return order, total
        # The sum is made anew each time: differences would drift.
        best = int(gains.argmax())
        single = order.copy()
        single[places[best]] = tracks[best]
        several = order.copy()
        touched: set[int] = set()
        taken: set[int] = set()
        for index in np.argsort(-gains, kind="stable"):
            place, track = int(places[index]), int(tracks[index])
            if gains[index] <= _EPSILON:
                break
            if track not in taken and not {place - 1, place, place + 1} & touched:
                several[place] = track
                touched.add(place)
                taken.add(track)
        candidates = np.stack((single, several))
        sums = arena.totals(candidates)
        chosen = int(sums.argmin())
        if sums[chosen] >= total - _EPSILON:
            return order, total
        order, total = candidates[chosen], float(sums[chosen])


def improve(arena: Arena, order: "Order", rounds: int, rng: "np.random.Generator") -> "tuple[Order, float]":
    """Return the best order found in so many rounds, and its cost."""
    current, current_total = descend(arena, order, rng)
    best, best_total = current, current_total
    stale = 0
    for round_ in range(rounds):
        torn = _tear(arena, current, rng)
        if torn is None:
            break
        candidate, total = descend(arena, torn, rng)
        allowed = _THRESHOLD * (1 - round_ / rounds) * min(abs(best_total), 1.0)
        if total < current_total + allowed * rng.random():
            current, current_total = candidate, total
        stale += 1
        if total < best_total - _EPSILON:
            best, best_total, stale = candidate, total, 0
        elif stale >= _RETURN:
            current, current_total, stale = best, best_total, 0
    return best, best_total


def _tear(arena: Arena, order: "Order", rng: "np.random.Generator") -> "Order | None":
    """Return the order with some of it torn out and filled anew; None when nothing can be."""
    free = arena.free_positions()
    if len(free) < 2:
        return None
    kind = rng.random()
    template = order.copy()
    if kind < 0.6 or len(free) < 4:
        size = int(rng.integers(2, min(_STRETCH, len(free)) + 1))
        begin = int(rng.integers(0, len(free) - size + 1))
        template[free[begin : begin + size]] = -1
    elif kind < 0.85:
        size = int(rng.integers(2, min(_STRETCH, len(free)) + 1))
        template[rng.choice(free, size, replace=False)] = -1
    else:
        return _exchanged(order, free, rng)
    torn = order[template < 0]
    others = np.flatnonzero(~np.isin(np.arange(len(arena.rows)), order))
    if len(others) > _FILLERS:
        others = rng.choice(others, _FILLERS, replace=False)
    columns = np.sort(np.concatenate((torn, others)))
    nodes = arena.nodes[:, columns]
    rest = _rest(arena, template, columns, nodes)
    return fill(arena, template, columns, rest, _WIDTH, rng, noise=float(rng.choice((0.0, 0.002, 0.01))))


def _exchanged(order: "Order", free: "NDArray[np.intp]", rng: "np.random.Generator") -> "Order":
    """Return the order with two stretches exchanged (a double bridge), which no single move undoes."""
    cuts = np.sort(rng.choice(np.arange(free[0], free[-1] + 2), 4, replace=False)) if len(free) > 3 else free[[0, 1, 1, 2]]
    a, b, c, d = (int(cut) for cut in cuts)
    return np.concatenate((order[:a], order[c:d], order[b:c], order[a:b], order[d:]))


def _rest(arena: Arena, template: "Order", columns: "NDArray[np.intp]", nodes: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Return the cost of the cheapest way from each column at each free position to the next fixed track or the end."""
    rest = np.zeros((arena.length, len(columns)))
    steps = arena.steps[np.ix_(columns, columns)]
    free = np.flatnonzero(template < 0)
    # Stretches of free positions, each by itself.
    for stretch in np.split(free, np.flatnonzero(np.diff(free) > 1) + 1):
        costs = nodes[stretch].copy()
        behind = int(stretch[-1]) + 1
        if behind < arena.length:
            costs[-1] += arena.steps[columns, template[behind]]
        rest[stretch] = costs_to_end(steps, costs)
    return rest
