"""Several tracks side by side: every transition, how alike they are, and the best order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from map4_pipeline.hamms.order import Order, best_order
from map4_pipeline.hamms.similarity import compare_rows, embed_many
from map4_pipeline.hamms.transition import MixTable, MixTrack, Transition, TransitionRules, transition, transition_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of n tracks.

    Attributes
    ----------
    scores : float32 array, shape (n, n)
        Row i, column j: the transition from track i to track j.
    similarities : float32 array, shape (n, n)
        Symmetric; NaN where two tracks have no dimension in common.
    order : Order
        The order whose transitions score most together.
    steps : tuple of Transition
        From each track of that order to the next.
    """

    scores: "NDArray[np.float32]"
    similarities: "NDArray[np.float32]"
    order: Order
    steps: tuple[Transition, ...]


def compare_tracks(
    tracks: Sequence[MixTrack], vectors: Sequence[Mapping[str, float | None]], rules: TransitionRules | None = None
) -> Comparison:
    """Compare tracks.

    Parameters
    ----------
    vectors : sequence of mapping
        The tracks' HAMMS values; an empty mapping for a track without.
    """
    rules = rules or TransitionRules()
    scores = transition_scores(MixTable.of(tracks), rules)
    points = embed_many(vectors, [(track.bpm_confidence, track.key_confidence) for track in tracks])
    likeness = np.stack([compare_rows(points, point) for point in points]) if len(points) else np.zeros((0, 0), np.float32)
    order = best_order(scores)
    played = [tracks[place] for place in order.places]
    steps = tuple(transition(a, b, rules) for a, b in pairwise(played))
    return Comparison(scores, likeness, order, steps)
