"""Groups of tracks that sound alike, found again where they were put."""

import random

from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.reports.clusters import LEAST, SAMPLE, Sample, find_clusters
from map4_pipeline.reports.model import TrackRow

from .factory import track

#: Two kinds of music that nobody takes for each other.
KINDS = {
    "Techno": {
        "bpm": 0.65, "energy": 0.9, "danceability": 0.9, "acousticness": 0.05, "valence": 0.4, "instrumentalness": 0.9,
        "rhythmic_pattern": 0.7, "spectral_centroid": 0.7, "tempo_stability": 0.98, "harmonic_complexity": 0.2,
        "dynamic_range": 0.15,
    },
    "Folk": {
        "bpm": 0.35, "energy": 0.2, "danceability": 0.3, "acousticness": 0.9, "valence": 0.6, "instrumentalness": 0.3,
        "rhythmic_pattern": 0.3, "spectral_centroid": 0.3, "tempo_stability": 0.4, "harmonic_complexity": 0.5,
        "dynamic_range": 0.7,
    },
}  # fmt: skip


def two_kinds(size: int) -> list[TrackRow]:
    """Return so many tracks of each kind, all in one key, in turn."""
    rng = random.Random(3)
    rows = []
    for index in range(size * 2):
        genre = ("Techno", "Folk")[index % 2]
        hamms = {name: min(max(rng.gauss(value, 0.03), 0.0), 1.0) for name, value in KINDS[genre].items()} | {"key": 0.25}
        bpm = 140.0 if genre == "Techno" else 90.0
        rows.append(
            track(30 * index, genre=genre, hamms={name: hamms[name] for name in DIMENSIONS}, bpm=bpm, title=f"{genre} {index}")
        )
    return rows


def sample_of(rows: list[TrackRow], size: int = SAMPLE) -> Sample:
    sample = Sample(size)
    for row in rows:
        sample.add(row)
    return sample


def test_two_kinds_of_music_are_told_apart_and_named() -> None:
    groups = find_clusters(sample_of(two_kinds(40)))
    for group in groups:
        kind = group.typical[0][0].split()[0]
        # No group mixes the kinds, whatever their number.
        assert group.genre == f"{kind} (100%)"
        assert {title.split()[0] for title, _ in group.typical} == {kind}
        assert group.bpm == (140.0 if kind == "Techno" else 90.0)
        energy = group.medians["energy"]
        assert energy is not None
        assert abs(energy - KINDS[kind]["energy"]) < 0.1
    assert {group.genre for group in groups} == {"Techno (100%)", "Folk (100%)"}
    assert abs(sum(group.share for group in groups) - 1) < 1e-9
    assert groups == find_clusters(sample_of(two_kinds(40)))


def test_few_tracks_or_equal_ones_make_no_groups() -> None:
    rows = two_kinds(LEAST // 2)
    assert find_clusters(sample_of(rows[: LEAST - 1])) == []
    assert find_clusters(sample_of([rows[0]] * 50)) == []
    assert find_clusters(sample_of([track(30 * n, hamms={}) for n in range(50)])) == []


def test_a_dimension_that_nobody_measured_does_no_harm() -> None:
    rows = [track(30 * n, hamms=row.hamms | {"valence": None, "bpm": None}) for n, row in enumerate(two_kinds(20))]
    groups = find_clusters(sample_of(rows))
    assert groups
    assert all(group.medians["valence"] is None for group in groups)


def test_a_large_library_is_sampled_evenly() -> None:
    rows = two_kinds(400)
    sample = sample_of(rows, size=100)
    assert sample.seen == 800
    assert len(sample.members) == 100
    # From all over the stream: 800 tracks into 100 places leave about a quarter of them to each quarter.
    quarters = [sum(int(member.name.split()[1]) // 200 == quarter for member in sample.members) for quarter in range(4)]
    assert min(quarters) >= 10
