"""Logging in elsewhere: to the other site, back, and to which account an identity belongs.

The rules: an identity logs in as the account that it was connected with, by its user and with its password, or
that was made for it. Nothing that an issuer says of somebody, a mail address least of all, makes it somebody's account.
"""

import secrets

from fastapi import Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from map4_pipeline.api.access import PUBLIC
from map4_pipeline.api.context import Context, context_of
from map4_pipeline.api.federation import FederationError, Identity, Provider
from map4_pipeline.api.identity import identify
from map4_pipeline.api.pages.rendering import local_path, page_router, render_login
from map4_pipeline.api.problems import not_found
from map4_pipeline.api.routes.auth import note, open_session
from map4_pipeline.settings import Settings
from map4_pipeline.store import login_flows
from map4_pipeline.store.accounts import User, add_identity, create_user, free_name, get_user, user_of_identity
from map4_pipeline.store.errors import StoreError

router = page_router()


@router.get("/login/{provider}", dependencies=[PUBLIC])
def leave(request: Request, provider: str, next: str = "/") -> Response:
    """Send a browser to the other site's login; from a page of ours only, or nobody has asked for it."""
    wanted = _provider(context_of(request), provider)
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return RedirectResponse("/login", 303)
    if identify(request) is not None:
        return RedirectResponse(local_path(next), 303)
    try:
        address, browser = begin(context_of(request), wanted, {"next": local_path(next)})
    except FederationError as error:
        return _refused(request, str(error), 502)
    answer = RedirectResponse(address, 303)
    remember(context_of(request), answer, browser)
    return answer


@router.get("/login/{provider}/callback", dependencies=[PUBLIC])
def come_back(request: Request, provider: str) -> Response:
    """Take a browser back that comes from the other site."""
    context = context_of(request)
    wanted = _provider(context, provider)
    given = dict(request.query_params)
    browser = request.cookies.get(cookie_name(context), "")
    with context.engine.begin() as conn:
        flow = login_flows.take_flow(conn, context.cipher, given.get("state", ""), browser)
    if flow is None or flow["provider"] != wanted.key:
        return _forget(context, _refused(request, "This login was not begun here, is over, or took too long. Begin again.", 400))
    try:
        found = context.federation.identity(wanted, given, nonce=flow["nonce"], verifier=flow["verifier"])
        answer = _connect(request, context, wanted, found, flow["user"]) if "user" in flow else None
        answer = answer or _enter(request, context, wanted, found, flow["next"])
    except FederationError as error:
        with context.engine.begin() as conn:
            note(conn, request, "login failed", None, detail={"with": wanted.key})
        answer = _refused(request, str(error), 403)
    except StoreError as error:
        answer = _refused(request, str(error), 409)
    return _forget(context, answer)


def begin(context: Context, provider: Provider, data: dict[str, object]) -> tuple[str, str]:
    """Begin a login; return where the browser is to go, and what it has to keep.

    Raises
    ------
    FederationError
    """
    nonce, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    noted = {**data, "provider": provider.key, "nonce": nonce, "verifier": verifier}
    with context.engine.begin() as conn:
        state, browser = login_flows.begin_flow(conn, context.cipher, noted)
    return context.federation.address(provider, state=state, nonce=nonce, verifier=verifier), browser


def cookie_name(context: Context) -> str:
    """Return the name of the cookie that binds a login to the browser that began it."""
    return f"{context.cookie_name}-login"


def remember(context: Context, answer: Response, browser: str) -> None:
    """Let the browser keep what it has to come back with."""
    # Lax: it has to come along from the other site, on the way back.
    answer.set_cookie(
        cookie_name(context), browser, max_age=login_flows.FLOW_SECONDS, path="/", httponly=True, secure=context.is_secure,
        samesite="lax",
    )  # fmt: skip


def _forget(context: Context, answer: Response) -> Response:
    answer.delete_cookie(cookie_name(context), path="/", secure=context.is_secure, httponly=True, samesite="lax")
    return answer


def _provider(context: Context, key: str) -> Provider:
    found = context.federation.providers.get(key)
    if found is None:
        raise not_found(f"login with {key[:40]}")
    return found


def _connect(request: Request, context: Context, provider: Provider, found: Identity, user_id: int) -> Response:
    """Connect an identity with the account of who is logged in, in this browser, now as when it was begun."""
    principal = identify(request)
    if principal is None or principal.way != "session" or principal.user.id != user_id:
        raise FederationError("You have logged out, or in as somebody else, meanwhile. Nothing was connected.")
    with context.engine.begin() as conn:
        add_identity(conn, user_id, found.issuer, found.subject, provider=provider.key, label=found.label)
        note(conn, request, "identity connected", principal.user, target=provider.key)
    return RedirectResponse("/account", 303)


def _enter(request: Request, context: Context, provider: Provider, found: Identity, onward: str) -> Response:
    """Log in as the account of an identity; one that nobody has gets an account of its own, where the settings say so."""
    with context.engine.begin() as conn:
        user = user_of_identity(conn, found.issuer, found.subject)
        if user is None:
            user = _newcomer(conn, context.settings, provider, found)
            if user is not None:
                note(conn, request, "user made", user, target=user.name, detail={"role": user.role, "with": provider.key})
        if user is None or not user.active:
            note(conn, request, "login failed", user, detail={"with": provider.key})
            said = f"No account here belongs to this login with {provider.title}."
            if user is None:
                said += " If you have one, log in with name and password, and connect it on your account's page."
            return _refused(request, said, 403)
        answer = RedirectResponse(local_path(onward), 303)
        open_session(context, conn, request, answer, user)
        note(conn, request, "login", user, detail={"with": provider.key})
    return answer


def _newcomer(conn: Connection, settings: Settings, provider: Provider, found: Identity) -> User | None:
    """Make an account for an identity that has none, if newcomers are let in. It sees no library until an admin grants one."""
    if settings.login_new_users == "refuse":
        return None
    domains = {domain.strip().lower() for domain in settings.login_domains.split(",") if domain.strip()}
    if domains and (found.email is None or found.email.rpartition("@")[2].lower() not in domains):
        return None
    made = create_user(conn, free_name(conn, found.name), settings.login_new_users, email=found.email, library_ids=())
    add_identity(conn, made.id, found.issuer, found.subject, provider=provider.key, label=found.label)
    return get_user(conn, made.id)


def _refused(request: Request, said: str, status: int) -> Response:
    return render_login(request, "/", error=said, status=status)
