"""Vector charts of the PDF, drawn from lines and boxes so that they share the page's type, colours and spacing.

Every function returns a `Drawing` of the asked size and copes with empty, single and huge values; what has nothing to show
is the caller's to leave out.
"""

import math
from collections.abc import Mapping, Sequence

from reportlab.graphics.shapes import Drawing, Line, Path, Rect, String
from reportlab.lib.colors import HexColor

from map4_pipeline.reports import fontstack, palette, text
from map4_pipeline.reports.series import Series

_AXIS_SIZE = 7.0


def write(
    drawing: Drawing,
    x: float,
    y: float,
    value: str,
    *,
    size: float = _AXIS_SIZE,
    colour: str = palette.MUTED,
    anchor: str = "start",
    font: str = fontstack.REGULAR,
) -> None:
    """Put one line of text at a point, every character in a font that has it."""
    room = fontstack.width(value, size, font)
    x -= room if anchor == "end" else room / 2 if anchor == "middle" else 0
    for name, part in fontstack.runs(value, font):
        drawing.add(String(x, y, part, fontName=name, fontSize=size, fillColor=HexColor(colour)))
        x += fontstack.run_width(part, name, size)


def nice_ticks(highest: float, wanted: int = 4) -> list[float]:
    """Return round values from 0 to at least `highest`, in steps of 1, 2 or 5 times a power of ten; whole numbers."""
    step = max(highest, 1) / wanted
    magnitude = 10 ** math.floor(math.log10(step))
    step = max(1.0, next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= step * 0.999))
    return [index * step for index in range(math.ceil(max(highest, 1) / step - 1e-9) + 1)]


def histogram(
    series: Series, width: float, height: float, *, colour: str = palette.BLUE, axis: str = "", edges: bool = True
) -> Drawing:
    """Draw bars over a numbered axis.

    Parameters
    ----------
    series : Series
        Must not be empty.
    axis : str
        What the bars stand on, with its unit.
    edges : bool
        True when a label is the lower edge of its bar (bins), False when it names the bar (years).
    """
    drawing = Drawing(width, height)
    ticks = nice_ticks(max(series.counts))
    left = max(fontstack.width(text.count(tick), _AXIS_SIZE) for tick in ticks) + 8
    bottom, top = 26.0, height - 8
    plot_width, plot_height = width - left - 4, top - bottom
    for tick in ticks:
        y = bottom + plot_height * tick / ticks[-1]
        drawing.add(Line(left, y, width - 4, y, strokeColor=HexColor(palette.HAIRLINE), strokeWidth=0.5))
        write(drawing, left - 5, y - 2.4, text.count(tick), anchor="end")
    slot = plot_width / len(series.counts)
    # A single year or a few bins would become slabs as wide as the page.
    bar = min(slot * 0.86 if slot > 3 else slot, 44)
    for index, tracks in enumerate(series.counts):
        if tracks:
            bar_height = max(plot_height * tracks / ticks[-1], 0.6)
            x = left + index * slot + (slot - bar) / 2
            drawing.add(Rect(x, bottom, bar, bar_height, fillColor=HexColor(colour), strokeColor=None))
    drawing.add(Line(left, bottom, width - 4, bottom, strokeColor=HexColor(palette.MUTED), strokeWidth=0.7))
    widest = max(fontstack.width(label, _AXIS_SIZE) for label in series.labels) + 8
    every = max(1, math.ceil(widest / slot))
    for index, label in enumerate(series.labels):
        if index % every == 0:
            x = left + index * slot + (slot - bar) / 2 if edges and bar >= slot * 0.8 else left + (index + 0.5) * slot
            if edges and bar >= slot * 0.8:
                drawing.add(Line(x, bottom, x, bottom - 2.5, strokeColor=HexColor(palette.MUTED), strokeWidth=0.5))
            if x + widest / 2 <= width + 4:
                write(drawing, x, bottom - 10.5, label, anchor="middle")
    write(drawing, left + plot_width / 2, 3, axis, anchor="middle", colour=palette.INK)
    return drawing


def bars(series: Series, width: float, *, colour: str = palette.BLUE, row: float = 15.0) -> Drawing:
    """Draw named bars from top to bottom, each with its count; the height follows from their number."""
    height = row * len(series.counts) + 4
    drawing = Drawing(width, height)
    names = width * 0.27
    highest = max(series.counts)
    room = width - names - 46
    for index, (label, tracks) in enumerate(zip(series.labels, series.counts, strict=True)):
        y = height - (index + 1) * row
        fitted = fontstack.fit(label, names - 8, 8)
        write(drawing, names - 6, y + 3.5, fitted, size=8, colour=palette.INK, anchor="end")
        bar = max(room * tracks / highest, 0.8) if highest else 0.8
        drawing.add(Rect(names, y + 1.5, bar, row - 4, fillColor=HexColor(colour), strokeColor=None))
        write(drawing, names + bar + 5, y + 3.5, text.count(tracks), size=7.5)
    return drawing


def ledger_bar(parts: Sequence[tuple[str, str, int]], width: float) -> Drawing:
    """Draw the ledger as one stacked bar with a legend; `parts` are (key, label, count)."""
    drawing = Drawing(width, 58)
    total = sum(count for _, _, count in parts)
    x = 0.0
    for key, _, count in parts:
        if count:
            # A handful of failures among thousands of files must not vanish: nothing is thinner than 1.5 points.
            share = max(width * count / total, 1.5)
            piece = Rect(
                x, 30, min(share, width - x), 22, fillColor=HexColor(palette.LEDGER[key]), strokeColor=HexColor("#ffffff")
            )
            piece.strokeWidth = 0.8
            drawing.add(piece)
            x += share
    x = 0.0
    for key, label, count in parts:
        words = f"{label} {text.count(count)}"
        drawing.add(Rect(x, 10, 8, 8, fillColor=HexColor(palette.LEDGER[key]), strokeColor=None))
        write(drawing, x + 12, 11, words, size=8, colour=palette.INK)
        x += fontstack.width(words, 8) + 30
    return drawing


def _wedge(cx: float, cy: float, inner: float, outer: float, start: float, end: float, fill: str) -> Path:
    """Return a ring's segment; angles in degrees, clockwise from twelve o'clock."""
    path = Path(fillColor=HexColor(fill), strokeColor=HexColor("#ffffff"), strokeWidth=1)
    steps = 10
    around = [start + (end - start) * index / steps for index in range(steps + 1)]
    points = [polar(cx, cy, outer, angle) for angle in around] + [polar(cx, cy, inner, angle) for angle in reversed(around)]
    path.moveTo(*points[0])
    for point in points[1:]:
        path.lineTo(*point)
    path.closePath()
    return path


def polar(cx: float, cy: float, radius: float, angle: float) -> tuple[float, float]:
    """Return a point on a circle; the angle is in degrees, clockwise from twelve o'clock."""
    radians = math.radians(angle)
    return cx + radius * math.sin(radians), cy + radius * math.cos(radians)


def camelot_wheel(counts: Mapping[str, int], side: float) -> Drawing:
    """Draw the Camelot wheel: majors (B) outside, minors (A) inside, darker where there are more tracks."""
    drawing = Drawing(side, side)
    centre = side / 2
    rings = {"B": (side * 0.345, side * 0.495), "A": (side * 0.185, side * 0.34)}
    highest = max(counts.values())
    for code, tracks in counts.items():
        hour, letter = int(code[:-1]), code[-1]
        inner, outer = rings[letter]
        share = tracks / highest if highest else 0.0
        angle = (hour % 12) * 30
        fill = palette.ramp(share) if tracks else palette.SHADE
        drawing.add(_wedge(centre, centre, inner, outer, angle - 15, angle + 15, fill))
        x, y = polar(centre, centre, (inner + outer) / 2, angle)
        ink = "#ffffff" if tracks and share > 0.55 else palette.INK
        write(drawing, x, y + 1.5, code, size=9, colour=ink, anchor="middle", font=fontstack.BOLD)
        write(drawing, x, y - 8, text.count(tracks), size=7, colour=ink, anchor="middle")
    total = sum(counts.values())
    write(drawing, centre, centre + 2, text.count(total), size=15, colour=palette.INK, anchor="middle", font=fontstack.BOLD)
    write(drawing, centre, centre - 10, "track with a key" if total == 1 else "tracks with a key", size=7.5, anchor="middle")
    return drawing


def quartile_strip(summary: Mapping[str, float | None], width: float, height: float = 11.0) -> Drawing:
    """Draw where a dimension lies in [0, 1]: a thin line from 5% to 95%, a bar over the middle half, a tick at the median."""
    drawing = Drawing(width, height)
    middle = height / 2
    drawing.add(Line(0, middle, width, middle, strokeColor=HexColor(palette.HAIRLINE), strokeWidth=0.6))
    values = {name: summary.get(name) for name in ("q05", "q25", "q50", "q75", "q95")}
    if any(value is None for value in values.values()):
        return drawing
    at = {name: width * float(value or 0.0) for name, value in values.items()}
    drawing.add(Line(at["q05"], middle, at["q95"], middle, strokeColor=HexColor(palette.BLUE), strokeWidth=0.9))
    box = Rect(at["q25"], middle - 3, max(at["q75"] - at["q25"], 0.8), 6, fillColor=HexColor(palette.SKY), strokeColor=None)
    drawing.add(box)
    drawing.add(Line(at["q50"], middle - 4.5, at["q50"], middle + 4.5, strokeColor=HexColor(palette.INK), strokeWidth=1.4))
    return drawing
