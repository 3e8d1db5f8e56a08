"""Tracks and playlists as DJ programs take them: the grid from the analysis, and what a DJ has made and MAP4 has read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, or_, select, text

from map4_pipeline.reports.interchange.deck import Cue, DeckTrack, GridMark
from map4_pipeline.reports.interchange.matching import folded
from map4_pipeline.store.schema import analyses, deck_entries, libraries, playlist_tracks, tracks

_SAME_NAME = (
    "id", "title", "artist", "album", "genre", "composer", "year", "track_number", "disc_number", "duration", "bit_rate",
    "sample_rate", "codec", "bpm", "key", "energy", "loudness_lufs", "true_peak_dbtp",
)  # fmt: skip
#: What is carried from one program to another where that one has nothing of its own.
_CARRIED = ("cues", "rating", "play_count", "comment")
#: What rekordbox writes where it has no value.
_NOTHING = {"AverageBpm": ("0.00", "0"), "Rating": ("0",), "PlayCount": ("0",)}

Place = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Deck:
    """For which program tracks are written, and how.

    Attributes
    ----------
    source : str or None
        "rekordbox" or "traktor": what was imported from it is written again. None: no program's.
    measured : bool
        BPM, key and grid as measured, also where the DJ has others.
    beyond : bool
        Entries of the program that are none of these tracks go along.
    """

    source: str | None = None
    measured: bool = False
    beyond: bool = False


def deck_tracks(
    conn: Connection,
    where: Sequence[ColumnElement[bool]],
    place: Place,
    *,
    order: Sequence[ColumnElement[Any]],
    playlist_id: int | None = None,
    deck: Deck = Deck(),
) -> Iterator[DeckTrack]:
    """Stream tracks that conditions choose, in an order; or those of a playlist, in its own.

    Parameters
    ----------
    place : callable
        From a path on this machine to the one that the other program has.
    """
    own, other = deck_entries.alias("own"), deck_entries.alias("other")
    query = (
        deck_query()
        .add_columns(*(own.c[name].label(f"own_{name}") for name in ("attributes", "children", "location", "track_path")))
        .add_columns(*(other.c[name].label(f"other_{name}") for name in _CARRIED))
        .outerjoin(own, and_(own.c.track_id == tracks.c.id, own.c.source == deck.source))
        .outerjoin(other, and_(other.c.track_id == tracks.c.id, other.c.source == _other(deck.source)))
        .where(*where)
    )
    if playlist_id is None:
        query = query.order_by(*order)
    else:
        mine = and_(playlist_tracks.c.track_id == tracks.c.id, playlist_tracks.c.playlist_id == playlist_id)
        query = query.join(playlist_tracks, mine).order_by(playlist_tracks.c.position)
    for row in conn.execution_options(stream_results=True, yield_per=500).execute(query):
        yield _deck(row, place, deck.measured)
    if deck.beyond:
        yield from _others(conn, where, deck)


def adopt_tracks(conn: Connection, source: str) -> None:
    """Give entries that had no track at the import the track that has since come to where their file is.

    Without this an export would hold such a file twice: as MAP4's track, and as the entry.
    """
    conn.execute(
        text(
            "UPDATE deck_entries SET track_id = v.track_id, matched_by = 'path' FROM ("
            "SELECT DISTINCT ON (t.id) e.id, t.id AS track_id FROM deck_entries e "
            "JOIN libraries l ON true JOIN tracks t ON t.library_id = l.id "
            "AND e.track_path = rtrim(l.root, '/'::bytea) || '/'::bytea || t.relative_path "
            "WHERE e.source = :source AND e.track_id IS NULL AND t.missing_since IS NULL AND t.hidden_at IS NULL "
            "AND NOT EXISTS (SELECT FROM deck_entries o WHERE o.source = :source AND o.track_id = t.id) ORDER BY t.id, e.id"
            ") AS v WHERE deck_entries.id = v.id"
        ),
        {"source": source},
    )


def count_beyond(conn: Connection, where: Sequence[ColumnElement[bool]], deck: Deck) -> int:
    """Return how many entries go along that are none of the tracks."""
    if not deck.beyond:
        return 0
    return int(conn.execute(select(func.count()).select_from(deck_entries).where(*_beyond(where, deck))).scalar_one())


def first_number_beyond(conn: Connection) -> int:
    """Return what is added to an entry's number, so that it is no track's."""
    return int(conn.execute(select(func.coalesce(func.max(tracks.c.id), 0))).scalar_one())


def _other(source: str | None) -> str | None:
    return {"rekordbox": "traktor", "traktor": "rekordbox"}.get(source or "")


def _beyond(where: Sequence[ColumnElement[bool]], deck: Deck) -> list[ColumnElement[bool]]:
    written = select(tracks.c.id).where(*where)
    return [deck_entries.c.source == deck.source, or_(deck_entries.c.track_id.is_(None), deck_entries.c.track_id.not_in(written))]


def _others(conn: Connection, where: Sequence[ColumnElement[bool]], deck: Deck) -> Iterator[DeckTrack]:
    base = first_number_beyond(conn)
    query = select(deck_entries).where(*_beyond(where, deck)).order_by(deck_entries.c.position, deck_entries.c.id)
    for row in conn.execution_options(stream_results=True, yield_per=500).execute(query):
        kept = {"attributes": row.attributes, "children": row.children}
        # Nothing is added to what MAP4 does not have.
        yield DeckTrack(id=base + row.id, path=bytes(row.location), title=row.title, artist=row.artist, kept=kept)


def deck_query() -> Select[Any]:
    """Return the query of tracks with their grids (`measured_grid`)."""
    features = analyses.c.payload["features"]
    several = func.coalesce(func.jsonb_array_length(features["tempo_spans"]), 0) > 1
    current = and_(
        analyses.c.audio_hash == tracks.c.audio_hash,
        analyses.c.stage == "features",
        analyses.c.version == tracks.c.features_version,
    )
    return (
        select(
            *(tracks.c[name] for name in _SAME_NAME),
            tracks.c.file_size,
            tracks.c.created_at,
            tracks.c.corrections,
            tracks.c.relative_path,
            libraries.c.root,
            features["bpm"].label("measured_bpm"),
            features["beat_first"].label("beat_first"),
            features["beats_per_bar"].label("beats_per_bar"),
            features["downbeat_times"][0].label("downbeat"),
            case((several, features["tempo_spans"])).label("spans"),
            case((several, features["beat_times"])).label("beats"),
        )
        .select_from(tracks)
        .join(libraries, libraries.c.id == tracks.c.library_id)
        .outerjoin(analyses, current)
    )


def absolute(root: bytes, relative: bytes) -> bytes:
    """Return a track's path on this machine."""
    return bytes(root).rstrip(b"/") + b"/" + bytes(relative)


def _deck(row: Any, place: Place, measured: bool) -> DeckTrack:
    values = row._mapping
    grid = measured_grid(row)
    carried = {name: values[f"other_{name}"] for name in _CARRIED if values[f"other_{name}"]}
    cues = [Cue(**(cue | {"color": cue["color"] and tuple(cue["color"])})) for cue in carried.pop("cues", ())]
    return DeckTrack(
        **{name: values[name] for name in _SAME_NAME},
        **carried,
        cues=cues,
        path=_path(row, place),
        size_bytes=row.file_size,
        added_on=row.created_at.date().isoformat(),
        grid=grid,
        kept=_kept(row, with_grid=bool(grid)) if measured else _kept(row),
    )


def _path(row: Any, place: Place) -> bytes:
    """Return where the program has the file.

    A file that is where it was at the import is left where the program has it, to the letter: to these programs another
    spelling is another track.
    """
    path = absolute(row.root, row.relative_path)
    mapped = place(path)
    if row.own_location is None:
        return mapped
    location = bytes(row.own_location)
    stayed = mapped == path and row.own_track_path is not None and bytes(row.own_track_path) == path
    return location if stayed or folded(mapped) == folded(location) else mapped


def _kept(row: Any, with_grid: bool | None = None) -> dict[str, Any]:
    """Return what the DJ has in the program. `with_grid` is None, or whether there is a measured grid in place of the DJ's."""
    if row.own_attributes is None:
        return {}
    attributes = {name: value for name, value in row.own_attributes.items() if value not in _NOTHING.get(name, ())}
    children = [(name, dict(values)) for name, values in row.own_children]
    if with_grid is not None:
        for name, has in (("AverageBpm", row.bpm), ("Tonality", row.key)):
            if has is not None:
                attributes.pop(name, None)
        children = [child for child in children if not _is_measured(*child, row, with_grid)]
        for name, values in children:
            if name == "INFO" and row.key is not None:
                values.pop("KEY", None)
    return {"attributes": attributes, "children": children}


def _is_measured(name: str, values: Mapping[str, Any], row: Any, with_grid: bool) -> bool:
    """Return whether an element says what MAP4 has measured too."""
    if name == "TEMPO":
        # rekordbox's is a mark of the grid, Traktor's the tempo.
        return with_grid if "Inizio" in values else row.bpm is not None
    if name == "MUSICAL_KEY":
        return row.key is not None
    return name == "CUE_V2" and values.get("TYPE") == "4" and with_grid


def measured_grid(row: Any) -> list[GridMark]:
    """Return where beats stand: one mark for a track in one tempo, else one for each stretch. None where there is no beat."""
    if row.bpm is None or row.beat_first is None:
        return []
    bar = row.beats_per_bar or 4
    if row.spans:
        marks = []
        for span in row.spans:
            first = next((beat for beat in row.beats or () if beat >= span["start"] - 1e-6), None)
            if first is not None and first < span["end"]:
                marks.append(GridMark(float(first), float(span["bpm"]), bar))
        if marks:
            return marks
    # A grid that starts on the one, where the bar could be told. A corrected tempo keeps the first beat's place.
    start = row.downbeat if row.downbeat is not None else row.beat_first
    return [GridMark(float(start), float(row.bpm), bar)]
