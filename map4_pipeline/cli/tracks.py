"""`map4 tracks`: what is in the library, a line a track."""

from typing import Any

import click

from map4_pipeline.cli import MOST_ROWS

_EMPTY = "There is no track yet. Begin with: map4 ingest ~/Music"


@click.command()
@click.option("--format", "output", type=click.Choice(["table", "json", "csv"]), default="table", help="What is printed.")
@click.option("--json", "as_json", is_flag=True, help="One object a line, with the names of `map4 analyze --json` and more.")
@click.option("--limit", type=click.IntRange(1, MOST_ROWS), help="Not more than so many.")
@click.option("--failed", is_flag=True, help="The files that failed, and why.")
@click.option("--missing", is_flag=True, help="The tracks whose file is gone.")
@click.option("--all", "everything", is_flag=True, help="Tracks in every state.")
def tracks(output: str, as_json: bool, limit: int | None, failed: bool, missing: bool, everything: bool) -> None:
    """List the tracks that are there and analysed, by artist and title."""
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.listing import stream_tracks

    if failed + missing + everything > 1:
        raise click.UsageError("Only one of --failed, --missing and --all.")
    status = "failed" if failed else None if missing or everything else "ok"
    engine = open_database(settings())
    try:
        with engine.connect() as conn:
            rows = stream_tracks(conn, status=status, missing=everything, only_missing=missing, limit=limit)
            empty = "No file failed." if failed else "No file is missing." if missing else _EMPTY
            print_rows(rows, "json" if as_json else output, empty, failed=failed, states=missing or everything)
    finally:
        engine.dispose()


def print_rows(rows: Any, output: str, empty: str, *, failed: bool, states: bool) -> None:
    """Print tracks as a table, as JSON or as CSV."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.cli.records import track_names, track_record
    from map4_pipeline.cli.tables import print_failures, print_tracks

    if output == "json":
        for row in rows:
            lines.write_json(track_record(row))
        return
    if output == "csv":
        csv_lines = lines.CsvLines(track_names())
        csv_lines.write_header()
        for row in rows:
            csv_lines.write(track_record(row))
        return
    console = make_console()
    count = print_failures(console, rows) if failed else print_tracks(console, rows, states=states)
    if not count:
        console.print(empty)
