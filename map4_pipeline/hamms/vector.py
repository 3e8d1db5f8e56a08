"""The HAMMS vector of a track, from its measured features. Pure Python: no numpy, no audio."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from map4_pipeline.hamms import DIMENSIONS, WEIGHTS
from map4_pipeline.hamms.camelot import camelot_number, parse_key

#: Tempi at which the bpm dimension is 0 and 1: the range the engine can answer.
BPM_LOW, BPM_HIGH = 40.0, 250.0


@dataclass(frozen=True, slots=True)
class HammsVector:
    """The twelve dimensions of a track.

    Attributes
    ----------
    values : dict
        {dimension: value in [0, 1], or None where it could not be measured}; always all twelve, in order.
    confidence : float or None
        How far the vector may be trusted, in [0, 1]; None when nothing was measured.
    null_reasons : dict
        {dimension: why it is None}.
    """

    values: dict[str, float | None]
    confidence: float | None
    null_reasons: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {"values": dict(self.values), "confidence": self.confidence, "null_reasons": dict(self.null_reasons)}


def normalised_bpm(bpm: float) -> float:
    """Return a tempo's place between 40 and 250 BPM on a logarithmic scale, in [0, 1].

    A ratio of tempi, not their difference, is what is heard, so equal ratios are equally far apart: an octave is 0.378 anywhere.
    """
    return _clip(math.log(max(bpm, BPM_LOW) / BPM_LOW) / math.log(BPM_HIGH / BPM_LOW))


def bpm_from_normalised(value: float) -> float:
    """Return the tempo of a value of `normalised_bpm`."""
    return BPM_LOW * math.pow(BPM_HIGH / BPM_LOW, value)


def normalised_key(key: str) -> float:
    """Return a key's place on the Camelot ring, in [0, 1): (n - 1 + 1/2 if major) / 12.

    The scale is a circle: 0 and 1 are the same place, 12A (0.917) is next to 1A (0.0). Compare keys with `similarity`, which
    knows that, not by subtraction. 1A is 0, 1B 0.042, 8A 0.583, 8B 0.625.
    """
    number, letter = camelot_number(key)
    return (number - 1 + (0.5 if letter == "B" else 0.0)) / 12


def hamms_vector(features: Mapping[str, Any]) -> HammsVector:
    """Return the HAMMS vector of `Features.to_dict()`, or of a row with the same names.

    A dimension that is missing, not finite or None becomes None with the reason the analysis gave. The confidence is the
    mean over the twelve dimensions, by their weights, of 1 where a value was measured and 0 where not; tempo and rhythmic
    pattern count with the probability of the tempo, the key with that of the key, danceability and valence half so.
    """
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    given = features.get("null_reasons") or {}
    for name in DIMENSIONS:
        raw = features.get(name)
        value: float | None = None
        if name == "key":
            key = parse_key(raw) if isinstance(raw, str) else None
            value = None if key is None else normalised_key(key)
        elif isinstance(raw, (int, float)) and not isinstance(raw, bool) and math.isfinite(raw):
            value = _bpm_value(float(raw)) if name == "bpm" else _clip(float(raw))
        values[name] = None if value is None else round(value, 6)
        if value is None:
            reasons[name] = str(given.get(name) or "not measured")
    return HammsVector(values, _confidence(values, features), reasons)


def _bpm_value(bpm: float) -> float | None:
    return normalised_bpm(bpm) if bpm > 0 else None


def _confidence(values: Mapping[str, float | None], features: Mapping[str, Any]) -> float | None:
    if all(value is None for value in values.values()):
        return None
    tempo = _probability(features.get("bpm_confidence"))
    key = _probability(features.get("key_confidence"))
    trust = {"bpm": tempo, "danceability": (1 + tempo) / 2, "rhythmic_pattern": tempo, "key": key, "valence": (1 + key) / 2}
    total = sum(WEIGHTS[name] * trust.get(name, 1.0) for name, value in values.items() if value is not None)
    return round(total / sum(WEIGHTS.values()), 4)


def _probability(value: Any) -> float:
    if isinstance(value, (int, float)) and math.isfinite(value):
        return _clip(float(value))
    return 0.5  # a value without a stated confidence is neither trusted nor dismissed


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))
