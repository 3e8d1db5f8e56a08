"""What is like a track, and what mixes into it: exact, over all vectors, which a process keeps in memory.

The vectors follow the database (`store.following`): every question takes over first what was written since the last one. What is
found is looked up in the database before it is shown: a track that has gone, is hidden or does not fit the filters is not in the
answer, whatever memory says.
"""

import logging
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sqlalchemy import Connection, Engine

from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.hamms.nearest import MIX_COLUMNS, NearestTable
from map4_pipeline.hamms.similarity import Similarity, compare_many, embed_table, embed_tracks
from map4_pipeline.hamms.transition import MixTrack, Transition, TransitionRules, transition
from map4_pipeline.hamms.vector import BPM_HIGH, BPM_LOW
from map4_pipeline.store.columns import current_columns, fold_genres, may_answer
from map4_pipeline.store.copies import GROUPED, RECORDED, Recorded, drop_copies
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.following import FollowedRows, copied
from map4_pipeline.store.listing import rows_by_id
from map4_pipeline.store.query import Query
from map4_pipeline.store.search_terms import TABLE, all_of, conditions

if TYPE_CHECKING:
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)
#: Candidates that are looked up first; where a filter leaves too few of them, everything it finds is compared.
_CANDIDATES = 256
#: Up to so many of the tracks that a filter may find are looked up; where that leaves too few, all are read that it does find.
_UNSURE = 8_000
_DIMENSION_COLUMNS = tuple(name for name in DIMENSIONS if name not in ("bpm", "key"))
_COLUMNS = ("track_id", "listed", "bpm", "camelot", "bpm_confidence", "key_confidence", "loudness", *_DIMENSION_COLUMNS)


@dataclass(frozen=True, slots=True)
class Similar:
    """A track that was found.

    Attributes
    ----------
    row : dict
        With the names of `store.listing`.
    similarity : Similarity
        To the track that was asked about.
    transition : Transition
        From that track to this.
    """

    row: dict[str, Any]
    similarity: Similarity
    transition: Transition


class SimilarIndex(FollowedRows):
    """The vectors of a library's listed tracks; one for each process and database (`index_of`)."""

    _first = "s.listed"

    def __init__(self) -> None:
        super().__init__()
        self._table = NearestTable()

    def __len__(self) -> int:
        return len(self._table)

    @property
    def size_bytes(self) -> int:
        """Memory taken."""
        return self._table.size_bytes

    def nearest(self, conn: Connection, track_id: int, count: int, query: Query, rules: TransitionRules | None) -> list[int]:
        """Return the ids of the nearest recordings that a query finds, roughly in order: no copy of the track or of each other.

        Parameters
        ----------
        rules : TransitionRules, optional
            Nearest by the transition's score instead of by similarity.

        Raises
        ------
        StoreError
            When the track has no vector.
        """
        self.refresh(conn)
        # The lock is held for what is computed, never while the database is asked.
        with self._lock:
            table = self._table
            known = table.get(track_id)
        point, mix = known or _read_track(conn, track_id)
        if np.isnan(point).all():
            raise StoreError(f"Track {track_id} has no HAMMS vector: it failed, is silent, or waits for its analysis.")

        def measure() -> "NDArray[np.float32]":
            distances = table.distances(point) if rules is None else table.mix_distances(mix, rules)
            itself = table.place(track_id)
            if itself is not None:
                distances[itself] = np.inf
            return distances

        with self._lock:
            distances, changes = measure(), table.changes
            candidates = table.ids[table.closest(distances, max(_CANDIDATES, 2 * count))]
            everything = len(candidates) >= len(table)
        found: list[int] = []
        read: dict[int, Recorded] = {}
        looked = 0

        def recordings() -> list[int]:
            return drop_copies(found, [read[id_] for id_ in (track_id, *found) if id_ in read], heard=(track_id,))[:count]

        while looked < len(candidates):
            # Without a filter nearly all candidates fit: the first few are enough.
            part = candidates[looked:] if looked else candidates[: _looked(count)]
            looked += len(part)
            fitting, gone = _fitting(conn, part, query, track_id, read)
            found += [id_ for id_ in part.tolist() if id_ in fitting]
            if len(gone):
                self._forget(table, gone, changes)
            whole = everything and looked == len(candidates)
            if whole or len(found) >= count:
                others = recordings()
                if whole or len(others) >= count:
                    return others
        # A narrow filter: everything it finds is compared.
        ids, sure = self._all_fitting(conn, query)
        compared = 4 * _looked(count)
        while True:
            with self._lock:
                if table.changes != changes:
                    distances, changes = measure(), table.changes
                places = table.places(ids)
                part = table.ids[places[table.closest(distances[places], compared)]]
            fitting, _ = _fitting(conn, part, query, track_id, read)
            found = [id_ for id_ in part.tolist() if id_ in fitting]
            others = recordings()
            if len(others) >= count or compared >= len(ids):
                return others
            compared *= 8
            if not sure and compared > _UNSURE:
                ids, sure = _all_fitting(conn, query), True

    def _all_fitting(self, conn: Connection, query: Query) -> "tuple[NDArray[np.int64], bool]":
        """Return the ids of at least the tracks that a query finds, and whether it is sure to find all of them."""
        current = current_columns(conn, len(self._table)) if may_answer(query) else None
        if current is not None:
            columns, generation = current
            found = columns.all_ids(query, generation, fold_genres(conn, query))
            if found is not None:
                return found
        return _all_fitting(conn, query), True

    def _forget(self, table: NearestTable, gone: "NDArray[np.int64]", changes: int) -> None:
        """Drop tracks that were gone when the database was asked, unless the table was written to since: they may be back."""
        with self._lock:
            if table.changes == changes:
                table.drop(gone)

    @property
    def _newest(self) -> int:
        return int(self._table.ids[-1]) if len(self._table) else 0

    def _clear(self) -> None:
        self._table = NearestTable()

    def _read(self, conn: Connection, which: str, values: Sequence[Any]) -> "NDArray[np.int64]":
        ids, listed, points, mix = _embeddings(conn, which, values)
        points[~listed] = np.nan
        known = listed | np.isin(ids, self._table.ids)
        self._table.put(ids[known], points[known], mix[known])
        return ids


_indexes: "weakref.WeakKeyDictionary[Engine, SimilarIndex]" = weakref.WeakKeyDictionary()
_indexes_lock = threading.Lock()


def index_of(engine: Engine) -> SimilarIndex:
    """Return the process's index of a database."""
    with _indexes_lock:
        return _indexes.setdefault(engine, SimilarIndex())


def warm_up(engine: Engine) -> None:
    """Read a database's vectors, so that the first question does not wait for it; where that fails, the first question tells."""
    try:
        with engine.connect() as conn:
            index_of(engine).refresh(conn)
    except Exception:  # noqa: BLE001 - nobody has asked yet
        _log.warning("the similarity index could not be read ahead", exc_info=True)


def similar_tracks(
    conn: Connection,
    track_id: int,
    count: int = 20,
    query: Query | None = None,
    *,
    by: Literal["similarity", "mix"] = "similarity",
    rules: TransitionRules | None = None,
) -> list[Similar]:
    """Return the tracks that are most like one, the most alike first: other recordings than it, each once.

    Parameters
    ----------
    query : Query, optional
        Only tracks that it finds; its order does not count.
    by : {"similarity", "mix"}
        "mix": the tracks into which this one mixes best.
    rules : TransitionRules, optional
        How the transitions are judged.

    Raises
    ------
    StoreError
        When there is no such track, or it has no vector.
    """
    rules = rules or TransitionRules()
    ids = index_of(conn.engine).nearest(conn, track_id, count, query or Query(), rules if by == "mix" else None)
    rows = {row["id"]: row for row in tracks_by_id(conn, [track_id, *ids])}
    first = rows.get(track_id)
    if first is None:
        raise StoreError(f"There is no track {track_id}.")
    others = [rows[id_] for id_ in ids if id_ in rows]
    # From the rows as they are read now: what is shown belongs together.
    point, *points = embed_tracks((first, *others))
    likeness = compare_many(point, np.stack(points)) if points else []
    mixed = mix_track(first)
    found = [Similar(row, alike, transition(mixed, mix_track(row), rules)) for row, alike in zip(others, likeness, strict=True)]
    if by == "mix":
        return sorted(found, key=lambda one: (-one.transition.score, one.row["id"]))
    return sorted(found, key=lambda one: (-(one.similarity.score or 0.0), one.row["id"]))


def tracks_by_id(conn: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return tracks with the names of `store.listing`, in the order of their ids."""
    return [row for _, row in sorted(rows_by_id(conn, ids).items())]


def mix_track(row: dict[str, Any]) -> MixTrack:
    """Return a row of `store.listing` as a track to mix."""
    names = ("bpm", "bpm_confidence", "camelot", "key_confidence", "energy", "loudness_lufs", "duration", "artist", "title")
    return MixTrack(row["id"], **{name: row[name] for name in names}, genre=row["genre"], path=row["path"])


# ------------------------------------------------------------------ reading
def _embeddings(
    conn: Connection, which: str, values: Sequence[Any]
) -> "tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]":
    """Return ids, which are listed, embeddings and columns for mixing of rows of `track_search`."""
    from pyarrow import float64, int64

    types = {"track_id": int64(), "listed": int64()}
    columns = {name: (f"s.{name}", types.get(name, float64())) for name in _COLUMNS}
    columns["listed"] = ("CAST(s.listed AS integer)", int64())
    table = copied(conn, columns, which, values)
    column = {name: table[name].to_numpy() for name in _COLUMNS}
    return column["track_id"], column["listed"] == 1, *_embedded(column)


def _embedded(column: "dict[str, NDArray[np.float64]]") -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """Return embeddings and columns for mixing. A track that waits for its vector has none, whatever its tempo."""
    with np.errstate(divide="ignore", invalid="ignore"):
        octaves = np.log2(np.where(column["bpm"] > 0, column["bpm"], np.nan) / 120)
    place = column["camelot"] - 2
    bpm = np.clip((octaves + np.log2(120 / BPM_LOW)) / np.log2(BPM_HIGH / BPM_LOW), 0, 1)
    values = np.stack([bpm if name == "bpm" else place / 24 if name == "key" else column[name] for name in DIMENSIONS], axis=1)
    waits = np.isnan([column[name] for name in _DIMENSION_COLUMNS if name != "energy"]).all(axis=0)
    points = embed_table(values, np.stack([column["bpm_confidence"], column["key_confidence"]], axis=1))
    points[waits] = np.nan
    trust = {name: np.where(np.isnan(column[name]), 0.5, column[name]) for name in ("bpm_confidence", "key_confidence")}
    mix = {**column, **trust, "octaves": octaves, "key": place, "loudness_lufs": column["loudness"]}
    return points, np.stack([mix[name] for name in MIX_COLUMNS], axis=1).astype(np.float32)


def _read_track(conn: Connection, track_id: int) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    ids, _, points, mix = _embeddings(conn, "WHERE s.track_id = %s", (track_id,))
    if not len(ids):
        raise StoreError(f"There is no track {track_id}.")
    return points[0], mix[0]


def _fitting(
    conn: Connection, candidates: "NDArray[np.int64]", query: Query, track_id: int, read: dict[int, Recorded]
) -> "tuple[set[int], NDArray[np.int64]]":
    """Return which candidates a query finds, and which are not listed any more; note what recordings they and a track are."""
    fits = all_of(conditions(query))
    rows = conn.exec_driver_sql(
        f"SELECT {RECORDED}, {TABLE}.listed, coalesce({fits.text}, false) FROM {GROUPED} JOIN {TABLE} ON {TABLE}.track_id = t.id "
        "WHERE t.id = ANY(CAST(%s AS bigint[]))",
        (*fits.values, [track_id, *candidates.tolist()]),
    ).all()
    read |= {row[0]: Recorded(*row[:4]) for row in rows}
    there = {row[0]: row[5] for row in rows if row[4]}
    gone = [id_ for id_ in candidates.tolist() if id_ not in there]
    return {id_ for id_, it_fits in there.items() if it_fits}, np.array(gone, dtype=np.int64)


def _looked(count: int) -> int:
    """Return how many tracks are looked at first for so many recordings."""
    return count + 8


def _all_fitting(conn: Connection, query: Query) -> "NDArray[np.int64]":
    """Return the ids of all listed tracks that a query finds. One text: half a million rows would take seconds."""
    fits = all_of(conditions(query))
    joined = f"SELECT string_agg(CAST({TABLE}.track_id AS text), ',') FROM {TABLE} WHERE {fits.text} AND {TABLE}.listed"
    found = conn.exec_driver_sql(joined, fits.values).scalar()
    return np.fromstring(found or "", dtype=np.int64, sep=",")
