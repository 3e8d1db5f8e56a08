"""`map4 duplicates`: what the library has more than once, what speaks for it, which copy to keep, what was decided."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from map4_pipeline.cli import MOST_ROWS

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy import Connection

    from map4_pipeline.store.duplicate_decisions import Decision
    from map4_pipeline.store.duplicate_listing import Group

_KINDS = ("identical-file", "identical-audio", "same-recording", "other-version")
_STATES = ("open", "keep", "not-duplicates", "ignore", "all")
KIND_WORDS = {
    "identical_file": "identical files",
    "identical_audio": "identical audio",
    "same_recording": "the same recording",
    "other_version": "likely other versions",
}
_STATE_WORDS = {"open": "", "keep": "decided: keep one", "not_duplicates": "decided: no duplicates", "ignore": "ignored"}


@contextmanager
def _connection() -> "Iterator[Connection]":
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.duplicate_decisions import DecisionError

    engine = open_database(settings())
    try:
        with engine.begin() as conn:
            yield conn
    except DecisionError as error:
        raise click.UsageError(str(error)) from None
    finally:
        engine.dispose()


@click.group(invoke_without_command=True)
@click.pass_context
def duplicates(ctx: click.Context) -> None:
    """Show what the library has more than once, and keep what you decide about it. MAP4 deletes no file.

    Without a subcommand: the groups nobody has decided about yet.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@duplicates.command("list")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(_KINDS), help="Only these; may be repeated.")
@click.option("--state", type=click.Choice(_STATES), default="open", show_default=True, help="How they stand.")
@click.option("--limit", type=click.IntRange(1, MOST_ROWS), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(kinds: tuple[str, ...] = (), state: str = "open", limit: int = 50, as_json: bool = False) -> None:
    """List groups, those first that would free the most."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.store.duplicate_listing import list_groups, totals

    wanted = [kind.replace("-", "_") for kind in kinds]
    states = () if state == "all" else (state.replace("-", "_"),)
    with _connection() as conn:
        groups = list_groups(conn, kinds=wanted, states=states, limit=limit)
        total = totals(conn)
    if as_json:
        for group in groups:
            lines.write_json(group.as_dict())
        return
    console = make_console()
    for group in groups:
        _print_group(console, group)
    _print_totals(console, total, len(groups))


@duplicates.command()
@click.argument("group", type=int)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(group: int, as_json: bool) -> None:
    """Show one group with its evidence and every decision about its tracks."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.store.duplicate_listing import group_with_history

    with _connection() as conn:
        found = group_with_history(conn, group)
    if found is None:
        raise click.UsageError(f"There is no group {group}. `map4 duplicates` lists them.")
    shown, decisions = found
    if as_json:
        lines.write_json(shown.as_dict() | {"decisions": [_decision(one) for one in decisions]})
        return
    console = make_console()
    _print_group(console, shown)
    _print_evidence(console, shown)
    for one in decisions:
        undone = f", taken back {one.undone_at:%Y-%m-%d %H:%M} by {one.undone_by or '?'}" if one.undone_at else ""
        keeper = f" {one.keeper_track_id}" if one.keeper_track_id else ""
        note = f": {one.note}" if one.note else ""
        text = (
            f"    {one.decided_at:%Y-%m-%d %H:%M} {one.decided_by or '?'}: {one.verdict.replace('_', ' ')}{keeper}{undone}{note}"
        )
        console.print(_printable(text), soft_wrap=True)


@duplicates.command()
@click.argument("group", type=int)
@click.argument("track", type=int, required=False)
@click.option("--note", default="", help="Why, for whoever looks later.")
def keep(group: int, track: int | None, note: str) -> None:
    """Accept the suggested copy of GROUP as the one to keep, or name another TRACK. No file is touched."""
    _decide(group, "keep", track, note)


@duplicates.command()
@click.argument("group", type=int)
@click.option("--note", default="", help="Why, for whoever looks later.")
def reject(group: int, note: str) -> None:
    """Decide that the tracks of GROUP are no duplicates. They are not shown as a group again."""
    _decide(group, "not_duplicates", None, note)


@duplicates.command()
@click.argument("group", type=int)
@click.option("--note", default="", help="Why, for whoever looks later.")
def ignore(group: int, note: str) -> None:
    """Keep all tracks of GROUP and say no more about it."""
    _decide(group, "ignore", None, note)


@duplicates.command()
@click.argument("group", type=int)
def undo(group: int) -> None:
    """Take back the last decision about GROUP."""
    from map4_pipeline.store import duplicate_decisions as store

    with _connection() as conn:
        undone = store.undo(conn, group, by=_who())
    click.echo(f"Taken back: {undone.verdict.replace('_', ' ')}, decided {undone.decided_at:%Y-%m-%d %H:%M}.")


@duplicates.command()
@click.option("--suggested", is_flag=True, help="Also of groups nobody has decided about: beside the suggested copy.")
@click.option("-0", "--null", "null", is_flag=True, help="End each path with NUL, for `xargs -0`.")
def surplus(suggested: bool, null: bool) -> None:
    """Print the files beside the copies to keep, one a line, for you to move or delete. MAP4 deletes none.

    Only of groups for which you chose a copy, unless --suggested. Versions of a piece are never among them.
    """
    import os

    from map4_pipeline.cli.console import printable
    from map4_pipeline.store.duplicate_listing import surplus_paths

    with _connection() as conn:
        for _, _, root, relative in surplus_paths(conn, suggested=suggested):
            path = os.path.join(root, relative)
            if null:
                sys.stdout.buffer.write(path + b"\0")
            else:
                click.echo(printable(os.fsdecode(path)))
    sys.stdout.flush()


@duplicates.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def refresh(as_json: bool) -> None:
    """Look for duplicates now. The asset `duplicates` does it after each ingest."""
    from dataclasses import asdict

    from map4_pipeline.cli import lines
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.duplicates import rebuild_duplicates

    configured = settings()
    engine = open_database(configured)
    summary = rebuild_duplicates(engine, configured.home)
    engine.dispose()
    if as_json:
        lines.write_json(asdict(summary))
        return
    counts = ", ".join(f"{count:,} {KIND_WORDS[kind]}" for kind, count in summary.groups.items() if count) or "none"
    click.echo(f"Groups: {counts}. Compared {summary.compared:,} of {summary.contents:,} contents in {summary.seconds:.1f} s.")


def _decide(group: int, verdict: str, track: int | None, note: str) -> None:
    from map4_pipeline.store import duplicate_decisions as store

    with _connection() as conn:
        decided = store.decide(conn, group, verdict, keeper=track, by=_who(), note=note)
    told = {
        "keep": f"Track {decided.keeper_track_id} is the one to keep. `map4 duplicates surplus` prints the others' files.",
        "not_duplicates": "These are no duplicates.",
        "ignore": "Nothing more is said about it.",
    }[verdict]
    click.echo(f"Group {group}: {told} `map4 duplicates undo {group}` takes it back.")


def _who() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _decision(one: "Decision") -> dict[str, Any]:
    from dataclasses import asdict

    moments = {name: value.isoformat() for name, value in asdict(one).items() if hasattr(value, "isoformat")}
    return asdict(one) | moments


def _printable(text: str) -> str:
    from map4_pipeline.cli.console import printable

    return printable(text)


def _print_group(console: "Console", group: "Group") -> None:
    from map4_pipeline.cli.tables import length

    state = f"  ({_STATE_WORDS[group.state]})" if _STATE_WORDS[group.state] else ""
    freed = f", {group.surplus_bytes / 1e6:,.1f} MB could go" if group.surplus_bytes else ""
    console.print(
        f"{group.id}  {KIND_WORDS[group.kind]}, {len(group.members)} tracks{freed}{state}", style="bold", soft_wrap=True
    )
    for track in group.members:
        mark = "keep" if track["id"] == group.keeper_track_id and group.state in ("open", "keep") else ""
        rate = f"{track['bit_rate'] / 1000:.0f} kbit/s" if track["bit_rate"] else ""
        facts = f"{track['codec'] or '?'} {rate}".strip()
        text = f"  {mark:<4} {track['id']:>7}  {length(track['duration']):>7}  {facts:<18}  {track['file_path']}"
        console.print(_printable(text), soft_wrap=True, style="green" if mark else None)
    if group.keeper_reason and group.state in ("open", "keep"):
        console.print(_printable(f"    keep {group.keeper_track_id}: {group.keeper_reason}"), soft_wrap=True)


def _print_evidence(console: "Console", group: "Group") -> None:
    for pair in group.pairs:
        kind = KIND_WORDS[pair["kind"]]
        console.print(_printable(f"    {pair['first']} and {pair['second']}: {kind}; {pair['why']}"), soft_wrap=True)


def _print_totals(console: "Console", total: dict[str, Any], shown: int) -> None:
    if not total["kinds"]:
        console.print("No duplicates are known. They are looked for after each ingest; `map4 duplicates refresh` does it now.")
        return
    kinds = ", ".join(f"{total['kinds'][kind]:,} {words}" for kind, words in KIND_WORDS.items() if kind in total["kinds"])
    console.print()
    console.print(f"{shown:,} groups shown. In all: {kinds}; {total['surplus_bytes'] / 1e6:,.1f} MB could go.", soft_wrap=True)
    console.print(
        "map4 duplicates show GROUP, keep GROUP [TRACK], reject GROUP, ignore GROUP, undo GROUP, surplus", soft_wrap=True
    )
