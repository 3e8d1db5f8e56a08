"""The terms of a query as conditions on `track_search`, the narrow table that a trigger keeps true.

Functions take the columns that they speak of: those of the table, or of a subquery with the same names.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    and_,
    cast,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    true,
)
from sqlalchemy import (
    Text as TextType,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from map4_pipeline.hamms.camelot import camelot_number
from map4_pipeline.store.query import Added, Flag, Keys, OneOf, Query, Range, Term, Text, Within, Words
from map4_pipeline.store.schema import (
    SEARCH_CONFIGURATION,
    SEARCH_SEPARATORS,
    duplicate_groups,
    duplicate_members,
    libraries,
    track_search,
    tracks,
)

#: Half and double.
_OCTAVES = (1.0, 2.0, 0.5)
#: Below this a tempo or key is doubtful.
_DOUBTFUL = 0.5
#: Scripts that are written without spaces: a word may begin anywhere. The migration has the same ranges (`map4_pairs`).
_NO_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
#: Weights of the fields in `track_search.words`.
_WEIGHTS = {"title": "A", "artist": "B", "album": "C", "genre": "D"}
_CONFIGURATION = text(f"'{SEARCH_CONFIGURATION}'::regconfig")
_COLUMNS = {"loudness": "loudness", "bitrate": "bit_rate", "size": "file_size"}

Columns = ReadOnlyColumnCollection[str, ColumnElement[Any]]


def conditions(query: Query, t: Columns = track_search.c) -> list[ColumnElement[bool]]:
    """Return what a query asks as conditions on `track_search`. Unless it names a state, tracks that are there and analysed."""
    return [*(condition(term, t) for term in query.terms), *states(query, t)]


def states(query: Query, t: Columns) -> list[ColumnElement[bool]]:
    """Return the states that a query takes for granted."""
    named = {term.name for term in query.terms if isinstance(term, Flag)}
    if not named & {"failed", "missing", "hidden", "ok"}:
        return [t.listed]
    wanted = {term.name for term in query.terms if isinstance(term, Flag) and not term.negated}
    found: list[ColumnElement[bool]] = []
    if "hidden" not in named:
        found.append(not_(t.hidden))
    if "missing" not in named:
        found.append(not_(t.missing))
    if not named & {"failed", "missing", "ok"}:
        found.append(and_(not_(t.failed), not_(t.pending)))
    if wanted & {"failed", "missing", "hidden"}:
        found.append(not_(t.listed))  # follows from the others, and leads to the index of the few that are not listed
    return found


def condition(term: Term, t: Columns) -> ColumnElement[bool]:
    """Return one term as a condition.

    A track without the value has not got it: NULL is not found by the term and found by its opposite.
    """
    found = _positive(term, t)
    return not_(func.coalesce(found, false())) if term.negated else found


def _positive(term: Term, t: Columns) -> ColumnElement[bool]:
    match term:
        case Words():
            return _words(term, t)
        case Range():
            return _range(term, t)
        case OneOf():
            return or_(false(), *(_equal(t, term.field, value) for value in term.values))
        case Keys():
            return t.camelot.in_([camelot_code(key) for key in term.keys])
        case Text():
            return _text(term, t)
        case Added():
            low = t.created_at >= term.low if term.low is not None else true()
            return and_(low, t.created_at < term.high if term.high is not None else true())
        case Flag():
            return _FLAGS[term.name](t)
        case Within():
            return t.library_id == func.any(cast(list(term.library_ids), ARRAY(Integer)))


def camelot_code(key: str) -> int:
    """Return a key's number in `track_search`: 2 for 1A, 3 for 1B ... 25 for 12B."""
    number, letter = camelot_number(key)
    return 2 * number + (letter == "B")


def camelot_text(code: int) -> str:
    """Return the Camelot code of such a number."""
    return f"{code // 2}{'AB'[code % 2]}"


_FLAGS: dict[str, Callable[[Columns], ColumnElement[bool]]] = {
    "ok": lambda t: and_(not_(t.failed), not_(t.pending)),
    "failed": lambda t: t.failed,
    "missing": lambda t: t.missing,
    "hidden": lambda t: t.hidden,
    # Copies only, and not what somebody decided to be none: another version of a piece is no duplicate.
    "duplicate": lambda t: exists(
        select(duplicate_members.c.track_id)
        .join(duplicate_groups, duplicate_groups.c.id == duplicate_members.c.group_id)
        .where(duplicate_members.c.track_id == t.track_id)
        .where(duplicate_groups.c.kind != "other_version", duplicate_groups.c.state.in_(("open", "keep")))
    ),
    "conflict": lambda t: t.conflict,
    "doubtful": lambda t: t.confidence < cast(literal(_DOUBTFUL), REAL),
    "annotated": lambda t: t.annotated,
}


# ------------------------------------------------------------------ numbers
def _range(term: Range, t: Columns) -> ColumnElement[bool]:
    column = t[_COLUMNS.get(term.field, term.field)]
    readings = []
    for factor in _OCTAVES if term.octaves else (1.0,):
        bounds: list[ColumnElement[bool]] = []
        if term.low is not None:
            bounds.append(_bound(column, term.low * factor, term.low_open, upper=False))
        if term.high is not None:
            bounds.append(_bound(column, term.high * factor, term.high_open, upper=True))
        readings.append(and_(true(), *bounds))
    return or_(*readings)


def _bound(column: ColumnElement[Any], value: float, is_open: bool, *, upper: bool) -> ColumnElement[bool]:
    if isinstance(column.type, REAL):
        limit = _real(value)
        if upper:
            return column < limit if is_open else column <= limit
        return column > limit if is_open else column >= limit
    # Whole numbers: the first or last that is within.
    whole = math.floor(value) if upper else math.ceil(value)
    if is_open and whole == value:
        whole += -1 if upper else 1
    limit = cast(literal(max(-(2**62), min(2**62, whole)), BigInteger), BigInteger)
    return column <= limit if upper else column >= limit


def _equal(t: Columns, field: str, value: float) -> ColumnElement[bool]:
    column = t[_COLUMNS.get(field, field)]
    if isinstance(column.type, REAL):
        return column == _real(value)
    if value != math.floor(value) or abs(value) > 2**62:
        return false()
    return column == cast(literal(int(value), BigInteger), BigInteger)


def _real(value: float) -> ColumnElement[Any]:
    """Return a number in the columns' precision, so that 0.7 is the 0.7 that is stored."""
    held = math.copysign(min(abs(value), 3e38), value) if abs(value) > 1e-37 else 0.0
    return cast(literal(held), REAL)


# ------------------------------------------------------------------ words
def _spaced(words: str) -> list[str]:
    for mark in SEARCH_SEPARATORS + "\0":
        words = words.replace(mark, " ")
    return words.split()


def _quoted(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


def _ts_query(words: str, *, phrase: bool, weight: str = "") -> ColumnElement[Any]:
    """Return the text search query: a phrase, or words of which the last may go on; in the field with a weight."""
    parts = [_quoted(part) + (f":{weight}" if weight else "") for part in _spaced(words)]
    if not parts:
        return func.plainto_tsquery(_CONFIGURATION, "")
    if not phrase:
        parts[-1] += "*" if weight else ":*"
    return func.to_tsquery(_CONFIGURATION, (" <-> " if phrase else " & ").join(parts))


def _pairs_query(words: str) -> ColumnElement[Any] | None:
    """Return the query for the pairs of characters of scripts without spaces; None when there are none."""
    parts = []
    for run in _NO_SPACES.findall(words.lower()):
        parts += [f"{_quoted(run)}:*"] if len(run) == 1 else [_quoted(run[at : at + 2]) for at in range(len(run) - 1)]
    return cast(literal(" & ".join(parts)), TSQUERY) if parts else None


def _has(column: ColumnElement[Any], words: str) -> ColumnElement[bool]:
    # Folded before it is escaped: what is folded has no wildcard that was not there.
    folded = func.map4_fold(literal(words.replace("\0", ""), TextType))
    return func.strpos(column, folded) > 0


def _words(term: Words, t: Columns) -> ColumnElement[bool]:
    found = t.words.bool_op("@@")(_ts_query(term.text, phrase=term.phrase))
    pairs = _pairs_query(term.text)
    if pairs is None:
        return found
    inside = or_(*(_has(column, term.text) for column in (t.title, t.artist, t.album)))
    return or_(found, and_(t.words.bool_op("@@")(pairs), inside))


def _text(term: Text, t: Columns) -> ColumnElement[bool]:
    value = term.text.replace("\0", "")
    match term.field:
        case "library":
            named = or_(libraries.c.slug == value, func.lower(libraries.c.name) == func.lower(value))
            return t.library_id.in_(select(libraries.c.id).where(named))
        case "format":
            return t.formats.contains(cast([value.lower().lstrip(".")], ARRAY(TextType)))
        case "mood":
            return t.moods.contains(cast([value.lower()[:100]], ARRAY(TextType)))
        case "path":
            return _of_tracks(t, tracks.c.file_path.ilike(f"%{_escaped(value)}%"))
        case "composer":
            return _composer(term, t)
    if term.exact:
        return t[term.field] == func.map4_fold(literal(value, TextType))
    pairs = _pairs_query(value)
    if pairs is not None:
        indexed = t.words.bool_op("@@")(pairs) if term.field != "genre" else true()
        return and_(indexed, _has(t[term.field], value))
    return t.words.bool_op("@@")(_ts_query(value, phrase=True, weight=_WEIGHTS[term.field]))


def _composer(term: Text, t: Columns) -> ColumnElement[bool]:
    wanted = literal(term.text.replace("\0", ""), TextType)
    indexed = t.words.bool_op("@@")(func.map4_marked_query(wanted, "composer:"))
    name = func.map4_fold(tracks.c.composer)
    fits = name == func.map4_fold(wanted) if term.exact else func.strpos(name, func.map4_fold(wanted)) > 0
    return and_(indexed, exists(select(tracks.c.id).where(tracks.c.id == t.track_id, fits)))


def _of_tracks(t: Columns, wanted: ColumnElement[bool]) -> ColumnElement[bool]:
    rows: Select[Any] = select(tracks.c.id).where(wanted)
    return t.track_id.in_(rows)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("\0", "")
