"""Comparisons as the API shows them."""

from typing import Any

from map4_pipeline.cli.mixing import transition_json
from map4_pipeline.hamms.mixing import TransitionRules
from map4_pipeline.settings import Settings
from map4_pipeline.store.reads import plain
from map4_pipeline.store.similar import Similar


def rules_of(
    settings: Settings, *, policy: str | None = None, key_lock: bool | None = None, pitch_range: float | None = None
) -> TransitionRules:
    """Return the rules of the settings, with what a request says otherwise."""
    return TransitionRules.from_settings(settings, policy=policy, key_lock=key_lock, pitch_range=pitch_range)


def shown_similar(found: Similar) -> dict[str, Any]:
    """Return a track that was found as JSON."""
    likeness = found.similarity
    return {
        "track": plain(found.row),
        "similarity": likeness.score,
        "percentile": likeness.percentile,
        "alike": likeness.alike,
        "contributions": likeness.contributions,
        "transition": transition_json(found.transition),
    }
