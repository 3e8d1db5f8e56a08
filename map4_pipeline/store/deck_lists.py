"""Playlists as DJ programs take them: MAP4's own, and the folders and lists that were imported from a program."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, and_, exists, func, literal, or_, select

from map4_pipeline.reports.interchange.deck import DeckPlaylist
from map4_pipeline.store.decks import Deck, first_number_beyond
from map4_pipeline.store.schema import deck_entries, deck_playlist_entries, deck_playlists, playlist_tracks, playlists, tracks


def own_playlists(
    conn: Connection, track_ids: Collection[int] | None = None, playlist_id: int | None = None
) -> list[DeckPlaylist]:
    """Return all of MAP4's playlists by name, or one, with their tracks in order; of the tracks only those named."""
    found: dict[int, tuple[str, list[int]]] = {}
    query = (
        select(playlists.c.id, playlists.c.name, playlist_tracks.c.track_id)
        .outerjoin(playlist_tracks, playlist_tracks.c.playlist_id == playlists.c.id)
        .order_by(func.lower(playlists.c.name), playlists.c.id, playlist_tracks.c.position)
    )
    if playlist_id is not None:
        query = query.where(playlists.c.id == playlist_id)
    for number, name, track_id in conn.execute(query):
        members = found.setdefault(number, (name, []))[1]
        if track_id is not None and (track_ids is None or track_id in track_ids):
            members.append(track_id)
    return [DeckPlaylist(name, members) for name, members in found.values()]


@dataclass(slots=True)
class _Node:
    """A folder or a list while the tree is put together."""

    name: str
    is_folder: bool
    uuid: str | None = None
    tracks: list[int] = field(default_factory=list)
    children: list["_Node"] = field(default_factory=list)

    def done(self, *, sparse: bool) -> DeckPlaylist | None:
        if not self.is_folder:
            return DeckPlaylist(self.name, self.tracks, None, self.uuid) if self.tracks or not sparse else None
        inside = [child for node in self.children if (child := node.done(sparse=sparse)) is not None]
        return DeckPlaylist(self.name, (), inside) if inside or not sparse else None


def imported_playlists(conn: Connection, where: Sequence[ColumnElement[bool]], deck: Deck) -> list[DeckPlaylist]:
    """Return the folders and lists that were imported for a program, in their order.

    Those of the other program are taken where none came from this one. Tracks that are not written are left out, and then
    lists and folders that are empty for that.
    """
    source = _source(conn, deck.source)
    if source is None:
        return []
    beyond = deck.beyond and source == deck.source
    rows = conn.execute(
        select(deck_playlists).where(deck_playlists.c.source == source).order_by(deck_playlists.c.position, deck_playlists.c.id)
    ).all()
    nodes = {row.id: _Node(row.trail[-1], row.is_folder, row.uuid) for row in rows}
    folders: dict[tuple[str, ...], _Node] = {(): _Node("", True)}
    for row in rows:
        if row.is_folder:
            folders.setdefault(tuple(row.trail), nodes[row.id])
    for row in rows:
        if not row.is_folder or folders[tuple(row.trail)] is nodes[row.id]:
            folders.get(tuple(row.trail[:-1]), folders[()]).children.append(nodes[row.id])
    base = first_number_beyond(conn)
    members = (
        select(deck_playlist_entries.c.playlist_id, deck_playlist_entries.c.entry_id, tracks.c.id.label("track_id"))
        .join(deck_playlists, deck_playlists.c.id == deck_playlist_entries.c.playlist_id)
        .join(deck_entries, deck_entries.c.id == deck_playlist_entries.c.entry_id)
        .outerjoin(tracks, and_(tracks.c.id == deck_entries.c.track_id, *where))
        .where(deck_playlists.c.source == source, or_(tracks.c.id.is_not(None), literal(beyond)))
        .order_by(deck_playlist_entries.c.playlist_id, deck_playlist_entries.c.position)
    )
    for row in conn.execute(members):
        nodes[row.playlist_id].tracks.append(base + row.entry_id if row.track_id is None else row.track_id)
    found = [node.done(sparse=not beyond) for node in folders[()].children]
    return [node for node in found if node is not None]


def with_own(imported: Sequence[DeckPlaylist], own: Sequence[DeckPlaylist]) -> list[DeckPlaylist]:
    """Return imported and own playlists; one that went out with an export and came back is there once."""
    there = {(node.name, tuple(node.tracks)) for node in imported if node.children is None}
    return [*imported, *(node for node in own if (node.name, tuple(node.tracks)) not in there)]


def _source(conn: Connection, wanted: str | None) -> str | None:
    if wanted is None:
        return None
    for source in (wanted, "traktor" if wanted == "rekordbox" else "rekordbox"):
        if conn.execute(select(exists().where(deck_playlists.c.source == source))).scalar_one():
            return source
    return None
