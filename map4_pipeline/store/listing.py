"""Lists of tracks for people and programs, with the names that `map4 analyze` prints."""

import json
from collections.abc import Collection, Iterator, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, func, select
from sqlalchemy.dialects.postgresql import JSONB

from map4_pipeline.store.schema import tracks

#: Columns of the table `tracks` under the names of `map4 analyze`.
NAMES = {
    "path": tracks.c.file_path,
    "status": tracks.c.status,
    "error": tracks.c.error_message,
    "duration": tracks.c.duration,
    "sample_rate": tracks.c.sample_rate,
    "channels": tracks.c.channels,
    "bit_rate": tracks.c.bit_rate,
    "bpm": tracks.c.bpm,
    "bpm_confidence": tracks.c.bpm_confidence,
    "bpm_alternatives": tracks.c.bpm_alternatives,
    "key": tracks.c.key,
    "camelot": tracks.c.camelot,
    "key_confidence": tracks.c.key_confidence,
    "key_alternatives": tracks.c.key_alternatives,
    "energy": tracks.c.energy,
    "loudness_lufs": tracks.c.loudness_lufs,
    "true_peak_dbtp": tracks.c.true_peak_dbtp,
    "hamms": tracks.c.hamms_vector,
    "hamms_confidence": tracks.c.hamms_confidence,
    "fingerprint": tracks.c.chromaprint_fp,
    "spectral_hash": tracks.c.spectral_hash,
    "audio_hash": tracks.c.audio_hash,
    "analysis_version": tracks.c.features_version,
    "null_reasons": tracks.c.null_reasons,
    "id": tracks.c.id,
    "file_hash": tracks.c.file_hash,
    "file_name": tracks.c.file_name,
    "title": tracks.c.title,
    "artist": tracks.c.artist,
    "album": tracks.c.album,
    "genre": tracks.c.genre,
    "year": tracks.c.year,
    "tags_bpm": tracks.c.tags_bpm,
    "tags_key": tracks.c.tags_key,
    "error_kind": tracks.c.error_kind,
    "missing_since": tracks.c.missing_since,
}
_PLAIN = [name for name, column in NAMES.items() if not isinstance(column.type, JSONB)]
_JSON = [name for name in NAMES if name not in _PLAIN]
#: Takes what was read, the plain columns first, in the order of `NAMES`.
_IN_ORDER = itemgetter(*map([*_PLAIN, *_JSON].index, NAMES))
_ID = _PLAIN.index("id")
_ENCODED = ", ".join(f"coalesce(CAST(t.{NAMES[name].name} AS text), 'null')" for name in _JSON)
_COLUMNS = ", ".join([*(f"t.{NAMES[name].name}" for name in _PLAIN), f"'[' || concat_ws(',', {_ENCODED}) || ']'"])
_BY_ID = f"SELECT {_COLUMNS} FROM tracks AS t WHERE t.id = ANY(CAST(%s AS bigint[]))"  # noqa: S608 (names are ours)


def rows_by_id(conn: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return {id: track} for those of some tracks that are there.

    A page of a search is mostly this, so it goes without SQLAlchemy's rows, and the JSON of all rows is read at once: that takes
    a quarter of the time of reading each value by itself.
    """
    cursor = conn.exec_driver_sql(_BY_ID, (list(ids),)).cursor
    fetched = cursor.fetchall() if cursor is not None else []
    decoded = json.loads(f"[{','.join([row[-1] for row in fetched])}]")
    return {
        row[_ID]: dict(zip(NAMES, _IN_ORDER((*row[:-1], *values)), strict=True))
        for row, values in zip(fetched, decoded, strict=True)
    }


def _listed(*, status: str | None, missing: bool, only_missing: bool = False) -> Select[Any]:
    query = select(*(column.label(name) for name, column in NAMES.items())).where(tracks.c.hidden_at.is_(None))
    if only_missing:
        query = query.where(tracks.c.missing_since.is_not(None))
    elif not missing:
        query = query.where(tracks.c.missing_since.is_(None))
    if status is not None:
        query = query.where(tracks.c.status == status)
    return query


def list_tracks(
    conn: Connection,
    *,
    status: str | None = "ok",
    missing: bool = False,
    limit: int | None = None,
    library_ids: Collection[int] | None = None,
) -> list[dict[str, Any]]:
    """Return tracks by artist, title and path.

    Parameters
    ----------
    status : {"ok", "failed", "pending"} or None
        None: all.
    missing : bool
        Also tracks whose file is gone.
    library_ids : collection of int, optional
        Only these libraries' tracks.
    """
    return list(stream_tracks(conn, status=status, missing=missing, limit=limit, library_ids=library_ids))


def stream_tracks(
    conn: Connection,
    *,
    status: str | None = "ok",
    missing: bool = False,
    only_missing: bool = False,
    limit: int | None = None,
    library_ids: Collection[int] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield tracks as `list_tracks` returns them, a few hundred at a time in memory."""
    order = (func.lower(tracks.c.artist).nulls_last(), func.lower(tracks.c.title).nulls_last(), tracks.c.file_path)
    query = _listed(status=status, missing=missing, only_missing=only_missing).order_by(*order).limit(limit)
    query = _within(query, library_ids)
    for row in conn.execution_options(stream_results=True, yield_per=500).execute(query):
        yield dict(row._mapping)


def _within(query: Select[Any], library_ids: Collection[int] | None) -> Select[Any]:
    return query if library_ids is None else query.where(tracks.c.library_id.in_(library_ids))


def list_failures(conn: Connection, limit: int | None = None, library_ids: Collection[int] | None = None) -> list[dict[str, Any]]:
    """Return failed files by path."""
    query = _within(_listed(status="failed", missing=False).order_by(tracks.c.file_path).limit(limit), library_ids)
    return [dict(row._mapping) for row in conn.execute(query)]
