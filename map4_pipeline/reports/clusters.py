"""Groups of tracks that sound alike, found in the library itself: what kinds of music a collection is made of.

k-means over the embedding of `hamms.similarity`, on a random sample of bounded size (a fixed seed: the same library gives the
same groups). How many groups there are follows from how clearly the tracks belong to one of them (the silhouette).
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.reports import text
from map4_pipeline.reports.model import TrackRow
from map4_pipeline.reports.statistics import finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

#: Tracks that are looked at; of larger libraries a random sample.
SAMPLE = 20_000
#: Fewer tracks make no groups that mean anything.
LEAST = 12
_MOST_GROUPS = 6
_JUDGED = 1_500
_ROUNDS = 30
_STARTS = 3
_SEED = 4
#: Of the clearest division's silhouette.
_NEARLY = 0.7
#: A dimension is named when a group's median is this many spreads (half the middle half) of the library away from its median.
_TELLING = 0.7
#: So far away it is named with a "rather" where nothing is further.
_HINTING = 0.25
_WORDS = {
    "bpm": ("slow", "fast"),
    "energy": ("calm", "energetic"),
    "danceability": ("not for dancing", "danceable"),
    "valence": ("sombre", "cheerful"),
    "acousticness": ("electronic", "acoustic"),
    "instrumentalness": ("sung", "instrumental"),
    "rhythmic_pattern": ("straight rhythm", "busy rhythm"),
    "spectral_centroid": ("dark timbre", "bright timbre"),
    "tempo_stability": ("free tempo", "steady tempo"),
    "harmonic_complexity": ("simple harmony", "rich harmony"),
    "dynamic_range": ("compressed", "dynamic"),
}


class Member(NamedTuple):
    """What is kept of a sampled track."""

    name: str
    artist: str
    genre: str
    bpm: float | None
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A group of tracks that sound alike.

    Attributes
    ----------
    words : str
        What sets it apart from the library: "energetic, bright timbre".
    share : float
        Of the sampled tracks, in [0, 1].
    medians : dict
        {dimension: median}, None where nothing was measured.
    bpm : float or None
        Median tempo, BPM.
    genre : str
        The most frequent one, with its share; empty where few have one.
    typical : sequence of (str, str)
        Title and artist of the tracks nearest to its middle.
    """

    words: str
    share: float
    medians: Mapping[str, float | None]
    bpm: float | None
    genre: str
    typical: Sequence[tuple[str, str]]


class Sample:
    """A random sample of bounded size of a stream of tracks (reservoir sampling)."""

    def __init__(self, size: int = SAMPLE) -> None:
        self.seen = 0
        self.members: list[Member] = []
        self._size = size
        self._random = random.Random(_SEED)

    def add(self, row: TrackRow) -> None:
        """Take a track into account; tracks without a vector do not count."""
        if not row.hamms:
            return
        values = tuple(finite(row.hamms.get(name)) for name in DIMENSIONS)
        if all(value is None for value in values):
            return
        self.seen += 1
        place = len(self.members) if len(self.members) < self._size else self._random.randrange(self.seen)
        if place >= self._size:
            return
        name = text.track_name(row.title, row.file_path)[:120]
        member = Member(name, text.one_line(row.artist, 80), text.one_line(row.genre, 60), finite(row.bpm), values)
        if place == len(self.members):
            self.members.append(member)
        else:
            self.members[place] = member


def find_clusters(sample: Sample) -> list[Cluster]:
    """Return the groups of a sample, the largest first; none where there are too few tracks or they are all alike."""
    if len(sample.members) < LEAST:
        return []
    import numpy as np

    values = np.array([[np.nan if value is None else value for value in member.values] for member in sample.members])
    points = _points(values)
    if not float(points.std(axis=0).max()) > 0:
        return []
    judged = np.random.default_rng(_SEED).permutation(len(points))[:_JUDGED]
    tried: list[tuple[float, Array]] = []
    for count in range(2, min(_MOST_GROUPS, len(points) // 5) + 1):
        centres = _k_means(points[judged], count)
        tried.append((_silhouette(points[judged], _nearest(points[judged], centres)), centres))
    # Two halves are nearly always the clearest and say the least: more groups are taken while they are nearly as clear.
    clearest = max((clear for clear, _ in tried), default=0.0)
    if clearest <= 0:
        return []
    centres = next(centres for clear, centres in reversed(tried) if clear >= _NEARLY * clearest)
    labels = _nearest(points, centres)
    groups = [_described(sample, values, points, labels == place, centre) for place, centre in enumerate(centres)]
    return sorted((group for group in groups if group.share > 0), key=lambda group: -group.share)


def _points(values: "Array") -> "Array":
    """Return the tracks as points whose distances are those of similarity, roughly; what is unknown lies in the middle."""
    import numpy as np

    from map4_pipeline.hamms import WEIGHTS
    from map4_pipeline.hamms.similarity import COLUMNS, embed_table

    # Without the columns of trust: they are no places.
    points = embed_table(values)[:, : len(COLUMNS)].astype(np.float64)
    known = np.isfinite(points)
    means = np.where(known, points, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known, points, means) * np.sqrt([WEIGHTS[name] for name in COLUMNS])


def _k_means(points: "Array", count: int) -> "Array":
    """Return the centres of the best of a few runs (k-means++ seeding)."""
    import numpy as np

    generator = np.random.default_rng(_SEED)
    best, found = np.inf, points[:count]
    for _ in range(_STARTS):
        centres = points[[int(generator.integers(len(points)))]]
        while len(centres) < count:
            apart = _apart(points, centres).min(axis=1)
            total = apart.sum()
            chances = apart / total if total > 0 else np.full(len(points), 1 / len(points))
            centres = np.vstack([centres, points[generator.choice(len(points), p=chances)]])
        for _round in range(_ROUNDS):
            labels = _nearest(points, centres)
            moved = np.stack([points[labels == k].mean(axis=0) if (labels == k).any() else centres[k] for k in range(count)])
            done, centres = np.allclose(moved, centres), moved
            if done:
                break
        spread = float(_apart(points, centres).min(axis=1).sum())
        if spread < best:
            best, found = spread, centres
    return found


def _apart(points: "Array", centres: "Array") -> "Array":
    """Return squared distances, shape (points, centres)."""
    import numpy as np

    squares = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)[None] - 2 * points @ centres.T
    apart: Array = np.maximum(squares, 0)
    return apart


def _nearest(points: "Array", centres: "Array") -> "Array":
    found: Array = _apart(points, centres).argmin(axis=1)
    return found


def _silhouette(points: "Array", labels: "Array") -> float:
    """Return the mean silhouette (Rousseeuw 1987): how much nearer tracks are to their own group than to the next."""
    import numpy as np

    apart = np.sqrt(_apart(points, points))
    groups = np.unique(labels)
    if len(groups) < 2:
        return -1.0
    sums = np.stack([apart[:, labels == group].sum(axis=1) for group in groups], axis=1)
    sizes = np.array([(labels == group).sum() for group in groups])
    own = np.searchsorted(groups, labels)
    rows = np.arange(len(points))
    inside = sums[rows, own] / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes
    means[rows, own] = np.inf
    outside = means.min(axis=1)
    scores = np.where(sizes[own] > 1, (outside - inside) / np.maximum(np.maximum(inside, outside), 1e-12), 0)
    return float(scores.mean())


def _described(sample: Sample, values: "Array", points: "Array", inside: "Array", centre: "Array") -> Cluster:
    import numpy as np

    places = np.flatnonzero(inside)
    order = places[np.argsort(((points[places] - centre) ** 2).sum(axis=1), kind="stable")]
    members = [sample.members[place] for place in places]
    medians = {name: _median(values[places, column]) for column, name in enumerate(DIMENSIONS)}
    tempi = [member.bpm for member in members if member.bpm is not None]
    genres = Counter(member.genre for member in members if member.genre)
    genre = ""
    if genres:
        name, count = genres.most_common(1)[0]
        genre = f"{name} ({text.percent(count, len(members))})" if count > 1 else ""
    typical = [(sample.members[place].name, sample.members[place].artist) for place in order[:3]]
    return Cluster(
        words=_words(values, medians),
        share=len(places) / len(values),
        medians=medians,
        bpm=_median(np.array(tempi)) if tempi else None,
        genre=genre,
        typical=typical,
    )


def _median(column: "Array") -> float | None:
    import numpy as np

    known = column[np.isfinite(column)]
    return float(np.median(known)) if len(known) else None


def _words(values: "Array", medians: Mapping[str, float | None]) -> str:
    """Return the dimensions in which a group differs most from the library, in words."""
    import numpy as np

    telling: list[tuple[float, str]] = []
    for column, name in enumerate(DIMENSIONS):
        median, known = medians[name], values[:, column][np.isfinite(values[:, column])]
        if name not in _WORDS or median is None or not len(known):
            continue
        low, middle, high = np.percentile(known, [25, 50, 75])
        away = (median - middle) / max((high - low) / 2, 0.02)
        if abs(away) >= _HINTING:
            telling.append((abs(float(away)), _WORDS[name][int(away > 0)]))
    telling.sort(key=lambda item: -item[0])
    if telling and telling[0][0] < _TELLING:
        return f"rather {telling[0][1]}"
    return ", ".join([words for away, words in telling if away >= _TELLING][:3]) or "close to the library's middle"
