"""A track as DJ programs know it: tags, grid, cues, and a place in playlists. Plain values for writers and from readers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from map4_pipeline.hamms.camelot import parse_key, to_camelot, to_open_key

#: Notations of a key that a user may choose.
NOTATIONS = ("musical", "camelot", "open")


@dataclass(frozen=True, slots=True)
class GridMark:
    """From where on beats are evenly spaced.

    Attributes
    ----------
    start : float
        Seconds, of a beat.
    bpm : float
    beats_per_bar : int
    beat : int
        Which beat of the bar stands there, from 1.
    """

    start: float
    bpm: float
    beats_per_bar: int = 4
    beat: int = 1


@dataclass(frozen=True, slots=True)
class Cue:
    """A mark that a DJ has set.

    Attributes
    ----------
    kind : str
        "cue", "fade-in", "fade-out", "load", "grid" or "loop".
    start : float
        Seconds.
    end : float or None
        Of a loop, seconds.
    number : int or None
        Of a hot cue, from 0; None: a memory cue.
    name : str
    color : tuple of int or None
        Red, green, blue.
    """

    kind: str
    start: float
    end: float | None = None
    number: int | None = None
    name: str = ""
    color: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeckTrack:
    """A track as DJ programs know it.

    Attributes
    ----------
    id : int
    path : bytes
        Absolute, where the other program finds the file.
    duration : float or None
        Seconds.
    bit_rate : int or None
        bit/s.
    key : str or None
        "A minor".
    grid : sequence of GridMark
    rating : int or None
        Stars, 0 to 5.
    kept : mapping
        {"attributes": ..., "children": ...} as another program wrote them, for what MAP4 has no place for.
    """

    id: int
    path: bytes
    title: str | None = None
    artist: str | None = None
    album: str | None = None
    genre: str | None = None
    composer: str | None = None
    year: int | None = None
    track_number: int | None = None
    disc_number: int | None = None
    duration: float | None = None
    bit_rate: int | None = None
    sample_rate: int | None = None
    size_bytes: int | None = None
    codec: str | None = None
    bpm: float | None = None
    key: str | None = None
    energy: float | None = None
    loudness_lufs: float | None = None
    true_peak_dbtp: float | None = None
    added_on: str | None = None
    grid: Sequence[GridMark] = ()
    cues: Sequence[Cue] = ()
    rating: int | None = None
    play_count: int | None = None
    comment: str | None = None
    kept: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeckPlaylist:
    """A playlist, or a folder of playlists.

    Attributes
    ----------
    name : str
    tracks : sequence of int
        Ids of `DeckTrack`, in order.
    children : sequence of DeckPlaylist or None
        None for a playlist.
    uuid : str or None
        The program's own number of it.
    """

    name: str
    tracks: Sequence[int] = ()
    children: "Sequence[DeckPlaylist] | None" = None
    uuid: str | None = None


def written_key(key: str | None, notation: str = "musical") -> str | None:
    """Return a key in a notation: "Am" and "F#" (musical), "8A" (camelot), "1m" (open)."""
    known = parse_key(key)
    if known is None:
        return None
    if notation == "camelot":
        return to_camelot(known)
    if notation == "open":
        return to_open_key(known)
    tonic, _, mode = known.partition(" ")
    return f"{tonic}m" if mode == "minor" else tonic


#: Characters that XML 1.0 has no place for.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def xml_text(value: object) -> str:
    """Return a value as it stands in an attribute."""
    text = _NOT_XML.sub("\ufffd", str(value))
    return re.sub('[&<>"\t\n\r]', lambda match: _ESCAPES[match.group()], text)


def xml_tag(name: str, attributes: Mapping[str, object | None], *, closed: bool = True) -> str:
    """Return an element's tag; attributes that are None are left out."""
    pairs = "".join(f' {key}="{xml_text(value)}"' for key, value in attributes.items() if value is not None)
    return f"<{name}{pairs}{'/' if closed else ''}>"
