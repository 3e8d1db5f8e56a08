"""Small pools of invented tracks, and the plain way to find the best set of one."""

from itertools import permutations

import numpy as np

from map4_pipeline.hamms.transition import MixTrack
from map4_pipeline.playlists.cost import broken_wishes, cost_of
from map4_pipeline.playlists.pool import Pool, make_pool
from map4_pipeline.playlists.problem import Problem


def random_pool(count: int, seed: int, *, artists: int = 6, unknown: float = 0.0) -> tuple[Pool, np.ndarray]:
    """Return a pool with ids 101, 102, ... and a matrix of scores that knows its tempi and keys."""
    rng = np.random.default_rng(seed)
    bpm = np.round(rng.choice([rng.normal(124, 3, count), rng.normal(90, 4, count), rng.normal(174, 3, count)][0], count), 1)
    bpm = np.where(rng.random(count) < 0.2, bpm / 2, bpm)
    keys = [f"{rng.integers(1, 13)}{'AB'[rng.integers(2)]}" for _ in range(count)]

    def sometimes(values: list) -> list:  # type: ignore[type-arg]
        return [None if rng.random() < unknown else value for value in values]

    pool = make_pool(
        [101 + row for row in range(count)],
        bpm=sometimes([float(value) for value in bpm]),
        energy=sometimes([float(value) for value in rng.random(count)]),
        duration=[float(value) for value in rng.uniform(150, 420, count)],
        camelot=sometimes(keys),
        artist=sometimes([f"Artist {rng.integers(artists)}" for _ in range(count)]),
    )
    return pool, np.round(rng.random((count, count)), 3).astype(np.float32)


def mix_tracks(count: int, seed: int) -> list[MixTrack]:
    """Return tracks as mixing knows them."""
    rng = np.random.default_rng(seed)
    return [
        MixTrack(
            row + 1,
            bpm=float(np.round(rng.normal(124, 4), 1)),
            bpm_confidence=0.9,
            camelot=f"{rng.integers(1, 13)}{'AB'[rng.integers(2)]}",
            key_confidence=0.8,
            energy=float(rng.random()),
            loudness_lufs=float(rng.normal(-9, 1)),
            duration=float(rng.uniform(200, 400)),
            artist=f"Artist {rng.integers(8)}",
            title=f"Title {row}",
        )
        for row in range(count)
    ]


def best_by_trying(problem: Problem, length: int) -> float | None:
    """Return the cost of the best set of so many tracks by trying every one, None when there is none."""
    costs = [
        cost_of(problem, order).total
        for order in permutations(range(len(problem.pool)), length)
        if not broken_wishes(problem, order)
    ]
    return min(costs, default=None)
