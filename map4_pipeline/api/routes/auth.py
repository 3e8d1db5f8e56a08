"""Logging in and out, access and refresh tokens, one's own account: password, sessions, named tokens."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from map4_pipeline.api.access import PUBLIC, ROLES, SCOPES, Oneself, Permission, Principal
from map4_pipeline.api.context import Context, context_of
from map4_pipeline.api.identity import csrf_token, make_access_token, refuse_foreign
from map4_pipeline.api.limits import address_of, network_of
from map4_pipeline.api.models import After, BigId, Id, ListLimit, Next, Strict
from map4_pipeline.api.passwords import hash_password, is_password, verify_choice
from map4_pipeline.api.problems import Problem, not_found
from map4_pipeline.store import audit, throttle, tokens
from map4_pipeline.store.accounts import User, end_everything, find_user, get_user, set_password

router = APIRouter(prefix="/api/auth", tags=["auth"])
#: A login is fresh for so long, where there is no password to ask for.
_RECENT = timedelta(minutes=15)
Password = Annotated[str, Field(max_length=1024, examples=["correct horse battery staple"])]


class Credentials(Strict):
    """Name and password."""

    name: str = Field(max_length=200, examples=["anna"])
    password: Password


class Account(BaseModel):
    """A user as himself sees it."""

    id: int
    name: str
    email: str | None
    role: Literal["admin", "user", "viewer"]
    permissions: list[str]
    libraries: list[int] | None = Field(description="Ids of the libraries granted; null: all.")
    must_change_password: bool

    @classmethod
    def of(cls, user: User, permissions: frozenset[Permission] | None = None) -> "Account":
        """Return a user's account."""
        allowed = ROLES[user.role] if permissions is None else permissions
        return cls(
            id=user.id,
            name=user.name,
            email=user.email,
            role=user.role,
            permissions=sorted(allowed),
            libraries=None if user.libraries is None else sorted(user.libraries),
            must_change_password=user.must_change_password,
        )


class LoggedIn(BaseModel):
    """A browser's session has begun: the cookie is set."""

    account: Account
    csrf: str = Field(description="Sent as X-CSRF-Token with every change.")


class Tokens(BaseModel):
    """What a program shows: the access token with every request, the refresh token to get the next pair."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(description="Seconds that the access token lives.")


class Refresh(Strict):
    """A refresh token."""

    refresh_token: str = Field(max_length=200)


class NewPassword(Strict):
    """The password so far, and the one from now on."""

    current: Password
    new: Password
    keep_tokens: bool = Field(default=False, description="Named tokens go on.")


class SessionInfo(BaseModel):
    """A browser that is logged in."""

    id: int
    client: str | None
    created_at: datetime
    used_at: datetime
    current: bool


class SessionPage(BaseModel):
    """A page of the browsers in which one is logged in."""

    sessions: list[SessionInfo]
    next: Next


class NewToken(Strict):
    """A named token to be made."""

    name: str = Field(max_length=100, examples=["backup script"])
    scopes: list[Literal["read", "write", "export", "analyze", "metrics", "admin"]] = Field(min_length=1, examples=[["read"]])
    days: int | None = Field(default=90, ge=1, le=3650, description="How long it lives; null: until it is revoked.")


class TokenInfo(BaseModel):
    """A named token, without its secret."""

    id: int
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None

    @classmethod
    def of(cls, token: tokens.ApiToken) -> "TokenInfo":
        """Return what is shown of a token."""
        return cls(
            id=token.id,
            name=token.name,
            scopes=list(token.scopes),
            created_at=token.created_at,
            expires_at=token.expires_at,
            used_at=token.used_at,
        )


class TokenPage(BaseModel):
    """A page of one's named tokens."""

    tokens: list[TokenInfo]
    next: Next


class MadeToken(TokenInfo):
    """A named token and its secret, which is shown this once."""

    token: str


def verify_credentials(request: Request, credentials: Credentials) -> User:
    """Return whose name and password these are.

    Raises
    ------
    Problem
        401 when they are nobody's, 403 where nobody logs in with a password, 429 when there were too many attempts.
    """
    context = context_of(request)
    if not context.settings.password_login:
        raise Problem(403, "no-passwords", "Nobody logs in with a password here. Use the login elsewhere that the page offers.")
    found = begin_attempt(request, credentials.name)
    user, stored = found if found is not None else (None, None)
    # Hashing takes a quarter of a second: no connection is held meanwhile.
    if not is_password(credentials.password, stored) or user is None or not user.active:
        with context.engine.begin() as conn:
            # The name only where it is one: people type their password into the wrong field.
            note(conn, request, "login failed", user)
        raise Problem(401, "wrong-credentials", "Name or password is wrong.")
    with context.engine.begin() as conn:
        throttle.succeeded(conn, credentials.name, network_of(address_of(request)))
        note(conn, request, "login", user, detail={"with": "password"})
    return user


def begin_attempt(request: Request, name: str) -> tuple[User, str | None] | None:
    """Return an account and its password's hash for somebody who says a password; the attempt counts as failed so far.

    Raises
    ------
    Problem
        429 when there were too many attempts.
    """
    with context_of(request).engine.begin() as conn:
        wait = throttle.begin(conn, name, network_of(address_of(request)))
        if wait <= 0:
            return find_user(conn, name)
    detail = f"Too many attempts. Try again in {wait:.0f} s."
    raise Problem(429, "too-many-attempts", detail, headers={"Retry-After": str(max(1, round(wait)))})


def verify_oneself(request: Request, user: User, password: str, said: str = "The password is wrong.") -> None:
    """Refuse somebody who does not know the password of the account that is logged in here.

    Raises
    ------
    Problem
        403 when it is wrong, 429 when there were too many attempts.
    """
    found = begin_attempt(request, user.name)
    if found is None or found[1] is None or not is_password(password, found[1]):
        with context_of(request).engine.begin() as conn:
            note(conn, request, "password refused", user)
        raise Problem(403, "wrong-credentials", said)
    with context_of(request).engine.begin() as conn:
        throttle.succeeded(conn, user.name, network_of(address_of(request)))


def open_session(context: Context, conn: Connection, request: Request, response: Response, user: User) -> str:
    """Begin a browser's session, set its cookie, and return the token that its pages send with changes.

    The session that this browser had ends.
    """
    settings = context.settings
    earlier = request.cookies.get(context.cookie_name)
    if earlier is not None:
        tokens.end_session_of(conn, earlier)
    secret = tokens.start_session(conn, user, settings.session_days * 86_400, request.headers.get("user-agent"))
    response.set_cookie(
        context.cookie_name,
        secret,
        max_age=round(settings.session_days * 86_400),
        path="/",
        httponly=True,
        secure=context.is_secure,
        samesite="lax",
    )
    return csrf_token(secret)


def verify_recent(request: Request, principal: Principal, password: str | None) -> None:
    """Refuse a change that others could take an account over with, unless it is really its user who asks.

    By the password; who has none has to have logged in just now.

    Raises
    ------
    Problem
    """
    if principal.way != "session":
        raise Problem(403, "not-allowed", "This is done in a browser that is logged in.")
    if principal.user.has_password:
        verify_oneself(request, principal.user, password or "")
        return
    with context_of(request).reading() as conn:
        mine = next((one for one in tokens.sessions_of(conn, principal.user.id) if one.id == principal.session_id), None)
    if mine is None or datetime.now(UTC) - mine.created_at > _RECENT:
        raise Problem(403, "log-in-again", "Log out and in again first: this needs a login that is a few minutes old at most.")


@router.post("/login", dependencies=[PUBLIC])
def login(request: Request, response: Response, credentials: Credentials) -> LoggedIn:
    """Log in with a browser: sets the session's cookie."""
    refuse_foreign(request)
    user = verify_credentials(request, credentials)
    context = context_of(request)
    with context.engine.begin() as conn:
        csrf = open_session(context, conn, request, response, user)
    return LoggedIn(account=Account.of(user), csrf=csrf)


@router.post("/logout", status_code=204)
def logout(request: Request, response: Response, principal: Oneself) -> None:
    """End this browser's session."""
    context = context_of(request)
    if principal.session_id is not None:
        with context.engine.begin() as conn:
            tokens.end_session(conn, principal.user.id, principal.session_id)
            note(conn, request, "logout", principal.user)
    end_cookie(context, response)


def end_cookie(context: Context, response: Response) -> None:
    """Let a browser forget its session and what it has kept."""
    response.delete_cookie(context.cookie_name, path="/", secure=context.is_secure, httponly=True, samesite="lax")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'


@router.post("/token", dependencies=[PUBLIC])
def create_tokens(request: Request, credentials: Credentials) -> Tokens:
    """Log in with a program: gives an access token and a refresh token."""
    user = verify_credentials(request, credentials)
    if user.must_change_password:
        raise Problem(403, "password-change", "Choose a password of your own first: on the page, or with `map4 users password`.")
    context = context_of(request)
    with context.engine.begin() as conn:
        refresh = tokens.start_refresh(conn, user, context.settings.refresh_days * 86_400)
    return _tokens(context, user, refresh)


@router.post("/refresh", dependencies=[PUBLIC])
def refresh_tokens(request: Request, body: Refresh) -> Tokens:
    """Exchange a refresh token for the next pair. Each is good once: the second time, all that came from it end."""
    context = context_of(request)
    with context.engine.begin() as conn:
        found = tokens.rotate_refresh(conn, body.refresh_token)
        if found.reused:
            note(conn, request, "refresh token used twice", found.user)
    if found.user is None or found.secret is None:
        raise Problem(401, "invalid-token", "The refresh token is not valid, or no longer. Log in again.")
    return _tokens(context, found.user, found.secret)


@router.post("/revoke", status_code=204, dependencies=[PUBLIC])
def revoke_refresh(request: Request, body: Refresh) -> None:
    """End a refresh token and all that came from it."""
    with context_of(request).engine.begin() as conn:
        tokens.end_refresh(conn, body.refresh_token)


def _tokens(context: Context, user: User, refresh: str) -> Tokens:
    seconds = context.settings.access_minutes * 60
    access = make_access_token(context.signing_keys(), user, seconds)
    return Tokens(access_token=access, refresh_token=refresh, expires_in=int(seconds))


@router.get("/me")
def get_account(principal: Oneself) -> Account:
    """Show one's own account."""
    return Account.of(principal.user, principal.permissions)


@router.post("/password", status_code=204)
def change_password(request: Request, response: Response, body: NewPassword, principal: Oneself) -> None:
    """Change one's password. All other sessions and tokens end; this browser stays logged in."""
    context = context_of(request)
    verify_oneself(request, principal.user, body.current, "The password so far is wrong.")
    verify_choice(body.new, principal.user.name)
    hashed = hash_password(body.new)
    with context.engine.begin() as conn:
        set_password(conn, principal.user.id, hashed, keep_tokens=body.keep_tokens)
        note(conn, request, "password changed", principal.user)
        user = get_user(conn, principal.user.id)
        if principal.way == "session" and user is not None:
            open_session(context, conn, request, response, user)


@router.get("/sessions")
def list_sessions(request: Request, principal: Oneself, limit: ListLimit = 100, after: After = None) -> SessionPage:
    """List the browsers in which one is logged in page by page, the one used last first."""
    with context_of(request).reading() as conn:
        found, following = tokens.session_page(conn, principal.user.id, limit, after)
    told = [
        SessionInfo(
            id=one.id, client=one.client, created_at=one.created_at, used_at=one.used_at, current=one.id == principal.session_id
        )
        for one in found
    ]
    return SessionPage(sessions=told, next=following)


@router.delete("/sessions/{session_id:int}", status_code=204)
def end_session(request: Request, session_id: BigId, principal: Oneself) -> None:
    """Log out another browser."""
    with context_of(request).engine.begin() as conn:
        if not tokens.end_session(conn, principal.user.id, session_id):
            raise not_found(f"session {session_id}")
        note(conn, request, "session ended", principal.user, target=str(session_id))


@router.delete("/sessions", status_code=204)
def end_all_sessions(request: Request, principal: Oneself) -> None:
    """Log out everywhere: all sessions, access and refresh tokens end. Named tokens stay."""
    with context_of(request).engine.begin() as conn:
        end_everything(conn, principal.user.id)
        note(conn, request, "logged out everywhere", principal.user)


@router.get("/tokens")
def list_tokens(request: Request, principal: Oneself, limit: ListLimit = 100, after: After = None) -> TokenPage:
    """List one's named tokens page by page, the oldest first."""
    with context_of(request).reading() as conn:
        found, following = tokens.token_page(conn, principal.user.id, limit, after)
    return TokenPage(tokens=[TokenInfo.of(token) for token in found], next=following)


@router.post("/tokens", status_code=201)
def create_token(request: Request, body: NewToken, principal: Oneself) -> MadeToken:
    """Make a named token for a program. Its secret is in this answer and nowhere else."""
    useless = [scope for scope in body.scopes if not SCOPES[scope] & principal.permissions]
    if useless:
        raise Problem(403, "not-allowed", f"Your role has nothing of the scope {useless[0]!r}.")
    with context_of(request).engine.begin() as conn:
        seconds = None if body.days is None else body.days * 86_400.0
        made, secret = tokens.create_token(conn, principal.user.id, body.name, body.scopes, seconds)
        note(conn, request, "token made", principal.user, target=made.name, detail={"scopes": list(made.scopes)})
    return MadeToken(**TokenInfo.of(made).model_dump(), token=secret)


@router.delete("/tokens/{token_id:int}", status_code=204)
def revoke_token(request: Request, token_id: Id, principal: Oneself) -> None:
    """Revoke a named token."""
    with context_of(request).engine.begin() as conn:
        if not tokens.revoke_token(conn, principal.user.id, token_id):
            raise not_found(f"token {token_id}")
        note(conn, request, "token revoked", principal.user, target=str(token_id))


def note(
    conn: Connection,
    request: Request,
    action: str,
    user: User | None,
    *,
    target: str | None = None,
    detail: dict[str, object] | None = None,
    anonymous: bool = False,
) -> None:
    """Write who did what into the audit log; `anonymous`: not from where."""
    audit.note(
        conn,
        action,
        user_id=None if user is None else user.id,
        user_name=None if user is None else user.name,
        target=target,
        detail=detail,
        request_id=getattr(request.state, "request_id", None),
        address=None if anonymous else address_of(request),
    )
