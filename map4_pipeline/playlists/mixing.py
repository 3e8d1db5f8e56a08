"""From tracks as mixing knows them to a set: the pool, the matrix of transition scores, the search."""

from collections.abc import Sequence
from itertools import pairwise

from map4_pipeline.hamms.transition import MixTable, MixTrack, TransitionRules, transition, transition_scores
from map4_pipeline.playlists.builder import ROUNDS, BuiltSet, build_set
from map4_pipeline.playlists.pool import Pool, make_pool
from map4_pipeline.playlists.wishes import Weights, Wishes


def pool_of(tracks: Sequence[MixTrack]) -> Pool:
    """Return tracks as a pool."""
    return make_pool(
        [track.track_id for track in tracks],
        bpm=[track.bpm for track in tracks],
        energy=[track.energy for track in tracks],
        duration=[track.duration for track in tracks],
        camelot=[track.camelot for track in tracks],
        artist=[track.artist for track in tracks],
        names=[name_of(track) for track in tracks],
    )


def name_of(track: MixTrack) -> str:
    """Return "Artist - Title (track 12)", or what of it there is."""
    known = " - ".join(part for part in (track.artist, track.title) if part)
    return f"{known} (track {track.track_id})" if known else f"track {track.track_id}"


def build_from_tracks(
    tracks: Sequence[MixTrack],
    rules: TransitionRules,
    wishes: Wishes,
    weights: Weights | None = None,
    *,
    seed: int = 1,
    rounds: int = ROUNDS,
    prove: bool = True,
) -> BuiltSet:
    """Return the best set found of these tracks: see `builder.build_set`.

    Of 5,000 tracks the scores take 100 MB, and the search as much again.
    """
    scores = transition_scores(MixTable.of(tracks), rules)
    return build_set(pool_of(tracks), scores, wishes, weights, seed=seed, rounds=rounds, prove=prove)


def transition_qualities(tracks: Sequence[MixTrack], rules: TransitionRules) -> list[float]:
    """Return the score of each step through tracks in their order: one fewer than tracks."""
    return [transition(a, b, rules).score for a, b in pairwise(tracks)]
