"""Wishes, weights and rules as plain values, to be stored beside a set, sent by a program, and read again."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from map4_pipeline.hamms.mixing import TransitionRules
from map4_pipeline.playlists.curves import CurveError, parse_curve
from map4_pipeline.playlists.wishes import Weights, WishError, Wishes


def wishes_to_dict(wishes: Wishes) -> dict[str, Any]:
    """Return wishes as JSON-ready values; `wishes_from_dict` reads them."""
    values = asdict(wishes)
    values["curve"] = None if wishes.curve is None else wishes.curve.name
    values["tracks"] = None if wishes.tracks is None else list(wishes.tracks)
    values["must"], values["excluded"] = list(wishes.must), list(wishes.excluded)
    values["apart"] = [list(pair) for pair in wishes.apart]
    return values


def wishes_from_dict(values: Mapping[str, Any]) -> Wishes:
    """Return wishes from what `wishes_to_dict` gave, or a program sent.

    `tracks` may also be one number; a name that is missing is no wish.

    Raises
    ------
    WishError
        When a name or a value is no wish; the text says which.
    """
    known = {field.name for field in fields(Wishes)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise WishError(f"There is no wish '{unknown[0]}'. Wishes: {', '.join(sorted(known))}.")
    found = {name: value for name, value in values.items() if value is not None}
    try:
        if isinstance(found.get("tracks"), int):
            found["tracks"] = [found["tracks"]] * 2
        if "tracks" in found:
            low, high = found["tracks"]
            found["tracks"] = (_whole(low), _whole(high))
        for name in ("must", "excluded"):
            found[name] = tuple(_whole(id_) for id_ in found.get(name, ()))
        found["apart"] = tuple((_whole(first), _whole(second)) for first, second in found.get("apart", ()))
        for name in ("start", "end", "artist_gap"):
            if name in found:
                found[name] = _whole(found[name])
        for name in ("minutes", "minutes_tolerance", "max_drift", "min_score"):
            if name in found:
                found[name] = float(found[name])
        if "curve" in found:
            found["curve"] = parse_curve(str(found["curve"]))
    except CurveError as error:
        raise WishError(str(error)) from None
    except (TypeError, ValueError):
        raise WishError("A wish has a value that is not of its kind: ids and counts are whole numbers.") from None
    return Wishes(**found)


def parameters(
    wishes: Wishes, weights: Weights, rules: TransitionRules, query: str, rounds: int, candidates: int
) -> dict[str, Any]:
    """Return everything that, with the seed and the library, gives the same set again."""
    return {
        "wishes": wishes_to_dict(wishes),
        "weights": asdict(weights),
        "rules": asdict(rules),
        "filter": query,
        "rounds": rounds,
        "candidates": candidates,
    }


def _whole(value: Any) -> int:
    if isinstance(value, bool) or int(value) != float(value):
        raise ValueError("not a whole number")
    return int(value)
