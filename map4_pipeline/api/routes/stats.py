"""Statistics: the library at a glance, by genre, and over time."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from map4_pipeline.api.access import Reader
from map4_pipeline.api.context import context_of
from map4_pipeline.store.reads import read_facets, read_statistics, read_sums

router = APIRouter(prefix="/api/stats", tags=["statistics"])
#: Sums over the library may be so old while it changes: one correction does not have everybody count 100,000 tracks anew.
TOLERANCE_SECONDS = 10.0


class Measures(BaseModel):
    """How much music, and what it is like on average."""

    tracks: int
    hours: float | None
    bpm: float | None
    energy: float | None
    loudness_lufs: float | None


class LibraryStats(Measures):
    """The library at a glance: what the user sees of it, with counts by property."""

    facets: dict[str, dict[str, int]]
    approximate: bool = Field(description="The counts by property are estimated from a sample.")
    whole: dict[str, Any] | None = Field(description="All distributions; for users who see every library.")


class Genre(Measures):
    """One genre; null: tracks without."""

    genre: str | None


class Year(Measures):
    """Music that came out in a year."""

    year: int


class Month(Measures):
    """Music that came into the library in a month."""

    month: str = Field(examples=["2026-03"])


class Timeline(BaseModel):
    """How the music and the library went on."""

    years: list[Year]
    added: list[Month]


@router.get("/library")
def get_library_statistics(request: Request, principal: Reader) -> LibraryStats:
    """Show the library at a glance."""
    context = context_of(request)
    granted = principal.library_ids
    with context.reading() as conn:
        facets = read_facets(conn, context.cache, "", libraries=granted, tolerance=TOLERANCE_SECONDS)
        whole = read_statistics(conn, context.cache, tolerance=TOLERANCE_SECONDS) if granted is None else None
        measures = read_sums(conn, context.cache, "summary", libraries=granted, tolerance=TOLERANCE_SECONDS)
    return LibraryStats(**measures, facets=facets["counts"], approximate=facets["approximate"], whole=whole)


@router.get("/genres")
def get_genre_statistics(request: Request, principal: Reader) -> list[Genre]:
    """List the genres, the most frequent first."""
    context = context_of(request)
    with context.reading() as conn:
        found = read_sums(conn, context.cache, "genres", libraries=principal.library_ids, tolerance=TOLERANCE_SECONDS)
    return [Genre(**row) for row in found]


@router.get("/timeline")
def get_timeline(request: Request, principal: Reader) -> Timeline:
    """Show the music by year of release, and the library by month of import."""
    context = context_of(request)
    with context.reading() as conn:
        found = read_sums(conn, context.cache, "timeline", libraries=principal.library_ids, tolerance=TOLERANCE_SECONDS)
    return Timeline(**found)
