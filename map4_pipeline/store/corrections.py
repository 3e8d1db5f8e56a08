"""What users know better: corrections of tags and measured values, kept beside what the file and the analysis say.

A column of `tracks` holds the correction where there is one. What would stand there without it is kept in
`corrections[field]["original"]` and follows later analyses and retagging (migration 0008), so taking a correction back shows
what holds today. No file is touched.
"""

import math
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from map4_pipeline.hamms.camelot import parse_key, to_camelot
from map4_pipeline.hamms.vector import hamms_vector
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.schema import track_edits, tracks

_MAX_TEXT = 20_000


def correct(
    conn: Connection, track_id: int, values: Mapping[str, Any], *, user_id: int | None = None, user_name: str | None = None
) -> dict[str, tuple[Any, Any]]:
    """Put a user's values in the place of a track's.

    Parameters
    ----------
    values : mapping
        {field: value} of `FIELDS`. Confirming a measured tempo or key is correcting it to what it is.

    Returns
    -------
    dict
        {field: (what it was, what it is)}.

    Raises
    ------
    StoreError
        When there is no such track or field, or a value cannot be; nothing is changed then.
    """
    row = _locked(conn, track_id)
    corrections = dict(row.corrections)
    changes: dict[str, tuple[Any, Any]] = {}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for field, raw in values.items():
        if field not in FIELDS:
            raise StoreError(f"{field!r} cannot be corrected. Fields: {', '.join(FIELDS)}.")
        value = FIELDS[field](field, raw)
        columns = _columns(field, value)
        before = corrections.get(field)
        original = before["original"] if before else {name: row._mapping[name] for name in columns}
        corrections[field] = {
            "value": value,
            "columns": columns,
            "original": original,
            "by": user_name,
            "user_id": user_id,
            "at": now,
        }
        changes[field] = (row._mapping[field], value)
    _write(conn, track_id, corrections, {}, changes, user_id)
    return changes


def withdraw(
    conn: Connection, track_id: int, fields: Collection[str] | None = None, *, user_id: int | None = None
) -> dict[str, tuple[Any, Any]]:
    """Take corrections back, all of them without `fields`; return {field: (what it was, what it is)}.

    Raises
    ------
    StoreError
        When there is no such track.
    """
    row = _locked(conn, track_id)
    corrections = dict(row.corrections)
    originals: dict[str, Any] = {}
    changes: dict[str, tuple[Any, Any]] = {}
    for field in list(corrections) if fields is None else fields:
        if field not in corrections:
            continue
        taken = corrections.pop(field)
        originals.update(taken["original"])
        changes[field] = (taken["value"], taken["original"].get(field))
    _write(conn, track_id, corrections, originals, changes, user_id)
    return changes


def effective_features(features: Mapping[str, Any], corrections: Mapping[str, Any]) -> dict[str, Any]:
    """Return measured features with a track's corrections in their place, as HAMMS takes them."""
    effective = dict(features)
    for correction in corrections.values():
        effective.update({name: value for name, value in correction["columns"].items() if name in _MEASURED})
    return effective


def _locked(conn: Connection, track_id: int) -> Any:
    names = sorted({name for field in FIELDS for name in _columns(field, None)})
    query = select(tracks.c.corrections, tracks.c.audio_hash, *(tracks.c[name] for name in names)).where(tracks.c.id == track_id)
    row = conn.execute(query.with_for_update()).one_or_none()
    if row is None:
        raise StoreError(f"There is no track {track_id}.")
    return row


def _write(
    conn: Connection,
    track_id: int,
    corrections: Mapping[str, Any],
    columns: Mapping[str, Any],
    changes: Mapping[str, tuple[Any, Any]],
    user_id: int | None,
) -> None:
    if not changes:
        return
    # Named one by one, although the trigger would fill them: other triggers look at the columns that a statement names.
    effective = {name: value for correction in corrections.values() for name, value in correction["columns"].items()}
    values = {**columns, **effective, "corrections": dict(corrections)}
    conn.execute(update(tracks).where(tracks.c.id == track_id).values(values))
    if not _MEASURED.isdisjoint(changes):
        _refresh_vector(conn, track_id, corrections)
    edits = [
        {"track_id": track_id, "user_id": user_id, "field": field, "b": before, "a": after}
        for field, (before, after) in changes.items()
    ]
    statement = insert(track_edits).values(
        before=bindparam("b", type_=track_edits.c.before.type), after=bindparam("a", type_=track_edits.c.after.type)
    )
    conn.execute(statement, edits)


def _refresh_vector(conn: Connection, track_id: int, corrections: Mapping[str, Any]) -> None:
    """Make the vector anew from the features it was made from; a track without one is left to the stage that makes them."""
    from map4_pipeline.store.vectors import features_of

    features = features_of(conn, track_id)
    if features is None:
        return
    vector = hamms_vector(effective_features(features, corrections))
    values = {"hamms_vector": vector.values, "hamms_confidence": vector.confidence}
    conn.execute(update(tracks).where(tracks.c.id == track_id, tracks.c.hamms_vector.is_not(None)).values(values))


def _columns(field: str, value: Any) -> dict[str, Any]:
    """Return the columns that a correction fills. What a user has said is certain."""
    if field == "key":
        return {"key": value, "camelot": to_camelot(parse_key(value)) if value else None, "key_confidence": 1.0}
    if field == "bpm":
        return {"bpm": value, "bpm_confidence": 1.0}
    return {field: value}


def _text(field: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise StoreError(f"{field} has to be text.")
    text = value.replace("\0", "").strip()
    if len(text) > _MAX_TEXT:
        raise StoreError(f"{field} is longer than {_MAX_TEXT:,} characters.")
    return text or None


def _whole(low: int, high: int) -> Callable[[str, Any], int | None]:
    def check(field: str, value: Any) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise StoreError(f"{field} has to be a whole number from {low} to {high}.")
        return value

    return check


def _number(low: float, high: float) -> Callable[[str, Any], float]:
    def check(field: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not low <= value <= high:
            raise StoreError(f"{field} has to be a number from {low:g} to {high:g}.")
        return float(value)

    return check


def _key(field: str, value: Any) -> str:
    key = parse_key(value) if isinstance(value, str) else None
    if key is None:
        raise StoreError(f'{field} has to be a key, like "A minor", "Am" or "8A".')
    return key


#: Fields that can be corrected, and what makes a value of each or refuses it.
FIELDS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("title", "artist", "album", "album_artist", "composer", "genre"), _text),
    "year": _whole(1000, 2999),
    "track_number": _whole(1, 99_999),
    "disc_number": _whole(1, 9_999),
    "bpm": _number(20, 400),
    "key": _key,
    "energy": _number(0, 1),
}
_MEASURED = frozenset(("bpm", "bpm_confidence", "key", "camelot", "key_confidence", "energy"))
