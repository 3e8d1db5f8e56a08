"""Users and the audit log, for admins."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from map4_pipeline.api.access import LibraryAdmin, UserAdmin
from map4_pipeline.api.context import context_of
from map4_pipeline.api.models import After, Id, ListLimit, Next, Strict
from map4_pipeline.api.passwords import hash_password, one_time_password
from map4_pipeline.api.problems import not_found
from map4_pipeline.api.routes.auth import note
from map4_pipeline.api.versions import IfMatch, etag_of, refuse_stale
from map4_pipeline.store import accounts, audit

router = APIRouter(prefix="/api", tags=["users"])
#: What changes without anybody's changing an account.
_PASSING = frozenset(("last_seen_at",))
Role = Literal["admin", "user", "viewer"]


class UserInfo(BaseModel):
    """An account as admins see it."""

    id: int
    name: str
    email: str | None
    role: Role
    active: bool
    libraries: list[Id] | None = Field(description="Ids of the libraries granted; null: all.")
    must_change_password: bool
    created_at: datetime
    last_seen_at: datetime | None

    @classmethod
    def of(cls, user: accounts.User) -> "UserInfo":
        """Return what admins see of a user."""
        names = ("id", "name", "email", "role", "active", "must_change_password", "created_at", "last_seen_at")
        libraries = None if user.libraries is None else sorted(user.libraries)
        return cls(**{name: getattr(user, name) for name in names}, libraries=libraries)


class UserPage(BaseModel):
    """A page of the accounts."""

    users: list[UserInfo]
    next: Next


class NewUser(Strict):
    """An account to be made."""

    name: str = Field(min_length=1, max_length=100, examples=["anna"])
    role: Role = "viewer"
    email: str | None = Field(default=None, max_length=320)
    libraries: list[Id] | None = Field(
        default_factory=list, max_length=10_000, description="Ids of the libraries granted; null: all, also later ones."
    )


class MadeUser(UserInfo):
    """An account and the password for its first login, which is shown this once."""

    one_time_password: str


class UserChange(Strict):
    """What is to change; what is not given stays."""

    role: Role | None = None
    active: bool | None = None
    email: str | None = Field(default=None, max_length=320)
    libraries: list[Id] | None = Field(default=None, max_length=10_000, description="Ids of the libraries granted.")
    all_libraries: Literal[True] | None = Field(default=None, description="Grants all libraries, also later ones.")


class AuditInfo(BaseModel):
    """Something that somebody did."""

    id: int
    at: datetime
    user_id: int | None
    user_name: str | None
    action: str
    target: str | None
    detail: dict[str, Any]
    request_id: str | None
    address: str | None


class AuditPage(BaseModel):
    """A page of the log of who did what."""

    entries: list[AuditInfo]
    next: Next


@router.get("/users")
def list_users(request: Request, principal: UserAdmin, limit: ListLimit = 100, after: After = None) -> UserPage:
    """List the accounts by name, page by page."""
    with context_of(request).reading() as conn:
        found, following = accounts.user_page(conn, limit, after)
    return UserPage(users=[UserInfo.of(user) for user in found], next=following)


@router.post("/users", status_code=201)
def create_user(request: Request, body: NewUser, principal: UserAdmin) -> MadeUser:
    """Make an account. The password in the answer is for the first login only."""
    password = one_time_password()
    hashed = hash_password(password)
    with context_of(request).engine.begin() as conn:
        user = accounts.create_user(
            conn,
            body.name,
            body.role,
            password_hash=hashed,
            email=body.email,
            library_ids=body.libraries,
            must_change_password=True,
        )
        note(conn, request, "user made", principal.user, target=user.name, detail={"role": user.role})
    return MadeUser(**UserInfo.of(user).model_dump(), one_time_password=password)


@router.get("/users/{user_id:int}")
def get_user(request: Request, user_id: Id, principal: UserAdmin, response: Response) -> UserInfo:
    """Show an account. `ETag` changes with every change."""
    with context_of(request).reading() as conn:
        user = accounts.get_user(conn, user_id)
    if user is None:
        raise not_found(f"user {user_id}")
    response.headers["ETag"] = etag_of(UserInfo.of(user), but=_PASSING)
    return UserInfo.of(user)


@router.patch("/users/{user_id:int}")
def update_user(
    request: Request, user_id: Id, body: UserChange, principal: UserAdmin, response: Response, if_match: IfMatch = None
) -> UserInfo:
    """Change an account."""
    with context_of(request).engine.begin() as conn:
        accounts.lock_user(conn, user_id)
        before = accounts.get_user(conn, user_id)
        if before is None:
            raise not_found(f"user {user_id}")
        refuse_stale(if_match, etag_of(UserInfo.of(before), but=_PASSING), "account")
        granted: list[int] | str | None = "" if body.libraries is None else body.libraries
        user = accounts.update_user(
            conn,
            user_id,
            role=body.role,
            active=body.active,
            email=body.email,
            library_ids=None if body.all_libraries else granted,
        )
        note(conn, request, "user changed", principal.user, target=user.name, detail=body.model_dump(exclude_unset=True))
    response.headers["ETag"] = etag_of(UserInfo.of(user), but=_PASSING)
    return UserInfo.of(user)


@router.post("/users/{user_id:int}/password")
def reset_password(request: Request, user_id: Id, principal: UserAdmin) -> MadeUser:
    """Give an account a password for the next login only. Its sessions and tokens end."""
    password = one_time_password()
    hashed = hash_password(password)
    with context_of(request).engine.begin() as conn:
        if accounts.get_user(conn, user_id) is None:
            raise not_found(f"user {user_id}")
        accounts.set_password(conn, user_id, hashed, must_change=True)
        user = accounts.get_user(conn, user_id)
        assert user is not None
        note(conn, request, "password reset", principal.user, target=user.name)
    return MadeUser(**UserInfo.of(user).model_dump(), one_time_password=password)


@router.delete("/users/{user_id:int}", status_code=204)
def delete_user(request: Request, user_id: Id, principal: UserAdmin) -> None:
    """Erase an account and what is held about its user. Playlists, corrections and decisions stay, without the name."""
    from map4_pipeline.api.routes.privacy import erase

    context = context_of(request)
    with context.engine.begin() as conn:
        if accounts.get_user(conn, user_id) is None:
            raise not_found(f"user {user_id}")
        erase(conn, context, user_id)
        note(conn, request, "user erased", principal.user, target=str(user_id))


@router.get("/audit")
def list_audit(request: Request, principal: LibraryAdmin, limit: ListLimit = 100, after: After = None) -> AuditPage:
    """List who did what page by page, the newest first."""
    with context_of(request).reading() as conn:
        found, following = audit.audit_page(conn, limit, after)
    told = [AuditInfo(**{name: getattr(entry, name) for name in AuditInfo.model_fields}) for entry in found]
    return AuditPage(entries=told, next=following)
