"""`map4 --server URL search | tracks | similar | compare | status | duplicates`."""

from types import SimpleNamespace
from typing import Any

import click

from map4_pipeline.cli import MOST_ROWS
from map4_pipeline.cli.mixing import mix_options, title_of
from map4_pipeline.cli.remote.connection import asking, server_of

_FORMAT = click.Choice(["table", "json", "csv"])


@click.command()
@click.argument("words", nargs=-1)
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Tracks a page.")
@click.option("--after", help="The mark that the page before ended with.")
@click.option("--count", "only_count", is_flag=True, help="Only how many there are.")
@click.option("--facets", "only_facets", is_flag=True, help="How many there are by genre, key, decade, tempo and format.")
@click.option("--format", "output", type=_FORMAT, default="table", help="What is printed.")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@click.pass_context
def search(
    ctx: click.Context,
    words: tuple[str, ...],
    limit: int,
    after: str | None,
    only_count: bool,
    only_facets: bool,
    output: str,
    as_json: bool,
) -> None:
    """Find tracks by words and by what was measured, as `map4 search` does on the library's own machine."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console, printable
    from map4_pipeline.cli.tracks import print_rows

    query, output = " ".join(words), "json" if as_json else output
    with asking(ctx) as client:
        if only_facets:
            counts = client.search_facets(q=query)
            if output == "json":
                lines.write_json({**counts["counts"], "total": counts["total"], "approximate": counts["approximate"]})
                return
            for name, values in counts["counts"].items():
                said = ", ".join(f"{printable(value)} {number:,}" for value, number in values.items())
                click.echo(f"{name:<8} {said or '-'}")
            return
        page = client.search(q=query, limit=1 if only_count else limit, after=after, count=only_count)
    if only_count:
        found = page.get("count") or 0
        more = "+" if page.get("more") else ""
        lines.write_json({"count": found}) if output == "json" else click.echo(f"{found:,}{more}")
        return
    print_rows(page["tracks"], output, "Nothing was found.", failed=False, states=False)
    if page["next"] and output == "table":
        make_console().print(f"The next page: --after {page['next']}", soft_wrap=True)


@click.command()
@click.option("--format", "output", type=_FORMAT, default="table", help="What is printed.")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@click.option("--limit", type=click.IntRange(1, MOST_ROWS), help="Not more than so many.")
@click.option("--failed", is_flag=True, help="The files that failed, and why.")
@click.option("--missing", is_flag=True, help="The tracks whose file is gone.")
@click.pass_context
def tracks(ctx: click.Context, output: str, as_json: bool, limit: int | None, failed: bool, missing: bool) -> None:
    """List the tracks, page by page until the last."""
    from map4_pipeline.cli.tracks import print_rows

    if failed and missing:
        raise click.UsageError("Only one of --failed and --missing.")
    words = "is:failed" if failed else "is:missing" if missing else ""

    def every() -> Any:
        left, after = limit, None
        while left is None or left > 0:
            page = client.list_tracks(q=words, limit=min(left or 500, 500), after=after)
            yield from page["tracks"]
            left = None if left is None else left - len(page["tracks"])
            after = page["next"]
            if after is None:
                return

    with asking(ctx) as client:
        empty = "No file failed." if failed else "No file is missing." if missing else "There is no track that you may see."
        print_rows(every(), "json" if as_json else output, empty, failed=failed, states=missing)


@click.command()
@click.argument("track")
@click.argument("filters", nargs=-1)
@click.option("-n", "--number", type=click.IntRange(1, 100), default=20, show_default=True, help="How many.")
@click.option("--mix", is_flag=True, help="Order by how well the track mixes into each, not by how alike they are.")
@click.option("--policy", type=click.Choice(["strict", "extended"]), help="Which keys mix.")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@click.pass_context
def similar(ctx: click.Context, track: str, filters: tuple[str, ...], number: int, mix: bool, policy: Any, as_json: bool) -> None:
    """Find the tracks that are most like one, or (--mix) follow it best. TRACK is an id, or a search that finds exactly one."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.cli.mixing import track_json
    from map4_pipeline.cli.similar import similar_table

    with asking(ctx) as client:
        first = meant(client, track)
        query = " ".join(filters)
        found = client.list_similar(first["id"], q=query, limit=number, by="mix" if mix else "similarity", policy=policy)
    if as_json:
        for one in found:
            lines.write_json(track_json(one["track"]) | {name: value for name, value in one.items() if name != "track"})
        return
    console = make_console()
    about = f"{title_of(first)}  ({first['bpm'] or 0:.1f} BPM, {first['camelot'] or 'no key'})"
    console.print(("What mixes into " if mix else "Most like ") + about, style="bold", soft_wrap=True)
    shown: list[Any] = [
        SimpleNamespace(
            row=one["track"],
            similarity=SimpleNamespace(percentile=one["percentile"], contributions=one["contributions"]),
            transition=SimpleNamespace(score=one["transition"]["score"], label=one["transition"]["label"]),
        )
        for one in found
    ]
    console.print(similar_table(shown, console.width, mix=mix) if shown else "No other track fits.")


@click.command()
@click.argument("tracks", nargs=-1, required=True)
@mix_options
@click.option("--json", "as_json", is_flag=True, help="The server's answer.")
@click.pass_context
def compare(
    ctx: click.Context, tracks: tuple[str, ...], policy: Any, key_lock: bool | None, pitch_range: float | None, as_json: bool
) -> None:
    """Compare tracks: how well each mixes into each, and the order in which they mix best."""
    import numpy as np

    from map4_pipeline.cli import lines
    from map4_pipeline.cli.compare import figures_table, heat_table
    from map4_pipeline.cli.console import make_console, printable

    with asking(ctx) as client:
        rows = [meant(client, name) for name in tracks]
        ids = [row["id"] for row in rows]
        found = client.compare({"tracks": ids, "policy": policy, "key_lock": key_lock, "pitch_range": pitch_range})
    if as_json:
        lines.write_json(found)
        return
    console = make_console()
    by_id = {row["id"]: row for row in rows}
    rows = [by_id[id_] for id_ in found["tracks"]]
    console.print(figures_table(rows))
    console.print("\nFrom each track (row) into each (column)", style="bold")
    scores: Any = SimpleNamespace(scores=np.array(found["scores"]))
    fits = max(2, (console.width - 4) // 5)
    for start in range(0, len(rows), fits):
        console.print(heat_table(scores, range(start, min(start + fits, len(rows)))))
    console.print("\nThe best order" if found["exact"] else "\nA good order (searched, not proven the best)", style="bold")
    for number, id_ in enumerate(found["order"]):
        console.print(f"{found['tracks'].index(id_) + 1:>3}  {title_of(by_id[id_])}", soft_wrap=True)
        if number < len(found["steps"]):
            step = found["steps"][number]
            console.print(f"       {step['score']:.2f} {step['label']}. {printable(step['reason'])}", style="dim", soft_wrap=True)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The server's answer.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show the server, who one is there, and the library at a glance."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console, printable

    with asking(ctx) as client:
        account, stats, health = _account(client), client.get_library_statistics(), client.ready()
    if as_json:
        lines.write_json({"server": server_of(ctx), "version": health["version"], "account": account, "library": stats})
        return
    console = make_console()
    console.print(f"Server      {printable(server_of(ctx))}, MAP4 {health['version']}", soft_wrap=True)
    if account is not None:
        console.print(f"You         {printable(account['name'])} ({account['role']})", soft_wrap=True)
    hours = stats["hours"]
    console.print(f"Tracks      {stats['tracks']:,}{'' if hours is None else f', {hours:,.1f} hours'}")
    for name, values in stats["facets"].items():
        said = ", ".join(f"{printable(value)} {number:,}" for value, number in list(values.items())[:6])
        console.print(f"{name.capitalize():<11} {said or '-'}", soft_wrap=True)


@click.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@click.pass_context
def duplicates(ctx: click.Context, limit: int, as_json: bool) -> None:
    """List groups of duplicates that nobody has decided about, those first that free the most."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console, printable

    with asking(ctx) as client:
        found = client.list_duplicates(limit=limit)["groups"]
    console = make_console()
    for group in found:
        if as_json:
            lines.write_json(group)
            continue
        size = f"{group['surplus_bytes'] / 1e6:.1f} MB to free"
        console.print(f"{group['group']:>6}  {group['kind'].replace('_', ' ')}, {size}", style="bold", soft_wrap=True)
        for track in group["tracks"]:
            mark = "keep" if track["id"] == group["keeper"] else ""
            console.print(f"        {mark:<4} {track['id']:>7}  {printable(str(track.get('file_path', '')))}", soft_wrap=True)
    if not found and not as_json:
        console.print("There is nothing to decide.")


def meant(client: Any, name: str) -> dict[str, Any]:
    """Return the track that a user means: by its id, or by a search that finds exactly one."""
    if name.isdecimal():
        found: dict[str, Any] = client.get_track(int(name))
        return found
    page = client.search(q=name, limit=5)["tracks"]
    if len(page) == 1:
        return dict(page[0])
    if not page:
        raise click.UsageError(f"'{name}' finds no track.")
    titles = [title_of(row) for row in page]
    several = "\n".join(
        f"  {row['id']}  {title}" + (f"  ({row['path']})" if titles.count(title) > 1 else "")
        for row, title in zip(page, titles, strict=True)
    )
    raise click.UsageError(f"'{name}' means several tracks; name one by its id:\n{several}")


def playlist_number(client: Any, said: str) -> int:
    """Return the number of the playlist that a user means: by its name, or by its number where none is called so."""
    found = [one["id"] for one in every_playlist(client) if one["name"] == said.strip()]
    if len(found) == 1:
        return int(found[0])
    if found:
        numbers = ", ".join(map(str, sorted(found)))
        raise click.UsageError(f"{len(found)} playlists are called '{said}'. Name one by its number: {numbers}.")
    if said.isascii() and said.isdigit():
        return int(said)
    raise click.UsageError(f"There is no playlist '{said}'. `map4 playlist list` shows all.")


def every_playlist(client: Any) -> list[Any]:
    """Return all playlists of the server."""
    page = client.list_playlists(limit=1000)
    found: list[Any] = list(page["playlists"])
    while page["next"] is not None:
        page = client.list_playlists(limit=1000, after=page["next"])
        found += page["playlists"]
    return found


def _account(client: Any) -> dict[str, Any] | None:
    """Return whose token it is; a named token may not look after accounts, so it does not say."""
    from map4_pipeline.client import ProblemError

    try:
        found: dict[str, Any] = client.get_account()
    except ProblemError as problem:
        if problem.status != 403:
            raise
        return None
    return found
