"""From a model's reply to an annotation: every claim is checked against what was measured, and what contradicts is kept apart.

Nothing is added that the model did not say. A claim that contradicts a sure measurement is taken out of the annotation and stands
under `contradictions`; it lowers the confidence of everything else the model claims to know of the recording, as it
shows that the model means another one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from map4_pipeline.annotate import ANNOTATION_VERSION
from map4_pipeline.annotate.facts import TrackFacts, sent_facts
from map4_pipeline.annotate.schema import CLAIMS, TrackReply
from map4_pipeline.annotate.vocabulary import LOUD_MOODS, QUIET_MOODS, era_of
from map4_pipeline.hamms.camelot import parse_key, ring_distance

#: A measured tempo or key of at least this confidence is sure: nine in ten are right, the confidences are calibrated
#: (docs/accuracy.md).
SURE = 0.9
#: Tempi that differ by less are the same; half and double are counted alike, people do both.
TEMPO_TOLERANCE = 0.04
#: Energy (in [0, 1]) above which no music is calm, and below which none is energetic.
LOUD_ENERGY, QUIET_ENERGY = 0.85, 0.15
#: What a contradiction leaves of the confidence in the claims that rest on the model's memory.
DOUBT = 0.5
#: Confidence of a claim whose basis is not there.
WITHOUT_BASIS = 0.2
#: The first sound recording is of 1860.
FIRST_RECORDING = 1860

_BPM = re.compile(r"(?i)\b(\d{2,3}(?:\.\d+)?)\s*-?\s*bpm\b")
_KEY = re.compile(r"\b(?:in|key of|key:?)\s+([A-G](?:[#b\u266d\u266f]|[ -](?:sharp|flat))?[ -]?(?:major|minor|maj|min|m)\b)")


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A claim that does not go with what is known: which, what was claimed, what is known, and why."""

    claim: str
    claimed: Any
    known: Any
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {"claim": self.claim, "claimed": self.claimed, "known": self.known, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Annotation:
    """A checked annotation.

    Attributes
    ----------
    claims : dict
        {claim: {"value", "basis", "confidence"}} for every name of `schema.CLAIMS`; a value that was taken out is null.
    contradictions : tuple of Contradiction
    confidence : float
        Mean confidence of the claims that have a value, 0 when none has.
    """

    claims: dict[str, dict[str, Any]]
    contradictions: tuple[Contradiction, ...]
    confidence: float

    def to_dict(self, *, provider: str, model: str, prompt_version: str, tags_digest: str) -> dict[str, Any]:
        """Return what is kept: the values by name, then the evidence."""
        values = {name: self.claims[name]["value"] for name in CLAIMS if name not in ("tempo_bpm", "key")}
        return {
            **values,
            "confidence": self.confidence,
            "claims": self.claims,
            "contradictions": [contradiction.to_dict() for contradiction in self.contradictions],
            "provider": provider,
            "model": model,
            "prompt_version": prompt_version,
            "tags_digest": tags_digest,
            "annotation_version": ANNOTATION_VERSION,
        }


def annotate(reply: TrackReply, facts: TrackFacts) -> Annotation:
    """Check a valid reply against what is known of the track."""
    claims = {name: getattr(reply, name).model_dump(mode="json") for name in CLAIMS}
    found: list[Contradiction] = []
    _check_basis(claims, sent_facts(facts))
    for name, known, reason in _contradictions(claims, facts):
        found.append(Contradiction(name, claims[name]["value"], known, reason))
        claims[name]["value"] = [] if isinstance(claims[name]["value"], list) else None
    _check_moods(claims, facts, found)
    for name, claim in claims.items():
        if _is_empty(claim["value"]):
            # Nothing is claimed (any more), so nothing is sure of it.
            claim["confidence"] = 0.0
        elif found and claim["basis"] == "model knowledge":
            claim["confidence"] = round(claim["confidence"] * DOUBT ** len(found), 4)
        claims[name] = claim
    said = [claim["confidence"] for claim in claims.values() if not _is_empty(claim["value"])]
    return Annotation(claims, tuple(found), round(sum(said) / len(said), 4) if said else 0.0)


def problems(stored: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a stored annotation (`Annotation.to_dict`); for the asset check."""
    found = [
        f"{name} is missing" for name in ("confidence", "claims", "contradictions", "provider", "model") if name not in stored
    ]
    claims = stored.get("claims")
    if isinstance(claims, Mapping):
        from pydantic import ValidationError

        try:
            TrackReply.model_validate({"id": "-", **claims})
        except ValidationError as error:
            found += [f"{'.'.join(map(str, e['loc']))}: {e['type']}" for e in error.errors(include_input=False)]
        found += [
            f"{name} is not what its claim says"
            for name, claim in claims.items()
            if name in stored and isinstance(claim, Mapping) and stored[name] != claim.get("value")
        ]
    return found


def _check_basis(claims: dict[str, dict[str, Any]], sent: Mapping[str, Any]) -> None:
    """Correct claims that name evidence which was not sent, or none."""
    for claim in claims.values():
        if claim["basis"] in ("measured", "tags") and claim["basis"] not in sent:
            claim["basis"] = "unknown"
        if claim["basis"] == "unknown":
            claim["confidence"] = min(claim["confidence"], WITHOUT_BASIS)


def _contradictions(claims: Mapping[str, Mapping[str, Any]], facts: TrackFacts) -> list[tuple[str, Any, str]]:
    """Return (claim, what is known, why) of claims that cannot stand."""
    found: list[tuple[str, Any, str]] = []
    bpm, key = sure_tempo(facts), sure_key(facts)
    tempo = claims["tempo_bpm"]["value"]
    if bpm is not None and tempo is not None and not same_tempo(tempo, bpm):
        found.append(("tempo_bpm", bpm, "another tempo was measured"))
    claimed_key = parse_key(claims["key"]["value"])
    if claims["key"]["value"] is not None and claimed_key is None:
        found.append(("key", key, "this is no key"))
    elif key is not None and claimed_key is not None and not same_key(claimed_key, key):
        found.append(("key", key, "another key was measured"))
    year = claims["release_year"]["value"]
    this_year = datetime.now(UTC).year
    if year is not None and not FIRST_RECORDING <= year <= this_year + 1:
        found.append(("release_year", this_year, "no recording can be of that year"))
    elif year is not None and claims["era"]["value"] is not None and era_of(year) != claims["era"]["value"]:
        weaker = "era" if claims["era"]["confidence"] <= claims["release_year"]["confidence"] else "release_year"
        other = "release_year" if weaker == "era" else "era"
        found.append((weaker, claims[other]["value"], f"it does not go with the model's own {other.replace('_', ' ')}"))
    for name in ("description", "subgenre", "tags"):
        value = claims[name]["value"]
        for text in [value] if isinstance(value, str) else value or []:
            problem = _text_problem(text, bpm, key)
            if problem is not None:
                found.append((name, *problem))
                break
    return found


def _text_problem(text: str, bpm: float | None, key: str | None) -> tuple[Any, str] | None:
    if bpm is not None and any(not same_tempo(float(said), bpm) for said in _BPM.findall(text)):
        return bpm, "it names another tempo than the measured one"
    said_keys = [parsed for said in _KEY.findall(text) if (parsed := parse_key(said)) is not None]
    if key is not None and any(not same_key(said, key) for said in said_keys):
        return key, "it names another key than the measured one"
    return None


def _check_moods(claims: dict[str, dict[str, Any]], facts: TrackFacts, found: list[Contradiction]) -> None:
    """Take moods out that the measured energy rules out; the others stay."""
    energy = facts.measured.get("energy")
    moods = claims["moods"]["value"]
    if energy is None or not moods:
        return
    wrong = QUIET_MOODS if energy >= LOUD_ENERGY else LOUD_MOODS if energy <= QUIET_ENERGY else frozenset()
    out = [mood for mood in moods if mood in wrong]
    if out:
        found.append(Contradiction("moods", out, round(energy, 2), "the measured energy says otherwise"))
        claims["moods"]["value"] = [mood for mood in moods if mood not in wrong]


def sure_tempo(facts: TrackFacts) -> float | None:
    """Return the measured tempo when it is sure."""
    bpm, confidence = facts.measured.get("bpm"), facts.measured.get("bpm_confidence")
    return float(bpm) if bpm is not None and confidence is not None and confidence >= SURE else None


def sure_key(facts: TrackFacts) -> str | None:
    """Return the measured key when it is sure."""
    key, confidence = facts.measured.get("key"), facts.measured.get("key_confidence")
    return parse_key(key) if key and confidence is not None and confidence >= SURE else None


def same_tempo(first: float, second: float) -> bool:
    """Return whether two tempi are the same, octaves counted alike."""
    return any(abs(first * factor / second - 1) <= TEMPO_TOLERANCE for factor in (0.5, 1.0, 2.0))


def same_key(first: str, second: str) -> bool:
    """Return whether two keys are the same or relatives (C major, A minor), which share their notes."""
    return first == second or (ring_distance(first, second) == 0)


def _is_empty(value: Any) -> bool:
    return value is None or value == []
