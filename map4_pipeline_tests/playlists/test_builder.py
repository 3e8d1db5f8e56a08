"""Sets: every wish is kept or named, small ones are the best there is, and the same call gives the same set."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from map4_pipeline.hamms.transition import MixTable, TransitionRules, transition_scores
from map4_pipeline.playlists.arena import make_arena, pool_bound, promising_rows
from map4_pipeline.playlists.builder import BuiltSet, build_set, search
from map4_pipeline.playlists.cost import broken_wishes, cost_of
from map4_pipeline.playlists.curves import parse_curve
from map4_pipeline.playlists.exact import prove_best
from map4_pipeline.playlists.mixing import build_from_tracks, transition_qualities
from map4_pipeline.playlists.moves import permutations
from map4_pipeline.playlists.pool import Pool
from map4_pipeline.playlists.problem import make_problem
from map4_pipeline.playlists.relaxation import find_prices
from map4_pipeline.playlists.wishes import InfeasibleError, Weights, WishError, Wishes

from .pools import best_by_trying, mix_tracks, random_pool

IDS = st.integers(101, 124)


@st.composite
def wishes(draw: st.DrawFn) -> Wishes:
    """Any mixture of wishes over the ids 101 to 124, some of them impossible together."""
    low = draw(st.integers(1, 8))
    length: dict[str, Any] = {"tracks": (low, low + draw(st.integers(0, 3)))}
    if draw(st.booleans()):
        length |= {"minutes": draw(st.floats(8, 45)), "minutes_tolerance": draw(st.sampled_from((0.02, 0.05, 0.2)))}
        if draw(st.booleans()):
            del length["tracks"]
    return Wishes(
        **length,
        start=draw(st.none() | IDS),
        end=draw(st.none() | IDS),
        must=tuple(draw(st.lists(IDS, max_size=3))),
        apart=tuple(draw(st.lists(st.tuples(IDS, IDS), max_size=3))),
        excluded=tuple(draw(st.lists(IDS, max_size=3))),
        curve=draw(
            st.none() | st.sampled_from(["rise", "fall", "peak", "wave", "flat", "0.2,0.9", "0:0.1,70:0.9"]).map(parse_curve)
        ),
        max_drift=draw(st.none() | st.sampled_from((1.0, 3.0, 8.0))),
        artist_gap=draw(st.integers(1, 4)),
        keys=draw(st.none() | st.sampled_from(("strict", "extended"))),
        min_score=draw(st.none() | st.sampled_from((0.1, 0.4))),
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wished=wishes(), seed=st.integers(0, 1000))
def test_every_wish_is_kept_or_what_cannot_be_kept_is_named(wished: Wishes, seed: int) -> None:
    pool, scores = random_pool(24, seed, unknown=0.1)
    try:
        built = build_set(pool, scores, wished, seed=seed, rounds=4, prove=False)
    except InfeasibleError as error:
        named = [bool(conflict.wishes and conflict.message and conflict.remedy) for conflict in error.conflicts]
    else:
        _check(pool, scores, wished, built)
        return
    assert named
    assert all(named)


def _check(pool: Pool, scores: Any, wished: Wishes, built: BuiltSet) -> None:
    problem = make_problem(pool, scores, wished, Weights())
    place = {int(id_): row for row, id_ in enumerate(problem.pool.ids)}
    order = [place[id_] for id_ in built.ids]
    assert broken_wishes(problem, order) == []
    # The cost is that of the plain definition, the parts sum to it, and the bound holds.
    plain = cost_of(problem, order)
    assert built.cost == plain
    assert plain.total == pytest.approx(plain.transition + plain.weakest + plain.energy + plain.tempo)
    assert 0 <= plain.total <= 1 + 1e-9
    assert built.bound <= plain.total
    assert len(built.scores) == len(built.ids) - 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wished=wishes(), seed=st.integers(0, 1000))
def test_what_is_proven_impossible_is_impossible(wished: Wishes, seed: int) -> None:
    """Of a pool so small that every order can be tried."""
    pool, scores = random_pool(6, seed, unknown=0.15, artists=3)
    wished = replace(
        wished,
        tracks=(4, 4),
        minutes=None,
        start=None if wished.start is None else 101 + wished.start % 7,
        end=None if wished.end is None else 101 + wished.end % 7,
        must=tuple(101 + id_ % 6 for id_ in wished.must),
        apart=tuple((101 + a % 6, 101 + b % 6) for a, b in wished.apart),
        excluded=wished.excluded[:1],
    )
    try:
        built = build_set(pool, scores, wished, seed=seed, rounds=3)
    except InfeasibleError as error:
        if any(not conflict.proven for conflict in error.conflicts):
            return
        try:
            problem = make_problem(pool, scores, wished, Weights())
        except KeyError:
            return  # a track that has to be in it is not usable
        assert best_by_trying(problem, 4) is None
    else:
        best = best_by_trying(make_problem(pool, scores, wished, Weights()), 4)
        assert best is not None
        assert built.proven
        assert built.cost.total == pytest.approx(best, abs=1e-5)


def test_it_is_proven_that_there_is_no_set_where_each_track_alone_could_be_in_one() -> None:
    # The relaxation finds a path here, and no set is known: the solver has to say that there is none.
    pool, scores = random_pool(6, 113, unknown=0.15, artists=3)
    wished = Wishes(tracks=(4, 4), artist_gap=1, keys="strict")
    with pytest.raises(InfeasibleError) as caught:
        build_set(pool, scores, wished, seed=113)
    assert [(conflict.wishes, conflict.proven) for conflict in caught.value.conflicts] == [(("keys",), True)]
    assert best_by_trying(make_problem(pool, scores, wished, Weights()), 4) is None


@pytest.mark.parametrize("seed", range(2))
def test_a_small_set_is_the_best_there_is(seed: int) -> None:
    pool, scores = random_pool(6, seed)
    wished = Wishes(tracks=(5, 5), curve=parse_curve("peak"), artist_gap=2)
    problem = make_problem(pool, scores, wished, Weights())
    built = build_set(pool, scores, wished, rounds=5)
    assert built.proven
    assert built.cost.total == pytest.approx(best_by_trying(problem, 5), abs=1e-5)


def test_the_search_alone_comes_close_to_the_proven_optimum() -> None:
    tracks = mix_tracks(40, 7)
    scores = transition_scores(MixTable.of(tracks), TransitionRules())
    from map4_pipeline.playlists.mixing import pool_of

    problem = make_problem(pool_of(tracks), scores, Wishes(tracks=(8, 8), curve=parse_curve("rise"), artist_gap=3), Weights())
    order = search(problem, 1, 60)
    answer = prove_best(problem, order)
    assert answer is not None
    assert answer.proven
    assert answer.order is not None
    assert cost_of(problem, order.tolist()).total <= 1.05 * cost_of(problem, answer.order.tolist()).total


def test_the_same_seed_gives_the_same_set() -> None:
    tracks = mix_tracks(150, 3)
    wished = Wishes(minutes=50, curve=parse_curve("wave"), artist_gap=3, start=5, must=(9, 77))
    first, again, other = (build_from_tracks(tracks, TransitionRules(), wished, seed=seed, rounds=15) for seed in (1, 1, 2))
    assert first == again
    assert other.seed == 2
    assert abs(other.cost.total - first.cost.total) < 0.05


def test_more_rounds_never_give_a_worse_set_than_the_beginning() -> None:
    pool, scores = random_pool(120, 5, artists=40)
    wished = Wishes(tracks=(15, 15), curve=parse_curve("peak"), artist_gap=4)
    begun = build_set(pool, scores, wished, rounds=0)
    searched = build_set(pool, scores, wished, rounds=40)
    assert searched.cost.total <= begun.cost.total
    assert searched.cost.total < 0.7 * _random_cost(pool, scores, wished)


def _random_cost(pool: Any, scores: Any, wished: Wishes) -> float:
    problem = make_problem(pool, scores, replace(wished, artist_gap=1), Weights())
    rng = np.random.default_rng(0)
    return float(np.mean([cost_of(problem, rng.permutation(len(pool))[:15].tolist()).total for _ in range(20)]))


def test_all_tracks_that_have_to_be_in_it_are_only_put_in_order() -> None:
    tracks = mix_tracks(18, 11)
    wished = Wishes(tracks=(18, 18), must=tuple(range(1, 19)), start=4, end=17)
    built = build_from_tracks(tracks, TransitionRules(), wished, rounds=20, prove=False)
    assert sorted(built.ids) == list(range(1, 19))
    assert (built.ids[0], built.ids[-1]) == (4, 17)
    by_id = {track.track_id: track for track in tracks}
    expected = transition_qualities([by_id[id_] for id_ in built.ids], TransitionRules())
    assert built.scores == pytest.approx(expected, abs=1e-5)
    shuffled = transition_qualities(tracks, TransitionRules())
    assert np.mean(built.scores) > np.mean(shuffled) + 0.1


def test_minutes_decide_how_many_tracks() -> None:
    tracks = mix_tracks(120, 13)
    built = build_from_tracks(tracks, TransitionRules(), Wishes(minutes=60, minutes_tolerance=0.02), rounds=10)
    assert built.seconds is not None
    assert 58.8 <= built.seconds / 60 <= 61.2
    assert 10 <= len(built.ids) <= 14


def test_the_curve_is_followed() -> None:
    tracks = mix_tracks(200, 17)
    built = build_from_tracks(tracks, TransitionRules(), Wishes(tracks=(12, 12), curve=parse_curve("0.2,0.8")), rounds=10)
    energy = {track.track_id: track.energy for track in tracks}
    assert built.targets == pytest.approx(np.linspace(0.2, 0.8, 12))
    errors = [abs(float(energy[id_] or 0) - target) for id_, target in zip(built.ids, built.targets or (), strict=True)]
    assert np.mean(errors) < 0.08


def test_one_track_is_a_set() -> None:
    pool, scores = random_pool(9, 1)
    built = build_set(pool, scores, Wishes(tracks=(1, 1), start=104, end=104))
    assert built.ids == (104,)
    assert built.scores == ()
    assert build_set(pool, scores, Wishes(tracks=(2, 2), end=104), rounds=3).ids[-1] == 104


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"tracks": (0, 3)},
        {"tracks": (5, 3)},
        {"minutes": 0.0},
        {"minutes": float("nan")},
        {"tracks": (3, 3), "artist_gap": 0},
        {"tracks": (3, 3), "keys": "loose"},
        {"tracks": (3, 3), "max_drift": -1.0},
        {"tracks": (3, 3), "min_score": 2.0},
    ],
)
def test_a_wish_that_says_nothing_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(WishError):
        Wishes(**values)


def test_weights_are_numbers_from_0_and_not_all_0() -> None:
    with pytest.raises(WishError, match="energy"):
        Weights(energy=-1)
    pool, scores = random_pool(5, 1)
    with pytest.raises(WishError, match="One weight"):
        build_set(pool, scores, Wishes(tracks=(3, 3)), Weights(0, 0, 1, 0))


def test_scores_have_to_fit_the_pool() -> None:
    pool, scores = random_pool(5, 1)
    with pytest.raises(ValueError, match="5 tracks"):
        build_set(pool, scores[:4, :4], Wishes(tracks=(3, 3)))
    scores[1, 2] = 1.5
    with pytest.raises(ValueError, match="from 0 to 1"):
        build_set(pool, scores, Wishes(tracks=(3, 3)))


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_holds_for_tracks_that_the_search_never_saw(seed: int) -> None:
    """The search works with 5 of 7 tracks; its bound is one for all 7."""
    pool, scores = random_pool(7, seed)
    problem = make_problem(pool, scores, Wishes(tracks=(4, 4), curve=parse_curve("wave"), must=(103,)), Weights())
    rows = promising_rows(problem, 4, 5)
    assert len(rows) == 5
    assert 2 in rows
    arena = make_arena(problem, 4, rows)
    found = find_prices(arena.steps, arena.open_nodes(), np.flatnonzero(arena.must), 30)
    best = best_by_trying(problem, 4)
    assert best is not None
    bound = pool_bound(problem, 4, rows, found.prices)
    assert bound <= best
    assert bound <= found.bound + 1e-9
    assert bound > 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), gap=st.integers(1, 4), minutes=st.none() | st.floats(10, 40))
def test_costs_in_batches_are_the_plain_costs(seed: int, gap: int, minutes: float | None) -> None:
    """Totals of orders and of replacements, broken wishes included, agree with each other; unbroken, with the definition."""
    pool, scores = random_pool(14, seed, unknown=0.1)
    wished = Wishes(tracks=(6, 6), minutes=minutes, minutes_tolerance=0.2, curve=parse_curve("rise"), artist_gap=gap, must=(104,))
    try:
        problem = make_problem(pool, scores, wished, Weights())
    except KeyError:
        return
    rng = np.random.default_rng(seed)
    arena = make_arena(problem, 6, np.arange(len(problem.pool)))
    orders = np.stack([rng.permutation(len(problem.pool))[:6] for _ in range(20)])
    for order, total in zip(orders, arena.totals(orders), strict=True):
        broken = [said for said in broken_wishes(problem, order.tolist()) if not said.startswith("without")]
        plain = cost_of(problem, order.tolist()).total
        assert (total > plain + 1) if broken else (total == pytest.approx(plain, abs=1e-5))
    order = orders[0]
    places, totals = arena.replacements(order)
    for place, row in zip(places, totals, strict=True):
        for track in np.flatnonzero(np.isfinite(row)):
            changed = order.copy()
            changed[place] = track
            assert row[track] == pytest.approx(float(arena.totals(changed[None, :])[0]), abs=1e-6)


def test_moves_are_permutations_that_leave_the_ends() -> None:
    table = permutations(7, True, True)
    assert (np.sort(table, axis=1) == np.arange(7)).all()
    assert (table[:, 0] == 0).all()
    assert (table[:, -1] == 6).all()
    assert (table != np.arange(7)).any(axis=1).all()
    assert len(permutations(2, False, False)) == 1
    assert permutations(2, True, True).shape == (0, 2)
