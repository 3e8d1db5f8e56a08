"""Tracks: lists, one with all that is known of it, corrections, hiding, and what is like it."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field
from sqlalchemy import Connection

from map4_pipeline.api.access import Editor, Principal, Reader
from map4_pipeline.api.context import Context, context_of
from map4_pipeline.api.models import After, Strict, TrackDetail, TrackPage
from map4_pipeline.api.problems import not_found
from map4_pipeline.api.responses import Json
from map4_pipeline.api.routes.auth import note
from map4_pipeline.api.versions import IfMatch, refuse_stale
from map4_pipeline.store.corrections import correct, withdraw
from map4_pipeline.store.details import hide_track, lock_track, restore_track, track_detail, track_version
from map4_pipeline.store.reads import read_count, read_search, search_document

router = APIRouter(prefix="/api/tracks", tags=["tracks"])
Limit = Annotated[int, Query(ge=1, le=500)]
Words = Annotated[str, Query(max_length=2000, description="As in `map4 search`.", examples=["genre:house bpm:120..128"])]
#: The largest number that every JSON reader takes as it is; no id is larger.
TrackId = Annotated[int, Field(ge=0, le=2**53 - 1)]


class Correction(Strict):
    """Values that are to stand in the place of what the file and the analysis say. What is not given stays."""

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    album_artist: str | None = None
    composer: str | None = None
    genre: str | None = None
    year: int | None = None
    track_number: int | None = None
    disc_number: int | None = None
    bpm: float | None = Field(default=None, description="Confirming a tempo is correcting it to what it is.", examples=[128.0])
    key: str | None = Field(default=None, examples=["8A"])
    energy: float | None = None
    withdraw: list[str] = Field(default_factory=list, max_length=20, description="Corrections to be taken back.")


def page(request: Request, principal: Principal, words: str, limit: int, after: str | None, count: bool) -> Response:
    """Return a page of a search as a response."""
    context, granted = context_of(request), principal.library_ids
    with context.reading() as conn:
        if not count:
            document = search_document(conn, context.cache, words, limit, after, libraries=granted)
            return Response(document, media_type="application/json")
        found = read_search(conn, context.cache, words, limit, after, libraries=granted)
        return Json(found | read_count(conn, context.cache, words, libraries=granted))


@router.get("", response_model=TrackPage)
def list_tracks(
    request: Request, principal: Reader, q: Words = "", limit: Limit = 50, after: After = None, count: bool = False
) -> Response:
    """List tracks, page by page; `q` chooses and sorts as in a search."""
    return page(request, principal, q, limit, after, count)


@router.get("/{track_id:int}", response_model=TrackDetail)
def get_track(
    request: Request,
    track_id: TrackId,
    principal: Reader,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Show a track with all that is known of it. `ETag` changes with every change."""
    context = context_of(request)
    with context.reading() as conn:
        version = _visible(conn, principal, track_id)
        etag = f'"{version}"'
        if if_none_match is not None and etag in if_none_match:
            return Response(status_code=304, headers={"ETag": etag})
        found = track_detail(conn, context.cache, track_id)
    if found is None:
        raise not_found(f"track {track_id}")
    return Json(found, headers={"ETag": etag})


@router.put("/{track_id:int}", response_model=TrackDetail)
def update_track(
    request: Request,
    track_id: TrackId,
    principal: Editor,
    body: Correction,
    if_match: IfMatch = None,
) -> Response:
    """Correct a track, or take corrections back. The file is not touched; the measured values are kept beside.

    With `If-Match` and the `ETag` that was shown, nothing is written over what somebody else has changed meanwhile.
    """
    context = context_of(request)
    values = body.model_dump(exclude_unset=True, exclude={"withdraw"})
    with context.engine.begin() as conn:
        lock_track(conn, track_id)
        version = _visible(conn, principal, track_id)
        refuse_stale(if_match, f'"{version}"', "track")
        changes = withdraw(conn, track_id, body.withdraw, user_id=principal.user.id) if body.withdraw else {}
        changes |= correct(conn, track_id, values, user_id=principal.user.id, user_name=principal.user.name) if values else {}
        note(conn, request, "track corrected", principal.user, target=str(track_id), detail={"fields": sorted(changes)})
    with context.reading() as conn:
        version = _visible(conn, principal, track_id)
        found = track_detail(conn, context.cache, track_id)
    return Json(found, headers={"ETag": f'"{version}"'})


@router.delete("/{track_id:int}", status_code=204)
def delete_track(request: Request, track_id: TrackId, principal: Editor) -> None:
    """Hide a track until it is restored. Its file stays: MAP4 deletes none."""
    _change(context_of(request), request, principal, track_id, "track hidden", hide_track)


@router.post("/{track_id:int}/restore", status_code=204)
def undelete_track(request: Request, track_id: TrackId, principal: Editor) -> None:
    """Show a hidden track again."""
    _change(context_of(request), request, principal, track_id, "track restored", restore_track)


@router.get("/{track_id:int}/similar", response_model=list[dict[str, Any]])
def list_similar(
    request: Request,
    track_id: TrackId,
    principal: Reader,
    q: Words = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    by: Literal["similarity", "mix"] = "similarity",
    policy: Literal["strict", "extended"] | None = None,
) -> Response:
    """List the tracks that are most like one (`by=similarity`), or into which it mixes best (`by=mix`), with the reasons."""
    from map4_pipeline.api.mixing import rules_of, shown_similar
    from map4_pipeline.store.query import within
    from map4_pipeline.store.reads import read_query
    from map4_pipeline.store.similar import similar_tracks

    context = context_of(request)
    rules = rules_of(context.settings, policy=policy)
    query = within(read_query(q), principal.library_ids)
    with context.reading() as conn:
        _visible(conn, principal, track_id)
        found = similar_tracks(conn, track_id, limit, query, by=by, rules=rules)
    return Json([shown_similar(one) for one in found])


def _visible(conn: Connection, principal: Principal, track_id: int) -> str:
    """Return a track's version, if this user sees it."""
    version = track_version(conn, track_id, principal.library_ids)
    if version is None:
        raise not_found(f"track {track_id}")
    return version


def _change(context: Context, request: Request, principal: Principal, track_id: int, action: str, change: Any) -> None:
    with context.engine.begin() as conn:
        _visible(conn, principal, track_id)
        if change(conn, track_id):
            note(conn, request, action, principal.user, target=str(track_id))
