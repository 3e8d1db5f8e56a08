"""`map4 library`: the registered roots."""

import os
from pathlib import Path

import click


@click.group()
def library() -> None:
    """List the registered library roots, tell MAP4 that one was moved, watch or remove one, forget what is gone for good.

    `map4 ingest FOLDER` registers one.
    """


@library.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(as_json: bool) -> None:
    """List the libraries with their tracks and how their last scan ended."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.cli.show import library_lines
    from map4_pipeline.cli.status import library_json
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.overview import library_overviews

    engine = open_database(settings())
    with engine.connect() as conn:
        found = [library_json(overview) for overview in library_overviews(conn)]
    engine.dispose()
    if as_json:
        for item in found:
            lines.write_json(item)
    elif found:
        library_lines(make_console(), found)
    else:
        click.echo("No library is registered yet. Begin with: map4 ingest ~/Music")


@library.command()
@click.argument("slug")
@click.argument("new_root", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Even if the new folder does not hold the library's files.")
def relocate(slug: str, new_root: Path, force: bool) -> None:
    """Tell MAP4 that the library SLUG now lies at NEW_ROOT; its tracks keep their ids and analyses.

    No file is moved or changed. `map4 library list` shows the slugs.
    """
    from map4_pipeline.cli.console import at_home, folder_text, make_console, printable
    from map4_pipeline.ingest.roots import ENOUGH, found_in
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.errors import StoreError
    from map4_pipeline.store.libraries import library_by_slug, relocate_library, sample_files

    new_root = Path(at_home(str(new_root)))
    if not new_root.is_dir():
        raise click.UsageError(f"{folder_text(new_root)} {'is not a folder' if new_root.exists() else 'does not exist'}.")
    configured = settings()
    engine = open_database(configured)
    try:
        with engine.begin() as conn:
            found = library_by_slug(conn, slug)
            expected = sample_files(conn, found)
            there = found_in(os.fsencode(new_root), expected)
            if there < ENOUGH * len(expected) and not force:
                raise StoreError(
                    f"Of {len(expected)} files of '{found.name}' that were looked for, {there} are in {folder_text(new_root)}. "
                    "Nothing was changed. Is it the right folder? With --force it is taken all the same."
                )
            moved = relocate_library(conn, found, new_root, configured.path_map)
    finally:
        engine.dispose()
    console = make_console()
    console.print(f"{printable(moved.name)}: {found.root_text} is now {moved.root_text}", soft_wrap=True)
    console.print("Next        map4 ingest        looks at the files in their new place")


@library.command()
@click.argument("slug")
@click.argument("switch", type=click.Choice(["on", "off"]))
def watch(slug: str, switch: str) -> None:
    """Let the sensor `watched_folders` look at the library SLUG, or not."""
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.libraries import library_by_slug, set_watched

    engine = open_database(settings())
    try:
        with engine.begin() as conn:
            set_watched(conn, library_by_slug(conn, slug), switch == "on")
    finally:
        engine.dispose()
    said = "watched" if switch == "on" else "no longer watched; `map4 ingest` and the nightly refresh look at it"
    click.echo(f"{slug} is {said}.")


@library.command()
@click.argument("slug")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(slug: str, yes: bool) -> None:
    """Forget the library SLUG: its tracks, folders and scans, and their places in playlists. No file is touched.

    The analyses are kept: should the same music be ingested again, nothing is decoded anew.
    """
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.libraries import library_by_slug, library_size, remove_library
    from map4_pipeline.store.scans import state_counts
    from map4_pipeline.store.statistics import refresh_statistics

    engine = open_database(settings())
    try:
        with engine.connect() as conn:
            found = library_by_slug(conn, slug)
            states, (_, places) = state_counts(conn, [found.id]), library_size(conn, found)
        others = ", ".join(f"{states[name]:,} {name}" for name in ("failed", "missing", "pending") if states[name])
        tracks = f"{states['ok']:,} tracks{f' (and {others})' if others else ''}"
        listed = "1 place" if places == 1 else f"{places:,} places"
        what = f"the library '{slug}' ({found.root_text}) with {tracks} and {listed} in playlists"
        if not yes:
            click.confirm(f"Forget {what}? No file is touched.", abort=True)
        with engine.begin() as conn:
            remove_library(conn, found)
        refresh_statistics(engine)
    finally:
        engine.dispose()
    click.echo(f"Forgotten: {what}.")


@library.command()
@click.argument("slug", required=False)
@click.option("--days", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Missing for so long or longer.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(slug: str | None, days: float, yes: bool) -> None:
    """Forget tracks whose files are gone for good, of the library SLUG or of all. No file is touched.

    Their places in playlists and their corrections go with them. The analyses are kept: should the same music come back,
    nothing is decoded anew. `map4 search is:missing` lists them.
    """
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.libraries import count_missing, forget_missing, library_by_slug
    from map4_pipeline.store.statistics import refresh_statistics

    engine = open_database(settings())
    since = f" for {days:g} day{'' if days == 1 else 's'} or longer" if days else ""
    whose = f" of the library '{slug}'" if slug else ""
    try:
        with engine.connect() as conn:
            found = library_by_slug(conn, slug) if slug else None
            missing = count_missing(conn, days, found)
            others = count_missing(conn, 0, found).tracks - missing.tracks
        kept = f" {others:,} that went later {'is' if others == 1 else 'are'} kept (--days)." if others else ""
        if not missing.tracks:
            click.echo(f"No track{whose} has been missing{since}.{kept}")
            return
        if not yes:
            parts = [(missing.places, "place", " in playlists"), (missing.corrected, "corrected track", "")]
            lost = " and ".join(f"{count:,} {word}{'' if count == 1 else 's'}{where}" for count, word, where in parts if count)
            told = f" With them go: {lost}." if lost else ""
            tracks = f"{missing.tracks:,} track{'' if missing.tracks == 1 else 's'}"
            click.confirm(f"Forget {tracks}{whose}, missing{since}?{told} No file is touched.", abort=True)
        with engine.begin() as conn:
            gone = forget_missing(conn, days, found)
        refresh_statistics(engine)
    finally:
        engine.dispose()
    click.echo(f"Forgotten: {gone:,} missing track{'' if gone == 1 else 's'}{whose}.{kept}")
