"""What every request passes: a number for it, limits on its size, headers that protect, and a line in the log."""

import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

#: Largest body of a request, bytes. Nothing that MAP4 takes is larger; files are not uploaded.
MAX_BODY = 1 << 20
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}\Z")
_PAGES = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

#: What is about accounts stays in no browser's cache either.
_PERSONAL = ("/api/auth", "/api/users", "/api/audit", "/account", "/admin", "/login", "/password")


@dataclass(frozen=True, slots=True)
class Served:
    """A request that was answered.

    Attributes
    ----------
    route : str
        The route's pattern, never the address that was asked for: it names a track, and its query what somebody looks for.
    seconds : float
        Until the last byte was handed over.
    user_id : int or None
        Who asked; None: nobody who had logged in.
    """

    method: str
    route: str
    status: int
    seconds: float
    user_id: int | None


#: Told after every request.
Observer = Callable[[Served], None]


class Envelope:
    """The outermost layer of the application.

    Parameters
    ----------
    app : ASGI application
    is_secure : callable
        Whether people reach it by HTTPS.
    observe : callable
        Told of every request that ended.
    """

    def __init__(self, app: ASGIApp, *, is_secure: Callable[[], bool], observe: Observer) -> None:
        self._app = app
        self._is_secure = is_secure
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        # In every line that is logged until the end, in threads that work for the request too.
        tokens = bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        status = 500

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableHeaders(scope=message), scope, request_id)
            await send(message)

        try:
            length = headers.get("content-length", "0")
            if not length.isdigit() or int(length) > MAX_BODY:
                await _too_large(request_id)(scope, receive, reply)
                return
            await self._app(scope, _bounded(receive), reply)
        finally:
            principal = scope["state"].get("principal")
            # The number 0 is that of who reads the metrics.
            user_id = getattr(getattr(principal, "user", None), "id", None) or None
            seconds = time.perf_counter() - started
            self._observe(Served(scope["method"], route_of(scope), status, seconds, user_id))
            reset_contextvars(**tokens)

    def _add_headers(self, headers: MutableHeaders, scope: MutableMapping[str, Any], request_id: str) -> None:
        headers["X-Request-ID"] = request_id
        headers.setdefault("Content-Security-Policy", _PAGES)
        headers["X-Content-Type-Options"] = "nosniff"
        headers["X-Frame-Options"] = "DENY"
        headers["Referrer-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
        if not scope["path"].startswith("/static/"):
            # What a user sees is no business of a proxy's cache.
            kept = "no-store" if scope["path"].startswith(_PERSONAL) else "private, no-cache"
            headers.setdefault("Cache-Control", kept)
        if self._is_secure():
            headers["Strict-Transport-Security"] = "max-age=63072000; includeSubDomains"


def route_of(scope: MutableMapping[str, Any]) -> str:
    """Return the pattern of the route that serves a request, as the API's description writes it; one name for no route."""
    path = getattr(scope.get("route"), "path_format", None) or getattr(scope.get("route"), "path", None)
    if path is None and scope["path"].startswith("/static/"):
        return "/static"
    return path or "(no route)"


def _bounded(receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Return a `receive` that stops where a body without a stated length passes the limit."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_BODY:
            raise HTTPException(413, f"A request has {MAX_BODY:,} bytes at most.")
        return message

    return bounded


def _too_large(request_id: str) -> JSONResponse:
    document = {
        "type": "urn:map4:problem:too-large",
        "title": "Content Too Large",
        "status": 413,
        "detail": f"A request has {MAX_BODY:,} bytes at most.",
        "instance": f"urn:map4:request:{request_id}",
    }
    return JSONResponse(document, 413, media_type="application/problem+json")
