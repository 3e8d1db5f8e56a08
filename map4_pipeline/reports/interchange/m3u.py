"""M3U8: a list of files that every player reads (UTF-8, extended)."""

import re
from collections.abc import Iterable
from pathlib import Path

from map4_pipeline.reports.atomic import Stopwatch, replacing
from map4_pipeline.reports.interchange.deck import DeckTrack
from map4_pipeline.reports.model import ReportFile

_LINE_ENDS = re.compile("[\r\n\x00]+")


def write_m3u8(tracks: Iterable[DeckTrack], path: Path, *, name: str | None = None) -> ReportFile:
    """Write a playlist in the order of the tracks.

    Parameters
    ----------
    name : str, optional
        Of the playlist, for players that show it.

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """
    watch = Stopwatch()
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(b"#EXTM3U\n")
        if name:
            file.write(f"#PLAYLIST:{_one_line(name)}\n".encode("utf-8", "replace"))
        for track in tracks:
            seconds = -1 if track.duration is None else round(track.duration)
            title = track.title or track.path.rpartition(b"/")[2].decode("utf-8", "replace")
            shown = f"{track.artist} - {title}" if track.artist else title
            file.write(f"#EXTINF:{seconds},{_one_line(shown)}\n".encode("utf-8", "replace"))
            # A name with a line end in it cannot be written in this format; the percent form is read by some players.
            file.write(track.path.replace(b"\n", b"%0A").replace(b"\r", b"%0D") + b"\n")
    return watch.report(path, "m3u8")


def _one_line(text: str) -> str:
    return _LINE_ENDS.sub(" ", text)
