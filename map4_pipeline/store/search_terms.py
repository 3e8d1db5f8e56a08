"""The terms of a query as conditions on `track_search`, the narrow table that a trigger keeps true.

Conditions are text with the values beside it (`Sql`), not SQLAlchemy's expressions: to build those, and to recognise that they
had been compiled before, took a third of a search. Nothing that a user wrote is ever part of the text. Functions take the alias
under which the columns stand: that of the table, or of a subquery with the same names.
"""

import math
import re
import struct
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import REAL, BindParameter, ColumnElement, TextClause, bindparam, text

from map4_pipeline.hamms.camelot import camelot_number
from map4_pipeline.store.file_findings import DAMAGED, WITH_FINDING
from map4_pipeline.store.query import Added, Flag, Keys, OneOf, Query, Range, Term, Text, Within, Words
from map4_pipeline.store.schema import SEARCH_CONFIGURATION, SEARCH_SEPARATORS, track_search, tracks

#: Half and double.
OCTAVES = (1.0, 2.0, 0.5)
#: Below this a tempo or key is doubtful.
DOUBTFUL = 0.5
#: Scripts that are written without spaces: a word may begin anywhere. The migration has the same ranges (`map4_pairs`).
_NO_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
#: Weights of the fields in `track_search.words`.
_WEIGHTS = {"title": "A", "artist": "B", "album": "C", "genre": "D"}
#: A query's field -> its column, where that has another name.
COLUMNS = {"bitrate": "bit_rate", "size": "file_size"}
#: Columns of single precision.
SINGLES = tuple(column.name for column in track_search.columns if isinstance(column.type, REAL))
#: The alias of the table itself.
TABLE = "track_search"


class Sql(NamedTuple):
    """A piece of SQL: its text, with `%s` where a value belongs, and the values."""

    text: str
    values: tuple[Any, ...] = ()


def all_of(parts: Iterable[Sql]) -> Sql:
    """Return that all of these hold; true when there are none."""
    return _joined(parts, " AND ", "true")


def any_of(parts: Iterable[Sql]) -> Sql:
    """Return that one of these holds; false when there are none."""
    return _joined(parts, " OR ", "false")


def _joined(parts: Iterable[Sql], word: str, nothing: str) -> Sql:
    parts = list(parts)
    if len(parts) == 1:
        return parts[0]
    values = tuple(value for part in parts for value in part.values)
    return Sql(f"({word.join(part.text for part in parts)})" if parts else nothing, values)


def as_clause(sql: Sql) -> TextClause:
    """Return SQL as a part of one of SQLAlchemy's statements."""
    pieces = sql.text.replace(":", r"\:").split("%s")
    names = [f"search_{number}" for number in range(len(sql.values))]
    written = "".join(f"{piece}:{name}" for piece, name in zip(pieces, names, strict=False)) + pieces[-1]
    return text(written).bindparams(*map(_bound_value, names, sql.values))


def _bound_value(name: str, value: Any) -> BindParameter[Any]:
    return bindparam(name, value, unique=True)


def conditions(query: Query, t: str = TABLE) -> list[Sql]:
    """Return what a query asks as conditions on `track_search`. Unless it names a state, tracks that are there and analysed."""
    return [*(condition(term, t) for term in query.terms), *states(query, t)]


def on_tracks(query: Query) -> list[ColumnElement[bool]]:
    """Return what a query asks as conditions on `tracks`, for statements that read more of a track than a search does."""
    wanted = all_of(conditions(query))
    found = as_clause(Sql(f"SELECT {TABLE}.track_id FROM {TABLE} WHERE {wanted.text}", wanted.values))
    return [tracks.c.id.in_(found.columns(track_search.c.track_id))]


def states(query: Query, t: str) -> list[Sql]:
    """Return the states that a query takes for granted."""
    return [Sql(f"{t}.{name}" if wanted else f"NOT {t}.{name}") for name, wanted in assumed(query)]


def assumed(query: Query) -> list[tuple[str, bool]]:
    """Return the same as (column, what stands there)."""
    named = {term.name for term in query.terms if isinstance(term, Flag)}
    if not named & {"failed", "missing", "hidden", "ok"}:
        return [("listed", True)]
    wanted = {term.name for term in query.terms if isinstance(term, Flag) and not term.negated}
    found: list[tuple[str, bool]] = []
    if "hidden" not in named:
        found.append(("hidden", False))
    if "missing" not in named:
        found.append(("missing", False))
    if not named & {"failed", "missing", "ok"}:
        found += [("failed", False), ("pending", False)]
    if wanted & {"failed", "missing", "hidden"}:
        found.append(("listed", False))  # follows from the others, and leads to the index of the few that are not listed
    return found


def condition(term: Term, t: str) -> Sql:
    """Return one term as a condition.

    A track without the value has not got it: NULL is not found by the term and found by its opposite.
    """
    found = _positive(term, t)
    return Sql(f"NOT coalesce({found.text}, false)", found.values) if term.negated else found


def _positive(term: Term, t: str) -> Sql:
    match term:
        case Words():
            return _words(term, t)
        case Range():
            return _range(term, t)
        case OneOf():
            return any_of(_equal(t, term.field, value) for value in term.values)
        case Keys():
            return Sql(f"{t}.camelot = ANY(CAST(%s AS smallint[]))", ([camelot_code(key) for key in term.keys],))
        case Text():
            return _text(term, t)
        case Added():
            return all_of(_moments(term, t))
        case Flag():
            return _with_finding(DAMAGED, t) if term.name == "damaged" else Sql(_FLAGS[term.name](t))
        case Within():
            return Sql(f"{t}.library_id = ANY(CAST(%s AS integer[]))", (list(term.library_ids),))


def _with_finding(codes: Iterable[str], t: str) -> Sql:
    """Return that a file has one of some findings, by the index of the tracks that have any."""
    return Sql(f"{t}.track_id IN (SELECT id FROM tracks WHERE {WITH_FINDING})", (list(codes),))


def _moments(term: Added, t: str) -> list[Sql]:
    bounds: list[tuple[str, datetime | None]] = [(">=", term.low), ("<", term.high)]
    return [Sql(f"{t}.created_at {sign} %s", (moment,)) for sign, moment in bounds if moment is not None]


def camelot_code(key: str) -> int:
    """Return a key's number in `track_search`: 2 for 1A, 3 for 1B ... 25 for 12B."""
    number, letter = camelot_number(key)
    return 2 * number + (letter == "B")


def camelot_text(code: int) -> str:
    """Return the Camelot code of such a number."""
    return f"{code // 2}{'AB'[code % 2]}"


_FLAGS: dict[str, Callable[[str], str]] = {
    "ok": lambda t: f"(NOT {t}.failed AND NOT {t}.pending)",
    "failed": lambda t: f"{t}.failed",
    "missing": lambda t: f"{t}.missing",
    "hidden": lambda t: f"{t}.hidden",
    # Copies only, and not what somebody decided to be none: another version of a piece is no duplicate.
    "duplicate": lambda t: (
        "EXISTS (SELECT FROM duplicate_members AS m JOIN duplicate_groups AS g ON g.id = m.group_id "
        f"WHERE m.track_id = {t}.track_id AND g.kind <> 'other_version' AND g.state IN ('open', 'keep'))"
    ),
    "conflict": lambda t: f"{t}.conflict",
    "doubtful": lambda t: f"{t}.confidence < CAST({DOUBTFUL} AS real)",
    "annotated": lambda t: f"{t}.annotated",
}


# ------------------------------------------------------------------ numbers
def _range(term: Range, t: str) -> Sql:
    name = COLUMNS.get(term.field, term.field)
    readings = []
    for factor in OCTAVES if term.octaves else (1.0,):
        bounds: list[Sql] = []
        if term.low is not None:
            bounds.append(_bound(t, name, term.low * factor, term.low_open, upper=False))
        if term.high is not None:
            bounds.append(_bound(t, name, term.high * factor, term.high_open, upper=True))
        readings.append(all_of(bounds))
    return any_of(readings)


def _bound(t: str, name: str, value: float, is_open: bool, *, upper: bool) -> Sql:
    sign = "<" if upper else ">"
    if name in SINGLES:
        return Sql(f"{t}.{name} {sign if is_open else sign + '='} {_SINGLE}", (held_single(value),))
    # Whole numbers: the first or last that is within.
    whole = math.floor(value) if upper else math.ceil(value)
    if is_open and whole == value:
        whole += -1 if upper else 1
    return Sql(f"{t}.{name} {sign}= {_WHOLE}", (max(-(2**62), min(2**62, whole)),))


def _equal(t: str, field: str, value: float) -> Sql:
    name = COLUMNS.get(field, field)
    if name in SINGLES:
        return Sql(f"{t}.{name} = {_SINGLE}", (held_single(value),))
    if value != math.floor(value) or abs(value) > 2**62:
        return Sql("false")
    return Sql(f"{t}.{name} = {_WHOLE}", (int(value),))


#: A number in the columns' precision, so that 0.7 is the 0.7 that is stored.
_SINGLE = "CAST(%s AS real)"
_WHOLE = "CAST(%s AS bigint)"


def held_single(value: float) -> float:
    """Return the number of the columns' precision that is nearest."""
    held = math.copysign(min(abs(value), 3e38), value) if abs(value) > 1e-37 else 0.0
    return float(struct.unpack("f", struct.pack("f", held))[0])


# ------------------------------------------------------------------ words
def spaced(words: str) -> list[str]:
    """Return the words of a text, as they are looked for."""
    for mark in SEARCH_SEPARATORS + "\0":
        words = words.replace(mark, " ")
    return words.split()


def _quoted(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


def _has_words(t: str, words: str, *, phrase: bool, weight: str = "") -> Sql:
    """Return that there is a phrase, or words of which the last may go on; in the field with a weight."""
    parts = [_quoted(part) + (f":{weight}" if weight else "") for part in spaced(words)]
    if not parts:
        return Sql("false")
    if not phrase:
        parts[-1] += "*" if weight else ":*"
    found = f"{t}.words @@ to_tsquery(CAST('{SEARCH_CONFIGURATION}' AS regconfig), %s)"
    return Sql(found, ((" <-> " if phrase else " & ").join(parts),))


def _has_pairs(t: str, words: str) -> Sql | None:
    """Return that there are the pairs of characters of scripts without spaces; None when the words have none."""
    parts = []
    for run in _NO_SPACES.findall(words.lower()):
        parts += [f"{_quoted(run)}:*"] if len(run) == 1 else [_quoted(run[at : at + 2]) for at in range(len(run) - 1)]
    return Sql(f"{t}.words @@ CAST(%s AS tsquery)", (" & ".join(parts),)) if parts else None


def _has_inside(column: str, words: str) -> Sql:
    # Folded before it is looked for: what is folded has no wildcard that was not there.
    return Sql(f"strpos({column}, map4_fold(%s)) > 0", (words.replace("\0", ""),))


def _words(term: Words, t: str) -> Sql:
    found = _has_words(t, term.text, phrase=term.phrase)
    pairs = _has_pairs(t, term.text)
    if pairs is None:
        return found
    inside = any_of(_has_inside(f"{t}.{name}", term.text) for name in ("title", "artist", "album"))
    return any_of((found, all_of((pairs, inside))))


def _text(term: Text, t: str) -> Sql:
    value = term.text.replace("\0", "")
    match term.field:
        case "library":
            named = "SELECT id FROM libraries WHERE slug = %s OR lower(name) = lower(%s)"
            return Sql(f"{t}.library_id IN ({named})", (value, value))
        case "format":
            return Sql(f"{t}.formats @> CAST(%s AS text[])", ([value.lower().lstrip(".")],))
        case "mood":
            return Sql(f"{t}.moods @> CAST(%s AS text[])", ([value.lower()[:100]],))
        case "path":
            return Sql(f"{t}.track_id IN (SELECT id FROM tracks WHERE file_path ILIKE %s)", (f"%{_escaped(value)}%",))
        case "finding":
            return _with_finding([value], t)
        case "composer":
            return _composer(value, t, exact=term.exact)
    column = f"{t}.{term.field}"
    if term.exact:
        return Sql(f"{column} = map4_fold(%s)", (value,))
    pairs = _has_pairs(t, value)
    if pairs is not None:
        inside = _has_inside(column, value)
        return inside if term.field == "genre" else all_of((pairs, inside))
    return _has_words(t, value, phrase=True, weight=_WEIGHTS[term.field])


def _composer(value: str, t: str, *, exact: bool) -> Sql:
    name = "map4_fold(composer)"
    fits = f"{name} = map4_fold(%s)" if exact else f"strpos({name}, map4_fold(%s)) > 0"
    indexed = f"{t}.words @@ map4_marked_query(%s, 'composer:')"
    return Sql(f"({indexed} AND EXISTS (SELECT FROM tracks WHERE id = {t}.track_id AND {fits}))", (value, value))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("\0", "")
