"""What a HAMMS vector has to fulfil before anyone uses it."""

import math
from collections.abc import Mapping
from typing import Any

from map4_pipeline.hamms import DIMENSIONS


def quality_problems(values: Mapping[str, Any], null_reasons: Mapping[str, str] | None = None) -> list[str]:
    """Return what is wrong with a vector, a sentence each; an empty list when it is sound.

    Parameters
    ----------
    values : mapping
        {dimension: value}.
    null_reasons : mapping, optional
        {dimension: why it is None}.
    """
    reasons = null_reasons or {}
    problems = [f"{name} is missing" for name in DIMENSIONS if name not in values]
    problems += [f"{name} is no HAMMS dimension" for name in values if name not in DIMENSIONS]
    for name in DIMENSIONS:
        if name not in values:
            continue
        value = values[name]
        if value is None:
            if not reasons.get(name):
                problems.append(f"{name} is null without a reason")
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            problems.append(f"{name} is not a number")
        elif not math.isfinite(value):
            problems.append(f"{name} is not finite")
        elif not 0.0 <= value <= 1.0:
            problems.append(f"{name} is outside [0, 1]")
        elif reasons.get(name):
            problems.append(f"{name} has a value and a reason for having none")
    return problems
