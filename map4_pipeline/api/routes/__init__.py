"""The routes of the API, one module a subject."""

from fastapi import APIRouter

from map4_pipeline.api.routes import (
    annotations,
    audio,
    auth,
    batch,
    compare,
    duplicates,
    export,
    forward,
    health,
    identities,
    libraries,
    metrics,
    playlists,
    privacy,
    queue,
    search,
    stats,
    tracks,
    users,
)

#: What the application serves.
ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    metrics.router,
    auth.router,
    identities.router,
    forward.router,
    privacy.router,
    users.router,
    libraries.router,
    queue.router,
    batch.router,  # before tracks: /api/tracks/analyze is no track
    tracks.router,
    audio.router,
    annotations.router,
    search.router,
    compare.router,
    stats.router,
    playlists.router,
    duplicates.router,
    export.router,
)
