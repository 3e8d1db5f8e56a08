"""Whether providers agree: two that say the same independently are better evidence than one that is sure of itself."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any


def agreement(annotations: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Compare what several providers say about a track.

    Parameters
    ----------
    annotations
        Provider to its annotation (`Annotation.to_dict`).

    Returns
    -------
    dict or None
        `providers`, and per claim the mean agreement of all pairs in [0, 1] (`genre`, `era`: equal or not; `release_year`: at
        most a year apart; `moods`: shared among all named, Jaccard), None where fewer than two have said anything; `score` is the
        mean of these.
        None with fewer than two providers.
    """
    if len(annotations) < 2:
        return None
    names = sorted(annotations)
    found: dict[str, Any] = {"providers": names}
    for claim in ("genre", "era", "release_year", "moods"):
        said = [annotations[name].get(claim) for name in names]
        found[claim] = _mean(
            [_alike(claim, first, second) for first, second in combinations([s for s in said if s not in (None, [])], 2)]
        )
    scores = [found[claim] for claim in ("genre", "era", "release_year", "moods") if found[claim] is not None]
    found["score"] = _mean(scores)
    return found


def _alike(claim: str, first: Any, second: Any) -> float:
    if claim == "moods":
        one, other = set(first), set(second)
        return len(one & other) / len(one | other)
    if claim == "release_year":
        return float(abs(first - second) <= 1)
    return float(first == second)


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
