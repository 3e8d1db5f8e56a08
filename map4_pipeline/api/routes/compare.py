"""Comparison: how tracks go together, in which order, and why."""

from math import isfinite
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from map4_pipeline.api.access import Principal, Reader
from map4_pipeline.api.context import context_of
from map4_pipeline.api.mixing import rules_of
from map4_pipeline.api.models import Strict
from map4_pipeline.api.problems import not_found
from map4_pipeline.api.routes.tracks import TrackId
from map4_pipeline.store.details import visible_ids

router = APIRouter(prefix="/api", tags=["comparison"])
PitchRange = Annotated[float | None, Query(gt=0, le=25, description="How far a player's tempo may be moved, per cent.")]


class Tracks(Strict):
    """Which tracks, and how a DJ mixes; what is not given is as the server's settings have it."""

    tracks: list[TrackId] = Field(min_length=2, max_length=100, examples=[[1, 2, 3]])
    policy: Literal["strict", "extended"] | None = None
    key_lock: bool | None = None
    pitch_range: float | None = Field(default=None, gt=0, le=25)


class Step(BaseModel):
    """From one track to the next."""

    score: float = Field(ge=0, le=1)
    label: Literal["blend", "harmonic mix", "tempo match", "creative", "avoid"]
    reason: str
    parts: dict[str, Any]


class Compatibility(Step):
    """How well a second track follows a first, and how alike they are."""

    similarity: float | None
    percentile: float | None = Field(description="Share of random pairs of the reference music that are less alike, per cent.")
    contributions: dict[str, float] = Field(description="What each dimension has of the distance.")


class Compared(BaseModel):
    """Tracks beside each other."""

    tracks: list[int]
    scores: list[list[float]] = Field(description="Row i, column j: from track i to track j.")
    similarities: list[list[float | None]]
    order: list[int] = Field(description="The order whose transitions score most together.")
    exact: bool = Field(description="No order scores more.")
    steps: list[Step]


@router.post("/compare")
def compare(request: Request, principal: Reader, body: Tracks) -> Compared:
    """Compare tracks: how each goes into each, how alike they are, and the best order."""
    from map4_pipeline.cli.mixing import transition_json
    from map4_pipeline.hamms.comparison import compare_tracks
    from map4_pipeline.store.similar import mix_track

    context = context_of(request)
    ids = list(dict.fromkeys(body.tracks))
    with context.reading() as conn:
        rows = _rows(conn, principal, ids)
    rules = rules_of(context.settings, policy=body.policy, key_lock=body.key_lock, pitch_range=body.pitch_range)
    found = compare_tracks([mix_track(row) for row in rows], [row["hamms"] or {} for row in rows], rules)
    return Compared(
        tracks=ids,
        scores=[[round(float(value), 4) for value in line] for line in found.scores],
        similarities=[[round(float(value), 4) if isfinite(value) else None for value in line] for line in found.similarities],
        order=[ids[place] for place in found.order.places],
        exact=found.order.exact,
        steps=[Step(**transition_json(step)) for step in found.steps],
    )


@router.get("/compatibility/{track1_id:int}/{track2_id:int}")
def get_compatibility(
    request: Request,
    track1_id: TrackId,
    track2_id: TrackId,
    principal: Reader,
    policy: Literal["strict", "extended"] | None = None,
    key_lock: bool | None = None,
    pitch_range: PitchRange = None,
) -> Compatibility:
    """Say how well the second track follows the first, and why."""
    from map4_pipeline.cli.mixing import transition_json
    from map4_pipeline.hamms.similarity import compare, embed_tracks
    from map4_pipeline.hamms.transition import transition
    from map4_pipeline.store.similar import mix_track

    context = context_of(request)
    with context.reading() as conn:
        first, second = _rows(conn, principal, [track1_id, track2_id])
    rules = rules_of(context.settings, policy=policy, key_lock=key_lock, pitch_range=pitch_range)
    step = transition(mix_track(first), mix_track(second), rules)
    alike = compare(*embed_tracks((first, second)))
    return Compatibility(
        **transition_json(step), similarity=alike.score, percentile=alike.percentile, contributions=alike.contributions
    )


def _rows(conn: Connection, principal: Principal, ids: list[int]) -> list[dict[str, Any]]:
    """Return tracks in the order asked for, all of which this user has to see."""
    from map4_pipeline.store.similar import tracks_by_id

    seen = visible_ids(conn, ids, principal.library_ids)
    for track_id in ids:
        if track_id not in seen:
            raise not_found(f"track {track_id}")
    rows = {row["id"]: row for row in tracks_by_id(conn, ids)}
    return [rows[track_id] for track_id in ids]
