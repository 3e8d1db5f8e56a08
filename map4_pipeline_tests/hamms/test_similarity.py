"""Laws of similarity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from map4_pipeline.hamms import DIMENSIONS, WEIGHTS
from map4_pipeline.hamms.camelot import KEYS, from_camelot
from map4_pipeline.hamms.similarity import compare, compare_rows, embed, embed_many, similarity
from map4_pipeline.hamms.vector import normalised_bpm, normalised_key

values = st.one_of(st.none(), st.floats(0, 1))
vectors = st.fixed_dictionaries(
    {name: values for name in DIMENSIONS if name != "key"}
    | {"key": st.one_of(st.none(), st.sampled_from(KEYS).map(normalised_key))}
)
Vector = dict[str, float | None]


def with_key(number: int, letter: str) -> Vector:
    return {"key": normalised_key(from_camelot(number, letter))}


@given(vectors, vectors)
def test_symmetric_and_in_range(a: Vector, b: Vector) -> None:
    first, second = similarity(a, b), similarity(b, a)
    assert first.score == second.score or first.score == pytest.approx(second.score, abs=1e-6)
    assert first.score is None or 0 <= first.score <= 1
    if first.score is not None and first.score < 0.999:
        assert sum(first.contributions.values()) == pytest.approx(1)


@given(vectors)
def test_a_track_is_like_itself(a: Vector) -> None:
    assert similarity(a, a).score in (None, 1.0)


@given(vectors, vectors, vectors)
def test_the_triangle_holds_where_everything_is_known(a: Vector, b: Vector, c: Vector) -> None:
    full = [{k: 0.5 if v is None else v for k, v in x.items()} | {"key": x["key"] or 0.0} for x in (a, b, c)]
    ab, bc, ac = (1 - (similarity(x, y).score or 0) for x, y in ((full[0], full[1]), (full[1], full[2]), (full[0], full[2])))
    assert ac <= ab + bc + 1e-5


def test_twelve_is_next_to_one_and_octaves_meet() -> None:
    near, far = similarity(with_key(12, "A"), with_key(1, "A")).score, similarity(with_key(12, "A"), with_key(6, "A")).score
    assert near is not None
    assert far is not None
    assert near == pytest.approx(0.5, abs=1e-3)  # a distance of 1/4, its root 1/2
    assert far < 0.05
    relative = similarity(with_key(8, "A"), with_key(8, "B")).score
    assert relative == pytest.approx(0.5, abs=1e-6)
    assert similarity(with_key(8, "A"), with_key(2, "B")).score == pytest.approx(0.0, abs=1e-6)
    assert similarity({"bpm": normalised_bpm(64)}, {"bpm": normalised_bpm(128)}).score == pytest.approx(1.0, abs=1e-3)
    tritone = similarity({"bpm": normalised_bpm(64)}, {"bpm": normalised_bpm(64 * 2**0.5)}).score
    assert tritone == pytest.approx(0.0, abs=1e-5)


def test_what_one_track_lacks_does_not_count() -> None:
    assert similarity({"energy": 0.2, "valence": 0.9}, {"energy": 0.2, "valence": None}).score == 1.0
    assert similarity({"energy": 0.2}, {"valence": 0.2}).score is None


def test_what_a_track_is_not_sure_of_counts_little() -> None:
    """A tempo that is as likely another one neither parts two tracks nor brings them together."""
    same: Vector = dict.fromkeys(DIMENSIONS, 0.5)
    other = same | {"bpm": 0.7}
    sure, doubtful, lost = (compare(*embed_many([same, other], [(1.0, 1.0), (trust, 1.0)])) for trust in (1.0, 0.25, 0.0))
    without = similarity(same, other | {"bpm": None})
    assert sure.score is not None
    assert doubtful.score is not None
    assert lost.score is not None
    assert sure.score < doubtful.score < lost.score == without.score == 1.0
    assert "bpm" not in lost.contributions
    mean = sum(WEIGHTS.values()) - (WEIGHTS["bpm"] + WEIGHTS["rhythmic_pattern"]) * 0.5
    mean -= WEIGHTS["danceability"] * (1 - 0.625**0.5)
    alone = similarity({"bpm": 0.5}, {"bpm": 0.7}).score
    assert alone is not None
    assert doubtful.score == pytest.approx(1 - 0.5 * WEIGHTS["bpm"] * (1 - alone) / mean, abs=1e-6)


def test_it_explains_itself() -> None:
    a: Vector = dict.fromkeys(DIMENSIONS, 0.5)
    shares = similarity(a, a | {"energy": 0.9, "valence": 0.5}).contributions
    assert shares["energy"] == pytest.approx(1.0)
    assert set(shares) == set(WEIGHTS)


def test_the_matrix_agrees_with_the_pair() -> None:
    rng = np.random.default_rng(0)
    rows: list[Vector] = [
        {n: None if rng.random() < 0.2 else float(rng.random()) for n in DIMENSIONS if n != "key"}
        | {"key": normalised_key(KEYS[int(rng.integers(24))])}
        for _ in range(50)
    ]
    found = compare_rows(embed(rows[0]), embed_many(rows))
    assert found.tolist() == pytest.approx([similarity(rows[0], row).score for row in rows], abs=1e-6)
    assert embed_many([]).shape == (0, 17)
