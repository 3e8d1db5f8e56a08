"""How alike two tracks are: the weighted mean of how far they are apart in each dimension, where key and tempo lie on circles.

The embedding has 15 coordinates and, behind them, how sure tempo and key are. Key takes three: a point on a circle of twelve
Camelot places, and the mode. Tempo takes two: a point on a circle on which an octave is once round, so that 64 and 128 BPM are
the same place. The other ten are the places of their values among the reference music (`hamms.reference`), so that each is
spread evenly and counts as its weight says.
Every dimension spans at most a distance of 1.

    distance = sum of v_d * sqrt(|a_d - b_d|) / sum of v_d, d over the dimensions both tracks have; |.| Euclidean
    v_d = w_d * sqrt(t_d(a) * t_d(b)), w the dimensions' weights, t how far a track's value may be trusted
    similarity = 1 - distance, in [0, 1]

Trust is that of `hamms.vector`: tempo and rhythm count with the tempo's probability, key with the key's, danceability and valence
half; the others fully. A key that is as likely another one tells little, and what it tells should weigh little. The root makes
small differences count and one large one not decide (docs/mixing.md has the comparisons). Between tracks that are equally sure
the distance is a metric, and each dimension Euclidean in an embedding (Schoenberg 1938). A similarity by itself says little; its
percentile among random pairs does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from map4_pipeline.hamms import DIMENSIONS, WEIGHTS
from map4_pipeline.hamms.reference import reference
from map4_pipeline.hamms.vector import BPM_HIGH, BPM_LOW

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Share of the key's distance that a change of mode alone makes: relative keys share all their notes, so it is small.
MODE_SHARE = 0.25
#: What is not told of a track's tempo or key: neither trusted nor dismissed.
_UNTOLD = 0.5
#: Columns of the embedding: key x, y and mode, tempo x, y, then the ten plain dimensions.
_PLAIN = tuple(name for name in DIMENSIONS if name not in ("bpm", "key"))
COLUMNS: tuple[str, ...] = ("key", "key", "key", "bpm", "bpm", *_PLAIN)
_ORDER = tuple(dict.fromkeys(COLUMNS))
#: The columns of each dimension, and the dimensions' weights, in the columns' order.
GROUPS: tuple[tuple[int, int], ...] = tuple((COLUMNS.index(name), COLUMNS.index(name) + COLUMNS.count(name)) for name in _ORDER)
GROUP_WEIGHTS = np.array([WEIGHTS[name] for name in _ORDER])
#: Columns behind those, the probabilities of tempo and key, and whose trust they are: {dimension: (column, half of it or all)}.
TRUST_COLUMNS = (len(COLUMNS), len(COLUMNS) + 1)
WIDTH = len(COLUMNS) + 2
TRUSTED: dict[int, tuple[int, bool]] = {
    _ORDER.index(name): (TRUST_COLUMNS[which], half)
    for name, which, half in (
        ("bpm", 0, False),
        ("rhythmic_pattern", 0, False),
        ("danceability", 0, True),
        ("key", 1, False),
        ("valence", 1, True),
    )
}
_PLACES = [_ORDER.index(name) for name in DIMENSIONS]


@dataclass(frozen=True, slots=True)
class Similarity:
    """How alike two tracks are, and why.

    Attributes
    ----------
    score : float or None
        In [0, 1]; None when the tracks have no dimension in common.
    contributions : dict
        {dimension: its share of the distance}; the shares sum to 1 unless the tracks are equal.
    percentile : float or None
        The share of random pairs of the reference music that are less alike, per cent.
    """

    score: float | None
    contributions: dict[str, float]
    percentile: float | None = None

    @property
    def alike(self) -> bool:
        """Whether the tracks are more alike than chance makes 39 pairs of 40."""
        return self.score is not None and self.score >= reference().alike


def embed_table(values: "NDArray[np.floating]", trust: "NDArray[np.floating] | None" = None) -> "NDArray[np.float32]":
    """Return the embeddings of many vectors, shape (n, 17), NaN where a dimension is missing.

    Parameters
    ----------
    values : array, shape (n, 12)
        HAMMS values in the order of `DIMENSIONS`, NaN where one is missing.
    trust : array, shape (n, 2), optional
        Probabilities of tempo and key, NaN where one is not told; without it both are certain.
    """
    table = np.asarray(values, dtype=np.float64)
    found = np.empty((len(table), WIDTH), dtype=np.float32)
    found[:, TRUST_COLUMNS] = 1.0 if trust is None else np.where(np.isnan(trust), _UNTOLD, np.clip(trust, 0, 1))
    # 24 places: the whole part of 12 x is the ring's number, the half the mode.
    place = np.rint(table[:, DIMENSIONS.index("key")] * 24)
    angle = 2 * math.pi * np.floor(place / 2) / 12
    radius = math.sqrt(1 - MODE_SHARE**2) / 2  # opposite keys of the other mode are exactly 1 apart
    found[:, 0], found[:, 1], found[:, 2] = radius * np.cos(angle), radius * np.sin(angle), MODE_SHARE * (place % 2)
    octaves = math.log2(BPM_LOW) + math.log2(BPM_HIGH / BPM_LOW) * table[:, DIMENSIONS.index("bpm")]
    found[:, 3], found[:, 4] = np.cos(2 * math.pi * octaves) / 2, np.sin(2 * math.pi * octaves) / 2
    usual = reference()
    for column, name in enumerate(_PLAIN, 5):
        found[:, column] = usual.rank(name, table[:, DIMENSIONS.index(name)])
    return found


def embed_many(
    rows: Sequence[Mapping[str, float | None]], trust: Sequence[tuple[float | None, float | None]] | None = None
) -> "NDArray[np.float32]":
    """Return the embeddings of many vectors, shape (n, 17).

    Parameters
    ----------
    rows : sequence of mapping
        {dimension: value in [0, 1] or None}, as `hamms_vector` gives them.
    trust : sequence of (float or None, float or None), optional
        The probabilities of each track's tempo and key; without it all are certain.
    """
    table = [[_number(row.get(name)) for name in DIMENSIONS] for row in rows]
    sure = None if trust is None else np.array([[_number(one) for one in pair] for pair in trust]).reshape(len(rows), 2)
    return embed_table(np.array(table, dtype=np.float64).reshape(len(rows), len(DIMENSIONS)), sure)


def embed_tracks(rows: Sequence[Mapping[str, Any]]) -> "NDArray[np.float32]":
    """Return the embeddings of tracks that have `hamms`, `bpm_confidence` and `key_confidence`, shape (n, 17)."""
    return embed_many([row["hamms"] or {} for row in rows], [(row["bpm_confidence"], row["key_confidence"]) for row in rows])


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def embed(values: Mapping[str, float | None]) -> "NDArray[np.float32]":
    """Return the embedding of one vector's values, tempo and key certain."""
    found: NDArray[np.float32] = embed_many([values])[0]
    return found


def compare_rows(first: "NDArray[np.float32]", second: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Return the similarities of embeddings row by row, or of one to each of many: shape (n,), NaN where nothing is in common."""
    apart, weight = _apart(first, second)
    with np.errstate(invalid="ignore"):
        return np.asarray(1 - (apart * weight).sum(axis=-1) / weight.sum(axis=-1), dtype=np.float32)


def _apart(first: "NDArray[np.float32]", second: "NDArray[np.float32]") -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Return the roots of the distances in each dimension and what they weigh, both 0 where one is missing; shape (..., 12)."""
    squared = (second - first).astype(np.float64) ** 2
    apart = np.stack([np.sqrt(np.sqrt(squared[..., start:end].sum(axis=-1))) for start, end in GROUPS], axis=-1)
    both = np.isfinite(apart)
    return np.where(both, apart, 0.0), np.where(both, GROUP_WEIGHTS * np.sqrt(_trust(first) * _trust(second)), 0.0)


def _trust(points: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Return how far each dimension may be trusted, shape (..., 12)."""
    found = np.ones((*points.shape[:-1], len(_ORDER)))
    for dimension, (column, half) in TRUSTED.items():
        found[..., dimension] = (1 + points[..., column]) / 2 if half else points[..., column]
    return found


def similarity(first: Mapping[str, float | None], second: Mapping[str, float | None]) -> Similarity:
    """Compare the values of two HAMMS vectors."""
    a, b = embed_many([first, second])
    return compare(a, b)


def compare(first: "NDArray[np.float32]", second: "NDArray[np.float32]") -> Similarity:
    """Compare two embeddings."""
    return compare_many(first, second[None])[0]


def compare_many(first: "NDArray[np.float32]", others: "NDArray[np.float32]") -> list[Similarity]:
    """Compare an embedding with others, shape (n, 17)."""
    apart, weight = _apart(first, others)
    weighted, both = apart * weight, weight > 0
    totals, possible = weighted.sum(axis=1), weight.sum(axis=1)
    scores = np.clip(1 - totals / np.where(possible > 0, possible, 1.0), 0, 1)
    shares = weighted / np.where(totals > 0, totals, 1.0)[:, None]
    percentiles = reference().percentiles(scores)
    found = []
    columns = (scores, percentiles, shares[:, _PLACES], both[:, _PLACES])
    for score, percentile, parts, known in zip(*(column.tolist() for column in columns), strict=True):
        if any(known):
            named = {name: part for name, part, is_known in zip(DIMENSIONS, parts, known, strict=True) if is_known}
            found.append(Similarity(score, named, percentile))
        else:
            found.append(Similarity(None, {}))
    return found
