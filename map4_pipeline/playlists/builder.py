"""Building a set: from candidates and wishes to an order with its cost.

1. What can be seen to be impossible is said (`diagnosis`).
2. Lengths that the minutes allow are listed; for each, tracks on the cheapest paths through the whole pool make an arena.
3. A beam search along the cheapest paths gives a first set, large-neighbourhood search makes it better, in an arena that is
   chosen anew around the best set halfway.
4. A small problem is solved to the proven optimum (`exact`).

The work is counted in rounds, and every random choice comes from the seed: the same call gives the same set.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.playlists.arena import Arena, make_arena, neighbouring_rows, pool_bound, promising_rows
from map4_pipeline.playlists.beam import fill
from map4_pipeline.playlists.cost import Cost, broken_wishes, cost_of
from map4_pipeline.playlists.diagnosis import explain_failure, graph_conflicts, plain_conflicts
from map4_pipeline.playlists.improve import descend, improve
from map4_pipeline.playlists.lengths import likely_lengths
from map4_pipeline.playlists.pool import Pool
from map4_pipeline.playlists.problem import Problem, make_problem
from map4_pipeline.playlists.relaxation import Prices, find_prices
from map4_pipeline.playlists.wishes import InfeasibleError, Weights, Wishes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Order = NDArray[np.intp]

#: Rounds of the search where nobody says how many.
ROUNDS = 200
#: Tracks that the search works with at once.
ARENA = 800
#: Tracks taken for each position when the arena is chosen anew around a set.
_NEIGHBOURS = 25
#: Partial sets side by side, and subgradient steps for the prices, when a set is begun.
_WIDTH, _PRICING = 64, 25
#: Errors of judgement of the second and third beginning, so that they differ.
_NOISES = (0.0, 0.003, 0.01)


@dataclass(frozen=True, slots=True)
class BuiltSet:
    """A set that keeps every wish.

    Attributes
    ----------
    ids : tuple of int
        The tracks in their order.
    scores : tuple of float
        Of the transitions: one fewer than tracks.
    cost : Cost
    targets : tuple of float or None
        The energy wished at each position; None without a curve.
    seconds : float or None
        Length; None when a track's is not known.
    bound : float
        No set of this many tracks costs less.
    proven : bool
        Whether no set at all costs less.
    seed, rounds : int
    candidates : int
        Tracks that it was chosen from.
    left_out : dict
        {reason: candidates left out for it}.
    """

    ids: tuple[int, ...]
    scores: tuple[float, ...]
    cost: Cost
    targets: tuple[float, ...] | None
    seconds: float | None
    bound: float
    proven: bool
    seed: int
    rounds: int
    candidates: int
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Found:
    """The best set so far, as rows of the problem's pool."""

    order: "Order"
    total: float
    rows: "Order"
    prices: Prices
    bound: float = 0.0


def build_set(
    pool: Pool,
    scores: "NDArray[np.float32]",
    wishes: Wishes,
    weights: Weights | None = None,
    *,
    seed: int = 1,
    rounds: int = ROUNDS,
    prove: bool = True,
) -> BuiltSet:
    """Return the best set found.

    Parameters
    ----------
    pool : Pool
        Candidates, n of them.
    scores : ndarray of float32, shape (n, n)
        Score of the transition from the row's track to the column's, in [0, 1] (`hamms.transition_scores`).
    rounds : int
        How long is searched. Twice the rounds take twice the time; the same rounds give the same set.
    prove : bool
        Solve small problems to the optimum.

    Raises
    ------
    InfeasibleError
        When no set keeps all wishes, or none was found: which ones, and what would help.
    WishError
        When a wish says nothing that could be kept.
    """
    conflicts = plain_conflicts(pool, wishes)
    if conflicts:
        raise InfeasibleError(conflicts)
    problem = make_problem(pool, scores, wishes, weights or Weights())
    conflicts = graph_conflicts(problem)
    if conflicts:
        raise InfeasibleError(conflicts)
    found = _search(problem, seed, rounds)
    proven = False
    if prove:
        from map4_pipeline.playlists.exact import prove_best

        answer = prove_best(problem, found.order if not _broken(problem, found) else None)
        if answer is not None:
            proven = answer.proven
            if answer.order is not None:
                found.order = answer.order
            elif answer.proven:
                raise InfeasibleError(explain_failure(problem, seed, proven=True))
            found.bound = max(found.bound, answer.bound)
    if _broken(problem, found):
        raise InfeasibleError(explain_failure(problem, seed, proven=False))
    return _built(problem, found, proven, seed, rounds)


def search(problem: Problem, seed: int, rounds: int) -> "Order":
    """Return the rows of the best set that so many rounds find; it may break wishes when none keeps them all."""
    return _search(problem, seed, rounds).order


def _broken(problem: Problem, found: _Found) -> bool:
    return bool(broken_wishes(problem, found.order.tolist()))


def _search(problem: Problem, seed: int, rounds: int) -> _Found:
    """Return the best set that so many rounds find; it may break wishes when none keeps them all."""
    rng = np.random.default_rng(seed)
    lengths = likely_lengths(problem)
    rows = promising_rows(problem, lengths[0], ARENA)
    begun: list[tuple[_Found, Arena]] = []
    for length in lengths:
        arena = make_arena(problem, length, rows)
        begun.append((_begin(arena, rng), arena))
    # A few rounds for each length, then the better half, then the best.
    while len(begun) > 1:
        share = max(1, rounds // (6 * len(begun)))
        for index, (found, arena) in enumerate(begun):
            begun[index] = (_improved(arena, found, share, rng), arena)
        begun.sort(key=lambda pair: pair[0].total)
        begun = begun[: len(begun) // 2]
    found, arena = begun[0]
    found = _improved(arena, found, (rounds + 1) // 2, rng)
    if len(rows) < len(problem.pool):
        order = np.searchsorted(arena.rows, found.order)
        rows = neighbouring_rows(problem, arena, order, _NEIGHBOURS)
        arena = make_arena(problem, arena.length, np.union1d(rows, found.order))
    found = _improved(arena, found, rounds // 2, rng)
    found.bound = pool_bound(problem, len(found.order), found.rows, found.prices.prices)
    return found


def _improved(arena: Arena, found: _Found, rounds: int, rng: "np.random.Generator") -> _Found:
    order, total = improve(arena, np.searchsorted(arena.rows, found.order), rounds, rng)
    return replace(found, order=arena.rows[order], total=total)


def _begin(arena: Arena, rng: "np.random.Generator") -> _Found:
    """Return a first set: the best of some beam searches along the cheapest paths."""
    columns = np.arange(len(arena.rows))
    template = np.full(arena.length, -1, dtype=np.intp)
    if arena.start is not None:
        template[0] = arena.start
    if arena.end is not None:
        template[-1] = arena.end
    must = np.flatnonzero(arena.must)
    prices = find_prices(arena.steps, arena.open_nodes(), must, _PRICING)
    best: tuple[float, Order] | None = None
    for noise in _NOISES:
        order = fill(arena, template, columns, prices.rest, _WIDTH, rng, noise)
        if order is not None:
            order, total = descend(arena, order, rng)
            if best is None or total < best[0]:
                best = (total, order)
    if best is None:
        order = _anyhow(arena, template)
        best = (float(arena.totals(order[None, :])[0]), order)
    return _Found(arena.rows[best[1]], best[0], arena.rows, prices)


def _anyhow(arena: Arena, template: "Order") -> "Order":
    """Return a set that has the tracks it has to have, whatever it costs."""
    order = template.copy()
    others = np.setdiff1d(np.arange(len(arena.rows)), template)
    wanted = np.concatenate((others[arena.must[others]], others[~arena.must[others]]))
    free = np.flatnonzero(order < 0)
    order[free] = wanted[: len(free)]
    return order


def _built(problem: Problem, found: _Found, proven: bool, seed: int, rounds: int) -> BuiltSet:
    order, pool = found.order, problem.pool
    cost = cost_of(problem, order.tolist())
    curve = problem.wishes.curve
    targets = None if curve is None else tuple(float(value) for value in curve.targets(len(order), pool.energy))
    seconds = float(pool.duration[order].sum())
    return BuiltSet(
        tuple(int(id_) for id_ in pool.ids[order]),
        tuple(float(score) for score in problem.scores[order[:-1], order[1:]]),
        cost,
        targets,
        seconds if np.isfinite(seconds) else None,
        max(0.0, min(found.bound, cost.total)),
        proven,
        seed,
        rounds,
        len(pool),
        dict(problem.left_out),
    )
