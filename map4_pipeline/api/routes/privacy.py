"""What is held about a user: to take away, and to erase; one's own, and for admins anybody's."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from map4_pipeline.api.access import Oneself, UserAdmin
from map4_pipeline.api.context import Context, context_of
from map4_pipeline.api.models import Id
from map4_pipeline.api.problems import not_found
from map4_pipeline.api.routes.auth import end_cookie, note, verify_recent
from map4_pipeline.api.routes.identities import Proof
from map4_pipeline.store import accounts
from map4_pipeline.store.privacy import erase_user, export_user

router = APIRouter(prefix="/api", tags=["privacy"])


@router.get("/auth/me/export", response_model=dict[str, Any])
def export_oneself(request: Request, principal: Oneself) -> JSONResponse:
    """Take away all that MAP4 holds about oneself."""
    with context_of(request).engine.begin() as conn:
        note(conn, request, "user data exported", principal.user, target=principal.user.name)
        return _document(conn, principal.user.id, principal.user.name)


@router.post("/auth/me/erase", status_code=204)
def erase_oneself(request: Request, response: Response, principal: Oneself, body: Proof) -> None:
    """Erase one's account and what is held about oneself. Playlists and corrections stay, without the name."""
    context = context_of(request)
    verify_recent(request, principal, body.password)
    with context.engine.begin() as conn:
        erase(conn, context, principal.user.id)
        # Whoever it was: an address would be about somebody again.
        note(conn, request, "user erased", None, anonymous=True)
    end_cookie(context, response)


@router.get("/users/{user_id}/export", response_model=dict[str, Any])
def export_user_data(request: Request, user_id: Id, principal: UserAdmin) -> JSONResponse:
    """Show all that MAP4 holds about a user, to hand it over."""
    with context_of(request).engine.begin() as conn:
        user = accounts.get_user(conn, user_id)
        if user is None:
            raise not_found(f"user {user_id}")
        note(conn, request, "user data exported", principal.user, target=user.name)
        return _document(conn, user.id, user.name)


def erase(conn: Connection, context: Context, user_id: int) -> None:
    """Erase a user, with the files of exports."""
    for job_id in erase_user(conn, user_id).job_ids:
        for path in (context.settings.home / "exports" / "jobs").glob(f"{job_id}.*"):
            path.unlink(missing_ok=True)


def _document(conn: Connection, user_id: int, name: str) -> JSONResponse:
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "-" for letter in name)
    headers = {"Content-Disposition": f'attachment; filename="map4-{plain}.json"'}
    return JSONResponse(export_user(conn, user_id), headers=headers)
