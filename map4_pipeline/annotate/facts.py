"""What is known of a track, and what of it is sent: measurements, tags, duration. No path, no audio; a file name when allowed."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Tags that say something about the music. Comments, lyrics and programs' own fields are not sent.
TAGS: tuple[str, ...] = ("title", "artist", "album", "album_artist", "composer", "genre", "year")
#: Longer tags are cut: a title of 10,000 characters is no title.
MAX_TAG_CHARACTERS = 200
#: HAMMS dimensions that are not the tempo or key over again.
HAMMS_SENT: tuple[str, ...] = (
    "danceability", "valence", "acousticness", "instrumentalness", "rhythmic_pattern", "tempo_stability", "harmonic_complexity",
    "dynamic_range",
)  # fmt: skip

#: A tag that is a path of somebody's computer (some programs write one into the title).
_PATH = re.compile(r"(?:file:|[A-Za-z]:[\\/]|\\\\|~/|/(?:[^/\s]+/)+)")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """What is known of a track.

    Attributes
    ----------
    track_id, group : int
        The track and whatever the caller counts by (a directory); never sent.
    audio_hash, file_hash : str
        Identity of the audio and of the file; never sent.
    duration : float or None
        Seconds.
    measured : mapping
        `bpm`, `bpm_confidence`, `key`, `key_confidence`, `energy`, `loudness_lufs`, `hamms` (mapping); None where not measured.
    tags : mapping
        Names of `TAGS`; other names are not sent.
    file_name : str or None
        Sent only when the user allows it.
    """

    track_id: int
    audio_hash: str
    file_hash: str = ""
    duration: float | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    file_name: str | None = None
    group: int = 0

    def tags_digest(self, *, file_names: bool = False) -> str:
        """Return the digest of what the tags say as it is sent: a retagged track is another question."""
        sent: dict[str, Any] = {"tags": sent_tags(self.tags)}
        if file_names:
            sent["file_name"] = clean_text(self.file_name, hide_paths=False)
        text = json.dumps(sent, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def alias(self, *, file_names: bool = False) -> str:
        """Return the name under which the track goes into a request: no text in another track's tags can know it."""
        return alias_of(self.audio_hash, self.tags_digest(file_names=file_names))


def alias_of(audio_hash: str, tags_digest: str) -> str:
    """Return the name of a track in requests, from its identity."""
    return hashlib.sha256(f"{audio_hash}|{tags_digest}".encode()).hexdigest()[:8]


def sent_facts(facts: TrackFacts, *, file_names: bool = False) -> dict[str, Any]:
    """Return what is sent of a track, ready for JSON; what is not known is not there."""
    sent: dict[str, Any] = {"id": facts.alias(file_names=file_names)}
    if facts.duration is not None:
        sent["duration_seconds"] = round(facts.duration)
    measured = _sent_measurements(facts.measured)
    if measured:
        sent["measured"] = measured
    tags = sent_tags(facts.tags)
    name = clean_text(facts.file_name, hide_paths=False) if file_names else None
    if name:
        tags["file_name"] = name
    if tags:
        sent["tags"] = tags
    return sent


def sent_tags(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tags that are sent, cleaned."""
    found: dict[str, Any] = {}
    for name in TAGS:
        value = tags.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            found[name] = value
        elif isinstance(value, str) and (text := clean_text(value)):
            found[name] = text
    return found


def clean_text(value: str | None, limit: int = MAX_TAG_CHARACTERS, *, hide_paths: bool = True) -> str | None:
    """Return text on one line without what is invisible, cut to a length; None when nothing is left or it is a path.

    Control characters, lone surrogates, marks of direction and tag characters can hide instructions from a reader's eye but not
    from a model.
    """
    if not value:
        return None
    visible = value if value.isascii() and value.isprintable() else _visible(value)
    text = _SPACES.sub(" ", visible).strip()
    if not text or (hide_paths and _PATH.match(text)):
        return None
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "\u2026"


def _visible(value: str) -> str:
    return "".join(
        " " if character.isspace() or unicodedata.category(character) in ("Zl", "Zp") else character
        for character in unicodedata.normalize("NFC", value)
        if character.isspace() or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")
    )


def _sent_measurements(measured: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, digits in (("bpm", 1), ("bpm_confidence", 2), ("energy", 2), ("loudness_lufs", 1), ("key_confidence", 2)):
        value = measured.get(name)
        if value is not None:
            found[name] = round(float(value), digits)
    if measured.get("key"):
        found["key"] = str(measured["key"])
    for value_name, confidence in (("bpm", "bpm_confidence"), ("key", "key_confidence")):
        if value_name not in found:
            found.pop(confidence, None)
    hamms = measured.get("hamms") or {}
    for name in HAMMS_SENT:
        if hamms.get(name) is not None:
            found[name] = round(float(hamms[name]), 2)
    return found
