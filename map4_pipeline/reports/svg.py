"""Charts of small pages as inline SVG: no script, colours from the page's CSS variables, a word on everything one points at."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from map4_pipeline.reports import text
from map4_pipeline.reports.sheets import Part
from map4_pipeline.reports.statistics import HAMMS_NAMES

#: CSS variables of `palette.GROUPS`.
GROUPS = ("--blue", "--orange", "--green", "--pink", "--amber", "--sky")
_WIDTH = 1000.0


def _open(width: float, height: float, label: str, style: str = "") -> str:
    return f'<svg class="drawing {style}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'


def _label(x: float, y: float, words: str, style: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">{escape(words)}</text>'


def waveform(peaks: Sequence[int], duration: float, parts: Sequence[Part], keys: Sequence[Part]) -> str:
    """Return a track's envelope over its form, with the keys and a scale of time below; see `pdf_sheet_charts.waveform`."""
    scale, middle, reach = _WIDTH / duration, 108.0, 84.0
    found = [_open(_WIDTH, 254, "Waveform with sections and keys")]
    for part in parts:
        x, room = part.start * scale, (part.end - part.start) * scale
        words = escape(f"Section {part.label}: {text.length(part.start)} to {text.length(part.end)}")
        shape = f'<rect x="{x:.1f}" y="18" width="{max(room - 1.5, 0.5):.1f}" height="180" fill="var({GROUPS[part.colour]})"/>'
        found.append(f'<g class="part">{shape}<title>{words}</title></g>')
        if room > 14:
            found.append(_label(x + room / 2, 13, part.label, "strong"))
    slot = _WIDTH / len(peaks)
    line = " ".join(
        f"M{place * slot + slot / 2:.1f} {middle - max(reach * peak / 255, 0.6):.1f}V{middle + max(reach * peak / 255, 0.6):.1f}"
        for place, peak in enumerate(peaks)
    )
    found.append(f'<path d="{line}" class="wave" stroke-width="{slot * 0.7:.2f}"/>')
    for part in keys:
        x, room = part.start * scale, (part.end - part.start) * scale
        words = escape(f"{part.label}: {text.length(part.start)} to {text.length(part.end)}")
        found.append(
            f'<g><rect x="{x:.1f}" y="204" width="{max(room - 1.5, 0.5):.1f}" height="20" class="key"/><title>{words}</title></g>'
        )
        if room > 9 * len(part.label):
            found.append(_label(x + room / 2, 218.5, part.label, "small"))
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
    step = next((one for one in steps if duration / one <= 12), steps[-1])
    for at in range(0, int(duration) + 1, step):
        if at * scale <= _WIDTH - 14:
            found.append(_label(at * scale, 246, text.length(at), "small muted", "start" if at == 0 else "middle"))
    return "".join([*found, "</svg>"])


def radar(values: Mapping[str, float | None], usual: Mapping[str, float | None]) -> str:
    """Return a HAMMS profile before the library's."""
    size, radius = (620.0, 400.0), 140.0
    cx, cy = size[0] / 2, size[1] / 2
    angles = {name: 2 * math.pi * place / len(HAMMS_NAMES) for place, name in enumerate(HAMMS_NAMES)}

    def at(name: str, share: float) -> tuple[float, float]:
        return cx + radius * share * math.sin(angles[name]), cy - radius * share * math.cos(angles[name])

    def ring(mapping: Mapping[str, float | None]) -> str:
        known = [(name, value) for name in HAMMS_NAMES if (value := mapping.get(name)) is not None]
        return " ".join("{:.1f},{:.1f}".format(*at(name, min(max(value, 0.0), 1.0))) for name, value in known)

    found = [_open(*size, "HAMMS profile", "narrow")]
    found += [f'<circle cx="{cx}" cy="{cy}" r="{radius * level:g}" class="grid"/>' for level in (0.25, 0.5, 0.75, 1.0)]
    for name in HAMMS_NAMES:
        x, y = at(name, 1)
        found.append(f'<line x1="{cx}" y1="{cy}" x2="{x:.1f}" y2="{y:.1f}" class="grid"/>')
        x, y = at(name, 1.07)
        anchor = "middle" if abs(x - cx) < 5 else "start" if x > cx else "end"
        found.append(_label(x, y + (5 if abs(y - cy) < radius else 0 if y < cy else 9), text.HAMMS_LABELS[name], "", anchor))
    found.append(f'<polygon points="{ring(usual)}" class="usual"/><polygon points="{ring(values)}" class="shape"/>')
    for name in HAMMS_NAMES:
        value, median = values.get(name), usual.get(name)
        if value is not None:
            x, y = at(name, min(max(value, 0.0), 1.0))
            words = f"{text.HAMMS_LABELS[name]}: {value:.2f}" + (f", library {median:.2f}" if median is not None else "")
            found.append(
                f'<g><circle cx="{x:.1f}" cy="{y:.1f}" r="9" class="touch"/><circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="dot"/>'
            )
            found.append(f"<title>{escape(words)}</title></g>")
    return "".join([*found, "</svg>"])


def curve(
    values: Sequence[float | None],
    names: Sequence[str],
    *,
    label: str,
    low: float,
    high: float,
    ticks: Sequence[float],
    digits: int,
    wished: Sequence[float] = (),
    steps: Sequence[tuple[float, str]] = (),
    style: str = "",
) -> str:
    """Return a value of each track as a line, the wished one dashed, and the transitions below as (score, words)."""
    left, right, top, bottom = 44.0, _WIDTH - 8, 10.0, 190.0
    height = 250.0 if steps else 222.0
    slot = (right - left) / max(len(values), 1)

    def at(place: int, value: float) -> tuple[float, float]:
        share = (min(max(value, low), high) - low) / (high - low)
        return left + (place + 0.5) * slot, bottom - (bottom - top) * share

    found = [_open(_WIDTH, height, label, style)]
    for tick in ticks:
        y = at(0, tick)[1]
        found.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" class="grid"/>')
        found.append(_label(left - 7, y + 4.5, f"{tick:.{digits}f}", "small muted", "end"))
    if len(wished) == len(values) > 1:
        line = " ".join("{:.1f},{:.1f}".format(*at(place, value)) for place, value in enumerate(wished))
        found.append(f'<polyline points="{line}" class="usual"/>')
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    line = " ".join("{:.1f},{:.1f}".format(*at(place, value)) for place, value in known)
    found.append(f'<polyline points="{line}" class="line"/>')
    for place, value in known:
        x, y = at(place, value)
        words = escape(f"{place + 1}. {names[place]}: {value:.{digits}f}")
        found.append(f'<g><circle cx="{x:.1f}" cy="{y:.1f}" r="{min(max(slot / 2, 5), 14):.1f}" class="touch"/>')
        found.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="dot"/><title>{words}</title></g>')
    for place, (score, words) in enumerate(steps):
        x = left + (place + 1) * slot - slot * 0.34
        ink = f'fill="var(--ramp-high)" fill-opacity="{0.08 + 0.92 * score:.2f}"'
        shape = f'<rect x="{x:.1f}" y="200" width="{slot * 0.68:.1f}" height="16" {ink}/>'
        found.append(f"<g>{shape}<title>{escape(words)}</title></g>")
    every = max(1, math.ceil(26 / slot))
    for place in range(0, len(values), every):
        found.append(_label(at(place, low)[0], height - 8, str(place + 1), "small muted"))
    return "".join([*found, "</svg>"])
