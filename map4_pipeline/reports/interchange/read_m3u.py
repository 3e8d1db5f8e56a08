"""Reading M3U and M3U8: paths as players write them, absolute, beside the file, or as `file://` addresses."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from map4_pipeline.reports.interchange.places import path_of_url
from map4_pipeline.reports.interchange.reading import DeckEntry, DeckFileError, number

#: Megabytes of text; a line is 100 bytes.
_LARGEST = 256 << 20
_ABSOLUTE = re.compile(rb"/|\\\\|[A-Za-z]:[\\/]")


@dataclass(frozen=True, slots=True)
class M3u:
    """A playlist: its name where the file tells one, and its entries in order."""

    name: str | None
    entries: list[DeckEntry]


def read_m3u(path: Path) -> M3u:
    """Read a playlist.

    Raises
    ------
    DeckFileError
        When it is no playlist of files.
    OSError
    """
    if path.stat().st_size > _LARGEST:
        raise DeckFileError(f"{path.name} is larger than any playlist.")
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data or data.lstrip()[:1] == b"<":
        raise DeckFileError(f"{path.name} is no M3U playlist: those are lines of text, with a path each.")
    if b"#EXT-X-" in data:
        raise DeckFileError(f"{path.name} is a list of a stream's parts (HLS), not a playlist of files.")
    name: str | None = None
    entries: list[DeckEntry] = []
    said: tuple[str, str] = ("", "")
    for raw in re.split(rb"[\r\n]+", data):
        line = raw.strip(b" \t")
        if line.startswith(b"#EXTINF:"):
            seconds, _, shown = line[8:].decode("utf-8", "replace").partition(",")
            said = (seconds.split(" ")[0], shown)
        elif line.startswith(b"#PLAYLIST:"):
            name = line[10:].decode("utf-8", "replace").strip() or None
        elif line and not line.startswith(b"#"):
            entries.append(_entry(line, *said, path.parent))
            said = ("", "")
    return M3u(name, entries)


def _entry(line: bytes, seconds: str, shown: str, folder: Path) -> DeckEntry:
    length = number(seconds)
    artist, mark, title = shown.partition(" - ")
    place = path_of_url(line.decode("utf-8", "replace")) if line[:7].lower() == b"file://" else line
    place = place or line
    # The percent form of line ends is what MAP4 writes, which this format has no place for.
    place = place.replace(b"%0A", b"\n").replace(b"%0D", b"\r")
    if b"://" not in place[:12] and not _ABSOLUTE.match(place):
        place = os.path.normpath(os.fsencode(folder.absolute()) + b"/" + place.replace(b"\\", b"/"))
    return DeckEntry(
        location=place,
        duration=length if length and length > 0 else None,
        title=(title if mark else shown) or None,
        artist=artist if mark and title else None,
    )
