"""Groups of duplicates for people and programs: with their members, evidence and decisions."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select

from map4_pipeline.store.duplicate_decisions import Decision, history
from map4_pipeline.store.marks import mark, read_mark
from map4_pipeline.store.schema import duplicate_groups, duplicate_members, tracks

STATES = ("open", "keep", "not_duplicates", "ignore")
_SHOWN = (
    "id", "file_path", "title", "artist", "album", "duration", "codec", "container", "bit_rate", "sample_rate", "channels",
    "bit_depth", "file_size",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it is listed.

    Attributes
    ----------
    id : int
    kind : str
    state : str
        "open", or what was decided.
    keeper_track_id : int or None
    keeper_reason : str
    surplus_bytes : int
    pairs : list of dict
        The evidence.
    members : list of dict
        Tracks, the keeper first.
    """

    id: int
    kind: str
    state: str
    keeper_track_id: int | None
    keeper_reason: str
    surplus_bytes: int
    pairs: list[dict[str, Any]]
    members: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "group": self.id,
            "kind": self.kind,
            "state": self.state,
            "keeper": self.keeper_track_id,
            "keeper_reason": self.keeper_reason,
            "surplus_bytes": self.surplus_bytes,
            "tracks": self.members,
            "evidence": self.pairs,
        }


def list_groups(
    conn: Connection,
    *,
    kinds: Collection[str] = (),
    states: Collection[str] = ("open",),
    ids: Collection[int] | None = None,
    limit: int | None = None,
    after: tuple[int, int] | None = None,
    library_ids: Collection[int] | None = None,
) -> list[Group]:
    """Return groups, those first that free the most.

    Parameters
    ----------
    conn : Connection
    kinds, states : collection of str
        Only these; empty: all.
    ids : collection of int, optional
    limit : int, optional
    after : (int, int), optional
        Only what comes after the group with so many surplus bytes and this id.
    library_ids : collection of int, optional
        Only groups all of whose tracks lie in these libraries.
    """
    g = duplicate_groups.c
    query = select(g.id, g.kind, g.state, g.keeper_track_id, g.keeper_reason, g.surplus_bytes, g.evidence)
    if kinds:
        query = query.where(g.kind.in_(kinds))
    if states:
        query = query.where(g.state.in_(states))
    if ids is not None:
        query = query.where(g.id.in_(ids))
    if after is not None:
        size, id_ = after
        query = query.where(g.surplus_bytes <= size, or_(g.surplus_bytes < size, g.id > id_))
    query = query.where(*groups_within(library_ids))
    rows = conn.execute(query.order_by(g.surplus_bytes.desc(), g.id).limit(limit)).all()
    members = _members(conn, [row.id for row in rows])
    return [
        Group(
            row.id,
            row.kind,
            row.state,
            row.keeper_track_id,
            row.keeper_reason,
            row.surplus_bytes,
            row.evidence.get("pairs", []),
            sorted(members.get(row.id, []), key=lambda track, keeper=row.keeper_track_id: (track["id"] != keeper, track["id"])),  # type: ignore[misc]
        )
        for row in rows
    ]


def group_page(
    conn: Connection,
    *,
    kinds: Collection[str] = (),
    states: Collection[str] = ("open",),
    limit: int,
    after: str | None = None,
    library_ids: Collection[int] | None = None,
) -> tuple[list[Group], str | None]:
    """Return a page of `list_groups`, and the mark of the next one (None: this was the last).

    Raises
    ------
    MarkError
        When `after` is not the mark of such a page.
    """
    place = None if after is None else read_mark(after, int, int)
    found = list_groups(conn, kinds=kinds, states=states, limit=limit + 1, after=place, library_ids=library_ids)
    page = found[:limit]
    return page, mark(page[-1].surplus_bytes, page[-1].id) if len(found) > limit else None


def groups_within(library_ids: Collection[int] | None) -> list[ColumnElement[bool]]:
    """Return the condition of groups all of whose tracks lie in these libraries; none where all libraries count."""
    if library_ids is None:
        return []
    m = duplicate_members.c
    members = select(m.track_id).join(tracks, tracks.c.id == m.track_id).where(m.group_id == duplicate_groups.c.id)
    outside = members.where(tracks.c.library_id.not_in(library_ids)).correlate(duplicate_groups)
    return [~outside.exists()]


def group_with_history(
    conn: Connection, group_id: int, library_ids: Collection[int] | None = None
) -> tuple[Group, list[Decision]] | None:
    """Return a group and every decision about any of its tracks, None when there is no such group (in these libraries)."""
    groups = list_groups(conn, states=(), ids=[group_id], library_ids=library_ids)
    if not groups:
        return None
    return groups[0], history(conn, [track["id"] for track in groups[0].members])


def surplus_paths(conn: Connection, *, suggested: bool = False) -> Iterator[tuple[int, str, bytes, bytes]]:
    """Yield group, root and path of the files beside the one to keep: of decided groups, or of undecided ones as well.

    Versions of a piece are never among them, nor what is hidden, gone or was decided to be no duplicate.
    """
    from map4_pipeline.store.schema import libraries

    g, m, t = duplicate_groups.c, duplicate_members.c, tracks.c
    states = ("keep", "open") if suggested else ("keep",)
    query = (
        select(g.id, libraries.c.root_text, libraries.c.root, t.relative_path)
        .join(duplicate_members, m.group_id == g.id)
        .join(tracks, t.id == m.track_id)
        .join(libraries, libraries.c.id == t.library_id)
        .where(g.state.in_(states), g.kind != "other_version", g.keeper_track_id.is_not(None), t.id != g.keeper_track_id)
        .where(t.missing_since.is_(None), t.hidden_at.is_(None))
        .order_by(g.id, t.file_path)
    )
    for group_id, root_text, root, relative in conn.execute(query.execution_options(stream_results=True)):
        yield int(group_id), str(root_text), bytes(root), bytes(relative)


def totals(conn: Connection) -> dict[str, Any]:
    """Return how many groups of each kind and state there are, and the bytes that could be freed."""
    g = duplicate_groups.c
    kinds: dict[str, int] = {}
    states: dict[str, int] = {}
    surplus = 0
    query = select(g.kind, g.state, func.count(), func.sum(g.surplus_bytes)).group_by(g.kind, g.state)
    for kind, state, count, size in conn.execute(query):
        states[state] = states.get(state, 0) + int(count)
        if state != "not_duplicates":
            kinds[kind] = kinds.get(kind, 0) + int(count)
        surplus += int(size or 0)
    return {"kinds": kinds, "states": states, "surplus_bytes": surplus}


def _members(conn: Connection, group_ids: list[int]) -> dict[int, list[dict[str, Any]]]:
    m = duplicate_members.c
    found: dict[int, list[dict[str, Any]]] = {}
    query = (
        select(m.group_id, *(tracks.c[name] for name in _SHOWN))
        .join(tracks, tracks.c.id == m.track_id)
        .where(m.group_id == func.any(group_ids))
    )
    for row in conn.execute(query).mappings():
        found.setdefault(int(row["group_id"]), []).append({name: row[name] for name in _SHOWN})
    return found
