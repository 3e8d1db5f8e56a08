"""`map4 search`: find tracks by words and by what was measured."""

import sys

import click

#: Counting on costs more than the page itself; `--count` does it.
_COUNTED = 10_000

_HELP = """Find tracks by words and by what was measured.

\b
  map4 search daft punk
  map4 search 'bpm:120..128 key:8A~ energy>0.7 genre:house -artist:"daft punk"'
  map4 search 'bpm:64~ duration<3:30 added:7d sort:-energy'

Words are looked for in title, artist, album and genre, from their beginning and without accents. bpm:128~ takes half and double
tempo too, key:8A~ what mixes with it. States: is:failed, is:missing, is:duplicate, is:conflict (the tags say another tempo or
key), is:doubtful, is:damaged (the file ends early or has damaged packets); finding:clipping, finding:lossy_source. Fields: bpm,
key, energy, loudness, year, duration, bitrate, size, confidence, the HAMMS dimensions, title, artist, album, genre, composer,
path, mood, format, library, added. sort:bpm or sort:-bpm.
"""


@click.command(help=_HELP)
@click.argument("words", nargs=-1)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Tracks a page.")
@click.option("--after", help="The mark that the page before ended with.")
@click.option("--count", "only_count", is_flag=True, help="Only how many there are.")
@click.option("--facets", "only_facets", is_flag=True, help="How many there are by genre, key, decade, tempo and format.")
@click.option("--format", "output", type=click.Choice(["table", "json", "csv"]), default="table", help="What is printed.")
@click.option("--json", "as_json", is_flag=True, help="One object a line, with the names of `map4 tracks --json`.")
def search(
    words: tuple[str, ...], limit: int, after: str | None, only_count: bool, only_facets: bool, output: str, as_json: bool
) -> None:
    """Find tracks."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console, printable
    from map4_pipeline.cli.tracks import print_rows
    from map4_pipeline.settings import settings
    from map4_pipeline.store import search as store
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.query import QueryError, parse_query

    try:
        query = parse_query(" ".join(words))
    except QueryError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    output = "json" if as_json else output
    engine = open_database(settings())
    try:
        with engine.connect() as conn:
            if only_count:
                found = store.count(conn, query)
                lines.write_json({"count": found}) if output == "json" else click.echo(f"{found:,}")
                return
            if only_facets:
                counts = store.facets(conn, query)
                if output == "json":
                    lines.write_json({**counts.counts, "total": counts.total, "approximate": counts.approximate})
                    return
                for name, values in counts.counts.items():
                    said = ", ".join(f"{printable(value)} {number:,}" for value, number in values.items())
                    click.echo(f"{name:<8} {said or '-'}")
                if counts.approximate:
                    click.echo(f"Estimated from a sample: {counts.total:,} tracks or so.")
                return
            page = store.search(conn, query, limit, after)
            many = store.count(conn, query, _COUNTED + 1) if page.following and output == "table" else len(page.rows)
            total = f"{many:,}" if many <= _COUNTED else f"more than {_COUNTED:,}"
    finally:
        engine.dispose()
    print_rows(page.rows, output, "Nothing was found.", failed=False, states=False)
    if page.following and output == "table":
        make_console().print(f"{len(page.rows)} of {total}; the next page: --after {page.following}", soft_wrap=True)
