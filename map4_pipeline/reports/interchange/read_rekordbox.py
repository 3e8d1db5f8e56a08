"""Reading rekordbox XML (DJ_PLAYLISTS): collection and playlists, streamed, with everything verbatim."""

from collections.abc import Iterator
from pathlib import Path

from map4_pipeline.hamms.camelot import parse_key
from map4_pipeline.reports.interchange.deck import Cue
from map4_pipeline.reports.interchange.places import path_of_url
from map4_pipeline.reports.interchange.reading import DeckEntry, DeckFileError, DeckList, Element, number, read_elements, whole
from map4_pipeline.reports.interchange.rekordbox import CUE_TYPES, RATINGS

_TRACK = ("DJ_PLAYLISTS", "COLLECTION", "TRACK")
_LISTS = ("DJ_PLAYLISTS", "PLAYLISTS")
_KINDS = {number: kind for kind, number in CUE_TYPES.items()}


def read_rekordbox(path: Path) -> Iterator[DeckEntry | DeckList]:
    """Stream a collection's entries, then its root folder of playlists.

    An entry without a location is passed over: nothing could be known of its file.

    Raises
    ------
    DeckFileError
        When it is no rekordbox XML, or not all of it.
    OSError
    """
    for element in read_elements(path, "DJ_PLAYLISTS", {_TRACK, _LISTS}, "rekordbox"):
        if element.name == "TRACK":
            if element.attributes.get("Location"):
                yield _entry(element)
        else:
            yield DeckList(name="", children=tuple(_node(node) for root in element.children for node in root.children))


def _entry(element: Element) -> DeckEntry:
    own = element.attributes
    url = own["Location"]
    tempi = [child.attributes for child in element.children if child.name == "TEMPO"]
    rating = whole(own.get("Rating"))
    return DeckEntry(
        # Streamed tracks have addresses that are no paths; they are kept as they are.
        location=path_of_url(url) or url.encode(),
        names=(own.get("TrackID", ""), url),
        title=own.get("Name") or None,
        artist=own.get("Artist") or None,
        size_bytes=whole(own.get("Size")) or None,
        duration=number(own.get("TotalTime")) or None,
        bpm=number(own.get("AverageBpm")) or None,
        key=parse_key(own.get("Tonality")),
        grid_start=number(tempi[0].get("Inizio")) if tempi else None,
        # 0 is also what a track has that was never rated.
        rating=min(range(6), key=lambda stars: abs(RATINGS[stars] - rating)) if rating else None,
        play_count=whole(own.get("PlayCount")) or None,
        comment=own.get("Comments") or None,
        cues=tuple(cue for child in element.children if child.name == "POSITION_MARK" if (cue := _cue(child.attributes))),
        attributes=own,
        children=[[child.name, child.verbatim()] for child in element.children],
    )


def _cue(values: dict[str, str]) -> Cue | None:
    kind, start = _KINDS.get(whole(values.get("Type")) or 0), number(values.get("Start"))
    if kind is None or start is None:
        return None
    hot = whole(values.get("Num"))
    red, green, blue = (whole(values.get(name)) for name in ("Red", "Green", "Blue"))
    color = None if red is None or green is None or blue is None else (red, green, blue)
    return Cue(
        kind, start, number(values.get("End")), hot if hot is not None and hot >= 0 else None, values.get("Name", ""), color
    )


def _node(element: Element) -> DeckList:
    name = element.attributes.get("Name", "")
    if element.attributes.get("Type") == "0":
        return DeckList(name=name, children=tuple(_node(child) for child in element.children if child.name == "NODE"))
    if element.attributes.get("Type") != "1":
        raise DeckFileError(f"The playlist {name!r} is of a kind that is not known: Type={element.attributes.get('Type')!r}.")
    # KeyType says whether tracks are named by number or by location; both are an entry's names.
    return DeckList(
        name=name, names=tuple(child.attributes.get("Key", "") for child in element.children if child.name == "TRACK")
    )
