"""What people decided about groups of duplicates: taken for tracks, kept with its history, and taken back at any time.

A decision holds for each group that has no other members than those it was taken for. If a further copy turns up, the group is
open again, with what was chosen before as the suggestion; if one goes, the decision goes on holding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from map4_pipeline.store.schema import duplicate_decisions, duplicate_groups, duplicate_members

VERDICTS = ("keep", "not_duplicates", "ignore")
VERSION_KIND = "other_version"


class DecisionError(ValueError):
    """A decision that cannot be taken; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision.

    Attributes
    ----------
    id, group_id : int
        The group's number when it was taken.
    family : str
        "copies" or "versions".
    verdict : str
        One of `VERDICTS`.
    track_ids : tuple of int
    keeper_track_id : int or None
    note, decided_by : str
    decided_at : datetime
    undone_at : datetime or None
    undone_by : str or None
    """

    id: int
    group_id: int
    family: str
    verdict: str
    track_ids: tuple[int, ...]
    keeper_track_id: int | None
    note: str
    decided_by: str
    decided_at: datetime
    undone_at: datetime | None
    undone_by: str | None


class Decisions:
    """All decisions that hold, the newest first."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self._of: dict[int, list[Decision]] = {}
        for decision in sorted(decisions, key=lambda one: -one.id):
            for track in decision.track_ids:
                self._of.setdefault(track, []).append(decision)

    @classmethod
    def load(cls, conn: Connection) -> "Decisions":
        """Read those that were not taken back."""
        return cls(_read(conn, select(duplicate_decisions).where(duplicate_decisions.c.undone_at.is_(None))))

    def of(self, family: str, members: Sequence[int]) -> Decision | None:
        """Return the newest decision that holds for a group."""
        inside = set(members)
        for decision in self._of.get(members[0], ()) if members else ():
            stays = decision.verdict != "keep" or decision.keeper_track_id in inside
            if stays and decision.family == family and inside.issubset(decision.track_ids):
                return decision
        return None

    def keeper_among(self, members: Sequence[int]) -> int | None:
        """Return the track that was last chosen to be kept, among members of a group that has grown since."""
        chosen = [
            decision
            for track in members
            for decision in self._of.get(track, ())
            if decision.verdict == "keep" and decision.keeper_track_id == track
        ]
        return max(chosen, key=lambda one: one.id).keeper_track_id if chosen else None


def decide(conn: Connection, group_id: int, verdict: str, *, keeper: int | None = None, by: str = "", note: str = "") -> Decision:
    """Decide about a group; the group shows it at once.

    Parameters
    ----------
    conn : Connection
    group_id : int
    verdict : str
        "keep": one copy is to stay; "not_duplicates": they are none; "ignore": leave them all and say no more.
    keeper : int, optional
        The track to keep; unset: the one suggested.
    by, note : str

    Raises
    ------
    DecisionError
        When there is no such group, or the track is not in it.
    """
    if verdict not in VERDICTS:
        raise DecisionError(f"{verdict!r} is no decision; there are {', '.join(VERDICTS)}.")
    kind, suggested, members = _group(conn, group_id)
    family = "versions" if kind == VERSION_KIND else "copies"
    if verdict == "keep":
        if family == "versions":
            raise DecisionError(f"Group {group_id} holds versions of a piece, not copies: there is nothing to choose.")
        keeper = suggested if keeper is None else keeper
        if keeper not in members:
            listed = ", ".join(map(str, members))
            raise DecisionError(f"Track {keeper} is not in group {group_id}; its tracks are {listed}.")
    elif keeper is not None:
        raise DecisionError("A track to keep goes with the decision to keep one only.")
    values = {
        "group_id": group_id,
        "family": family,
        "verdict": verdict,
        "track_ids": members,
        "keeper_track_id": keeper,
        "note": note,
        "decided_by": by,
    }
    decided = _read(conn, insert(duplicate_decisions).values(values).returning(*duplicate_decisions.c))[0]
    _restate(conn, members)
    return decided


def undo(conn: Connection, group_id: int, *, by: str = "") -> Decision:
    """Take back the newest decision about a group; what held before it holds again.

    Raises
    ------
    DecisionError
        When there is no such group, or nothing was decided about it.
    """
    kind, _, members = _group(conn, group_id)
    decision = Decisions.load(conn).of("versions" if kind == VERSION_KIND else "copies", members)
    if decision is None:
        raise DecisionError(f"Nothing is decided about group {group_id}.")
    d = duplicate_decisions
    statement = update(d).where(d.c.id == decision.id).values(undone_at=func.now(), undone_by=by).returning(*d.c)
    undone = _read(conn, statement)[0]
    _restate(conn, undone.track_ids)
    return undone


def history(conn: Connection, members: Sequence[int]) -> list[Decision]:
    """Return all decisions about any of these tracks, the newest first, those taken back too."""
    d = duplicate_decisions
    query = select(d).where(d.c.track_ids.overlap(list(members))).order_by(d.c.id.desc())
    return _read(conn, query)


def _read(conn: Connection, statement: object) -> list[Decision]:
    return [
        Decision(
            row.id, row.group_id, row.family, row.verdict, tuple(row.track_ids), row.keeper_track_id, row.note,
            row.decided_by, row.decided_at, row.undone_at, row.undone_by,
        )
        for row in conn.execute(statement)  # type: ignore[call-overload]
    ]  # fmt: skip


def _group(conn: Connection, group_id: int) -> tuple[str, int | None, list[int]]:
    from map4_pipeline.store.duplicates import LOCK

    conn.execute(select(func.pg_advisory_xact_lock(LOCK)))
    g = duplicate_groups.c
    row = conn.execute(select(g.kind, g.keeper_track_id).where(g.id == group_id)).first()
    if row is None:
        raise DecisionError(f"There is no group {group_id}. `map4 duplicates` lists them.")
    members = select(duplicate_members.c.track_id).where(duplicate_members.c.group_id == group_id)
    return row.kind, row.keeper_track_id, sorted(int(track) for track in conn.execute(members).scalars())


def _restate(conn: Connection, track_ids: Sequence[int]) -> None:
    from map4_pipeline.store.duplicates import restate

    restate(conn, track_ids)
