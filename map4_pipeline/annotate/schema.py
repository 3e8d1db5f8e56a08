"""The shape of a reply: pydantic models that validate it, and the JSON schema that providers are given.

One definition serves both. The schema given to providers has only what all three understand in their strict modes: objects
without other properties, everything required, null by `anyOf`, no bounds; the bounds are checked here.
"""

import json
import re
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from map4_pipeline.annotate.facts import clean_text
from map4_pipeline.annotate.vocabulary import ERAS, GENRES, MOODS

Basis = Literal["measured", "tags", "model knowledge", "unknown"]

MAX_TAGS = 8
MAX_TAG_LENGTH = 40
MAX_MOODS = 5
MAX_DESCRIPTION = 300
#: A reply that is longer is not read: ten annotations are under 20 kB.
MAX_REPLY_CHARACTERS = 400_000

_LINK = re.compile(r"(?i)\b(?:https?:|www\.|javascript:|data:)")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Claim(_Strict):
    """What every claim says about itself."""

    basis: Basis
    confidence: float = Field(ge=0, le=1, allow_inf_nan=False)


class GenreClaim(Claim):
    """A genre of the vocabulary."""

    value: Literal[GENRES] | None  # type: ignore[valid-type]


class MoodsClaim(Claim):
    """Moods of the vocabulary, the strongest first."""

    value: list[Literal[MOODS]]  # type: ignore[valid-type]

    @field_validator("value", mode="after")
    @classmethod
    def _once_each(cls, value: list[str]) -> list[str]:
        return list(dict.fromkeys(value))[:MAX_MOODS]


class EraClaim(Claim):
    """The decade of the original recording."""

    value: Literal[ERAS] | None  # type: ignore[valid-type]


class YearClaim(Claim):
    """The year of the original release."""

    value: int | None = Field(ge=1000, le=2999)


class TempoClaim(Claim):
    """Beats per minute."""

    value: float | None = Field(gt=0, le=1000, allow_inf_nan=False)


class TextClaim(Claim):
    """A short text, for people."""

    value: str | None

    @field_validator("value", mode="after")
    @classmethod
    def _plain(cls, value: str | None) -> str | None:
        text = clean_text(value, MAX_DESCRIPTION)
        # A text with a link in it is not about the music.
        return None if text is None or _LINK.search(text) else text


class TagsClaim(Claim):
    """Free tags in lower case."""

    value: list[str]

    @field_validator("value", mode="after")
    @classmethod
    def _plain(cls, value: list[str]) -> list[str]:
        clean = (clean_text(tag.lower(), MAX_TAG_LENGTH) for tag in value)
        return list(dict.fromkeys(tag for tag in clean if tag and not _LINK.search(tag)))[:MAX_TAGS]


class TrackReply(_Strict):
    """What a model says about one track."""

    id: str
    genre: GenreClaim
    subgenre: TextClaim
    moods: MoodsClaim
    era: EraClaim
    release_year: YearClaim
    tempo_bpm: TempoClaim
    key: TextClaim
    tags: TagsClaim
    description: TextClaim


#: The claims of a reply, in order.
CLAIMS: tuple[str, ...] = tuple(name for name in TrackReply.model_fields if name != "id")


class Reply(_Strict):
    """What a model says about all tracks of a request."""

    tracks: list[TrackReply]


class ReplyError(ValueError):
    """A reply that is not what was asked for; the text says in what, without repeating what the model wrote."""


@lru_cache(maxsize=1)
def reply_schema() -> dict[str, Any]:
    """Return the JSON schema of `Reply` in the subset that the strict modes of all providers take; not to be changed."""
    schema = Reply.model_json_schema()
    simplified: dict[str, Any] = _simplify(schema, schema.get("$defs", {}))
    return simplified


def _simplify(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_simplify(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _simplify(definitions[node["$ref"].rpartition("/")[2]], definitions)
    kept = ("type", "enum", "anyOf", "items", "const")
    simple = {name: _simplify(node[name], definitions) if name != "enum" else list(node[name]) for name in kept if name in node}
    if "properties" in node:
        # The claim's value comes first: a model that writes it first gives reasons for it, not the other way round.
        names = sorted(node["properties"], key=lambda name: (name != "value", list(node["properties"]).index(name)))
        simple["properties"] = {name: _simplify(node["properties"][name], definitions) for name in names}
        simple["required"] = names
        simple["additionalProperties"] = False
    return simple


def read_reply(text: str, wanted: list[str]) -> tuple[dict[str, TrackReply], dict[str, str]]:
    """Read a reply to a request for some tracks.

    Parameters
    ----------
    text
        What the model wrote.
    wanted
        Ids of the tracks that were asked for; replies about others are dropped.

    Returns
    -------
    (dict, dict)
        Valid replies by id, and what is wrong with the others by id.

    Raises
    ------
    ReplyError
        When the text as a whole cannot be read.
    """
    if len(text) > MAX_REPLY_CHARACTERS:
        raise ReplyError(f"the reply has {len(text)} characters")
    try:
        document = json.loads(_without_fence(text), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ReplyError("the reply is not valid JSON") from None
    items = document.get("tracks") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise ReplyError('the reply is not an object with a list "tracks"')
    by_id: dict[str, list[Any]] = {}
    for item in items:
        if isinstance(item, dict) and isinstance(item.get("id"), str):
            by_id.setdefault(item["id"], []).append(item)
    good: dict[str, TrackReply] = {}
    bad: dict[str, str] = {}
    for name in wanted:
        found = by_id.get(name, [])
        if len(found) != 1:
            bad[name] = (
                "the reply has no annotation of this track" if not found else "the reply has two annotations of this track"
            )
            continue
        try:
            good[name] = TrackReply.model_validate(found[0])
        except ValidationError as error:
            bad[name] = _problems(error)
    return good, bad


def _without_fence(text: str) -> str:
    """Return the inside of a Markdown code fence: small local models put one round what is valid otherwise."""
    stripped = text.strip()
    if stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped:
        return stripped.split("\n", 1)[1][:-3]
    return stripped


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _problems(error: ValidationError, limit: int = 3) -> str:
    """Return what is wrong, by the places and kinds of pydantic's errors; the model's own words are not repeated."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    # A place that is not a name of ours is the model's.
    known = {*TrackReply.model_fields, "value", "basis", "confidence"}
    parts = []
    for problem in found[:limit]:
        place = ".".join(str(p) if isinstance(p, int) or p in known else "?" for p in problem["loc"] if p != "literal")
        parts.append(f"{place or 'annotation'}: {problem['type']}")
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return "; ".join(parts) + more
