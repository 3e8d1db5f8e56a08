"""A track with all that is known of it, and tracks beside each other."""

from typing import Annotated, Any, Literal

from fastapi import Query, Request
from starlette.responses import Response

from map4_pipeline.api.access import Reader
from map4_pipeline.api.context import context_of
from map4_pipeline.api.mixing import rules_of, shown_similar
from map4_pipeline.api.pages.rendering import page_router, render
from map4_pipeline.api.problems import not_found
from map4_pipeline.api.routes.compare import Tracks, compare
from map4_pipeline.api.routes.tracks import TrackId
from map4_pipeline.store.details import track_detail, track_version
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.query import within
from map4_pipeline.store.reads import plain, read_query
from map4_pipeline.store.similar import similar_tracks, tracks_by_id

router = page_router()
_MATCHES = 8
#: Fields that the page lets correct: name, what people call it, the input's type.
FIELDS = (
    ("bpm", "Tempo (BPM)", "number"), ("key", "Key", "text"), ("energy", "Energy (0 to 1)", "number"), ("title", "Title", "text"),
    ("artist", "Artist", "text"), ("album", "Album", "text"), ("genre", "Genre", "text"), ("year", "Year", "integer"),
)  # fmt: skip


@router.get("/tracks/{track_id}")
def track_page(request: Request, track_id: TrackId, principal: Reader) -> Response:
    """Show a track."""
    context = context_of(request)
    matches: dict[str, list[dict[str, Any]]] = {"mix": [], "similarity": []}
    lonely = ""
    with context.reading() as conn:
        version = track_version(conn, track_id, principal.library_ids)
        found = None if version is None else track_detail(conn, context.cache, track_id)
        if found is None:
            raise not_found(f"track {track_id}")
        rules, query = rules_of(context.settings), within(read_query(""), principal.library_ids)
        ways: tuple[Literal["mix", "similarity"], ...] = ("mix", "similarity")
        try:
            for way in ways:
                near = similar_tracks(conn, track_id, _MATCHES, query, by=way, rules=rules)
                matches[way] = [shown_similar(one) for one in near]
        except StoreError as told:
            lonely = str(told)
    return render(
        request, "track.html", principal, track=found, version=version, analysis=found["analysis"] or {}, matches=matches,
        lonely=lonely, fields=FIELDS,
    )  # fmt: skip


@router.get("/compare")
def compare_page(
    request: Request, principal: Reader, t: Annotated[list[TrackId] | None, Query(max_length=100)] = None
) -> Response:
    """Show how tracks go together, and the best order."""
    ids = list(dict.fromkeys(t or []))
    if len(ids) < 2:
        return render(request, "compare.html", principal, found=None, tracks={}, ids=ids)
    found = compare(request, principal, Tracks(tracks=ids))
    with context_of(request).reading() as conn:
        rows = {row["id"]: plain(row) for row in tracks_by_id(conn, ids)}
    return render(request, "compare.html", principal, found=found, tracks=rows, ids=ids)
