"""`map4 --server URL queue | playlist | login`: work that the server does, and the token to ask it with."""

import sys
import time
from typing import Any, Literal, get_args

import click

from map4_pipeline.cli.remote.connection import asking, server_of, write_token
from map4_pipeline.cli.remote.finding import every_playlist, meant, playlist_number
from map4_pipeline.cli.remote.group import RemoteGroup

#: How often a job is looked at while somebody waits for it.
_LOOK_SECONDS = 0.5
_Scope = Literal["read", "write", "export", "analyze", "metrics", "admin"]
_SCOPES: tuple[_Scope, ...] = get_args(_Scope)


@click.group(cls=RemoteGroup)
def queue() -> None:
    """Ask the server to analyse files or folders of its libraries, see how that stands, take it back."""


@queue.command()
@click.argument("places", nargs=-1, required=True)
@click.option("--priority", type=click.IntRange(1, 9), default=5, show_default=True, help="1 is the most urgent.")
@click.option("--wait", is_flag=True, help="Wait until all are done; exit code 1 when some failed.")
@click.pass_context
def add(ctx: click.Context, places: tuple[str, ...], priority: int, wait: bool) -> None:
    """PLACES are ids of tracks, or LIBRARY:PATH: a library's number and a path from its root on (1:House/new.mp3)."""
    ids, found = [], []
    for name in places:
        library, colon, path = name.partition(":")
        if name.isdecimal():
            ids.append(int(name))
        elif colon and library.isdecimal():
            found.append({"library": int(library), "path": path})
        else:
            raise click.UsageError(f"'{name}' is neither the id of a track nor LIBRARY:PATH.")
    with asking(ctx) as client:
        job: Any
        if len(places) == 1:  # taken at once
            job = client.analyze_track({"track": ids[0]} if ids else {"place": found[0]})  # type: ignore[typeddict-item]
        else:
            job = client.analyze_batch({"tracks": ids, "places": found, "priority": priority})  # type: ignore[typeddict-item]
        while wait and job["status"] in ("pending", "running"):
            time.sleep(_LOOK_SECONDS)
            job = client.get_batch(job["id"])
    _print_batch(job)
    sys.exit(1 if wait and (job["failed"] or job["status"] != "completed") else 0)


@queue.command()
@click.argument("job")
@click.pass_context
def show(ctx: click.Context, job: str) -> None:
    """Show how far a job is."""
    with asking(ctx) as client:
        _print_batch(client.get_batch(job))


@queue.command()
@click.argument("job")
@click.pass_context
def cancel(ctx: click.Context, job: str) -> None:
    """Cancel a job: what waits is not begun, what is in hand is given up or finished, and nobody waits for it."""
    with asking(ctx) as client:
        _print_batch(client.cancel_batch(job))


def _print_batch(job: Any) -> None:
    failed = f", {job['failed']} failed" if job["failed"] else ""
    click.echo(f"{job['id']}  {job['status']:<9}  {job['done']} of {job['total']} done{failed}")


@click.group(cls=RemoteGroup)
def playlist() -> None:
    """List, show, make and delete playlists; let the server build sets."""


@playlist.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List the playlists."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import printable
    from map4_pipeline.cli.tables import length

    with asking(ctx) as client:
        found = every_playlist(client)
    for one in found:
        if as_json:
            lines.write_json(one)
        else:
            click.echo(f"{one['id']:>5}  {one['tracks']:>4} tracks  {length(one['seconds']):>8}  {printable(one['name'])}")


@playlist.command("show")
@click.argument("playlist")
@click.option("--json", "as_json", is_flag=True, help="The server's answer.")
@click.pass_context
def show_playlist(ctx: click.Context, playlist: str, as_json: bool) -> None:
    """Show a playlist, by its name or number."""
    with asking(ctx) as client:
        _print_playlist(client.get_playlist(playlist_number(client, playlist)), as_json)


@playlist.command()
@click.argument("name")
@click.argument("tracks", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="The server's answer.")
@click.pass_context
def create(ctx: click.Context, name: str, tracks: tuple[str, ...], as_json: bool) -> None:
    """Make a playlist of TRACKS (ids, or searches that find exactly one)."""
    with asking(ctx) as client:
        ids = [meant(client, track)["id"] for track in tracks]
        _print_playlist(client.create_playlist({"name": name, "tracks": ids}), as_json)


@playlist.command()
@click.argument("words", nargs=-1)
@click.option("--tracks", type=click.IntRange(2), help="How many.")
@click.option("--minutes", type=click.FloatRange(min=1), help="How long.")
@click.option("--curve", help="The energy's shape: rise, peak, ...")
@click.option("--name", help="Its name.")
@click.option("--json", "as_json", is_flag=True, help="The server's answer.")
@click.pass_context
def build(
    ctx: click.Context,
    words: tuple[str, ...],
    tracks: int | None,
    minutes: float | None,
    curve: str | None,
    name: str | None,
    as_json: bool,
) -> None:
    """Build a set from what a query finds."""
    asked = {"tracks": tracks, "minutes": minutes, "curve": curve}
    wishes = {wish: value for wish, value in asked.items() if value is not None}
    with asking(ctx) as client:
        _print_playlist(client.build_playlist({"name": name, "query": " ".join(words), "wishes": wishes}), as_json)


@playlist.command()
@click.argument("playlist")
@click.pass_context
def delete(ctx: click.Context, playlist: str) -> None:
    """Delete a playlist, by its name or number. No track is touched."""
    with asking(ctx) as client:
        client.delete_playlist(playlist_number(client, playlist))


def _print_playlist(found: Any, as_json: bool) -> None:
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import printable
    from map4_pipeline.cli.mixing import title_of
    from map4_pipeline.cli.tables import length, number

    if as_json:
        lines.write_json(found)
        return
    click.echo(f"{found['id']}  {printable(found['name'])}    {found['tracks']} tracks, {length(found['seconds'])}")
    for entry in found["entries"]:
        track = entry["track"]
        score = "    " if entry["transition_quality"] is None else f"{entry['transition_quality']:.2f}"
        figures = f"{number(track['bpm'], 1):>5}  {track['camelot'] or '-':<3}"
        click.echo(f"{entry['position']:>3}  {score}  {figures}  {title_of(track)}")


@click.command()
@click.option("--name", prompt="Name", help="Of your account there.")
@click.password_option("--password", confirmation_prompt=False, help="Asked for when it is not given.")
@click.option("--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="How long the token lives.")
@click.pass_context
def login(ctx: click.Context, name: str, password: str, days: int) -> None:
    """Get a named token of the server and keep it in MAP4_TOKEN_FILE, readable by you alone. The password is not kept."""
    import socket

    from map4_pipeline.api.access import SCOPES
    from map4_pipeline.client import Client
    from map4_pipeline.settings import settings

    with asking(ctx) as client:
        access = client.create_tokens({"name": name, "password": password})
        with Client(server_of(ctx), access["access_token"]) as entered:
            allowed = set(entered.get_account()["permissions"])
            scopes = [scope for scope in _SCOPES if SCOPES[scope] & allowed and (scope != "admin" or "users" in allowed)]
            made = entered.create_token({"name": f"map4 on {socket.gethostname()}"[:100], "scopes": scopes, "days": days})
        client.revoke_refresh({"refresh_token": access["refresh_token"]})
    path = settings().token_file
    write_token(path, made["token"])
    click.echo(f"Logged in. The token is in {path}, good for {days} days: {', '.join(made['scopes'])}.")
