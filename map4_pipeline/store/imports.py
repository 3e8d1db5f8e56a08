"""Imports: what a DJ program has made of tracks is read, matched and kept, so that the next export writes it again.

An import is one transaction: a file that turns out to be cut off leaves nothing behind, and a dry run is one that is taken back.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median

from sqlalchemy import Connection, Engine, and_, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from map4_pipeline.reports.interchange.disagreements import Disagreement, Values, disagreements, grid_offset
from map4_pipeline.reports.interchange.matching import Known, Match, Wanted, match_tracks
from map4_pipeline.reports.interchange.places import PathMap
from map4_pipeline.reports.interchange.reading import DeckEntry, DeckFileError, DeckList
from map4_pipeline.store.database import storable_text
from map4_pipeline.store.decks import absolute, deck_query, measured_grid
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.playlists import create_playlist, describe_playlist, set_tracks
from map4_pipeline.store.schema import deck_entries, deck_playlist_entries, deck_playlists, libraries, playlists, tracks

#: What is imported, by the file's ending.
SOURCES = {".xml": "rekordbox", ".nml": "traktor", ".m3u8": "m3u8", ".m3u": "m3u8"}
_BATCH = 500
_TYPED = ("title", "artist", "size_bytes", "duration", "bpm", "key", "grid_start", "rating", "play_count", "comment")

#: Called with the number of entries read.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Unmatched:
    """An entry without a track: where the program has its file, and which tracks it might be."""

    location: str
    title: str | None
    artist: str | None
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrackDisagreement:
    """In what a program and MAP4 differ about a track."""

    track_id: int
    path: str
    title: str | None
    artist: str | None
    difference: Disagreement


@dataclass(slots=True)
class Imported:
    """What an import found and did.

    Attributes
    ----------
    added, updated : int
        Entries that are new, and that were there from an earlier import.
    matched : Counter
        Entries with a track, by what they were matched by.
    ambiguous, unmatched : list of Unmatched
    cues, grids : int
        Entries that have some.
    smart_playlists : int
        Searches of the program, which are not kept.
    lost_names : int
        Places in playlists whose entry the file does not have.
    not_in_file : int
        Entries of earlier imports that this file does not have: kept, or forgotten with `replace`.
    grid_offset_ms : float or None
        The median of the program's grid minus the measured one.
    playlist_id : int or None
        MAP4's playlist that an M3U8 became.
    """

    source: str
    dry_run: bool
    entries: int = 0
    added: int = 0
    updated: int = 0
    matched: Counter[str] = field(default_factory=Counter)
    ambiguous: list[Unmatched] = field(default_factory=list)
    unmatched: list[Unmatched] = field(default_factory=list)
    cues: int = 0
    grids: int = 0
    ratings: int = 0
    playlists: int = 0
    folders: int = 0
    lost_names: int = 0
    smart_playlists: int = 0
    not_in_file: int = 0
    disagreements: list[TrackDisagreement] = field(default_factory=list)
    compared: int = 0
    grid_offset_ms: float | None = None
    playlist_id: int | None = None
    playlist_name: str | None = None


class _TakenBack(Exception):  # noqa: N818 - the end of a dry run
    pass


def import_file(
    engine: Engine,
    path: Path,
    *,
    path_map: tuple[str, ...] = (),
    dry_run: bool = False,
    replace: bool = False,
    progress: Progress = lambda done: None,
) -> Imported:
    """Import a rekordbox XML, a Traktor NML or a playlist of files.

    Parameters
    ----------
    path_map : tuple of str
        `FROM=TO`: FROM is a folder here, TO the same in the file; as for exports.
    dry_run : bool
        Only tell what would be done.
    replace : bool
        Forget what earlier imports of this program brought and the file does not have.

    Returns
    -------
    Imported

    Raises
    ------
    StoreError
        When the file is none of these, is cut off, or cannot be read. Nothing was changed.
    """
    source = SOURCES.get(path.suffix.lower())
    if source is None:
        raise StoreError(f"{path.name}: what is imported ends in {', '.join(SOURCES)}.")
    places = PathMap(path_map)
    found = Imported(source, dry_run)
    try:
        with engine.begin() as conn:
            if source == "m3u8":
                _import_m3u(conn, path, places, found)
            else:
                _import_collection(conn, path, places, found, replace, progress)
            if dry_run:
                raise _TakenBack
    except _TakenBack:
        found.playlist_id = None
    except DeckFileError as error:
        raise StoreError(f"{error} Nothing was imported.") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from None
    return found


# ------------------------------------------------------------------ collections
def _import_collection(conn: Connection, path: Path, places: PathMap, found: Imported, replace: bool, progress: Progress) -> None:
    # Two imports at a time would wait for each other's rows in different orders.
    conn.execute(text("SELECT pg_advisory_xact_lock(hashtext('map4 deck import'))"))
    moment = conn.execute(select(func.now())).scalar_one()
    numbers: dict[str, int] = {}
    root: DeckList | None = None
    batch: dict[bytes, DeckEntry] = {}
    seen: set[int] = set()
    for item in _read(path, found.source):
        if isinstance(item, DeckList):
            root = item
            continue
        found.entries += 1
        # A file that stands twice in a collection is one entry; the later one counts.
        twin = batch.get(item.location)
        batch[item.location] = dataclasses.replace(item, names=twin.names + item.names) if twin else item
        if len(batch) >= _BATCH:
            _write_entries(conn, batch, found, numbers, seen, moment)
            batch.clear()
            progress(found.entries)
    _write_entries(conn, batch, found, numbers, seen, moment)
    progress(found.entries)
    stale = and_(deck_entries.c.source == found.source, deck_entries.c.imported_at < moment)
    found.not_in_file = int(conn.execute(select(func.count()).select_from(deck_entries).where(stale)).scalar_one())
    if replace:
        conn.execute(delete(deck_entries).where(stale))
    _match_entries(conn, places, found, seen)
    if root is not None:
        found.smart_playlists = root.passed_over
        _write_lists(conn, root, found, numbers, replace)
    _compare(conn, found)


def _read(path: Path, source: str) -> Iterator[DeckEntry | DeckList]:
    from map4_pipeline.reports.interchange.read_rekordbox import read_rekordbox
    from map4_pipeline.reports.interchange.read_traktor import read_traktor

    return (read_rekordbox if source == "rekordbox" else read_traktor)(path)


def _write_entries(
    conn: Connection,
    batch: Mapping[bytes, DeckEntry],
    found: Imported,
    numbers: dict[str, int],
    seen: set[int],
    moment: datetime,
) -> None:
    if not batch:
        return
    rows = []
    for place, (location, entry) in enumerate(batch.items(), found.entries - len(batch)):
        typed = {name: getattr(entry, name) for name in _TYPED}
        kept = {"attributes": dict(entry.attributes), "children": entry.children, "cues": [asdict(cue) for cue in entry.cues]}
        rows.append({"source": found.source, "location": location, "position": place, "imported_at": moment, **typed, **kept})
        found.cues += bool(entry.cues)
        found.grids += entry.grid_start is not None
        found.ratings += entry.rating is not None
    statement = upsert(deck_entries)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in ("source", "location")}
    known_before = text("xmax <> 0 AS known_before")
    statement = statement.on_conflict_do_update(index_elements=["source", "location_digest"], set_=changed)
    written = conn.execute(statement.returning(deck_entries.c.id, deck_entries.c.location, known_before), rows)
    for row in written:
        entry = batch[bytes(row.location)]
        found.added += not row.known_before
        found.updated += row.known_before
        numbers |= {name: row.id for name in entry.names if name}
        seen.add(row.id)


def _match_entries(conn: Connection, places: PathMap, found: Imported, seen: Collection[int]) -> None:
    """Find the tracks of all entries of the program, also of earlier imports: tracks may have come since."""
    e = deck_entries.c
    columns = (e.id, e.location, e.size_bytes, e.duration, e.title, e.artist, e.track_id)
    rows = conn.execute(select(*columns).where(e.source == found.source).order_by(e.position, e.id)).all()
    step = 1024 if found.source == "traktor" else 1
    wanted = [
        Wanted(row.id, places.here(bytes(row.location)), row.size_bytes, step, row.duration, row.title, row.artist, row.track_id)
        for row in rows
    ]
    matches = match_tracks(_known(conn), wanted)
    conn.execute(
        update(deck_entries)
        .where(e.source == found.source, e.track_id.is_not(None))
        .values(track_id=None, track_path=None, matched_by=None)
    )
    # Where the file of an entry without a track would be: the track may come (`decks.adopt_tracks`).
    values = []
    for one in wanted:
        track = matches[one.ref].track
        values.append((one.ref, track and track.id, track.path if track else one.path, matches[one.ref].by))
    statement = text(
        "UPDATE deck_entries SET track_id = v.track, track_path = v.path, matched_by = v.means "
        "FROM unnest(CAST(:refs AS bigint[]), CAST(:tracks AS bigint[]), CAST(:paths AS bytea[]), CAST(:means AS text[])) "
        "AS v (ref, track, path, means) "
        "WHERE deck_entries.id = v.ref"
    )
    for start in range(0, len(values), _BATCH):
        refs, ids, paths, means = (list(column) for column in zip(*values[start : start + _BATCH], strict=True))
        conn.execute(statement, {"refs": refs, "tracks": ids, "paths": paths, "means": means})
    for row in rows:
        if row.id in seen:
            _count_match(found, matches[row.id], bytes(row.location), row.title, row.artist)


def _known(conn: Connection) -> Iterator[Known]:
    columns = [tracks.c[name] for name in ("id", "relative_path", "file_size", "duration", "title", "artist")]
    query = select(libraries.c.root, *columns).join(libraries, libraries.c.id == tracks.c.library_id)
    # Of a file that moved, its new place is in the library as well; what is missing or hidden is nobody's match.
    query = query.where(tracks.c.missing_since.is_(None), tracks.c.hidden_at.is_(None)).order_by(tracks.c.id)
    for row in conn.execute(query):
        yield Known(row.id, absolute(row.root, row.relative_path), row.file_size, row.duration, row.title, row.artist)


def _count_match(found: Imported, match: Match, location: bytes, title: str | None, artist: str | None) -> None:
    if match.track is not None:
        found.matched[match.by or ""] += 1
        return
    candidates = tuple(_shown(track.path) for track in match.candidates[:10])
    entry = Unmatched(_shown(location), title, artist, candidates)
    (found.ambiguous if candidates else found.unmatched).append(entry)


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


# ------------------------------------------------------------------ playlists
def _write_lists(conn: Connection, root: DeckList, found: Imported, numbers: Mapping[str, int], replace: bool) -> None:
    """Put the file's folders and lists in place of those of the same names."""
    rows = list(_flat(root.children or (), ()))
    p = deck_playlists.c
    mine = p.source == found.source
    if not replace:
        there = {trail for trail, _ in rows}
        old = conn.execute(select(p.id, p.trail).where(mine)).all()
        mine = p.id.in_([row.id for row in old if tuple(row.trail) in there])
    conn.execute(delete(deck_playlists).where(mine))
    for position, (trail, node) in enumerate(rows):
        is_folder = node.children is not None
        values = {"source": found.source, "trail": list(trail), "is_folder": is_folder, "position": position, "uuid": node.uuid}
        number = conn.execute(insert(deck_playlists).values(values).returning(p.id)).scalar_one()
        known = [numbers[name] for name in node.names if name in numbers]
        found.lost_names += len(node.names) - len(known)
        found.folders += is_folder
        found.playlists += not is_folder
        members = [{"playlist_id": number, "position": place, "entry_id": entry} for place, entry in enumerate(known, 1)]
        if members:
            conn.execute(insert(deck_playlist_entries), members)


def _flat(nodes: Iterable[DeckList], trail: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], DeckList]]:
    for node in nodes:
        yield (*trail, node.name), node
        yield from _flat(node.children or (), (*trail, node.name))


def _import_m3u(conn: Connection, path: Path, places: PathMap, found: Imported) -> None:
    from map4_pipeline.reports.interchange.read_m3u import read_m3u

    playlist = read_m3u(path)
    entries = {entry.location: entry for entry in playlist.entries}
    wanted = [
        Wanted(ref, places.here(location), duration=entry.duration, title=entry.title, artist=entry.artist)
        for ref, (location, entry) in enumerate(entries.items())
    ]
    matches = match_tracks(_known(conn), wanted)
    ids: dict[bytes, int] = {}
    for ref, (location, entry) in enumerate(entries.items()):
        match = matches[ref]
        _count_match(found, match, location, entry.title, entry.artist)
        if match.track is not None:
            ids[location] = match.track.id
    found.entries = len(playlist.entries)
    if entries and not ids:
        raise StoreError(_none_found(conn, path, found, next(iter(entries))))
    found.playlists = 1
    found.playlist_name = storable_text(playlist.name or path.stem).strip()
    note = storable_text(f"Imported from {path.name}")
    same = and_(playlists.c.name == found.playlist_name, playlists.c.description == note)
    known = conn.execute(select(playlists.c.id).where(same).order_by(playlists.c.id)).scalars().first()
    members = [ids[entry.location] for entry in playlist.entries if entry.location in ids]
    if known is None:
        known = create_playlist(conn, found.playlist_name, members).id
        describe_playlist(conn, known, note)
        found.added = 1
    else:
        set_tracks(conn, known, members)
        found.updated = 1
    found.playlist_id = known


def _none_found(conn: Connection, path: Path, found: Imported, first: bytes) -> str:
    """Say that nothing of a playlist is in the library, and how to tell where its folder is here."""
    shown = _shown(first)
    told = f"None of the {found.entries:,} entries of {path.name} is in the library, so no playlist was made. The first: {shown}"
    if found.ambiguous:
        told += f"\n{len(found.ambiguous):,} could be several tracks each."
    folder = re.match(r"(.+)[/\\]", shown)
    root = conn.execute(select(libraries.c.root_text).order_by(libraries.c.id).limit(1)).scalar_one_or_none()
    if folder and root:
        told += f"\nWhere that folder has another name here, say which: --path-map '{root}={folder[1]}'"
    return told


# ------------------------------------------------------------------ differences
def _compare(conn: Connection, found: Imported) -> None:
    e = deck_entries.c
    mine = and_(e.track_id == tracks.c.id, e.source == found.source)
    theirs = (e.bpm.label("their_bpm"), e.key.label("their_key"), e.grid_start.label("their_start"))
    query = deck_query().add_columns(*theirs).join(deck_entries, mine).order_by(e.position, e.id)
    offsets = []
    for row in conn.execution_options(stream_results=True, yield_per=500).execute(query):
        grid = measured_grid(row)
        ours = Values(row.bpm, row.key, grid[0].start if grid else None)
        them = Values(row.their_bpm, row.their_key, row.their_start)
        found.compared += 1
        path = _shown(absolute(row.root, row.relative_path))
        for difference in disagreements(them, ours):
            found.disagreements.append(TrackDisagreement(row.id, path, row.title, row.artist, difference))
        offset = grid_offset(them, ours)
        if offset is not None:
            offsets.append(offset * 1000)
    found.grid_offset_ms = median(offsets) if offsets else None
