"""Lines of text in any script: which font sets which characters, in which direction, and the glyphs they become.

What belongs here is between characters and glyphs: itemizing (script and font), the bidirectional algorithm (UAX 9, python-bidi)
and shaping (HarfBuzz). What draws, measures and cuts lines is `fontstack`.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import ShapeData, ShapedStr, TTFont

REGULAR = "MAP4-Sans"
BOLD = "MAP4-Sans-Bold"
FALLBACK = "MAP4-Fallback"
CJK = "MAP4-CJK"
EMOJI = "MAP4-Emoji"
FOLDER = Path(__file__).with_name("fonts")
#: Drawn for a character that no font has.
BOX = "\u25af"


@dataclass(frozen=True, slots=True)
class Face:
    """A font file and the blocks it is asked about; a file is read when the first character of its blocks occurs."""

    name: str
    file: str
    blocks: tuple[tuple[int, int], ...] = ()

    def covers(self, code: int) -> bool:
        """Tell whether the character lies in one of its blocks; no blocks are all of them."""
        return not self.blocks or any(low <= code <= high for low, high in self.blocks)


#: Asked in this order.
FACES = (
    Face(REGULAR, "NotoSans-Regular.ttf"),
    Face("MAP4-Arabic", "NotoSansArabic-Regular.ttf", ((0x600, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF), (0xFB50, 0xFEFC))),
    Face("MAP4-Hebrew", "NotoSansHebrew-Regular.ttf", ((0x590, 0x5FF), (0xFB1D, 0xFB4F))),
    Face("MAP4-Devanagari", "NotoSansDevanagari-Regular.ttf", ((0x900, 0x97F), (0x1CD0, 0x1CFF), (0xA8E0, 0xA8FF))),
    Face("MAP4-Bengali", "NotoSansBengali-Regular.ttf", ((0x980, 0x9FF),)),
    Face("MAP4-Tamil", "NotoSansTamil-Regular.ttf", ((0xB80, 0xBFF),)),
    Face("MAP4-Telugu", "NotoSansTelugu-Regular.ttf", ((0xC00, 0xC7F),)),
    Face("MAP4-Thai", "NotoSansThai-Regular.ttf", ((0xE00, 0xE7F),)),
    Face(
        EMOJI,
        "NotoEmoji-Regular.ttf",
        ((0x20E3, 0x20E3), (0x2300, 0x23FF), (0x2600, 0x27BF), (0x2B00, 0x2BFF), (0x1F000, 0x1FAFF)),
    ),
    Face(
        CJK,
        "DroidSansFallback.ttf",
        ((0x1100, 0x11FF), (0x2E80, 0xA4CF), (0xAC00, 0xD7FF), (0xF900, 0xFAFF), (0xFE30, 0xFE4F), (0xFF00, 0xFFEF)),
    ),
    Face(FALLBACK, "DejaVuSans.ttf"),
)
_FILES = {face.name: face.file for face in FACES} | {BOLD: "NotoSans-Bold.ttf"}
_SIMPLE = frozenset({REGULAR, BOLD, FALLBACK, CJK})
#: A minus that Noto Sans lacks; its en dash looks the same and stands on the same line as the digits, DejaVu's does not.
_SUBSTITUTES = str.maketrans({"\u2212": "\u2013"})
#: Joiners and variation selectors: for the shaper, never glyphs of their own.
_JOINERS = frozenset("\u200c\u200d") | {chr(code) for code in range(0xFE00, 0xFE10)}
_KEYCAP = "\u20e3"
_BRACKETS = {"(": ")", "[": "]", "{": "}", "\u300c": "\u300d", "\u3010": "\u3011"}

Run = tuple[str, str]


@lru_cache(maxsize=32)
def font(name: str) -> Any:
    """Return a font, read and made known to reportlab the first time it is asked for."""
    made = TTFont(name, str(FOLDER / _FILES[name]))
    pdfmetrics.registerFont(made)
    return made


@lru_cache(maxsize=32)
def glyphs(name: str) -> frozenset[int]:
    """Return the characters that a font has."""
    return frozenset(font(name).face.charToGlyph)


@lru_cache(maxsize=16384)
def font_for(char: str, base: str) -> str | None:
    """Return the first font that has a character, `base` in place of the regular one; None where none has."""
    code = ord(char)
    for face in FACES:
        name = base if face.name == REGULAR else face.name
        if face.covers(code) and code in glyphs(name):
            return name
    return None


def simple(value: str, base: str) -> bool:
    """Tell whether the base font sets a text as it stands: nothing to choose, to turn round or to shape."""
    known = glyphs(base)
    return all(ord(char) in known and not 0x300 <= ord(char) <= 0x36F for char in value)


def composed(value: str) -> str:
    """Return a text as it is set: composed (macOS names files with single accents), with the minus that the font has."""
    return unicodedata.normalize("NFC", value).translate(_SUBSTITUTES)


def itemized(value: str, base: str) -> list[Run]:
    """Split a composed text into (font, text) in the order in which it is read.

    Marks, joiners and selectors stay with the character they belong to. What no font has becomes a box, several in a row one.
    """
    found: list[Run] = []
    for char in value:
        last = found[-1][0] if found else base
        if char in _JOINERS or (char == _KEYCAP and last != EMOJI):
            # Only a font that is shaped knows what to do with them.
            if found and last not in _SIMPLE:
                found[-1] = (last, found[-1][1] + char)
            continue
        mark = unicodedata.category(char) in ("Mn", "Me", "Cf")
        chosen = last if mark and found and ord(char) in glyphs(last) else font_for(char, base)
        if chosen is None:
            if mark:
                continue
            chosen, char = FALLBACK, BOX
            if last == FALLBACK and found[-1][1].endswith(BOX):
                continue
        if found and last == chosen:
            found[-1] = (chosen, found[-1][1] + char)
        else:
            found.append((chosen, char))
    return found


def set_line(value: str, base: str) -> tuple[Run, ...]:
    """Return a composed text as (font, glyphs) from left to right; glyphs are text, shaped where their script needs it."""
    if simple(value, base):
        return ((base, value),) if value else ()
    found: list[Run] = []
    for backwards, part in _directions(value):
        runs = itemized(part, base)
        for name, text in reversed(runs) if backwards else runs:
            found.append((name, _shaped(name, text, backwards)))
    return tuple(found)


def backwards(value: str) -> bool:
    """Tell whether a text holds anything that is written from right to left."""
    return any(unicodedata.bidirectional(char) in ("R", "AL", "AN") for char in value)


def _directions(value: str) -> list[tuple[bool, str]]:
    """Return the parts of a line from left to right, each with whether it is written from right to left."""
    if not backwards(value):
        return [(False, value)]
    levels = _levels(value)
    runs: list[tuple[int, str]] = []
    for level, char in zip(levels, value, strict=True):
        if runs and runs[-1][0] == level:
            runs[-1] = (level, runs[-1][1] + char)
        else:
            runs.append((level, char))
    # UAX 9, rule L2, on whole runs: what is inside a run is turned by the shaper.
    for lowest in range(max(levels), 0, -1):
        start = 0
        while start < len(runs):
            end = start
            while end < len(runs) and runs[end][0] >= lowest:
                end += 1
            runs[start:end] = runs[start:end][::-1]
            start = max(end, start + 1)
    return [(level % 2 == 1, text) for level, text in runs]


def _levels(value: str) -> Sequence[int]:
    from bidi import algorithm

    storage = algorithm.get_empty_storage()
    level = algorithm.get_base_level(value)
    storage["base_level"], storage["base_dir"] = level, "LR"[level]
    algorithm.get_embedding_levels(value, storage)
    chars = list(storage["chars"])
    algorithm.explicit_embed_and_overrides(storage, False)
    algorithm.resolve_weak_types(storage, False)
    _pair_brackets(storage["chars"], "LR"[level])
    algorithm.resolve_neutral_types(storage, False)
    algorithm.resolve_implicit_levels(storage, False)
    # Joiners leave the algorithm (rule X9) and stay with what they join.
    resolved = {id(char): int(char["level"]) for char in storage["chars"]}
    levels: list[int] = []
    for char in chars:
        levels.append(resolved.get(id(char), levels[-1] if levels else level))
    return levels


def _pair_brackets(chars: Sequence[dict[str, Any]], base: str) -> None:
    """Let both brackets of a pair go with their line or with what they hold (UAX 9, rule N0, which python-bidi leaves out)."""
    directions = ["R" if char["type"] in ("R", "AL", "EN", "AN") else char["type"] for char in chars]
    waiting: list[tuple[str, int]] = []
    pairs: list[tuple[int, int]] = []
    for place, char in enumerate(chars):
        if char["ch"] in _BRACKETS:
            waiting.append((_BRACKETS[char["ch"]], place))
        elif any(closing == char["ch"] for closing, _ in waiting):
            while (last := waiting.pop())[0] != char["ch"]:
                pass
            pairs.append((last[1], place))
    for start, end in sorted(pairs):
        inside = {direction for direction in directions[start + 1 : end] if direction in ("L", "R")}
        if not inside:
            continue
        before = next((direction for direction in reversed(directions[:start]) if direction in ("L", "R")), base)
        chosen = base if base in inside or before == base else before
        for place in (start, end):
            directions[place] = chars[place]["type"] = chosen


@lru_cache(maxsize=32)
def _harfbuzz(name: str) -> Any:
    return font(name).hbFont()


def _shaped(name: str, text: str, backwards: bool) -> str:
    """Return the glyphs of a run from left to right, as characters of its font."""
    if name in _SIMPLE and not backwards and not any(unicodedata.combining(char) for char in text):
        return text
    import uharfbuzz

    made, shaper = font(name), _harfbuzz(name)
    buffer = uharfbuzz.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if backwards else "ltr"
    uharfbuzz.shape(shaper, buffer, {"kern": True, "liga": True})
    characters: list[str] = []
    places: list[Any] = []
    for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        code = _character(made, shaper, info.codepoint, position.x_advance)
        moves = (position.x_advance, position.y_advance, position.x_offset, position.y_offset)
        characters.append(chr(code))
        places.append(ShapeData(info.cluster, *(made.pdfScale(move) for move in moves), made.face.charWidths[code]))
    shaped: str = ShapedStr("".join(characters), places)
    return shaped


def _character(made: Any, shaper: Any, glyph: int, advance: int) -> int:
    """Return a character that stands for a glyph, one of the private ones where it has none of its own."""
    own = made.face.glyphToChar.get(glyph)
    return int(own[0] if own else made.hbAddPrivate(shaper.glyph_to_string(glyph), glyph, made.pdfScale(advance)))


def run_width(name: str, text: str, size: float) -> float:
    """Return the width of a run of `set_line`, in points."""
    if isinstance(text, ShapedStr):
        return float(sum(place.x_advance for place in text.__shapeData__) * size / 1000)
    return float(font(name).stringWidth(text, size))
