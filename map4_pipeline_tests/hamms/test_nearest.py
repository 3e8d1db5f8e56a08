"""The table of all vectors finds what comparing pair by pair finds; the best order is the best."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.hamms import order as order_module
from map4_pipeline.hamms.distances import packed, unpacked
from map4_pipeline.hamms.nearest import MIX_COLUMNS, NearestTable
from map4_pipeline.hamms.order import best_order, path_score
from map4_pipeline.hamms.reference import ALIKE_PERCENTILE, reference
from map4_pipeline.hamms.similarity import compare_rows, embed_table, similarity
from map4_pipeline.hamms.transition import MixTable, MixTrack, TransitionRules, scores_between


def some_vectors(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.random((count, 12))
    values[random.random(values.shape) < 0.05] = np.nan
    return values


def some_points(count: int, seed: int = 0) -> np.ndarray:
    trust = np.random.default_rng([seed, 1]).random((count, 2))
    trust[::7] = np.nan
    trust[1::9, 0] = 0
    return embed_table(some_vectors(count, seed), trust)


def no_mix(count: int) -> np.ndarray:
    return np.full((count, len(MIX_COLUMNS)), np.nan, np.float32)


def test_distances_and_order_are_those_of_the_pairs() -> None:
    points = some_points(3000)
    table = NearestTable()
    table.put(np.arange(3000) * 2, points, no_mix(3000))
    for query in (0, 17, 2999):
        expected = 1 - compare_rows(points[query], points)
        found = table.distances(points[query])
        assert found == pytest.approx(np.where(np.isnan(expected), np.inf, expected), abs=1e-5)
        nearest = table.closest(found, 10)
        assert table.ids[nearest[0]] == query * 2
        assert found[nearest].tolist() == sorted(found[nearest].tolist())
        assert found[nearest[-1]] <= np.delete(found, nearest).min()


def test_what_is_kept_of_an_embedding_is_the_embedding() -> None:
    points = some_points(50)
    for point, kept in zip(points, packed(points), strict=True):
        assert unpacked(kept) == pytest.approx(point, abs=1e-6, nan_ok=True)


def test_what_nobody_is_sure_of_is_infinitely_far() -> None:
    """Tempo is all that two tracks have in common, and one of them does not trust its own."""
    values = np.full((3, 12), np.nan)
    values[:, DIMENSIONS.index("bpm")] = (0.2, 0.3, 0.4)
    points = embed_table(values, np.array([(0.0, 1.0), (0.5, 1.0), (0.9, 1.0)]))
    whole = embed_table(np.full((1, 12), 0.5), np.array([(0.0, 0.0)]))[0]
    table = NearestTable()
    table.put(np.arange(4), np.vstack([points, whole]), no_mix(4))
    assert np.isinf(table.distances(points[0])).all()
    assert np.isfinite(table.distances(points[1])).tolist() == [False, True, True, False]


def test_put_replaces_adds_and_drops_in_any_order() -> None:
    points = some_points(400, 1)
    random = np.random.default_rng(2)
    table, held = NearestTable(), {}
    for _ in range(60):
        ids = random.choice(300, size=int(random.integers(1, 40)), replace=False)
        if random.random() < 0.3:
            table.drop(ids)
            for id_ in ids:
                held.pop(int(id_), None)
        else:
            rows = random.integers(0, 400, len(ids))
            table.put(ids, points[rows], no_mix(len(ids)))
            held |= {int(id_): int(row) for id_, row in zip(ids, rows, strict=True)}
        assert np.all(np.diff(table.ids) > 0)
    found = table.distances(points[0])
    there = {int(id_): float(one) for id_, one in zip(table.ids, found, strict=True) if np.isfinite(one)}
    expected = 1 - compare_rows(points[0], points[list(held.values())])
    assert there == pytest.approx(
        {id_: float(one) for id_, one in zip(held, expected, strict=True) if np.isfinite(one)}, abs=1e-5
    )


def test_empty_and_forgotten() -> None:
    table = NearestTable()
    point = embed_table(some_vectors(1, 3))[0]
    assert table.distances(point).shape == (0,)
    assert table.closest(table.distances(point), 5).shape == (0,)
    table.put(np.array([5]), point[None], no_mix(1))
    table.drop(np.array([4, 5, 6]))
    assert len(table.closest(table.distances(point), 5)) == 0


@pytest.mark.parametrize("key_lock", [True, False])
def test_mixing_distances_are_those_of_the_transitions(key_lock: bool) -> None:
    some = [MixTrack(n, 60.0 + n, n / 40, f"{n % 12 + 1}A", 0.7, n / 40, -20.0 + n / 4) for n in range(1, 39)] + [MixTrack(40)]
    some += [MixTrack(41, 95.5, energy=0.2), MixTrack(42, 260.0, 1.0, "12B", 1.0, loudness_lufs=-9.0)]
    columns = MixTable.of(some)
    mix = np.stack([getattr(columns, name) for name in MIX_COLUMNS], axis=1).astype(np.float32)
    table = NearestTable()
    table.put(columns.track_id, embed_table(some_vectors(len(some), 4)), mix)
    for rules in (TransitionRules(policy="extended", key_lock=key_lock), TransitionRules(0, 1, 2, 3, key_lock=key_lock)):
        expected = scores_between(columns, columns, rules)
        for row in (3, 20, 38, 39, 40):
            assert 1 - table.mix_distances(mix[row], rules) == pytest.approx(expected[row], abs=1e-5)
    known = table.get(40)
    assert known is not None
    assert 1 - table.mix_distances(known[1], rules) == pytest.approx(expected[38], abs=1e-5)


@given(st.floats(0, 1), st.floats(0, 1))
def test_percentiles_rise_with_similarity(a: float, b: float) -> None:
    usual = reference()
    low, high = sorted((a, b))
    assert 0 <= usual.percentile(low) <= usual.percentile(high) <= 100
    assert usual.percentile(usual.alike) == pytest.approx(ALIKE_PERCENTILE, abs=0.01)


def test_the_reference_is_sound() -> None:
    usual = reference()
    assert usual.percentile(1.0) == 100
    assert usual.percentile(0.0) == 0
    assert np.all(np.diff(usual.similarities) >= 0)
    assert len(usual.dimensions) == 10
    for values, ranks in usual.dimensions.values():
        assert np.all(np.diff(values) > 0)
        assert np.all(np.diff(ranks) > 0)
        assert 0 <= ranks[0] < ranks[-1] <= 1
    assert usual.provenance["tracks"]["real"] > 0
    assert similarity({"energy": 0.5}, {"energy": 0.5}).alike


@given(st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_order_of_few_is_the_best_of_all(count: int, seed: int) -> None:
    scores = np.random.default_rng(seed).random((count, count)).astype(np.float32)
    found = best_order(scores)
    assert found.exact
    assert sorted(found.places) == list(range(count))
    best = max(path_score(scores, path) for path in permutations(range(count)))
    assert found.total == pytest.approx(best)


def test_the_order_of_many_is_near_the_best_and_repeats() -> None:
    random = np.random.default_rng(5)
    shortfalls = []
    for _ in range(10):
        scores = random.random((11, 11))
        searched = order_module._searched(scores)
        assert sorted(searched) == list(range(11))
        shortfalls.append(1 - path_score(scores, searched) / best_order(scores).total)
    assert max(shortfalls) < 0.05
    scores = random.random((30, 30))
    found = best_order(scores)
    assert not found.exact
    assert sorted(found.places) == list(range(30))
    assert found == best_order(scores)
    assert found.total == pytest.approx(path_score(scores, found.places))
