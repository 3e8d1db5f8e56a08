"""Plotly figures of the page as plain dicts: building them needs no plotly, which takes longer to import than the report to make.

Colours are names of the page's CSS variables ("@blue"), so that the charts follow its light and dark theme.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

from map4_pipeline.reports import series, text
from map4_pipeline.reports.digest import Digest
from map4_pipeline.reports.model import LibrarySnapshot
from map4_pipeline.reports.series import Series
from map4_pipeline.reports.statistics import HAMMS_NAMES

Figure = dict[str, Any]

_GROUP_COLOURS = ("@blue", "@orange", "@green", "@pink", "@amber", "@sky")
_FONT = {"family": "@fonts", "size": 12, "color": "@muted"}


def figures(snapshot: LibrarySnapshot, selection: Digest) -> tuple[dict[str, Figure], dict[str, str]]:
    """Return {name: figure} and {name: what it shows, in words}; charts without anything to show are left out."""
    s = snapshot.statistics
    bars = {
        "tempo": (series.tempo(s), "@blue", "Tempo, BPM"),
        "energy": (series.energy(s), "@orange", "Energy, 0 calm to 1 intense"),
        "loudness": (series.loudness(s), "@amber", "Loudness, LUFS"),
        "years": (series.years(s), "@green", "Year"),
        "additions": (series.additions(s), "@green", "Added to the library"),
    }
    found = {name: _histogram(data, colour, axis) for name, (data, colour, axis) in bars.items() if data.total}
    for name, data, colour in (("genres", series.genres(s), "@pink"), ("codecs", series.codecs(s), "@green")):
        if data.total:
            found[name] = _named_bars(data, colour)
    if sum(s.keys.values()):
        found["wheel"] = _wheel(s.keys)
    if series.hamms_measured(s):
        found["radar"] = _radar(s.hamms)
    usual = {name: s.hamms.get(name, {}).get("q50") for name in HAMMS_NAMES}
    for number, cluster in enumerate(selection.clusters, 1):
        found[f"group-{number}"] = profile(cluster.medians, usual, _GROUP_COLOURS[(number - 1) % len(_GROUP_COLOURS)])
    for name, said in series.annotation_charts(selection).items():
        found[f"ai-{name.lower()}"] = _named_bars(said, "@pink")
    words = {
        "tempo": "Histogram of tempi",
        "energy": "Histogram of energy",
        "loudness": "Histogram of loudness",
        "years": "Tracks by year",
        "additions": "Tracks by date of addition",
        "genres": "Tracks by genre",
        "codecs": "Tracks by format",
        "wheel": "Tracks by key on the Camelot wheel",
        "radar": "HAMMS profile of the library",
        **{f"group-{number}": f"HAMMS profile: {cluster.words}" for number, cluster in enumerate(selection.clusters, 1)},
        **{f"ai-{name.lower()}": f"{name} by the AI annotations" for name in series.annotation_charts(selection)},
    }
    return found, words


def _layout(**more: Any) -> dict[str, Any]:
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": _FONT,
        "margin": {"l": 46, "r": 10, "t": 10, "b": 46},
        "showlegend": False,
        "hoverlabel": {"bgcolor": "@shade", "bordercolor": "@hairline", "font": {"color": "@ink"}},
        **more,
    }


def _axis(title: str = "", **more: Any) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"color": "@muted"}},
        "gridcolor": "@hairline",
        "linecolor": "@muted",
        "zeroline": False,
        "fixedrange": True,
        **more,
    }


def _histogram(data: Series, colour: str, axis: str) -> Figure:
    # Positions are numbers and labels are ticks: plotly would read "60" as a number and "2024-05" as a date.
    # Turned or colliding labels are worse than few: long ones (months) get half as many places. A telephone's width holds these.
    places = 9 if max(len(label) for label in data.labels) <= 5 else 5
    every = max(1, -(-len(data.labels) // places))
    ticks = list(range(0, len(data.labels), every))
    return {
        "data": [
            {
                "type": "bar",
                "x": list(range(len(data.counts))),
                "y": list(data.counts),
                "hovertext": [
                    f"{escape(detail)}<br>{text.tracks(count)}" for detail, count in zip(data.details, data.counts, strict=True)
                ],
                "hoverinfo": "text",
                "marker": {"color": colour},
            }
        ],
        "layout": _layout(
            bargap=0.14,
            xaxis=_axis(
                axis,
                tickvals=ticks,
                ticktext=[escape(data.labels[index]) for index in ticks],
                tickangle=0,
                showgrid=False,
                # One bar alone would be as wide as the page.
                range=[-3, 3] if len(data.counts) == 1 else [-0.6, len(data.counts) - 0.4],
            ),
            yaxis=_axis(rangemode="tozero", tickformat=",d"),
        ),
    }


def _named_bars(data: Series, colour: str) -> Figure:
    # Escaped, because plotly reads a subset of HTML in labels; by position, because two names may look alike when cut.
    names = [escape(text.one_line(label, 26)) for label in data.labels]
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "x": list(data.counts),
                "y": list(range(len(data.counts))),
                "text": [text.count(count) for count in data.counts],
                "textposition": "outside",
                "cliponaxis": False,
                "hovertext": [
                    f"{escape(text.one_line(label, 80))}<br>{text.tracks(count)}"
                    for label, count in zip(data.labels, data.counts, strict=True)
                ],
                "hoverinfo": "text",
                "marker": {"color": colour},
            }
        ],
        "layout": _layout(
            bargap=0.25,
            margin={"l": 10, "r": 40, "t": 6, "b": 10},
            xaxis=_axis(showticklabels=False, showgrid=False, showline=False),
            yaxis=_axis(
                tickvals=list(range(len(names))),
                ticktext=names,
                automargin=True,
                showgrid=False,
                range=[max(len(names), 4) - 0.4, -0.6],
            ),
        ),
    }


def _wheel(counts: Mapping[str, int]) -> Figure:
    highest = max(counts.values())
    rings: list[dict[str, Any]] = []
    for letter, base in (("A", 0), ("B", 1)):
        codes = [f"{hour}{letter}" for hour in range(1, 13)]
        angles = [hour % 12 * 30 for hour in range(1, 13)]
        amounts = [counts.get(code, 0) for code in codes]
        rings.append(
            {
                "type": "barpolar",
                "r": [1] * 12,
                "base": base,
                "theta": angles,
                "width": [30] * 12,
                "marker": {
                    "color": amounts,
                    "cmin": 0,
                    "cmax": highest,
                    "colorscale": [[0, "@ramp-low"], [1, "@ramp-high"]],
                    "line": {"color": "@paper", "width": 2},
                },
                "hovertext": [
                    f"{code}, {text.CAMELOT_KEYS[code]}<br>{text.tracks(amount)}"
                    for code, amount in zip(codes, amounts, strict=True)
                ],
                "hoverinfo": "text",
            }
        )
        rings.append(
            {
                "type": "scatterpolar",
                "mode": "text",
                "r": [base + 0.5] * 12,
                "theta": angles,
                "text": [f"<b>{code}</b><br>{text.count(amount)}" for code, amount in zip(codes, amounts, strict=True)],
                "textfont": {"size": 11, "color": ["@ramp-ink" if amount / highest > 0.55 else "@ink" for amount in amounts]},
                "hoverinfo": "skip",
            }
        )
    hidden = {"visible": False}
    polar = {
        "bgcolor": "rgba(0,0,0,0)",
        "hole": 0.3,
        "angularaxis": hidden | {"direction": "clockwise", "rotation": 90},
        "radialaxis": hidden | {"range": [0, 2]},
    }
    return {"data": rings, "layout": _layout(polar=polar, margin={"l": 8, "r": 8, "t": 8, "b": 8}, dragmode=False)}


def _radar(summaries: Mapping[str, Mapping[str, float | None]]) -> Figure:
    measured = [name for name in HAMMS_NAMES if summaries.get(name, {}).get("q50") is not None]
    closed = [*measured, measured[0]]
    labels = [text.HAMMS_LABELS[name] for name in closed]

    def ring(quantile: str, **more: Any) -> dict[str, Any]:
        values = [round(float(summaries[name][quantile] or 0.0), 4) for name in closed]
        return {
            "type": "scatterpolar",
            "theta": labels,
            "r": values,
            "hovertemplate": "%{theta}: %{r:.2f}<extra></extra>",
            **more,
        }

    edge = {"color": "@blue", "width": 0}
    return {
        "data": [
            ring("q25", mode="lines", line=edge, hoverinfo="skip"),
            ring("q75", mode="lines", line=edge, fill="tonext", fillcolor="@band", hoverinfo="skip"),
            ring("q50", mode="lines+markers", line={"color": "@blue", "width": 2.5}, marker={"color": "@blue", "size": 6}),
        ],
        "layout": _radar_layout(labels),
    }


def profile(values: Mapping[str, float | None], usual: Mapping[str, float | None], colour: str) -> Figure:
    """Return the profile of a track or a group, before the library's as a dashed line."""

    def ring(mapping: Mapping[str, float | None], **more: Any) -> dict[str, Any]:
        known = [name for name in HAMMS_NAMES if mapping.get(name) is not None]
        return {
            "type": "scatterpolar",
            "theta": [text.HAMMS_LABELS[name] for name in [*known, *known[:1]]],
            "r": [round(float(mapping[name] or 0.0), 4) for name in [*known, *known[:1]]],
            **more,
        }

    here = {"line": {"color": colour, "width": 2.2}, "marker": {"color": colour, "size": 5}}
    behind = {"line": {"color": "@muted", "width": 1.2, "dash": "dash"}}
    return {
        "data": [
            ring(usual, mode="lines", hovertemplate="%{theta}: %{r:.2f} in the library<extra></extra>", **behind),
            ring(values, mode="lines+markers", hovertemplate="%{theta}: %{r:.2f}<extra></extra>", **here),
        ],
        "layout": _radar_layout([text.HAMMS_LABELS[name] for name in HAMMS_NAMES]),
    }


def _radar_label(label: str) -> str:
    """Return a name in two lines where there is little room beside the ring; at its foot, they would run into another name."""
    return label if label == text.HAMMS_LABELS["rhythmic_pattern"] else label.replace(" ", "<br>")


def _radar_layout(labels: list[str]) -> dict[str, Any]:
    return _layout(
        dragmode=False,
        margin={"l": 90, "r": 90, "t": 34, "b": 34},
        polar={
            "bgcolor": "rgba(0,0,0,0)",
            "angularaxis": {
                "direction": "clockwise",
                "rotation": 90,
                "gridcolor": "@hairline",
                "linecolor": "@hairline",
                "tickmode": "array",
                "tickvals": labels,
                "ticktext": [_radar_label(label) for label in labels],
            },
            "radialaxis": {
                "range": [0, 1],
                "gridcolor": "@hairline",
                "linecolor": "@hairline",
                "dtick": 0.25,
                "angle": 90,
                "tickangle": 90,
            },
        },
    )
