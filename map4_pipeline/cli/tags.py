"""`map4 tags`: what was measured into the files' tags, on request only, and back again."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from map4_pipeline.cli.tag_lines import TagLine, TagReport, fail, path_text, tag_change

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from map4_pipeline.library.tag_plan import Measured, Wish
    from map4_pipeline.library.tag_undo import UndoFile
    from map4_pipeline.settings import Settings
    from map4_pipeline.store.query import Query
    from map4_pipeline.store.tagging import TrackToTag

_WRITE_HELP = """Write BPM, key, energy and ReplayGain into the tags of the tracks that a query of `map4 search` finds.

\b
  map4 tags write genre:house                      what would change; nothing is written
  map4 tags write genre:house --yes                write it
  map4 tags write --fields key --key-notation camelot --only-empty --yes

Files are replaced in one piece and only when their audio stays the same to the last bit; all other tags stay as they are. What
the tags were goes into MAP4_HOME/undo first: `map4 tags undo FILE` puts it back.
"""


@click.group()
def tags() -> None:
    """Write what was measured into the files' tags, put back what was there, show what files say."""


@tags.command(help=_WRITE_HELP)
@click.argument("words", nargs=-1)
@click.option("--yes", is_flag=True, help="Write. Without it only what would change is shown.")
@click.option("--fields", default="bpm,key,energy,replaygain", show_default=True, help="Which ones, with commas between.")
@click.option(
    "--key-notation", "notation", type=click.Choice(["musical", "camelot", "open"]), default="musical", help="Am, 8A or 1m."
)
@click.option("--only-empty", is_flag=True, help="Leave fields that have a value, whatever it is.")
@click.option(
    "--min-confidence", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Leave out BPM and keys less sure."
)
@click.option("--bpm-decimals", type=click.IntRange(0, 2), help="Default: 0 in ID3 and MP4, 2 elsewhere.")
@click.option("--no-refresh", is_flag=True, help="Leave it to the next `map4 ingest` to read the files' new tags.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file, and one about all at the end.")
def write(
    words: tuple[str, ...],
    yes: bool,
    fields: str,
    notation: str,
    only_empty: bool,
    min_confidence: float,
    bpm_decimals: int | None,
    no_refresh: bool,
    as_json: bool,
) -> None:
    """Write tags."""
    from map4_pipeline.library.tag_plan import FIELDS, Wish
    from map4_pipeline.library.tag_undo import UndoFile
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.query import QueryError, parse_query

    chosen = [name.strip() for name in fields.split(",") if name.strip()]
    if unknown := [name for name in chosen if name not in FIELDS]:
        raise click.UsageError(f"There is no field {unknown[0]!r}. Fields: {', '.join(FIELDS)}.")
    try:
        query = parse_query(" ".join(words))
    except QueryError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    configured = settings()
    engine = open_database(configured)
    report = TagReport("write", as_json)
    try:
        with UndoFile(configured.home / "undo") as undo:
            try:
                job = _Job(
                    configured, engine, Wish(chosen, notation, bpm_decimals, only_empty), min_confidence, undo if yes else None
                )
                for line in job.lines(query):
                    report.line(line)
            finally:
                report.undo_file = undo.path
        if not no_refresh:
            _refresh(configured, engine, report)
    finally:
        engine.dispose()
        report.end()
    sys.exit(report.exit_code)


@tags.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--no-refresh", is_flag=True, help="Leave it to the next `map4 ingest` to read the files' new tags.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file, and one about all at the end.")
def undo(file: Path, no_refresh: bool, as_json: bool) -> None:
    """Put back the tags that files had before `map4 tags write`, by its undo FILE (a path, or its name in MAP4_HOME/undo).

    A file whose tags were changed since is left as it is and named. What is put back is written down as well, so an undo can
    be undone.
    """
    from map4_pipeline.library.tag_files import TagRefusedError
    from map4_pipeline.library.tag_undo import UndoFile, read_undo, restore
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database

    configured = settings()
    place = file if file.is_file() or file.parent != Path() else configured.home / "undo" / file
    if not place.is_file():
        raise click.UsageError(f"There is no undo file {path_text(file)}. They are in {path_text(configured.home / 'undo')}.")
    report = TagReport("undo", as_json)
    engine = open_database(configured)
    try:
        with UndoFile(configured.home / "undo") as notes:
            try:
                for record in read_undo(place):
                    line = TagLine(record.track_id, record.done.path)
                    try:
                        if restore(record, notes):
                            line.status = "written"
                            changed = record.done.before
                            line.changes = [tag_change("", name, record.done.after[name], changed[name]) for name in changed]
                    except TagRefusedError as error:
                        line.status, line.reason = "refused", str(error)
                    except OSError as error:
                        fail(line, error)
                    report.line(line)
            finally:
                report.undo_file = notes.path
        if not no_refresh:
            _refresh(configured, engine, report)
    finally:
        engine.dispose()
        report.end()
    sys.exit(report.exit_code)


@tags.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file.")
def show(files: tuple[Path, ...], as_json: bool) -> None:
    """Show what FILES say of BPM, key, energy and ReplayGain, by the names in the files. Needs no database."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import printable
    from map4_pipeline.library.filesystem import system_message
    from map4_pipeline.library.tag_plan import tags_of_fields
    from map4_pipeline.library.tag_writer import TagWriteError, read_native

    failed = False
    for file in files:
        try:
            found = tags_of_fields(read_native(os.fsencode(file)))
            reason = None
        except TagWriteError as error:
            found, reason, failed = [], f"Its tags cannot be read: {error}.", True
        except OSError as error:
            found, reason, failed = [], f"The system refused: {system_message(error)}.", True
        if as_json:
            said = [{"field": one, "name": name, "value": value} for one, name, value in found]
            lines.write_json({"path": path_text(file), "tags": said, "reason": reason})
            continue
        click.echo(path_text(file))
        for one, name, value in found:
            click.echo(f"  {one:<10} {printable(name)}: {printable(value)}")
        if not found:
            click.echo(f"  {printable(reason) if reason else 'says nothing of them'}")
    sys.exit(1 if failed else 0)


@dataclass(slots=True)
class _Job:
    """Goes over the tracks of a query, page by page; without an undo file nothing is written."""

    settings: "Settings"
    engine: "Engine"
    wish: "Wish"
    min_confidence: float
    undo: "UndoFile | None"

    def lines(self, query: "Query") -> Iterator[TagLine]:
        from map4_pipeline.store.libraries import all_libraries, local_root
        from map4_pipeline.store.tagging import tracks_to_tag

        with self.engine.connect() as conn:
            roots = {library.id: local_root(library, self.settings.path_map) for library in all_libraries(conn)}
        after = 0
        while True:
            # No transaction stays open while files are written.
            with self.engine.connect() as conn:
                page = tracks_to_tag(conn, query, after)
            for track in page:
                yield self._line(track, roots[track.library_id])
            if not page:
                return
            after = page[-1].id

    def _line(self, track: "TrackToTag", root: bytes) -> TagLine:
        from map4_pipeline.library.tag_files import TagRefusedError, examine, rewrite
        from map4_pipeline.library.tag_plan import blocked, plan
        from map4_pipeline.library.tag_writer import TagWriteError, read_native

        line = TagLine(track.id, os.path.join(root, track.relative_path))
        measured, line.withheld = self._measured(track)
        try:
            found = examine(line.path, size=track.file_size, mtime_ns=track.mtime_ns, root=root)
            native = read_native(line.path)
            planned = plan(native, measured, self.wish)
            line.changes = [tag_change(c.field, c.name, c.old, c.new) for c in planned.changes]
            if not planned.writes:
                return line
            if name := blocked(native, planned.writes):
                raise TagRefusedError(f"Its tag {name} holds data that MAP4 could not put back.")
            line.status = "would_write"
            if (notes := self.undo) is not None:
                rewrite(
                    line.path, found, planned.writes, audio_hash=track.audio_hash, note=lambda done: notes.note(track.id, done)
                )
                line.status = "written"
        except TagRefusedError as error:
            line.status, line.reason = "refused", str(error)
        except TagWriteError as error:
            line.status, line.reason = "refused", f"Its tags cannot be read: {error}."
        except OSError as error:
            fail(line, error)
        return line

    def _measured(self, track: "TrackToTag") -> tuple["Measured", dict[str, str]]:
        """Return what may be written, and why other fields that were asked for may not."""
        from map4_pipeline.library.tag_plan import Measured

        values: dict[str, Any] = {
            "bpm": track.bpm,
            "key": track.key,
            "energy": track.energy,
            "replaygain": track.replaygain_db,
        }
        sure = {"bpm": track.bpm_confidence, "key": track.key_confidence}
        withheld: dict[str, str] = {}
        for name in self.wish.fields:
            if values[name] is None:
                withheld[name] = "not measured"
            elif name in sure and (sure[name] or 0.0) < self.min_confidence:
                withheld[name] = f"doubtful (confidence {sure[name] or 0.0:.2f})"
                values[name] = None
        peak = track.replaygain_peak
        return Measured(values["bpm"], values["key"], values["energy"], values["replaygain"], peak), withheld


def _refresh(configured: "Settings", engine: "Engine", report: TagReport) -> None:
    """Have the library know the files' new tags."""
    from map4_pipeline.ingest.retag import refresh_directories

    refresh_directories(configured, engine, report.written)
