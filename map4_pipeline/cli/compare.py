"""`map4 compare`: several tracks side by side, and the order in which they mix best."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from map4_pipeline.cli.mixing import mix_options, mix_rules, title_of, track_json, track_meant, transition_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from map4_pipeline.hamms.comparison import Comparison
    from map4_pipeline.hamms.transition import TransitionRules

_HELP = """Compare tracks: how well each mixes into each, and the order in which they mix best.

\b
  map4 compare 12 47 1063
  map4 compare a.mp3 b.flac "daft punk one more time" --policy extended
  map4 compare 12 47 1063 88 --html order.html

A TRACK is an id, a file, or a search that finds exactly one track. The order is the best there is up to 12 tracks; beyond, it is
searched (docs/mixing.md).
"""
_MOST = 100
#: Colours of the heat map from 0 to 1, readable with white and black text; also told apart without seeing red and green.
_HEAT = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


@click.command(help=_HELP)
@click.argument("tracks", nargs=-1, required=True)
@mix_options
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Also write a heat map as a page that needs no network."
)
@click.option("--json", "as_json", is_flag=True, help="One object with tracks, scores, similarities and order.")
def compare(
    tracks: tuple[str, ...],
    policy: str | None,
    key_lock: bool | None,
    pitch_range: float | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Compare tracks."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import folder_text, make_console
    from map4_pipeline.hamms.comparison import compare_tracks
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.similar import mix_track

    if not 2 <= len(tracks) <= _MOST:
        raise click.UsageError(f"Compare two tracks or more, and at most {_MOST}.")
    configured = settings()
    rules = mix_rules(configured, policy, key_lock, pitch_range)
    engine = open_database(configured)
    try:
        with engine.connect() as conn:
            rows = [track_meant(conn, configured, name) for name in tracks]
    finally:
        engine.dispose()
    ids = [row["id"] for row in rows]
    twice = next((row for row in rows if ids.count(row["id"]) > 1), None)
    if twice is not None:
        raise click.UsageError(f"'{title_of(twice)}' is there twice.")
    mixed = [mix_track(row) for row in rows]
    found = compare_tracks(mixed, [row["hamms"] or {} for row in rows], rules)
    if html is not None:
        from map4_pipeline.reports.heatmap import write_heatmap

        write_heatmap(html, [title_of(row) for row in rows], mixed, found, _rules_text(rules))
    if as_json:
        lines.write_json(_as_json(rows, found, rules))
        return
    console = make_console()
    _print(console, rows, found, rules)
    if html is not None:
        console.print(f"\nHeat map    {folder_text(html)}", soft_wrap=True)


def _print(console: "Console", rows: list[dict[str, Any]], found: "Comparison", rules: "TransitionRules") -> None:
    console.print(figures_table(rows))
    console.print()
    console.print("From each track (row) into each (column)", style="bold")
    # Each cell takes five columns beside the row's number.
    fits = max(2, (console.width - 4) // 5)
    for start in range(0, len(rows), fits):
        console.print(heat_table(found, range(start, min(start + fits, len(rows)))))
    console.print()
    best = "The best order" if found.order.exact else "A good order (searched, not proven the best)"
    console.print(f"{best}; {_rules_text(rules)}", style="bold", soft_wrap=True)
    for number, place in enumerate(found.order.places):
        console.print(f"{place + 1:>3}  {title_of(rows[place])}", soft_wrap=True)
        if number < len(found.steps):
            step = found.steps[number]
            console.print(f"       {step.score:.2f} {step.label}. {step.reason}", style="dim", soft_wrap=True)


def figures_table(rows: list[dict[str, Any]]) -> "Table":
    """Return tracks with what was measured, side by side."""
    from rich.table import Table

    from map4_pipeline.cli.tables import length, number

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("#", "track", "BPM", "key", "energy", "LUFS", "length"):
        right = title not in ("track", "key")
        table.add_column(title, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    for place, row in enumerate(rows, 1):
        measured = (number(row["energy"], 2), number(row["loudness_lufs"], 1), length(row["duration"]))
        table.add_row(str(place), title_of(row), number(row["bpm"], 1), row["camelot"] or "-", *measured)
    return table


def heat_table(found: "Comparison", columns: range) -> "Table":
    """Return the scores from each track into those of some columns, coloured."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 0), header_style="bold")
    table.add_column("", justify="right", width=4)
    for column in columns:
        table.add_column(f"{column + 1} ", justify="right", width=5)
    for row in range(len(found.scores)):
        cells = []
        for column in columns:
            score = float(found.scores[row, column])
            cells.append(Text("  -  ") if row == column else Text(f"{score:5.2f}", style=_heat_style(score)))
        table.add_row(f"{row + 1} ", *cells)
    return table


def _heat_style(score: float) -> str:
    place = min(max(score, 0.0), 1.0) * (len(_HEAT) - 1)
    low = min(int(place), len(_HEAT) - 2)
    red, green, blue = (round(a + (b - a) * (place - low)) for a, b in zip(_HEAT[low], _HEAT[low + 1], strict=True))
    return f"{'black' if score > 0.55 else 'white'} on rgb({red},{green},{blue})"


def _rules_text(rules: "TransitionRules") -> str:
    lock = "with" if rules.key_lock else "without"
    return f"{rules.policy} keys, pitch range {rules.pitch_range:g}%, {lock} key lock"


def _as_json(rows: list[dict[str, Any]], found: "Comparison", rules: "TransitionRules") -> dict[str, Any]:
    from math import isfinite

    from map4_pipeline.hamms.reference import reference

    def grid(values: Any, digits: int = 4) -> list[list[float | None]]:
        return [[round(float(value), digits) if isfinite(value) else None for value in line] for line in values]

    usual = reference()
    percentiles = [
        [usual.percentile(value) if isfinite(value) else float("nan") for value in line] for line in found.similarities
    ]
    order = found.order
    steps = [
        {"from": rows[a]["id"], "to": rows[b]["id"], **transition_json(step)}
        for a, b, step in zip(order.places, order.places[1:], found.steps, strict=False)
    ]
    return {
        "tracks": [track_json(row) for row in rows],
        "scores": grid(found.scores),
        "similarities": grid(found.similarities),
        "percentiles": grid(percentiles, 2),
        "order": [rows[place]["id"] for place in order.places],
        "total": order.total,
        "exact": order.exact,
        "transitions": steps,
        "rules": {"policy": rules.policy, "key_lock": rules.key_lock, "pitch_range": rules.pitch_range, "weights": rules.weights},
    }
