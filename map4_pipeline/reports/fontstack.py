"""The fonts of the PDF: measuring, cutting and marking up lines of text in any script.

Noto Sans sets Latin, Cyrillic and Greek, further Noto fonts Arabic, Hebrew, Indic scripts, Thai and emoji, Droid Sans Fallback
Chinese, Japanese and Korean, and DejaVu Sans what is left (fonts/LICENSES.txt). What none has becomes a box, never an error.
"""

from functools import lru_cache
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics

from map4_pipeline.reports import scripts
from map4_pipeline.reports.scripts import BOLD, REGULAR, Run
from map4_pipeline.reports.text import one_line

__all__ = ["BOLD", "REGULAR", "backwards", "fit", "markup", "plain", "register", "run_width", "runs", "width", "wrapped"]

_ELLIPSIS = "…"


@lru_cache(maxsize=1)
def register() -> None:
    """Make the fonts of every page known to reportlab, once a process; those of other scripts follow when they are needed."""
    for name in (REGULAR, BOLD):
        scripts.font(name)
        pdfmetrics.registerFontFamily(name, normal=name, bold=BOLD, italic=name, boldItalic=BOLD)


@lru_cache(maxsize=4096)
def runs(value: str, font: str = REGULAR) -> tuple[Run, ...]:
    """Return one line of text as (font, glyphs) from left to right, as it is drawn."""
    return scripts.set_line(scripts.composed(value), font)


def run_width(part: str, font: str, size: float) -> float:
    """Return the width of a run that one font sets, in points."""
    return scripts.run_width(font, part, size)


def width(value: str, size: float, font: str = REGULAR) -> float:
    """Return the width of one line in points."""
    return sum(run_width(part, name, size) for name, part in runs(value, font))


def backwards(value: str) -> bool:
    """Tell whether a text holds anything that is written from right to left."""
    return scripts.backwards(value)


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


def wrapped(value: object, room: float, size: float, font: str = REGULAR, limit: int = 4) -> list[str]:
    """Return the text broken into lines no wider than `room` points, the last one cut where there would be more than `limit`."""
    lines: list[str] = []
    words = one_line(value, 3000).split(" ")
    while words and len(lines) < limit - 1:
        line = words.pop(0)
        while words and width(f"{line} {words[0]}", size, font) <= room:
            line += f" {words.pop(0)}"
        if width(line, size, font) > room:
            # Scripts without spaces break anywhere.
            keep = max(1, len(fit(line, room, size, font)) - 1)
            line, rest = line[:keep], line[keep:]
            words[:0] = [rest]
        lines.append(line)
    if words:
        lines.append(fit(" ".join(words), room, size, font))
    return [line for line in lines if line]


def plain(value: str, font: str = REGULAR) -> str | None:
    """Return the text as it is drawn if one font sets all of it as it stands; else None."""
    line = scripts.composed(value)
    return line if scripts.simple(line, font) else None


def markup(value: object, font: str = REGULAR, limit: int = 500) -> str:
    """Return MAP4's own words as reportlab markup: escaped, and every run in a font that has it. Nothing is turned or shaped."""
    parts = []
    for name, part in scripts.itemized(scripts.composed(one_line(value, limit)), font):
        safe = escape(part)
        parts.append(safe if name == font else f'<font name="{name}">{safe}</font>')
    return "".join(parts)
