"""Versioned prompt templates: a file per version, never changed once it was used."""

import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

from map4_pipeline.annotate.facts import TrackFacts, sent_facts

#: The template in use. Annotations name it; another template is another question, so the cache does not answer it.
PROMPT_VERSION = "1"


@lru_cache(maxsize=8)
def system_prompt(version: str = PROMPT_VERSION) -> str:
    """Return a template's text."""
    return files(__name__).joinpath(f"{version}.txt").read_text(encoding="utf-8").strip()


def user_message(tracks: Sequence[TrackFacts], *, file_names: bool = False, note: str | None = None) -> str:
    """Return the message about some tracks: one JSON document, which no tag can end.

    Parameters
    ----------
    note
        What was wrong with the reply before, in our words.
    """
    document = {"tracks": [sent_facts(track, file_names=file_names) for track in tracks]}
    message = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    if note:
        message += f"\n\nYour last reply could not be used: {note}. Reply again, in the required format, about every track above."
    return message
