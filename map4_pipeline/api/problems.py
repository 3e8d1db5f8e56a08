"""Every error of the API as problem details (RFC 9457), with a number by which a log line is found."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from map4_pipeline.store.errors import InfrastructureError, StoreError
from map4_pipeline.store.marks import MarkError
from map4_pipeline.store.query import QueryError

MEDIA_TYPE = "application/problem+json"
#: Seconds after which another attempt makes sense when a server that MAP4 stands on is away.
RETRY_SECONDS = 5


class Problem(Exception):  # noqa: N818 - the field's word
    """An answer that is an error.

    Parameters
    ----------
    status : int
        HTTP status.
    code : str
        Stable name of the kind of problem, the end of `type`.
    detail : str
        A sentence for the user.
    headers, more
        Headers, and members of the document beside the standard ones.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = dict(more or {})


def not_found(what: str) -> Problem:
    """Return the problem that there is no such thing, or none that this user may see."""
    return Problem(404, "not-found", f"There is no {what}.")


def respond(request: Request, problem: Problem) -> Response:
    """Return a problem as a response."""
    document = {
        "type": f"urn:map4:problem:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:map4:request:{getattr(request.state, 'request_id', '')}",
        **problem.more,
    }
    return JSONResponse(document, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let every error that a route ends with become a problem document."""

    def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return respond(request, error)

    def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}.get(error.status_code, "http")
        said = {404: "There is nothing at this address.", 405: "This address does not take this method."}
        detail = said.get(error.status_code, str(error.detail))
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_methods_at(app, request.url.path)))
        return respond(request, Problem(error.status_code, code, detail, headers=headers))

    def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        more = {"errors": [_place(item) for item in error.errors()]}
        return respond(request, Problem(422, "invalid-request", "The request does not fit its description.", more=more))

    def on_query(request: Request, error: Exception) -> Response:
        return respond(request, Problem(400, "invalid-query", str(error)))

    def on_mark(request: Request, error: Exception) -> Response:
        return respond(request, Problem(400, "invalid-page", str(error)))

    def on_store(request: Request, error: Exception) -> Response:
        return respond(request, Problem(409, "conflict", str(error)))

    def on_infrastructure(request: Request, error: Exception) -> Response:
        # The sentence names addresses and folders of the server: it is for the log.
        return respond(request, _away())

    def on_database(request: Request, error: Exception) -> Response:
        if isinstance(error, OperationalError) or (isinstance(error, DBAPIError) and error.connection_invalidated):
            return respond(request, _away())
        raise error

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(QueryError, on_query)
    app.add_exception_handler(MarkError, on_mark)
    app.add_exception_handler(StoreError, on_store)
    app.add_exception_handler(InfrastructureError, on_infrastructure)
    app.add_exception_handler(PoolTimeout, lambda request, error: respond(request, _away()))
    app.add_exception_handler(DBAPIError, on_database)


def _methods_at(app: FastAPI, address: str) -> set[str]:
    """Return which methods an address takes: of all routes that are there, each of which knows only its own."""
    if not hasattr(app.state, "addresses"):
        contexts = [route for route in iter_route_contexts(app.routes) if route.path and route.methods]
        app.state.addresses = [(compile_path(route.path or "")[0], route.methods or set()) for route in contexts]
    found: set[str] = set()
    return found.union(*(methods for pattern, methods in app.state.addresses if pattern.match(address)))


def _away() -> Problem:
    detail = "A server that MAP4 needs does not answer just now. Nothing was changed; try again in a few seconds."
    return Problem(503, "unavailable", detail, headers={"Retry-After": str(RETRY_SECONDS)})


def _place(item: Mapping[str, Any]) -> dict[str, str]:
    location: Sequence[Any] = item.get("loc", ())
    return {"at": "/".join(str(part) for part in location), "detail": str(item.get("msg", ""))}
