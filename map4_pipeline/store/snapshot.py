"""A library as the report writers take it: one consistent state of the database, streamed."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, func, select

from map4_pipeline.library.ledger import Ledger
from map4_pipeline.reports.model import DuplicateGroup, Failure, LibraryInfo, LibrarySnapshot, TrackRow
from map4_pipeline.reports.statistics import collect
from map4_pipeline.store.duplicate_listing import groups_within
from map4_pipeline.store.scans import last_completed, state_counts
from map4_pipeline.store.schema import duplicate_groups, duplicate_members, libraries, skipped_files, tracks
from map4_pipeline.store.statistics import library_statistics

_SAME_NAME = (
    "id",
    "file_path",
    "title",
    "artist",
    "album",
    "genre",
    "year",
    "duration",
    "sample_rate",
    "bit_rate",
    "channels",
    "codec",
    "bpm",
    "bpm_confidence",
    "bpm_alternatives",
    "key",
    "camelot",
    "key_confidence",
    "key_alternatives",
    "energy",
    "loudness_lufs",
    "true_peak_dbtp",
    "hamms_confidence",
    "tags_bpm",
    "tags_key",
    "status",
    "error_kind",
    "error_message",
    "null_reasons",
    "findings",
    "file_hash",
    "audio_hash",
    "spectral_hash",
    "ai_provider",
    "ai_analysis",
    "analyzed_at",
)

_SHOWN = (tracks.c.hidden_at.is_(None), tracks.c.status != "pending")


def count_rows(conn: Connection, where: Sequence[ColumnElement[bool]] = (), library_ids: Collection[int] | None = None) -> int:
    """Return how many tracks a snapshot with these conditions shows."""
    query = select(func.count()).select_from(tracks).where(*_SHOWN, *where, *_within(tracks.c.library_id, library_ids))
    return int(conn.execute(query).scalar_one())


def track_rows(
    conn: Connection, where: Sequence[ColumnElement[bool]] = (), order: Sequence[ColumnElement[Any]] = ()
) -> Iterator[TrackRow]:
    """Stream all tracks that are not hidden, by artist, title and path; missing ones too. `where` leaves fewer of them."""
    t = tracks.c
    columns = [getattr(t, name) for name in _SAME_NAME]
    extra = (
        t.file_size,
        t.hamms_vector,
        t.missing_since,
        t.created_at,
        t.features_version,
        t.fingerprint_version,
        t.hamms_version,
    )
    query = (
        select(*columns, *extra)
        .where(*_SHOWN, *where)
        .order_by(*order or (func.lower(t.artist).nulls_last(), func.lower(t.title).nulls_last(), t.file_path))
    )
    # A cursor on the server: 100,000 rows are never held here.
    result = conn.execution_options(stream_results=True, yield_per=500).execute(query)
    for row in result:
        size, vector, missing_since, created_at, features, fingerprint, hamms = row[len(columns) :]
        values = dict(zip(_SAME_NAME, row, strict=False))
        for name in ("bpm_alternatives", "key_alternatives", "findings"):
            values[name] = values[name] or ()
        values["null_reasons"] = values["null_reasons"] or {}
        versions = {"features": features, "fingerprint": fingerprint, "hamms": hamms}
        yield TrackRow(
            **values,
            size_bytes=size,
            hamms=vector or {},
            missing=missing_since is not None,
            added_at=created_at,
            analysis_versions={stage: version for stage, version in versions.items() if version is not None},
        )


@contextmanager
def one_state(engine: Engine) -> Iterator[Connection]:
    """Give a connection that reads one state of the database for as long as the block lasts."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as conn, conn.begin():
        yield conn


@contextmanager
def library_snapshot(engine: Engine, title: str = "Music library") -> Iterator[LibrarySnapshot]:
    """Give a snapshot whose streams all show the same state, for as long as the block lasts."""
    with one_state(engine) as conn:
        yield snapshot_of(conn, title)


def snapshot_of(
    conn: Connection,
    title: str = "Music library",
    *,
    where: Sequence[ColumnElement[bool]] = (),
    library_ids: Collection[int] | None = None,
    order: Sequence[ColumnElement[Any]] = (),
    watched: Callable[[Iterator[TrackRow]], Iterator[TrackRow]] = iter,
    counted: Callable[[Iterator[TrackRow]], Iterator[TrackRow]] = iter,
) -> LibrarySnapshot:
    """Return what a connection that reads one state shows of the library.

    Parameters
    ----------
    where : sequence of conditions
        On `tracks`: which are shown and counted in the statistics. Ledger, failures and duplicates are the libraries'.
    library_ids : collection of int, or None
        Nothing outside these libraries is shown; None: all.
    order : sequence of expressions
        Of the tracks; empty: by artist, title and path.
    watched : callable
        What every stream of tracks that is shown is passed through.
    counted : callable
        What the stream is passed through that the statistics of some tracks are made of.
    """
    chosen = [*where, *_within(tracks.c.library_id, library_ids)]
    skipped = select(skipped_files.c.reason, func.count()).where(*_within(skipped_files.c.library_id, library_ids))
    skipped = skipped.group_by(skipped_files.c.reason).order_by(func.count().desc())
    return LibrarySnapshot(
        title=title,
        generated_at=datetime.now(UTC),
        libraries=_libraries(conn, library_ids),
        ledger=current_ledger(conn, library_ids),
        statistics=collect(counted(track_rows(conn, chosen))) if chosen else library_statistics(conn),
        tracks=lambda: watched(track_rows(conn, chosen, order)),
        failures=lambda: _failures(conn, library_ids),
        skipped={reason: int(count) for reason, count in conn.execute(skipped)},
        duplicates=lambda: _duplicates(conn, library_ids),
    )


def _within(column: ColumnElement[int], library_ids: Collection[int] | None) -> list[ColumnElement[bool]]:
    return [] if library_ids is None else [column.in_(library_ids)]


def current_ledger(conn: Connection, library_ids: Collection[int] | None = None) -> dict[str, int]:
    """Return the sum of the libraries' last completed scans; missing as the tracks are now."""
    total = Ledger()
    for library_id, (_, ledger) in last_completed(conn).items():
        if library_ids is None or library_id in library_ids:
            total += ledger
    counts = total.as_dict()
    counts["missing"] = state_counts(conn, None if library_ids is None else list(library_ids))["missing"]
    counts.pop("pending")
    return counts


def _libraries(conn: Connection, library_ids: Collection[int] | None) -> list[LibraryInfo]:
    there = (tracks.c.status == "ok") & tracks.c.missing_since.is_(None) & tracks.c.hidden_at.is_(None)
    query = (
        select(libraries.c.name, libraries.c.root_text, func.count(tracks.c.id).filter(there))
        .outerjoin(tracks, tracks.c.library_id == libraries.c.id)
        .where(*_within(libraries.c.id, library_ids))
        .group_by(libraries.c.id)
        .order_by(libraries.c.id)
    )
    return [LibraryInfo(name, root, int(count)) for name, root, count in conn.execute(query)]


def _failures(conn: Connection, library_ids: Collection[int] | None) -> Iterator[Failure]:
    t = tracks.c
    query = select(t.file_path, t.error_kind, t.error_message).where(
        t.status == "failed", t.missing_since.is_(None), t.hidden_at.is_(None), *_within(t.library_id, library_ids)
    )
    for path, kind, message in conn.execution_options(stream_results=True).execute(query.order_by(t.file_path)):
        yield Failure(path, kind or "", message or "")


def _duplicates(conn: Connection, library_ids: Collection[int] | None) -> Iterator[DuplicateGroup]:
    query = (
        select(
            duplicate_groups.c.id,
            duplicate_groups.c.kind,
            duplicate_groups.c.keeper_reason,
            duplicate_groups.c.surplus_bytes,
            (tracks.c.id == duplicate_groups.c.keeper_track_id).label("keeper"),
            tracks.c.file_path,
        )
        .join(duplicate_members, duplicate_members.c.group_id == duplicate_groups.c.id)
        .join(tracks, tracks.c.id == duplicate_members.c.track_id)
        .where(duplicate_groups.c.state.in_(("open", "keep")), *groups_within(library_ids))
        .order_by(duplicate_groups.c.surplus_bytes.desc(), duplicate_groups.c.id, tracks.c.file_path)
    )
    rows = conn.execution_options(stream_results=True).execute(query)
    for _, members in groupby(rows, key=lambda row: row.id):
        group = list(members)
        keeper = next((row.file_path for row in group if row.keeper), None)
        first = group[0]
        yield DuplicateGroup(
            first.kind, [row.file_path for row in group], keeper, first.keeper_reason or "", int(first.surplus_bytes)
        )
