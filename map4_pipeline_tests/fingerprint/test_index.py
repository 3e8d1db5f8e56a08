"""The index finds what belongs together, at the right shift, whatever the order, all at once or bit by bit."""

from pathlib import Path

import numpy as np
import pytest

from map4_pipeline.fingerprint.compare import Comparison, compare
from map4_pipeline.fingerprint.index import (
    Candidates,
    collect,
    make_postings,
    merge_postings,
    pairs_between,
    pairs_within,
)
from map4_pipeline.fingerprint.index_files import IndexFiles, IndexState
from map4_pipeline.fingerprint.match import match
from map4_pipeline.fingerprint.versions import MIN_OVERLAP, SAME_RATE

from .prints import Items, noisy, walk


def library(copies: int = 12, singles: int = 60) -> list[Items]:
    """Singles, then copies of the first of them: cut, put later, with errors."""
    prints = [walk(seed) for seed in range(singles)]
    for number in range(copies):
        items = noisy(prints[number], 0.01 * (number % 6), number)
        prints.append(items[number:] if number % 2 else np.concatenate([walk(1000 + number, number + 1), items]))
    return prints


def pairs(candidates: Candidates) -> set[tuple[int, int]]:
    return set(zip(candidates.first.tolist(), candidates.second.tolist(), strict=True))


def same(found: list[Comparison]) -> dict[tuple[int, int], Comparison]:
    return {(one.first, one.second): one for one in found if one.bit_error_rate <= SAME_RATE}


def compared(prints: list[Items]) -> list[Comparison]:
    flat = collect(prints)
    return list(compare(flat, pairs_within(flat, make_postings(flat)), MIN_OVERLAP))


def test_copies_are_found_at_their_shift_and_nothing_else_is() -> None:
    found = same(compared(library()))
    assert found.keys() == {(number, 60 + number) for number in range(12)}
    for number in range(12):
        assert found[number, 60 + number].shift == (-number if number % 2 else number + 1)


def test_the_comparison_says_what_the_slow_one_says() -> None:
    prints = library()
    for (first, second), one in same(compared(prints)).items():
        slow = match(prints[first], prints[second])
        assert slow.shift == one.shift
        assert one.bit_error_rate == pytest.approx(slow.bit_error_rate, abs=1e-9)
        assert one.overlap == slow.overlap


def test_the_order_of_tracks_does_not_matter() -> None:
    prints = library()
    order = np.random.default_rng(3).permutation(len(prints))
    again = {
        (min(a, b), max(a, b)): (one.bit_error_rate, one.shift if a < b else -one.shift, one.overlap)
        for one in compared([prints[number] for number in order])
        for a, b in [(int(order[one.first]), int(order[one.second]))]
    }
    once = {(one.first, one.second): (one.bit_error_rate, one.shift, one.overlap) for one in compared(prints)}
    assert again == once


def test_bit_by_bit_finds_what_all_at_once_finds(tmp_path: Path) -> None:
    prints = library()
    index = IndexFiles(tmp_path / "index")
    found = []
    for begin, end in ((0, 50), (50, 51), (51, 60), (60, 70), (70, 72)):
        index.append([f"{number:064x}" for number in range(begin, end)], prints[begin:end])
        found += index.compare_new(MIN_OVERLAP)
        index.tidy()
        index = IndexFiles(tmp_path / "index", IndexState.from_dict(index.state.as_dict()))
    key = lambda one: (one.first, one.second)  # noqa: E731
    assert sorted(found, key=key) == sorted(compared(prints), key=key)
    assert index.hashes() == [f"{number:064x}" for number in range(72)]
    assert len(list((tmp_path / "index").glob("list-*"))) == 2 * len(index.state.lists)


def test_merged_lists_are_the_list_of_both() -> None:
    flat = collect(library())
    merged = merge_postings(make_postings(flat, 0, 50), make_postings(flat, 50))
    whole = make_postings(flat)
    np.testing.assert_array_equal(merged.keys, whole.keys)
    np.testing.assert_array_equal(merged.places, whole.places)


def test_what_a_killed_run_left_behind_counts_for_nothing(tmp_path: Path) -> None:
    prints = library()
    index = IndexFiles(tmp_path, None)
    index.append(["a", "b"], prints[:2])
    index.compare_new(MIN_OVERLAP)
    committed = index.state
    index.append(["lost"], prints[5:6])
    reopened = IndexFiles(tmp_path, committed)
    assert reopened.hashes() == ["a", "b"]
    reopened.append(["c"], prints[60:61])
    assert same(reopened.compare_new(MIN_OVERLAP)).keys() == {(0, 2)}
    assert reopened.hashes() == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["items.u32", "lengths.u32", "hashes", "list-0-2"])
def test_an_index_that_lost_a_file_is_refused(tmp_path: Path, name: str) -> None:
    index = IndexFiles(tmp_path)
    index.append(["a", "b"], library()[:2])
    index.compare_new(MIN_OVERLAP)
    (tmp_path / name).unlink()
    with pytest.raises(LookupError, match=name):
        IndexFiles(tmp_path, index.state)


def test_silence_and_held_tones_are_no_resemblance() -> None:
    still = np.full(400, 627964279, np.uint32)
    tone = np.tile(np.array([5, 5, 5, 5, 7], np.uint32), 80)
    # A minute of silence with different music behind it.
    late = [np.concatenate([still[:300], walk(seed, 100)]) for seed in (1, 2)]
    assert not same([one for one in compared([still, still.copy(), tone, tone.copy(), *late]) if one.distinct >= 24])


def test_a_loop_is_found_again_although_its_items_come_back() -> None:
    loop = np.tile(walk(7, 40), 10)
    found = same(compared([loop, noisy(loop, 0.02), *(walk(seed) for seed in range(20, 40))]))
    assert found.keys() == {(0, 1)}


def test_an_edit_is_alike_in_its_parts() -> None:
    whole = walk(1, 600)
    edit = np.concatenate([whole[:200], whole[350:]])
    (one,) = compared([whole, edit])
    assert one.alike >= 440
    assert one.bit_error_rate > SAME_RATE


def test_a_key_that_everybody_has_is_left_out() -> None:
    prints = [np.concatenate([walk(0, 30), walk(seed)]) for seed in range(1, 41)]
    flat = collect(prints)
    assert pairs(pairs_within(flat, make_postings(flat), max_listed=30)) == set()
    assert len(pairs(pairs_within(flat, make_postings(flat)))) == 40 * 39 // 2


def test_old_and_new_lists_give_the_pairs_across() -> None:
    flat = collect(library())
    across = pairs(pairs_between(flat, make_postings(flat, 60), make_postings(flat, 0, 60)))
    assert {(number, 60 + number) for number in range(12)} <= across
    assert all(first < 60 <= second for first, second in across)


def test_no_fingerprints_are_no_pairs() -> None:
    assert compared([]) == []
    assert compared([walk(1)]) == []
    assert compared([np.zeros(0, np.uint32), walk(1), walk(1)[:3]]) == []
