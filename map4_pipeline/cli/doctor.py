"""`map4 doctor`: is everything here that MAP4 needs? A line a check, with what to do where something is wrong."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from map4_pipeline.cli.health import Check

_SIGNS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object: `ok` and `checks` (name, state, message, advice).")
def doctor(as_json: bool) -> None:
    """Check Python, decoders, database, Dagster, disk and settings. Exit code 0, or 3 when something does not work.

    Nothing is made but what every first command makes: MAP4's home, the embedded PostgreSQL, Dagster's storage.
    """
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.cli.health import run_checks

    console = make_console()
    found: list[Check] = []
    for check in run_checks():
        found.append(check)
        if not as_json:
            _show(console, check)
    failed = [check for check in found if check.state == "fail"]
    if as_json:
        facts = [
            {"name": check.name, "state": check.state, "message": check.message, "advice": check.advice or None}
            for check in found
        ]
        lines.write(lines.to_json({"ok": not failed, "checks": facts}, indent=2) + "\n")
    else:
        console.print()
        warned = sum(check.state == "warn" for check in found)
        summary = "Everything MAP4 needs works here." if not failed else f"{len(failed)} of {len(found)} checks failed."
        console.print(summary + (f" {warned} to know about." if warned else ""), style="bold")
    sys.exit(3 if failed else 0)


def _show(console: "Console", check: "Check") -> None:
    from map4_pipeline.cli.console import printable

    sign, style = _SIGNS[check.state]
    console.print(f"{sign:<5}", style=style, end="")
    console.print(f"{check.name:<16} {printable(check.message)}", soft_wrap=True)
    if check.advice:
        console.print(f"{'':<22}{printable(check.advice)}", style=style, soft_wrap=True)
