"""`map4 estimate`: what a first ingest of folders would take, measured on some of their files; nothing is written."""

import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import click

#: Files that are analysed to measure the pace, spread evenly over the folders.
_SAMPLES = 12
#: With indexes and dead rows, 20,000 tracks of 4 minutes took 22.3 kB each, events 17 kB a directory (make bench, "size"); an
#: empty server with its log takes 100 MB.
_BYTES_PER_TRACK, _BYTES_PER_DIRECTORY, _BASE_BYTES = 22_500, 17_000, 100_000_000
#: What a run costs beside the workers' own time, as a share of it, and starting up (make bench, "orchestration").
_OVERHEAD, _START_SECONDS = 0.11, 8.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an ingest would take.

    Attributes
    ----------
    seconds_low, seconds, seconds_high : float
        Mean of the samples with its standard error twice over either way.
    database_bytes : int
        What PostgreSQL would hold.
    free_bytes : int
        Free where MAP4_HOME lies.
    """

    files: int
    directories: int
    audio_bytes: int
    sampled: int
    seconds_per_file: float
    workers: int
    seconds_low: float
    seconds: float
    seconds_high: float
    database_bytes: int
    free_bytes: int


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def estimate(folders: tuple[Path, ...], as_json: bool) -> None:
    """Say how long a first ingest of FOLDERS would take and how large the database would become.

    A dozen files are analysed to measure the pace on this machine and disk; nothing is written.
    """
    from map4_pipeline.cli import lines
    from map4_pipeline.settings import settings

    found = measure(folders, settings().workers, settings().home)
    if found is None:
        click.echo("There is no audio file in what was given.", err=True)
        sys.exit(1)
    if as_json:
        lines.write_json(asdict(found))
        return
    click.echo(f"Files       {found.files:,} in {found.directories:,} folders, {size_text(found.audio_bytes)}")
    pace = f"{found.seconds_per_file:.2f} s a file ({found.sampled} measured), {found.workers} at a time"
    click.echo(f"Pace        {pace}")
    click.echo(f"Time        {time_text(found.seconds)} ({time_text(found.seconds_low)} to {time_text(found.seconds_high)})")
    click.echo(f"Database    {size_text(found.database_bytes)}; free: {size_text(found.free_bytes)}")
    if found.database_bytes > found.free_bytes:
        click.echo("There is too little room: set MAP4_HOME to a larger disk, or DATABASE_URL to another server.", err=True)
        sys.exit(1)


def measure(folders: tuple[Path, ...], workers: int, home: Path) -> Estimate | None:
    """Walk the folders and analyse some of their files; None when there is no audio in them."""
    from statistics import fmean, stdev
    from time import perf_counter

    from map4_pipeline.cli.records import analyse_path
    from map4_pipeline.library.walk import walk

    files: list[tuple[bytes, int]] = []
    directories = 0
    for folder in folders:
        root = os.fsencode(folder)
        for listing in walk(root):
            directories += bool(listing.files)
            here = os.path.join(root, listing.relative_path) if listing.relative_path else root
            files += [(os.path.join(here, file.name), file.stat.size) for file in listing.files]
    if not files:
        return None
    count = min(_SAMPLES, len(files))
    chosen = [files[(2 * number + 1) * len(files) // (2 * count)] for number in range(count)]
    seconds = []
    for path, _ in chosen:
        begun = perf_counter()
        analyse_path(path)
        seconds.append(perf_counter() - begun)
    if len(seconds) > 1:  # the first one pays for what has to be loaded
        seconds[0] = min(seconds[0], fmean(seconds[1:]))
    mean = fmean(seconds)
    doubt = 2 * stdev(seconds) / len(seconds) ** 0.5 if len(seconds) > 1 else mean
    scale = len(files) / workers * (1 + _OVERHEAD)
    place = home
    while not place.exists():
        place = place.parent
    return Estimate(
        files=len(files),
        directories=directories,
        audio_bytes=sum(size for _, size in files),
        sampled=count,
        seconds_per_file=round(mean, 4),
        workers=workers,
        seconds_low=round(_START_SECONDS + max(0.2 * mean, mean - doubt) * scale, 1),
        seconds=round(_START_SECONDS + mean * scale, 1),
        seconds_high=round(_START_SECONDS + (mean + doubt) * scale, 1),
        database_bytes=_BASE_BYTES + len(files) * _BYTES_PER_TRACK + directories * _BYTES_PER_DIRECTORY,
        free_bytes=shutil.disk_usage(place).free,
    )


def time_text(seconds: float) -> str:
    """Return a duration as people say it: "40 s", "12 min", "3.5 h", "2.1 days"."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            value = seconds / unit
            return f"{value:.0f} {name}" if unit < 3600 else f"{value:.1f} {name}"
    return f"{seconds / 86400:.1f} days"


def size_text(size: float) -> str:
    """Return a size in decimal units: "12.3 GB"."""
    for name in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {name}" if name == "B" else f"{size:.1f} {name}"
        size /= 1000
    return f"{size:.1f} TB"
