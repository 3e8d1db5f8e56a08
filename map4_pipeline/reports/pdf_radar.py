"""HAMMS profiles of the PDF: a dimension an axis, 0 in the middle and 1 at the rim.

`radar` is that of a library, with its spread; `profile` is that of a track or of a group of tracks before the library's.
"""

from collections.abc import Mapping

from reportlab.graphics.shapes import Circle, Drawing, Line, Path, PolyLine
from reportlab.lib.colors import Color, HexColor

from map4_pipeline.reports import palette, text
from map4_pipeline.reports.pdf_charts import polar, write
from map4_pipeline.reports.statistics import HAMMS_NAMES

_ANGLES = {name: 360 * index / len(HAMMS_NAMES) for index, name in enumerate(HAMMS_NAMES)}


def radar(summaries: Mapping[str, Mapping[str, float | None]], width: float, height: float) -> Drawing:
    """Draw a library's profile: median as a line, the middle half as a band.

    A dimension that nobody measured has a grey label and no point; the line skips it.
    """
    drawing = Drawing(width, height)
    cx, cy, radius = width / 2, height / 2, min(width / 2 - 88, height / 2 - 24)
    measured = [name for name in HAMMS_NAMES if summaries.get(name, {}).get("q50") is not None]
    _web(drawing, cx, cy, radius, measured, label_size=8)

    def ring_of(quantile: str) -> list[tuple[float, float]]:
        return [polar(cx, cy, radius * float(summaries[name][quantile] or 0.0), _ANGLES[name]) for name in measured]

    if len(measured) >= 3:
        # Even-odd filling leaves the hole between the quartiles' outlines open.
        _fill(drawing, (ring_of("q75"), ring_of("q25")), palette.BLUE, 0.22)
        _outline(drawing, ring_of("q50"), palette.BLUE, 1.6)
    _points(drawing, ring_of("q50"), palette.BLUE, 2.4)
    for level in (0.25, 0.5, 0.75, 1.0):
        write(drawing, cx + 3, cy + radius * level - 2.2, f"{level:g}", size=6)
    return drawing


def profile(
    values: Mapping[str, float | None],
    width: float,
    height: float,
    *,
    usual: Mapping[str, float | None] | None = None,
    colour: str = palette.BLUE,
    label_size: float = 8.0,
) -> Drawing:
    """Draw the profile of a track or a group; `usual` is the library's, drawn dashed and grey behind it."""
    drawing = Drawing(width, height)
    room = 88 if label_size >= 7.5 else 58
    cx, cy, radius = width / 2, height / 2, min(width / 2 - room, height / 2 - 3 * label_size)
    measured = [name for name in HAMMS_NAMES if values.get(name) is not None]
    _web(drawing, cx, cy, radius, measured, label_size=label_size)

    def ring_of(mapping: Mapping[str, float | None]) -> list[tuple[float, float]]:
        known = [(name, value) for name in HAMMS_NAMES if (value := mapping.get(name)) is not None]
        return [polar(cx, cy, radius * min(max(value, 0.0), 1.0), _ANGLES[name]) for name, value in known]

    if usual and len(ring := ring_of(usual)) >= 3:
        _outline(drawing, ring, palette.MUTED, 0.9, dashed=True)
    ring = ring_of(values)
    if len(ring) >= 3:
        _fill(drawing, (ring,), colour, 0.2)
        _outline(drawing, ring, colour, 1.5)
    _points(drawing, ring, colour, 1.9)
    return drawing


def _web(drawing: Drawing, cx: float, cy: float, radius: float, measured: list[str], *, label_size: float) -> None:
    for level in (0.25, 0.5, 0.75, 1.0):
        ring = Circle(cx, cy, radius * level, fillColor=None, strokeColor=HexColor(palette.HAIRLINE), strokeWidth=0.6)
        drawing.add(ring)
    short = label_size < 7.5
    for name, angle in _ANGLES.items():
        x, y = polar(cx, cy, radius, angle)
        drawing.add(Line(cx, cy, x, y, strokeColor=HexColor(palette.HAIRLINE), strokeWidth=0.6))
        x, y = polar(cx, cy, radius + (9 if not short else 5), angle)
        anchor = "middle" if abs(x - cx) < 4 else "start" if x > cx else "end"
        known = name in measured
        label = text.HAMMS_LABELS[name] + ("" if known or short else " (not measured)")
        lift = 3 if y - cy > radius else -3 if cy - y > radius else 0
        ink = palette.INK if known else palette.MUTED
        write(drawing, x, y - label_size * 0.31 + lift, label, size=label_size, colour=ink, anchor=anchor)


def _fill(drawing: Drawing, outlines: tuple[list[tuple[float, float]], ...], colour: str, opacity: float) -> None:
    ink = HexColor(colour)
    area = Path(fillColor=Color(ink.red, ink.green, ink.blue, opacity), strokeColor=None)
    area._fillRule = 0
    for outline in outlines:
        area.moveTo(*outline[0])
        for point in outline[1:]:
            area.lineTo(*point)
        area.closePath()
    drawing.add(area)


def _outline(drawing: Drawing, ring: list[tuple[float, float]], colour: str, width: float, *, dashed: bool = False) -> None:
    flat = [value for point in [*ring, ring[0]] for value in point]
    drawing.add(PolyLine(flat, strokeColor=HexColor(colour), strokeWidth=width, strokeDashArray=[2.5, 2] if dashed else None))


def _points(drawing: Drawing, ring: list[tuple[float, float]], colour: str, radius: float) -> None:
    for x, y in ring:
        drawing.add(Circle(x, y, radius, fillColor=HexColor(colour), strokeColor=HexColor("#ffffff"), strokeWidth=0.6))
