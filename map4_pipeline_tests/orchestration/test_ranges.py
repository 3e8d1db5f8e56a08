"""Which directories become one run: neighbours in Dagster's order, so many bytes, never half a directory."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from map4_pipeline.cli.runs import chunks
from map4_pipeline.orchestration.partitions import stretches

ORDER = [f"k{number:02}" for number in range(20)]


def test_neighbours_make_one_stretch_and_gaps_cut() -> None:
    assert stretches(["k03", "k01", "k02", "k09", "k07"], ORDER) == [["k01", "k02", "k03"], ["k07"], ["k09"]]
    assert stretches([], ORDER) == []


def test_stretches_follow_the_order_of_registration_not_of_the_names() -> None:
    assert stretches(["a", "b", "c"], ["b", "z", "a", "c"]) == [["b"], ["a", "c"]]


def test_a_chunk_ends_where_the_bytes_or_the_directories_are_too_many() -> None:
    sizes = {"k00": 60, "k01": 30, "k02": 20, "k03": 500, "k04": 1, "k05": 1, "k06": 1}
    assert chunks(ORDER[:7], sizes, ORDER, 100, 1000) == [["k00", "k01"], ["k02"], ["k03"], ["k04", "k05", "k06"]]
    assert chunks(ORDER[:7], {}, ORDER, 100, 3) == [ORDER[0:3], ORDER[3:6], ORDER[6:7]]


@given(
    st.sets(st.sampled_from(ORDER)),
    st.dictionaries(st.sampled_from(ORDER), st.integers(0, 100)),
    st.integers(1, 200),
    st.integers(1, 8),
    st.permutations(ORDER),
)
def test_chunks_cover_every_directory_once_as_ranges(
    keys: set[str], sizes: dict[str, int], max_bytes: int, max_directories: int, order: list[str]
) -> None:
    found = chunks(sorted(keys), sizes, order, max_bytes, max_directories)
    flat = [key for chunk in found for key in chunk]
    assert sorted(flat) == sorted(keys)
    assert len(flat) == len(set(flat))
    position = {key: index for index, key in enumerate(order)}
    assert [position[key] for key in flat] == sorted(position[key] for key in flat)
    for chunk in found:
        # Dagster takes a range from its ends.
        assert order[position[chunk[0]] : position[chunk[-1]] + 1] == chunk
        assert len(chunk) <= max_directories
        assert len(chunk) == 1 or sum(sizes.get(key, 0) for key in chunk) <= max_bytes
    for one, other in itertools.pairwise(found):
        # No needless cut: the next directory would not have fitted.
        if position[other[0]] == position[one[-1]] + 1:
            assert len(one) == max_directories or sum(sizes.get(key, 0) for key in (*one, other[0])) > max_bytes
