"""How well one track goes into the next: key, tempo, energy, loudness, and how sure all that is.

Four parts, each a fit in [0, 1]; the score is their mean by the weights of `TransitionRules`. Why each figure is as it is stands
in docs/mixing.md.

    key       the relation on the Camelot ring (`KEY_FITS`); without key lock, of the keys as they sound once the tempo is matched
    tempo     how far the second track has to be sped up or slowed down, at 1:1, 1:2 or 2:1, against the pitch range
    energy    rise or fall; a fall breaks the flow sooner than a rise
    loudness  the jump in LUFS that the gain has to take away

A doubtful tempo or key pulls a good fit down towards what two tracks at random have (`NEUTRAL`), and never pulls a bad one up.
What is unknown counts as random, and is told. `transition` explains a pair; `transition_scores` gives the scores of all pairs.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from map4_pipeline.hamms.mixing import (
    ALMOST,
    AT_RANGE,
    DOUBTFUL,
    EFFECT,
    ENERGY_FALL,
    ENERGY_FREE,
    ENERGY_RISE,
    FLOWS,
    LOUDNESS_END,
    LOUDNESS_FREE,
    NEUTRAL,
    NO_FIT,
    OCTAVE_SHARE,
    PARTS,
    SMOOTH,
    UNKNOWN_KEY,
    WHOLE_TONE_UP,
    MixTrack,
    TransitionRules,
    key_place,
    key_table,
    number,
    positive,
    relation,
    shifted,
    spelled,
    trust,
)  # fmt: skip
from map4_pipeline.hamms.transition_table import MixTable, scores_between, transition_scores
from map4_pipeline.hamms.wording import sentence

__all__ = [
    "Label", "MixTable", "MixTrack", "Part", "Transition", "TransitionRules", "scores_between", "transition", "transition_scores",
]  # fmt: skip

Label = Literal["blend", "harmonic mix", "tempo match", "creative", "avoid"]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a transition.

    Attributes
    ----------
    fit : float
        In [0, 1], as it counts: a doubtful one is pulled towards chance, an unknown one is chance.
    weight : float
        Its share of the score; the shares sum to 1.
    confidence : float
        How sure the values are, in [0, 1]; 0 where one is unknown.
    detail : str
        What it is about: "8A to 9A, a step up", "128.0 to 126.0 BPM, second +1.6%".
    unknown : str or None
        What is not known.
    """

    fit: float
    weight: float
    confidence: float
    detail: str
    unknown: str | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """From one track to the next.

    Attributes
    ----------
    score : float
        In [0, 1]: the sum of fit x weight over the parts.
    label : {"blend", "harmonic mix", "tempo match", "creative", "avoid"}
        What to do with it.
    reason : str
        A sentence why.
    parts : dict
        {"key" | "tempo" | "energy" | "loudness": Part}.
    """

    score: float
    label: Label
    reason: str
    parts: dict[str, Part]


def transition(first: MixTrack, second: MixTrack, rules: TransitionRules | None = None) -> Transition:
    """Return how well `second` follows `first`."""
    rules = rules or TransitionRules()
    weights = rules.weights
    total = sum(weights.values())
    tempo = _tempo(first, second, rules)
    raw = {"key": _key(first, second, rules, tempo), "tempo": tempo}
    raw |= {"energy": _energy(first, second), "loudness": _loudness(first, second)}
    parts = {}
    for name in PARTS:
        found, weight = raw[name], weights[name] / total
        fit = NEUTRAL[name] if found.fit is None else settled(found.fit, found.confidence, NEUTRAL[name])
        parts[name] = Part(fit, weight, found.confidence if found.fit is not None else 0.0, found.detail, found.unknown)
    score = min(1.0, sum(part.fit * part.weight for part in parts.values()))
    label = _label(raw)
    if label == "creative" and parts["key"].detail.endswith(WHOLE_TONE_UP):
        parts["key"] = replace(parts["key"], detail=parts["key"].detail + " (energy boost)")
    return Transition(score, label, sentence(label, parts), parts)


def settled(fit: float, confidence: float, neutral: float) -> float:
    """Return a fit as it counts: doubt takes away what it is better than chance, and gives nothing."""
    return fit - (1 - confidence) * max(0.0, fit - neutral)


@dataclass(frozen=True, slots=True)
class _Raw:
    """A part before doubt: `fit` None where something is unknown; `shift` semitones that a matched tempo moves the key."""

    fit: float | None
    confidence: float
    detail: str
    unknown: str | None = None
    shift: float | None = None


def _tempo(first: MixTrack, second: MixTrack, rules: TransitionRules) -> _Raw:
    a, b = positive(first.bpm), positive(second.bpm)
    if a is None or b is None:
        return _Raw(None, 0.0, "tempo unknown", _missing(a is None, b is None, "tempo"))
    apart = math.log2(b) - math.log2(a)
    octave = min(1, max(-1, round(apart)))
    apart -= octave
    far = abs(apart) / rules.reach
    near = far <= 1 + ALMOST
    fit = 1 - (1 - AT_RANGE) * far if near else max(0.0, AT_RANGE * (NO_FIT - far) / (NO_FIT - 1))
    change = (2**-apart - 1) * 100
    text = f"{a:.1f} to {b:.1f} BPM" + {0: "", 1: " (double time)", -1: " (half time)"}[octave]
    text += f", the second by {change:+.1f}%" if near else f", {_beyond(abs(apart), rules.pitch_range)}"
    confidence = trust(first.bpm_confidence) * trust(second.bpm_confidence)
    return _Raw(fit * (OCTAVE_SHARE if octave else 1.0), confidence, text, shift=-12 * apart if near else None)


def _beyond(octaves: float, pitch_range: float) -> str:
    """Return how far apart tempi beyond the range are: more than the range, whatever the last digit shows."""
    per_cent = f"{(2**octaves - 1) * 100:.1f}"
    shown = per_cent if float(per_cent) > pitch_range else f"just over {pitch_range:g}"
    return f"{shown}% apart: beyond the {pitch_range:g}% range"


def _key(first: MixTrack, second: MixTrack, rules: TransitionRules, tempo: _Raw) -> _Raw:
    a, b = key_place(first.camelot), key_place(second.camelot)
    if a == UNKNOWN_KEY or b == UNKNOWN_KEY:
        return _Raw(None, 0.0, "key unknown", _missing(a == UNKNOWN_KEY, b == UNKNOWN_KEY, "key"))
    confidence = trust(first.key_confidence) * trust(second.key_confidence)
    sounding, off, told = b, 0.0, ""
    if not rules.key_lock and tempo.shift is not None:
        semitones = round(tempo.shift)
        off = abs(tempo.shift - semitones) * 2
        sounding = shifted(b, semitones)
        cents = round((tempo.shift - semitones) * 100)
        if semitones or cents:
            told = f" (sounds as {spelled(sounding)}" + (f" {cents:+d} cents)" if cents else ")")
    fit = float(key_table(rules.policy)[a, sounding]) * (1 - off**2)
    text = f"{spelled(a)} to {spelled(b)}{told}, {relation(a, sounding)}"
    return _Raw(fit, confidence, text)


def _energy(first: MixTrack, second: MixTrack) -> _Raw:
    a, b = number(first.energy), number(second.energy)
    if a is None or b is None:
        return _Raw(None, 0.0, "energy unknown", _missing(a is None, b is None, "energy"))
    change = b - a
    words = "level" if abs(change) < ENERGY_FREE else f"{'rises' if change > 0 else 'falls'} by {abs(change):.2f}"
    rise, fall = (ENERGY_RISE - change) / (ENERGY_RISE - ENERGY_FREE), (ENERGY_FALL + change) / (ENERGY_FALL - ENERGY_FREE)
    return _Raw(min(1.0, max(0.0, min(rise, fall))), 1.0, f"energy {words}")


def _loudness(first: MixTrack, second: MixTrack) -> _Raw:
    a, b = number(first.loudness_lufs), number(second.loudness_lufs)
    if a is None or b is None:
        return _Raw(None, 0.0, "loudness unknown", _missing(a is None, b is None, "loudness"))
    words = "even" if abs(b - a) <= LOUDNESS_FREE else f"{b - a:+.1f} LU"
    fit = (LOUDNESS_END - abs(b - a)) / (LOUDNESS_END - LOUDNESS_FREE)
    return _Raw(min(1.0, max(0.0, fit)), 1.0, f"loudness {words}")


def _label(raw: dict[str, _Raw]) -> Label:
    """Return what to do: whether the tempo can be matched, whether the keys go together, whether the energy flows."""
    tempo, key, energy = raw["tempo"], raw["key"], raw["energy"]
    tempo_known = tempo.fit is not None and tempo.confidence >= DOUBTFUL
    matched = tempo_known and tempo.shift is not None
    key_fit = key.fit if key.fit is not None and key.confidence >= DOUBTFUL else None
    smooth = key_fit is not None and key_fit >= SMOOTH
    effect = key_fit is not None and EFFECT <= key_fit < SMOOTH
    if matched and smooth:
        return "blend" if energy.fit is None or energy.fit >= FLOWS else "creative"
    if matched:
        return "creative" if effect else "tempo match"
    if smooth:
        return "harmonic mix"
    return "creative" if not tempo_known and (effect or key_fit is None) else "avoid"


def _missing(first: bool, second: bool, what: str) -> str:
    return f"the {what} of {'both tracks' if first and second else 'the first track' if first else 'the second track'}"
