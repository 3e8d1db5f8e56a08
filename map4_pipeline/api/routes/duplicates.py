"""Duplicates: groups with their evidence, and decisions that can be taken back. Nothing is ever deleted."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from map4_pipeline.api.access import Editor, Principal, Reader
from map4_pipeline.api.context import context_of
from map4_pipeline.api.models import After, ListLimit, Next, Strict
from map4_pipeline.api.problems import Problem, not_found
from map4_pipeline.api.routes.auth import note
from map4_pipeline.store import duplicate_decisions as decisions
from map4_pipeline.store.duplicate_listing import group_page, group_with_history

router = APIRouter(prefix="/api/duplicates", tags=["duplicates"])
Kind = Literal["identical_file", "identical_audio", "same_recording", "other_version"]
State = Literal["open", "keep", "not_duplicates", "ignore"]
GroupId = Annotated[int, Field(ge=0, le=2**53 - 1)]


class GroupInfo(BaseModel):
    """Tracks that hold the same recording, or versions of a piece."""

    group: int
    kind: Kind
    state: State
    keeper: int | None = Field(description="The track that is, or should be, kept.")
    keeper_reason: str
    surplus_bytes: int
    tracks: list[dict[str, Any]]
    evidence: list[dict[str, Any]]


class GroupPage(BaseModel):
    """A page of groups."""

    groups: list[GroupInfo]
    next: Next


class DecisionInfo(BaseModel):
    """What somebody decided."""

    id: int
    verdict: str
    keeper_track_id: int | None
    note: str
    decided_by: str
    decided_at: datetime
    undone_at: datetime | None
    undone_by: str | None


class GroupDetail(GroupInfo):
    """A group with all that was decided about its tracks, the newest first."""

    history: list[DecisionInfo]


class Verdict(Strict):
    """A decision."""

    verdict: Literal["keep", "not_duplicates", "ignore"]
    keeper: int | None = Field(default=None, ge=0, le=2**53 - 1, description="The track to keep; null: the one suggested.")
    note: str = Field(default="", max_length=1000)


@router.get("")
def list_duplicates(
    request: Request,
    principal: Reader,
    kind: Annotated[list[Kind] | None, Query()] = None,
    state: Annotated[list[State] | None, Query()] = None,
    limit: ListLimit = 100,
    after: After = None,
) -> GroupPage:
    """List groups page by page, those first that free the most; without `state` those that nobody has decided about."""
    states, granted = state or ("open",), principal.library_ids
    with context_of(request).reading() as conn:
        found, following = group_page(conn, kinds=kind or (), states=states, limit=limit, after=after, library_ids=granted)
    return GroupPage(groups=[GroupInfo(**group.as_dict()) for group in found], next=following)


@router.get("/{group_id:int}")
def get_duplicates(request: Request, group_id: GroupId, principal: Reader) -> GroupDetail:
    """Show a group with its evidence and what was decided."""
    with context_of(request).reading() as conn:
        return _detail(conn, principal, group_id)


@router.post("/{group_id:int}/decision")
def decide(request: Request, group_id: GroupId, principal: Editor, body: Verdict) -> GroupDetail:
    """Decide about a group. No file is touched."""
    with context_of(request).engine.begin() as conn:
        _detail(conn, principal, group_id)
        try:
            decisions.decide(conn, group_id, body.verdict, keeper=body.keeper, by=principal.user.name, note=body.note)
        except decisions.DecisionError as error:
            raise Problem(409, "conflict", str(error)) from None
        note(conn, request, "duplicates decided", principal.user, target=str(group_id), detail={"verdict": body.verdict})
        return _detail(conn, principal, group_id)


@router.delete("/{group_id:int}/decision")
def undo_decision(request: Request, group_id: GroupId, principal: Editor) -> GroupDetail:
    """Take back the newest decision about a group."""
    with context_of(request).engine.begin() as conn:
        _detail(conn, principal, group_id)
        try:
            decisions.undo(conn, group_id, by=principal.user.name)
        except decisions.DecisionError as error:
            raise Problem(409, "conflict", str(error)) from None
        note(conn, request, "decision undone", principal.user, target=str(group_id))
        return _detail(conn, principal, group_id)


def _detail(conn: Connection, principal: Principal, group_id: int) -> GroupDetail:
    found = group_with_history(conn, group_id, principal.library_ids)
    if found is None:
        raise not_found(f"group {group_id}")
    group, history = found
    names = DecisionInfo.model_fields
    said = [DecisionInfo(**{name: getattr(one, name) for name in names}) for one in history]
    return GroupDetail(**group.as_dict(), history=said)
