"""`map4 --server URL export`: the server writes the file, and it is downloaded."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from map4_pipeline.cli.export import check_output, deck_options, format_by_ending, poured_out
from map4_pipeline.cli.remote.connection import asking
from map4_pipeline.cli.remote.finding import playlist_number

if TYPE_CHECKING:
    from map4_pipeline.client import Client

#: How often the job is looked at while somebody waits for it.
_LOOK_SECONDS = 0.5


@click.command()
@click.argument("words", nargs=-1)
@click.option(
    "--format", "kind", metavar="NAME", help="csv, json, parquet, xlsx, pdf, ... Default: by the ending of --output, or csv."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file; -: standard output. Default: as the server names it, here.",
)
@click.option("--fields", help="Only these fields, with commas between (csv, json, jsonl, parquet).")
@deck_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object about the file that was written.")
@click.pass_context
def export(
    ctx: click.Context,
    words: tuple[str, ...],
    kind: Any,
    output: Path | None,
    fields: str | None,
    playlist: str | None,
    path_map: tuple[str, ...],
    notation: Any,
    new: bool,
    measured: bool,
    as_json: bool,
) -> None:
    """Let the server export the tracks that a query finds, and download the file."""
    from map4_pipeline.cli import lines
    from map4_pipeline.reports.text import tracks as tracks_text

    kind = kind or ("csv" if output is None else format_by_ending(output))
    poured = check_output(output, kind, as_json)
    with asking(ctx) as client:
        job = client.create_export(
            kind,
            {
                "query": " ".join(words),
                "fields": [name.strip() for name in fields.split(",")] if fields else None,
                "playlist": None if playlist is None else playlist_number(client, playlist),
                "path_map": list(path_map),
                "key_notation": notation,
                "new": new,
                "measured": measured,
            },
        )
        try:
            while job["status"] in ("pending", "running"):
                time.sleep(_LOOK_SECONDS)
                job = client.get_export(job["id"])
        except KeyboardInterrupt:
            client.cancel_export(job["id"])
            raise
        if job["status"] != "completed":
            raise click.UsageError(f"The export {job['status']}: {job['error'] or 'no reason was given'}")
        if poured:
            with poured_out(f"export.{kind}") as place:
                _download(client, job["id"], place)
            click.echo(tracks_text(job["done"]), err=True)
            return
        target = _download(client, job["id"], output)
    if as_json:
        lines.write_json(
            {"path": str(target), "format": job["format"], "tracks": job["done"], "size_bytes": target.stat().st_size}
        )
    else:
        click.echo(f"{target}: {tracks_text(job['done'])}, {target.stat().st_size:,} bytes")


def _download(client: "Client", job_id: str, output: Path | None) -> Path:
    """Fetch an export's file; what was there before stays until the new one is whole."""
    part = Path(f"{output or Path(job_id)}.part")
    try:
        with part.open("wb") as file:
            named = client.get_export_file(job_id, to=file)
        # Only the last part of what the server says: it must not choose a folder here.
        target = output or Path(os.path.basename(named or "") or f"map4-{job_id}")
        part.replace(target)
        return target
    except OSError as error:
        raise click.UsageError(f"{output or part} cannot be written ({error.strerror}).") from None
    finally:
        part.unlink(missing_ok=True)
