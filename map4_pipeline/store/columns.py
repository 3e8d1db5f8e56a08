"""Columns of numbers in memory for searches: which process holds them, and which searches they may answer.

What they are is in `store.held_columns`, which loads numpy: a command that only searches needs none of it.
"""

import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine

from map4_pipeline.store.cache import library_generation
from map4_pipeline.store.query import Added, Flag, Keys, OneOf, Query, Range, Text, Within
from map4_pipeline.store.search_terms import spaced

if TYPE_CHECKING:
    from map4_pipeline.store.held_columns import SearchColumns

#: Smaller libraries are read as fast as they are gone through in memory.
FOLLOWED = 50_000
#: Fields of texts that are held -> columns.
TEXTS = {"genre": "genre", "format": "formats", "mood": "moods"}
#: A text -> (what `map4_fold` makes of it, the words that are looked for).
Folded = Mapping[str, tuple[str, Sequence[str]]]
_followed: "weakref.WeakKeyDictionary[Engine, SearchColumns]" = weakref.WeakKeyDictionary()


def follow(engine: Engine) -> "SearchColumns":
    """Let searches of this process in a database use its columns from now on; they are read when they `catch_up`."""
    from map4_pipeline.store.held_columns import SearchColumns

    return _followed.setdefault(engine, SearchColumns())


def current_columns(conn: Connection, size: float) -> "tuple[SearchColumns, str] | None":
    """Return the columns of a database and which state of it they are; None where they are not followed, or behind.

    Parameters
    ----------
    size : float
        How many tracks there are, about.
    """
    columns = _followed.get(conn.engine)
    if columns is None or size < FOLLOWED:
        return None
    generation = library_generation(conn)
    if columns.is_of(generation):
        return columns, generation
    columns.catch_up(conn.engine)
    return None


def may_answer(query: Query) -> bool:
    """Return whether columns have something to say about every term of a query."""
    return all(
        term.field in TEXTS if isinstance(term, Text) else isinstance(term, Range | OneOf | Keys | Added | Flag | Within)
        for term in query.terms
    )


def fold_genres(conn: Connection, query: Query) -> Folded:
    """Return the texts that a query looks for in genres as `track_search` has them, and the words that are looked for."""
    texts = {term.text for term in query.terms if isinstance(term, Text) and term.field == "genre"}
    asked = "SELECT map4_fold(%s), tsvector_to_array(map4_words(%s, 'D'))"
    rows = {text: conn.exec_driver_sql(asked, (text.replace("\0", ""), " ".join(spaced(text)))).one() for text in texts}
    return {text: (folded, words) for text, (folded, words) in rows.items()}


def is_large(conn: Connection) -> bool:
    """Return whether a library is large enough for its columns to be held."""
    some = "SELECT count(*) FROM (SELECT FROM track_search LIMIT %s) AS first"
    return bool(conn.exec_driver_sql(some, (FOLLOWED,)).scalar_one() >= FOLLOWED)
