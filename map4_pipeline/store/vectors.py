"""HAMMS vectors: which tracks need one, and writing them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, or_, select, update

from map4_pipeline.store.analyses import StageKey
from map4_pipeline.store.corrections import effective_features
from map4_pipeline.store.schema import analyses, tracks


@dataclass(frozen=True, slots=True)
class DueTrack:
    """A track with current features and no current vector. `features` without the long lists, with the user's corrections."""

    track_id: int
    features: dict[str, Any]


@dataclass(frozen=True, slots=True)
class VectorRow:
    """A vector to be written."""

    track_id: int
    values: dict[str, float | None]
    confidence: float | None
    null_reasons: dict[str, str]


#: Long lists that a vector has no use for.
_LONG = ("beat_times", "downbeat_times", "tempo_curve", "waveform")


def features_of(conn: Connection, track_id: int) -> dict[str, Any] | None:
    """Return the features that a track's vector was made from, as they were measured; None when there are none."""
    a, t = analyses.c, tracks.c
    query = (
        select(_slim())
        .join(tracks, and_(a.audio_hash == t.audio_hash, a.stage == "features", a.version == t.features_version))
        .where(t.id == track_id)
        .order_by(a.id.desc())
        .limit(1)
    )
    return conn.execute(query).scalar_one_or_none()


def _slim() -> Any:
    slim = analyses.c.payload["features"]
    for name in _LONG:
        slim = slim.op("-")(name)
    return slim


def due_for_vectors(
    conn: Connection, directory_ids: Sequence[int], features: StageKey, version: str, after_id: int, limit: int
) -> list[DueTrack]:
    """Return the next tracks by id that need a vector."""
    a, t = analyses.c, tracks.c
    current = and_(
        a.audio_hash == t.audio_hash,
        a.stage == features.stage,
        a.engine == features.engine,
        a.version == features.version,
        a.parameters == features.parameters,
    )
    query = (
        select(t.id, _slim(), t.corrections)
        .join(analyses, current)
        .where(
            t.directory_id == func.any(list(directory_ids)),
            t.status.in_(("ok", "pending")),
            t.features_version == features.version,
            or_(t.hamms_version.is_(None), t.hamms_version != version),
            t.id > after_id,
        )
        .order_by(t.id)
        .limit(limit)
    )
    return [DueTrack(id_, effective_features(payload, corrections)) for id_, payload, corrections in conn.execute(query)]


def save_vectors(conn: Connection, rows: Sequence[VectorRow], version: str) -> None:
    """Write vectors, and why dimensions are null beside the other reasons."""
    if not rows:
        return
    reasons = tracks.c.null_reasons.op("||")(bindparam("reasons", type_=tracks.c.null_reasons.type))
    statement = (
        update(tracks)
        .where(tracks.c.id == bindparam("row"))
        .values(
            hamms_vector=bindparam("vector", type_=tracks.c.hamms_vector.type),
            hamms_confidence=bindparam("confidence"),
            hamms_version=version,
            null_reasons=reasons,
        )
    )
    conn.execute(
        statement,
        [
            {
                "row": row.track_id,
                "vector": row.values,
                "confidence": row.confidence,
                "reasons": {f"hamms.{name}": reason for name, reason in row.null_reasons.items()},
            }
            for row in rows
        ],
    )
