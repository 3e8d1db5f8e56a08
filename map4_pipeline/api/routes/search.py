"""Search: by words, by what was measured, with counts by property."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from map4_pipeline.api.access import Reader
from map4_pipeline.api.context import context_of
from map4_pipeline.api.models import After, Strict, TrackPage
from map4_pipeline.api.problems import Problem
from map4_pipeline.api.routes.tracks import Limit, Words, page
from map4_pipeline.hamms.camelot import parse_key, to_camelot
from map4_pipeline.store.reads import read_facets

router = APIRouter(prefix="/api/search", tags=["search"])
Pair = Annotated[list[float | None], Field(min_length=2, max_length=2, examples=[[120, 128]])]


class Facets(BaseModel):
    """How many tracks a search finds, by property."""

    counts: dict[str, dict[str, int]]
    total: int
    approximate: bool = Field(description="Estimated from a sample, because there are very many.")


class Advanced(Strict):
    """What the tracks have to be; everything given has to hold."""

    text: str = Field(default="", max_length=500, description="Words in title, artist, album or genre.", examples=["daft punk"])
    bpm: Pair | None = Field(default=None, description="From, to; null: no limit.")
    octaves: bool = Field(default=False, description="Half and double tempo count as well.")
    keys: list[str] | None = Field(default=None, max_length=24, examples=[["8A", "C major"]])
    compatible: bool = Field(default=False, description="Keys that mix with one of `keys` count as well.")
    energy: Pair | None = None
    loudness: Pair | None = Field(default=None, description="LUFS.")
    year: Pair | None = None
    duration: Pair | None = Field(default=None, description="Seconds.")
    hamms: dict[str, Pair] = Field(default_factory=dict, examples=[{"danceability": [0.6, None]}])
    genre: str | None = Field(default=None, max_length=200)
    mood: str | None = Field(default=None, max_length=200)
    artist: str | None = Field(default=None, max_length=200)
    format: str | None = Field(default=None, max_length=20, examples=["flac"])
    state: list[Literal["failed", "missing", "hidden", "duplicate", "conflict", "doubtful"]] = Field(default_factory=list)
    sort: str | None = Field(default=None, max_length=40, description="A field; with - in front, falling.", examples=["-energy"])
    limit: int = Field(default=50, ge=1, le=500)
    after: str | None = Field(default=None, max_length=2000)
    count: bool = False

    def words(self) -> str:
        """Return this as a query of `map4 search`."""
        parts = [self.text]
        for name in ("bpm", "energy", "loudness", "year", "duration"):
            parts += _range(name, getattr(self, name), octaves=name == "bpm" and self.octaves)
        for name, pair in self.hamms.items():
            parts += _range(name, pair)
        if self.keys:
            parts.append("key:" + ",".join(f"{_camelot(key)}{'~' if self.compatible else ''}" for key in self.keys))
        parts += [f"{name}:{_quoted(value)}" for name in ("genre", "mood", "artist", "format") if (value := getattr(self, name))]
        parts += [f"is:{state}" for state in self.state]
        if self.sort:
            parts.append(f"sort:{self.sort}")
        return " ".join(part for part in parts if part)


def _camelot(key: str) -> str:
    found = to_camelot(parse_key(key))
    if found is None:
        raise Problem(400, "invalid-query", f"{key!r} is no key. Write it as 8A, Am, 'A minor' or 1m.")
    return found


def _range(name: str, pair: list[float | None] | None, *, octaves: bool = False) -> list[str]:
    if pair is None or pair == [None, None]:
        return []
    low, high = ("" if value is None else f"{value:.10g}" for value in pair)
    return [f"{name}:{low}..{high}{'~' if octaves else ''}"]


def _quoted(value: str) -> str:
    return '"' + value.replace('"', " ") + '"'


@router.get("", response_model=TrackPage)
def search(
    request: Request, principal: Reader, q: Words = "", limit: Limit = 50, after: After = None, count: bool = False
) -> Response:
    """Search by words and by what was measured, in the language of `map4 search`."""
    return page(request, principal, q, limit, after, count)


@router.post("/advanced", response_model=TrackPage)
def search_advanced(request: Request, principal: Reader, body: Advanced) -> Response:
    """Search by many properties at once."""
    return page(request, principal, body.words(), body.limit, body.after, body.count)


@router.get("/facets")
def search_facets(request: Request, principal: Reader, q: Words = "") -> Facets:
    """Count what a search finds by genre, key, decade, tempo and format."""
    context = context_of(request)
    with context.reading() as conn:
        found: dict[str, Any] = read_facets(conn, context.cache, q, libraries=principal.library_ids)
    return Facets(**found)
