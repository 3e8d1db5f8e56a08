"""The pictures of `docs/images`, drawn as SVG from what the benchmarks wrote.

    python -m benchmarks.plots speed SPEED.json OUT.svg
    python -m benchmarks.plots reliability PAIRS.json OUT.svg [--title TEXT]

SPEED.json is what `benchmarks.engine_speed --json` writes. PAIRS.json is a list of [confidence, right] pairs, or an object with
such a list under "pairs". Text files without dates: equal figures give equal pictures.
"""

import argparse
import html
import json
import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

_INK, _QUIET, _OURS, _OTHERS = "#24292f", "#8c959f", "#0969da", "#afb8c1"
_FONT = 'font-family="Helvetica, Arial, sans-serif"'
#: Equal-mass bins of a reliability curve, as in the calibration error.
BINS = 5


def _text(
    x: float, y: float, words: str, *, size: int = 13, anchor: str = "start", colour: str = _INK, weight: str = "400"
) -> str:
    style = f'font-size="{size}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {_FONT} {style}>{html.escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashed}/>'


def _picture(width: int, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    # A ground of its own: transparent pictures cannot be read where the page is dark.
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"


def speed_picture(found: dict[str, object]) -> str:
    """Return bars of the median CPU seconds of each contender, fastest first, on a logarithmic scale."""
    contenders = found["contenders"]
    assert isinstance(contenders, list)
    rows = sorted((statistics.median(c["cpu"]), c["name"], c["title"]) for c in contenders if c["name"] != "bare")
    left, right, top, step = 300, 700, 56, 28
    low, high = math.log10(0.1), math.log10(max(10.0, rows[-1][0] * 1.3))

    def place(seconds: float) -> float:
        return left + (right - left) * (math.log10(seconds) - low) / (high - low)

    bottom = top + step * len(rows)
    parts = [_text(20, 28, "CPU seconds to analyse one 4-minute MP3, one thread (less is better)", size=15, weight="600")]
    for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50):
        if tick <= 10**high:
            parts.append(_line(place(tick), top - 8, place(tick), bottom, "#eaeef2"))
            parts.append(_text(place(tick), bottom + 16, f"{tick:g}", size=11, anchor="middle", colour=_QUIET))
    for index, (seconds, name, title) in enumerate(rows):
        y = top + index * step
        colour = _OURS if name in ("core", "everything") else _OTHERS if name != "floor" else _INK
        parts.append(_text(left - 10, y + 14, title, anchor="end", weight="600" if colour == _OURS else "400"))
        parts.append(
            f'<rect x="{left}" y="{y}" width="{max(1.0, place(seconds) - left):.1f}" height="{step - 9}" fill="{colour}"/>'
        )
        parts.append(_text(place(seconds) + 6, y + 14, f"{seconds:.2f}", size=12))
    return _picture(780, bottom + 34, parts)


def reliability(pairs: Sequence[tuple[float, bool]], bins: int = BINS) -> list[tuple[float, float, int]]:
    """Return (mean confidence, share that is right, number) of bins that hold equally many pairs."""
    ordered = sorted((float(confidence), bool(right)) for confidence, right in pairs)
    edges = [len(ordered) * k // bins for k in range(bins + 1)]
    groups = [ordered[a:b] for a, b in pairwise(edges) if b > a]
    return [(sum(c for c, _ in g) / len(g), sum(r for _, r in g) / len(g), len(g)) for g in groups]


def reliability_picture(pairs: Sequence[tuple[float, bool]], title: str) -> str:
    """Return the share that is right over the confidence: ten bins with 95% intervals, the diagonal is perfect calibration."""
    left, top, side = 64, 56, 340

    def at(confidence: float, right: float) -> tuple[float, float]:
        return left + side * confidence, top + side * (1 - right)

    parts = [_text(20, 28, title, size=15, weight="600")]
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = at(tick, tick)
        parts += [_line(x, top, x, top + side, "#eaeef2"), _line(left, y, left + side, y, "#eaeef2")]
        parts.append(_text(x, top + side + 18, f"{tick:.1f}", size=11, anchor="middle", colour=_QUIET))
        parts.append(_text(left - 8, y + 4, f"{tick:.1f}", size=11, anchor="end", colour=_QUIET))
    parts.append(_line(*at(0, 0), *at(1, 1), _QUIET, "4 4"))
    points = reliability(pairs, 10)
    for confidence, share, count in points:
        # Wilson's interval (1927) keeps within 0 and 1.
        z2 = 1.96**2 / count
        middle, half = (share + z2 / 2) / (1 + z2), (share * (1 - share) / count * 1.96**2 + z2**2 / 4) ** 0.5 / (1 + z2)
        parts.append(_line(*at(confidence, middle - half), *at(confidence, middle + half), _OTHERS))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(c, s) for c, s, _ in points))
    parts.append(f'<polyline points="{path}" fill="none" stroke="{_OURS}" stroke-width="2"/>')
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_OURS}"/>' for x, y in (at(c, s) for c, s, _ in points)]
    error = sum(abs(c - s) * n for c, s, n in reliability(pairs)) / max(1, len(pairs))
    parts.append(_text(left + side / 2, top + side + 40, "confidence", anchor="middle"))
    parts.append(_text(left + 10, top + 18, f"share right, {len(pairs)} items", colour=_QUIET))
    parts.append(_text(left + side - 10, top + side - 12, f"calibration error {error:.3f}", anchor="end", colour=_QUIET))
    return _picture(left + side + 40, top + side + 56, parts)


def main(arguments: list[str] | None = None) -> None:
    """Draw one picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("speed", "reliability"))
    parser.add_argument("figures", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--title", default="How far the confidence can be trusted")
    options = parser.parse_args(arguments)
    found = json.loads(options.figures.read_text())
    if options.kind == "speed":
        picture = speed_picture(found)
    else:
        picture = reliability_picture(found["pairs"] if isinstance(found, dict) else found, options.title)
    options.picture.write_text(picture)


if __name__ == "__main__":
    main()
