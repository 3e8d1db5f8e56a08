"""`map4 export`: tracks as files for other programs."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

_HELP = """Export the tracks that a query finds; without one, all that are there and analysed.

\b
  map4 export --format csv
  map4 export --format jsonl --output - 'genre:house' | jq .title
  map4 export --format parquet 'genre:house bpm:120..128' --output house.parquet
  map4 export --format rekordbox --path-map /music=/Users/me/Music
"""


def deck_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of files for DJ programs and players; one that asks a server has the same."""
    options = (
        click.option("--playlist", help="Only this playlist's tracks, by its name or number (rekordbox, traktor, m3u8)."),
        click.option(
            "--path-map",
            "path_map",
            multiple=True,
            metavar="FROM=TO",
            help="Where the other program finds the files; repeatable.",
        ),
        click.option(
            "--key-notation",
            "notation",
            type=click.Choice(["musical", "camelot", "open"]),
            help="Am, 8A or 1m (rekordbox, traktor).",
        ),
        click.option(
            "--new", "new", is_flag=True, help="Add a playlist of what came since the last such export (m3u8: only that)."
        ),
        click.option("--measured", is_flag=True, help="BPM, key and grid as measured, also where an import has the DJ's."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(help=_HELP)
@click.argument("words", nargs=-1)
@click.option("--format", "kind", metavar="NAME", help="What to write (--list names them). Default: by the ending of --output.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="The file; -: standard output. Default: library.* in MAP4_HOME/exports."
)
@click.option("--fields", help="Only these fields, with commas between (csv, json, jsonl, parquet).")
@deck_options
@click.option("--list", "only_list", is_flag=True, help="List formats and fields, and stop.")
@click.option("--schema", "only_schema", is_flag=True, help="Print the JSON Schema of exported tracks, and stop.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object about the file that was written.")
def export(
    words: tuple[str, ...],
    kind: str | None,
    output: Path | None,
    fields: str | None,
    playlist: str | None,
    path_map: tuple[str, ...],
    notation: str | None,
    new: bool,
    measured: bool,
    only_list: bool,
    only_schema: bool,
    as_json: bool,
) -> None:
    """Export tracks."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import folder_text, make_console
    from map4_pipeline.reports.fields import FIELDS, chosen_fields, json_schema
    from map4_pipeline.reports.interchange.places import PathMap
    from map4_pipeline.reports.text import tracks as tracks_text
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.exports import KINDS, ExportRequest, misfit, run_export
    from map4_pipeline.store.playlists import find_playlist
    from map4_pipeline.store.query import QueryError

    if only_schema:
        lines.write(lines.to_json(json_schema(), indent=2) + "\n")
        return
    if only_list:
        for name, known in KINDS.items():
            click.echo(f"{name:<10} {known.meaning}")
        click.echo("\nFields of csv, json, jsonl and parquet:")
        for field in FIELDS:
            click.echo(f"  {field.name:<18} {field.meaning}")
        return
    kind = kind or format_by_ending(output)
    poured = check_output(output, kind, as_json)
    if kind not in KINDS:
        raise click.UsageError(f"There is no format {kind!r}. Formats: {', '.join(KINDS)}.")
    request = ExportRequest(kind, " ".join(words), path_map=path_map, notation=notation, new=new, measured=measured)
    # Whatever its number is: the database is asked once it is known that the rest goes together.
    asked = request if playlist is None else replace(request, playlist=0)
    wrong = misfit(asked, call=_option, takes_fields=bool(fields))
    if wrong:
        raise click.UsageError(wrong)
    try:
        PathMap(path_map)
        chosen = chosen_fields([name.strip() for name in fields.split(",")] if fields else None)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    configured = settings()
    name = f"library{KINDS[kind].ending}"
    target = (output or configured.home / "exports" / name).expanduser()
    if target.is_dir() and not poured:
        target = target / name
    amount = 0

    def progress(done: int, total: int) -> None:
        nonlocal amount
        amount = total
        status.update(f"Exporting: {done:,} of {total:,} tracks")

    engine = open_database(configured)
    console = make_console(stderr=True)
    try:
        request = replace(request, fields=chosen)
        if playlist is not None:
            with engine.connect() as conn:
                request = replace(request, playlist=find_playlist(conn, playlist).id)
        with poured_out(name) if poured else contextlib.nullcontext(target) as place, console.status("Exporting ...") as status:
            written = run_export(engine, request, place, progress=progress)
    except QueryError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    finally:
        engine.dispose()
    if as_json:
        facts = {"format": written.format, "path": folder_text(written.path), "tracks": amount, "size_bytes": written.size_bytes}
        lines.write_json(facts | {"duration_ms": written.duration_ms})
        return
    if not poured:
        make_console().print(folder_text(written.path), soft_wrap=True)
    # Not to standard output, which holds what a script reads: the path, or the tracks.
    click.echo(tracks_text(amount), err=True)


def check_output(output: Path | None, kind: str, as_json: bool) -> bool:
    """Return whether `-` was given: the tracks go to standard output."""
    if output != Path("-"):
        return False
    if as_json:
        raise click.UsageError("--json tells about a file; with --output - there is none.")
    if kind in ("parquet", "xlsx", "pdf") and sys.stdout.isatty():
        raise click.UsageError(f"A terminal cannot show {kind}. Name a file: --output library.{kind}, or hand it on with | or >.")
    return True


@contextlib.contextmanager
def poured_out(name: str) -> Iterator[Path]:
    """Give a place for a file, and write the file to standard output once it is whole."""
    from map4_pipeline.cli import lines

    with tempfile.TemporaryDirectory(prefix="map4-export-") as folder:
        place = Path(folder) / name
        yield place
        lines.pour(place)


def _option(name: str) -> str:
    """Return the option of an export's attribute."""
    return "--key-notation" if name == "notation" else f"--{name.replace('_', '-')}"


def format_by_ending(output: Path | None) -> str:
    """Return the format that a file's ending means."""
    from map4_pipeline.store.exports import KINDS

    if output is None:
        raise click.UsageError(f"Say what to write: --format {'|'.join(KINDS)}, or --output with an ending.")
    found = [name for name, kind in KINDS.items() if kind.ending == output.suffix.lower()]
    if not found:
        raise click.UsageError(f"The ending {output.suffix!r} is of no format. Say which: --format {'|'.join(KINDS)}.")
    return found[0]
