"""What a resident process reads again and again, through the cache: searches, facets, tracks, statistics.

Every function takes a `Cache` that may be off, and gives what JSON can hold. A version is read first, then either the cache or
the database; see `store.cache` for why that is never stale.
"""

import logging
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar, get_args

from sqlalchemy import Connection, Engine, Text, bindparam, cast, literal_column, select
from sqlalchemy.exc import SQLAlchemyError

from map4_pipeline.store import search as searching
from map4_pipeline.store.cache import (
    LIBRARY_KEY,
    SEARCH_SECONDS,
    STATISTICS_SECONDS,
    TRACK_SECONDS,
    Cache,
    filter_key,
    genre_key,
    hamms_key,
    library_generation,
    search_key,
    statistics_key,
    track_key,
)
from map4_pipeline.store.database import advisory_lock
from map4_pipeline.store.errors import InfrastructureError
from map4_pipeline.store.listing import NAMES
from map4_pipeline.store.query import Query, parse_query, within
from map4_pipeline.store.schema import analyses, tracks
from map4_pipeline.store.statistics import genre_distribution, genre_statistics, library_statistics, summary, timeline

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_AHEAD_LOCK = 0x4D415034535553
#: What every write of a row of `tracks` changes.
ROW_VERSION = cast(literal_column("tracks.xmin"), Text)
#: Sums over the library.
SumKind = Literal["summary", "genres", "timeline"]


def read_search(
    conn: Connection,
    cache: Cache,
    text: str,
    limit: int = 50,
    after: str | None = None,
    *,
    libraries: Collection[int] | None = None,
) -> dict[str, Any]:
    """Return {"tracks", "next"}: a page of a search.

    Parameters
    ----------
    libraries : collection of int, or None
        Only these libraries' tracks; None: all. So everywhere in this module.

    Raises
    ------
    QueryError
        When the query cannot be read.
    StoreError
        When the page does not exist.
    """
    key, make = _search(conn, text, limit, after, libraries)
    return cache.through(key, library_generation(conn), SEARCH_SECONDS, make)


def search_document(
    conn: Connection,
    cache: Cache,
    text: str,
    limit: int = 50,
    after: str | None = None,
    *,
    libraries: Collection[int] | None = None,
) -> bytes:
    """Return `read_search` as JSON."""
    key, make = _search(conn, text, limit, after, libraries)
    return cache.document(key, library_generation(conn), SEARCH_SECONDS, make)


def _search(
    conn: Connection, text: str, limit: int, after: str | None, libraries: Collection[int] | None
) -> tuple[str, Callable[[], dict[str, Any]]]:
    query = within(read_query(text), libraries)

    def make() -> dict[str, Any]:
        page = searching.search(conn, query, limit, after)
        return {"tracks": [plain(row) for row in page.rows], "next": page.following}

    return search_key("tracks", repr(query), limit, after), make


def read_count(
    conn: Connection, cache: Cache, text: str, limit: int | None = 10_000, *, libraries: Collection[int] | None = None
) -> dict[str, Any]:
    """Return {"count", "more"}: how many tracks a search finds, counted up to a limit; `more`: there are more than that."""
    query = within(read_query(text), libraries)

    def make() -> dict[str, Any]:
        found = searching.count(conn, query, None if limit is None else limit + 1)
        more = limit is not None and found > limit
        return {"count": limit if more else found, "more": more}

    return cache.through(filter_key("count", repr(query), limit), library_generation(conn), SEARCH_SECONDS, make)


def read_facets(
    conn: Connection,
    cache: Cache,
    text: str,
    limit: int = 20,
    *,
    libraries: Collection[int] | None = None,
    tolerance: float = 0.0,
) -> dict[str, Any]:
    """Return {"counts", "total", "approximate"}: what a search finds by genre, key, decade, tempo and format."""
    query = within(read_query(text), libraries)

    def make(conn: Connection) -> dict[str, Any]:
        found = searching.facets(conn, query, limit)
        return {"counts": found.counts, "total": found.total, "approximate": found.approximate}

    return _sums(conn, cache, filter_key("facets", repr(query), limit), SEARCH_SECONDS, make, tolerance)


def read_track(
    conn: Connection, cache: Cache, track_id: int, version: tuple[str | None, str] | None = None
) -> dict[str, Any] | None:
    """Return a track with the names of `store.listing` and its whole analysis (beats, curve, sections); None: there is none.

    Parameters
    ----------
    version : (file_hash, xmin), optional
        The row's version, which every write changes, where it was read just now; else it is asked for.
    """
    t = tracks.c
    found: Any = version or conn.execute(select(t.file_hash, ROW_VERSION).where(t.id == track_id)).one_or_none()
    if found is None:
        return None

    def make() -> dict[str, Any]:
        row = conn.execute(_NAMED, {"track": track_id}).one_or_none()
        if row is None:
            return {}
        whole = conn.execute(_FEATURES, {"hash": row.audio_hash, "version": row.analysis_version}).scalar_one_or_none()
        return {**plain(row._mapping), "analysis": (whole or {}).get("features")}

    file_hash, mark = found
    if file_hash is None:
        return make() or None
    return cache.through(track_key(file_hash), f"{track_id}-{mark}", TRACK_SECONDS, make) or None


# Made once: making them takes longer than asking them.
_NAMED = select(*(c.label(name) for name, c in NAMES.items())).where(tracks.c.id == bindparam("track"))
_FEATURES = (
    select(analyses.c.payload)
    .where(
        analyses.c.audio_hash == bindparam("hash"),
        analyses.c.stage == "features",
        analyses.c.version == bindparam("version"),
    )
    .order_by(analyses.c.id.desc())
    .limit(1)
)


def read_hamms(conn: Connection, cache: Cache, track_id: int) -> dict[str, Any] | None:
    """Return {"hamms", "hamms_confidence"} of a track, the twelve names; None: there is no such track."""
    t = tracks.c
    found = conn.execute(select(t.file_hash, ROW_VERSION).where(t.id == track_id)).one_or_none()
    if found is None:
        return None

    def make() -> dict[str, Any]:
        row = conn.execute(select(t.hamms_vector, t.hamms_confidence).where(t.id == track_id)).one_or_none()
        return {"hamms": row[0], "hamms_confidence": row[1]} if row else {}

    file_hash, row_version = found
    if file_hash is None:
        return make() or None
    return cache.through(hamms_key(file_hash), f"{track_id}-{row_version}", TRACK_SECONDS, make) or None


def read_statistics(conn: Connection, cache: Cache, *, tolerance: float = 0.0) -> dict[str, Any]:
    """Return the library's statistics, as `LibraryStatistics.to_dict`.

    Parameters
    ----------
    tolerance : float
        So many seconds old they may be while the library changes, and three times that while they are counted anew. So for all
        sums here.
    """
    return _sums(conn, cache, LIBRARY_KEY, STATISTICS_SECONDS, lambda conn: library_statistics(conn).to_dict(), tolerance)


def read_sums(
    conn: Connection, cache: Cache, kind: SumKind, *, libraries: Collection[int] | None = None, tolerance: float = 0.0
) -> Any:
    """Return "summary", "genres" or "timeline" of `store.statistics`."""
    kinds: dict[str, Callable[[Connection], Any]] = {
        "summary": lambda conn: summary(conn, libraries),
        "genres": lambda conn: genre_distribution(conn, libraries=libraries),
        "timeline": lambda conn: timeline(conn, libraries),
    }
    return _sums(conn, cache, statistics_key(kind, libraries), STATISTICS_SECONDS, kinds[kind], tolerance)


def _sums(conn: Connection, cache: Cache, key: str, seconds: int, make: Callable[[Connection], T], tolerance: float) -> T:
    """Return sums through the cache; with a tolerance, older ones are given while they are counted on another connection."""
    engine = conn.engine

    def behind() -> T:
        with engine.connect() as another:
            return make(another)

    return cache.through(
        key, library_generation(conn), seconds, lambda: make(conn), tolerance=tolerance, behind=behind if tolerance else None
    )


def count_ahead(engine: Engine, cache: Cache, tolerance: float) -> None:
    """Put the sums over all libraries into the cache, so that nobody waits for them; one process of several does it."""
    if not cache.enabled:
        return
    try:
        with engine.connect() as conn, advisory_lock(conn, _AHEAD_LOCK, wait=False) as mine:
            if mine:
                for kind in get_args(SumKind):
                    read_sums(conn, cache, kind, tolerance=tolerance)
                read_facets(conn, cache, "", tolerance=tolerance)
                read_statistics(conn, cache, tolerance=tolerance)
    except (SQLAlchemyError, InfrastructureError, OSError):  # nobody has asked yet; who asks is told
        _LOG.warning("The library could not be counted ahead.", exc_info=True)


def read_genre(conn: Connection, cache: Cache, genre: str) -> dict[str, Any]:
    """Return a genre's statistics: tracks, hours, tempo, energy and loudness, its keys."""
    return cache.through(genre_key(genre), library_generation(conn), STATISTICS_SECONDS, lambda: genre_statistics(conn, genre))


def read_query(text: str) -> Query:
    """Read a query; what is said relative to now (`added:7d`) counts from the whole minute, so that it can be asked again."""
    return parse_query(text, datetime.now(UTC).replace(second=0, microsecond=0))


def plain(row: Any) -> dict[str, Any]:
    """Return a row as JSON holds it: dates as ISO text, decimals as numbers."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value
