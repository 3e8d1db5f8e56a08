"""Duplicates: found by hashes, by fingerprints and by tags, kept as groups whose numbers stay.

`rebuild_duplicates` is what the asset calls. It compares what is new, works the groups out anew and writes only what differs, so
that it may be called as often as one likes. What a person decided about a group is in `store.duplicate_decisions`. MAP4
deletes no file.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, text, update

from map4_pipeline.store.database import advisory_lock, to_json
from map4_pipeline.store.duplicate_decisions import Decisions
from map4_pipeline.store.duplicate_groups import COPIES, KINDS, VERSIONS, FoundGroup, find_groups
from map4_pipeline.store.duplicate_pairs import tidy, update_pairs
from map4_pipeline.store.schema import duplicate_groups, duplicate_members, tracks

#: Held while duplicates are worked out or decided: "dupl" in ASCII.
LOCK = 0x6475706C
#: The folder of the index under MAP4's home.
FOLDER = "fingerprint-index"


@dataclass(slots=True)
class DuplicateSummary:
    """What there is, and what was done for it.

    Attributes
    ----------
    groups : dict
        Groups of each kind, those decided not to be duplicates left out.
    surplus : int
        Tracks beside the one to keep.
    wasted_bytes : int
        Bytes of their files.
    decided : int
        Groups somebody decided about.
    contents, compared, pairs, unreadable : int
        Contents with a fingerprint, those compared anew, pairs found thereby, fingerprints that cannot be read.
    rebuilt : bool
        Whether all were compared.
    changed : int
        Groups that are new, gone or different.
    seconds : float
    """

    groups: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    surplus: int = 0
    wasted_bytes: int = 0
    decided: int = 0
    contents: int = 0
    compared: int = 0
    pairs: int = 0
    unreadable: int = 0
    rebuilt: bool = False
    changed: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _Row:
    """A group as the table has it, or shall have it."""

    kind: str
    evidence: dict[str, Any]
    keeper_track_id: int | None
    state: str
    keeper_reason: str
    surplus_bytes: int
    members: tuple[int, ...]


def rebuild_duplicates(engine: Engine, home: Path | None = None) -> DuplicateSummary:
    """Bring the groups of duplicates up to date. Deletes no file.

    Parameters
    ----------
    engine : Engine
    home : Path, optional
        MAP4's home, where the index is kept from one time to the next. Without it everything is compared.
    """
    started = time.monotonic()
    passing = Path(tempfile.mkdtemp(prefix="map4-index-")) if home is None else None
    folder = passing or (home or Path()) / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Held until the folder is tidied too: another process might have begun an index of its own there.
        with engine.connect() as holder, advisory_lock(holder, LOCK):
            with engine.begin() as conn:
                pairs, index = update_pairs(conn, folder)
                summary = regroup(conn)
            tidy(index)
    finally:
        if passing is not None:
            shutil.rmtree(passing, ignore_errors=True)
    summary.contents, summary.compared, summary.pairs = pairs.contents, pairs.compared, pairs.found
    summary.unreadable, summary.rebuilt = pairs.unreadable, pairs.rebuilt
    summary.seconds = round(time.monotonic() - started, 3)
    return summary


def regroup(conn: Connection) -> DuplicateSummary:
    """Work the groups out from what is known, compare nothing, and write what differs."""
    decisions = Decisions.load(conn)
    found = [_row(group, decisions) for group in find_groups(conn)]
    old = _stored(conn)
    matched = _matched(old, found)
    summary = DuplicateSummary(changed=_write(conn, old, found, matched))
    for row in found:
        summary.decided += row.state != "open"
        if row.state == "not_duplicates":
            continue
        summary.groups[row.kind] += 1
        if _family(row.kind) == COPIES and row.state != "ignore":
            summary.surplus += len(row.members) - 1
            summary.wasted_bytes += row.surplus_bytes
    return summary


def restate(conn: Connection, track_ids: Sequence[int]) -> None:
    """Let the groups of some tracks show what is decided about them now."""
    m = duplicate_members.c
    touched = select(m.group_id).where(m.track_id == func.any(list(track_ids))).distinct()
    old = _stored(conn, [int(group_id) for group_id in conn.execute(touched).scalars()])
    members = sorted({track for row in old.values() for track in row.members})
    query = select(tracks.c.id, func.coalesce(tracks.c.file_size, 0)).where(tracks.c.id == func.any(members))
    sizes = {int(track): int(size) for track, size in conn.execute(query)}
    decisions = Decisions.load(conn)
    found = []
    for row in old.values():
        keeper, reason = row.evidence["suggested"]
        mine = {track: sizes.get(track, 0) for track in row.members}
        found.append(_row(FoundGroup(row.kind, row.members, row.evidence["pairs"], keeper, reason, mine), decisions))
    _write(conn, old, found, dict(enumerate(old)))


def _row(group: FoundGroup, decisions: Decisions) -> _Row:
    keeper, reason, state = group.keeper_track_id, group.keeper_reason, "open"
    decision = decisions.of(group.family, group.members)
    if decision is not None:
        state = decision.verdict
        if decision.verdict == "keep":
            keeper, reason = decision.keeper_track_id, "chosen"
    elif group.family == COPIES:
        earlier = decisions.keeper_among(group.members)
        if earlier is not None:
            keeper, reason = earlier, "chosen before, when there were fewer copies"
    surplus = 0
    if group.family == COPIES and state in ("open", "keep"):
        surplus = sum(size for track, size in group.sizes.items() if track != keeper)
    evidence = {"pairs": group.pairs, "suggested": [group.keeper_track_id, group.keeper_reason]}
    return _Row(group.kind, evidence, keeper, state, reason, surplus, group.members)


def _family(kind: str) -> str:
    return VERSIONS if kind == "other_version" else COPIES


def _stored(conn: Connection, only: list[int] | None = None) -> dict[int, _Row]:
    members: dict[int, list[int]] = {}
    g, m = duplicate_groups.c, duplicate_members.c
    within = select(m.group_id, m.track_id).order_by(m.track_id)
    query = select(g.id, g.kind, g.evidence, g.keeper_track_id, g.state, g.keeper_reason, g.surplus_bytes).order_by(g.id)
    if only is not None:
        within, query = within.where(m.group_id == func.any(only)), query.where(g.id == func.any(only))
    for group_id, track_id in conn.execute(within):
        members.setdefault(int(group_id), []).append(int(track_id))
    return {int(row[0]): _Row(*row[1:], tuple(members.get(int(row[0]), ()))) for row in conn.execute(query)}


def _matched(old: dict[int, _Row], found: list[_Row]) -> dict[int, int]:
    """Return which found group goes on under which number: the most members in common first, then the older number."""
    of: dict[tuple[str, int], list[int]] = {}
    for group_id, row in old.items():
        for track in row.members:
            of.setdefault((_family(row.kind), track), []).append(group_id)
    offers = []
    for place, row in enumerate(found):
        common: dict[int, int] = {}
        for track in row.members:
            for group_id in of.get((_family(row.kind), track), ()):
                common[group_id] = common.get(group_id, 0) + 1
        offers += [(-count, group_id, place) for group_id, count in common.items()]
    matched: dict[int, int] = {}
    taken: set[int] = set()
    for _, group_id, place in sorted(offers):
        if place not in matched and group_id not in taken:
            matched[place] = group_id
            taken.add(group_id)
    return matched


def _write(conn: Connection, old: dict[int, _Row], found: list[_Row], matched: dict[int, int]) -> int:
    """Write what differs; return how many groups that are."""
    gone = sorted(old.keys() - set(matched.values()))
    if gone:
        conn.execute(delete(duplicate_groups).where(duplicate_groups.c.id == func.any(gone)))
    fresh = [place for place in range(len(found)) if place not in matched]
    if fresh:
        query = text("SELECT nextval(pg_get_serial_sequence('duplicate_groups', 'id')) FROM generate_series(1, :count)")
        ids = sorted(int(value) for value in conn.execute(query, {"count": len(fresh)}).scalars())
        rows = [{"id": group_id, **_columns(found[place])} for group_id, place in zip(ids, fresh, strict=True)]
        conn.execute(insert(duplicate_groups), rows)
        members = [
            {"group_id": group_id, "track_id": track}
            for group_id, place in zip(ids, fresh, strict=True)
            for track in found[place].members
        ]
        conn.execute(insert(duplicate_members), members)
    changed = [(group_id, found[place]) for place, group_id in matched.items() if not _same(old[group_id], found[place])]
    if changed:
        statement = update(duplicate_groups).where(duplicate_groups.c.id == bindparam("group")).values(updated_at=func.now())
        conn.execute(statement, [{"group": group_id, **_columns(row)} for group_id, row in changed])
        _write_members(conn, [(group_id, old[group_id].members, row.members) for group_id, row in changed])
    return len(gone) + len(fresh) + len(changed)


def _write_members(conn: Connection, changed: list[tuple[int, tuple[int, ...], tuple[int, ...]]]) -> None:
    less = [{"group": group, "track": track} for group, old, new in changed for track in sorted(set(old) - set(new))]
    more = [{"group_id": group, "track_id": track} for group, old, new in changed for track in sorted(set(new) - set(old))]
    if less:
        statement = delete(duplicate_members).where(
            duplicate_members.c.group_id == bindparam("group"), duplicate_members.c.track_id == bindparam("track")
        )
        conn.execute(statement, less)
    if more:
        conn.execute(insert(duplicate_members), more)


def _columns(row: _Row) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "evidence": row.evidence,
        "keeper_track_id": row.keeper_track_id,
        "state": row.state,
        "keeper_reason": row.keeper_reason,
        "surplus_bytes": row.surplus_bytes,
    }


def _same(old: _Row, new: _Row) -> bool:
    # As JSONB gives it back: what a tag brought in may not be storable as it is.
    return old.members == new.members and _columns(old) == _columns(new) | {"evidence": json.loads(to_json(new.evidence))}
