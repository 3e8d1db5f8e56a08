"""Vector charts of the reports of one track and one playlist: waveform, chances, energy curve."""

from collections.abc import Sequence

from reportlab.graphics.shapes import Circle, Drawing, Line, PolyLine, Rect
from reportlab.lib.colors import HexColor

from map4_pipeline.reports import fontstack, palette, text
from map4_pipeline.reports.pdf_charts import write
from map4_pipeline.reports.sheets import Chance, Part

_LEFT = 26.0


def waveform(
    peaks: Sequence[int], duration: float, parts: Sequence[Part], keys: Sequence[Part], width: float, height: float
) -> Drawing:
    """Draw the envelope over the track's form, with the keys below and a scale of time.

    Parameters
    ----------
    peaks : sequence of int
        0 to 255.
    duration : float
        Seconds.
    """
    drawing = Drawing(width, height)
    bottom, top = 16.0 + (14 if keys else 0), height - 14
    middle, reach = (bottom + top) / 2, (top - bottom) / 2
    scale = width / duration if duration else 0.0
    for part in parts:
        x, room = part.start * scale, (part.end - part.start) * scale
        tint = palette.mix(palette.GROUPS[part.colour], "#ffffff", 0.8)
        drawing.add(
            Rect(x, bottom, room, top - bottom, fillColor=HexColor(tint), strokeColor=HexColor("#ffffff"), strokeWidth=0.8)
        )
        if room > fontstack.width(part.label, 8, fontstack.BOLD):
            write(drawing, x + room / 2, top + 4, part.label, size=8, colour=palette.INK, anchor="middle", font=fontstack.BOLD)
    slot = width / max(len(peaks), 1)
    colours = [palette.BLUE] * len(peaks)
    for part in parts:
        for place in range(int(part.start * scale / slot), min(int(part.end * scale / slot) + 1, len(peaks))):
            colours[place] = palette.mix(palette.GROUPS[part.colour], palette.INK, 0.25)
    for place, peak in enumerate(peaks):
        half = max(reach * 0.94 * peak / 255, 0.3)
        drawing.add(
            Rect(place * slot, middle - half, slot * 0.72, 2 * half, fillColor=HexColor(colours[place]), strokeColor=None)
        )
    for part in keys:
        x, room = part.start * scale, (part.end - part.start) * scale
        fill = palette.SHADE if part.colour % 2 == 0 else palette.HAIRLINE
        drawing.add(Rect(x, 16, room, 11, fillColor=HexColor(fill), strokeColor=HexColor("#ffffff"), strokeWidth=0.8))
        if room > fontstack.width(part.label, 7) + 4:
            write(drawing, x + room / 2, 19, part.label, size=7, colour=palette.INK, anchor="middle")
    _time_axis(drawing, duration, 0.0, width, 12.0)
    return drawing


def _time_axis(drawing: Drawing, duration: float, left: float, width: float, y: float) -> None:
    if duration <= 0:
        return
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
    step = next((one for one in steps if duration / one <= 12), steps[-1])
    for at in range(0, int(duration) + 1, step):
        x = left + width * at / duration
        drawing.add(Line(x, y, x, y + 3, strokeColor=HexColor(palette.MUTED), strokeWidth=0.5))
        label = text.length(at)
        anchor = "start" if at == 0 and left == 0 else "middle"
        if x + fontstack.width(label, 7) / 2 <= left + width + 2:
            write(drawing, x, y - 8, label, anchor=anchor)


def chances(found: Sequence[Chance], width: float, row: float = 17.0) -> Drawing:
    """Draw values with their probabilities as bars, the chosen one first and dark."""
    drawing = Drawing(width, row * len(found) + 2)
    names = width * 0.42
    room = width - names - 32
    for place, chance in enumerate(found):
        y = row * (len(found) - place) - row + 4
        font = fontstack.BOLD if chance.chosen else fontstack.REGULAR
        write(drawing, 0, y + 2, fontstack.fit(chance.value, names - 6, 9, font), size=9, colour=palette.INK, font=font)
        drawing.add(Rect(names, y + 0.5, room, 8, fillColor=HexColor(palette.SHADE), strokeColor=None))
        if chance.probability is not None:
            fill = palette.BLUE if chance.chosen else palette.GREY
            bar = max(room * min(chance.probability, 1.0), 0.8)
            drawing.add(Rect(names, y + 0.5, bar, 8, fillColor=HexColor(fill), strokeColor=None))
            write(drawing, names + room + 5, y + 2, f"{chance.probability:.0%}", size=8, colour=palette.INK)
    return drawing


def curve(
    values: Sequence[float | None],
    width: float,
    height: float,
    *,
    low: float,
    high: float,
    ticks: Sequence[float],
    digits: int,
    wished: Sequence[float] = (),
    scores: Sequence[float] = (),
    colour: str = palette.ORANGE,
) -> Drawing:
    """Draw a value of each track of a playlist as a line, the wished one dashed, and how well each goes into the next below.

    Parameters
    ----------
    low, high : float
        Ends of the axis; `ticks` are its marks, written with `digits`.
    scores : sequence of float
        One fewer than values; empty: not drawn.
    """
    drawing = Drawing(width, height)
    bottom, top, right = 16.0 + (13 if scores else 0), height - 6, width - 6
    slot = (right - _LEFT) / max(len(values), 1)

    def at(place: int, value: float) -> tuple[float, float]:
        share = (min(max(value, low), high) - low) / (high - low)
        return _LEFT + (place + 0.5) * slot, bottom + (top - bottom) * share

    for tick in ticks:
        y = at(0, tick)[1]
        drawing.add(Line(_LEFT, y, right, y, strokeColor=HexColor(palette.HAIRLINE), strokeWidth=0.5))
        write(drawing, _LEFT - 5, y - 2.4, f"{tick:.{digits}f}", anchor="end")
    if len(wished) == len(values) and len(wished) > 1:
        _line(drawing, [at(place, value) for place, value in enumerate(wished)], palette.MUTED, 1.1, dashed=True)
    points = [at(place, value) for place, value in enumerate(values) if value is not None]
    if len(points) > 1:
        _line(drawing, points, colour, 1.7)
    for x, y in points:
        drawing.add(Circle(x, y, 2.4, fillColor=HexColor(colour), strokeColor=HexColor("#ffffff"), strokeWidth=0.7))
    for place, score in enumerate(scores):
        x = _LEFT + (place + 1) * slot
        drawing.add(Rect(x - slot * 0.32, 16, slot * 0.64, 8, fillColor=HexColor(palette.ramp(score)), strokeColor=None))
    every = max(1, round(16 / slot + 0.5))
    for place in range(0, len(values), every):
        write(drawing, at(place, low)[0], 5, str(place + 1), anchor="middle")
    return drawing


def _line(drawing: Drawing, points: Sequence[tuple[float, float]], colour: str, width: float, *, dashed: bool = False) -> None:
    flat = [value for point in points for value in point]
    drawing.add(PolyLine(flat, strokeColor=HexColor(colour), strokeWidth=width, strokeDashArray=[3, 2] if dashed else None))
