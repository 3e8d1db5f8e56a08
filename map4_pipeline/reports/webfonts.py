"""Fonts for the scripts that not every computer has, inside a page: only the characters that the page shows.

A browser takes the reader's own font of the script where there is one; the embedded one is for machines without.
"""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from map4_pipeline.reports import scripts

#: Faces of the PDF that pages may need too, with the fonts of common systems that are preferred. Latin, Cyrillic and Greek are
#: everywhere, and what only DejaVu Sans has is in every browser's last resort.
_LOCAL = {
    "MAP4-Arabic": ("Geeza Pro", "Segoe UI", "Noto Sans Arabic"),
    "MAP4-Hebrew": ("Arial Hebrew", "Segoe UI", "Noto Sans Hebrew"),
    "MAP4-Devanagari": ("Kohinoor Devanagari", "Nirmala UI", "Noto Sans Devanagari"),
    "MAP4-Bengali": ("Kohinoor Bangla", "Nirmala UI", "Noto Sans Bengali"),
    "MAP4-Tamil": ("Tamil Sangam MN", "Nirmala UI", "Noto Sans Tamil"),
    "MAP4-Telugu": ("Kohinoor Telugu", "Nirmala UI", "Noto Sans Telugu"),
    "MAP4-Thai": ("Thonburi", "Leelawadee UI", "Noto Sans Thai"),
    scripts.EMOJI: ("Apple Color Emoji", "Segoe UI Emoji", "Noto Color Emoji"),
    scripts.CJK: ("Hiragino Sans", "PingFang SC", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "Noto Sans CJK SC"),
}


def characters(value: Any) -> set[str]:
    """Return the characters beyond Latin, Greek and Cyrillic of all text in nested values."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if not item.isascii():
                found.update(char for char in item if ord(char) >= 0x590)
        elif isinstance(item, Mapping):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, Iterable):
            waiting.extend(item)
    return found


def font_faces(shown: set[str]) -> str:
    """Return the CSS that embeds what these characters need; nothing when they need nothing."""
    rules = []
    for face in scripts.FACES:
        wanted = {ord(char) for char in shown if face.covers(ord(char))} if face.name in _LOCAL else set()
        if not wanted:
            continue
        sources = [f'local("{name}")' for name in _LOCAL[face.name]]
        data = base64.b64encode(_subset(face.file, wanted)).decode("ascii")
        sources.append(f'url("data:font/ttf;base64,{data}") format("truetype")')
        ranges = ", ".join(f"U+{low:X}-{high:X}" for low, high in face.blocks)
        rules.append(
            f'@font-face {{ font-family: "{face.name}"; src: {", ".join(sources)}; unicode-range: {ranges}, U+200C-200D; }}'
        )
    return "\n".join(rules)


def _subset(file: str, wanted: set[int]) -> bytes:
    import uharfbuzz

    face = uharfbuzz.Face(uharfbuzz.Blob.from_file_path(str(scripts.FOLDER / file)))
    chosen = uharfbuzz.SubsetInput()
    # Joiners and selectors too, or emoji families and Persian spelling fall apart.
    chosen.sets(uharfbuzz.SubsetInputSets.UNICODE).update(wanted | {0x200C, 0x200D, 0xFE0F})
    return bytes(uharfbuzz.subset(face, chosen).blob.data)
