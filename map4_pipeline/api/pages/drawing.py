"""Geometry of the pages' drawings: numbers for SVG attributes, no markup."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from map4_pipeline.hamms import DIMENSIONS

#: Names of the twelve dimensions as people read them.
LABELS = {name: name.replace("_", " ").replace("bpm", "tempo") for name in DIMENSIONS}


def wave(values: Sequence[int], width: float = 1000, height: float = 120) -> str:
    """Return the path of an envelope (0..255), mirrored about the middle."""
    if not values:
        return ""
    step, middle = width / len(values), height / 2
    heights = [max(0.5, value / 255 * middle) for value in values]
    upper = [f"{place * step:.1f},{middle - high:.1f}" for place, high in enumerate(heights)]
    lower = [f"{place * step:.1f},{middle + high:.1f}" for place, high in reversed(list(enumerate(heights)))]
    return "M" + "L".join(upper + lower) + "Z"


def spans(sections: Sequence[Mapping[str, Any]], seconds: float | None, width: float = 1000) -> list[dict[str, Any]]:
    """Return where sections lie: {"x", "width", "label", "tone" (0..5), "start", "end"}."""
    whole = seconds or max((section["end"] for section in sections), default=0)
    if not whole:
        return []
    return [
        {
            "x": round(section["start"] / whole * width, 1),
            "width": round(max(0.0, section["end"] - section["start"]) / whole * width, 1),
            "label": section["label"],
            "tone": sum(map(ord, section["label"][:1])) % 6,
            "start": section["start"],
            "end": section["end"],
        }
        for section in sections
    ]


def radar(values: Mapping[str, float | None], radius: float = 100) -> dict[str, Any]:
    """Return a radar of the twelve dimensions about (0, 0): {"outline", "rings", "axes"}; what is unknown is left out."""
    axes: list[dict[str, Any]] = []
    for place, name in enumerate(DIMENSIONS):
        angle = 2 * math.pi * place / len(DIMENSIONS) - math.pi / 2
        x, y = math.cos(angle), math.sin(angle)
        anchor = "middle" if abs(x) < 0.2 else "start" if x > 0 else "end"
        axes.append(
            {"name": LABELS[name], "value": values.get(name), "x": round(x * radius, 1), "y": round(y * radius, 1),
             "label_x": round(x * (radius + 10), 1), "label_y": round(y * (radius + 10) + 4, 1), "anchor": anchor}
        )  # fmt: skip
    known = [(axis, axis["value"]) for axis in axes if axis["value"] is not None]
    outline = " ".join(f"{axis['x'] * value:.1f},{axis['y'] * value:.1f}" for axis, value in known)
    rings = [" ".join(f"{axis['x'] * part:.1f},{axis['y'] * part:.1f}" for axis in axes) for part in (0.25, 0.5, 0.75, 1.0)]
    return {"outline": outline, "rings": rings, "axes": axes}


def curve(values: Sequence[float | None], width: float = 1000, height: float = 160) -> dict[str, Any]:
    """Return a line through values in [0, 1]: {"line", "points"}; what is unknown is left out."""
    step = width / max(len(values) - 1, 1)
    points = [
        {"x": round(place * step, 1), "y": round((1 - value) * height, 1), "value": value, "place": place + 1}
        for place, value in enumerate(values)
        if value is not None
    ]
    return {"line": " ".join(f"{point['x']},{point['y']}" for point in points), "points": points}


def bars(counts: Mapping[str, int], width: float = 300) -> list[dict[str, Any]]:
    """Return bars: {"label", "count", "width"}, the largest `width` wide."""
    most = max(counts.values(), default=0)
    return [{"label": label, "count": n, "width": round(n / most * width, 1) if most else 0} for label, n in counts.items()]


def largest(shares: Mapping[str, float], count: int = 3, least: float = 0.1) -> list[str]:
    """Return the dimensions that have the largest shares of a distance, as people read them."""
    ranked = sorted(shares.items(), key=lambda pair: -pair[1])[:count]
    return [f"{LABELS.get(name, name)} ({100 * share:.0f}%)" for name, share in ranked if share >= least]
