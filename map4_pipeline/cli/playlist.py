"""`map4 playlist`: build sets, and keep playlists."""

from typing import TYPE_CHECKING, Any

import click

from map4_pipeline.cli.playlist_build import build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from map4_pipeline.hamms.transition import TransitionRules
    from map4_pipeline.settings import Settings
    from map4_pipeline.store.playlists import Playlist


@click.group()
def playlist() -> None:
    """Build sets that mix well, and keep playlists.

    A PLAYLIST is its number or its name, a TRACK an id, a file, or a search that finds exactly one. No file is ever touched.
    """


playlist.add_command(build)


@playlist.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(as_json: bool) -> None:
    """List the playlists."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console, printable
    from map4_pipeline.cli.playlist_show import playlist_json
    from map4_pipeline.cli.tables import length
    from map4_pipeline.store import playlists as store

    with _Connection() as (conn, _):
        found = store.list_playlists(conn)
    if as_json:
        for item in found:
            lines.write_json(playlist_json(item))
        return
    console = make_console()
    if not found:
        console.print("There is no playlist yet. `map4 playlist build --tracks 20` builds one.")
    for item in found:
        kind = {"manual": "", "set": "  set", "edited": "  set, edited"}[item.kind]
        text = f"{item.id:>5}  {item.tracks:>4} tracks  {length(item.seconds):>8}  {printable(item.name)}{kind}"
        console.print(text, soft_wrap=True)


@playlist.command()
@click.argument("playlist")
@click.option("--json", "as_json", is_flag=True, help="One object, with the transitions as they are now.")
def show(playlist: str, as_json: bool) -> None:
    """Show a playlist: its tracks, how each goes into the next, its energy, what it cost."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.cli.playlist_show import print_playlist, shown_json
    from map4_pipeline.store import playlists as store

    with _Connection() as (conn, configured):
        found = store.find_playlist(conn, playlist)
        entries = store.entries(conn, found.id)
    rules = _rules(found, configured)
    if as_json:
        lines.write_json(shown_json(found, entries, rules))
    else:
        print_playlist(make_console(), found, entries, rules)


@playlist.command()
@click.argument("name")
@click.argument("tracks", nargs=-1)
@click.option("--description", help="What it is for.")
def create(name: str, tracks: tuple[str, ...], description: str | None) -> None:
    """Make a playlist by hand, of TRACKS in their order."""
    from map4_pipeline.store import playlists as store

    with _Connection(write=True) as (conn, configured):
        ids = _ids(conn, configured, tracks)
        qualities = _scoring(conn, configured, None)(ids)
        made = store.create_playlist(conn, name, ids, qualities=qualities, description=description)
    _told(made, "is made")


@playlist.command()
@click.argument("playlist")
@click.argument("name")
def rename(playlist: str, name: str) -> None:
    """Give a playlist another name."""
    from map4_pipeline.store import playlists as store

    with _Connection(write=True) as (conn, _):
        found = store.find_playlist(conn, playlist)
        store.rename_playlist(conn, found.id, name)
        found = store.find_by_id(conn, found.id)
    _told(found, "has its new name")


@playlist.command()
@click.argument("playlist")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(playlist: str, yes: bool) -> None:
    """Delete a playlist. Its tracks stay in the library, their files untouched."""
    from map4_pipeline.cli.console import printable
    from map4_pipeline.store import playlists as store

    with _Connection() as (conn, _):
        found = store.find_playlist(conn, playlist)
    if not yes:
        click.confirm(f"Delete the playlist '{printable(found.name)}' with {found.tracks} tracks?", abort=True)
    with _Connection(write=True) as (conn, _):
        store.delete_playlist(conn, found.id)
    _told(found, "is deleted")


@playlist.command()
@click.argument("playlist")
@click.argument("tracks", nargs=-1, required=True)
@click.option("--at", "position", type=click.IntRange(1), help="Position of the first; without it, at the end.")
def add(playlist: str, tracks: tuple[str, ...], position: int | None) -> None:
    """Put TRACKS into a playlist."""
    from map4_pipeline.store import playlists as store

    with _Connection(write=True) as (conn, configured):
        found = store.find_playlist(conn, playlist)
        ids = _ids(conn, configured, tracks)
        store.add_tracks(conn, found.id, ids, position, _scoring(conn, configured, found))
        found = store.find_by_id(conn, found.id)
    _told(found, f"has {found.tracks} tracks now")


@playlist.command()
@click.argument("playlist")
@click.argument("positions", nargs=-1, required=True, type=int)
def remove(playlist: str, positions: tuple[int, ...]) -> None:
    """Take the tracks at POSITIONS out of a playlist."""
    from map4_pipeline.store import playlists as store

    with _Connection(write=True) as (conn, configured):
        found = store.find_playlist(conn, playlist)
        store.remove_positions(conn, found.id, positions, _scoring(conn, configured, found))
        found = store.find_by_id(conn, found.id)
    _told(found, f"has {found.tracks} tracks now")


@playlist.command()
@click.argument("playlist")
@click.argument("position", type=int)
@click.argument("to", type=int)
def move(playlist: str, position: int, to: int) -> None:
    """Move the track at POSITION to the position TO; those between move up or down."""
    from map4_pipeline.store import playlists as store

    with _Connection(write=True) as (conn, configured):
        found = store.find_playlist(conn, playlist)
        store.move_track(conn, found.id, position, to, _scoring(conn, configured, found))
    _told(found, f"has the track of position {position} at {to} now")


@playlist.command()
@click.argument("playlist")
def rescore(playlist: str) -> None:
    """Work the transitions out anew: after tracks were measured again, or with other settings of mixing."""
    from map4_pipeline.store import playlists as store

    with _Connection(write=True) as (conn, configured):
        found = store.find_playlist(conn, playlist)
        changed = store.rescore(conn, found.id, _scoring(conn, configured, found))
    _told(found, f"has {changed} transitions that changed")


class _Connection:
    """A connection and the settings, in a transaction when something is written; afterwards the engine is gone."""

    def __init__(self, *, write: bool = False) -> None:
        self._write = write

    def __enter__(self) -> "tuple[Connection, Settings]":
        from map4_pipeline.settings import settings
        from map4_pipeline.store.database import open_database

        configured = settings()
        self._engine = open_database(configured)
        self._context: Any = self._engine.begin() if self._write else self._engine.connect()
        return self._context.__enter__(), configured

    def __exit__(self, *failure: Any) -> None:
        try:
            self._context.__exit__(*failure)
        finally:
            self._engine.dispose()


def _ids(conn: "Connection", configured: "Settings", names: "Sequence[str]") -> list[int]:
    from map4_pipeline.cli.mixing import track_meant

    return [int(track_meant(conn, configured, name)["id"]) for name in names]


def _rules(found: "Playlist | None", configured: "Settings") -> "TransitionRules":
    from map4_pipeline.cli.mixing import playlist_rules

    return playlist_rules(configured, None if found is None else found.parameters)


def _scoring(conn: "Connection", configured: "Settings", found: "Playlist | None") -> Any:
    """Return what works out the transitions of an order of ids."""
    from map4_pipeline.hamms.transition import MixTrack
    from map4_pipeline.playlists.mixing import transition_qualities
    from map4_pipeline.store.candidates import mix_rows

    rules = _rules(found, configured)
    return lambda ids: transition_qualities([MixTrack(**row) for row in mix_rows(conn, ids)], rules)


def _told(found: "Playlist", what: str) -> None:
    from map4_pipeline.cli.console import printable

    click.echo(f"{found.id}  {printable(found.name)} {what}.")
