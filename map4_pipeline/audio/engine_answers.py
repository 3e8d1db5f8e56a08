"""All features as an engine answers them: checked field by field, and brought into the form in which MAP4 stores them.

An engine's numbers may be numpy's and its sequences lists or arrays; what comes out is what MAP4's own measurement gives. A value
out of its range is refused here, so that it is told as the engine's and not as a defect of the database.
"""

import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from typing import Any, SupportsFloat

from map4_pipeline.audio.model import Candidate, Features, Finding, KeySpan, Section, TempoSpan
from map4_pipeline.hamms.camelot import parse_key, to_camelot, to_open_key

#: Tempi that an engine may answer, BPM.
BPM_RANGE = (10.0, 1000.0)
_UNIT = (0.0, 1.0)
_ANY = (-math.inf, math.inf)
_NOT_NEGATIVE = (0.0, math.inf)

_RANGES = {
    "bpm": BPM_RANGE,
    **dict.fromkeys(("bpm_confidence", "key_confidence", "downbeat_confidence", "energy", "danceability", "valence"), _UNIT),
    **dict.fromkeys(("acousticness", "instrumentalness", "rhythmic_pattern", "spectral_centroid", "tempo_stability"), _UNIT),
    **dict.fromkeys(("harmonic_complexity", "dynamic_range"), _UNIT),
    **dict.fromkeys(("spectral_centroid_hz", "spectral_cutoff_hz", "loudness_range_lu", "replaygain_peak"), _NOT_NEGATIVE),
    **dict.fromkeys(("leading_silence", "trailing_silence"), _NOT_NEGATIVE),
    **dict.fromkeys(("tuning_cents", "loudness_lufs", "true_peak_dbtp", "crest_db", "beat_first", "replaygain_db"), _ANY),
}


def is_within(value: object, low: float, high: float) -> bool:
    """Return whether a value is a finite number in [low, high]; numpy's count, True and False do not."""
    # numpy's float32 is no float, but can be made one.
    if not isinstance(value, SupportsFloat) or isinstance(value, bool):
        return False
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # an array of several, say
        return False
    return math.isfinite(number) and low <= number <= high


def checked_features(answer: Features) -> Features:
    """Return an engine's features in MAP4's form.

    Keys are spelled as MAP4 spells them; `camelot` and `open_key` follow from `key`. Without a tempo or a key there is neither
    confidence nor alternative, and a reason for what is not None is left out.

    Raises
    ------
    ValueError
        When a field holds what it must not; the text is "energy = 7.0".
    """
    values: dict[str, Any] = {}
    for name in (field.name for field in fields(Features)):
        value = getattr(answer, name)
        try:
            values[name] = _form(name, value)
        except (TypeError, ValueError, AttributeError):
            raise ValueError(f"{name} = {value!r}") from None
    values |= {"camelot": to_camelot(values["key"]), "open_key": to_open_key(values["key"])}
    for name in ("bpm", "key"):
        if values[name] is None:
            values |= {f"{name}_confidence": None, f"{name}_alternatives": ()}
    reasons = values["null_reasons"].items()
    values["null_reasons"] = {name: reason for name, reason in reasons if values.get(name) is None}
    return Features(**values)


def _form(name: str, value: Any) -> Any:
    if name in _RANGES:
        return None if value is None else _number(value, *_RANGES[name])
    return _FORMS[name](value)


def _number(value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    if not is_within(value, low, high):
        raise ValueError
    return float(value)


def _whole(value: Any, low: float, high: float) -> int:
    number = _number(value, low, high)
    if number != int(number):
        raise ValueError
    return int(number)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _key(value: Any) -> str:
    key = parse_key(_text(value))
    if key is None:
        raise ValueError
    return key


def _times(value: Any) -> tuple[float, ...]:
    times = tuple(_number(time) for time in value)
    if any(later < earlier for earlier, later in pairwise(times)):
        raise ValueError
    return times


def _all_of(kind: type, **forms: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what brings a sequence of dataclasses into form, field by field."""

    def form(value: Any) -> tuple[Any, ...]:
        if not all(is_dataclass(one) and isinstance(one, kind) for one in value):
            raise ValueError
        return tuple(replace(one, **{name: to_form(getattr(one, name)) for name, to_form in forms.items()}) for one in value)

    return form


def _probability(value: Any) -> float:
    return _number(value, *_UNIT)


def _tempo(value: Any) -> float:
    return _number(value, *BPM_RANGE)


_FORMS: dict[str, Callable[[Any], Any]] = {
    "bpm_alternatives": _all_of(Candidate, value=_tempo, probability=_probability),
    "key": lambda value: None if value is None else _key(value),
    "camelot": lambda value: value,
    "open_key": lambda value: value,
    "key_alternatives": _all_of(Candidate, value=_key, probability=_probability),
    "beat_times": _times,
    "beats_per_bar": lambda value: None if value is None else _whole(value, 1, 1000),
    "downbeat_times": _times,
    "tempo_curve": lambda value: tuple((_number(time), _number(bpm)) for time, bpm in value),
    "tempo_spans": _all_of(TempoSpan, start=_number, end=_number, bpm=_tempo),
    "key_spans": _all_of(KeySpan, start=_number, end=_number, key=_key, probability=_probability),
    "sections": _all_of(Section, start=_number, end=_number, label=_text),
    "waveform": lambda value: tuple(_whole(one, 0, 255) for one in value),
    "null_reasons": lambda value: {_text(name): _text(reason) for name, reason in value.items()},
    "findings": _all_of(Finding, code=_text, message=_text, value=lambda value: None if value is None else _number(value)),
}
