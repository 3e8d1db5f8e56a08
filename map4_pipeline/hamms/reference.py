"""What is usual: how the dimensions and the similarities of two tracks at random are distributed in the reference music.

`reference.json` holds quantiles only; `python -m benchmarks.reference` makes it, and docs/mixing.md names the music. A value of
a dimension means little by itself (most tempi are stable, few pieces are acoustic), so similarity compares places among other
tracks, and a similarity is told as a percentile among random pairs.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Two tracks are called alike from this percentile among random pairs on: one pair in forty by chance. Music of one kind is more
#: alike than music at large, and even there the word should mean something.
ALIKE_PERCENTILE = 97.5


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference distribution.

    Attributes
    ----------
    version : str
        Changes whenever a similarity or a percentile could change.
    dimensions : dict
        {dimension: (values, ranks)}: increasing values and the share of the reference music below each.
    similarities : array, shape (n,)
        Quantiles of the similarity of random pairs, evenly spaced from 0 to 100%.
    provenance : dict
        Which music, how many tracks and pairs, which versions of the analysis.
    """

    version: str
    dimensions: "dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]"
    similarities: "NDArray[np.float64]"
    provenance: dict[str, Any]

    def rank(self, name: str, values: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Return the places of values among the reference music, in [0, 1]; NaN stays."""
        known, ranks = self.dimensions[name]
        return np.asarray(np.interp(values, known, ranks))

    def percentile(self, score: float) -> float:
        """Return the share of random pairs that are less alike than this similarity, per cent."""
        return float(self.percentiles(np.array(score)))

    def percentiles(self, scores: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Return the percentile of each of many similarities."""
        return np.asarray(np.interp(scores, self.similarities, np.linspace(0, 100, len(self.similarities))))

    def similarity_at(self, percentile: float) -> float:
        """Return the similarity that a share of random pairs, per cent, stays below."""
        return float(np.interp(percentile, np.linspace(0, 100, len(self.similarities)), self.similarities))

    @property
    def alike(self) -> float:
        """The similarity from which two tracks are called alike."""
        return self.similarity_at(ALIKE_PERCENTILE)


@lru_cache(maxsize=1)
def reference() -> Reference:
    """Return the distribution that comes with this version."""
    raw = json.loads(Path(__file__).with_name("reference.json").read_text(encoding="utf-8"))
    dimensions = {name: (np.array(known), np.array(ranks)) for name, (known, ranks) in raw["dimensions"].items()}
    return Reference(raw["version"], dimensions, np.array(raw["similarities"]), raw["provenance"])
