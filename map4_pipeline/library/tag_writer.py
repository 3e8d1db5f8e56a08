"""Writes tags into files. Imports mutagen (GPL), like `tags` and nothing else.

`write_tags` fills a file that is MAP4's own (the demo library). `read_native` and `write_native` are for users' files: they take
tags by the names that the format has, touch those alone, and can put back what was there.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as entry
from typing import Any

from map4_pipeline.library.model import Tags

_ENCODING = re.compile(r"encoding=<Encoding\.\w+: \d>")

_VORBIS_NAMES = {
    "title": "TITLE",
    "artist": "ARTIST",
    "album": "ALBUM",
    "album_artist": "ALBUMARTIST",
    "genre": "GENRE",
    "composer": "COMPOSER",
    "year": "DATE",
    "track_number": "TRACKNUMBER",
    "disc_number": "DISCNUMBER",
    "bpm": "BPM",
    "key": "INITIALKEY",
}
_ID3_NAMES = {
    "title": "TIT2",
    "artist": "TPE1",
    "album": "TALB",
    "album_artist": "TPE2",
    "genre": "TCON",
    "composer": "TCOM",
    "year": "TDRC",
    "track_number": "TRCK",
    "disc_number": "TPOS",
    "bpm": "TBPM",
    "key": "TKEY",
}
_MP4_NAMES = {
    "title": "\xa9nam",
    "artist": "\xa9ART",
    "album": "\xa9alb",
    "album_artist": "aART",
    "genre": "\xa9gen",
    "composer": "\xa9wrt",
    "year": "\xa9day",
    "track_number": "trkn",
    "disc_number": "disk",
    "bpm": "tmpo",
    "key": "----:com.apple.iTunes:initialkey",
}
_ASF_NAMES = {
    "title": "Title",
    "artist": "Author",
    "album": "WM/AlbumTitle",
    "album_artist": "WM/AlbumArtist",
    "genre": "WM/Genre",
    "composer": "WM/Composer",
    "year": "WM/Year",
    "track_number": "WM/TrackNumber",
    "disc_number": "WM/PartOfSet",
    "bpm": "WM/BeatsPerMinute",
    "key": "WM/InitialKey",
}


class TagWriteError(Exception):
    """The file's tags cannot be written; the text says why."""


def write_tags(path: bytes | str | os.PathLike[str], tags: Tags, cover: bytes | None = None) -> None:
    """Write those of the named fields that are not None, and leave all other tags of the file as they are.

    Parameters
    ----------
    path
        MP3, FLAC, Ogg, Opus, M4A, AIFF, WAV, WMA, WavPack, told by content.
    tags : Tags
        `has_cover` and `other` are not written.
    cover : bytes, optional
        A JPEG picture, for ID3, FLAC and MP4.

    Raises
    ------
    TagWriteError
        If the format takes no tags or the file cannot be written.
    """
    import mutagen

    try:
        file = mutagen.File(os.fspath(path))
        if file is None:
            raise TagWriteError("the format is not known")
        if file.tags is None:
            file.add_tags()
        _put(file, {field: getattr(tags, field) for field in _ID3_NAMES if getattr(tags, field) is not None})
        if cover is not None:
            _put_cover(file, cover)
        file.save()
    except (mutagen.MutagenError, OSError) as error:
        raise TagWriteError(str(error) or type(error).__name__) from error


def _put(file: Any, values: dict[str, Any]) -> None:
    import mutagen.asf
    import mutagen.mp4

    tags = file.tags
    for field, value in values.items():
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if _is_id3(file):
            frame = getattr(_id3(), _ID3_NAMES[field])
            # The standard has whole numbers in TBPM.
            tags.setall(_ID3_NAMES[field], [frame(encoding=3, text=[str(round(value)) if field == "bpm" else text])])
        elif isinstance(file, mutagen.mp4.MP4):
            tags[_MP4_NAMES[field]] = _mp4_value(field, value, text)
        elif isinstance(file, mutagen.asf.ASF):
            tags[_ASF_NAMES[field]] = [text]
        else:
            tags[_VORBIS_NAMES[field]] = [text]


def _id3() -> Any:
    """Return `mutagen.id3`, whose functions have no types."""
    import mutagen.id3

    return mutagen.id3


def _is_id3(file: Any) -> bool:
    return isinstance(file.tags, _id3().ID3)


def _mp4_value(field: str, value: Any, text: str) -> list[Any]:
    if field in ("track_number", "disc_number"):
        return [(value, 0)]
    if field == "bpm":
        return [round(value)]
    return [text.encode("utf-8")] if field == "key" else [text]


def _put_cover(file: Any, cover: bytes) -> None:
    import mutagen.flac
    import mutagen.mp4

    flac: Any = mutagen.flac
    mp4: Any = mutagen.mp4
    if _is_id3(file):
        file.tags.setall("APIC", [_id3().APIC(encoding=3, mime="image/jpeg", type=3, desc="", data=cover)])
    elif isinstance(file, mp4.MP4):
        file.tags["covr"] = [mp4.MP4Cover(cover, mp4.MP4Cover.FORMAT_JPEG)]
    elif isinstance(file, flac.FLAC):
        picture = flac.Picture()
        picture.type, picture.mime, picture.data = 3, "image/jpeg", cover
        file.clear_pictures()
        file.add_picture(picture)


@dataclass(frozen=True, slots=True)
class NativeTags:
    """A file's tags by the names that its format has.

    Attributes
    ----------
    family : str
        "id3", "vorbis", "opus", "mp4", "asf" or "ape": which names hold.
    has_tags : bool
        Whether there is a tag at all.
    values : dict
        Name to values, ready for JSON. Names as in `TBPM`, `TXXX:EnergyLevel`, `BPM`, `tmpo`,
        `----:com.apple.iTunes:initialkey`, `WM/InitialKey`.
    rest : dict
        Name to a digest of what is neither text nor number: pictures, cue points, what other programs keep there.
    """

    family: str
    has_tags: bool
    values: dict[str, list[Any]] = entry(default_factory=dict)
    rest: dict[str, str] = entry(default_factory=dict)


def read_native(path: bytes | str | os.PathLike[str]) -> NativeTags:
    """Read a file's tags by their own names.

    Raises
    ------
    TagWriteError
        If the format takes no tags, or they are damaged.
    OSError
        If the system refuses.
    """
    with _told():
        return _native(_open(path))


def write_native(
    path: bytes | str | os.PathLike[str], changes: Mapping[str, list[Any] | None], *, drop_empty: bool = False
) -> None:
    """Set tags by their own names, as `read_native` gives them; None removes one. All others stay as they are.

    An ID3 tag keeps its version (players of older DJ hardware read 2.3 only), and an ID3v1 tag stays as it is where there is one.

    Parameters
    ----------
    drop_empty : bool
        Take the tag itself away when nothing is left in it.

    Raises
    ------
    TagWriteError
        If the format takes no tags, or they are damaged.
    OSError
        If the system refuses.
    """
    with _told():
        file = _open(path)
        if file.tags is None:
            file.add_tags()
        family = _family(file)
        for name, values in changes.items():
            if values is None:
                if family == "id3":
                    file.tags.delall(name)
                elif name in file.tags:
                    del file.tags[name]
            else:
                _set_native(file, family, name, values)
        if drop_empty and not len(file.tags):
            file.delete()
        elif family == "id3":
            # Frames of 2.3 were not translated, so those of it go back as they were; values stay apart by NUL.
            file.save(v2_version=3 if _is_old_id3(file.tags) else 4, v23_sep=None)
        else:
            file.save()


@contextmanager
def _told() -> Iterator[None]:
    """Make what goes wrong a sentence; OSError passes, because it says something of the disk."""
    try:
        yield
    except TagWriteError:
        raise
    except Exception as error:
        # A parser fed with damaged bytes may raise anything, also an OSError of its own making, which has no number.
        for link in (error, error.__cause__, error.__context__):
            if isinstance(link, OSError) and link.errno is not None:
                raise link from None
        raise TagWriteError(f"they are damaged ({str(error) or type(error).__name__})") from error


def _open(path: bytes | str | os.PathLike[str]) -> Any:
    import mutagen

    file: Any = mutagen.File(os.fspath(path))
    if file is None:
        raise TagWriteError("the format takes no tags that MAP4 knows")
    if file.tags is not None and _is_id3(file) and _is_old_id3(file.tags):
        file = type(file)(os.fspath(path), translate=False)
    if _family(file) is None:
        raise TagWriteError("the format takes no tags that MAP4 knows")
    return file


def _is_old_id3(tags: Any) -> bool:
    # 2.2 has names of three letters, which only a translation knows.
    return bool(tags.version[:2] == (2, 3))


def _family(file: Any) -> Any:
    import mutagen.apev2
    import mutagen.asf
    import mutagen.mp4
    import mutagen.oggopus

    if isinstance(file, mutagen.mp4.MP4):
        return "mp4"
    if isinstance(file, mutagen.asf.ASF):
        return "asf"
    if isinstance(file, mutagen.oggopus.OggOpus):
        return "opus"
    if file.tags is None:
        # What kind of tag a file without one takes is told by making one in memory; refused where it takes none.
        file.add_tags()
        family, file.tags = _family(file), None
        return family
    if _is_id3(file):
        return "id3"
    if isinstance(file.tags, mutagen.apev2.APEv2):
        return "ape"
    return "vorbis" if hasattr(file.tags, "vendor") else None


def _native(file: Any) -> NativeTags:
    family = _family(file)
    values: dict[str, list[Any]] = {}
    rest: dict[str, str] = {}
    for picture in getattr(file, "pictures", ()):
        rest[f"picture {len(rest)}"] = _digest(picture.write())
    if file.tags is None:
        return NativeTags(family, False, values, rest)
    if family == "id3":
        for frame in file.tags.values():
            if hasattr(frame, "text") and isinstance(frame.text, list):
                values[frame.HashKey] = [str(part) for part in frame.text]
            else:
                rest[frame.HashKey] = _digest(_ENCODING.sub("", repr(frame)).encode())
        for number, unknown in enumerate(sorted(file.tags.unknown_frames)):
            rest[f"unknown {number}"] = _digest(unknown)
        return NativeTags(family, True, values, rest)
    for name in sorted(set(file.tags.keys())):
        found = file.tags[name]
        # An APEv2 text value iterates over its parts; other kinds of it are no text.
        parts = found if isinstance(found, list) or getattr(found, "kind", None) == 0 else [found]
        raws = [_raw(family, name, value) for value in parts]
        # Case does not count in Vorbis comments, and mutagen tells the names in lower case.
        shown = name.upper() if family in ("vorbis", "opus") else name
        if all(raw is not None for raw in raws):
            values[shown] = raws
        else:
            rest[shown] = _digest(repr(found).encode())
    return NativeTags(family, True, values, rest)


def _raw(family: str, name: str, value: Any) -> Any:
    """Return a value as JSON has it, None for what is no text or number."""
    if family == "mp4" and name.startswith("----"):
        # Kind 1 is UTF-8 text.
        return value.decode("utf-8", "replace") if value.dataformat == 1 and _is_utf8(value) else None
    if family == "asf":
        if value.TYPE == 0:
            return value.value
        return {"type": value.TYPE, "value": value.value} if isinstance(value.value, int) else None
    return value if isinstance(value, (str, int)) else None


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _set_native(file: Any, family: str, name: str, values: list[Any]) -> None:
    tags = file.tags
    if family == "id3":
        kind, _, description = name.partition(":")
        # Latin-1 where it will do: every player reads it. UTF-8 is not in 2.3.
        plain = all(ord(character) < 256 for text in [description, *values] for character in text)
        encoding = 0 if plain else 1 if _is_old_id3(tags) else 3
        frame = getattr(_id3(), kind)
        tags.delall(name)
        tags.add(frame(encoding=encoding, desc=description, text=values) if kind == "TXXX" else frame(encoding, text=values))
    elif family == "mp4" and name.startswith("----"):
        tags[name] = [text.encode("utf-8") for text in values]
    elif family == "asf":
        import mutagen.asf

        asf: Any = mutagen.asf
        tags[name] = [asf.ASFValue(v["value"], v["type"]) if isinstance(v, dict) else v for v in values]
    else:
        tags[name] = values
