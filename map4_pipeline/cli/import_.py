"""`map4 import`: what a DJ has made in rekordbox or Traktor, and playlists of players, into the library."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from map4_pipeline.store.imports import Imported, TrackDisagreement, Unmatched

_HELP = """Import a rekordbox XML, a Traktor NML or an M3U8 playlist. No audio file is touched.

\b
  map4 import rekordbox.xml
  map4 import collection.nml --path-map /music=D:/Music
  map4 import friday.m3u8 --dry-run

Cues, grids, ratings and playlist folders are kept as they are, and the next `map4 export` writes them again. Where the program's
BPM, key or grid differs from what was measured, this is told.
"""
#: How many of each are shown; --json has all.
_SHOWN = 10


@click.command("import", help=_HELP)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--path-map", "path_map", multiple=True, metavar="FROM=TO", help="FROM is a folder here, TO the same in the file; repeatable."
)
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and change nothing.")
@click.option("--replace", is_flag=True, help="Forget what earlier imports of this program brought and the file does not have.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all that was matched, not matched, and differs.")
def import_(file: Path, path_map: tuple[str, ...], dry_run: bool, replace: bool, as_json: bool) -> None:
    """Import a file of another program."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.reports.interchange.places import PathMap
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.imports import SOURCES, import_file

    try:
        PathMap(path_map)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if file.suffix.lower() not in SOURCES:
        raise click.UsageError(f"{file.name}: what is imported ends in {', '.join(SOURCES)}.")
    if replace and SOURCES[file.suffix.lower()] == "m3u8":
        raise click.UsageError("--replace is for collections of rekordbox and Traktor.")
    engine = open_database(settings())
    try:
        with make_console(stderr=True).status("Importing ...") as status:
            found = import_file(
                engine,
                file,
                path_map=path_map,
                dry_run=dry_run,
                replace=replace,
                progress=lambda done: status.update(f"Importing: {done:,} entries"),
            )
    finally:
        engine.dispose()
    if as_json:
        lines.write_json(_facts(found))
        return
    console = make_console()
    for line in _told(found, replace):
        console.print(line, soft_wrap=True)


def _facts(found: "Imported") -> dict[str, Any]:
    from dataclasses import asdict

    facts = asdict(found) | {"matched": dict(found.matched)}
    differences = [asdict(one) for one in found.disagreements]
    facts["disagreements"] = [{**one, **one.pop("difference")} for one in differences]
    return facts


def _told(found: "Imported", replaced: bool) -> list[str]:
    from map4_pipeline.cli.console import printable

    told = []
    if found.dry_run:
        told.append("Dry run: nothing was changed.")
    matched = found.matched.total()
    by = ", ".join(f"{count:,} by {name}" for name, count in found.matched.most_common())
    told.append(f"{found.entries:,} entries of {found.source}, {matched:,} matched" + (f" ({by})" if by else "") + ".")
    if found.source == "m3u8":
        verb = "Made" if found.added else "Brought up to date"
        told.append(f"{verb}: the playlist {printable(found.playlist_name or '')!r}.")
    else:
        told.append(f"{found.added:,} new, {found.updated:,} known before.")
        told.append(f"With cues: {found.cues:,}; with a grid: {found.grids:,}; with a rating: {found.ratings:,}.")
        told.append(f"Playlists: {found.playlists:,} in {found.folders:,} folders.")
    if found.smart_playlists:
        told.append(f"{found.smart_playlists:,} smart playlists are searches in {found.source}; they are not kept.")
    if found.lost_names:
        told.append(f"{found.lost_names:,} places in playlists name a track that the file does not have; they were left out.")
    if found.not_in_file:
        fate = "were forgotten" if replaced else "are kept (--replace forgets them)"
        told.append(f"{found.not_in_file:,} entries of earlier imports are not in this file and {fate}.")
    kept = "" if found.source == "m3u8" else ", kept for the next export"
    told += _entries("Could be several tracks, so none was chosen", found.ambiguous)
    told += _entries(f"Not in the library{kept}", found.unmatched)
    told += _differences(found)
    return told


def _entries(title: str, entries: "list[Unmatched]") -> list[str]:
    from map4_pipeline.cli.console import printable

    if not entries:
        return []
    told = [f"{title}: {len(entries):,}"]
    for entry in entries[:_SHOWN]:
        told.append(f"  {printable(entry.location)}")
        told += [f"    perhaps {printable(candidate)}" for candidate in entry.candidates]
    return told + _rest(entries)


def _differences(found: "Imported") -> list[str]:
    from collections import Counter

    told = []
    if found.grid_offset_ms is not None:
        told.append(f"Grids of {found.source} stand {found.grid_offset_ms:+.0f} ms from the measured ones (median).")
    counts = Counter(one.difference.what for one in found.disagreements)
    if counts:
        said = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
        told.append(f"Differs from what was measured, of {found.compared:,} tracks: {said}")
        told += [_difference(one, found.source) for one in found.disagreements[:_SHOWN]] + _rest(found.disagreements)
        told.append("`map4 export` keeps the DJ's values; --measured writes the measured ones.")
    return told


def _difference(one: "TrackDisagreement", source: str) -> str:
    from map4_pipeline.cli.console import printable

    name = " - ".join(part for part in (one.artist, one.title) if part) or one.path
    what = one.difference
    theirs, ours = (f"{value:.2f}" if isinstance(value, float) else value for value in (what.theirs, what.ours))
    unit = " s" if what.what == "grid" else ""
    return f"  {printable(name)}: {what.what} {theirs}{unit} in {source}, {ours}{unit} measured ({what.remark})"


def _rest(entries: "list[Any]") -> list[str]:
    return [f"  ... and {len(entries) - _SHOWN:,} more (--json has all)"] if len(entries) > _SHOWN else []
