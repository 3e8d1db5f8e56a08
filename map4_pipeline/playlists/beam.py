"""Filling the free positions of a set, many partial sets side by side (beam search).

A partial set is judged by what it has cost and by what the cheapest path from its last track to the end costs, which dynamic
programming over the positions knows (`relaxation`). It keeps the wishes as it goes: no track twice, artists apart, tracks that
have to come, length.
"""

from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.playlists.arena import BROKEN, Arena

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How much a partial set that is running too short or too long is held back, for each average track it is off.
_PACE = 0.01


def fill(
    arena: Arena,
    template: "NDArray[np.intp]",
    columns: "NDArray[np.intp]",
    rest: "NDArray[np.float64]",
    width: int,
    rng: "np.random.Generator",
    noise: float = 0.0,
) -> "NDArray[np.intp] | None":
    """Return the template with its free positions filled, None when there are not enough tracks.

    Parameters
    ----------
    template : ndarray of intp, shape (length,)
        Tracks of the arena, -1 where free.
    columns : ndarray of intp, shape (c,)
        The tracks that may be taken; those of the template are left out.
    rest : ndarray, shape (length, c)
        Cost of the cheapest way from each of the columns at each position to the next fixed track or the end.
    width : int
        Partial sets that are kept.
    noise : float
        Partial sets are judged with random errors of this size.
    """
    free = np.flatnonzero(template < 0)
    if not len(free):
        return template.copy()
    taken = np.isin(columns, template)
    must = arena.must[columns] & ~taken
    if must.sum() > len(free) or (~taken).sum() < len(free):
        return None
    orders = template[None, :].copy()
    used = taken[None, :].copy()
    cost = np.zeros(1)
    missing = np.array([int(must.sum())])
    seconds = np.array([float(arena.seconds[template[template >= 0]].sum())])
    each = (_target(arena) - seconds[0]) / len(free) if arena.timed else 0.0
    started_at = seconds[0]
    last_free = free[-1]
    for done, position in enumerate(free):
        entering = arena.nodes[position, columns][None, :]
        if position > 0:
            entering = entering + arena.steps[orders[:, position - 1]][:, columns]
        if position + 1 < arena.length and template[position + 1] >= 0:
            entering = entering + arena.steps[columns, template[position + 1]][None, :]
        priced = cost[:, None] + entering
        judged = cost[:, None] + rest[position][None, :]
        if position > 0:
            judged = judged + arena.steps[orders[:, position - 1]][:, columns]
        if noise:
            judged = judged + rng.normal(0.0, noise, judged.shape)
        clashes = _clashes(arena, orders, template, columns, int(position))
        if clashes is not None:
            judged = judged + BROKEN * clashes
            priced = priced + BROKEN * clashes
        if arena.timed:
            judged = judged + _lateness(arena, seconds, columns, position == last_free, started_at + (done + 1) * each, each)
        # Where as many tracks have to come as there are places left, only those may.
        barred = used | ((missing >= len(free) - done)[:, None] & ~must[None, :])
        judged = np.where(barred, np.inf, judged)
        flat = judged.ravel()
        keep = min(width, int(np.isfinite(flat).sum()))
        if keep == 0:
            return None
        best = np.argpartition(flat, keep - 1)[:keep]
        best = best[np.lexsort((best, flat[best]))]
        state, column = np.divmod(best, len(columns))
        orders = orders[state]
        orders[:, position] = columns[column]
        used = used[state]
        used[np.arange(keep), column] = True
        missing = missing[state] - must[column]
        seconds = seconds[state] + arena.seconds[columns[column]]
        cost = priced[state, column]
    return np.asarray(orders[int(arena.totals(orders).argmin())])


def _target(arena: Arena) -> float:
    if np.isfinite(arena.high):
        return (arena.low + arena.high) / 2
    return arena.low


def _clashes(
    arena: Arena, orders: "NDArray[np.intp]", template: "NDArray[np.intp]", columns: "NDArray[np.intp]", position: int
) -> "NDArray[np.int64] | None":
    """Return how many tracks of its artist each column would have too near, shape (states, c); None without such a wish."""
    if arena.gap < 2:
        return None
    found = np.zeros((len(orders), len(columns)), dtype=np.int64)
    own = arena.artist[columns][None, :]
    for near in range(max(0, position - arena.gap + 1), min(arena.length, position + arena.gap)):
        if near < position or (near > position and template[near] >= 0):
            found += arena.artist[orders[:, near]][:, None] == own
    return found


def _lateness(
    arena: Arena, seconds: "NDArray[np.float64]", columns: "NDArray[np.intp]", is_last: bool, expected: float, each: float
) -> "NDArray[np.float64]":
    after = seconds[:, None] + arena.seconds[columns][None, :]
    if is_last:
        return arena.overrun(after)
    return _PACE * np.abs(after - expected) / max(each, 1.0)
