"""Playlists: a list, one with its energy curve and order, making one, building a set."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from map4_pipeline.api.access import Permission, PlaylistMaker, Reader
from map4_pipeline.api.context import context_of
from map4_pipeline.api.models import After
from map4_pipeline.api.pages.rendering import page_router, render
from map4_pipeline.api.routes.playlists import PlaylistId, get_playlist
from map4_pipeline.api.routes.tracks import TrackId
from map4_pipeline.playlists.curves import SHAPES
from map4_pipeline.store import playlists as store
from map4_pipeline.store.details import visible_ids
from map4_pipeline.store.reads import plain
from map4_pipeline.store.similar import tracks_by_id

router = page_router()
_ROWS = 100


@router.get("/playlists")
def playlists_page(request: Request, principal: Reader, after: After = None) -> Response:
    """List the playlists, page by page."""
    with context_of(request).reading() as conn:
        found, following = store.playlist_page(conn, _ROWS, after)
    return render(request, "playlists.html", principal, playlists=found, following=following)


@router.get("/playlists/new")
def new_playlist_page(
    request: Request, principal: PlaylistMaker, t: Annotated[list[TrackId] | None, Query(max_length=500)] = None
) -> Response:
    """Show the form for a playlist of the tracks that were chosen, and the playlists to which they can be added."""
    ids = list(dict.fromkeys(t or []))
    with context_of(request).reading() as conn:
        there = visible_ids(conn, ids, principal.library_ids)
        seen = [id_ for id_ in ids if id_ in there]
        rows = {row["id"]: plain(row) for row in tracks_by_id(conn, seen)}
        mine = [one for one in store.list_playlists(conn) if one.owner_id == principal.user.id]
        orders = {one.id: store.track_ids(conn, one.id) for one in mine} if seen else {}
    return render(
        request,
        "playlist_new.html",
        principal,
        tracks=[rows[id_] for id_ in seen if id_ in rows],
        ids=seen,
        mine=mine,
        orders=orders,
    )


@router.get("/playlists/build")
def build_page(request: Request, principal: PlaylistMaker, q: str = "", start: TrackId | None = None) -> Response:
    """Show the set builder."""
    return render(request, "playlist_build.html", principal, q=q, start=start, shapes=list(SHAPES))


@router.get("/playlists/{playlist_id}")
def playlist_page(request: Request, playlist_id: PlaylistId, principal: Reader) -> Response:
    """Show a playlist in its order."""
    found = get_playlist(request, playlist_id, principal, Response())
    with context_of(request).reading() as conn:
        owner = store.find_by_id(conn, playlist_id).owner_id
    mine = principal.may(Permission.PLAYLISTS) and (owner == principal.user.id or principal.user.role == "admin")
    # Who does not see all of its tracks would take the others out by saving an order.
    own = mine and len(found.entries) == found.tracks
    targets = (found.cost or {}).get("targets") if found.kind == "set" else None
    return render(request, "playlist.html", principal, playlist=found, own=own, targets=targets or [])
