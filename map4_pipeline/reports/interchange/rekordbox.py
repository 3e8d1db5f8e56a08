"""rekordbox XML (DJ_PLAYLISTS 1.0.0), as AlphaTheta's "Developer document: rekordbox xml format list" describes it.

What a DJ has made in rekordbox and MAP4 has read is written again as it was; MAP4 adds what is missing.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from map4_pipeline import __version__
from map4_pipeline.reports.atomic import Stopwatch, replacing
from map4_pipeline.reports.interchange.deck import Cue, DeckPlaylist, DeckTrack, GridMark, written_key, xml_tag
from map4_pipeline.reports.interchange.places import file_url, path_of_url
from map4_pipeline.reports.model import ReportFile

_KINDS = {
    "mp3": "MP3 File",
    "flac": "FLAC File",
    "aac": "M4A File",
    "alac": "ALAC File",
    "vorbis": "OGG File",
    "opus": "OPUS File",
    "wmav2": "WMA File",
}
#: POSITION_MARK's Type.
CUE_TYPES = {"cue": 0, "fade-in": 1, "fade-out": 2, "load": 3, "loop": 4}
#: Rating's values for 0 to 5 stars.
RATINGS = (0, 51, 102, 153, 204, 255)


def write_rekordbox(
    tracks: Iterable[DeckTrack],
    path: Path,
    *,
    count: int,
    playlists: Sequence[DeckPlaylist] = (),
    notation: str = "musical",
) -> ReportFile:
    """Write a collection that rekordbox imports (Preferences, Advanced, rekordbox xml).

    Parameters
    ----------
    tracks : iterable of DeckTrack
        Streamed.
    count : int
        How many there are; the file begins with it.
    playlists : sequence of DeckPlaylist
        Of ids of these tracks.
    notation : {"musical", "camelot", "open"}
        Of keys.

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """
    watch = Stopwatch()
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n<DJ_PLAYLISTS Version="1.0.0">\n')
        file.write("  " + xml_tag("PRODUCT", {"Name": "MAP4", "Version": __version__, "Company": "MAP4"}) + "\n")
        file.write("  " + xml_tag("COLLECTION", {"Entries": count}, closed=False) + "\n")
        for track in tracks:
            _write_track(file, track, notation)
        file.write("  </COLLECTION>\n  <PLAYLISTS>\n")
        _write_node(file, DeckPlaylist("ROOT", children=playlists), 4)
        file.write("  </PLAYLISTS>\n</DJ_PLAYLISTS>\n")
    return watch.report(path, "xml")


def _write_track(file: IO[str], track: DeckTrack, notation: str) -> None:
    kept: Mapping[str, Any] = track.kept
    attributes: dict[str, object | None] = {"TrackID": track.id, **_attributes(track, notation)}
    # What the DJ has in rekordbox stays; the number and the place are those of this file.
    had = dict(kept.get("attributes", {}))
    own = {name: value for name, value in had.items() if value != "" or attributes.get(name) is None}
    attributes |= own | {"TrackID": track.id, "Location": _location(track.path, had.get("Location"))}
    children: list[str] = [xml_tag(name, values) for name, values in kept.get("children", ())]
    if not any(child.startswith("<TEMPO") for child in children):
        children = [xml_tag("TEMPO", _tempo(mark)) for mark in track.grid] + children
    if not any(child.startswith("<POSITION_MARK") for child in children):
        children += [xml_tag("POSITION_MARK", _position(cue)) for cue in track.cues if cue.kind in CUE_TYPES]
    file.write("    " + xml_tag("TRACK", attributes, closed=not children) + "\n")
    for child in children:
        file.write(f"      {child}\n")
    if children:
        file.write("    </TRACK>\n")


def _location(path: bytes, had: str | None) -> str:
    """Return where a file is; as rekordbox wrote it, while it is there (streamed tracks have addresses that are no paths)."""
    return had if had and (path_of_url(had) or had.encode()) == path else file_url(path)


def _attributes(track: DeckTrack, notation: str) -> dict[str, object | None]:
    return {
        "Name": track.title or track.path.rpartition(b"/")[2].decode("utf-8", "replace"),
        "Artist": track.artist or "",
        "Composer": track.composer or "",
        "Album": track.album or "",
        "Genre": track.genre or "",
        "Kind": _KINDS.get(track.codec or "", _kind_of(track)),
        "Size": track.size_bytes,
        "TotalTime": None if track.duration is None else round(track.duration),
        "DiscNumber": track.disc_number or 0,
        "TrackNumber": track.track_number or 0,
        "Year": track.year or 0,
        "AverageBpm": None if track.bpm is None else f"{track.bpm:.2f}",
        "DateAdded": track.added_on,
        "BitRate": None if track.bit_rate is None else round(track.bit_rate / 1000),
        "SampleRate": track.sample_rate,
        "Comments": track.comment or "",
        "PlayCount": track.play_count or 0,
        "Rating": RATINGS[max(0, min(5, track.rating or 0))],
        "Tonality": written_key(track.key, notation) or "",
    }


def _kind_of(track: DeckTrack) -> str:
    ending = track.path.rpartition(b".")[2].decode("ascii", "replace").upper()
    return f"{ {'AIF': 'AIFF', 'WAVE': 'WAV'}.get(ending, ending) } File"


def _tempo(mark: GridMark) -> dict[str, object | None]:
    metre = f"{mark.beats_per_bar}/4"
    return {"Inizio": f"{mark.start:.3f}", "Bpm": f"{mark.bpm:.2f}", "Metro": metre, "Battito": mark.beat}


def _position(cue: Cue) -> dict[str, object | None]:
    red, green, blue = cue.color or (None, None, None)
    return {
        "Name": cue.name,
        "Type": CUE_TYPES[cue.kind],
        "Start": f"{cue.start:.3f}",
        "End": None if cue.end is None else f"{cue.end:.3f}",
        "Num": -1 if cue.number is None else cue.number,
        "Red": red,
        "Green": green,
        "Blue": blue,
    }


def _write_node(file: IO[str], node: DeckPlaylist, indent: int) -> None:
    space = " " * indent
    if node.children is None:
        attributes = {"Name": node.name, "Type": 1, "KeyType": 0, "Entries": len(node.tracks)}
        file.write(space + xml_tag("NODE", attributes, closed=False) + "\n")
        for track_id in node.tracks:
            file.write(f"{space}  {xml_tag('TRACK', {'Key': track_id})}\n")
    else:
        file.write(space + xml_tag("NODE", {"Type": 0, "Name": node.name, "Count": len(node.children)}, closed=False) + "\n")
        for child in node.children:
            _write_node(file, child, indent + 2)
    file.write(space + "</NODE>\n")
