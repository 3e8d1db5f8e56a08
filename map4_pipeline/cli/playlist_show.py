"""How a playlist is shown: tracks, transitions with their reason, energy, cost; and the same for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from map4_pipeline.cli.console import printable
from map4_pipeline.cli.mixing import title_of, track_json, transition_json
from map4_pipeline.cli.tables import length, number

if TYPE_CHECKING:
    from rich.console import Console

    from map4_pipeline.hamms.transition import Transition, TransitionRules
    from map4_pipeline.store.playlists import Entry, Playlist

_BLOCKS = "▁▂▃▄▅▆▇█"
#: A stored score that differs more from what it would be now is told.
_SAME = 0.005
_PARTS = (
    ("transition", "transitions"),
    ("weakest", "weakest transition"),
    ("energy", "energy curve"),
    ("tempo", "tempo changes"),
)


def transitions(entries: "Sequence[Entry]", rules: "TransitionRules") -> "list[Transition]":
    """Return how each track goes into the next, by what is known of them now."""
    from map4_pipeline.hamms.transition import transition
    from map4_pipeline.store.similar import mix_track

    mixed = [mix_track(entry.track) for entry in entries]
    return [transition(a, b, rules) for a, b in pairwise(mixed)]


def sparkline(values: Sequence[float | None]) -> str:
    """Return values in [0, 1] as blocks, a dot where one is not known."""
    return "".join("·" if value is None else _BLOCKS[min(int(value * len(_BLOCKS)), len(_BLOCKS) - 1)] for value in values)


def print_playlist(
    console: "Console", found: "Playlist", entries: "Sequence[Entry]", rules: "TransitionRules", *, stored: bool = True
) -> None:
    """Print a playlist."""
    name = f"{found.id}  {printable(found.name)}" if stored else f"{printable(found.name)} (not stored)"
    console.print(f"{name}    {found.tracks} tracks, {length(found.seconds)}", style="bold", soft_wrap=True)
    if found.description:
        console.print(printable(found.description), soft_wrap=True)
    if not entries:
        console.print("It has no tracks yet: map4 playlist add")
        return
    begun: float | None = 0.0
    steps = transitions(entries, rules)
    for place, entry in enumerate(entries):
        if place:
            _print_step(console, entry, steps[place - 1])
        track = entry.track
        state = "  (file missing)" if track["missing_since"] else "" if track["status"] == "ok" else f"  ({track['status']})"
        values = f"{number(track['bpm'], 1):>5}  {track['camelot'] or '-':<3}  {number(track['energy'], 2):>4}"
        console.print(f"{entry.position:>3}  {length(begun):>7}  {values}  {title_of(track)}{state}", soft_wrap=True)
        begun = None if begun is None or track["duration"] is None else begun + track["duration"]
    console.print(f"\nenergy      {sparkline([entry.track['energy'] for entry in entries])}")
    cost = found.cost
    if cost and cost.get("targets"):
        console.print(f"wished      {sparkline(cost['targets'])}")
    if cost:
        print_cost(console, cost, edited=found.kind == "edited")
    if found.seed is not None:
        console.print(f"seed        {found.seed}", style="dim")


def _print_step(console: "Console", entry: "Entry", step: "Transition") -> None:
    stored = entry.transition_quality
    score = step.score if stored is None else stored
    now = "" if stored is None or abs(stored - step.score) <= _SAME else f" (now {step.score:.2f}: map4 playlist rescore)"
    console.print(f"       {score:.2f}{now} {step.label}. {printable(step.reason)}", style="dim", soft_wrap=True)


def print_cost(console: "Console", cost: dict[str, Any], *, edited: bool) -> None:
    """Print what a set costs, part by part."""
    parts = ", ".join(f"{label} {cost[name]:.3f}" for name, label in _PARTS if cost.get(name) is not None)
    as_built = " (as it was built, before it was edited)" if edited else ""
    console.print(f"cost        {cost['total']:.3f} of 1: {parts}{as_built}", soft_wrap=True)
    if cost.get("proven"):
        console.print("            proven: no set costs less")
    elif cost.get("bound"):
        console.print(f"            no set of so many tracks costs less than {cost['bound']:.3f}")
    if cost.get("mean_score") is not None:
        drift = cost.get("largest_drift")
        tempo = "" if drift is None else f"; largest tempo change {drift:.1f}%"
        text = f"transitions {cost['mean_score']:.2f} on average, {cost['weakest_score']:.2f} the weakest{tempo}"
        console.print(text, soft_wrap=True)


def playlist_json(found: "Playlist") -> dict[str, Any]:
    """Return a playlist without its tracks."""
    moments = {"created_at": found.created_at.isoformat(), "updated_at": found.updated_at.isoformat()}
    return asdict(found) | moments


def shown_json(found: "Playlist", entries: "Sequence[Entry]", rules: "TransitionRules") -> dict[str, Any]:
    """Return a playlist with its tracks; each but the first with the transition into it, stored and as it is now."""
    steps = [None, *(transition_json(step) for step in transitions(entries, rules))]
    order = [
        {
            "position": entry.position,
            **track_json(entry.track),
            "status": entry.track["status"],
            "missing": entry.track["missing_since"] is not None,
            "transition_quality": entry.transition_quality,
            "transition": step,
        }
        for entry, step in zip(entries, steps, strict=False)
    ]
    return playlist_json(found) | {"order": order}
