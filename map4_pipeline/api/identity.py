"""From a request to who makes it: a session cookie, an access token, or a named token."""

import base64
import hashlib
import hmac
import time
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request

from map4_pipeline.api.access import ROLES, SCOPES, Permission, Principal
from map4_pipeline.api.context import Context, context_of
from map4_pipeline.api.problems import Problem
from map4_pipeline.store.accounts import User, get_user, seen
from map4_pipeline.store.tokens import TOKEN_PREFIX, SigningKeys, session_user, token_user

#: The one algorithm of access tokens; a token that names another is refused.
ALGORITHM = "HS256"
ISSUER = "map4"
CSRF_HEADER = "x-csrf-token"
#: Methods that change nothing.
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))


def identify(request: Request) -> Principal | None:
    """Return who makes a request, None when nobody says so; looked up once a request.

    Raises
    ------
    Problem
        401 for a token that is not valid, 403 for a change without the page's own token.
    """
    if not hasattr(request.state, "principal"):
        request.state.principal = _identify(request)
    found: Principal | None = request.state.principal
    return found


def _identify(request: Request) -> Principal | None:
    context = context_of(request)
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        if _is_metrics_token(context, given):
            return Principal(_SCRAPER, frozenset((Permission.METRICS,)), "token")
        principal = _named(context, given) if given.startswith(TOKEN_PREFIX) else _access(context, given)
        if principal is None:
            headers = {"WWW-Authenticate": 'Bearer realm="map4", error="invalid_token"'}
            raise Problem(401, "invalid-token", "The token is not valid, or no longer. Log in again.", headers=headers)
        return principal
    secret = request.cookies.get(context.cookie_name)
    if secret is None:
        return None
    with context.reading() as conn:
        found = session_user(conn, secret, context.settings.session_hours * 3600)
        if found is None:
            return None
        seen(conn, found[0])
    csrf = csrf_token(secret)
    if request.method not in SAFE_METHODS:
        refuse_foreign(request)
        # As bytes: of text that is not ASCII the comparison raises.
        if not hmac.compare_digest(request.headers.get(CSRF_HEADER, "").encode(), csrf.encode()):
            raise Problem(403, "csrf", "The page is out of date: reload it and try again.")
    user, session_id = found
    return Principal(user, ROLES[user.role], "session", session_id, csrf)


#: Who reads the metrics with MAP4_METRICS_TOKEN: no account, so that it works while the database is away.
_SCRAPER = User(
    id=0, name="metrics", email=None, role="viewer", active=True, libraries=frozenset(), must_change_password=False,
    has_password=False, epoch=0, created_at=datetime.fromtimestamp(0, UTC), last_seen_at=None,
)  # fmt: skip


def _is_metrics_token(context: Context, given: str) -> bool:
    wanted = context.settings.metrics_token
    return wanted is not None and hmac.compare_digest(given.encode(), wanted.get_secret_value().encode())


def _named(context: Context, secret: str) -> Principal | None:
    with context.reading() as conn:
        found = token_user(conn, secret)
        if found is None:
            return None
        seen(conn, found[0])
    user, token = found
    allowed: set[Permission] = set()
    for scope in token.scopes:
        allowed |= SCOPES.get(scope, frozenset())
    return Principal(user, ROLES[user.role] & allowed, "token")


def _access(context: Context, token: str) -> Principal | None:
    claims = read_access_token(context.signing_keys(key_id(token)), token)
    if claims is None:
        return None
    with context.reading() as conn:
        user = get_user(conn, int(claims["sub"]))
        if user is None or not user.active or user.epoch != claims.get("epoch"):
            return None
        seen(conn, user)
    return Principal(user, ROLES[user.role], "access")


def make_access_token(keys: SigningKeys, user: User, seconds: float) -> str:
    """Return a signed access token (JWT) of a user."""
    import jwt

    now = int(time.time())
    claims = {"iss": ISSUER, "aud": ISSUER, "sub": str(user.id), "epoch": user.epoch, "jti": uuid.uuid4().hex}
    times = {"iat": now, "nbf": now, "exp": now + int(seconds)}
    return jwt.encode(claims | times, keys.secrets[keys.current], ALGORITHM, headers={"kid": keys.current})


def key_id(token: str) -> str | None:
    """Return which key an access token says it is signed with; it may say anything."""
    import jwt

    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError:
        return None
    return kid if isinstance(kid, str) else None


def read_access_token(keys: SigningKeys, token: str) -> dict[str, Any] | None:
    """Return the claims of an access token of ours that has not run out, else None."""
    import jwt

    kid = key_id(token)
    secret = None if kid is None else keys.secrets.get(kid)
    if secret is None:
        return None
    try:
        claims: dict[str, Any] = jwt.decode(
            token, secret, [ALGORITHM], {"require": ["exp", "iat", "nbf", "sub", "iss", "aud"]}, audience=ISSUER, issuer=ISSUER
        )
    except jwt.InvalidTokenError:
        return None
    subject = str(claims["sub"])
    return claims if subject.isascii() and subject.isdigit() else None


def csrf_token(session_secret: str) -> str:
    """Return what pages of a session send with every change: made from its secret, which scripts cannot read."""
    digest = hmac.digest(session_secret.encode(), b"csrf", hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def refuse_foreign(request: Request) -> None:
    """Refuse a change that a page of another site asked the browser for.

    Raises
    ------
    Problem
    """
    site = request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none") or not _is_own(request, request.headers.get("origin")):
        raise Problem(403, "csrf", "This request comes from another site.")


def _is_own(request: Request, origin: str | None) -> bool:
    """Return whether a browser's `Origin` is this application's; `null`, which is what sandboxed pages send, is nobody's."""
    if origin is None:
        return True
    public = urlsplit(context_of(request).settings.public_url)
    if public.netloc:
        return origin in (f"{public.scheme}://{public.netloc}", f"{request.url.scheme}://{request.url.netloc}")
    # A proxy that nobody told MAP4 of may have taken the encryption off.
    return origin in (f"http://{request.url.netloc}", f"https://{request.url.netloc}")
