"""The relaxations that sets are bounded by: never above what a set costs, and the one with memory never below the plain one."""

from itertools import pairwise, permutations

import numpy as np
import pytest

from map4_pipeline.playlists.pairs import find_step_prices
from map4_pipeline.playlists.relaxation import find_prices

LENGTH, COUNT = 5, 7


@pytest.mark.parametrize("seed", range(4))
def test_no_set_costs_less_than_the_bounds_of_its_steps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps, nodes = rng.random((COUNT, COUNT)), rng.random((LENGTH, COUNT))
    artist = rng.integers(0, 5, COUNT)
    near = (artist[:, None] == artist[None, :]) | np.eye(COUNT, dtype=bool)
    must = np.array([2])
    steps[near] = np.inf
    found = find_step_prices(steps, nodes, near, must, 60, None)
    plain = find_prices(steps, nodes, must, 60)
    best = np.inf
    for order in permutations(range(COUNT), LENGTH):
        if 2 not in order or any(near[a, b] for a, b in [*pairwise(order), *zip(order, order[2:], strict=False)]):
            continue
        cost = sum(steps[a, b] for a, b in pairwise(order)) + sum(nodes[place, track] for place, track in enumerate(order))
        best = min(best, cost)
        for place, (a, b) in enumerate(pairwise(order)):
            assert found.through[place][a, b] <= cost + 1e-9
    assert np.isfinite(best)
    assert plain.bound - 0.02 <= found.bound <= best + 1e-9
    assert all(costs.min() == pytest.approx(found.through[0].min()) for costs in found.through)
