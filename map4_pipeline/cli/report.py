"""`map4 report`: the library, a track or a playlist on paper and as a page."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from map4_pipeline.reports.model import ReportFile
    from map4_pipeline.reports.sheets import PlaylistSheet, TrackSheet
    from map4_pipeline.settings import Settings

_HELP = """Write a report and print where it is: of the whole library, of one track or of one playlist.

\b
  map4 report
  map4 report --track 4711
  map4 report --track ~/Music/house/track.mp3 --format pdf --output ~/Desktop
  map4 report --playlist "Friday"

A TRACK is an id, a file, or a search that finds exactly one; a PLAYLIST is its number or its name. The library is reported as
PDF, page and workbook, a track and a playlist as PDF and page.
"""


@click.command(help=_HELP)
@click.option("--track", metavar="TRACK", help="Of one track: form, tempo and key, HAMMS, what to play next.")
@click.option("--playlist", metavar="PLAYLIST", help="Of one playlist: order, transitions, energy.")
@click.option("--format", "formats", multiple=True, type=click.Choice(["pdf", "xlsx", "html"]), help="Repeatable. Default: all.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Folder. Default: reports/ in MAP4_HOME.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def report(track: str | None, playlist: str | None, formats: tuple[str, ...], output: Path | None, as_json: bool) -> None:
    """Write a report."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import folder_text, make_console
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database

    if track is not None and playlist is not None:
        raise click.UsageError("A report is of a track or of a playlist: give --track or --playlist, not both.")
    single = track is not None or playlist is not None
    if single and "xlsx" in formats:
        raise click.UsageError("A track and a playlist are reported as pdf and html; the workbook is of the whole library.")
    configured = settings()
    folder = output.expanduser() if output else configured.reports_dir
    engine = open_database(configured)
    try:
        with make_console(stderr=True).status("Writing the report ..."):
            one = (engine, configured, track, playlist, folder, formats)
            files = _single(*one) if single else _library(engine, folder, formats)
    finally:
        engine.dispose()
    if as_json:
        facts = [{"format": file.format, "path": folder_text(file.path), "size_bytes": file.size_bytes} for file in files]
        lines.write_json({"files": facts})
        return
    out = make_console()
    for file in files:
        out.print(folder_text(file.path), soft_wrap=True)


def _library(engine: "Engine", folder: Path, formats: "Sequence[str]") -> "list[ReportFile]":
    from map4_pipeline.store.libraries import all_libraries
    from map4_pipeline.store.reporting import FORMATS, write_library_reports

    with engine.connect() as conn:
        if not all_libraries(conn):
            raise click.UsageError("No library is registered yet. Begin with: map4 ingest ~/Music")
    return write_library_reports(engine, folder, tuple(dict.fromkeys(formats)) or tuple(FORMATS))


def _single(
    engine: "Engine", configured: "Settings", track: str | None, playlist: str | None, folder: Path, formats: "Sequence[str]"
) -> "list[ReportFile]":
    from map4_pipeline.cli.mixing import mix_rules, playlist_rules, track_meant
    from map4_pipeline.store.errors import StoreError
    from map4_pipeline.store.playlists import find_playlist
    from map4_pipeline.store.sheets import FORMATS, playlist_sheet, track_sheet, write_sheet

    sheet: TrackSheet | PlaylistSheet
    try:
        with engine.connect() as conn:
            if track is not None:
                meant = track_meant(conn, configured, track)["id"]
                sheet, name = track_sheet(conn, meant, mix_rules(configured, None, None, None)), f"track-{meant}"
            else:
                found = find_playlist(conn, playlist or "")
                sheet = playlist_sheet(conn, found, playlist_rules(configured, found.parameters))
                name = f"playlist-{found.id}"
    except StoreError as error:
        raise click.UsageError(str(error)) from None
    return write_sheet(engine, sheet, folder, name, tuple(dict.fromkeys(formats)) or FORMATS)
