"""What a proxy asks before it lets somebody through to Dagster's UI, which has no login of its own (deploy/Caddyfile)."""

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Request, Response

from map4_pipeline.api.access import PUBLIC, Needs, Permission, Principal
from map4_pipeline.api.identity import SAFE_METHODS, refuse_foreign
from map4_pipeline.api.problems import Problem

router = APIRouter(prefix="/api/auth", tags=["auth"])


@router.get(
    "/forward",
    status_code=204,
    dependencies=[PUBLIC],
    responses={204: {"description": "Let through, as the headers say."}, 302: {"description": "To the login."}},
)
def forward(
    request: Request,
    x_forwarded_method: Annotated[str, Header(max_length=20)] = "GET",
    x_forwarded_uri: Annotated[str, Header(max_length=8000)] = "/",
) -> Response:
    """Say who makes a request that a proxy has before it: `X-Map4-User`, and `X-Map4-Dagster`, `full` or `read-only`.

    `full` for who looks after libraries. `read-only` for who sees all of them: Dagster's UI shows every folder. Nobody else is
    let through; a browser that has not logged in is sent to the login.
    """
    if x_forwarded_method.upper() not in SAFE_METHODS or "origin" in request.headers:
        # The request of the proxy is a GET; the one that it has before it may change something, or open a WebSocket.
        refuse_foreign(request)
    try:
        # The one place that says who may; a route that asked for it as others do could send nobody to the login.
        principal = Needs(Permission.READ)(request)
    except Problem as problem:
        if problem.status == 401 and "text/html" in request.headers.get("accept", ""):
            return Response(status_code=302, headers={"Location": f"/login?next={quote(x_forwarded_uri, safe='')}"})
        raise
    extent = _extent(principal)
    if extent is None:
        raise Problem(403, "not-allowed", "Dagster's UI shows every folder: it is for those who see all libraries.")
    name = quote(principal.user.name, safe="")
    return Response(status_code=204, headers={"X-Map4-User": name, "X-Map4-Dagster": extent})


def _extent(principal: Principal) -> Literal["full", "read-only"] | None:
    if principal.may(Permission.LIBRARIES):
        return "full"
    return "read-only" if principal.library_ids is None else None
