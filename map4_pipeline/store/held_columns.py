"""What a search filters and sorts by, in a process's memory, for searches that read too much of the database otherwise.

Tracks that match may stand at the other end of the order than the page begins (much acousticness by falling energy): by any index
a large part of the library is read then. Here it is a pass over a few columns. What is found are candidates, at least all tracks
that match, in the order; which of them really do, the database says (`store.search`). While the library changes, the columns are
behind, and searches go without them; a thread takes over what was written.

A million tracks take 147 MB and ten seconds to read. Only processes that stay hold them (`store.columns.follow`).
"""

import contextlib
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, Engine

from map4_pipeline.hamms.rows import RowsById
from map4_pipeline.store.columns import TEXTS, Folded, is_large
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.following import FollowedRows, copied
from map4_pipeline.store.query import Added, Flag, Keys, OneOf, Query, Range, Term, Text, Within
from map4_pipeline.store.search_terms import COLUMNS, DOUBTFUL, OCTAVES, SINGLES, assumed, camelot_code, held_single

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

_log = logging.getLogger(__name__)
#: Whole numbers as doubles, which hold them exactly, so that unknown is NaN everywhere.
_DOUBLES = ("file_size", "bit_rate", "year", "camelot")
#: Microseconds since 1970. What is outside the calendar is moved to its ends.
_MOMENT = "created_at"
_MICROSECONDS = (
    "CAST(extract(epoch FROM greatest(least(s.created_at, '9999-12-31T23:59:59Z'), '0001-01-01T00:00:00Z')) * 1000000 AS bigint)"
)
_NUMBERS = (*SINGLES, *_DOUBLES, _MOMENT)
_FLAGS = ("listed", "failed", "pending", "missing", "hidden", "conflict", "annotated")
#: The bit behind those: the track is there.
_HERE = 1 << len(_FLAGS)
#: Columns with few different values, held as numbers of them. Lists are JSON.
_CODED = {"genre": "s.genre", "formats": "CAST(to_jsonb(s.formats) AS text)", "moods": "CAST(to_jsonb(s.moods) AS text)"}
#: With more different values than this, a column is not held.
_MOST_VALUES = 50_000
#: A folded genre of so many characters may have been cut: 200 were taken, and then lost their marks, of which each may have two.
_CUT = 60
#: Values of which no track is left are forgotten when there are twice as many as there were, and so many more.
_SPARE_VALUES = 1_000
#: Up to so many candidates are left to the database to sort, where the order's column is not held.
_SORTED = 3_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Seconds that a search waits for others.
_PATIENCE = 1.0
#: After a refresh a thread rests so many times as long as that took; after a failure so many seconds.
_REST, _FAILED_SECONDS = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Candidates:
    """Tracks in a query's order.

    Attributes
    ----------
    ids : list of int
    whole : bool
        There are no more.
    exact : bool
        All of them match, as far as is known here.
    """

    ids: list[int]
    whole: bool
    exact: bool


class SearchColumns(FollowedRows):
    """The columns of a library's tracks; one for each process and database (`follow`)."""

    def __init__(self) -> None:
        super().__init__()
        self._busy = threading.Lock()
        self._ended = threading.Event()
        self._resting_until = 0.0
        self._clear()

    @property
    def size_bytes(self) -> int:
        """Memory taken."""
        return self._rows.size_bytes + sum(sys.getsizeof(text) for known in self._values.values() for text in known)

    @property
    def _newest(self) -> int:
        return int(self._rows.ids[-1]) if len(self._rows) else 0

    def _clear(self) -> None:
        self._rows = RowsById(
            flags=np.empty(0, np.uint16),
            library_id=np.empty(0, np.int32),
            **{name: np.empty(0, np.float32) for name in SINGLES},
            **{name: np.empty(0, np.float64) for name in _DOUBLES},
            created_at=np.empty(0, np.int64),
            **{name: np.empty(0, np.int32) for name in _CODED},
        )
        self._values: dict[str, dict[str, int]] = {name: {} for name in _CODED}
        self._used = dict.fromkeys(_CODED, 0)
        self._searched: dict[str, _Texts] = {}

    def _read(self, conn: Connection, which: str, values: Sequence[Any]) -> "NDArray[np.int64]":
        from pyarrow import float32, float64, int64, string

        if self._ended.is_set():
            raise StoreError("The process ends.")
        bits = " + ".join(f"{1 << place} * CAST(s.{name} AS integer)" for place, name in enumerate(_FLAGS))
        columns = {
            "track_id": ("s.track_id", int64()),
            "flags": (f"{_HERE} + {bits}", int64()),
            "library_id": ("s.library_id", int64()),
            **{name: (f"s.{name}", float32()) for name in SINGLES},
            **{name: (f"s.{name}", float64()) for name in _DOUBLES},
            **{name: (sql, string()) for name, sql in _CODED.items()},
            _MOMENT: (_MICROSECONDS, int64()),
        }
        table = copied(conn, columns, which, values)
        read = {name: _numbers(table[name]) for name in _NUMBERS}
        read |= {
            "flags": table["flags"].to_numpy().astype(np.uint16),
            "library_id": table["library_id"].to_numpy().astype(np.int32),
        }
        read |= {name: self._coded(name, table[name]) for name in _CODED}
        ids: NDArray[np.int64] = table["track_id"].to_numpy()
        self._rows.put(ids, **read)
        return ids

    def _coded(self, name: str, texts: Any) -> "NDArray[np.int32]":
        """Return the numbers of values, noting new ones."""
        known = self._values[name]
        encoded = texts.combine_chunks().dictionary_encode()
        numbers = [known.setdefault(text, len(known)) for text in encoded.dictionary.to_pylist()]
        return np.array(numbers, np.int32)[encoded.indices.to_numpy(zero_copy_only=False)] if numbers else np.empty(0, np.int32)

    def _forget_values(self) -> None:
        """Give the values of each column new numbers where most of them are of no track any more."""
        for name, known in self._values.items():
            if len(known) <= 2 * self._used[name] + _SPARE_VALUES:
                continue
            numbers, codes = np.unique(self._rows[name], return_inverse=True)
            texts = list(known)
            self._rows[name][:] = codes
            self._values[name] = {texts[number]: place for place, number in enumerate(numbers.tolist())}
            self._used[name] = len(numbers)
            self._searched.pop(name, None)

    def drop(self, conn: Connection, ids: Sequence[int], generation: str) -> None:
        """Forget which of some tracks are not in the database any more, in this state of it."""
        rows = conn.exec_driver_sql("SELECT track_id FROM track_search WHERE track_id = ANY(CAST(%s AS bigint[]))", (list(ids),))
        gone = np.array(sorted(set(ids) - {id_ for (id_,) in rows}), dtype=np.int64)
        with self._lock:
            if self.is_of(generation):
                self._rows["flags"][self._rows.places(gone)] = 0

    def catch_up(self, engine: Engine, *, wait: bool = False) -> None:
        """Take over what was written: in a thread, unless one is at it or rests; `wait`: now."""
        if wait:
            with self._busy:
                self._catch_up(engine)
        elif not self._ended.is_set() and time.monotonic() >= self._resting_until and self._busy.acquire(blocking=False):
            thread = threading.Thread(target=self._catch_up_and_release, args=(engine,), name="search-columns", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads for us
                self._resting_until = time.monotonic() + _FAILED_SECONDS
                self._busy.release()

    def _catch_up_and_release(self, engine: Engine) -> None:
        try:
            self._catch_up(engine)
        finally:
            self._busy.release()

    def _catch_up(self, engine: Engine) -> None:
        begun = time.monotonic()
        try:
            with engine.connect() as conn:
                if self._generation is not None or is_large(conn):
                    self.refresh(conn)
            with self._lock:
                self._forget_values()
        except Exception:  # noqa: BLE001 - nobody waits for it
            if not self._ended.is_set():
                _log.warning("the columns for searches could not be read; searches go on without them", exc_info=True)
            self._resting_until = time.monotonic() + _FAILED_SECONDS
        else:
            self._resting_until = time.monotonic() + _REST * (time.monotonic() - begun)

    def end(self, seconds: float) -> None:
        """Read nothing more, and wait so long for a thread that is at it: none should run while the interpreter ends."""
        self._ended.set()
        if self._busy.acquire(timeout=seconds):
            self._busy.release()

    # ------------------------------------------------------------------ what is asked
    def first(
        self,
        query: Query,
        count: int,
        generation: str,
        *,
        column: str | None,
        descending: bool,
        place: tuple[Any, int] | None,
        folded: Folded,
    ) -> Candidates | None:
        """Return the first tracks that a query may find; None when there are too many for an order that is not held.

        None also when the columns are not of this state of the database any more, or are being read.

        Parameters
        ----------
        column : str or None
            What to sort by; None: by id. Where it is not held, the candidates are all there are, in no order.
        place : (value, id), optional
            The candidates come after it.
        folded : mapping
            Of each text that is looked for in genres: what `map4_fold` makes of it, and its words.
        """
        with self._as_of(generation) as current:
            if not current:
                return None
            places, exact = self._places(query, folded)
            if column is not None and column not in _NUMBERS:
                return Candidates(self._rows.ids[places].tolist(), True, exact) if len(places) <= _SORTED else None
            return self._ordered(places, count, column, descending, place, exact)

    def all_ids(self, query: Query, generation: str, folded: Folded) -> "tuple[NDArray[np.int64], bool] | None":
        """Return all tracks that a query may find, by id, and whether it finds all of them; None as `first` does."""
        with self._as_of(generation) as current:
            if not current:
                return None
            places, exact = self._places(query, folded)
            return self._rows.ids[places], exact

    @contextlib.contextmanager
    def _as_of(self, generation: str) -> Iterator[bool]:
        """Keep the columns from being changed, and say whether they are those of a state of the database."""
        if not self._lock.acquire(timeout=_PATIENCE):
            yield False
            return
        try:
            yield self.is_of(generation)
        finally:
            self._lock.release()

    def _places(self, query: Query, folded: Folded) -> "tuple[NDArray[np.int64], bool]":
        """Return where the tracks are that a query may find, and whether it finds all of them."""
        mask, exact = self._flags(_HERE, 0), True
        for name, wanted in assumed(query):
            mask &= self._flag(name, wanted=wanted)
        for term in query.terms:
            fits, sure = self._matching(term, folded)
            exact &= sure
            if fits is not None:
                mask &= ~fits if term.negated else fits
        return np.flatnonzero(mask), exact

    def _ordered(
        self,
        places: "NDArray[np.int64]",
        count: int,
        column: str | None,
        descending: bool,
        place: tuple[Any, int] | None,
        exact: bool,
    ) -> Candidates:
        ids = self._rows.ids
        if column is None:
            found = places if place is None else places[ids[places] > place[1]]
            return Candidates(ids[found[:count]].tolist(), len(found) <= count, exact)
        # Whatever the order, what comes first has the smaller key.
        sign = -1 if descending else 1
        keys = sign * self._rows[column][places]
        if place is not None:
            later = np.isnan(keys)
            if place[0] is None:
                same = np.flatnonzero(later)
            else:
                value = _microseconds(place[0]) if isinstance(place[0], datetime) else place[0]
                last = keys.dtype.type(sign * value)
                later |= keys > last
                same = np.flatnonzero(keys == last)
            later[same] = sign * ids[places[same]] > sign * place[1]
            places, keys = places[later], keys[later]
        known = np.flatnonzero(~np.isnan(keys))
        if len(known) > count:
            held = keys[known]
            known = known[held <= np.partition(held, count - 1)[count - 1]]
        found = places[known[np.lexsort((sign * ids[places[known]], keys[known]))][:count]]
        if len(found) < count:
            # What has no value comes last; places are in the order of the ids.
            found = np.concatenate([found, places[np.isnan(keys)][::sign][: count - len(found)]])
        return Candidates(ids[found].tolist(), len(found) == len(places), exact)

    def _matching(self, term: Term, folded: Folded) -> "tuple[Mask | None, bool]":
        """Return (which tracks have what a term asks, its negation aside; whether that is sure).

        Where it is not sure, others may be among them, and there is no negation; instead of all tracks it may be None.
        """
        match term:
            case Range():
                return self._range(term), True
            case OneOf():
                return self._any(self._compare(term.field, np.equal, value) for value in term.values), True
            case Keys():
                column = self._rows["camelot"]
                return self._any(column == camelot_code(key) for key in term.keys), True
            case Added():
                return self._added(term), True
            case Flag():
                return self._state(term.name)
            case Within():
                return np.isin(self._rows["library_id"], term.library_ids), True
            case Text():
                return self._text(term, folded)
            case _:
                return None, False

    def _any(self, masks: "Iterable[Mask]") -> "Mask":
        found = np.zeros(len(self._rows), bool)
        for mask in masks:
            found |= mask
        return found

    def _compare(self, field: str, compare: Callable[..., Any], value: float) -> "Mask":
        name = COLUMNS.get(field, field)
        bound = np.float32(held_single(value)) if name in SINGLES else np.float64(value)
        return np.asarray(compare(self._rows[name], bound))

    def _range(self, term: Range) -> "Mask":
        found = np.zeros(len(self._rows), bool)
        for factor in OCTAVES if term.octaves else (1.0,):
            within = np.ones(len(self._rows), bool)
            if term.low is not None:
                within &= self._compare(term.field, np.greater if term.low_open else np.greater_equal, term.low * factor)
            if term.high is not None:
                within &= self._compare(term.field, np.less if term.high_open else np.less_equal, term.high * factor)
            found |= within
        return found

    def _added(self, term: Added) -> "Mask":
        moments = self._rows["created_at"]
        within = np.ones(len(moments), bool)
        if term.low is not None:
            within &= moments >= _microseconds(term.low)
        if term.high is not None:
            within &= moments < _microseconds(term.high)
        return within

    def _state(self, name: str) -> "tuple[Mask | None, bool]":
        if name == "ok":
            return self._flag("failed", wanted=False) & self._flag("pending", wanted=False), True
        if name == "doubtful":
            return self._rows["confidence"] < np.float32(DOUBTFUL), True
        return (self._flag(name, wanted=True), True) if name in _FLAGS else (None, False)

    def _flag(self, name: str, *, wanted: bool) -> "Mask":
        bit = 1 << _FLAGS.index(name)
        return self._flags(bit, 0) if wanted else self._flags(0, bit)

    def _flags(self, these: int, others: int) -> "Mask":
        return np.asarray(self._rows["flags"] & np.uint16(these | others) == these)

    def _text(self, term: Text, folded: Folded) -> "tuple[Mask | None, bool]":
        name = TEXTS[term.field]
        known = self._values[name]
        if len(known) > _MOST_VALUES:
            return None, False
        if not known:
            return np.zeros(len(self._rows), bool), True
        if name == "genre":
            if term.negated:
                return None, False
            # At least those that have them: what is a word of a genre, PostgreSQL knows.
            texts = self._texts(name)
            whole, words = folded[term.text]
            fitting = texts.having(whole)
            if not term.exact and whole not in words:
                fitting |= np.logical_and.reduce([texts.having(word) for word in words])
            fitting |= texts.lengths >= _CUT
            exact = False
        else:
            wanted = term.text.replace("\0", "").lower()
            wanted = wanted.lstrip(".") if name == "formats" else wanted[:100]
            fitting, exact = np.array([wanted in values for values in self._texts(name).lists]), True
        return fitting[self._rows[name]], exact

    def _texts(self, name: str) -> "_Texts":
        held, known = self._searched.get(name), self._values[name]
        if held is None or len(held.lengths) != len(known):
            held = self._searched[name] = _Texts(list(known))
        return held


class _Texts:
    """The different values of a column, to find those that have something in them."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._values = texts
        self.lengths = np.array([len(text) for text in texts])
        self._starts = np.concatenate([[0], np.cumsum(self.lengths + 1)[:-1]])
        # No text out of PostgreSQL has this character.
        self._joined = _one_sigma("\0".join(texts))

    def having(self, part: str) -> "Mask":
        """Return which texts have a text in them."""
        found = np.zeros(len(self.lengths), bool)
        if not part:
            return ~found
        places = [match.start() for match in re.finditer(re.escape(_one_sigma(part)), self._joined)]
        found[np.searchsorted(self._starts, places, side="right") - 1] = True
        return found

    @cached_property
    def lists(self) -> list[frozenset[str]]:
        """What is in lists."""
        return [frozenset(json.loads(text)) if text else frozenset() for text in self._values]


def _numbers(column: Any) -> "NDArray[Any]":
    """Return a column's values, NaN where unknown. What is NaN itself becomes infinite: PostgreSQL sorts it above all numbers."""
    values: NDArray[Any] = column.to_numpy()
    if np.isnan(values).sum() > column.null_count:
        values = np.where(np.isnan(values) & column.is_valid().to_numpy(), values.dtype.type(np.inf), values)
    return values


def _one_sigma(text: str) -> str:
    """Return a text with one small sigma: at the end of a word there is another, and where words end is not known here."""
    return text.replace("\u03c2", "\u03c3")


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
