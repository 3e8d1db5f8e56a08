"""Logging in, choosing a password, one's own account."""

from typing import Annotated

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from map4_pipeline.api.access import PUBLIC, SCOPES, Oneself, Permission, Principal
from map4_pipeline.api.context import context_of
from map4_pipeline.api.federation import Provider
from map4_pipeline.api.identity import identify, refuse_foreign
from map4_pipeline.api.models import After
from map4_pipeline.api.pages.rendering import local_path, page_router, render, render_login
from map4_pipeline.api.passwords import SHORTEST
from map4_pipeline.api.problems import Problem
from map4_pipeline.api.routes.auth import Credentials, open_session, verify_credentials
from map4_pipeline.store import tokens
from map4_pipeline.store.accounts import identities_of
from map4_pipeline.store.database import storable_text

router = page_router()
_ROWS = 25


@router.get("/login", dependencies=[PUBLIC])
def login_page(request: Request, next: str = "/") -> Response:
    """Show the login, unless one is in already."""
    if identify(request) is not None:
        return RedirectResponse(local_path(next), 303)
    return render_login(request, local_path(next))


@router.post("/login", dependencies=[PUBLIC])
def log_in(
    request: Request,
    name: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=1024)] = "",
    next: Annotated[str, Form(max_length=4000)] = "/",
) -> Response:
    """Log in with a plain form, so that it needs no script."""
    refuse_foreign(request)
    onward = local_path(next)
    try:
        user = verify_credentials(request, Credentials(name=storable_text(name), password=storable_text(password)))
    except Problem as problem:
        made = render_login(request, onward, name=name, error=problem.detail, status=problem.status)
        made.headers.update(problem.headers)
        return made
    context = context_of(request)
    answer = RedirectResponse("/password" if user.must_change_password else onward, 303)
    with context.engine.begin() as conn:
        open_session(context, conn, request, answer, user)
    return answer


def _is_useful(scope: str, principal: Principal) -> bool:
    """Return whether a token of this scope could do what a token without it could not."""
    if scope == "admin":
        return principal.may(Permission.USERS)
    return bool(SCOPES[scope] & principal.permissions)


def _elsewhere(request: Request) -> list[Provider]:
    return list(context_of(request).federation.providers.values())


@router.get("/password")
def password_page(request: Request, principal: Oneself) -> Response:
    """Show the form for a new password."""
    return render(request, "password.html", principal, shortest=SHORTEST)


@router.get("/account")
def account_page(request: Request, principal: Oneself, after: After = None, tokens_after: After = None) -> Response:
    """Show one's own account: browsers that are logged in and tokens of programs, each page by page."""
    if principal.user.must_change_password:
        return RedirectResponse("/password", 303)
    with context_of(request).reading() as conn:
        sessions, following = tokens.session_page(conn, principal.user.id, _ROWS, after)
        named, more_tokens = tokens.token_page(conn, principal.user.id, _ROWS, tokens_after)
        identities = identities_of(conn, principal.user.id)
    return render(
        request,
        "account.html",
        principal,
        sessions=sessions,
        following=following,
        tokens=named,
        more_tokens=more_tokens,
        scopes=[scope for scope in SCOPES if _is_useful(scope, principal)],
        identities=identities,
        elsewhere=_elsewhere(request),
        titles={one.key: one.title for one in _elsewhere(request)},
    )
