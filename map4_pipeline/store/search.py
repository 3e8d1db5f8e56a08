"""Search: a query of `store.query` page by page, with counts and facets.

Pages are cut by the last row's value and id (keyset), not by an offset: page 1,000 costs what page 1 costs, and a row that
comes in meanwhile shifts nothing.

A page is looked for in two ways. First along the order's index, over a bounded number of rows: most queries fill a page there.
When that does not fill it (few tracks match, or they stand at the other end, such as classical music by falling energy), every
match is found by the indexes of the filters and sorted. Leaving the choice to the planner's estimate costs a walk over the whole
index whenever the estimate is wrong, and for words and for properties that go together it often is.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import sqrt
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Text,
    cast,
    func,
    literal,
    or_,
    select,
    tablesample,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql import visitors

from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.listing import NAMES
from map4_pipeline.store.query import Query, Range
from map4_pipeline.store.schema import track_search, tracks
from map4_pipeline.store.search_terms import camelot_text, condition
from map4_pipeline.store.search_terms import conditions as search_conditions

#: Least and most rows that are looked at along the order's index before the other way is taken; between them the square root of
#: a page times the library: then the walk costs what finding all matches costs where as many match as just fill no page.
VISITED = (1_000, 10_000)
#: The walk goes on once more when it found at least this part of a page.
_LONGER = 5
#: Up to so many matches facets are counted; beyond, they are estimated from a sample of so many rows of the library.
COUNTED = 20_000
SAMPLED = 50_000

_t = track_search.c


@dataclass(frozen=True, slots=True)
class Page:
    """Rows with the names of `store.listing`, and where the next page begins (None: this was the last)."""

    rows: list[dict[str, Any]]
    following: str | None


@dataclass(frozen=True, slots=True)
class Facets:
    """How many tracks a query finds, by property.

    Attributes
    ----------
    counts : dict
        {"genre", "camelot", "decade", "bpm" (steps of 10), "format": {value: tracks}}, the most frequent first.
    total : int
    approximate : bool
        The counts are estimated from a random sample.
    """

    counts: dict[str, dict[str, int]]
    total: int
    approximate: bool


@dataclass(frozen=True, slots=True)
class _Order:
    """What a query sorts by; `name` None: by id."""

    name: str | None
    value: ColumnElement[Any]
    descending: bool
    source: FromClause


def search(conn: Connection, query: Query, limit: int = 50, after: str | None = None) -> Page:
    """Return a page of the tracks that a query finds.

    Parameters
    ----------
    after : str, optional
        `following` of the page before.

    Raises
    ------
    StoreError
        When `after` is not what a page of this query gave.
    """
    found = matching_ids(conn, query, limit + 1, after)
    page = found[:limit]
    wide = select(*(column.label(name) for name, column in NAMES.items())).where(
        tracks.c.id == func.any(cast([id_ for id_, _ in page], ARRAY(tracks.c.id.type)))
    )
    rows = {row.id: dict(row._mapping) for row in conn.execute(wide)}
    following = _cursor(page[-1][1], page[-1][0]) if len(found) > limit and page else None
    return Page([rows[id_] for id_, _ in page if id_ in rows], following)


def matching_ids(conn: Connection, query: Query, limit: int, after: str | None = None) -> list[tuple[int, Any]]:
    """Return the (id, sorted value) of the first tracks that a query finds, in its order."""
    order = _order(query)
    place = None if after is None else _read_cursor(after, order)
    visit = max(VISITED[0], min(VISITED[1], round(sqrt(51 * _size(conn)))))
    walk = _walk(query, order, limit, visit, place)
    rows = _rows(conn, walk)
    if limit > len(rows) > limit // _LONGER:
        # Some of the page is there: going on a few times as far costs less than finding all matches.
        rows = _rows(conn, _walk(query, order, limit, 2 * visit * limit // len(rows), place))
    return rows if len(rows) == limit else _rows(conn, _every(query, order, limit, place))


def _rows(conn: Connection, statement: Select[Any]) -> list[tuple[int, Any]]:
    return [(int(id_), value) for id_, value in conn.execute(statement)]


def _walk(query: Query, order: _Order, limit: int, visit: int, place: tuple[Any, int] | None) -> Select[Any]:
    """Return the way along the order's index, over so many rows.

    Tracks without the value come last: it ends before them, unless the page begins among them.
    """
    # What bounds the sorted value bounds the walk.
    bounding = [term for term in query.terms if isinstance(term, Range) and term.field == order.name]
    bounding = [term for term in bounding if not (term.octaves or term.negated)]
    others = Query(tuple(term for term in query.terms if term not in bounding))
    limits = [condition(term, _t) for term in bounding]
    rest = search_conditions(others, _t)
    further, _ = _behind(order, place)
    value = order.value.label("_value")
    keys = [(order.value, _t.track_id), (_t.track_id,)][order.name is None or (place is not None and place[0] is None)]
    along = [key.desc() if order.descending else key.asc() for key in keys]
    columns = {column.name: column for column in (_t.track_id, *_columns_of(rest))}
    visited = (
        select(*(columns[name] for name in sorted(columns)), value)
        .select_from(order.source)
        .where(*limits, *further)
        .order_by(*along)
        .limit(visit)
        .subquery("visited")
    )
    walk = select(visited.c.track_id, visited.c._value).where(*search_conditions(others, visited.c))
    if len(keys) == 1:  # by the id alone
        walk = walk.order_by(visited.c.track_id.desc() if order.descending else visited.c.track_id)
    else:
        walk = walk.order_by(*_sorted(visited.c, order))
    return walk.limit(limit)


def _every(query: Query, order: _Order, limit: int, place: tuple[Any, int] | None) -> Select[Any]:
    """Return the way by the filters' indexes: every match, sorted."""
    _, behind = _behind(order, place)
    wanted = [*search_conditions(query, _t), *behind]
    # The offset keeps the planner from walking the order's index all the same.
    found = select(_t.track_id, order.value.label("_value")).select_from(order.source).where(*wanted).offset(0).subquery("every")
    return select(found.c.track_id, found.c._value).order_by(*_sorted(found.c, order, nulls=True)).limit(limit)


def _behind(order: _Order, place: tuple[Any, int] | None) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]]]:
    """Return what limits the walk, and all rows that come after a place."""

    def later(id_: int) -> ColumnElement[bool]:
        return _t.track_id < id_ if order.descending else _t.track_id > id_

    if order.name is None:
        found = [] if place is None else [later(place[1])]
        return found, found
    there, none = order.value.is_not(None), order.value.is_(None)
    if place is None:
        return [there], []
    if place[0] is None:
        return [none, later(place[1])], [none, later(place[1])]
    pair, last = tuple_(order.value, _t.track_id), tuple_(_literal(order, place[0]), literal(place[1]))
    further = pair < last if order.descending else pair > last
    return [there, further], [or_(further, none)]


def _sorted(rows: Any, order: _Order, *, nulls: bool = False) -> list[ColumnElement[Any]]:
    if order.name is None:
        return [rows.track_id]
    if order.descending:
        return [rows._value.desc().nulls_last() if nulls else rows._value.desc(), rows.track_id.desc()]
    return [rows._value.asc(), rows.track_id.asc()]


def _columns_of(found: Sequence[ColumnElement[bool]]) -> set[Column[Any]]:
    """Return the columns of `track_search` that conditions speak of: taking a wide row apart costs more than looking at it."""
    parts = (part for one in found for part in visitors.iterate(one))
    return {part for part in parts if isinstance(part, Column) and part.table is track_search}


def _size(conn: Connection) -> float:
    """Return how many tracks there are, as the planner has it."""
    return max(0.0, float(conn.execute(text("SELECT reltuples FROM pg_class WHERE oid = 'track_search'::regclass")).scalar_one()))


def statements(query: Query, limit: int = 51, visit: int = VISITED[1]) -> tuple[Select[Any], Select[Any]]:
    """Return the two statements that may look for a query's first page, to look at their plans."""
    order = _order(query)
    return _walk(query, order, limit, visit, None), _every(query, order, limit, None)


# ------------------------------------------------------------------ how many
def count(conn: Connection, query: Query, limit: int | None = None) -> int:
    """Return how many tracks a query finds; with a limit not more than that, which costs less."""
    found = select(literal(1)).select_from(track_search).where(*search_conditions(query))
    return int(conn.execute(select(func.count()).select_from(found.limit(limit).subquery())).scalar_one())


def facets(conn: Connection, query: Query, limit: int = 20, counted: int = COUNTED) -> Facets:
    """Return what a query finds by genre, key, decade, tempo and format.

    Parameters
    ----------
    limit : int
        Values a property.
    counted : int
        Up to so many matches are counted; beyond, the counts are estimated from a sample.
    """
    total = count(conn, query, counted + 1)
    source: Any = track_search
    factor = 1.0
    if total > counted:
        size = _size(conn)
        if size > 2 * SAMPLED:
            factor = size / SAMPLED
            source = tablesample(track_search, func.system(100 / factor), name="sample")
    found = select(
        source.c.genre.label("genre"),
        source.c.camelot.label("camelot"),
        (source.c.year // 10 * 10).label("decade"),
        cast(func.floor(source.c.bpm / 10) * 10, Integer).label("bpm"),
        source.c.formats[1].label("format"),
    ).where(*search_conditions(query, source.c))
    f = found.cte("found").prefix_with("MATERIALIZED")
    names = ("genre", "camelot", "decade", "bpm", "format")
    number = func.count()
    grouped = select(func.grouping(*f.c).label("which"), *f.c, number).group_by(
        func.grouping_sets(*(tuple_(f.c[name]) for name in names), tuple_())
    )
    counts: dict[str, list[tuple[Any, int]]] = {name: [] for name in names}
    for which, *values, n in conn.execute(grouped):
        if which == 31:
            total = max(total, round(n * factor)) if factor > 1 else n
            continue
        # A bit for each property that is not grouped by, the first the highest.
        index = next(at for at in range(5) if not which & (16 >> at))
        if values[index] is not None:
            counts[names[index]].append((values[index], round(n * factor)))
    made = {}
    for name in names:
        ranked = sorted(counts[name], key=lambda pair: (-pair[1], str(pair[0])))[:limit]
        made[name] = {_label(name, value): n for value, n in ranked}
    spelling = spelled(conn, list(made["genre"]))
    made["genre"] = {spelling.get(genre, genre): n for genre, n in made["genre"].items()}
    return Facets(made, total, factor > 1)


def _label(name: str, value: Any) -> str:
    return camelot_text(value) if name == "camelot" else str(value)


def spelled(conn: Connection, genres: Sequence[str]) -> dict[str, str]:
    """Return {folded genre: as its first track spells it}; genres are counted whatever their case and accents."""
    wanted = select(func.unnest(cast(list(genres), ARRAY(Text))).label("genre")).subquery("wanted")
    first = select(_t.track_id).where(_t.genre == wanted.c.genre, _t.listed).order_by(_t.track_id).limit(1)
    name = select(tracks.c.genre).where(tracks.c.id == first.correlate(wanted).scalar_subquery()).correlate(wanted)
    rows = conn.execute(select(wanted.c.genre, name.scalar_subquery()))
    return {folded: name for folded, name in rows if name is not None}


def conditions(query: Query) -> list[ColumnElement[bool]]:
    """Return what a query asks as conditions on `tracks`, for statements that read more of a track than a search does."""
    return [tracks.c.id.in_(select(_t.track_id).where(*search_conditions(query)))]


# ------------------------------------------------------------------ order and pages
_COLUMNS = {"added": "created_at", "key": "camelot"}


def _order(query: Query) -> _Order:
    if query.sort is None:
        return _Order(None, _t.track_id, False, track_search)
    if query.sort == "path":
        together = track_search.join(tracks, tracks.c.id == _t.track_id)
        return _Order("path", func.left(tracks.c.file_path, 200, type_=Text), query.descending, together)
    return _Order(query.sort, _t[_COLUMNS.get(query.sort, query.sort)], query.descending, track_search)


def _cursor(value: Any, id_: int) -> str:
    plain = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([plain, id_]).encode()).decode().rstrip("=")


def _read_cursor(after: str, order: _Order) -> tuple[Any, int]:
    """Return (value or None, id) of the row that a page ended with."""
    try:
        padded = after + "=" * (-len(after) % 4)
        last, id_ = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        kind = order.value.type.python_type
        if last is not None:
            last = datetime.fromisoformat(last) if kind is datetime else kind(last)
        if not isinstance(id_, int) or abs(id_) >= 2**63 or last in (float("inf"), float("-inf")):
            raise ValueError
    except (ValueError, TypeError, OverflowError, binascii.Error, UnicodeError):
        raise StoreError("This page does not exist: its mark is not one that a search gave.") from None
    return last, id_


def _literal(order: _Order, value: Any) -> ColumnElement[Any]:
    return cast(literal(value), order.value.type)
