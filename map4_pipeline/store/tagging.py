"""Tracks whose tags are to be written: what is held true of them, and what was known of their files."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from map4_pipeline.store.query import Query
from map4_pipeline.store.schema import analyses, directories, tracks
from map4_pipeline.store.search_terms import on_tracks


@dataclass(frozen=True, slots=True)
class TrackToTag:
    """A track with its file. Values are the effective ones: a user's correction where there is one.

    Attributes
    ----------
    relative_path : bytes
        From the library's root.
    file_size, mtime_ns : int or None
        Of the file at the last scan.
    key : str or None
        "A minor".
    replaygain_db, replaygain_peak : float or None
        From the analysis.
    """

    id: int
    library_id: int
    relative_path: bytes
    file_size: int | None
    mtime_ns: int | None
    audio_hash: str | None
    bpm: float | None
    bpm_confidence: float | None
    key: str | None
    key_confidence: float | None
    energy: float | None
    replaygain_db: float | None
    replaygain_peak: float | None


_SAME_NAME = (
    "id", "library_id", "relative_path", "file_size", "mtime_ns", "audio_hash", "bpm", "bpm_confidence", "key", "key_confidence",
    "energy",
)  # fmt: skip


def tracks_to_tag(conn: Connection, query: Query, after_id: int = 0, limit: int = 500) -> list[TrackToTag]:
    """Return analysed tracks that a query finds and whose files are there, by id; pages go on behind `after_id`."""
    features = (
        select(analyses.c.payload["features"])
        .where(
            analyses.c.audio_hash == tracks.c.audio_hash,
            analyses.c.stage == "features",
            analyses.c.version == tracks.c.features_version,
        )
        .order_by(analyses.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    statement = (
        select(
            *(tracks.c[name] for name in _SAME_NAME),
            features["replaygain_db"].label("replaygain_db"),
            features["replaygain_peak"].label("replaygain_peak"),
        )
        .where(
            *on_tracks(query),
            tracks.c.id > after_id,
            tracks.c.status == "ok",
            tracks.c.missing_since.is_(None),
            tracks.c.hidden_at.is_(None),
        )
        .order_by(tracks.c.id)
        .limit(limit)
    )
    return [
        TrackToTag(**{**row._mapping, "relative_path": bytes(row.relative_path)})  # psycopg2 gives a memoryview
        for row in conn.execute(statement)
    ]


def partition_keys_of(conn: Connection, track_ids: Sequence[int]) -> list[str]:
    """Return the keys of the directories that some tracks are in."""
    ids = select(func.unnest(list(track_ids)).label("id")).subquery()
    query = (
        select(directories.c.partition_key)
        .join(tracks, tracks.c.directory_id == directories.c.id)
        .where(tracks.c.id.in_(select(ids.c.id)))
        .distinct()
        .order_by(directories.c.partition_key)
    )
    return list(conn.scalars(query))
