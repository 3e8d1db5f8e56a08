"""A comparison of tracks as one HTML page that needs no network: a heat map of all transitions, and the best order."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from map4_pipeline.reports.atomic import replacing

if TYPE_CHECKING:
    from map4_pipeline.hamms.comparison import Comparison

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>MAP4: comparison of tracks</title>
<style>
body {{ font: 15px/1.45 "Noto Sans", "Segoe UI", system-ui, sans-serif; color: #222; }}
body {{ margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
.wide {{ overflow-x: auto; }}
@media (max-width: 40rem) {{
  #transitions {{ min-width: 32rem; }} body {{ margin: 1rem auto; }} h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.25rem; }}
  table, thead, tbody {{ display: block; }} tr {{ display: grid; border-bottom: 1px solid #8886; padding: .35rem 0; }}
  tr {{ grid-template-columns: 2rem minmax(0, 1fr) minmax(0, 1fr) minmax(0, 2fr); }}
  th, td, td.n, th.n {{ border: 0; padding: .1rem .5rem .1rem 0; grid-row: 2; text-align: left; overflow-wrap: anywhere; }}
  :is(th, td):first-child {{ grid-row: 1 / span 3; }} :is(th, td):nth-child(2) {{ grid-row: 1; grid-column: 2 / -1; }}
  :is(th, td):last-child {{ grid-row: 3; grid-column: 2 / -1; }}
}}
@media (prefers-color-scheme: dark) {{ body {{ background: #16181c; color: #e6e6e6; }} th, td {{ border-color: #3a3d44; }} }}
</style></head><body>
<h1>Comparison of {count} tracks</h1>
<p>{rules}</p>
<h2>From each track (row) to each (column)</h2>
<div class="wide">{chart}</div>
<h2>{heading}</h2>
<table><thead><tr>
<th class="n">#</th><th>Track</th><th class="n">BPM</th><th>Key</th><th class="n">Into the next</th><th>Why</th>
</tr></thead>
<tbody>
{rows}
</tbody></table>
</body></html>
"""


def write_heatmap(path: Path, names: Sequence[str], tracks: Sequence[Any], comparison: "Comparison", rules: str) -> None:
    """Write the page.

    Parameters
    ----------
    names : sequence of str
        What each track is called.
    tracks : sequence of MixTrack
    rules : str
        The rules of the comparison, for people.
    """
    import plotly.graph_objects as go

    # Plotly reads a subset of HTML in labels and hovers.
    safe = [escape(name) for name in names]
    places = list(range(len(names)))
    short = [name if len(name) <= 32 else name[:31] + "…" for name in names]
    ticks = {"tickmode": "array", "tickvals": places, "ticktext": [escape(name) for name in short], "showgrid": False}
    grid = [[None if a == b else round(float(comparison.scores[a, b]), 3) for b in places] for a in places]
    hovers = [
        [f"{safe[a]}<br>into {safe[b]}" + ("" if a == b else f": {comparison.scores[a, b]:.2f}") for b in places] for a in places
    ]
    figure = go.Figure(
        go.Heatmap(
            z=grid, x=places, y=places, zmin=0, zmax=1, colorscale="Viridis", hovertext=hovers, hoverinfo="text",
            texttemplate="%{z:.2f}" if len(names) <= 24 else None, colorbar={"title": {"text": "score"}},
        )
    )  # fmt: skip
    figure.update_layout(
        height=max(420, 160 + 30 * len(names)), margin={"l": 10, "r": 10, "t": 10, "b": 10},
        xaxis={**ticks, "automargin": True}, yaxis={**ticks, "automargin": True, "autorange": "reversed"},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font={"color": "#888"},
    )  # fmt: skip
    chart = figure.to_html(full_html=False, include_plotlyjs=True, div_id="transitions", config={"displaylogo": False})
    page = _PAGE.format(
        count=len(names),
        rules=escape(rules),
        chart=chart,
        heading="The best order" if comparison.order.exact else "A good order (searched, not proven)",
        rows="\n".join(_rows(safe, tracks, comparison)),
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def _rows(safe: Sequence[str], tracks: Sequence[Any], comparison: "Comparison") -> list[str]:
    found = []
    for number, place in enumerate(comparison.order.places):
        track = tracks[place]
        step = comparison.steps[number] if number < len(comparison.steps) else None
        into, why = ("", "") if step is None else (f"{step.score:.2f} {escape(step.label)}", escape(step.reason))
        bpm, key = "-" if track.bpm is None else f"{track.bpm:.1f}", escape(track.camelot or "-")
        cells = f'<td class="n">{number + 1}</td><td>{safe[place]}</td><td class="n">{bpm}</td><td>{key}</td>'
        found.append(f'<tr>{cells}<td class="n">{into}</td><td>{why}</td></tr>')
    return found
