"""Reports of one track and of one playlist: read from the database, written as PDF and page, noted in `export_history`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select

from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.hamms.transition import Transition, TransitionRules, transition
from map4_pipeline.reports.model import ReportFile
from map4_pipeline.reports.sheets import Match, PlaylistSheet, Step, TrackSheet
from map4_pipeline.store.cache import Cache
from map4_pipeline.store.details import track_detail
from map4_pipeline.store.errors import InfrastructureError, StoreError, what_to_do
from map4_pipeline.store.playlists import Playlist, entries
from map4_pipeline.store.schema import export_history, tracks
from map4_pipeline.store.similar import mix_track, similar_tracks

#: Formats in which single tracks and playlists are reported.
FORMATS = ("pdf", "html")
_MATCHES = 10
#: Tracks whose vectors stand for the library's.
_USUAL = 2_000


def track_sheet(conn: Connection, track_id: int, rules: TransitionRules) -> TrackSheet:
    """Return what the report of a track shows.

    Raises
    ------
    StoreError
        When there is no such track.
    """
    row = track_detail(conn, Cache(None), track_id)
    if row is None:
        raise StoreError(f"There is no track {track_id}.")
    return TrackSheet(
        generated_at=datetime.now(UTC),
        row=row,
        analysis=row.get("analysis") or {},
        matches=_matches(conn, row, rules),
        usual=usual_profile(conn),
    )


def _matches(conn: Connection, row: dict[str, Any], rules: TransitionRules) -> list[Match]:
    if row["status"] != "ok" or not any(value is not None for value in (row["hamms"] or {}).values()):
        return []
    return [
        Match(
            row=one.row,
            step=_step(one.transition),
            percentile=one.similarity.percentile,
            shares=one.similarity.contributions,
        )
        for one in similar_tracks(conn, row["id"], _MATCHES, by="mix", rules=rules)
    ]


def usual_profile(conn: Connection) -> dict[str, float | None]:
    """Return the median of each HAMMS dimension over the library, of an even sample where it is large."""
    import numpy as np

    newest = conn.scalar(select(func.max(tracks.c.id))) or 0
    query = select(tracks.c.hamms_vector).where(
        tracks.c.id % max(1, newest // _USUAL) == 0, tracks.c.hamms_vector.is_not(None), tracks.c.hidden_at.is_(None)
    )
    vectors = [vector for (vector,) in conn.execute(query.limit(2 * _USUAL))]
    medians: dict[str, float | None] = {}
    for name in DIMENSIONS:
        known = [vector[name] for vector in vectors if vector.get(name) is not None]
        medians[name] = float(np.median(known)) if known else None
    return medians


def playlist_sheet(conn: Connection, found: Playlist, rules: TransitionRules) -> PlaylistSheet:
    """Return what the report of a playlist shows; the transitions are those of the tracks as they are now."""
    rows = [entry.track for entry in entries(conn, found.id)]
    mixed = [mix_track(row) for row in rows]
    cost = found.cost or {}
    return PlaylistSheet(
        generated_at=datetime.now(UTC),
        name=found.name,
        description=found.description,
        kind=found.kind,
        tracks=rows,
        steps=[_step(transition(first, second, rules)) for first, second in pairwise(mixed)],
        targets=cost.get("targets") or (),
        cost=cost,
    )


def _step(found: Transition) -> Step:
    return Step(score=found.score, label=found.label, reason=found.reason)


def write_sheet(
    engine: Engine, sheet: TrackSheet | PlaylistSheet, folder: Path, name: str, formats: Sequence[str]
) -> list[ReportFile]:
    """Write a report in some of `FORMATS` into a folder, each in one piece or not at all.

    Raises
    ------
    InfrastructureError
        When the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = [_write(one, sheet, folder / f"{name}.{one}") for one in formats]
    except OSError as error:
        raise InfrastructureError(
            f"The report cannot be written to {folder}: {error.strerror or error}. {what_to_do(error)}"
        ) from error
    shown = 1 if isinstance(sheet, TrackSheet) else len(sheet.tracks)
    rows = [
        {"export_type": file.format, "track_count": shown, "file_size": file.size_bytes, "duration_ms": file.duration_ms}
        for file in files
    ]
    with engine.begin() as conn:
        conn.execute(insert(export_history), rows)
    return files


def _write(kind: str, sheet: TrackSheet | PlaylistSheet, path: Path) -> ReportFile:
    if kind == "pdf":
        from map4_pipeline.reports.pdf_sheet import write_playlist_pdf, write_track_pdf

        return write_track_pdf(sheet, path) if isinstance(sheet, TrackSheet) else write_playlist_pdf(sheet, path)
    from map4_pipeline.reports.html_sheet import write_playlist_html, write_track_html

    return write_track_html(sheet, path) if isinstance(sheet, TrackSheet) else write_playlist_html(sheet, path)
