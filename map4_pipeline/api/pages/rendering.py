"""From what a page shows to HTML, and from an error to a page that says it."""

import hashlib
import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.responses import HTMLResponse, RedirectResponse, Response

from map4_pipeline.api.access import Permission, Principal
from map4_pipeline.api.context import context_of
from map4_pipeline.api.pages import drawing, words
from map4_pipeline.api.problems import RETRY_SECONDS, Problem
from map4_pipeline.store.errors import InfrastructureError, StoreError
from map4_pipeline.store.query import QueryError

_HERE = Path(__file__).resolve().parent.parent
STATIC = _HERE / "static"


class PageRoute(APIRoute):
    """A route whose errors are pages: who has not logged in is led to the login."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await answer(request)
            except Problem as problem:
                return refused(request, problem)
            except RequestValidationError:
                return refused(request, Problem(404, "not-found", "There is nothing at this address."))
            except QueryError as error:
                return refused(request, Problem(400, "invalid-query", str(error)))
            except StoreError as error:
                return refused(request, Problem(409, "conflict", str(error)))
            except (InfrastructureError, OperationalError, PoolTimeout):
                headers = {"Retry-After": str(RETRY_SECONDS)}
                said = "A server that MAP4 needs does not answer just now. Nothing was changed; reload in a few seconds."
                return refused(request, Problem(503, "unavailable", said, headers=headers))

        return handler


def page_router() -> APIRouter:
    """Return a router of pages, which are no part of the API's description."""
    return APIRouter(route_class=PageRoute, include_in_schema=False)


def is_for_people(request: Request) -> bool:
    """Return whether who asks looks at pages: a browser, at no address of the API."""
    at_api = request.url.path.startswith(("/api/", "/static/"))
    return not at_api and "text/html" in request.headers.get("accept", "")


def refused(request: Request, problem: Problem) -> Response:
    """Return the page that says why there is no other; who has not logged in is led to the login."""
    if problem.code == "not-logged-in":
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        onward = f"?next={quote(here, safe='')}" if request.method == "GET" and here != "/" else ""
        return RedirectResponse(f"/login{onward}", 303)
    if problem.code == "password-change":
        return RedirectResponse("/password", 303)
    principal = getattr(request.state, "principal", None)
    title = HTTPStatus(problem.status).phrase
    number = getattr(request.state, "request_id", "") if problem.status >= 500 else ""
    made = render(request, "refused.html", principal, status=problem.status, title=title, detail=problem.detail, number=number)
    made.headers.update(problem.headers)
    return made


def render(request: Request, template: str, principal: Principal | None, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page.

    Parameters
    ----------
    principal : Principal or None
        Who looks at it; None on pages for everybody.
    """
    may = {permission.value: principal is not None and principal.may(permission) for permission in Permission}
    common = {
        "principal": principal,
        "may": may,
        "csrf": "" if principal is None else principal.csrf or "",
        "path": request.url.path,
    }
    return HTMLResponse(_environment().get_template(template).render(common | values), status)


def render_login(request: Request, onward: str, *, name: str = "", error: str = "", status: int = 200) -> HTMLResponse:
    """Return the page to log in with what the settings allow: a password, logins elsewhere."""
    context = context_of(request)
    return render(
        request, "login.html", None, status=status, onward=onward, name=name, error=error,
        elsewhere=context.federation.providers.values(), passwords=context.settings.password_login,
    )  # fmt: skip


def local_path(given: str | None) -> str:
    """Return where to go after the login: a path of this application, "/" for anything else."""
    if not given or not given.startswith("/") or given.startswith("//") or "\\" in given or not given.isprintable():
        return "/"
    parts = urlsplit(given)
    return "/" if parts.scheme or parts.netloc else given


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "length": len, "clock": _clock, "number": _number, "percent": _percent, "moment": _moment, "size": _size, "name": name_of,
        "json": _json, "query": _query, "agent": words.agent, "codec": words.codec, "likely": words.likely, "typed": words.typed,
        "told": words.told,
    }  # fmt: skip
    made.globals |= {"draw": drawing, "asset": _asset}
    return made


@lru_cache(maxsize=16)
def _asset(name: str) -> str:
    """Return the address of a file of ours, another one whenever its content is another."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def name_of(track: Any) -> str:
    """Return how a track is called: its title, else its file's name."""
    return str(track.get("title") or "").strip() or str(track.get("file_name") or "").strip() or f"Track {track['id']}"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f}%"


def _moment(value: datetime | str | None) -> str:
    if value is None:
        return ""
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _size(count: int | None) -> str:
    if count is None:
        return ""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _json(value: Any) -> str:
    """Return JSON for an attribute; the template escapes it as it does all text."""
    return json.dumps(value, ensure_ascii=False)


def _query(values: dict[str, Any]) -> str:
    return urlencode({name: value for name, value in values.items() if value not in (None, "")}, doseq=True)
