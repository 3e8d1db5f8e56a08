"""`map4 similar`: what is like a track, and what mixes into it."""

from typing import TYPE_CHECKING, Any

import click

from map4_pipeline.cli.mixing import mix_options, mix_rules, title_of, track_json, track_meant, transition_json

if TYPE_CHECKING:
    from rich.table import Table

    from map4_pipeline.store.similar import Similar

_HELP = """Find the tracks that are most like one, or (--mix) that follow it best in a mix.

\b
  map4 similar 4711
  map4 similar ~/Music/house/track.mp3 -n 10
  map4 similar "one more time" bpm:118..126 -artist:"daft punk"
  map4 similar 4711 --mix --no-key-lock

TRACK is an id, a file, or a search that finds exactly one track. FILTERS are those of `map4 search`: only tracks that they find
are compared. "like" is the percentile among random pairs: 99 is more alike than 99 pairs of 100.
"""


@click.command(help=_HELP)
@click.argument("track")
@click.argument("filters", nargs=-1)
@click.option("-n", "--number", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--mix", is_flag=True, help="Order by how well the track mixes into each, not by how alike they are.")
@mix_options
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def similar(
    track: str,
    filters: tuple[str, ...],
    number: int,
    mix: bool,
    policy: str | None,
    key_lock: bool | None,
    pitch_range: float | None,
    as_json: bool,
) -> None:
    """Find similar tracks."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.errors import StoreError
    from map4_pipeline.store.query import QueryError, parse_query
    from map4_pipeline.store.similar import similar_tracks

    configured = settings()
    rules = mix_rules(configured, policy, key_lock, pitch_range)
    try:
        query = parse_query(" ".join(filters))
    except QueryError as error:
        raise click.UsageError(str(error)) from None
    engine = open_database(configured)
    try:
        with engine.connect() as conn:
            first = track_meant(conn, configured, track)
            found = similar_tracks(conn, first["id"], number, query, by="mix" if mix else "similarity", rules=rules)
    except StoreError as error:
        raise click.UsageError(str(error)) from None
    finally:
        engine.dispose()
    if as_json:
        for one in found:
            lines.write_json(_as_json(one))
        return
    console = make_console()
    about = f"{title_of(first)}  ({first['bpm'] or 0:.1f} BPM, {first['camelot'] or 'no key'})"
    console.print(("What mixes into " if mix else "Most like ") + about, style="bold", soft_wrap=True)
    if found:
        console.print(similar_table(found, console.width, mix=mix))
    else:
        console.print("No other track fits.")


def similar_table(found: "list[Similar]", width: int, *, mix: bool) -> "Table":
    """Return what was found as a table."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    wide = width >= 90
    # Figures keep their width; names and dimensions share what is left.
    room = max(20, width - (40 if wide else 24))
    names = room * 3 // 5 if wide else room
    right, left = {"justify": "right", "no_wrap": True}, {"no_wrap": True, "overflow": "ellipsis"}
    columns: list[tuple[str, int, dict[str, Any]]] = [("mix" if mix else "like", 4, right), ("like" if mix else "mix", 4, right)]
    columns += [("track", names, left), ("BPM", 5, right), ("key", 3, left)]
    if wide:
        columns += [("transition", 12, left), ("differs in", room - names, left)]
    for title, size, options in columns:
        table.add_column(title, width=size, **options)
    for one in found:
        like, score = _percentile(one), f"{one.transition.score:.2f}"
        row, cells = one.row, [score, like] if mix else [like, score]
        cells += [title_of(row), "-" if row["bpm"] is None else f"{row['bpm']:.1f}", row["camelot"] or "-"]
        if wide:
            cells += [one.transition.label, _differences(one)]
        table.add_row(*cells)
    return table


def _percentile(one: "Similar") -> str:
    percentile = one.similarity.percentile
    # 100 would say that nothing is more alike.
    return "-" if percentile is None else f"{min(percentile, 99.9):.1f}"


def _differences(one: "Similar") -> str:
    """Return the dimensions that make up most of the distance."""
    shares = sorted(one.similarity.contributions.items(), key=lambda item: -item[1])
    return ", ".join(f"{name.replace('_', ' ')} {100 * share:.0f}%" for name, share in shares[:3] if share > 0) or "nothing"


def _as_json(one: "Similar") -> dict[str, Any]:
    likeness = one.similarity
    return {
        **track_json(one.row),
        "similarity": likeness.score,
        "percentile": likeness.percentile,
        "alike": likeness.alike,
        "contributions": likeness.contributions,
        "transition": transition_json(one.transition),
    }
