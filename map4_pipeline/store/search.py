"""Search: a query of `store.query` page by page, with counts and facets.

Pages are cut by the last row's value and id (keyset), not by an offset: page 1,000 costs what page 1 costs, and a row that
comes in meanwhile shifts nothing.

A page is looked for in two ways. First along the order's index: most queries fill a page there, and what its beginning holds
tells how far a page would be. When that is too far (few tracks match, or they stand at the other end, such as classical music by
falling energy), every match is found by the indexes of the filters and sorted. Where that would be a large part of a large
library, a sample tells first up to which value a page's worth of matches surely lies, and only those are read. Leaving the
choice to the planner's estimate costs a walk over the whole index whenever the estimate is wrong, and for words and for
properties that go together it often is.
"""

import re
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, func, select
from sqlalchemy.dialects import postgresql

from map4_pipeline.store.cache import library_generation
from map4_pipeline.store.columns import current_columns, fold_genres, may_answer
from map4_pipeline.store.listing import rows_by_id
from map4_pipeline.store.marks import MarkError, mark, read_mark
from map4_pipeline.store.query import Query, Range
from map4_pipeline.store.schema import track_search, tracks
from map4_pipeline.store.search_terms import TABLE, Sql, all_of, camelot_text, condition
from map4_pipeline.store.search_terms import conditions as search_conditions

#: Least and most rows that are looked at along the order's index before the other way is taken; between them the square root of
#: a page times the library: then the walk costs what finding all matches costs where as many match as just fill no page.
VISITED = (1_000, 10_000)
#: A walk begins with this part of that. What it finds there says how far a page is: it goes on so far and half as far again, to
#: so many times the whole at most.
_BEGINNING, _MARGIN, _LONG = 8, 1.5, 2.0
#: From this size of a library on the planner is asked how many rows the other way reads, which takes a millisecond: a walk goes
#: on to as many, or so many times the whole; and where they are very many, the whole is looked at before a walk is given up.
ASKED = 300_000
_LONGEST, _MANY = 15.0, 6.0
#: From so many rows on that the other way reads, a sample of so many rows of the library bounds it.
_BOUNDED, _DRAWN = 80_000, 10_000
#: Of the columns in memory, so many candidates more than a page has are looked up in the database; where too few of them match,
#: so many times as many, so many times.
_SPARE, _MORE, _TRIES = 8, 8, 3
#: Up to so many matches facets are counted; beyond, they are estimated from a sample of so many rows of the library.
COUNTED = 20_000
SAMPLED = 50_000
#: The size of the library is looked up again after so many seconds. It decides how far a walk goes, not what is found.
_SIZE_SECONDS = 30.0


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
    """What a query sorts by; `name` None: by id. `value` and `source` are SQL, `kind` is what a value is here, `type` there."""

    name: str | None
    value: str
    kind: type
    type: str
    descending: bool
    source: str = TABLE

    @property
    def direction(self) -> str:
        """The order's word in SQL."""
        return "DESC" if self.descending else "ASC"


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
    rows = rows_by_id(conn, [id_ for id_, _ in page])
    following = mark(page[-1][1], page[-1][0]) if len(found) > limit and page else None
    return Page([rows[id_] for id_, _ in page if id_ in rows], following)


def matching_ids(conn: Connection, query: Query, limit: int, after: str | None = None) -> list[tuple[int, Any]]:
    """Return the (id, sorted value) of the first tracks that a query finds, in its order."""
    order = _order(query)
    place = None if after is None else _read_mark(after, order)
    size = _usual_size(conn)
    visit = max(VISITED[0], min(VISITED[1], round(sqrt(51 * size))))
    every = _every(query, order, limit, place)
    asked = False
    reads = None if size >= ASKED else 0.0
    length: float = max(limit, visit // _BEGINNING)
    while length < inf:
        rows = _rows(conn, _walk(query, order, limit, round(length), place))
        if len(rows) == limit:
            return rows
        if not asked:
            held = _held(conn, query, order, limit, size, place)
            if held is not None:
                return held
            asked = True
        further = _MARGIN * length * limit / len(rows) if rows else inf
        if further > _LONG * visit:
            reads = _reads(conn, every) if reads is None else reads
            if further > min(reads, _LONGEST * visit):
                further = visit if length < visit and reads > _MANY * visit else inf
        length = further
    bound = _bound(conn, query, order, limit, size, place) if reads is not None and reads >= _BOUNDED else None
    if bound is not None:
        rows = _rows(conn, _every(query, order, limit, place, bound))
        if len(rows) == limit:
            return rows
    return _rows(conn, every)


def _held(
    conn: Connection, query: Query, order: _Order, limit: int, size: float, place: tuple[Any, int] | None
) -> list[tuple[int, Any]] | None:
    """Return a page by the columns that this process holds in memory; None where they do not help."""
    current = current_columns(conn, size) if may_answer(query) else None
    if current is None:
        return None
    columns, generation = current
    folded = fold_genres(conn, query)
    count, gone = limit + _SPARE, False
    column = None if order.name is None else order.value.removeprefix(f"{TABLE}.")
    for attempt in range(_TRIES):
        found = columns.first(query, count, generation, column=column, descending=order.descending, place=place, folded=folded)
        if found is None:
            return None
        rows = _rows(conn, _every(query, order, limit, place, among=found.ids))
        if library_generation(conn) != generation:
            return None
        gone = gone or (len(rows) < min(limit, len(found.ids)) and (found.exact or attempt == _TRIES - 1))
        if gone:
            columns.drop(conn, found.ids, generation)
        if found.whole or len(rows) == limit:
            return rows
        count *= _MORE
    return None


def _bound(conn: Connection, query: Query, order: _Order, limit: int, size: float, place: tuple[Any, int] | None) -> Any:
    """Return a value of the order up to which there are a page's matches and not many more; None where a sample tells none."""
    if order.name is None or order.source != TABLE or (place is not None and place[0] is None):
        return None
    further, _ = _behind(order, place)
    wanted = all_of([*search_conditions(query), *further])
    share = min(1.0, _DRAWN / size)
    enough = _enough(limit * share)
    sampled = conn.exec_driver_sql(
        f"SELECT {order.value} FROM {TABLE} TABLESAMPLE SYSTEM ({100 * share:.4f}) WHERE {wanted.text} "
        f"ORDER BY 1 {order.direction} LIMIT {enough}",
        wanted.values,
    ).all()
    return sampled[-1][0] if len(sampled) == enough else None


def _enough(expected: float) -> int:
    """Return by how many sampled matches a page is full, but for one time in a thousand, of which a sample has so many."""
    return ceil(expected + 4 * sqrt(expected) + 1)


def _reads(conn: Connection, statement: Sql) -> float:
    """Return how many rows of the table the planner thinks a statement reads. Of words it knows little, of numbers much."""
    [tree] = conn.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement.text}", statement.values).scalar_one()
    nodes, most = [tree["Plan"]], 0.0
    while nodes:
        node = nodes.pop()
        inner = node.get("Plans", [])
        if node["Node Type"] == "Bitmap Heap Scan":
            most = max(most, *(one["Plan Rows"] for one in inner))
        else:
            most = max(most, node["Plan Rows"])
            nodes += inner
    return float(most)


def _rows(conn: Connection, statement: Sql) -> list[tuple[int, Any]]:
    cursor = conn.exec_driver_sql(statement.text, statement.values).cursor
    return [] if cursor is None else list(cursor.fetchall())


def _walk(query: Query, order: _Order, limit: int, visit: int, place: tuple[Any, int] | None) -> Sql:
    """Return the way along the order's index, over so many rows.

    Tracks without the value come last: it ends before them, unless the page begins among them.
    """
    # What bounds the sorted value bounds the walk.
    bounding = [term for term in query.terms if isinstance(term, Range) and term.field == order.name]
    bounding = [term for term in bounding if not (term.octaves or term.negated)]
    others = Query(tuple(term for term in query.terms if term not in bounding))
    further, _ = _behind(order, place)
    limits = all_of([*(condition(term, TABLE) for term in bounding), *further])
    rest = all_of(search_conditions(others, "visited"))
    by_id = order.name is None or (place is not None and place[0] is None)
    keys = [f"{TABLE}.track_id"] if by_id else [order.value, f"{TABLE}.track_id"]
    columns = sorted({"track_id", *re.findall(r"\bvisited\.(\w+)", rest.text)})
    visited = (
        f"SELECT {', '.join(f'{TABLE}.{name}' for name in columns)}, {order.value} AS value_ FROM {order.source} "
        f"WHERE {limits.text} ORDER BY {_along(keys, order)} LIMIT %s"
    )
    again = ["visited.track_id"] if by_id else ["visited.value_", "visited.track_id"]
    return Sql(
        f"SELECT visited.track_id, visited.value_ FROM ({visited}) AS visited WHERE {rest.text} "
        f"ORDER BY {_along(again, order)} LIMIT %s",
        (*limits.values, visit, *rest.values, limit),
    )


def _every(
    query: Query, order: _Order, limit: int, place: tuple[Any, int] | None, bound: Any = None, among: list[int] | None = None
) -> Sql:
    """Return the way by the filters' indexes: every match, or those up to a value of the order, or among these, sorted."""
    further, behind = _behind(order, place)
    if bound is not None:
        behind = [*further, Sql(f"{order.value} {'>=' if order.descending else '<='} CAST(%s AS {order.type})", (bound,))]
    if among is not None:
        behind = [*behind, Sql(f"{TABLE}.track_id = ANY(CAST(%s AS bigint[]))", (among,))]
    wanted = all_of([*search_conditions(query), *behind])
    # What has no value comes last either way.
    keys = "" if order.name is None else f"found.value_ {order.direction} NULLS LAST, "
    # The offset keeps the planner from walking the order's index all the same.
    return Sql(
        f"SELECT found.track_id, found.value_ FROM (SELECT {TABLE}.track_id, {order.value} AS value_ FROM {order.source} "
        f"WHERE {wanted.text} OFFSET 0) AS found ORDER BY {keys}found.track_id {order.direction} LIMIT %s",
        (*wanted.values, limit),
    )


def _along(keys: Sequence[str], order: _Order) -> str:
    return ", ".join(f"{key} {order.direction}" for key in keys)


def _behind(order: _Order, place: tuple[Any, int] | None) -> tuple[list[Sql], list[Sql]]:
    """Return what limits the walk, and all rows that come after a place."""
    sign = "<" if order.descending else ">"

    if order.name is None:
        found = [] if place is None else [Sql(f"{TABLE}.track_id {sign} %s", (place[1],))]
        return found, found
    there, none = Sql(f"{order.value} IS NOT NULL"), f"{order.value} IS NULL"
    if place is None:
        return [there], []
    if place[0] is None:
        last = Sql(f"{none} AND {TABLE}.track_id {sign} %s", (place[1],))
        return [last], [last]
    pair = f"({order.value}, {TABLE}.track_id) {sign} (CAST(%s AS {order.type}), %s)"
    return [there, Sql(pair, place)], [Sql(f"({pair} OR {none})", place)]


def _size(conn: Connection) -> float:
    """Return how many tracks there are, as the planner has it."""
    found = conn.exec_driver_sql("SELECT reltuples FROM pg_class WHERE oid = 'track_search'::regclass").scalar_one()
    return max(0.0, float(found))


_sizes: "weakref.WeakKeyDictionary[Engine, tuple[float, float]]" = weakref.WeakKeyDictionary()


def _usual_size(conn: Connection) -> float:
    """Return how many tracks there are or were a moment ago."""
    now = time.monotonic()
    known = _sizes.get(conn.engine)
    if known is None or now - known[0] > _SIZE_SECONDS:
        known = _sizes[conn.engine] = (now, _size(conn))
    return known[1]


def statements(query: Query, limit: int = 51, visit: int = VISITED[1]) -> tuple[Sql, Sql]:
    """Return the two statements that may look for a query's first page, to look at their plans."""
    order = _order(query)
    return _walk(query, order, limit, visit, None), _every(query, order, limit, None)


# ------------------------------------------------------------------ how many
def count(conn: Connection, query: Query, limit: int | None = None) -> int:
    """Return how many tracks a query finds; with a limit not more than that, which costs less."""
    wanted = all_of(search_conditions(query))
    return int(
        conn.exec_driver_sql(
            f"SELECT count(*) FROM (SELECT FROM {TABLE} WHERE {wanted.text} LIMIT %s) AS found", (*wanted.values, limit)
        ).scalar_one()
    )


def tempo_step(bpm: str) -> str:
    """Return the SQL of the ten BPM that a tempo is counted under, as `bpm:120..129.9` finds it: shown as 120.0 up to 129.9."""
    low = f"floor({bpm} / 10) * 10"
    return f"({low} + CASE WHEN {bpm} >= CAST({low} + 9.95 AS real) THEN 10 ELSE 0 END)"


_FACETS = ("genre", "camelot", "decade", "bpm", "format")
_GROUPED = f"""
    WITH found AS MATERIALIZED (
        SELECT s.genre, s.camelot, s.year / 10 * 10 AS decade, CAST({tempo_step("s.bpm")} AS integer) AS bpm,
            s.formats[1] AS format
        FROM {{source}} WHERE {{wanted}}
    )
    SELECT grouping({", ".join(_FACETS)}), {", ".join(_FACETS)}, count(*) FROM found
    GROUP BY GROUPING SETS ({", ".join(f"({name})" for name in _FACETS)}, ())
"""
#: By an index for each genre: the first track that has it.
_SPELLED = f"""
    SELECT wanted.genre, (
        SELECT tracks.genre FROM tracks WHERE tracks.id = (
            SELECT s.track_id FROM {TABLE} AS s WHERE s.genre = wanted.genre AND s.listed ORDER BY s.track_id LIMIT 1
        )
    )
    FROM unnest(CAST(%s AS text[])) AS wanted (genre)
"""


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
    source, factor = f"{TABLE} AS s", 1.0
    if total > counted:
        size = _size(conn)
        if size > 2 * SAMPLED:
            factor = size / SAMPLED
            source += f" TABLESAMPLE SYSTEM ({100 / factor:.6f})"
    wanted = all_of(search_conditions(query, "s"))
    grouped = _GROUPED.format(source=source, wanted=wanted.text)
    counts: dict[str, list[tuple[Any, int]]] = {name: [] for name in _FACETS}
    for which, *values, n in conn.exec_driver_sql(grouped, wanted.values):
        if which == 31:
            total = max(total, round(n * factor)) if factor > 1 else n
            continue
        # A bit for each property that is not grouped by, the first the highest.
        index = next(at for at in range(5) if not which & (16 >> at))
        if values[index] is not None:
            counts[_FACETS[index]].append((values[index], round(n * factor)))
    made = {}
    for name in _FACETS:
        ranked = sorted(counts[name], key=lambda pair: (-pair[1], str(pair[0])))[:limit]
        made[name] = {_label(name, value): n for value, n in ranked}
    spelling = spelled(conn, list(made["genre"]))
    made["genre"] = {spelling.get(genre, genre): n for genre, n in made["genre"].items()}
    return Facets(made, total, factor > 1)


def _label(name: str, value: Any) -> str:
    return camelot_text(value) if name == "camelot" else str(value)


def spelled(conn: Connection, genres: Sequence[str]) -> dict[str, str]:
    """Return {folded genre: as its first track spells it}; genres are counted whatever their case and accents."""
    return {folded: name for folded, name in conn.exec_driver_sql(_SPELLED, (list(genres),)) if name is not None}


# ------------------------------------------------------------------ order and pages
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_COLUMNS = {"added": "created_at", "key": "camelot"}


def _order(query: Query) -> _Order:
    if query.sort is None:
        return _Order(None, f"{TABLE}.track_id", int, "bigint", False)
    if query.sort == "path":
        together = f"{TABLE} JOIN tracks ON tracks.id = {TABLE}.track_id"
        return _Order("path", "left(tracks.file_path, 200)", str, "text", query.descending, together)
    column = track_search.c[_COLUMNS.get(query.sort, query.sort)]
    type_ = column.type.compile(_DIALECT)
    return _Order(query.sort, f"{TABLE}.{column.name}", column.type.python_type, type_, query.descending)


def order_on_tracks(query: Query) -> list[ColumnElement[Any]]:
    """Return a query's order for statements that read `tracks`: its `sort:`, else artist, title and path."""
    t = tracks.c
    if query.sort is None:
        return [func.lower(t.artist).nulls_last(), func.lower(t.title).nulls_last(), t.file_path]
    value: ColumnElement[Any] = t.file_path
    if query.sort != "path":
        column = track_search.c[_COLUMNS.get(query.sort, query.sort)]
        value = select(column).where(track_search.c.track_id == t.id).correlate(tracks).scalar_subquery()
    return [(value.desc() if query.descending else value.asc()).nulls_last(), t.id]


#: Numbers that an order's column holds.
_HELD = {"SMALLINT": 2**15, "INTEGER": 2**31}


def _read_mark(after: str, order: _Order) -> tuple[Any, int]:
    """Return (value or None, id) of the row that a page ended with."""
    last, id_ = read_mark(after, order.kind, int, optional=True)
    if isinstance(last, int) and abs(last) >= _HELD.get(order.type, 2**63):
        raise MarkError
    return last, id_
