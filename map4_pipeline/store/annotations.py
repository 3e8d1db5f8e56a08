"""Annotations in PostgreSQL: which tracks need one, what is known already, and writing what a provider said."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, or_, select, text, tuple_
from sqlalchemy.dialects.postgresql import distinct_on, insert

from map4_pipeline.annotate.agreement import agreement
from map4_pipeline.annotate.facts import TAGS, TrackFacts
from map4_pipeline.store.schema import annotations, tracks

#: (audio hash, digest of the tags): what an annotation is about.
Subject = tuple[str, str]

_MEASURED = ("bpm", "bpm_confidence", "key", "key_confidence", "energy", "loudness_lufs")
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked: an annotation belongs to provider, model and prompt version."""

    provider: str
    model: str
    prompt_version: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept about a subject from one provider: an annotation, or why there is none."""

    asked: Asked
    payload: Mapping[str, Any] | None
    error_kind: str | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A track as it could be asked about, and which annotation its row shows."""

    facts: TrackFacts
    shown: tuple[str | None, str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Record:
    """A row to be kept."""

    subject: Subject
    track_id: int
    asked: Asked
    payload: Mapping[str, Any] | None
    error_kind: str | None
    error_message: str | None
    cost: Decimal
    input_tokens: int
    output_tokens: int
    requests: int
    run_id: str


def wanted(directory_ids: Sequence[int] | None = None) -> list[ColumnElement[bool]]:
    """Return the conditions of tracks that may be annotated: analysed, there, not hidden."""
    found = [tracks.c.status == "ok", tracks.c.missing_since.is_(None), tracks.c.hidden_at.is_(None)]
    found.append(func.coalesce(tracks.c.audio_hash, tracks.c.file_hash).is_not(None))
    if directory_ids is not None:
        found.append(tracks.c.directory_id == func.any(list(directory_ids)))
    return found


def candidates(engine: Engine, conditions: Sequence[ColumnElement[bool]], limit: int | None = None) -> Iterator[Candidate]:
    """Yield tracks by id, page by page, each page in a transaction of its own."""
    t = tracks.c
    shown = [t.ai_analysis[name].astext for name in ("model", "prompt_version", "tags_digest")]
    columns = [
        t.id, t.directory_id, func.coalesce(t.audio_hash, t.file_hash), t.file_hash, t.duration, t.file_name, t.hamms_vector,
        t.ai_provider, *shown, *(t[name] for name in _MEASURED), *(t[name] for name in TAGS),
    ]  # fmt: skip
    after, left = 0, limit
    while left is None or left > 0:
        count = _PAGE if left is None else min(_PAGE, left)
        with engine.connect() as conn:
            rows = conn.execute(select(*columns).where(*conditions, t.id > after).order_by(t.id).limit(count)).all()
        for row in rows:
            yield _candidate(row)
        if len(rows) < count:
            return
        after = rows[-1][0]
        left = None if left is None else left - count


def _candidate(row: Sequence[Any]) -> Candidate:
    id_, directory_id, audio_hash, file_hash, duration, file_name, hamms, provider, model, prompt, digest, *rest = row
    measured = dict(zip(_MEASURED, rest[: len(_MEASURED)], strict=True))
    tags = dict(zip(TAGS, rest[len(_MEASURED) :], strict=True))
    facts = TrackFacts(
        id_, audio_hash, file_hash or "", duration, measured | {"hamms": hamms or {}}, tags, file_name, directory_id
    )
    return Candidate(facts, (provider, model, prompt, digest))


def candidates_by_id(engine: Engine, ids: Sequence[int]) -> dict[int, TrackFacts]:
    """Return tracks by id, whatever their state."""
    found: dict[int, TrackFacts] = {}
    for start in range(0, len(ids), _PAGE):
        page = candidates(engine, [tracks.c.id == func.any(list(ids[start : start + _PAGE]))])
        found |= {candidate.facts.track_id: candidate.facts for candidate in page}
    return found


def known(conn: Connection, subjects: Sequence[Subject], asked: Sequence[Asked]) -> dict[Subject, dict[str, Known]]:
    """Return what is kept about some subjects from those who are asked: {subject: {provider: Known}}."""
    if not subjects or not asked:
        return {}
    a = annotations.c
    who = or_(*(and_(a.provider == one.provider, a.model == one.model, a.prompt_version == one.prompt_version) for one in asked))
    query = select(a.audio_hash, a.tags_digest, a.provider, a.model, a.prompt_version, a.payload, a.error_kind)
    found: dict[Subject, dict[str, Known]] = {}
    for audio_hash, digest, provider, model, prompt, payload, error_kind in conn.execute(
        query.where(tuple_(a.audio_hash, a.tags_digest).in_(list(subjects)), who)
    ):
        one = Known(Asked(provider, model, prompt), payload, error_kind)
        found.setdefault((audio_hash, digest), {})[provider] = one
    return found


def save(conn: Connection, records: Sequence[Record]) -> None:
    """Keep what a provider said, or why it said nothing. What earlier tries cost is added up."""
    if not records:
        return
    a = annotations.c
    row = insert(annotations).values([_row(record) for record in records])
    new = row.excluded
    replaced = ("track_id", "status", "payload", "error_kind", "error_message", "confidence", "contradictions", "run_id")
    added = ("input_tokens", "output_tokens", "cost_usd", "requests")
    conn.execute(
        row.on_conflict_do_update(
            constraint="uq_annotations_identity",
            set_={name: new[name] for name in replaced}
            | {name: a[name] + new[name] for name in added}
            | {"updated_at": func.now()},
        )
    )


def _row(record: Record) -> dict[str, Any]:
    payload = record.payload
    return {
        "audio_hash": record.subject[0],
        "tags_digest": record.subject[1],
        "track_id": record.track_id,
        "provider": record.asked.provider,
        "model": record.asked.model,
        "prompt_version": record.asked.prompt_version,
        "status": "failed" if payload is None else "ok",
        "payload": payload,
        "error_kind": record.error_kind,
        "error_message": record.error_message,
        "confidence": None if payload is None else payload.get("confidence"),
        "contradictions": 0 if payload is None else len(payload.get("contradictions", ())),
        "input_tokens": record.input_tokens,
        "output_tokens": record.output_tokens,
        "cost_usd": record.cost,
        "requests": record.requests,
        "run_id": record.run_id,
    }


@dataclass(frozen=True, slots=True)
class Shown:
    """An annotation that a track is to show."""

    track_id: int
    subject: Subject
    asked: Asked
    payload: Mapping[str, Any]


_SHOW = text(
    """
    UPDATE tracks SET ai_analysis = CAST(v.payload AS jsonb), ai_provider = v.provider,
        ai_analyzed_at = coalesce(a.updated_at, now())
    FROM unnest(CAST(:ids AS bigint[]), CAST(:payloads AS text[]), CAST(:hashes AS text[]), CAST(:digests AS text[]),
        CAST(:providers AS text[]), CAST(:models AS text[]), CAST(:prompts AS text[]))
        AS v(id, payload, audio_hash, tags_digest, provider, model, prompt_version)
    LEFT JOIN annotations a ON a.audio_hash = v.audio_hash AND a.tags_digest = v.tags_digest AND a.provider = v.provider
        AND a.model = v.model AND a.prompt_version = v.prompt_version
    WHERE tracks.id = v.id
    """
)


def show(conn: Connection, items: Sequence[Shown]) -> None:
    """Let tracks show annotations (the columns `ai_*`), with the agreement of all providers who have spoken."""
    if not items:
        return
    a = annotations.c
    subjects = list({item.subject for item in items})
    latest = (
        select(a.audio_hash, a.tags_digest, a.provider, a.payload)
        .where(tuple_(a.audio_hash, a.tags_digest).in_(subjects), a.status == "ok")
        .order_by(a.audio_hash, a.tags_digest, a.provider, a.updated_at.desc())
        .ext(distinct_on(a.audio_hash, a.tags_digest, a.provider))
    )
    said: dict[Subject, dict[str, Any]] = {}
    for audio_hash, digest, provider, payload in conn.execute(latest):
        said.setdefault((audio_hash, digest), {})[provider] = payload
    # In one order, so that two writers never wait for each other in a circle.
    ordered = sorted(items, key=lambda item: item.track_id)
    payloads = []
    for item in ordered:
        agreed = agreement({**said.get(item.subject, {}), item.asked.provider: item.payload})
        payloads.append(json.dumps(item.payload if agreed is None else {**item.payload, "agreement": agreed}, ensure_ascii=False))
    conn.execute(
        _SHOW,
        {
            "ids": [item.track_id for item in ordered],
            "payloads": payloads,
            "hashes": [item.subject[0] for item in ordered],
            "digests": [item.subject[1] for item in ordered],
            "providers": [item.asked.provider for item in ordered],
            "models": [item.asked.model for item in ordered],
            "prompts": [item.asked.prompt_version for item in ordered],
        },
    )


# ------------------------------------------------------------------ who works on what
def lock_key(subject: Subject) -> int:
    """Return the advisory lock of a subject: 64 bits, signed, as PostgreSQL takes them."""
    text_ = json.dumps(["map4-annotation", *subject])
    return int.from_bytes(hashlib.sha256(text_.encode()).digest()[:8], "big", signed=True)


def try_locks(conn: Connection, keys: Sequence[int]) -> list[bool]:
    """Take locks for the session; return which were free. They go with the connection, so a killed run holds none."""
    # In the order of the list, and each once.
    rows = conn.execute(
        text("SELECT pg_try_advisory_lock(k) FROM unnest(CAST(:keys AS bigint[])) WITH ORDINALITY AS u(k, n) ORDER BY n"),
        {"keys": list(keys)},
    )
    return [bool(row[0]) for row in rows]


def release_all_locks(conn: Connection) -> None:
    """Give back all locks that a connection holds."""
    conn.execute(text("SELECT pg_advisory_unlock_all()"))


def release_locks(conn: Connection, keys: Sequence[int]) -> None:
    """Give locks back."""
    conn.execute(text("SELECT pg_advisory_unlock(k) FROM unnest(CAST(:keys AS bigint[])) AS u(k)"), {"keys": list(keys)}).all()


# ------------------------------------------------------------------ what asset checks and pages ask
@dataclass(frozen=True, slots=True)
class AnnotationState:
    """Counts over the tracks that are there: annotated, failed (the newest word on them), contradicted."""

    tracks: int
    annotated: int
    contradicted: int
    cost: Decimal


def directory_states(conn: Connection, directory_ids: Sequence[int]) -> dict[int, AnnotationState]:
    """Return the state of each directory; the cost is that of all annotations of its audio."""
    t = tracks.c
    said = t.ai_analysis.is_not(None)
    flagged = func.coalesce(func.jsonb_array_length(t.ai_analysis["contradictions"]), 0) > 0
    cost = (
        select(func.coalesce(func.sum(annotations.c.cost_usd), 0))
        .where(annotations.c.track_id == t.id)
        .correlate(tracks)
        .scalar_subquery()
    )
    query = (
        select(
            t.directory_id,
            func.count(),
            func.count().filter(said),
            func.count().filter(and_(said, flagged)),
            func.sum(cost),
        )
        .where(*wanted(directory_ids))
        .group_by(t.directory_id)
    )
    return {row[0]: AnnotationState(row[1], row[2], row[3], Decimal(row[4] or 0)) for row in conn.execute(query)}


def contradiction_counts(conn: Connection) -> tuple[int, int]:
    """Return (annotations with a contradiction, annotations) over the tracks that are there."""
    flagged = func.jsonb_array_length(tracks.c.ai_analysis["contradictions"]) > 0
    row = conn.execute(
        select(func.count().filter(flagged), func.count()).where(
            tracks.c.ai_analysis.is_not(None), tracks.c.missing_since.is_(None)
        )
    ).one()
    return int(row[0]), int(row[1])


def stored_problems(conn: Connection, limit: int = 50) -> tuple[int, int, list[tuple[str, str, str]]]:
    """Return (annotations looked at, annotations with problems, the first as (file, "annotation", what))."""
    from map4_pipeline.annotate.annotation import problems

    looked = bad = 0
    examples: list[tuple[str, str, str]] = []
    t = tracks.c
    query = select(t.file_path, t.ai_analysis).where(t.ai_analysis.is_not(None), t.missing_since.is_(None))
    for path, stored in conn.execution_options(stream_results=True, yield_per=1000).execute(query):
        looked += 1
        found = problems(stored)
        if found:
            bad += 1
            if len(examples) < limit:
                examples.append((path, "annotation", "; ".join(found)))
    return looked, bad, examples


def failures_of(conn: Connection, run_id: str, limit: int = 50) -> list[tuple[int, str, str, str, str]]:
    """Return (directory id, file, provider, kind, message) of the failed annotations of a run."""
    a, t = annotations.c, tracks.c
    query = (
        select(t.directory_id, t.file_path, a.provider, a.error_kind, a.error_message)
        .join(tracks, t.id == a.track_id)
        .where(a.run_id == run_id, a.status == "failed")
        .order_by(t.file_path)
        .limit(limit)
    )
    return [tuple(row) for row in conn.execute(query)]
