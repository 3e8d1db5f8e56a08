"""What `map4 similar` and `map4 compare` share: options of mixing, and which track is meant."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from map4_pipeline.hamms.transition import TransitionRules
    from map4_pipeline.settings import Settings


def mix_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a DJ mixes; what is not given is as the settings have it."""
    options = (
        click.option("--policy", type=click.Choice(["strict", "extended"]), help="Which keys mix (MAP4_MIX_POLICY)."),
        click.option("--key-lock/--no-key-lock", default=None, help="Whether the player keeps the key when the tempo is moved."),
        click.option("--pitch-range", type=float, help="How far the player's tempo may be moved, per cent."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def mix_rules(settings: "Settings", policy: str | None, key_lock: bool | None, pitch_range: float | None) -> "TransitionRules":
    """Return the rules of the settings and the options."""
    from map4_pipeline.hamms.transition import TransitionRules

    try:
        return TransitionRules.from_settings(settings, policy=policy, key_lock=key_lock, pitch_range=pitch_range)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def playlist_rules(settings: "Settings", parameters: Mapping[str, Any] | None) -> "TransitionRules":
    """Return the rules of a playlist: those that a set was built with, else those of the settings."""
    from map4_pipeline.hamms.transition import TransitionRules

    stored = (parameters or {}).get("rules")
    if stored:
        try:
            return TransitionRules(**stored)
        except (TypeError, ValueError):
            pass  # written by another version
    return TransitionRules.from_settings(settings)


def track_meant(conn: "Connection", settings: "Settings", name: str) -> dict[str, Any]:
    """Return the one track that a name means.

    Raises
    ------
    click.UsageError
        When it means none, or several: they are listed.
    """
    from map4_pipeline.cli.console import at_home, printable
    from map4_pipeline.store.copies import without_copies
    from map4_pipeline.store.lookup import SHOWN, candidates
    from map4_pipeline.store.query import QueryError

    try:
        found = candidates(conn, at_home(name), settings.path_map)
    except QueryError as error:
        raise click.UsageError(str(error)) from None
    if len(found) == 1:
        return found[0]
    shown = printable(name)
    if not found:
        raise click.UsageError(f"There is no track '{shown}': no id, no file of a library, and a search for it finds nothing.")
    if len(found) <= SHOWN:
        # Files of one recording: the one to keep is meant.
        recording = without_copies(conn, [row["id"] for row in found])
        if len(recording) == 1:
            return next((row for row in found if row["id"] == recording[0]), found[0])
    titles = Counter(title_of(row) for row in found)
    lines = [
        f"  {row['id']:>7}  {title_of(row)}" + (f"  ({printable(row['path'])})" if titles[title_of(row)] > 1 else "")
        for row in found[:SHOWN]
    ]
    more = ["  ..."] if len(found) > SHOWN else []
    raise click.UsageError("\n".join([f"'{shown}' means several tracks; name one by its id:", *lines, *more]))


def title_of(row: Any) -> str:
    """Return "artist - title" of a track, or its file's name."""
    from map4_pipeline.cli.console import printable

    title = printable(row["title"] or "").strip() or row["file_name"] or ""
    artist = printable(row["artist"] or "").strip()
    return f"{artist} - {title}" if artist else title


def track_json(row: Any) -> dict[str, Any]:
    """Return what a program wants to know of a track beside the figures of a comparison."""
    names = (
        "id",
        "path",
        "title",
        "artist",
        "album",
        "genre",
        "bpm",
        "bpm_confidence",
        "key",
        "camelot",
        "key_confidence",
        "energy",
    )
    return {name: row[name] for name in (*names, "loudness_lufs", "duration")}


def transition_json(found: Any) -> dict[str, Any]:
    """Return a transition for JSON."""
    parts = {
        name: {
            "fit": part.fit,
            "weight": part.weight,
            "confidence": part.confidence,
            "detail": part.detail,
            "unknown": part.unknown,
        }
        for name, part in found.parts.items()
    }
    return {"score": found.score, "label": found.label, "reason": found.reason, "parts": parts}
