"""Playlists: made by hand, or built as sets."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from map4_pipeline.api.access import PlaylistMaker, Principal, Reader
from map4_pipeline.api.context import Context, context_of
from map4_pipeline.api.mixing import rules_of
from map4_pipeline.api.models import After, ListLimit, Next, Strict
from map4_pipeline.api.problems import Problem, not_found
from map4_pipeline.api.routes.auth import note
from map4_pipeline.api.routes.tracks import TrackId
from map4_pipeline.api.versions import IfMatch, etag_of, refuse_stale
from map4_pipeline.hamms.mixing import MixTrack
from map4_pipeline.store import playlists as store
from map4_pipeline.store.candidates import mix_rows
from map4_pipeline.store.details import visible_ids
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.reads import plain

router = APIRouter(prefix="/api/playlists", tags=["playlists"])
PlaylistId = Annotated[int, Field(ge=0, lt=2**31)]
Name = Annotated[str, Field(min_length=1, max_length=300, examples=["Friday"])]
#: Candidates of a set that is built while somebody waits.
MOST_CANDIDATES = 2000
#: Tracks that are listed where a search for the first or the last one finds several.
_SHOWN = 5


class PlaylistInfo(BaseModel):
    """A playlist without its tracks."""

    id: int
    name: str
    description: str | None
    kind: str = Field(description="manual, set (built), or edited (a set that was changed since).")
    tracks: int
    seconds: float
    created_at: datetime
    updated_at: datetime


class PlaylistPage(BaseModel):
    """A page of the playlists."""

    playlists: list[PlaylistInfo]
    next: Next


class Entry(BaseModel):
    """A track of a playlist."""

    position: int
    transition_quality: float | None = Field(description="Score of the step from the track before; null for the first.")
    track: dict[str, Any]


class PlaylistDetail(PlaylistInfo):
    """A playlist with its tracks in order."""

    entries: list[Entry]
    parameters: dict[str, Any] | None
    seed: int | None
    cost: dict[str, Any] | None


class NewPlaylist(Strict):
    """A playlist to be made by hand."""

    name: Name
    description: str | None = Field(default=None, max_length=5000)
    tracks: list[TrackId] = Field(default_factory=list, max_length=10_000)


class PlaylistChange(Strict):
    """What is to change; what is not given stays. `tracks` are all tracks, in order."""

    name: Name | None = None
    description: str | None = Field(default=None, max_length=5000)
    tracks: list[TrackId] | None = Field(default=None, max_length=10_000)


class SetWishes(Strict):
    """What a set has to be; see the documentation of sets. `start` and `end` are ids, or searches that find one track."""

    name: Name | None = None
    query: str = Field(default="", max_length=2000, examples=["genre:house bpm:120..128"])
    wishes: dict[str, Any] = Field(default_factory=dict, examples=[{"tracks": 20, "curve": "rise", "artist_gap": 3}])
    policy: str | None = Field(default=None, pattern="^(strict|extended)$")
    seed: int = Field(default=1, ge=0, lt=2**31)


@router.get("")
def list_playlists(request: Request, principal: Reader, limit: ListLimit = 100, after: After = None) -> PlaylistPage:
    """List the playlists by name, page by page."""
    with context_of(request).reading() as conn:
        found, following = store.playlist_page(conn, limit, after)
    return PlaylistPage(playlists=[PlaylistInfo(**_facts(one)) for one in found], next=following)


@router.post("", status_code=201)
def create_playlist(request: Request, principal: PlaylistMaker, body: NewPlaylist) -> PlaylistDetail:
    """Make a playlist by hand."""
    context = context_of(request)
    with context.engine.begin() as conn:
        _visible(conn, principal, body.tracks)
        qualities = _score(context, conn)(body.tracks)
        made = store.create_playlist(conn, body.name, body.tracks, qualities=qualities, description=body.description)
        store.set_owner(conn, made.id, principal.user.id)
        note(conn, request, "playlist made", principal.user, target=body.name)
        return _detail(conn, principal, made.id)


@router.post("/build", status_code=201)
def build_playlist(request: Request, principal: PlaylistMaker, body: SetWishes) -> PlaylistDetail:
    """Build a set from what a query finds, and store it. Wishes that cannot be kept together are named."""
    from dataclasses import asdict

    from map4_pipeline.playlists.builder import ROUNDS
    from map4_pipeline.playlists.curves import CurveError
    from map4_pipeline.playlists.mixing import build_from_tracks
    from map4_pipeline.playlists.parameters import parameters, wishes_from_dict
    from map4_pipeline.playlists.wishes import InfeasibleError, Weights, WishError
    from map4_pipeline.store.candidates import candidates
    from map4_pipeline.store.query import within
    from map4_pipeline.store.reads import read_query

    context = context_of(request)
    rules = rules_of(context.settings, policy=body.policy)
    query = within(read_query(body.query), principal.library_ids)
    try:
        with context.reading() as conn:
            wishes = wishes_from_dict(_numbered(conn, principal, body.wishes))
            _visible(conn, principal, [*wishes.required, *wishes.excluded])
            found = candidates(conn, query, wishes.required, MOST_CANDIDATES, body.seed)
        # No connection is held while the set is built.
        built = build_from_tracks([MixTrack(**row) for row in found.rows], rules, wishes, seed=body.seed)
    except InfeasibleError as error:
        conflicts = [asdict(conflict) | {"said": str(conflict)} for conflict in error.conflicts]
        raise Problem(409, "impossible", "No set keeps all wishes.", more={"conflicts": conflicts}) from None
    except (WishError, CurveError) as error:
        raise Problem(400, "invalid-wish", str(error)) from None
    asked = parameters(wishes, Weights(), rules, body.query, ROUNDS, MOST_CANDIDATES)
    cost = built.cost.to_dict() | {"bound": round(built.bound, 6), "proven": built.proven, "targets": built.targets}
    name = body.name or f"Set of {len(built.ids)} tracks"
    with context.engine.begin() as conn:
        made = store.create_playlist(
            conn, name, built.ids, qualities=built.scores, kind="set", parameters=asked, seed=built.seed, cost=cost
        )
        store.set_owner(conn, made.id, principal.user.id)
        note(conn, request, "set built", principal.user, target=name)
        return _detail(conn, principal, made.id)


@router.get("/{playlist_id:int}")
def get_playlist(request: Request, playlist_id: PlaylistId, principal: Reader, response: Response) -> PlaylistDetail:
    """Show a playlist with its tracks; those that one does not see are left out. `ETag` changes with every change."""
    with context_of(request).reading() as conn:
        found = _detail(conn, principal, playlist_id)
    response.headers["ETag"] = etag_of(found)
    return found


@router.patch("/{playlist_id:int}")
def update_playlist(
    request: Request,
    playlist_id: PlaylistId,
    principal: PlaylistMaker,
    body: PlaylistChange,
    response: Response,
    if_match: IfMatch = None,
) -> PlaylistDetail:
    """Rename a playlist, describe it, or put its tracks in another order. Of others' playlists, admins only."""
    context = context_of(request)
    with context.engine.begin() as conn:
        _own(conn, principal, playlist_id)
        store.lock_playlist(conn, playlist_id)
        refuse_stale(if_match, etag_of(_detail(conn, principal, playlist_id)), "playlist")
        if body.name is not None:
            store.rename_playlist(conn, playlist_id, body.name)
        if "description" in body.model_fields_set:
            store.describe_playlist(conn, playlist_id, body.description)
        if body.tracks is not None:
            _visible(conn, principal, body.tracks)
            store.set_tracks(conn, playlist_id, body.tracks, _score(context, conn))
        note(conn, request, "playlist changed", principal.user, target=str(playlist_id))
        found = _detail(conn, principal, playlist_id)
    response.headers["ETag"] = etag_of(found)
    return found


@router.delete("/{playlist_id:int}", status_code=204)
def delete_playlist(request: Request, playlist_id: PlaylistId, principal: PlaylistMaker) -> None:
    """Delete a playlist; no track and no file is touched. Of others' playlists, admins only."""
    with context_of(request).engine.begin() as conn:
        _own(conn, principal, playlist_id)
        store.delete_playlist(conn, playlist_id)
        note(conn, request, "playlist deleted", principal.user, target=str(playlist_id))


def _facts(found: store.Playlist) -> dict[str, Any]:
    return {name: getattr(found, name) for name in PlaylistInfo.model_fields}


def _detail(conn: Connection, principal: Principal, playlist_id: int) -> PlaylistDetail:
    found = _find(conn, playlist_id)
    every = store.entries(conn, playlist_id)
    seen = visible_ids(conn, [entry.track["id"] for entry in every], principal.library_ids)
    entries = [
        Entry(position=entry.position, transition_quality=entry.transition_quality, track=plain(entry.track))
        for entry in every
        if entry.track["id"] in seen
    ]
    return PlaylistDetail(**_facts(found), entries=entries, parameters=found.parameters, seed=found.seed, cost=found.cost)


def _find(conn: Connection, playlist_id: int) -> store.Playlist:
    try:
        return store.find_by_id(conn, playlist_id)
    except StoreError:
        raise not_found(f"playlist {playlist_id}") from None


def _own(conn: Connection, principal: Principal, playlist_id: int) -> None:
    if _find(conn, playlist_id).owner_id != principal.user.id and principal.user.role != "admin":
        raise Problem(403, "not-allowed", "This playlist is somebody else's. Copy it, or ask an admin.")


def _visible(conn: Connection, principal: Principal, ids: list[int]) -> None:
    seen = visible_ids(conn, ids, principal.library_ids)
    for track_id in ids:
        if track_id not in seen:
            raise Problem(409, "conflict", f"There is no track {track_id}.")


def _numbered(conn: Connection, principal: Principal, wishes: dict[str, Any]) -> dict[str, Any]:
    """Return wishes with the id of a start or an end that is named by a search, as people do."""
    from map4_pipeline.store.query import within
    from map4_pipeline.store.reads import read_query
    from map4_pipeline.store.search import search

    found = dict(wishes)
    for name in ("start", "end"):
        said = found.get(name)
        if not isinstance(said, str):
            continue
        if said.strip().isdecimal() and len(said) < 18:
            found[name] = int(said)
            continue
        rows = search(conn, within(read_query(said[:2000]), principal.library_ids), _SHOWN + 1).rows
        if len(rows) == 1:
            found[name] = rows[0]["id"]
            continue
        if not rows:
            raise Problem(400, "invalid-wish", f"No track is found by {said!r}, with which the set is to {name}.")
        shown = "; ".join(
            f"{row['title'] or row['file_name']} ({row['artist'] or 'unknown'}): {row['id']}" for row in rows[:_SHOWN]
        )
        more = ", and more" if len(rows) > _SHOWN else ""
        raise Problem(400, "invalid-wish", f"{said!r} finds several tracks. Say more, or give a track's number: {shown}{more}.")
    return found


def _score(context: Context, conn: Connection) -> store.Scoring:
    """Return what works out the transitions of an order of tracks, by the settings' rules."""
    from map4_pipeline.playlists.mixing import transition_qualities

    rules = rules_of(context.settings)

    def score(ids: Any) -> list[float | None]:
        return list(transition_qualities([MixTrack(**row) for row in mix_rows(conn, ids)], rules))

    return score
