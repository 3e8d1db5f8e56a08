"""Sets: how good they are beside the proven optimum and beside repeated greedy building, and how long they take.

    python -m benchmarks.sets [--cases 20] [--small 6] [--runs 50]

Tracks are those of `benchmarks.fake_library`: tempi, keys, energies, confidences and artists as a collection of all genres has
them. Each case has a collection and wishes of its own. The rival builds greedily: from a random start the next track is drawn
from the few that cost least now (cost of the step and of the energy there), which keeps artists apart and no track twice; then
2-opt goes down to its local optimum by the same total cost that sets are judged by. The best of all its runs counts.
"""

import argparse
import statistics
import sys
import time
from typing import Any

import numpy as np

from benchmarks.fake_library import _columns
from map4_pipeline.hamms.camelot import KEYS, to_camelot
from map4_pipeline.hamms.transition import MixTable, MixTrack, TransitionRules, transition_scores
from map4_pipeline.playlists.arena import make_arena
from map4_pipeline.playlists.builder import ROUNDS, build_set, search
from map4_pipeline.playlists.cost import broken_wishes, cost_of
from map4_pipeline.playlists.curves import parse_curve
from map4_pipeline.playlists.exact import prove_best
from map4_pipeline.playlists.mixing import pool_of
from map4_pipeline.playlists.problem import Problem, make_problem
from map4_pipeline.playlists.wishes import Weights, Wishes

POOL, LENGTH = 5000, 30
SMALL_POOL, SMALL_LENGTH = 60, 12
_CURVES = ("peak", "rise", "wave", "flat", "fall", None)
_ALIKE = 1e-6


def collection(count: int, seed: int) -> list[MixTrack]:
    """Return tracks of a collection of 5,000, or some of them."""
    columns = _columns(np.random.default_rng([17, seed]), max(count, POOL))
    rows = np.sort(np.random.default_rng(seed).choice(max(count, POOL), count, replace=False)).tolist()
    return [
        MixTrack(
            row + 1,
            bpm=float(columns["bpm"][row]),
            bpm_confidence=float(columns["bpm_confidence"][row]),
            camelot=to_camelot(KEYS[columns["key"][row]]),
            key_confidence=float(columns["key_confidence"][row]),
            energy=float(columns["energy"][row]),
            loudness_lufs=float(columns["loudness"][row]),
            duration=float(columns["duration"][row]),
            artist=columns["artist_names"][columns["artist"][row]],
            title=columns["titles"][row],
        )
        for row in rows
    ]


def wishes_of(case: int, tracks: list[MixTrack], length: int, gap: int) -> Wishes:
    """Return the wishes of a case: every curve in turn, every other one with a start."""
    curve = _CURVES[case % len(_CURVES)]
    return Wishes(
        tracks=(length, length),
        curve=None if curve is None else parse_curve(curve),
        artist_gap=gap,
        start=tracks[case * 37 % len(tracks)].track_id if case % 2 else None,
    )


# ------------------------------------------------------------------ the rival
def greedy(problem: Problem, length: int, rng: np.random.Generator) -> float:
    """Return the cost of one randomised greedy set after 2-opt."""
    pool, gap = problem.pool, problem.wishes.artist_gap
    energy = problem.energy_costs(length) / length
    first = problem.start
    if first is None:
        first = int(rng.choice(np.argsort(energy[0], kind="stable")[:500]))
    order, used = [first], np.zeros(len(pool), dtype=bool)
    used[first] = True
    few = int(rng.integers(1, 9))
    for position in range(1, length):
        cost = problem.steps[order[-1]] / (length - 1) + energy[position]
        recent = pool.artist[order[-(gap - 1) :]] if gap > 1 else []
        cost = np.where(used | np.isin(pool.artist, recent), np.inf, cost)
        nearest = np.argpartition(cost, few)[:few]
        following = int(rng.choice(nearest))
        order.append(following)
        used[following] = True
    rows = np.sort(np.array(order))
    arena = make_arena(problem, length, rows)
    return two_opt(arena, np.searchsorted(rows, order))


def two_opt(arena: Any, order: Any) -> float:
    """Return the cost at the local optimum of reversals of a stretch, a fixed start kept."""
    begin = int(arena.start is not None)
    cuts = [(i, j) for i in range(begin, arena.length) for j in range(i + 2, arena.length + 1)]
    table = np.tile(np.arange(arena.length), (len(cuts), 1))
    for row, (i, j) in zip(table, cuts, strict=True):
        row[i:j] = row[i:j][::-1].copy()
    total = float(arena.totals(order[None, :])[0])
    while True:
        totals = arena.totals(order[table])
        best = int(totals.argmin())
        if totals[best] >= total - 1e-12:
            return total
        order, total = order[table[best]], float(totals[best])


# ------------------------------------------------------------------ measuring
def large(cases: int, runs: int) -> None:
    """Print 30 out of 5,000 beside the rival, and what it takes."""
    print(f"{LENGTH} out of {POOL:,}, one search with seed 1, the rival's best of {runs} runs (cost: lower is better)\n")
    print("case  curve  start     set   bound  weakest   rival  rival/set  scores s  search s   CPU s  rival s")
    ratios, seconds, cpus, again = [], [], [], 0
    for case in range(cases):
        tracks = collection(POOL, case)
        wishes = wishes_of(case, tracks, LENGTH, 5)
        began, cpu = time.perf_counter(), time.process_time()
        scores = transition_scores(MixTable.of(tracks), TransitionRules())
        scored = time.perf_counter()
        pool = pool_of(tracks)
        built = build_set(pool, scores, wishes)
        ended, cpu = time.perf_counter(), time.process_time() - cpu
        problem = make_problem(pool, scores, wishes, Weights())
        rng = np.random.default_rng(case)
        rival = min(greedy(problem, LENGTH, rng) for _ in range(runs))
        rival_seconds = time.perf_counter() - ended
        ratios.append(rival / built.cost.total)
        seconds.append(ended - began)
        cpus.append(cpu)
        name = "none" if wishes.curve is None else wishes.curve.name
        print(
            f"{case:>4}  {name:<5}  {'yes' if wishes.start else 'no':<5} {built.cost.total:7.4f} {built.bound:7.4f} "
            f"{built.cost.weakest_score or 0:8.3f} {rival:7.4f} {ratios[-1]:10.3f} {scored - began:9.1f} {ended - scored:9.1f} "
            f"{cpu:7.1f} {rival_seconds:8.1f}",
            flush=True,
        )
        if case < 2:
            again += build_set(pool, scores, wishes) == built
    better = sum(ratio > 1 + _ALIKE for ratio in ratios)
    print(
        f"\nbetter than the rival in {better} of {cases} cases; the rival's cost is {statistics.median(ratios):.3f} x the set's"
    )
    print(f"in the median, {min(ratios):.3f} x at the least (bar: more than 1 in the median)")
    print(f"time with the scores: median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s;", end=" ")
    print(f"CPU median {statistics.median(cpus):.1f} s, longest {max(cpus):.1f} s (bar: 10 s)")
    print(f"the same seed gave the same set in {again} of {min(cases, 2)} cases")


def small(cases: int) -> None:
    """Print 12 out of 60 beside the proven optimum."""
    print(f"\n{SMALL_LENGTH} out of {SMALL_POOL}: the search alone beside the optimum that CP-SAT proves (bar: within 5%)\n")
    print("case  curve  start  search  optimum  proven  search/optimum  search s  proof s")
    ratios = []
    for case in range(cases):
        tracks = collection(SMALL_POOL, 1000 + case)
        wishes = wishes_of(case, tracks, SMALL_LENGTH, 3)
        scores = transition_scores(MixTable.of(tracks), TransitionRules())
        problem = make_problem(pool_of(tracks), scores, wishes, Weights())
        began = time.perf_counter()
        order = search(problem, 1, ROUNDS)
        searched = time.perf_counter()
        found = cost_of(problem, order.tolist()).total
        answer = prove_best(problem, order if not broken_wishes(problem, order.tolist()) else None, limit=240.0)
        assert answer is not None
        assert answer.order is not None
        optimum = cost_of(problem, answer.order.tolist()).total
        lower = optimum if answer.proven else answer.bound
        ratios.append(found / lower)
        name = "none" if wishes.curve is None else wishes.curve.name
        print(
            f"{case:>4}  {name:<5}  {'yes' if wishes.start else 'no':<5} {found:7.4f} {lower:8.4f}  "
            f"{'yes' if answer.proven else 'bound':<6} "
            f"{ratios[-1]:15.4f} {searched - began:9.1f} {time.perf_counter() - searched:8.1f}",
            flush=True,
        )
    print(f"\nworst: {100 * (max(ratios) - 1):.2f}% above the optimum")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--small", type=int, default=6)
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args(arguments)
    if options.cases:
        large(options.cases, options.runs)
    if options.small:
        small(options.small)
    return 0


if __name__ == "__main__":
    sys.exit(main())
