"""Candidates of a set: the tracks that a query finds, as mixing needs them, without copies, and not more than can be searched."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from map4_pipeline.store.copies import without_copies
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.file_findings import with_finding
from map4_pipeline.store.query import Query
from map4_pipeline.store.schema import tracks
from map4_pipeline.store.search import matching_ids

#: What mixing needs to know of a track, by the names of `hamms.MixTrack`.
_MIXED = {
    "track_id": tracks.c.id,
    "bpm": tracks.c.bpm,
    "bpm_confidence": tracks.c.bpm_confidence,
    "camelot": tracks.c.camelot,
    "key_confidence": tracks.c.key_confidence,
    "energy": tracks.c.energy,
    "loudness_lufs": tracks.c.loudness_lufs,
    "duration": tracks.c.duration,
    "artist": tracks.c.artist,
    "title": tracks.c.title,
    "genre": tracks.c.genre,
    "path": tracks.c.file_path,
}


def mix_rows(conn: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return what mixing needs to know of tracks, in the order given, each with the names of `hamms.MixTrack`.

    Raises
    ------
    StoreError
        When one does not exist.
    """
    if not ids:
        return []
    query = select(*(column.label(name) for name, column in _MIXED.items())).where(tracks.c.id == func.any(list(ids)))
    rows = {row.track_id: dict(row._mapping) for row in conn.execute(query)}
    missing = [str(id_) for id_ in dict.fromkeys(ids) if id_ not in rows]
    if missing:
        raise StoreError(f"There is no track {', '.join(missing)}. `map4 search --json` shows the ids.")
    return [rows[id_] for id_ in ids]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Candidates, with the names of `hamms.MixTrack`.

    Attributes
    ----------
    rows : list of dict
    found : int
        Tracks that the query found.
    copies : int
        Of these, left out because another is the same recording.
    cut_off : int
        Left out because the file ends early: it would stop in the middle.
    not_drawn : int
        Left out because they were too many.
    """

    rows: list[dict[str, Any]]
    found: int
    copies: int
    cut_off: int
    not_drawn: int


def candidates(
    conn: Connection, query: Query, required: Sequence[int] = (), limit: int | None = None, seed: int = 1
) -> Candidates:
    """Return the tracks that a set may be made of: what a query finds, each recording once (`store.copies`), in whole files.

    Parameters
    ----------
    required : sequence of int
        Of copies, these are kept, files that end early too, and of a sample they are part; they are not added where the query
        does not find them.
    limit : int, optional
        Of more tracks than this a sample is drawn, by the seed.

    Raises
    ------
    StoreError
        When a required track does not exist.
    """
    mix_rows(conn, required)
    everything = int(conn.execute(select(func.count()).select_from(tracks)).scalar_one())
    ids = [id_ for id_, _ in matching_ids(conn, query, everything + 1)]
    found = len(ids)
    # First of all: of two copies the whole one is played.
    cut_off = (set(ids) & with_finding(conn, "truncated")) - set(required)
    whole = sorted(set(ids) - cut_off)
    kept = sorted(without_copies(conn, whole, wanted=set(required)))
    drawn = kept if limit is None else _sample(kept, set(required), limit, seed)
    return Candidates(mix_rows(conn, drawn), found, len(whole) - len(kept), len(cut_off), len(kept) - len(drawn))


def _sample(ids: list[int], required: set[int], limit: int, seed: int) -> list[int]:
    if len(ids) <= limit:
        return ids
    wanted = [id_ for id_ in ids if id_ in required]
    others = [id_ for id_ in ids if id_ not in required]
    return sorted([*wanted, *random.Random(seed).sample(others, max(limit - len(wanted), 0))])
