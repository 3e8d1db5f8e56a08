"""What files say about themselves. Reads only, and never raises for what it reads.

This module and `tag_writer` are the only ones that import mutagen (GPL). Formats are told by content, not by name. Cover art
is noticed and dropped; large ID3 tags are reduced before mutagen sees them (`id3_filter`).
"""

import io
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

from map4_pipeline.library.filesystem import open_to_read
from map4_pipeline.library.id3_filter import reduced_id3
from map4_pipeline.library.model import Tags
from map4_pipeline.library.spans import id3v2_size

MAX_OTHER_TAGS = 64
MAX_OTHER_LENGTH = 2000
MAX_KEY_LENGTH = 40
# Longer than any title; a megabyte of text in one field would break the search index (PostgreSQL's tsvector ends at 1 MB).
MAX_FIELD_LENGTH = 20_000

_YEAR = re.compile(r"(?<!\d)([12]\d{3})(?:(?!\d)|(?=[01]\d[0-3]\d(?!\d)))")
_NUMBER = re.compile(r"\s*(\d{1,9})\s*(?:[/\-of ]+\s*\d+\s*)?\Z")
_BPM = re.compile(r"\s*(\d{1,4}(?:[.,]\d{1,12})?)\s*(?:bpm)?\s*\Z", re.IGNORECASE)

# Our field -> names in ID3 (frame, or TXXX:description), Vorbis and APE (any case), MP4, ASF; the first that is there wins.
_NAMES: dict[str, tuple[str, ...]] = {
    "title": ("TIT2", "TT2", "TITLE", "\xa9nam", "INAM"),
    "artist": ("TPE1", "TP1", "ARTIST", "\xa9ART", "AUTHOR", "IART"),
    "album": ("TALB", "TAL", "ALBUM", "\xa9alb", "WM/ALBUMTITLE", "IPRD"),
    "album_artist": ("TPE2", "TP2", "ALBUMARTIST", "ALBUM ARTIST", "aART", "WM/ALBUMARTIST"),
    "genre": ("TCON", "TCO", "GENRE", "\xa9gen", "WM/GENRE", "IGNR"),
    "composer": ("TCOM", "TCM", "COMPOSER", "\xa9wrt", "WM/COMPOSER", "IMUS"),
    "year": ("TDRC", "TYER", "TYE", "DATE", "YEAR", "\xa9day", "WM/YEAR", "ICRD", "TDRL",
             "TDOR", "TORY", "ORIGINALDATE", "ORIGINALYEAR"),
    "track_number": ("TRCK", "TRK", "TRACKNUMBER", "TRACK", "trkn", "WM/TRACKNUMBER", "WM/TRACK", "ITRK", "IPRT"),
    "disc_number": ("TPOS", "TPA", "DISCNUMBER", "DISC", "disk", "WM/PARTOFSET"),
    "bpm": ("TBPM", "TBP", "TXXX:BPM", "BPM", "TEMPO", "----:COM.APPLE.ITUNES:BPM", "tmpo", "WM/BEATSPERMINUTE"),
    "key": ("TKEY", "TKE", "TXXX:INITIALKEY", "TXXX:KEY", "INITIALKEY", "KEY", "----:COM.APPLE.ITUNES:INITIALKEY",
            "----:COM.APPLE.ITUNES:KEY", "WM/INITIALKEY"),
}  # fmt: skip
_USED = {name.upper() for names in _NAMES.values() for name in names}
# Kept under plain names, and before all others where there are more than fit.
_OTHER_NAMES: dict[str, str] = {
    "COMM": "comment", "COMMENT": "comment", "DESCRIPTION": "comment", "\xa9CMT": "comment", "ICMT": "comment",
    "TPUB": "label", "LABEL": "label", "ORGANIZATION": "label", "PUBLISHER": "label", "WM/PUBLISHER": "label",
    "TXXX:LABEL": "label", "----:COM.APPLE.ITUNES:LABEL": "label",
    "TSRC": "isrc", "ISRC": "isrc", "WM/ISRC": "isrc", "----:COM.APPLE.ITUNES:ISRC": "isrc",
    "CATALOGNUMBER": "catalog", "TXXX:CATALOGNUMBER": "catalog", "WM/CATALOGNO": "catalog",
    "----:COM.APPLE.ITUNES:CATALOGNUMBER": "catalog",
    "TIT1": "grouping", "GROUPING": "grouping", "GRP1": "grouping", "\xa9GRP": "grouping",
    "WM/CONTENTGROUPDESCRIPTION": "grouping",
    "TIT3": "subtitle", "SUBTITLE": "subtitle", "VERSION": "subtitle",
    "TPE4": "remixer", "REMIXER": "remixer", "MIXARTIST": "remixer", "WM/MODIFIEDBY": "remixer",
    "TMOO": "mood", "MOOD": "mood", "WM/MOOD": "mood",
    "TLAN": "language", "LANGUAGE": "language", "WM/LANGUAGE": "language",
    "TCOP": "copyright", "COPYRIGHT": "copyright", "CPRT": "copyright", "ICOP": "copyright",
    "TSSE": "encoder", "TENC": "encoded_by", "ENCODER": "encoder", "\xa9TOO": "encoder", "ISFT": "encoder",
}  # fmt: skip


def read_tags(path: bytes | str | os.PathLike[str]) -> Tags:
    """Read a file's tags; what cannot be read is None. Nothing is guessed from the name.

    Several values of one tag are joined by `; `. NUL and lone surrogates are removed, other characters stay as they are:
    escaping them is the business of whoever prints them. An unreadable file has no tags.
    """
    try:
        descriptor = open_to_read(path)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return Tags()
            raw = _raw_tags(file)
    except (OSError, MemoryError):
        return Tags()
    return _to_tags(raw)


class _RawTags:
    """Tag names (as the format writes them) with their values, before any of them is understood."""

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}
        self.has_cover = False

    def add(self, name: str, values: Iterable[Any]) -> None:
        texts = [text for value in values if (text := _clean(str(value)))]
        if texts:
            self.values.setdefault(name, []).extend(texts)

    def add_missing(self, other: "_RawTags") -> None:
        for name, values in other.values.items():
            self.values.setdefault(name, values)
        self.has_cover |= other.has_cover


def _raw_tags(file: BinaryIO) -> _RawTags:
    raw = _RawTags()
    for reader in _readers(file):
        file.seek(0)
        part = _RawTags()
        try:
            reader(file, part)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - a parser fed with damaged bytes may raise anything; what it found so far counts
            pass
        raw.add_missing(part)
    return raw


def _readers(file: BinaryIO) -> list[Callable[[BinaryIO, _RawTags], None]]:
    """Return what to try, most trusted first; later readers only fill gaps."""
    head = file.read(16)
    if skip := id3v2_size(head):
        file.seek(skip)
        after = file.read(4)
        if after == b"fLaC":
            return [_read_any, _read_id3]
        return [_read_id3, _read_ape]
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return [_read_any, _read_riff_info]
    if head[:1] == b"\xff" and head[1:2] >= b"\xe0":
        return [_read_id3, _read_ape]
    known = (b"fLaC", b"OggS", b"FORM", b"wvpk", b"MAC ", b"TTA1", b"MPCK", b"MP+\x07", b"DSD ", b"FRM8", b"OFR ", b"tBaK")
    if head[:4] in known or head[4:8] == b"ftyp" or head[:4] == b"\x30\x26\xb2\x75":
        return [_read_any]
    return [_read_any, _read_id3, _read_ape]


def _read_id3(file: BinaryIO, raw: _RawTags) -> None:
    import mutagen.id3

    reduced, raw.has_cover = reduced_id3(file)
    id3: Any = mutagen.id3
    tags = id3.ID3(fileobj=reduced if reduced is not None else file)
    _take_id3(tags, raw)


def _take_id3(tags: Any, raw: _RawTags) -> None:
    for frame in tags.values():
        name = frame.FrameID
        if name in ("APIC", "PIC"):
            raw.has_cover = True
        elif name == "TCON":
            raw.add(name, [genre for genre in frame.genres if genre != "Unknown"])
        elif name in ("TXXX", "TXX"):
            raw.add(f"TXXX:{frame.desc}", frame.text)
        elif name in ("COMM", "COM"):
            # Players keep data of their own in described comments (iTunNORM, Songs-DB): the plain one is the user's.
            raw.add("COMM" if frame.desc in ("", "ID3v1 Comment") else f"COMM:{frame.desc}", frame.text)
        elif name.startswith("T") and hasattr(frame, "text"):
            raw.add(name, frame.text)


def _read_ape(file: BinaryIO, raw: _RawTags) -> None:
    import mutagen.apev2

    tags: Any = mutagen.apev2
    _take_mapping(tags.APEv2(fileobj=file), raw)


def _read_any(file: BinaryIO, raw: _RawTags) -> None:
    import mutagen

    found = mutagen.File(fileobj=file)
    if found is None:
        return
    raw.has_cover = bool(getattr(found, "pictures", None))
    tags = found.tags
    if tags is None:
        return
    if hasattr(tags, "getall"):
        _take_id3(tags, raw)
    else:
        _take_mapping(tags, raw)


def _take_mapping(tags: Mapping[str, Any], raw: _RawTags) -> None:
    """Take Vorbis comments, APEv2, MP4 atoms and ASF attributes, which all map a name to a list of values."""
    for name in list(tags.keys()):
        upper = name.upper()
        if upper.startswith("COVER ART") or name in ("covr", "WM/Picture") or upper in ("METADATA_BLOCK_PICTURE", "COVERART"):
            raw.has_cover = True
            continue
        values = tags[name]
        if not isinstance(values, (list, tuple)):
            # An APEv2 text value iterates over its parts; a binary one is of no interest.
            values = list(values) if hasattr(values, "kind") and values.kind == 0 else [values]
        raw.add(name, [text for value in values if (text := _value_text(value)) is not None])


def _value_text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, tuple):
        # MP4's track and disc: (number, of how many).
        return str(value[0]) if value and value[0] else None
    if isinstance(value, (str, int, float)):
        return str(value)
    if hasattr(value, "value"):
        inner = value.value
        return str(inner) if isinstance(inner, (str, int, float)) else None
    return None


def _read_riff_info(file: BinaryIO, raw: _RawTags) -> None:
    """Read the LIST INFO chunk of a WAV file, which mutagen does not."""
    file.seek(12)
    for _ in range(1000):
        chunk = file.read(8)
        if len(chunk) < 8:
            return
        size = int.from_bytes(chunk[4:], "little")
        following = file.tell() + size + (size & 1)
        if chunk[:4] == b"LIST" and 4 <= size <= 1 << 20:
            data = io.BytesIO(file.read(size))
            if data.read(4) == b"INFO":
                while len(head := data.read(8)) == 8:
                    length = int.from_bytes(head[4:], "little")
                    text = data.read(length + (length & 1))[:length].rstrip(b"\0")
                    raw.add(head[:4].decode("ascii", "replace"), [_decode(text)])
        file.seek(following)


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _clean(text: str) -> str:
    if "\0" in text:
        text = "; ".join(part for part in text.split("\0") if part)
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.strip()[:MAX_FIELD_LENGTH]


def _to_tags(raw: _RawTags) -> Tags:
    upper: dict[str, list[str]] = {}
    for name, values in raw.values.items():
        upper.setdefault(name.upper(), values)

    def values_of(field: str) -> list[str]:
        return [value for name in _NAMES[field] for value in upper.get(name.upper(), ())]

    def text(field: str) -> str | None:
        for name in _NAMES[field]:
            if values := upper.get(name.upper()):
                return "; ".join(dict.fromkeys(values))[:MAX_FIELD_LENGTH]
        return None

    def first(field: str, parse: Callable[[str], Any]) -> Any:
        return next((parsed for value in values_of(field) if (parsed := parse(value)) is not None), None)

    key = text("key")
    return Tags(
        title=text("title"),
        artist=text("artist"),
        album=text("album"),
        album_artist=text("album_artist"),
        genre=text("genre"),
        composer=text("composer"),
        year=first("year", parse_year),
        track_number=first("track_number", _parse_number),
        disc_number=first("disc_number", _parse_number),
        bpm=first("bpm", _parse_bpm),
        key=key[:MAX_KEY_LENGTH] if key else None,
        has_cover=raw.has_cover,
        other=_other(upper),
    )


def _other(upper: Mapping[str, list[str]]) -> dict[str, str]:
    known: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for name, values in upper.items():
        if name in _USED:
            continue
        value = "; ".join(values[:64])[:MAX_OTHER_LENGTH]
        if name in _OTHER_NAMES:
            known.setdefault(_OTHER_NAMES[name], value)
        else:
            plain = name.removeprefix("TXXX:").removeprefix("----:COM.APPLE.ITUNES:").lower()[:100]
            if plain and len(unknown) < MAX_OTHER_TAGS:
                unknown.setdefault(plain, value)
    merged = known | {name: value for name, value in unknown.items() if name not in known}
    return dict(list(merged.items())[:MAX_OTHER_TAGS])


def parse_year(text: str) -> int | None:
    """Return the first year (1000 to 2999) in a date: `2004`, `2004-05-01`, `01/05/2004`, `20040501`, `(P) 1999`."""
    match = _YEAR.search(text)
    return int(match.group(1)) if match else None


def _parse_number(text: str) -> int | None:
    match = _NUMBER.match(text)
    number = int(match.group(1)) if match else 0
    # PostgreSQL's INTEGER; 0 is how programs write "none".
    return number if 0 < number < 2**31 else None


def _parse_bpm(text: str) -> float | None:
    match = _BPM.match(text)
    bpm = float(match.group(1).replace(",", ".")) if match else 0.0
    return bpm if 0 < bpm < 1000 else None
