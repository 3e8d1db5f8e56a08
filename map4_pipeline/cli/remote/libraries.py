"""`map4 --server URL library list`: the libraries that one sees there."""

import click

from map4_pipeline.cli.remote.connection import asking
from map4_pipeline.cli.remote.group import RemoteGroup


@click.group(cls=RemoteGroup)
def library() -> None:
    """List the libraries that you see there."""


@library.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List the libraries with their numbers, their tracks, and when they were last looked through."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console, printable
    from map4_pipeline.cli.show import moment_text

    with asking(ctx) as client:
        page = client.list_libraries(limit=1000)
        found = page["libraries"]
        while page["next"] is not None:
            page = client.list_libraries(limit=1000, after=page["next"])
            found += page["libraries"]
    console = make_console()
    for one in found:
        if as_json:
            lines.write_json(one)
            continue
        slug = "" if one["slug"] == one["name"] else f"  ({one['slug']})"
        console.print(f"{one['id']:>4}  {printable(one['name'])}{slug}", style="bold", soft_wrap=True)
        counts = [f"{one['tracks']:,} tracks", *(f"{one[name]:,} {name}" for name in ("failed", "missing") if one[name])]
        scan = "never scanned" if one["scanned_at"] is None else f"last scan {moment_text(one['scanned_at'])}"
        told = [", ".join(counts), scan, *(["watched"] if one["watched"] else [])]
        for line in ([] if one["path"] is None else [printable(one["path"])], ["; ".join(told)]):
            for said in line:
                console.print(f"      {said}", soft_wrap=True)
    if not found and not as_json:
        console.print("There is no library that you may see.")
