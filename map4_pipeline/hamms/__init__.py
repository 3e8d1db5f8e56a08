"""HAMMS v3.0: twelve measured dimensions of a track, each in [0, 1], and what follows from them.

Pure Python but for `similarity`; importing this package costs nothing.
"""

#: Bump when any value of a vector could change for the same features.
HAMMS_VERSION = "1"

#: The twelve dimensions in their order, with their weights in similarity.
WEIGHTS: dict[str, float] = {
    "bpm": 1.3,
    "key": 1.4,
    "energy": 1.2,
    "danceability": 0.9,
    "valence": 0.8,
    "acousticness": 0.6,
    "instrumentalness": 0.5,
    "rhythmic_pattern": 1.1,
    "spectral_centroid": 0.7,
    "tempo_stability": 0.9,
    "harmonic_complexity": 0.8,
    "dynamic_range": 0.6,
}
DIMENSIONS: tuple[str, ...] = tuple(WEIGHTS)

__all__ = ["DIMENSIONS", "HAMMS_VERSION", "WEIGHTS"]
