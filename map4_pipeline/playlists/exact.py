"""The proven optimum of a small problem, by OR-Tools' CP-SAT.

The sets are divided by their weakest transition. A part is a path problem: a layer of tracks for each position, an arc variable
for each step from a track at a position to a track at the next. Arcs are left out that no set as cheap as the known one can use,
because the cheapest path through them, tracks priced (`relaxation`), costs more; most parts vanish so. The solver is held to one
thread, one seed and a deterministic measure of time, so that it answers the same every time.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from map4_pipeline.playlists.arena import Arena, make_arena
from map4_pipeline.playlists.lengths import possible_lengths
from map4_pipeline.playlists.pairs import find_step_prices
from map4_pipeline.playlists.problem import FORBIDDEN, Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Problems up to this size are solved: candidates, and candidates times positions.
MOST_TRACKS, MOST_PLACES = 80, 1000
#: The solver's units of a cost: one part in ten million.
_UNIT = 10_000_000
#: Deterministic seconds, about as long as seconds.
LIMIT = 5.0
#: What dividing off a part costs of it.
_PART_PRICE = 0.3
_PRICING = 120
#: Costs that are closer are the same: what rounding makes of them.
_CLOSE = 2e-6
_SLACK = 2
#: A part with so few arcs is solved; one whose weakest transitions are this close is not split further.
SMALL, _NARROW = 1200, 0.01


@dataclass(frozen=True, slots=True)
class Answer:
    """What the solver says.

    Attributes
    ----------
    order : ndarray or None
        The best set, as rows of the problem's pool; None when there is none or none was found.
    bound : float
        No set costs less.
    proven : bool
        Whether `order` is the optimum, or, where it is None, whether there is no set.
    """

    order: "NDArray[np.intp] | None"
    bound: float
    proven: bool


def prove_best(problem: Problem, known: "NDArray[np.intp] | None", limit: float = LIMIT) -> Answer | None:
    """Return the optimum of a problem with one length; None when it is too large.

    Parameters
    ----------
    known : ndarray of intp, optional
        A set that keeps all wishes.
    """
    lengths = possible_lengths(problem.pool, problem.wishes)
    size = len(problem.pool)
    if len(lengths) != 1 or size > MOST_TRACKS or size * lengths[0] > MOST_PLACES or lengths[0] < 3:
        return None
    arena = make_arena(problem, lengths[0], np.arange(size))
    return _Proof(arena, known, limit).run()


@dataclass(frozen=True, slots=True)
class _Part:
    """Sets whose weakest transition scores from `low` to `high`, and the arcs (m, 2) of each step that a cheap one may use."""

    low: float
    high: float
    bound: float
    arcs: "list[NDArray[np.intp]]"

    @property
    def size(self) -> int:
        return sum(len(pairs) for pairs in self.arcs)


class _Proof:
    """Splits the sets by their weakest transition until a part is dearer than the best known set or small enough to be solved.

    Within a part the weakest transition costs nearly the same for all its sets, so that what is left is a path problem, for
    which the priced relaxation's bound is close.
    """

    def __init__(self, arena: Arena, known: "NDArray[np.intp] | None", limit: float) -> None:
        self._arena, self._left = arena, limit
        self._best = known
        self._cost = np.inf if known is None else float(arena.totals(known[None, :])[0])

    def run(self) -> Answer:
        """Return the optimum, or how far it got."""
        open_parts = [part] if (part := self._part(0.0, 1.0)) is not None else []
        unsolved = np.inf
        while open_parts:
            # The most promising first: a better set closes others.
            open_parts.sort(key=lambda part: -part.bound)
            part = open_parts.pop()
            if part.bound >= self._cost - _CLOSE:
                continue
            if self._left <= 0:
                unsolved = min(unsolved, part.bound)
                continue
            halves = self._split(part)
            if halves is not None:
                open_parts += halves
                continue
            bound = self._solve(part)
            if bound is not None:
                unsolved = min(unsolved, bound)
        proven = unsolved >= self._cost - _CLOSE
        return Answer(self._best, min(self._cost, unsolved) if np.isfinite(min(self._cost, unsolved)) else 0.0, proven)

    def _same(self, apart: int) -> "NDArray[np.bool_]":
        """Return which tracks must not be so many positions apart: themselves, and where the wishes say so their artist's."""
        artist, count = self._arena.artist, len(self._arena.rows)
        same = np.eye(count, dtype=bool)
        return same | (artist[:, None] == artist[None, :]) if self._arena.gap > apart else same

    def _split(self, part: _Part) -> list[_Part] | None:
        """Return a part's halves; None where it is small, or its sets cannot be told apart."""
        if not self._arena.weakest or part.size <= SMALL:
            return None
        scores = np.unique(np.concatenate([self._arena.scores[pairs[:, 0], pairs[:, 1]] for pairs in part.arcs]))
        within = scores[(scores > part.low) & (scores <= part.high)]
        if len(within) < 2 or part.high - part.low < _NARROW:
            return None
        middle = float(within[len(within) // 2])
        # A set of the lower half has a step below the middle; its weakest costs that at least.
        below = float(np.nextafter(middle, 0))
        return [half for half in (self._part(middle, part.high), self._part(part.low, below)) if half is not None]

    def _part(self, low: float, high: float) -> _Part | None:
        """Return the sets of a range, None when each is dearer than the best known."""
        arena = self._arena
        self._left -= _PART_PRICE
        allowed = (arena.scores >= low) & (arena.steps < FORBIDDEN / max(arena.length - 1, 1) / 2)
        allowed &= ~self._same(1)
        steps = np.where(allowed, arena.steps, np.inf)
        at_least = arena.weakest * (1 - high)
        goal = self._cost - at_least
        must = np.flatnonzero(arena.must)
        found = find_step_prices(steps, arena.open_nodes(), self._same(2), must, _PRICING, goal if np.isfinite(goal) else None)
        if not np.isfinite(found.bound) or found.bound + at_least > self._cost + _CLOSE:
            return None
        loss = np.maximum(at_least, arena.weakest * (1 - arena.scores))
        # Where no set is known yet, every arc is cheap enough that a set can use.
        arcs = [np.argwhere(np.isfinite(through) & (through + loss <= self._cost + _CLOSE)) for through in found.through]
        if any(not len(pairs) for pairs in arcs):
            return None
        return _Part(low, high, found.bound + at_least, arcs)

    def _solve(self, part: _Part) -> float | None:
        """Solve a part; return a bound of its sets where time ran out, None where it is closed."""
        from ortools.sat.python import cp_model

        model, at, objective = _model(self._arena, part)
        if np.isfinite(self._cost):
            model.add(objective <= int(np.ceil(self._cost * _UNIT)) + _SLACK * self._arena.length)
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 1
        solver.parameters.max_deterministic_time = max(self._left, 0.1)
        status = solver.solve(model)
        self._left -= solver.response_proto.deterministic_time
        if status == cp_model.INFEASIBLE:
            return None
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            order = np.full(self._arena.length, -1, dtype=np.intp)
            for (position, track), here in at.items():
                if solver.boolean_value(here):
                    order[position] = track
            cost = float(self._arena.totals(order[None, :])[0])
            if cost < self._cost:
                self._best, self._cost = order, cost
        return None if status == cp_model.OPTIMAL else max(part.bound, solver.best_objective_bound / _UNIT - _CLOSE)


def _model(arena: Arena, part: _Part) -> tuple[Any, dict[tuple[int, int], Any], Any]:
    """Return the model of a part, its variables by (position, track), and its objective."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    length = arena.length
    at: dict[tuple[int, int], Any] = {}
    cost: list[Any] = []
    leaving: dict[tuple[int, int], list[Any]] = {}
    entering: dict[tuple[int, int], list[Any]] = {}
    loss = model.new_int_var(round(_UNIT * arena.weakest * (1 - part.high)), _UNIT, "weakest")
    for position, pairs in enumerate(part.arcs):
        losses = []
        for first, second in pairs.tolist():
            arc = model.new_bool_var(f"a{position}_{first}_{second}")
            for place, arcs in (((position, first), leaving), ((position + 1, second), entering)):
                if place not in at:
                    at[place] = model.new_bool_var(f"p{place[0]}_{place[1]}")
                arcs.setdefault(place, []).append(arc)
            cost.append(arc * round(float(arena.steps[first, second]) * _UNIT))
            losses.append(arc * round(float(arena.weakest * (1 - arena.scores[first, second])) * _UNIT))
        # One arc of a step is used, so their sum is its loss: a closer constraint than one for each arc.
        model.add(loss >= sum(losses))
    for (position, track), here in at.items():
        if position < length - 1:
            model.add(sum(leaving.get((position, track), [])) == here)
        if position > 0:
            model.add(sum(entering.get((position, track), [])) == here)
        cost.append(here * round(float(arena.nodes[position, track]) * _UNIT))
    for position in range(length):
        model.add_exactly_one([at[place] for place in at if place[0] == position])
    _add_wishes(model, arena, at, length, len(arena.rows))
    objective = sum(cost) + loss
    model.minimize(objective)
    return model, at, objective


def _add_wishes(model: Any, arena: Arena, at: dict[tuple[int, int], Any], length: int, count: int) -> None:
    """Add what no path knows: each track once, must-plays, artists apart, minutes."""
    of_track: dict[int, list[Any]] = {}
    for (_, track), here in at.items():
        of_track.setdefault(track, []).append(here)
    for track in range(count):
        if arena.must[track]:
            model.add(sum(of_track.get(track, [])) == 1)
        elif len(of_track.get(track, [])) > 1:
            model.add_at_most_one(of_track[track])
    if arena.gap > 1:
        for artist in np.unique(arena.artist):
            own = set(np.flatnonzero(arena.artist == artist).tolist())
            if len(own) > 1:
                for begin in range(max(length - arena.gap + 1, 1)):
                    window = range(begin, min(begin + arena.gap, length))
                    model.add_at_most_one([at[key] for key in at if key[0] in window and key[1] in own])
    if arena.timed:
        seconds = sum(round(float(arena.seconds[track]) * 1000) * here for (_, track), here in at.items())
        model.add(seconds >= int(np.ceil(arena.low * 1000)))
        if np.isfinite(arena.high):
            model.add(seconds <= int(np.floor(arena.high * 1000)))
