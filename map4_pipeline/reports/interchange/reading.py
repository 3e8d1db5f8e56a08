"""Reading other programs' files: XML in a stream, and what an entry of a collection is. Plain values.

Files come from anywhere, so nothing in them is obeyed: a document type declaration (and with it every entity) is refused, no
address is followed, and elements are not nested deeper than any program nests them.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from map4_pipeline.reports.interchange.deck import Cue

_CHUNK = 1 << 16
#: Folders of playlists count; rekordbox and Traktor are far below.
_DEEPEST = 200
_ENDS_EARLY = (
    expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS],
    expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN],
    expat.errors.codes[expat.errors.XML_ERROR_PARTIAL_CHAR],
)


class DeckFileError(ValueError):
    """A file that is not what its ending says, or not all of it; the text says what to do."""


@dataclass(slots=True)
class Element:
    """An element with its attributes and the elements in it; text is not kept, these formats have none."""

    name: str
    attributes: dict[str, str]
    children: "list[Element]" = field(default_factory=list)

    def first(self, name: str) -> Mapping[str, str]:
        """Return the attributes of the first element of this name, an empty mapping when there is none."""
        return next((child.attributes for child in self.children if child.name == name), {})

    def verbatim(self) -> dict[str, Any]:
        """Return attributes as they are, and elements in it by name: a mapping, or a list of them where there are several."""
        values: dict[str, Any] = dict(self.attributes)
        for child in self.children:
            known, inner = values.get(child.name), child.verbatim()
            if known is None:
                values[child.name] = inner
            elif isinstance(known, list):
                known.append(inner)
            else:
                values[child.name] = [known, inner]
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class DeckEntry:
    """An entry of a program's collection.

    Attributes
    ----------
    location : bytes
        The file's path as that program has it; not mapped.
    names : tuple of str
        How playlists of the same file may call this entry.
    size_bytes : int or None
    size_step : int
        To how many bytes the size is rounded.
    duration : float or None
        Seconds.
    key : str or None
        "A minor".
    grid_start : float or None
        Seconds, of the first mark of the grid.
    rating : int or None
        Stars, 0 to 5; None: none given.
    attributes : mapping
        Of the entry's element, verbatim.
    children : list
        [name, values] of each element in it, verbatim (`Element.verbatim`).
    """

    location: bytes
    names: tuple[str, ...] = ()
    title: str | None = None
    artist: str | None = None
    size_bytes: int | None = None
    size_step: int = 1
    duration: float | None = None
    bpm: float | None = None
    key: str | None = None
    grid_start: float | None = None
    rating: int | None = None
    play_count: int | None = None
    comment: str | None = None
    cues: tuple[Cue, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    children: list[list[Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeckList:
    """A playlist, or a folder (`children` is not None), as a file has it.

    Attributes
    ----------
    names : tuple of str
        Of entries (`DeckEntry.names`), in order.
    uuid : str or None
        The program's own number of it.
    passed_over : int
        Of the root folder: lists in it that are a search in that program, not a list.
    """

    name: str
    names: tuple[str, ...] = ()
    children: "tuple[DeckList, ...] | None" = None
    uuid: str | None = None
    passed_over: int = 0


def read_elements(path: Path, root: str, wanted: Collection[tuple[str, ...]], program: str) -> Iterator[Element]:
    """Stream the elements at these places of an XML file, each with all that is in it.

    Parameters
    ----------
    root : str
        The name of the outermost element.
    wanted : collection of tuple of str
        Places: the names of elements from the root down.
    program : str
        What writes such files, for errors.

    Raises
    ------
    DeckFileError
        When it is no such file, is cut off, or has a document type declaration.
    OSError
    """
    found: list[Element] = []
    trail: list[str] = []
    collected: list[Element] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        trail.append(name)
        if len(trail) == 1 and name != root:
            raise DeckFileError(f"{path.name} is no file of {program}: it begins with <{name[:40]}>, not with <{root}>.")
        if len(trail) > _DEEPEST:
            raise DeckFileError(f"{path.name} has elements nested {_DEEPEST} deep; no {program} writes that.")
        if not collected and tuple(trail) not in wanted:
            return
        element = Element(name, attributes)
        if collected:
            collected[-1].children.append(element)
        collected.append(element)

    def end(_name: str) -> None:
        trail.pop()
        if collected:
            element = collected.pop()
            if not collected:
                found.append(element)

    def doctype(*_: object) -> None:
        raise DeckFileError(f"{path.name} has a document type declaration, which {program} does not write. It is not read.")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = doctype
    with path.open("rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            try:
                parser.Parse(chunk, not chunk)
            except expat.ExpatError as error:
                raise _explained(path, error, bool(trail), program) from None
            yield from found
            found.clear()
            if not chunk:
                return


def _explained(path: Path, error: expat.ExpatError, begun: bool, program: str) -> DeckFileError:
    if error.code in _ENDS_EARLY and begun:
        return DeckFileError(f"{path.name} is cut off in line {error.lineno}. Export it from {program} again.")
    if error.code in _ENDS_EARLY:
        return DeckFileError(f"{path.name} is empty or has no XML in it. Export it from {program} again.")
    what = expat.ErrorString(error.code)
    return DeckFileError(f"{path.name} is no file of {program}: {what} in line {error.lineno}, column {error.offset + 1}.")


def number(text: str | None) -> float | None:
    """Return a number that a program wrote; None where there is none or it is no finite number."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < 1e15 else None


def whole(text: str | None) -> int | None:
    """Return a whole number that a program wrote."""
    value = number(text)
    return None if value is None else round(value)
