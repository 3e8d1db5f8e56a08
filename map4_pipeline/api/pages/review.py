"""Duplicates to decide about, statistics, exports."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response

from map4_pipeline.api.access import Exporter, Reader
from map4_pipeline.api.context import context_of
from map4_pipeline.api.models import After
from map4_pipeline.api.pages.rendering import page_router, render
from map4_pipeline.api.pages.words import FORMATS, codec
from map4_pipeline.api.routes.duplicates import State, get_duplicates, list_duplicates
from map4_pipeline.api.routes.export import Format, list_exports
from map4_pipeline.api.routes.playlists import PlaylistId
from map4_pipeline.api.routes.stats import TOLERANCE_SECONDS
from map4_pipeline.reports.fields import FIELDS
from map4_pipeline.store.exports import KINDS
from map4_pipeline.store.playlists import find_by_id, playlist_page
from map4_pipeline.store.reads import read_facets, read_sums

router = page_router()
_GROUPS = 50
_EXPORTS = 50
#: Playlists that the form for an export offers; of others their own page leads to it.
_PLAYLISTS = 500
STATES = {"open": "To decide", "keep": "One is kept", "not_duplicates": "No duplicates", "ignore": "Left as they are"}


@router.get("/duplicates")
def duplicates_page(
    request: Request,
    principal: Reader,
    state: State = "open",
    last: Annotated[int | None, Query(ge=0, le=2**53 - 1)] = None,
    after: After = None,
) -> Response:
    """Show groups of duplicates; `last` was just decided about and can be taken back."""
    page = list_duplicates(request, principal, state=[state], limit=_GROUPS, after=after)
    decided = None if last is None else get_duplicates(request, last, principal)
    return render(
        request, "duplicates.html", principal, groups=page.groups, state=state, states=STATES, following=page.next,
        decided=decided if decided is not None and decided.state != "open" else None,
    )  # fmt: skip


@router.get("/statistics")
def statistics_page(request: Request, principal: Reader) -> Response:
    """Show the library in figures."""
    context = context_of(request)
    granted = principal.library_ids
    with context.reading() as conn:
        library = read_sums(conn, context.cache, "summary", libraries=granted, tolerance=TOLERANCE_SECONDS)
        counted = read_facets(conn, context.cache, "", 40, libraries=granted, tolerance=TOLERANCE_SECONDS)
        genres = read_sums(conn, context.cache, "genres", libraries=granted, tolerance=TOLERANCE_SECONDS)[:20]
        time = read_sums(conn, context.cache, "timeline", libraries=granted, tolerance=TOLERANCE_SECONDS)
    decades: dict[str, int] = {}
    for year in time["years"]:
        label = f"{year['year'] // 10 * 10}s"
        decades[label] = decades.get(label, 0) + year["tracks"]
    facets = counted["counts"]
    charts = {
        "Genres": {one["genre"] or "without": one["tracks"] for one in genres},
        "Tempo": {f"{low} to {int(low) + 10}": n for low, n in _ascending(facets.get("bpm", {})).items()},
        "Keys": _ascending(facets.get("camelot", {})),
        "Decades": decades,
        "Formats": {codec(name): n for name, n in facets.get("format", {}).items()},
        "Added by month": {one["month"]: one["tracks"] for one in time["added"][-24:]},
    }
    return render(request, "statistics.html", principal, library=library, approximate=counted["approximate"], charts=charts)


@router.get("/exports")
def exports_page(
    request: Request,
    principal: Exporter,
    q: Annotated[str, Query(max_length=2000)] = "",
    playlist: PlaylistId | None = None,
    after: After = None,
) -> Response:
    """Show one's exports, and the form for the next one; with `playlist` for that one."""
    page = list_exports(request, principal, limit=_EXPORTS, after=after)
    with context_of(request).engine.connect() as conn:
        lists = playlist_page(conn, _PLAYLISTS)[0]
        chosen = None if playlist is None else find_by_id(conn, playlist)
    if chosen is not None and chosen.id not in (one.id for one in lists):
        lists.insert(0, chosen)
    formats = [one.value for one in Format if one.value != "xlsx"]
    groups = {
        "fields": [name for name, kind in KINDS.items() if kind.takes_fields],
        "decks": [name for name, kind in KINDS.items() if kind.is_deck],
    }
    return render(
        request, "exports.html", principal, jobs=page.exports, following=page.next, formats=formats, titles=FORMATS, q=q,
        playlists=lists, names={one.id: one.name for one in lists}, playlist=chosen, fields=FIELDS, groups=groups,
    )  # fmt: skip


def _ascending(counts: Mapping[str, int]) -> dict[str, Any]:
    def place(label: str) -> tuple[int, str]:
        digits = "".join(letter for letter in label if letter.isdigit())
        return int(digits or 0), label

    return {label: counts[label] for label in sorted(counts, key=place)}
