"""Traktor NML, version 19 (Traktor Pro 3), by what Traktor itself writes; there is no published description.

What a DJ has made in Traktor and MAP4 has read is written again as it was; MAP4 adds what is missing.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from map4_pipeline.hamms.camelot import parse_key, split_key, to_open_key
from map4_pipeline.reports.atomic import Stopwatch, replacing
from map4_pipeline.reports.interchange.deck import Cue, DeckPlaylist, DeckTrack, GridMark, written_key, xml_tag
from map4_pipeline.reports.interchange.places import traktor_place
from map4_pipeline.reports.model import ReportFile

#: CUE_V2's TYPE.
CUE_TYPES = {"cue": 0, "fade-in": 1, "fade-out": 2, "load": 3, "grid": 4, "loop": 5}
#: INFO's RANKING for a star.
STAR = 51
_NAMESPACE = uuid.UUID("6d617034-0000-4000-8000-747261636b73")


def write_traktor(
    tracks: Iterable[DeckTrack],
    path: Path,
    *,
    count: int,
    playlists: Sequence[DeckPlaylist] = (),
    notation: str = "open",
) -> ReportFile:
    """Write a collection that Traktor imports (Import Another Collection, or a playlist's Import).

    Parameters
    ----------
    tracks : iterable of DeckTrack
        Streamed; the places of those in playlists are kept in memory.
    count : int
        How many there are; the file begins with it.
    playlists : sequence of DeckPlaylist
        Of ids of these tracks.
    notation : {"musical", "camelot", "open"}
        Of the key as text; Traktor has a number of its own beside it.

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """
    watch = Stopwatch()
    wanted = {track_id for playlist in playlists for track_id in _tracks_of(playlist)}
    places: dict[int, str] = {}
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write('<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n<NML VERSION="19">')
        file.write('<HEAD COMPANY="www.native-instruments.com" PROGRAM="Traktor"></HEAD>\n')
        file.write("<MUSICFOLDERS></MUSICFOLDERS>\n")
        file.write(xml_tag("COLLECTION", {"ENTRIES": count}, closed=False) + "\n")
        for track in tracks:
            _write_entry(file, track, notation)
            if track.id in wanted:
                places[track.id] = "".join(traktor_place(track.path))
        file.write('</COLLECTION>\n<SETS ENTRIES="0"></SETS>\n<PLAYLISTS>')
        _write_node(file, DeckPlaylist("$ROOT", children=playlists), places, "$ROOT")
        file.write("</PLAYLISTS>\n</NML>\n")
    return watch.report(path, "nml")


def key_number(key: str | None) -> int | None:
    """Return MUSICAL_KEY's VALUE: 0 to 11 for C major to B major, 12 to 23 for C minor to B minor."""
    known = parse_key(key)
    if known is None:
        return None
    tonic, is_minor = split_key(known)
    return tonic + (12 if is_minor else 0)


def _write_entry(file: IO[str], track: DeckTrack, notation: str) -> None:
    kept: Mapping[str, Any] = track.kept
    volume, folder, name = traktor_place(track.path)
    elements: dict[str, dict[str, object | None]] = {
        "LOCATION": {"DIR": folder, "FILE": name, "VOLUME": volume, "VOLUMEID": volume},
        "ALBUM": {"TRACK": track.track_number, "TITLE": track.album},
        "INFO": _info(track, notation),
        "TEMPO": {"BPM": None if track.bpm is None else f"{track.bpm:.6f}", "BPM_QUALITY": "100.000000" if track.bpm else None},
        "LOUDNESS": _loudness(track),
        "MUSICAL_KEY": {"VALUE": key_number(track.key)},
    }
    children: list[tuple[str, Mapping[str, Any]]] = list(kept.get("children", ()))
    for child, values in children:
        if child in elements and (child != "LOCATION" or _is_there(values, elements[child])):
            measured = elements[child]
            measured |= {name: value for name, value in values.items() if value != "" or measured.get(name) is None}
    attributes: dict[str, object | None] = {"TITLE": track.title or name, "ARTIST": track.artist}
    had = dict(kept.get("attributes", {}))
    attributes |= {name: value for name, value in had.items() if value != "" or attributes.get(name) is None}
    file.write(xml_tag("ENTRY", attributes, closed=False))
    for child, values in elements.items():
        if any(value is not None for value in values.values()):
            _write_child(file, child, values)
    for child, values in children:
        if child not in elements:
            _write_child(file, child, values)
    marks = [str(values.get("TYPE")) == str(CUE_TYPES["grid"]) for child, values in children if child == "CUE_V2"]
    for mark in () if any(marks) else track.grid:
        _write_child(file, "CUE_V2", _grid(mark))
    for place, cue in enumerate(() if not all(marks) else track.cues):
        _write_child(file, "CUE_V2", _cue(cue, place))
    file.write("</ENTRY>\n")


def _is_there(kept: Mapping[str, Any], written: Mapping[str, Any]) -> bool:
    """Return whether Traktor's own place of a file is still the one; then the volume keeps its number."""
    return all(kept.get(part) == written[part] for part in ("VOLUME", "DIR", "FILE"))


def _write_child(file: IO[str], name: str, values: Mapping[str, Any]) -> None:
    """Write an element; values that are mappings, or lists of them, are elements in it."""
    file.write(_child(name, values) + "\n")


def _child(name: str, values: Mapping[str, Any]) -> str:
    inner, plain = "", {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner += _child(key, value)
        elif isinstance(value, list):
            inner += "".join(_child(key, one) for one in value)
        else:
            plain[key] = value
    return f"{xml_tag(name, plain, closed=False)}{inner}</{name}>"


def _info(track: DeckTrack, notation: str) -> dict[str, object | None]:
    return {
        "BITRATE": track.bit_rate,
        "GENRE": track.genre,
        "COMMENT": track.comment,
        "KEY": written_key(track.key, notation) if notation != "open" else to_open_key(parse_key(track.key)),
        "PLAYCOUNT": track.play_count,
        "PLAYTIME": None if track.duration is None else round(track.duration),
        "PLAYTIME_FLOAT": None if track.duration is None else f"{track.duration:.6f}",
        "RANKING": None if track.rating is None else track.rating * STAR,
        "IMPORT_DATE": None if track.added_on is None else "/".join(str(int(part)) for part in track.added_on.split("-")),
        "RELEASE_DATE": None if track.year is None else f"{track.year}/1/1",
        "FILESIZE": None if track.size_bytes is None else round(track.size_bytes / 1024),
    }


def _loudness(track: DeckTrack) -> dict[str, object | None]:
    """Return gains in dB. Traktor's own reference is not published; -14 LUFS is what its autogain comes out at."""
    if track.loudness_lufs is None:
        return {}
    peak = None if track.true_peak_dbtp is None else f"{track.true_peak_dbtp:.6f}"
    gain = f"{-14.0 - track.loudness_lufs:.6f}"
    return {"PEAK_DB": peak, "PERCEIVED_DB": gain, "ANALYZED_DB": gain}


def _grid(mark: GridMark) -> dict[str, Any]:
    return _mark("AutoGrid", 4, mark.start, 0.0, -1, 0) | {"GRID": {"BPM": f"{mark.bpm:.6f}"}}


def _cue(cue: Cue, place: int) -> dict[str, Any]:
    length = 0.0 if cue.end is None else cue.end - cue.start
    number = -1 if cue.number is None else cue.number
    return _mark(cue.name or "n.n.", CUE_TYPES[cue.kind], cue.start, length, number, place)


def _mark(name: str, kind: int, start: float, length: float, number: int, order: int) -> dict[str, Any]:
    return {
        "NAME": name,
        "DISPL_ORDER": order,
        "TYPE": kind,
        "START": f"{start * 1000:.6f}",
        "LEN": f"{length * 1000:.6f}",
        "REPEATS": -1,
        "HOTCUE": number,
    }


def _tracks_of(node: DeckPlaylist) -> list[int]:
    inner = [track_id for child in node.children or () for track_id in _tracks_of(child)]
    return [*node.tracks, *inner]


def _write_node(file: IO[str], node: DeckPlaylist, places: Mapping[int, str], trail: str) -> None:
    if node.children is not None:
        file.write(xml_tag("NODE", {"TYPE": "FOLDER", "NAME": node.name}, closed=False))
        file.write(xml_tag("SUBNODES", {"COUNT": len(node.children)}, closed=False) + "\n")
        for place, child in enumerate(node.children):
            _write_node(file, child, places, f"{trail}/{place}:{child.name}")
        file.write("</SUBNODES>\n</NODE>\n")
        return
    found = [places[track_id] for track_id in node.tracks if track_id in places]
    file.write(xml_tag("NODE", {"TYPE": "PLAYLIST", "NAME": node.name}, closed=False))
    # The same playlist has the same number in every export, so that Traktor brings it up to date.
    number = node.uuid or uuid.uuid5(_NAMESPACE, trail).hex
    file.write(xml_tag("PLAYLIST", {"ENTRIES": len(found), "TYPE": "LIST", "UUID": number}, closed=False) + "\n")
    for key in found:
        file.write(f"<ENTRY>{xml_tag('PRIMARYKEY', {'TYPE': 'TRACK', 'KEY': key}, closed=False)}</PRIMARYKEY>\n</ENTRY>\n")
    file.write("</PLAYLIST>\n</NODE>\n")
