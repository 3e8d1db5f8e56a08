"""Playlists: made by hand or built as sets; their tracks in order, and how well each goes into the next.

`transition_quality` of a row is the score of the step from the track before it into this one; null at position 1, and where it
was not worked out. The scores come from whoever calls: the store knows no rules of mixing.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, text, true, tuple_, update

from map4_pipeline.store.candidates import mix_rows
from map4_pipeline.store.database import storable_text
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.listing import NAMES
from map4_pipeline.store.marks import cut, read_mark
from map4_pipeline.store.schema import playlist_tracks, playlists, tracks
from map4_pipeline.store.tracks import UNREADABLE_FOLDER

#: Scores of the transitions of an order of track ids: one for each but the first, None where there is none.
Scoring = Callable[[Sequence[int]], Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class Playlist:
    """A playlist without its tracks.

    Attributes
    ----------
    owner_id : int or None
        Whose it is; None for one that was made on the command line, or whose user was erased.
    seconds : float
        Of the tracks whose length is known.
    """

    id: int
    name: str
    description: str | None
    kind: str
    parameters: dict[str, Any] | None
    seed: int | None
    cost: dict[str, Any] | None
    owner_id: int | None
    created_at: datetime
    updated_at: datetime
    tracks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A track of a playlist. `track` has the names of `store.listing`."""

    position: int
    transition_quality: float | None
    track: dict[str, Any]


# ------------------------------------------------------------------ reading
def list_playlists(conn: Connection) -> list[Playlist]:
    """Return all playlists by name, then by age."""
    return playlist_page(conn, None)[0]


def playlist_page(conn: Connection, limit: int | None, after: str | None = None) -> tuple[list[Playlist], str | None]:
    """Return a page of the playlists by name, then by age, and the mark of the next page (None: this was the last).

    Raises
    ------
    MarkError
        When `after` is not the mark of such a page.
    """
    # A name may be of any length, a mark not.
    by, id_ = func.lower(func.left(playlists.c.name, 200)), playlists.c.id
    query = _overview().add_columns(by.label("by")).order_by(by, id_).limit(None if limit is None else limit + 1)
    if after is not None:
        query = query.where(tuple_(by, id_) > tuple_(*read_mark(after, str, int)))
    page, following = cut(conn.execute(query).all(), limit, lambda row: (row.by, row.id))
    return [_playlist(row) for row in page], following


def find_playlist(conn: Connection, asked: str | int) -> Playlist:
    """Return a playlist by its number or its name.

    Raises
    ------
    StoreError
        When there is none, or several have the name.
    """
    said = storable_text(str(asked)).strip()
    by_name = list(conn.execute(_overview().where(playlists.c.name == said).order_by(playlists.c.id)))
    if len(by_name) == 1:
        return _playlist(by_name[0])
    # A name of digits is a name where one has it.
    if not by_name and said.isascii() and said.isdigit() and int(said) < 2**31:
        row = conn.execute(_overview().where(playlists.c.id == int(said))).first()
        if row is not None:
            return _playlist(row)
    if by_name:
        lines = "\n".join(f"  {told(_playlist(row))}" for row in by_name)
        raise StoreError(f"{len(by_name)} playlists are called '{said}'. Name one by its number:\n{lines}")
    raise StoreError(f"There is no playlist '{said}'. `map4 playlist list` shows all.")


def told(playlist: Playlist) -> str:
    """Return what tells a playlist from others of its name: number, tracks, length, when it was made, where it is from."""
    tracks_ = "1 track" if playlist.tracks == 1 else f"{playlist.tracks:,} tracks"
    made = f"{playlist.created_at.astimezone():%Y-%m-%d %H:%M}"
    about = "" if not playlist.description else f", {playlist.description[:60]}"
    return f"{playlist.id}  {tracks_}, {playlist.seconds / 60:,.0f} min, made {made}{about}"


def namesakes(conn: Connection, playlist: Playlist) -> list[int]:
    """Return the numbers of other playlists with a playlist's name."""
    p = playlists.c
    return list(conn.scalars(select(p.id).where(p.name == playlist.name, p.id != playlist.id).order_by(p.id)))


def entries(conn: Connection, playlist_id: int) -> list[Entry]:
    """Return a playlist's tracks in their order, whatever their state."""
    p = playlist_tracks.c
    query = (
        select(p.position, p.transition_quality, *(column.label(f"t_{name}") for name, column in NAMES.items()))
        .join(tracks, tracks.c.id == p.track_id)
        .where(p.playlist_id == playlist_id)
        .order_by(p.position)
    )
    found = []
    for row in conn.execute(query):
        track = {name: row._mapping[f"t_{name}"] for name in NAMES}
        found.append(Entry(row.position, row.transition_quality, track))
    return found


def track_ids(conn: Connection, playlist_id: int) -> list[int]:
    """Return a playlist's tracks in their order."""
    p = playlist_tracks.c
    return list(conn.scalars(select(p.track_id).where(p.playlist_id == playlist_id).order_by(p.position)))


# ------------------------------------------------------------------ writing
def create_playlist(
    conn: Connection,
    name: str,
    ids: Sequence[int] = (),
    *,
    qualities: Sequence[float | None] | None = None,
    description: str | None = None,
    kind: str = "manual",
    parameters: Mapping[str, Any] | None = None,
    seed: int | None = None,
    cost: Mapping[str, Any] | None = None,
) -> Playlist:
    """Write a playlist and return it.

    Parameters
    ----------
    ids : sequence of int
        Its tracks in order.
    qualities : sequence of float or None, optional
        Scores of the transitions: one fewer than tracks.
    kind : {"manual", "set"}

    Raises
    ------
    StoreError
        When the name is empty or a track does not exist.
    """
    values = {
        "name": _name(name),
        "description": None if description is None else storable_text(description),
        "kind": kind,
        "parameters": None if parameters is None else dict(parameters),
        "seed": seed,
        "cost": None if cost is None else dict(cost),
    }
    id_ = conn.execute(insert(playlists).values(**values).returning(playlists.c.id)).scalar_one()
    _write_tracks(conn, id_, ids, qualities)
    return find_by_id(conn, id_)


def find_by_id(conn: Connection, playlist_id: int) -> Playlist:
    """Return a playlist by its number.

    Raises
    ------
    StoreError
        When there is none.
    """
    row = conn.execute(_overview().where(playlists.c.id == playlist_id)).first()
    if row is None:
        raise StoreError(f"There is no playlist {playlist_id}. `map4 playlist list` shows all.")
    return _playlist(row)


def lock_playlist(conn: Connection, playlist_id: int) -> None:
    """Let nobody else change a playlist before the end of the transaction."""
    conn.execute(select(playlists.c.id).where(playlists.c.id == playlist_id).with_for_update())


def set_owner(conn: Connection, playlist_id: int, user_id: int) -> None:
    """Note whose playlist it is."""
    conn.execute(update(playlists).where(playlists.c.id == playlist_id).values(owner_id=user_id))


def rename_playlist(conn: Connection, playlist_id: int, name: str) -> None:
    """Give a playlist another name."""
    conn.execute(update(playlists).where(playlists.c.id == playlist_id).values(name=_name(name)))


def describe_playlist(conn: Connection, playlist_id: int, description: str | None) -> None:
    """Give a playlist a description, or none."""
    value = None if description is None else storable_text(description)
    conn.execute(update(playlists).where(playlists.c.id == playlist_id).values(description=value))


def delete_playlist(conn: Connection, playlist_id: int) -> None:
    """Delete a playlist. Its tracks and their files are not touched."""
    conn.execute(delete(playlists).where(playlists.c.id == playlist_id))


def set_tracks(conn: Connection, playlist_id: int, ids: Sequence[int], score: Scoring | None = None) -> None:
    """Put these tracks, in this order, in place of a playlist's.

    A set that was built is from now on an edited one.

    Raises
    ------
    StoreError
        When a track or the playlist does not exist.
    """
    _lock(conn, playlist_id)
    conn.execute(delete(playlist_tracks).where(playlist_tracks.c.playlist_id == playlist_id))
    _write_tracks(conn, playlist_id, ids, None if score is None else score(ids))
    _touched(conn, playlist_id)


def add_tracks(
    conn: Connection, playlist_id: int, ids: Sequence[int], position: int | None = None, score: Scoring | None = None
) -> list[int]:
    """Put tracks into a playlist, the first at `position` (None: at the end), and return its order."""
    order = _lock(conn, playlist_id)
    place = len(order) if position is None else _index(position, len(order) + 1)
    order[place:place] = ids
    set_tracks(conn, playlist_id, order, score)
    return order


def remove_positions(conn: Connection, playlist_id: int, positions: Sequence[int], score: Scoring | None = None) -> list[int]:
    """Take the tracks at these positions out of a playlist, and return its order."""
    order = _lock(conn, playlist_id)
    gone = {_index(position, len(order)) for position in positions}
    order = [id_ for place, id_ in enumerate(order) if place not in gone]
    set_tracks(conn, playlist_id, order, score)
    return order


def move_track(conn: Connection, playlist_id: int, position: int, to: int, score: Scoring | None = None) -> list[int]:
    """Move the track at a position to another one, shifting those between, and return the order."""
    order = _lock(conn, playlist_id)
    moved = order.pop(_index(position, len(order)))
    order.insert(_index(to, len(order) + 1), moved)
    p = playlist_tracks.c
    low, high, step = (position, to, -1) if position < to else (to, position, 1)
    # Positions are unique; while several change in turn, two may be the same for a moment.
    conn.execute(text("SET CONSTRAINTS uq_playlist_tracks_position DEFERRED"))
    row = conn.execute(select(p.id).where(p.playlist_id == playlist_id, p.position == position)).scalar_one()
    between = (p.playlist_id == playlist_id, p.position >= low, p.position <= high, p.id != row)
    conn.execute(update(playlist_tracks).where(*between).values(position=p.position + step))
    conn.execute(update(playlist_tracks).where(p.id == row).values(position=to))
    conn.execute(text("SET CONSTRAINTS uq_playlist_tracks_position IMMEDIATE"))
    if position != to:
        _write_qualities(conn, playlist_id, [None] * (len(order) - 1) if score is None else score(order))
        _touched(conn, playlist_id)
    return order


def rescore(conn: Connection, playlist_id: int, score: Scoring) -> int:
    """Work the transition qualities out anew, after tracks were measured again or with other rules; return how many changed."""
    order = _lock(conn, playlist_id)
    p = playlist_tracks.c
    before = list(conn.scalars(select(p.transition_quality).where(p.playlist_id == playlist_id).order_by(p.position)))
    after = [None, *score(order)][: len(order)]
    _write_qualities(conn, playlist_id, after[1:])
    return sum(_differ(old, new) for old, new in zip(before, after, strict=True))


def close_gaps(conn: Connection, playlist_ids: Collection[int]) -> None:
    """Let the tracks of playlists move up to where others were forgotten; a transition between new neighbours is unrated."""
    conn.execute(text("SET CONSTRAINTS uq_playlist_tracks_position DEFERRED"))
    conn.execute(
        text(
            "UPDATE playlist_tracks AS p SET position = n.place, "
            "transition_quality = CASE WHEN n.before = p.position - 1 THEN p.transition_quality END "
            "FROM (SELECT id, row_number() OVER along AS place, lag(position) OVER along AS before FROM playlist_tracks "
            "WHERE playlist_id = ANY(:ids) WINDOW along AS (PARTITION BY playlist_id ORDER BY position)) AS n "
            "WHERE n.id = p.id AND n.place <> p.position"
        ),
        {"ids": list(playlist_ids)},
    )
    conn.execute(text("SET CONSTRAINTS uq_playlist_tracks_position IMMEDIATE"))
    for playlist_id in playlist_ids:
        _touched(conn, playlist_id)


def _differ(old: float | None, new: float | None) -> bool:
    return old is not new and (old is None or new is None or abs(old - new) > 1e-6)


def _lock(conn: Connection, playlist_id: int) -> list[int]:
    """Return a playlist's order; whoever else edits it waits."""
    there = conn.execute(select(playlists.c.id).where(playlists.c.id == playlist_id).with_for_update()).first()
    if there is None:
        raise StoreError(f"There is no playlist {playlist_id}. `map4 playlist list` shows all.")
    return track_ids(conn, playlist_id)


def _index(position: int, count: int) -> int:
    if not 1 <= position <= count:
        raise StoreError(f"There is no position {position}: they go from 1 to {count}." if count else "The playlist is empty.")
    return position - 1


def _write_tracks(conn: Connection, playlist_id: int, ids: Sequence[int], qualities: Sequence[float | None] | None) -> None:
    mix_rows(conn, ids)
    closed = tracks.c.id == func.any(list(ids)), tracks.c.error_kind == UNREADABLE_FOLDER
    folder = conn.execute(select(tracks.c.id, tracks.c.file_path).where(*closed).limit(1)).first()
    if folder is not None:
        raise StoreError(f"{folder.id} is no track, but a folder that cannot be opened: {folder.file_path}")
    if qualities is not None and len(qualities) != max(len(ids) - 1, 0):
        raise ValueError("a playlist has one transition fewer than tracks")
    values = [None, *qualities] if qualities is not None else [None] * len(ids)
    rows = [
        {"playlist_id": playlist_id, "track_id": id_, "position": place, "transition_quality": quality}
        for place, (id_, quality) in enumerate(zip(ids, values, strict=False), 1)
    ]
    if rows:
        conn.execute(insert(playlist_tracks), rows)


def _write_qualities(conn: Connection, playlist_id: int, qualities: Sequence[float | None]) -> None:
    values = [None, *qualities]
    conn.execute(
        text(
            "UPDATE playlist_tracks SET transition_quality = v.quality FROM unnest(CAST(:qualities AS double precision[])) "
            "WITH ORDINALITY AS v (quality, position) "
            "WHERE playlist_id = :playlist AND playlist_tracks.position = v.position"
        ),
        {"playlist": playlist_id, "qualities": values},
    )


def _touched(conn: Connection, playlist_id: int) -> None:
    """Note the change: the trigger sets the time, and a built set is no longer what was built."""
    edited = text("CASE kind WHEN 'set' THEN 'edited' ELSE kind END")
    conn.execute(update(playlists).where(playlists.c.id == playlist_id).values(kind=edited))


def _name(name: str) -> str:
    clean = storable_text(name).strip()
    if not clean:
        raise StoreError("A playlist needs a name.")
    return clean


def _overview() -> Any:
    p = playlist_tracks.c
    # For each playlist by itself: a page of them does not count all.
    size = (
        select(func.count().label("tracks"), func.sum(tracks.c.duration).label("seconds"))
        .select_from(playlist_tracks.join(tracks, tracks.c.id == p.track_id))
        .where(p.playlist_id == playlists.c.id)
        .lateral("size")
    )
    columns = ("id", "name", "description", "kind", "parameters", "seed", "cost", "owner_id", "created_at", "updated_at")
    return select(*(playlists.c[name] for name in columns), size.c.tracks, size.c.seconds).join(size, true())


def _playlist(row: Any) -> Playlist:
    values = {name: value for name, value in row._mapping.items() if name != "by"}
    return Playlist(**(values | {"tracks": int(values["tracks"] or 0), "seconds": float(values["seconds"] or 0.0)}))
