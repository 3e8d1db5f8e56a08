"""A transition in a sentence."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from map4_pipeline.hamms.transition import Part

_ADVICE = {
    "blend": "A long overlay works",
    "harmonic mix": "The keys go together but the beats do not: mix over a break, or cut",
    "tempo match": "The beats run together but the keys do not: a short mix over drums",
    "creative": "Not smooth, but usable as an effect",
    "avoid": "Neither the keys nor the beats go together",
}
#: Joint confidence below which a sentence says that something is doubtful.
_DOUBT = 0.35


def sentence(label: str, parts: Mapping[str, "Part"]) -> str:
    """Return why a transition has its label: what to do, what was measured, what is unknown or doubtful."""
    known = [part.detail for name, part in parts.items() if part.unknown is None and (name != "loudness" or part.fit < 0.8)]
    unknown = [part.unknown for part in parts.values() if part.unknown is not None]
    doubtful = [name for name in ("key", "tempo") if parts[name].unknown is None and parts[name].confidence < _DOUBT]
    text = f"{_advice(label, parts)}: {'; '.join(known)}." if known else f"{_advice(label, parts)}."
    if doubtful:
        text += f" The {' and the '.join(doubtful)} {'is' if len(doubtful) == 1 else 'are'} doubtful: listen first."
    if unknown:
        text += f" Unknown: {', '.join(unknown)}."
    return text


def _advice(label: str, parts: Mapping[str, "Part"]) -> str:
    if label == "tempo match" and parts["key"].unknown:
        return "The beats run together; of the keys nothing is known"
    if label == "harmonic mix" and parts["tempo"].unknown:
        return "The keys go together; of the beats nothing is known"
    if label == "avoid" and (parts["key"].unknown or parts["tempo"].unknown):
        return "Nothing speaks for it"
    if label == "creative" and parts["key"].unknown and parts["tempo"].unknown:
        return "Nothing is known of keys and beats; only ears tell"
    return _ADVICE[label]
