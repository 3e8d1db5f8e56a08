"""`map4 playlist build`: a set from wishes."""

import sys
from typing import TYPE_CHECKING, Any

import click

from map4_pipeline.cli.mixing import mix_options, mix_rules, track_meant

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from map4_pipeline.hamms.transition import TransitionRules
    from map4_pipeline.playlists.wishes import Weights, Wishes
    from map4_pipeline.settings import Settings

_HELP = """Build a set: an order of tracks that mixes well and follows an energy curve, out of all that the filter finds.

\b
  map4 playlist build --tracks 20 --curve peak --name "Friday"
  map4 playlist build --minutes 90 --start 12 --must 47 --filter 'genre:house bpm:120..128' --artist-gap 5
  map4 playlist build --tracks 15..18 --curve 0.3,0.6,0.9,0.7 --max-drift 4 --keys strict --dry-run

All wishes are kept; what cannot be kept is named. The same wishes, seed and library give the same set (docs/sets.md). A TRACK is
an id, a file, or a search that finds exactly one.
"""
_WEIGHTS = ("transition", "weakest", "energy", "tempo")


@click.command(help=_HELP)
@click.option("--tracks", "length", help="How many tracks: 20, or 18..22.")
@click.option("--minutes", type=float, help="How long; with --tracks both are kept.")
@click.option("--tolerance", type=float, default=5.0, show_default=True, help="How far off the minutes may be, per cent.")
@click.option("--start", metavar="TRACK", help="The first track.")
@click.option("--end", metavar="TRACK", help="The last track.")
@click.option("--must", metavar="TRACK", multiple=True, help="A track that has to be in it; more than once for more.")
@click.option("--exclude", metavar="TRACK", multiple=True, help="A track that is not in it.")
@click.option("--apart", metavar="TRACK TRACK", nargs=2, multiple=True, help="Two tracks that are never next to each other.")
@click.option("--curve", help="Energy: rise, fall, peak, wave, flat, or points such as 0.3,0.6,0.9 or 0:0.3,60:0.9,100:0.5.")
@click.option("--max-drift", type=float, help="Largest tempo change of a step, per cent; half and double count as the same.")
@click.option("--artist-gap", type=click.IntRange(1), default=1, help="No artist twice among so many tracks in a row.")
@click.option("--keys", type=click.Choice(["strict", "extended"]), help="Only steps to compatible keys, whatever the score.")
@click.option("--min-score", type=float, help="No transition with a lower score.")
@click.option("--filter", "query", default="", help="Candidates, as `map4 search` takes it; all tracks without it.")
@mix_options
@click.option("--weight", "weights", multiple=True, metavar="PART=NUMBER", help=f"Of the cost: {', '.join(_WEIGHTS)}.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**62),
    default=1,
    show_default=True,
    help="Another seed, another set of about the same quality.",
)
@click.option("--rounds", type=click.IntRange(0, 100_000), default=200, show_default=True, help="How long to search.")
@click.option(
    "--candidates",
    type=click.IntRange(2, 10_000),
    default=5000,
    show_default=True,
    help="Of more, a sample is drawn by the seed.",
)
@click.option("--name", help="Store it under this name.")
@click.option("--description", help="What it is for.")
@click.option("--dry-run", is_flag=True, help="Only show it.")
@click.option("--json", "as_json", is_flag=True, help="One object, also when no set keeps all wishes.")
def build(**options: Any) -> None:
    """Build a set."""
    from map4_pipeline.cli import lines
    from map4_pipeline.hamms.transition import MixTrack
    from map4_pipeline.playlists.curves import CurveError
    from map4_pipeline.playlists.mixing import build_from_tracks
    from map4_pipeline.playlists.wishes import InfeasibleError, WishError
    from map4_pipeline.settings import settings
    from map4_pipeline.store.candidates import candidates
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.query import QueryError, parse_query

    configured = settings()
    rules = mix_rules(configured, options["policy"], options["key_lock"], options["pitch_range"])
    try:
        query = parse_query(options["query"])
        weights = _weights(options["weights"])
    except (QueryError, WishError) as error:
        raise click.UsageError(str(error)) from None
    engine = open_database(configured)
    try:
        with engine.connect() as conn:
            try:
                wishes = _wishes(conn, configured, options)
            except (WishError, CurveError) as error:
                raise click.UsageError(str(error)) from None
            found = candidates(conn, query, wishes.required, options["candidates"], options["seed"])
        tracks = [MixTrack(**row) for row in found.rows]
        try:
            built = build_from_tracks(tracks, rules, wishes, weights, seed=options["seed"], rounds=options["rounds"])
        except InfeasibleError as error:
            if options["as_json"]:
                lines.write_json(
                    {"status": "impossible", "conflicts": [_conflict_json(conflict) for conflict in error.conflicts]}
                )
            else:
                told = ["No set keeps all wishes.", *(f"- {conflict}" for conflict in error.conflicts)]
                told += [f"{cut_off_words(found.cut_off).capitalize()}."] if found.cut_off else []
                for line in told:
                    click.echo(_printable(line), err=True)
            sys.exit(2)
        except WishError as error:
            raise click.UsageError(str(error)) from None
        _store_and_show(engine, found, built, rules, wishes, weights, options)
    finally:
        engine.dispose()


def _store_and_show(
    engine: Any, found: Any, built: Any, rules: "TransitionRules", wishes: "Wishes", weights: "Weights", options: dict[str, Any]
) -> None:
    from datetime import UTC, datetime

    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.cli.playlist_show import print_playlist, shown_json
    from map4_pipeline.playlists.parameters import parameters
    from map4_pipeline.store import playlists as store

    cost = built.cost.to_dict() | {"bound": round(built.bound, 6), "proven": built.proven, "targets": built.targets}
    asked = parameters(wishes, weights, rules, options["query"], options["rounds"], options["candidates"])
    name = options["name"] or f"Set of {len(built.ids)} tracks"
    # A transaction in any case, so that what is shown is read in one way; a dry run takes it back.
    with engine.connect() as conn:
        made = store.create_playlist(
            conn,
            name,
            built.ids,
            qualities=built.scores,
            description=options["description"],
            kind="set",
            parameters=asked,
            seed=built.seed,
            cost=cost,
        )
        entries = store.entries(conn, made.id)
        namesakes = store.namesakes(conn, made)
        if options["dry_run"]:
            conn.rollback()
        else:
            conn.commit()
    about = {
        "found": found.found,
        "copies": found.copies,
        "cut_off": found.cut_off,
        "not_drawn": found.not_drawn,
        "left_out": built.left_out,
        "used": built.candidates,
    }
    if options["as_json"]:
        document = shown_json(made, entries, rules) | {"status": "built", "candidates": about, "stored": not options["dry_run"]}
        if options["dry_run"]:
            # The clock's numbers of a row that was taken back would be read as if there were one.
            document |= {"id": None, "created_at": datetime.now(UTC).isoformat(), "updated_at": None}
        lines.write_json(document)
        return
    console = make_console()
    print_playlist(console, made, entries, rules, stored=not options["dry_run"])
    said = [f"{built.candidates:,} candidates"]
    said += [
        f"{count:,} with {reason} left out" if reason != "excluded" else f"{count:,} excluded"
        for reason, count in built.left_out.items()
    ]
    said += [f"{found.copies:,} copies of the same recording left out"] if found.copies else []
    said += [cut_off_words(found.cut_off)] if found.cut_off else []
    said += [f"{found.not_drawn:,} not drawn (--candidates, or a narrower --filter)"] if found.not_drawn else []
    if options["name"] and namesakes and not options["dry_run"]:
        others = f"{len(namesakes):,} other playlists are" if len(namesakes) > 1 else "Another playlist is"
        numbers = ", ".join(map(str, namesakes[:10]))
        note = f"{others} called so as well (number {numbers}); by its name none is found. This one is number {made.id}."
        console.print(note, style="yellow", soft_wrap=True, markup=False)
    console.print(f"chosen from  {', '.join(said)}", style="dim", soft_wrap=True)


def cut_off_words(count: int) -> str:
    """Return how many files were no candidates because they end early."""
    files = "1 file that ends early" if count == 1 else f"{count:,} files that end early"
    return f"{files} left out (finding:truncated; --must takes one all the same)"


def _wishes(conn: "Connection", configured: "Settings", options: dict[str, Any]) -> "Wishes":
    from map4_pipeline.playlists.curves import parse_curve
    from map4_pipeline.playlists.wishes import Wishes

    def meant(name: str) -> int:
        return int(track_meant(conn, configured, name)["id"])

    return Wishes(
        tracks=_length(options["length"]),
        minutes=options["minutes"],
        minutes_tolerance=options["tolerance"] / 100,
        start=None if options["start"] is None else meant(options["start"]),
        end=None if options["end"] is None else meant(options["end"]),
        must=tuple(meant(name) for name in options["must"]),
        apart=tuple((meant(first), meant(second)) for first, second in options["apart"]),
        excluded=tuple(meant(name) for name in options["exclude"]),
        curve=None if options["curve"] is None else parse_curve(options["curve"]),
        max_drift=options["max_drift"],
        artist_gap=options["artist_gap"],
        keys=options["keys"],
        min_score=options["min_score"],
    )


def _length(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    low, dots, high = text.partition("..")
    try:
        return int(low), int(high) if dots else int(low)
    except ValueError:
        raise click.UsageError(f"'{_printable(text)}' is no number of tracks. Write 20, or 18..22.") from None


def _weights(given: tuple[str, ...]) -> "Weights":
    from map4_pipeline.playlists.wishes import Weights

    values: dict[str, float] = {}
    for text in given:
        part, _, number = text.partition("=")
        try:
            if part not in _WEIGHTS:
                raise ValueError
            values[part] = float(number)
        except ValueError:
            told = f"'{_printable(text)}' is no weight. Write {' or '.join(f'{name}=1' for name in _WEIGHTS)}."
            raise click.UsageError(told) from None
    return Weights(**values)


def _conflict_json(conflict: Any) -> dict[str, Any]:
    return {"wishes": list(conflict.wishes), "message": conflict.message, "remedy": conflict.remedy, "proven": conflict.proven}


def _printable(text: str) -> str:
    from map4_pipeline.cli.console import printable

    return printable(text)
