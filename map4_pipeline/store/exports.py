"""Exports: tracks that a query finds, streamed from one state of the database into one file, noted in `export_history`.

A kind of export is an entry of `KINDS`. Whatever its format, an export is written in one piece or not at all, tells how far it
is, and can be cancelled between two tracks.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from map4_pipeline.reports.fields import FIELDS, Field
from map4_pipeline.reports.interchange.deck import DeckPlaylist
from map4_pipeline.reports.model import LibrarySnapshot, ReportFile
from map4_pipeline.store.deck_lists import imported_playlists, own_playlists, with_own
from map4_pipeline.store.decks import Deck, adopt_tracks, count_beyond, deck_tracks
from map4_pipeline.store.errors import InfrastructureError, StoreError, what_to_do
from map4_pipeline.store.listing import NAMES
from map4_pipeline.store.playlists import find_by_id
from map4_pipeline.store.query import Query, parse_query, within
from map4_pipeline.store.schema import controls, export_history, libraries, playlist_tracks, tracks
from map4_pipeline.store.search import order_on_tracks
from map4_pipeline.store.search_terms import on_tracks
from map4_pipeline.store.snapshot import count_rows, snapshot_of

#: Rows between two looks at whether the export was cancelled, and between two words on progress.
_STEP = 250

#: Called with (tracks written, tracks in all).
Progress = Callable[[int, int], None]


class ExportCancelled(Exception):  # noqa: N818 - nothing went wrong
    """Somebody cancelled the export; no file was written."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What is to be exported.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    query : str
        A query of `map4 search`; empty: all tracks that are there and analysed.
    fields : tuple of Field
        Of data formats.
    user : str or None
        Who asks, for `export_history`.
    libraries : frozenset of int, or None
        Ids of the libraries that this user sees; None: all.
    playlist : int or None
        The tracks of this playlist, in its order (rekordbox, traktor, m3u8).
    path_map : tuple of str
        `FROM=TO`: where the other program finds the files (rekordbox, traktor, m3u8).
    notation : str or None
        Of keys, one of `deck.NOTATIONS` (rekordbox, traktor); None: what the program is used to.
    new : bool
        Add a playlist of what came after the last export of this kind (rekordbox, traktor); only those tracks (m3u8).
    measured : bool
        BPM, key and grid as measured, also where the DJ has others (rekordbox, traktor).
    """

    kind: str
    query: str = ""
    fields: tuple[Field, ...] = FIELDS
    user: str | None = None
    libraries: frozenset[int] | None = None
    playlist: int | None = None
    path_map: tuple[str, ...] = ()
    notation: str | None = None
    new: bool = False
    measured: bool = False


@dataclass(slots=True)
class Export:
    """An export under way, as a writer takes it: a connection that shows one state, and what was asked for."""

    conn: Connection
    request: ExportRequest
    query: Query
    count: int
    progress: Progress
    cancelled: Callable[[], bool]
    last_export: datetime | None = None

    @property
    def where(self) -> list[ColumnElement[bool]]:
        """Conditions of the tracks asked for."""
        return _where(self.query, self.request, self.last_export)

    @property
    def deck(self) -> Deck:
        """How a DJ program's file is written."""
        return _deck(self.request)

    def records(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Stream the tracks with the columns of these names, in the query's order.

        Raises
        ------
        ExportCancelled
        """
        columns = [_column(name).label(name) for name in names]
        query = (
            select(*columns)
            .select_from(tracks.join(libraries, libraries.c.id == tracks.c.library_id))
            .where(*self.where)
            .order_by(*order_on_tracks(self.query))
        )
        rows = self.conn.execution_options(stream_results=True, yield_per=1000).execute(query)
        return self.watched(dict(row._mapping) for row in rows)

    def watched(self, rows: Iterator[Any], *, told: bool = True) -> Iterator[Any]:
        """Pass rows on, telling how many there were and stopping when the export was cancelled."""
        done = 0
        for row in rows:
            if done % _STEP == 0:
                if self.cancelled():
                    raise ExportCancelled
                self.progress(done if told else 0, self.count)
            yield row
            done += 1
        if told:
            self.progress(done, self.count)


def misfit(request: ExportRequest, *, call: Callable[[str], str] = str, takes_fields: bool = False) -> str | None:
    """Return why what was asked for does not go together; None where it does.

    Parameters
    ----------
    call : callable
        Names an attribute of the request in the words of who asked.
    takes_fields : bool
        Whether fields were asked for.
    """
    kind, decks = KINDS[request.kind], "rekordbox, traktor and m3u8"
    if takes_fields and not kind.takes_fields:
        return f"{call('fields')} is for csv, json, jsonl and parquet; {request.kind} has fields of its own."
    if (request.playlist is not None or request.path_map or request.notation) and not kind.is_deck:
        named = f"{call('playlist')}, {call('path_map')} and {call('notation')}"
        return f"{named} are for {decks}, not for {request.kind}."
    if request.new and not kind.is_deck:
        return f"{call('new')} is for {decks}, not for {request.kind}."
    if request.new and request.playlist is not None:
        return f"{call('new')} and {call('playlist')} do not go together: what is new is a playlist of its own."
    if request.measured and request.kind not in ("rekordbox", "traktor"):
        return f"{call('measured')} is for rekordbox and traktor, not for {request.kind}."
    return None


def _where(query: Query, request: ExportRequest, last_export: datetime | None) -> list[ColumnElement[bool]]:
    found = on_tracks(query)
    if request.new and request.kind == "m3u8" and last_export is not None:
        found.append(tracks.c.created_at >= last_export)
    if request.playlist is not None:
        members = select(playlist_tracks.c.track_id).where(playlist_tracks.c.playlist_id == request.playlist)
        found.append(tracks.c.id.in_(members))
    return found


def _deck(request: ExportRequest) -> Deck:
    source = request.kind if request.kind in ("rekordbox", "traktor") else None
    # What MAP4 does not have goes along with the whole library alone.
    whole = not request.query and request.libraries is None and request.playlist is None
    return Deck(source, request.measured, beyond=source is not None and whole)


def _last_export(conn: Connection, request: ExportRequest) -> datetime | None:
    """Return when the last export like this one began; one of other tracks is no reason to leave something out."""
    return conn.execute(select(controls.c.changed_at).where(controls.c.name == _mark(request))).scalar_one_or_none()


def _mark(request: ExportRequest) -> str:
    """Return the name by which is noted when an export of this kind, of the same choice of tracks, was made.

    What a user of the API has fetched is new to the others all the same.
    """
    libraries_ = None if request.libraries is None else sorted(request.libraries)
    choice = json.dumps([request.query, request.playlist, libraries_, *([] if request.user is None else [request.user])])
    return f"export {request.kind} {hashlib.sha256(choice.encode()).hexdigest()[:32]}"


def _moment_before(engine: Engine) -> datetime:
    """Return a moment before which every track came that an export will see from now on.

    A track's moment is when its transaction began; one under way may end after the export has looked. So the oldest counts,
    for up to an hour: what came meanwhile is rather called new twice than never.
    """
    query = (
        "SELECT greatest(min(xact_start), now() - interval '1 hour') FROM pg_stat_activity "
        "WHERE datname = current_database() AND backend_type = 'client backend'"
    )
    with engine.begin() as conn:
        moment: datetime = conn.execute(text(query)).scalar_one()
    return moment


def _column(name: str) -> ColumnElement[Any]:
    if name == "library":
        return libraries.c.name
    return NAMES[name] if name in NAMES else tracks.c[name]


def _csv(export: Export, target: Path) -> ReportFile:
    from map4_pipeline.reports.data import write_csv

    return write_csv(_data(export), target, export.request.fields)


def _json(export: Export, target: Path) -> ReportFile:
    from map4_pipeline.reports.data import write_json

    moment = datetime.now(UTC)
    fields = export.request.fields
    return write_json(_data(export), target, fields, count=export.count, generated_at=moment, query=export.request.query)


def _json_lines(export: Export, target: Path) -> ReportFile:
    from map4_pipeline.reports.data import write_json_lines

    return write_json_lines(_data(export), target, export.request.fields)


def _parquet(export: Export, target: Path) -> ReportFile:
    from map4_pipeline.reports.data import write_parquet

    return write_parquet(_data(export), target, export.request.fields)


def _data(export: Export) -> Iterator[Mapping[str, Any]]:
    return export.records([field.name for field in export.request.fields])


def _rekordbox(export: Export, target: Path) -> ReportFile:
    from map4_pipeline.reports.interchange.rekordbox import write_rekordbox

    notation = export.request.notation or "musical"
    return write_rekordbox(_decks(export), target, count=export.count, playlists=_playlists(export), notation=notation)


def _traktor(export: Export, target: Path) -> ReportFile:
    from map4_pipeline.reports.interchange.traktor import write_traktor

    notation = export.request.notation or "open"
    return write_traktor(_decks(export), target, count=export.count, playlists=_playlists(export), notation=notation)


def _m3u8(export: Export, target: Path) -> ReportFile:
    from map4_pipeline.reports.interchange.m3u import write_m3u8

    name = None
    if export.request.playlist is not None:
        name = own_playlists(export.conn, (), export.request.playlist)[0].name
    elif export.request.new:
        name = _new_name(export)
    return write_m3u8(_decks(export, in_order=True), target, name=name)


def _decks(export: Export, *, in_order: bool = False) -> Iterator[Any]:
    from map4_pipeline.reports.interchange.places import PathMap

    place = PathMap(export.request.path_map).there
    playlist_id = export.request.playlist if in_order else None
    order = order_on_tracks(export.query)
    return export.watched(deck_tracks(export.conn, export.where, place, order=order, playlist_id=playlist_id, deck=export.deck))


def _playlists(export: Export) -> list[DeckPlaylist]:
    """Return the playlists that go along: the one asked for, or all; of their tracks those that are written."""
    request, conn = export.request, export.conn
    some = request.query or request.libraries is not None
    chosen = set(conn.scalars(select(tracks.c.id).where(*export.where))) if some else None
    own = own_playlists(conn, chosen, request.playlist)
    if request.playlist is None:
        own = with_own(imported_playlists(conn, export.where, export.deck), own)
    if request.new:
        since = [] if export.last_export is None else [tracks.c.created_at >= export.last_export]
        order = (tracks.c.created_at, tracks.c.id)
        ids = list(conn.scalars(select(tracks.c.id).where(*export.where, *since).order_by(*order)))
        own.append(DeckPlaylist(_new_name(export), ids))
    return own


def _new_name(export: Export) -> str:
    return "New" if export.last_export is None else f"New since {export.last_export:%Y-%m-%d}"


def _pdf(export: Export, target: Path) -> ReportFile:
    from map4_pipeline.reports.pdf import write_pdf

    return write_pdf(_snapshot(export), target)


def _excel(export: Export, target: Path) -> ReportFile:
    from map4_pipeline.reports.excel import write_excel

    return write_excel(_snapshot(export), target)


def _html(export: Export, target: Path) -> ReportFile:
    from map4_pipeline.reports.html import write_html

    return write_html(_snapshot(export), target)


def _snapshot(export: Export) -> LibrarySnapshot:
    """Return what reports show: everything, or the tracks that were asked for, in the libraries that the user sees."""
    request = export.request
    title = f"Music library: {request.query}" if request.query else "Music library"
    return snapshot_of(
        export.conn,
        title,
        where=_reported(export.query, request),
        library_ids=request.libraries,
        order=order_on_tracks(export.query),
        watched=export.watched,
        counted=lambda rows: export.watched(rows, told=False),
    )


def _reported(query: Query, request: ExportRequest) -> list[ColumnElement[bool]]:
    """Return the conditions of a report's tracks; without a query it shows those that failed or are missing as well."""
    return _where(query, request, None) if request.query else []


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of export: the ending of its files, what it is in words, and who writes it."""

    ending: str
    meaning: str
    write: Callable[[Export, Path], ReportFile]
    takes_fields: bool = False
    is_deck: bool = False
    is_report: bool = False


#: Kinds of exports by the name they have in commands, addresses and `export_history`.
KINDS: dict[str, Kind] = {
    "csv": Kind(".csv", "a table for spreadsheet programs", _csv, takes_fields=True),
    "json": Kind(".json", "one JSON document with a published schema", _json, takes_fields=True),
    "jsonl": Kind(".jsonl", "one JSON object a line", _json_lines, takes_fields=True),
    "parquet": Kind(".parquet", "typed columns for data frames", _parquet, takes_fields=True),
    "pdf": Kind(".pdf", "the report on paper", _pdf, is_report=True),
    "xlsx": Kind(".xlsx", "the workbook", _excel, is_report=True),
    "html": Kind(".html", "the report as one page", _html, is_report=True),
    "rekordbox": Kind(".xml", "a collection with grids and playlists for rekordbox", _rekordbox, is_deck=True),
    "traktor": Kind(".nml", "a collection with grids and playlists for Traktor", _traktor, is_deck=True),
    "m3u8": Kind(".m3u8", "a playlist for players", _m3u8, is_deck=True),
}


def run_export(
    engine: Engine,
    request: ExportRequest,
    target: Path,
    *,
    progress: Progress = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> ReportFile:
    """Export the tracks that a query finds into a file, which is replaced in one piece.

    Parameters
    ----------
    target : Path
        The file; its folder is made if it is missing.
    progress : callable
        Told now and then how many tracks were written, of how many.
    cancelled : callable
        Asked now and then; once it says yes nothing is written.

    Returns
    -------
    ReportFile

    Raises
    ------
    QueryError
        When the query cannot be read; the text points at the place.
    StoreError
        When there is no such kind of export, or no such playlist.
    ExportCancelled
    InfrastructureError
        When the file cannot be written.
    """
    if request.kind not in KINDS:
        raise StoreError(f"There is no export {request.kind!r}. Exports: {', '.join(KINDS)}.")
    query = within(parse_query(request.query), request.libraries)
    source = _deck(request).source
    if source is not None:
        with engine.begin() as conn:
            adopt_tracks(conn, source)
    began = _moment_before(engine)
    try:
        with (
            engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as conn,
            conn.begin(),
        ):
            if request.playlist is not None:
                find_by_id(conn, request.playlist)
            last = _last_export(conn, request) if request.new else None
            count = _count(conn, query, request, last)
            export = Export(conn, request, query, count, progress, cancelled, last)
            progress(0, count)
            written = KINDS[request.kind].write(export, target)
    except OSError as error:
        raise InfrastructureError(
            f"The export cannot be written to {target}: {error.strerror or error}. {what_to_do(error)}"
        ) from error
    with engine.begin() as conn:
        note_export(conn, written, count, request.user)
        if KINDS[request.kind].is_deck:
            mark = upsert(controls).values(name=_mark(request), value="", changed_at=began)
            conn.execute(mark.on_conflict_do_update(index_elements=["name"], set_={"changed_at": began}))
    return written


def _count(conn: Connection, query: Query, request: ExportRequest, last_export: datetime | None) -> int:
    if KINDS[request.kind].is_report:
        return count_rows(conn, _reported(query, request), request.libraries)
    where = _where(query, request, last_export)
    found = int(conn.execute(select(func.count()).select_from(tracks).where(*where)).scalar_one())
    return found + count_beyond(conn, where, _deck(request))


def note_export(conn: Connection, written: ReportFile, track_count: int, user: str | None = None) -> None:
    """Note an export in `export_history`."""
    row = {
        "export_type": written.format,
        "track_count": track_count,
        "file_size": written.size_bytes,
        "duration_ms": written.duration_ms,
        "user_id": user,
    }
    conn.execute(insert(export_history).values(row))
