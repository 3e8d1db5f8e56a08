"""How many tracks a set may have: what its minutes allow, and which numbers are worth trying."""

import numpy as np

from map4_pipeline.playlists.pool import Pool
from map4_pipeline.playlists.problem import Problem
from map4_pipeline.playlists.wishes import Wishes

#: Numbers of tracks that are tried.
TRIED = 4


def possible_lengths(pool: Pool, wishes: Wishes) -> list[int]:
    """Return the numbers of tracks with which a set may be as long as wished, of candidates with a known length.

    Start, end and must-plays are in it; nothing else is looked at.
    """
    required = np.isin(pool.ids, np.array(wishes.required, dtype=np.int64))
    least, most = wishes.tracks if wishes.tracks is not None else (1, len(pool))
    least, most = max(least, int(required.sum())), min(most, len(pool))
    if wishes.minutes is None:
        return list(range(least, most + 1))
    low, high = wishes.seconds
    fixed = float(pool.duration[required].sum())
    others = np.sort(pool.duration[~required])
    shortest = fixed + np.concatenate(([0.0], np.cumsum(others)))
    longest = fixed + np.concatenate(([0.0], np.cumsum(others[::-1])))
    more = np.arange(len(others) + 1)
    count = more + int(required.sum())
    fits = (shortest <= high) & (longest >= low) & (count >= least) & (count <= most)
    return [int(value) for value in count[fits]]


def likely_lengths(problem: Problem) -> list[int]:
    """Return the numbers of tracks that are worth trying, the likeliest first."""
    possible = possible_lengths(problem.pool, problem.wishes)
    if len(possible) <= 1:
        return possible or [max(len(problem.must), 1)]
    if problem.wishes.minutes is None:
        if len(possible) <= TRIED:
            return possible
        return sorted({possible[round(place)] for place in np.linspace(0, len(possible) - 1, TRIED)})
    each = float(np.median(problem.pool.duration))
    fixed = float(problem.pool.duration[list(problem.must)].sum())
    likely = len(problem.must) + (60 * problem.wishes.minutes - fixed) / max(each, 1.0)
    return sorted(possible, key=lambda length: (abs(length - likely), length))[:TRIED]
