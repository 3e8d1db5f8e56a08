"""The fonts of the PDF and the choice of one for every character.

Noto Sans (SIL Open Font License) sets Latin, Cyrillic and Greek; DejaVu Sans (Bitstream Vera licence) stands in for Hebrew,
Arabic, Armenian, Georgian, symbols and some emoji. What neither has becomes a visible box, never an error. Further scripts are
further entries of `_STACK`.
"""

import unicodedata
from functools import lru_cache
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from map4_pipeline.reports.text import one_line

REGULAR = "MAP4-Sans"
BOLD = "MAP4-Sans-Bold"
_FALLBACK = "MAP4-Fallback"
_STACK = {REGULAR: (REGULAR, _FALLBACK), BOLD: (BOLD, _FALLBACK)}
_FILES = {REGULAR: "NotoSans-Regular.ttf", BOLD: "NotoSans-Bold.ttf", _FALLBACK: "DejaVuSans.ttf"}
#: A minus that Noto Sans lacks; its en dash looks the same and stands on the same line as the digits, DejaVu's does not.
_SUBSTITUTES = str.maketrans({"\u2212": "\u2013"})
#: Drawn for a character that no font has.
_BOX = "\u25af"
_ELLIPSIS = "…"


@lru_cache(maxsize=1)
def register() -> None:
    """Make the fonts known to reportlab, once a process."""
    folder = Path(__file__).with_name("fonts")
    for name, file in _FILES.items():
        pdfmetrics.registerFont(TTFont(name, str(folder / file)))
    for name in (REGULAR, BOLD):
        pdfmetrics.registerFontFamily(name, normal=name, bold=BOLD, italic=name, boldItalic=BOLD)


@lru_cache(maxsize=8)
def _glyphs(font: str) -> frozenset[int]:
    return frozenset(pdfmetrics.getFont(font).face.charToGlyph)


@lru_cache(maxsize=8192)
def _font_for(char: str, font: str) -> str | None:
    for candidate in _STACK[font]:
        if ord(char) in _glyphs(candidate):
            return candidate
    return None


def runs(value: str, font: str = REGULAR) -> list[tuple[str, str]]:
    """Split one line of text into (font, text) runs that can be drawn.

    Composed first (NFC), so that a letter with a combining accent, as macOS names files, is one glyph. Combining marks and
    selectors that no font has are left out; other characters without a glyph become a box, several in a row become one.
    """
    found: list[tuple[str, str]] = []
    for char in unicodedata.normalize("NFC", value).translate(_SUBSTITUTES):
        chosen = _font_for(char, font)
        if chosen is None:
            if unicodedata.category(char) in ("Mn", "Me", "Cf"):
                continue
            chosen, char = _FALLBACK, _BOX
            if found and found[-1][0] == _FALLBACK and found[-1][1].endswith(_BOX):
                continue
        if found and found[-1][0] == chosen:
            found[-1] = (chosen, found[-1][1] + char)
        else:
            found.append((chosen, char))
    return found


def run_width(part: str, font: str, size: float) -> float:
    """Return the width of a run that one font sets, in points."""
    return float(pdfmetrics.stringWidth(part, font, size))


def width(value: str, size: float, font: str = REGULAR) -> float:
    """Return the width of one line in points."""
    return sum(run_width(part, name, size) for name, part in runs(value, font))


def fit(value: object, room: float, size: float, font: str = REGULAR) -> str:
    """Return the text on one line, cut with an ellipsis where it is wider than `room` points."""
    line = one_line(value)
    if width(line, size, font) <= room:
        return line
    low, high = 0, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        if width(line[:middle].rstrip() + _ELLIPSIS, size, font) <= room:
            low = middle
        else:
            high = middle - 1
    return line[:low].rstrip() + _ELLIPSIS


def plain(value: str, font: str = REGULAR) -> str | None:
    """Return the text as it is drawn if one font sets all of it, so that it needs no markup; else None."""
    parts = runs(value, font)
    return "" if not parts else parts[0][1] if len(parts) == 1 and parts[0][0] == font else None


def markup(value: object, font: str = REGULAR, limit: int = 500) -> str:
    """Return text from outside as reportlab markup: escaped, and every run in a font that has it."""
    parts = []
    for name, part in runs(one_line(value, limit), font):
        safe = escape(part)
        parts.append(safe if name == font else f'<font name="{name}">{safe}</font>')
    return "".join(parts)
