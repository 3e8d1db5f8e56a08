"""Reading Traktor NML: collection and playlists, streamed, with everything verbatim."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from map4_pipeline.hamms.camelot import KEYS, parse_key
from map4_pipeline.reports.interchange.deck import Cue
from map4_pipeline.reports.interchange.places import path_of_traktor
from map4_pipeline.reports.interchange.reading import DeckEntry, DeckList, Element, number, read_elements, whole
from map4_pipeline.reports.interchange.traktor import CUE_TYPES, STAR

_ENTRY = ("NML", "COLLECTION", "ENTRY")
_LISTS = ("NML", "PLAYLISTS")
_KINDS = {number: kind for kind, number in CUE_TYPES.items()}
_GRID = CUE_TYPES["grid"]


def read_traktor(path: Path) -> Iterator[DeckEntry | DeckList]:
    """Stream a collection's entries, then its root folder of playlists.

    Smart playlists are passed over: they are a search in Traktor, not a list. So is an entry without a location.

    Raises
    ------
    DeckFileError
        When it is no NML, or not all of it.
    OSError
    """
    for element in read_elements(path, "NML", {_ENTRY, _LISTS}, "Traktor"):
        if element.name == "ENTRY":
            if element.first("LOCATION").get("FILE"):
                yield _entry(element)
        else:
            roots = [node for node in map(_node, element.children) if node is not None]
            children = tuple(child for root in roots for child in root.children or ())
            yield DeckList(name="", children=children, passed_over=_smart(element))


def _entry(element: Element) -> DeckEntry:
    own, info, place = element.attributes, element.first("INFO"), element.first("LOCATION")
    volume, folder, name = (place.get(part, "") for part in ("VOLUME", "DIR", "FILE"))
    marks = [child.attributes for child in element.children if child.name == "CUE_V2"]
    grid = next((mark for mark in marks if whole(mark.get("TYPE")) == _GRID), {})
    start, size = number(grid.get("START")), whole(info.get("FILESIZE"))
    ranking = whole(info.get("RANKING"))
    return DeckEntry(
        location=path_of_traktor(volume, folder, name),
        names=(volume + folder + name,),
        title=own.get("TITLE") or None,
        artist=own.get("ARTIST") or None,
        size_bytes=size * 1024 if size else None,
        size_step=1024,
        duration=number(info.get("PLAYTIME_FLOAT")) or number(info.get("PLAYTIME")) or None,
        bpm=number(element.first("TEMPO").get("BPM")) or None,
        key=_key(element.first("MUSICAL_KEY").get("VALUE")) or parse_key(info.get("KEY")),
        grid_start=None if start is None else start / 1000,
        rating=max(0, min(5, round(ranking / STAR))) if ranking else None,
        play_count=whole(info.get("PLAYCOUNT")) or None,
        comment=info.get("COMMENT") or None,
        cues=tuple(cue for mark in marks if (cue := _cue(mark))),
        attributes=own,
        children=[[child.name, child.verbatim()] for child in element.children],
    )


def _key(text: str | None) -> str | None:
    place = whole(text)
    return KEYS[place] if place is not None and 0 <= place < len(KEYS) else None


def _cue(values: Mapping[str, str]) -> Cue | None:
    kind, start = _KINDS.get(whole(values.get("TYPE")) or 0), number(values.get("START"))
    if kind is None or kind == "grid" or start is None:
        return None
    length, hot, name = number(values.get("LEN")), whole(values.get("HOTCUE")), values.get("NAME", "")
    end = (start + length) / 1000 if length else None
    # "n.n." is what Traktor writes where there is no name.
    return Cue(kind, start / 1000, end, hot if hot is not None and hot >= 0 else None, "" if name == "n.n." else name)


def _smart(element: Element) -> int:
    return (element.attributes.get("TYPE") == "SMARTLIST") + sum(_smart(child) for child in element.children)


def _node(element: Element) -> DeckList | None:
    name, kind = element.attributes.get("NAME", ""), element.attributes.get("TYPE")
    if kind == "FOLDER":
        inside = [_node(child) for nodes in element.children if nodes.name == "SUBNODES" for child in nodes.children]
        return DeckList(name=name, children=tuple(node for node in inside if node is not None))
    if kind != "PLAYLIST":
        return None
    lists = [child for child in element.children if child.name == "PLAYLIST"]
    names = tuple(
        entry.first("PRIMARYKEY").get("KEY", "") for found in lists for entry in found.children if entry.name == "ENTRY"
    )
    return DeckList(name=name, names=names, uuid=element.first("PLAYLIST").get("UUID") or None)
