"""Search as you type, with counts by property; and what is doubtful, to be confirmed or corrected."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response

from map4_pipeline.api.access import Reader
from map4_pipeline.api.context import context_of
from map4_pipeline.api.models import After
from map4_pipeline.api.pages.rendering import page_router, render
from map4_pipeline.api.pages.words import codec
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.query import QueryError
from map4_pipeline.store.reads import read_count, read_facets, read_search

router = page_router()
_PAGE = 50
_FACETS = {"genre": "Genre", "camelot": "Key", "bpm": "Tempo", "decade": "Decade", "format": "Format"}
_FACET_VALUES = 12
#: Facets in which people look for a value by its place, not by how common it is.
_ORDERED = ("camelot", "bpm", "decade")
#: Orders that the page offers.
SORTS = {
    "": "As added", "artist": "Artist", "title": "Title", "bpm": "Tempo, slow first", "-bpm": "Tempo, fast first", "key": "Key",
    "-energy": "Energy, high first", "energy": "Energy, low first", "-added": "Newest first", "-year": "Year, latest first",
}  # fmt: skip
Words = Annotated[str, Query(max_length=2000)]


@router.get("/")
def search_page(
    request: Request, principal: Reader, q: Words = "", sort: Annotated[str, Query(max_length=40)] = "", after: After = None
) -> Response:
    """Show what a search finds, page by page, and what it could be narrowed to."""
    context = context_of(request)
    order = sort if sort in SORTS else ""
    words = f"{q} sort:{order}" if order and "sort:" not in q else q
    found: dict[str, Any] = {"tracks": [], "next": None}
    counted: dict[str, Any] = {"count": 0, "more": False}
    facets: list[dict[str, Any]] = []
    error = ""
    with context.reading() as conn:
        try:
            found = read_search(conn, context.cache, words, _PAGE, after, libraries=principal.library_ids)
            counted = read_count(conn, context.cache, q, libraries=principal.library_ids)
            counts = read_facets(conn, context.cache, q, libraries=principal.library_ids)
            facets = _facets(q, order, counts["counts"])
        except (QueryError, StoreError) as told:
            error = str(told)
    return render(
        request, "search.html", principal, status=400 if error else 200, q=q, sort=order, sorts=SORTS, after=after,
        rows=found["tracks"], following=found["next"], counted=counted, facets=facets, error=error,
    )  # fmt: skip


@router.get("/doubtful")
def doubtful_page(request: Request, principal: Reader, q: Words = "", after: After = None) -> Response:
    """Show tracks whose tempo or key is doubtful."""
    context = context_of(request)
    with context.reading() as conn:
        found = read_search(conn, context.cache, f"is:doubtful {q}", 20, after, libraries=principal.library_ids)
        counted = read_count(conn, context.cache, f"is:doubtful {q}", libraries=principal.library_ids)
    return render(
        request, "doubtful.html", principal, q=q, after=after, rows=found["tracks"], following=found["next"], counted=counted
    )


def _facets(q: str, sort: str, counts: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Return the facets with the search that each value leads to; a value that is asked for leads back."""
    made = []
    for name, title in _FACETS.items():
        values = []
        commonest = list(counts.get(name, {}).items())[:_FACET_VALUES]
        for value, count in sorted(commonest, key=_place) if name in _ORDERED else commonest:
            term, label = _term(name, value)
            chosen = f" {term} " in f" {q} "
            onward = f" {q} ".replace(f" {term} ", " ", 1).strip() if chosen else f"{q} {term}".strip()
            values.append({"label": label, "count": count, "chosen": chosen, "to": {"q": onward, "sort": sort}})
        if values:
            made.append({"title": title, "values": values})
    return made


def _term(name: str, value: str) -> tuple[str, str]:
    """Return the term of a query that stands for a facet's value, and what people call it."""
    if name == "bpm":
        low = int(value)
        return f"bpm:{low}..{low + 9.9:g}", f"{low} to {low + 10} BPM"
    if name == "decade":
        return f"year:{value}..{int(value) + 9}", f"{value}s"
    if name == "camelot":
        return f"key:{value}", value
    plain = value.replace('"', " ")
    return f'{name}:"{plain}"', codec(value) if name == "format" else value


def _place(counted: tuple[str, int]) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, counted[0]))
    return int(digits or 0), counted[0]
