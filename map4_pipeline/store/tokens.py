"""What proves who somebody is: browsers' sessions, programs' refresh tokens and named tokens, and the keys of access tokens.

Secrets have 256 random bits and are kept as SHA-256, which is enough for what cannot be guessed.
"""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, literal, select, text, tuple_, update
from sqlalchemy.exc import IntegrityError

from map4_pipeline.store.accounts import User, get_user, user_of, user_query
from map4_pipeline.store.cipher import Cipher
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.marks import cut, read_mark
from map4_pipeline.store.schema import api_tokens, login_flows, refresh_tokens, sessions, signing_keys, users

#: Begins every named token, so that one that was published by mistake is recognised.
TOKEN_PREFIX = "map4_"
_KEYS_LOCK = 0x4D4150344B4559
#: A used session is written down once in so many seconds.
_TOUCH_SECONDS = 60
#: A retired key verifies for so much longer than its last token lives: other processes sign with it until they look again.
_KEY_GRACE_SECONDS = 120


def _secret() -> str:
    return secrets.token_urlsafe(32)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _after(seconds: float) -> Any:
    return func.now() + text("make_interval(secs => :seconds)").bindparams(seconds=seconds)


# ------------------------------------------------------------------ sessions of browsers
@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is logged in."""

    id: int
    client: str | None
    created_at: datetime
    used_at: datetime
    expires_at: datetime


def start_session(conn: Connection, user: User, seconds: float, client: str | None = None) -> str:
    """Begin a session and return its secret, which is nowhere else."""
    secret = _secret()
    values = {"user_id": user.id, "token_hash": _digest(secret), "epoch": user.epoch, "client": (client or "")[:300] or None}
    conn.execute(insert(sessions).values(**values, expires_at=_after(seconds)))
    return secret


def session_user(conn: Connection, secret: str, idle_seconds: float) -> tuple[User, int] | None:
    """Return whose session it is, and its number; None when it has ended or was idle for too long."""
    row = conn.execute(_SESSION_USER, {"digest": _digest(secret), "idle": idle_seconds}).one_or_none()
    if row is None:
        return None
    if row.proof_stale:
        conn.execute(update(sessions).where(sessions.c.id == row.session_id).values(used_at=func.now()))
    return user_of(row), row.session_id


def _session_user() -> Any:
    s = sessions.c
    stale = s.used_at < _after(-_TOUCH_SECONDS)
    return (
        user_query()
        .add_columns(s.id.label("session_id"), stale.label("proof_stale"))
        .join(sessions, s.user_id == users.c.id)
        .where(
            s.token_hash == bindparam("digest"), s.expires_at > func.now(), s.epoch == users.c.epoch, users.c.active,
            s.used_at > func.now() - text("make_interval(secs => :idle)"),
        )
    )  # fmt: skip


#: Made once, as `_TOKEN_USER`.
_SESSION_USER = _session_user()


def sessions_of(conn: Connection, user_id: int) -> list[Session]:
    """Return a user's living sessions, the one used last first."""
    return session_page(conn, user_id, None)[0]


def session_page(conn: Connection, user_id: int, limit: int | None, after: str | None = None) -> tuple[list[Session], str | None]:
    """Return a page of a user's living sessions, the one used last first, and the mark of the next page (None: the last).

    Raises
    ------
    MarkError
        When `after` is not the mark of such a page.
    """
    query = (
        select(sessions.c.id, sessions.c.client, sessions.c.created_at, sessions.c.used_at, sessions.c.expires_at)
        .join(users)
        .where(sessions.c.user_id == user_id, sessions.c.expires_at > func.now(), sessions.c.epoch == users.c.epoch)
        .order_by(sessions.c.used_at.desc(), sessions.c.id.desc())
        .limit(None if limit is None else limit + 1)
    )
    if after is not None:
        query = query.where(tuple_(sessions.c.used_at, sessions.c.id) < tuple_(*read_mark(after, datetime, int)))
    return cut([Session(*row) for row in conn.execute(query)], limit, lambda one: (one.used_at, one.id))


def end_session_of(conn: Connection, secret: str) -> None:
    """End the session with this secret, if there is one."""
    conn.execute(delete(sessions).where(sessions.c.token_hash == _digest(secret)))


def end_session(conn: Connection, user_id: int, session_id: int) -> bool:
    """End one of a user's sessions; return whether there was one."""
    mine = (sessions.c.id == session_id) & (sessions.c.user_id == user_id)
    return bool(conn.execute(delete(sessions).where(mine)).rowcount)


# ------------------------------------------------------------------ refresh tokens
def start_refresh(conn: Connection, user: User, seconds: float) -> str:
    """Begin a family of refresh tokens and return the first."""
    return _new_refresh(conn, user, uuid.uuid4(), _after(seconds))


def _new_refresh(conn: Connection, user: User, family: uuid.UUID, expires_at: Any) -> str:
    secret = _secret()
    values = {"user_id": user.id, "family": family, "token_hash": _digest(secret), "epoch": user.epoch}
    conn.execute(insert(refresh_tokens).values(**values, expires_at=expires_at))
    return secret


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came of showing a refresh token.

    Attributes
    ----------
    user : User or None
        Whose it is, or was; None: nobody's.
    secret : str or None
        The next refresh token; None: there is none, log in again.
    reused : bool
        It was exchanged before, so it is in two hands: all that came from it has ended.
    """

    user: User | None = None
    secret: str | None = None
    reused: bool = False


def rotate_refresh(conn: Connection, secret: str) -> Exchange:
    """Exchange a refresh token for the next one, which runs out with the first of its family: however often, a login ends."""
    r = refresh_tokens.c
    row = conn.execute(select(refresh_tokens).where(r.token_hash == _digest(secret)).with_for_update()).one_or_none()
    if row is None:
        return Exchange()
    if row.used_at is not None or row.revoked_at is not None:
        conn.execute(update(refresh_tokens).where(r.family == row.family, r.revoked_at.is_(None)).values(revoked_at=func.now()))
        return Exchange(get_user(conn, row.user_id), reused=row.used_at is not None)
    user = get_user(conn, row.user_id)
    fresh = conn.execute(select(r.expires_at > func.now()).where(r.id == row.id)).scalar_one()
    if user is None or not user.active or user.epoch != row.epoch or not fresh:
        return Exchange(user)
    conn.execute(update(refresh_tokens).where(r.id == row.id).values(used_at=func.now()))
    return Exchange(user, _new_refresh(conn, user, row.family, row.expires_at))


def end_refresh(conn: Connection, secret: str) -> None:
    """End the family of a refresh token."""
    r = refresh_tokens.c
    family = select(r.family).where(r.token_hash == _digest(secret)).scalar_subquery()
    conn.execute(update(refresh_tokens).where(r.family == family, r.revoked_at.is_(None)).values(revoked_at=func.now()))


# ------------------------------------------------------------------ named tokens
@dataclass(frozen=True, slots=True)
class ApiToken:
    """A named token, without its secret."""

    id: int
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


def create_token(
    conn: Connection, user_id: int, name: str, scopes: Sequence[str], seconds: float | None = None
) -> tuple[ApiToken, str]:
    """Make a named token; return it and its secret, which is shown once.

    Parameters
    ----------
    seconds : float or None
        How long it lives; None: until it is revoked.

    Raises
    ------
    StoreError
        When the user has a token of that name.
    """
    wanted = name.strip()
    if not wanted or len(wanted) > 100 or not wanted.isprintable():
        raise StoreError("A token's name has 1 to 100 visible characters.")
    secret = TOKEN_PREFIX + _secret()
    values = {"user_id": user_id, "name": wanted, "token_hash": _digest(secret), "scopes": sorted(set(scopes))}
    if seconds is not None:
        values["expires_at"] = _after(seconds)
    try:
        with conn.begin_nested():
            row = conn.execute(insert(api_tokens).values(values).returning(*_TOKEN)).one()
    except IntegrityError:
        raise StoreError(f"There is a token {wanted!r} already.") from None
    return _token(row), secret


_TOKEN = tuple(api_tokens.c[name] for name in ("id", "name", "scopes", "created_at", "expires_at", "used_at"))


def _token(row: Any) -> ApiToken:
    return ApiToken(row.id, row.name, tuple(row.scopes), row.created_at, row.expires_at, row.used_at)


def token_user(conn: Connection, secret: str) -> tuple[User, ApiToken] | None:
    """Return whose token it is; None when it is not, or no longer, valid."""
    row = conn.execute(_TOKEN_USER, {"digest": _digest(secret)}).one_or_none()
    if row is None:
        return None
    if row.proof_stale:
        conn.execute(update(api_tokens).where(api_tokens.c.id == row.token_id).values(used_at=func.now()))
    token = ApiToken(row.token_id, row.token_name, tuple(row.scopes), row.token_created_at, row.expires_at, row.used_at)
    return user_of(row), token


def _token_user() -> Any:
    a = api_tokens.c
    stale = a.used_at.is_(None) | (a.used_at < _after(-_TOUCH_SECONDS))
    return (
        user_query()
        .add_columns(
            a.id.label("token_id"), a.name.label("token_name"), a.scopes, a.created_at.label("token_created_at"), a.expires_at,
            a.used_at, stale.label("proof_stale"),
        )
        .join(api_tokens, a.user_id == users.c.id)
        .where(
            a.token_hash == bindparam("digest"), a.revoked_at.is_(None), a.expires_at.is_(None) | (a.expires_at > func.now()),
            users.c.active,
        )
    )  # fmt: skip


#: Made once: every request asks it, and making it takes longer than asking.
_TOKEN_USER = _token_user()


def token_page(conn: Connection, user_id: int, limit: int, after: str | None = None) -> tuple[list[ApiToken], str | None]:
    """Return a page of a user's tokens that were not revoked, and the mark of the next page (None: this was the last).

    Raises
    ------
    MarkError
        When `after` is not the mark of such a page.
    """
    mine = (api_tokens.c.user_id == user_id, api_tokens.c.revoked_at.is_(None))
    query = select(*_TOKEN).where(*mine).order_by(api_tokens.c.id).limit(limit + 1)
    if after is not None:
        query = query.where(api_tokens.c.id > read_mark(after, int)[0])
    return cut([_token(row) for row in conn.execute(query)], limit, lambda token: (token.id,))


def revoke_token(conn: Connection, user_id: int, token_id: int) -> bool:
    """Revoke one of a user's tokens; return whether there was one."""
    mine = (api_tokens.c.id == token_id) & (api_tokens.c.user_id == user_id) & api_tokens.c.revoked_at.is_(None)
    return bool(conn.execute(update(api_tokens).where(mine).values(revoked_at=func.now())).rowcount)


# ------------------------------------------------------------------ signing keys
@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Keys of access tokens by their id; `current` signs, the others still verify."""

    current: str
    secrets: dict[str, bytes]


def signing_keys_now(conn: Connection, cipher: Cipher, token_seconds: float, days: float | None = None) -> SigningKeys:
    """Return the keys that verify today, making the first one. A retired key verifies for as long as its last token lives.

    Parameters
    ----------
    days : float, optional
        A key that has signed for so long is retired, and another one made.
    """
    conn.execute(text(f"SELECT pg_advisory_xact_lock({_KEYS_LOCK})"))
    s = signing_keys.c
    useful = s.retired_at.is_(None) | (s.retired_at > _after(-token_seconds - _KEY_GRACE_SECONDS))
    old = (literal(False) if days is None else s.created_at < _after(-days * 86_400)).label("old")
    rows = conn.execute(select(s.kid, s.secret, s.retired_at, old).where(useful).order_by(s.created_at.desc())).all()
    if not any(row.retired_at is None and not row.old for row in rows):
        rotate_keys(conn, cipher)
        return signing_keys_now(conn, cipher, token_seconds)
    current = next(row.kid for row in rows if row.retired_at is None)
    return SigningKeys(current, {row.kid: cipher.decrypt(bytes(row.secret), f"signing key {row.kid}") for row in rows})


def rotate_keys(conn: Connection, cipher: Cipher, *, forget: bool = False) -> str:
    """Make a new signing key and retire the others; return its id.

    Parameters
    ----------
    forget : bool
        The others verify no longer either: every access token ends now.
    """
    kid = secrets.token_hex(8)
    if forget:
        conn.execute(delete(signing_keys))
    conn.execute(update(signing_keys).where(signing_keys.c.retired_at.is_(None)).values(retired_at=func.now()))
    sealed = cipher.encrypt(secrets.token_bytes(32), f"signing key {kid}")
    conn.execute(insert(signing_keys).values(kid=kid, secret=sealed))
    return kid


def clear_expired(conn: Connection) -> int:
    """Delete sessions, refresh tokens, logins under way and keys that prove nothing any more; return how many."""
    removed = conn.execute(delete(sessions).where(sessions.c.expires_at < func.now())).rowcount
    removed += conn.execute(delete(refresh_tokens).where(refresh_tokens.c.expires_at < func.now())).rowcount
    removed += conn.execute(delete(login_flows).where(login_flows.c.expires_at < func.now())).rowcount
    old = signing_keys.c.retired_at < func.now() - text("interval '30 days'")
    return int(removed + conn.execute(delete(signing_keys).where(old)).rowcount)
