"""Shapes of what the API answers, for its description; lists of tracks are not built of these, for speed."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

Unit = Annotated[float, Field(ge=0, le=1)]
#: Numbers of rows: what PostgreSQL's integer holds, and the largest that every JSON reader takes as it is.
Id = Annotated[int, Field(ge=0, lt=2**31)]
BigId = Annotated[int, Field(ge=0, le=2**53 - 1)]
#: A page of a list: where it begins (200 letters of four bytes each, and an id, fit), and how much it holds.
After = Annotated[str | None, Query(max_length=2000, description="`next` of the page before.")]
ListLimit = Annotated[int, Query(ge=1, le=1000)]
Next = Annotated[str | None, Field(description="Pass it as `after` for the next page; null: this was the last.")]


class Strict(BaseModel):
    """A body in which nothing unknown stands and no text that PostgreSQL cannot hold; "5" is no number, and 0 is not false."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _whole_numbers(cls, data: Any) -> Any:
        """Let 5.0 be the integer that it is in JSON."""
        return _whole(data)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, given: Any) -> Any:
        if not _is_storable(given):
            raise ValueError("Text must hold neither a NUL nor half of a surrogate pair.")
        return given


def _whole(data: Any) -> Any:
    if isinstance(data, float) and data.is_integer() and abs(data) < 2**63:
        return int(data)
    if isinstance(data, dict):
        return {key: _whole(value) for key, value in data.items()}
    return [_whole(value) for value in data] if isinstance(data, list) else data


def _is_storable(given: Any) -> bool:
    if isinstance(given, str):
        return "\0" not in given and not any("\ud800" <= letter <= "\udfff" for letter in given)
    if isinstance(given, dict):
        return all(_is_storable(key) and _is_storable(value) for key, value in given.items())
    return all(_is_storable(item) for item in given) if isinstance(given, list) else True


class NumberCandidate(BaseModel):
    """Another tempo."""

    value: float
    probability: Unit


class KeyCandidate(BaseModel):
    """Another key."""

    value: str
    probability: Unit


class Track(BaseModel):
    """A track; what was not measured is null, and `null_reasons` says why."""

    id: int
    path: str
    file_name: str
    status: Literal["ok", "failed", "pending"]
    error: str | None
    error_kind: str | None
    missing_since: datetime | None
    title: str | None
    artist: str | None
    album: str | None
    genre: str | None
    year: int | None
    duration: float | None = Field(description="Seconds.")
    sample_rate: int | None
    channels: int | None
    bit_rate: int | None = Field(description="bit/s.")
    bpm: float | None
    bpm_confidence: float | None
    bpm_alternatives: list[NumberCandidate] | None
    key: str | None = Field(examples=["A minor"])
    camelot: str | None = Field(examples=["8A"])
    key_confidence: float | None
    key_alternatives: list[KeyCandidate] | None
    energy: float | None
    loudness_lufs: float | None
    true_peak_dbtp: float | None
    hamms: dict[str, float | None] | None
    hamms_confidence: float | None
    fingerprint: str | None
    spectral_hash: str | None
    audio_hash: str | None
    file_hash: str | None
    analysis_version: str | None
    null_reasons: dict[str, str] | None
    tags_bpm: float | None
    tags_key: str | None


class TrackDetail(Track):
    """A track with all that is known of it."""

    library_id: int
    library: str
    album_artist: str | None
    composer: str | None
    track_number: int | None
    disc_number: int | None
    file_size: int | None
    bit_depth: int | None
    codec: str | None
    loudness_range_lu: float | None
    findings: list[dict[str, Any]] | None
    corrections: dict[str, Any] = Field(description="What a user corrected: {field: {value, original, by, at}}.")
    ai_provider: str | None
    ai_analysis: dict[str, Any] | None
    ai_analyzed_at: datetime | None
    hidden_at: datetime | None
    created_at: datetime
    analyzed_at: datetime | None
    analysis: dict[str, Any] | None = Field(description="The whole analysis: beats, tempo curve, sections, waveform.")


class TrackPage(BaseModel):
    """A page of tracks."""

    tracks: list[Track]
    next: Next
    count: int | None = Field(default=None, description="How many there are, when asked for.")
    more: bool | None = Field(default=None, description="There are more than `count`: it was not counted on.")
