"""The query language of `map4 search`: `bpm:120..128 key:8A~ energy>0.7 genre:house -artist:"daft punk" night`.

A query is a row of terms, all of which have to hold; `-` before one turns it round.

- A word is looked for in title, artist, album and genre, without accents, from its beginning: `bjor` finds Björk. Words in quotes
  are a phrase.
- `field:value` with a number, a range (`120..128`, `120..`, `..128`) or a list (`1999,2001`); `field>0.7`, `>=`, `<`, `<=`, `=`.
  A range takes what is shown as its ends: 119.985 BPM are shown as 120.0. Signs compare what is stored.
- `bpm:128~` takes half and double tempo too; `key:8A~` what mixes with it: the neighbours on the Camelot ring, the relative key.
- `is:failed`, `is:missing`, `is:duplicate`, `is:conflict` (tags say another tempo or key), `is:doubtful`, `is:annotated`,
  `is:damaged` (the end or packets are lost).
- `finding:clipping`: what is odd about the file, by the names of `FINDINGS`.
- `sort:bpm` or `sort:-added`.

Parsing knows no table; `store.search` makes SQL of it. An error points at its place in the text.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches

from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.hamms.camelot import compatible_keys, parse_key

#: Dimensions of the vector that have no column of their own.
VECTOR_FIELDS = tuple(name for name in DIMENSIONS if name not in ("bpm", "key", "energy"))
NUMBERS = (
    "bpm", "energy", "loudness", "year", "duration", "bitrate", "size", "confidence", "bpm_confidence", "key_confidence",
    *VECTOR_FIELDS,
)  # fmt: skip
#: Measured values -> digits behind the point with which they are shown. (Shares are shown as whole per cent.)
SHOWN_DIGITS = {
    "bpm": 1, "loudness": 1, "duration": 0, **dict.fromkeys(("energy", *VECTOR_FIELDS), 2),
    **dict.fromkeys(("confidence", "bpm_confidence", "key_confidence"), 2),
}  # fmt: skip
TEXTS = ("title", "artist", "album", "genre", "composer", "path", "mood", "format", "library", "finding")
FLAGS = ("ok", "failed", "missing", "hidden", "duplicate", "conflict", "doubtful", "annotated", "damaged")
#: What people call the findings of a file -> the code that the analysis gives.
FINDINGS = {
    "truncated": "truncated",
    "damaged_packets": "decoder_errors",
    "lossy_source": "spectral_cutoff",
    "clipping": "clipping",
    "over_full_scale": "over_full_scale",
    "silence": "silence",
    "mono_in_stereo": "mono_in_stereo",
    "one_silent_channel": "one_silent_channel",
    "antiphase": "antiphase",
    "phase": "phase",
    "dc_offset": "dc_offset",
    "invalid_samples": "non_finite_samples",
}
SORTS = (
    "bpm",
    "key",
    "energy",
    "loudness",
    "year",
    "duration",
    "added",
    "title",
    "artist",
    "album",
    "genre",
    "path",
    "confidence",
)
_OTHERS = ("key", "added", "is", "sort")
_ALIASES = {"tempo": "bpm", "lufs": "loudness", "length": "duration", "codec": "format", "centroid": "spectral_centroid"}
FIELDS = (*NUMBERS, *TEXTS, *_OTHERS)

_TERM = re.compile(r'(?P<minus>-)?(?P<field>[A-Za-z_]+)(?P<operator>>=|<=|:|=|>|<)(?P<value>"[^"]*"?|[^\s"]*)')
_WORDS = re.compile(r'(?P<minus>-)?(?:"(?P<phrase>[^"]*)(?P<end>"?)|(?P<word>[^\s"]+))')
#: Bytes of a command line that are no UTF-8; PostgreSQL takes none of them.
_NO_TEXT = re.compile("[\ud800-\udfff]")
_AGO = re.compile(r"(\d+)\s*([hdwmy])")
_SIZE_UNITS = {"k": 1e3, "m": 1e6, "g": 1e9}
_AGO_DAYS = {"h": 1 / 24, "d": 1, "w": 7, "m": 30.44, "y": 365.25}


class QueryError(ValueError):
    """A query that cannot be read.

    Attributes
    ----------
    message : str
        What is wrong and what would be right.
    text : str
        The query.
    start, end : int
        Where in it.
    """

    def __init__(self, message: str, text: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message, self.text, self.start, self.end = message, text, start, end

    def __str__(self) -> str:
        return f"{self.message}\n  {self.text}\n  {' ' * self.start}{'^' * max(1, self.end - self.start)}"


@dataclass(frozen=True, slots=True)
class Words:
    """Words in title, artist, album or genre; `phrase`: in this order, whole."""

    text: str
    phrase: bool = False
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """A number between two others; None is no limit. `octaves`: half and double count as well."""

    field: str
    low: float | None
    high: float | None
    low_open: bool = False
    high_open: bool = False
    octaves: bool = False
    negated: bool = False


@dataclass(frozen=True, slots=True)
class OneOf:
    """A number that is one of some."""

    field: str
    values: tuple[float, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Keys:
    """A key that is one of some, in MAP4's spelling."""

    keys: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A text field that has these words (`exact`: that is this text)."""

    field: str
    text: str
    exact: bool = False
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """First seen between two moments."""

    low: datetime | None
    high: datetime | None
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """A state."""

    name: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Within:
    """In one of these libraries: what a user was granted, beside what he asks for. No words of a query say this."""

    library_ids: tuple[int, ...]
    negated: bool = False


Term = Words | Range | OneOf | Keys | Text | Added | Flag | Within


@dataclass(frozen=True, slots=True)
class Query:
    """Terms that all hold, and an order: a field, descending where `descending`."""

    terms: tuple[Term, ...] = ()
    sort: str | None = None
    descending: bool = False


def within(query: Query, library_ids: Collection[int] | None) -> Query:
    """Return a query that finds nothing outside these libraries; None: as it is."""
    if library_ids is None:
        return query
    return replace(query, terms=(*query.terms, Within(tuple(sorted(library_ids)))))


@dataclass(slots=True)
class _Reader:
    text: str
    now: datetime
    terms: list[Term] = field(default_factory=list)
    sort: str | None = None
    descending: bool = False

    def fail(self, message: str, start: int, end: int) -> QueryError:
        return QueryError(message, self.text, start, end)


def parse_query(text: str, now: datetime | None = None) -> Query:
    """Read a query.

    Parameters
    ----------
    now : datetime, optional
        What `added:7d` counts from.

    Raises
    ------
    QueryError
        With the place of what cannot be read.
    """
    text = _NO_TEXT.sub("\ufffd", text)
    reader = _Reader(text, now or datetime.now(UTC))
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        match = _TERM.match(text, place)
        if match:
            _read_term(reader, match)
        else:
            match = _WORDS.match(text, place)
            assert match is not None
            _read_words(reader, match)
        place = match.end()
    return Query(tuple(reader.terms), reader.sort, reader.descending)


def _read_words(reader: _Reader, match: re.Match[str]) -> None:
    negated = bool(match["minus"])
    if match["phrase"] is not None and not match["end"]:
        raise reader.fail("The quotation mark is not closed.", match.start(), match.end())
    words = match["phrase"] if match["word"] is None else match["word"]
    if words.strip():
        reader.terms.append(Words(words.strip(), match["word"] is None, negated))


def _read_term(reader: _Reader, match: re.Match[str]) -> None:
    name = match["field"].lower()
    name = _ALIASES.get(name, name)
    if name not in FIELDS:
        near = get_close_matches(name, (*FIELDS, *_ALIASES), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Fields: {', '.join(sorted(FIELDS))}."
        raise reader.fail(f"There is no field '{match['field']}'. {hint}", match.start("field"), match.end("field"))
    value = match["value"]
    start, end = match.span("value")
    if not value or value == '""':
        raise reader.fail(f"A value is missing after '{match['field']}{match['operator']}'.", match.start(), match.end())
    if value.startswith('"'):
        if len(value) == 1 or not value.endswith('"'):
            raise reader.fail("The quotation mark is not closed.", start, end)
        value, start, end = value[1:-1], start + 1, end - 1
    operator, negated = match["operator"], bool(match["minus"])
    compares = operator in (">", ">=", "<", "<=")
    if compares and name not in NUMBERS and name != "added":
        message = f"'{name}' cannot be compared with {operator}; write {name}:{value}"
        raise reader.fail(message, match.start("operator"), match.end("operator"))
    if name == "is":
        if value.lower() not in FLAGS:
            finding = _finding(value)
            hint = f"Did you mean finding:{finding}?" if finding else f"States: {', '.join(FLAGS)}."
            raise reader.fail(f"There is no state '{value}'. {hint}", start, end)
        reader.terms.append(Flag(value.lower(), negated))
    elif name == "sort":
        _read_sort(reader, value, start, end)
    elif name == "key":
        reader.terms.append(Keys(_keys(reader, value, start), negated))
    elif name == "added":
        reader.terms.append(_added(reader, operator, value, start, end, negated))
    elif name == "finding":
        reader.terms.append(Text(name, _finding_code(reader, operator, value, start, end), True, negated))
    elif name in TEXTS:
        reader.terms.append(Text(name, value, operator == "=", negated))
    else:
        reader.terms.append(_number_term(reader, name, operator, value, start, end, negated))


def _finding(value: str) -> str | None:
    """Return the name of a finding that somebody means, None where none is near."""
    plain = value.lower().replace("-", "_").replace(" ", "_")
    named = next((name for name, code in FINDINGS.items() if plain in (name, code)), None)
    return named or next(iter(get_close_matches(plain, FINDINGS, n=1, cutoff=0.65)), None)


def _finding_code(reader: _Reader, operator: str, value: str, start: int, end: int) -> str:
    """Return a finding's code. Engines other than MAP4's may give codes of their own: `finding=code` takes any."""
    name = _finding(value)
    plain = value.lower().replace("-", "_").replace(" ", "_")
    if name is not None and plain in (name, FINDINGS[name]):
        return FINDINGS[name]
    if operator == "=":
        return value
    hint = f"Did you mean {name}?" if name else f"Findings: {', '.join(FINDINGS)}."
    raise reader.fail(f"There is no finding '{value}'. {hint}", start, end)


def _read_sort(reader: _Reader, value: str, start: int, end: int) -> None:
    name = value.lstrip("-").lower()
    name = _ALIASES.get(name, name)
    if name not in SORTS:
        raise reader.fail(f"There is no order '{value}'. Orders: {', '.join(SORTS)}, each with '-' for descending.", start, end)
    reader.sort, reader.descending = name, value.startswith("-")


def _number_term(reader: _Reader, name: str, operator: str, value: str, start: int, end: int, negated: bool) -> Term:
    def number(text: str, at: int) -> float:
        return _number(reader, name, text, at)

    if operator in (">", ">="):
        return Range(name, number(value, start), None, low_open=operator == ">", negated=negated)
    if operator in ("<", "<="):
        return Range(name, None, number(value, start), high_open=operator == "<", negated=negated)
    octaves = value.endswith("~")
    if octaves:
        if name != "bpm":
            raise reader.fail("'~' belongs to bpm (half and double tempo) and key (what mixes).", end - 1, end)
        value = value[:-1]
    if ".." in value:
        low, _, high = value.partition("..")
        if not low and not high:
            raise reader.fail("A range has a number on one side at least, such as 120..128.", start, end)
        first = number(low, start) if low else None
        last = number(high, start + value.index("..") + 2) if high else None
        if first is not None and last is not None and first > last:
            raise reader.fail(f"The range ends before it begins: write {high}..{low}.", start, end)
        return _shown_range(Range(name, first, last, octaves=octaves, negated=negated), low, high)
    if "," in value:
        values, at = [], start
        for part in value.split(","):
            values.append(number(part, at))
            at += len(part) + 1
        return OneOf(name, tuple(values), negated)
    exact = number(value, start)
    # A tempo of 128 is what displays as 128, and the same for other measures: half of the last digit either way.
    if name == "year" or operator == "=":
        return OneOf(name, (exact,), negated)
    half = 0.5 * 10.0 ** -_decimals(value) * _unit(name, value)
    return Range(name, exact - half, exact + half, high_open=True, octaves=octaves, negated=negated)


def _decimals(value: str) -> int:
    """Return how many digits behind the point somebody wrote."""
    return 0 if ":" in value else len(value.partition(".")[2].rstrip("kmgKMG"))


def _unit(name: str, value: str) -> float:
    """Return what one of a number's unit is: a size may end with k, M or G."""
    return _SIZE_UNITS.get(value[-1:].lower(), 1.0) if name == "size" else 1.0


def _shown_range(asked: Range, low: str, high: str) -> Range:
    """Return a range with what is shown as its ends: half of the last digit wider, or of the last that was written."""
    digits = SHOWN_DIGITS.get(asked.field)
    if digits is None:
        return asked
    first, last = (0.5 * 10.0 ** -max(digits, _decimals(end)) for end in (low, high))
    return replace(
        asked,
        low=None if asked.low is None else asked.low - first,
        high=None if asked.high is None else asked.high + last,
        high_open=asked.high is not None,
    )


def _number(reader: _Reader, name: str, text: str, start: int) -> float:
    clean = text.strip()
    try:
        if name == "duration" and ":" in clean:
            seconds = 0.0
            for part in clean.split(":"):
                seconds = seconds * 60 + float(part)
            return seconds
        unit = _unit(name, clean)
        value = float(clean if unit == 1.0 else clean[:-1]) * unit
    except ValueError:
        examples = {"duration": " such as 3:30 or 210", "size": " such as 12M"}
        raise reader.fail(f"'{text}' is no number{examples.get(name, '')}.", start, start + max(1, len(text))) from None
    if value != value or value in (float("inf"), float("-inf")):
        raise reader.fail(f"'{text}' is no number.", start, start + len(text))
    return value


def _keys(reader: _Reader, value: str, start: int) -> tuple[str, ...]:
    found: list[str] = []
    at = start
    for part in value.split(","):
        wide = part.endswith("~")
        key = parse_key(part.removesuffix("~"))
        if key is None:
            raise reader.fail(f"'{part}' is no key. Write it as 8A, Am, 'A minor' or 1m.", at, at + max(1, len(part)))
        found += compatible_keys(key) if wide else (key,)
        at += len(part) + 1
    return tuple(dict.fromkeys(found))


def _added(reader: _Reader, operator: str, value: str, start: int, end: int, negated: bool) -> Added:
    def moment(text: str, at: int) -> tuple[datetime, datetime]:
        return _moment(reader, text, at)

    if operator in (">", ">="):
        first, last = moment(value, start)
        return Added(last if operator == ">" and not _AGO.fullmatch(value) else first, None, negated)
    if operator in ("<", "<="):
        first, last = moment(value, start)
        return Added(None, first if operator == "<" else last, negated)
    if ".." in value:
        low, _, high = value.partition("..")
        if not low and not high:
            raise reader.fail("A range has a date on one side at least.", start, end)
        begin = moment(low, start)[0] if low else None
        finish = moment(high, start + len(low) + 2)[1] if high else None
        return Added(begin, finish, negated)
    if _AGO.fullmatch(value):
        return Added(moment(value, start)[0], None, negated)
    return Added(*moment(value, start), negated)


def _moment(reader: _Reader, text: str, start: int) -> tuple[datetime, datetime]:
    """Return the first moment of a year, month or day and the first after it; of "7d", that long ago twice."""
    match = _AGO.fullmatch(text)
    if match:
        try:
            then = reader.now - timedelta(days=int(match[1]) * _AGO_DAYS[match[2]])
        except (OverflowError, ValueError):  # also more digits than Python reads
            raise reader.fail(f"'{text}' is too long ago.", start, start + len(text)) from None
        return then, then
    parts = text.split("-")
    try:
        numbers = [int(part) for part in parts]
        step: Callable[[date], date]
        if len(numbers) == 1:
            first, step = date(numbers[0], 1, 1), lambda day: date(day.year + 1, 1, 1)
        elif len(numbers) == 2:
            first, step = date(numbers[0], numbers[1], 1), lambda day: (day + timedelta(days=31)).replace(day=1)
        elif len(numbers) == 3:
            first, step = date(*numbers), lambda day: day + timedelta(days=1)
        else:
            raise ValueError
        last = step(first)
    except (ValueError, OverflowError):
        message = f"'{text}' is no date. Write 2026, 2026-11, 2026-11-22 or how long ago: 7d, 2w, 6m."
        raise reader.fail(message, start, start + max(1, len(text))) from None
    midnight = datetime.min.time()
    return datetime.combine(first, midnight, UTC), datetime.combine(last, midnight, UTC)
