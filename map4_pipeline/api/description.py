"""The description of the API (OpenAPI 3.1) as it is published: FastAPI's, with who may use a route, how one logs in, which errors
come, and an example of every body, parameter and answer.
"""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from map4_pipeline.api.access import Needs, Permission, marks
from map4_pipeline.api.examples import example_of
from map4_pipeline.api.problems import MEDIA_TYPE

_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token of POST /api/auth/token, or a named token of POST /api/auth/tokens.",
    },
    "session": {"type": "apiKey", "in": "cookie", "name": "map4", "description": "A browser's session (POST /api/auth/login)."},
}
_ETAG = {"ETag": {"description": "Changes with every change; for If-Match.", "schema": {"type": "string"}}}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_PROBLEM = {"$ref": "#/components/schemas/Problem"}
#: Members of problem documents (RFC 9457).
_MEMBERS = {
    "type": {"type": "string", "examples": ["urn:map4:problem:not-found"]},
    "title": {"type": "string", "examples": ["Not Found"]},
    "status": {"type": "integer", "examples": [404]},
    "detail": {"type": "string", "examples": ["There is no track 42."]},
    "instance": {"type": "string", "examples": ["urn:map4:request:0f6ce6f2a4f64d8f"]},
}


def install(app: FastAPI) -> None:
    """Let an application publish this description."""
    plain = app.openapi
    finished: dict[str, Any] = {}

    def described() -> dict[str, Any]:
        if not finished:
            finished.update(describe(app, plain()))
        return finished

    app.openapi = described  # type: ignore[method-assign]


def describe(app: FastAPI, document: dict[str, Any]) -> dict[str, Any]:
    """Complete a document that FastAPI made."""
    components = document.setdefault("components", {})
    shapes = components.setdefault("schemas", {})
    required = ["type", "title", "status", "detail"]
    shapes["Problem"] = {"type": "object", "title": "Problem", "properties": _MEMBERS, "required": required}
    for unused in ("HTTPValidationError", "ValidationError"):
        shapes.pop(unused, None)
    components["securitySchemes"] = _SCHEMES
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                operation = document["paths"].get(route.path_format, {}).get(method.lower())
                if operation is not None:
                    _complete(operation, route, shapes)
    return document


def _complete(operation: dict[str, Any], route: RouteContext, shapes: dict[str, Any]) -> None:
    (mark,) = marks(route.dependant)
    permission = mark.permission if isinstance(mark, Needs) else None
    operation["security"] = [] if permission is None else [{"bearer": []}, {"session": []}]
    if permission is not None:
        operation["x-permission"] = permission.value
    for parameter in operation.get("parameters", ()):
        if "example" not in parameter and "examples" not in parameter:
            parameter["example"] = example_of(parameter["schema"], shapes, parameter["name"])
    for media in operation.get("requestBody", {}).get("content", {}).values():
        _add_example(media, shapes)
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own shape of it, which no route answers with
    for response in responses.values():
        for kind, media in response.get("content", {}).items():
            if kind == "application/json":
                _add_example(media, shapes)
    names = {parameter["name"].lower() for parameter in operation.get("parameters", ())}
    versioned = names & {"if-match", "if-none-match"} or "`ETag`" in operation.get("description", "")
    for status, response in responses.items():
        if status.startswith("2") and versioned:
            response.setdefault("headers", {}).update(_ETAG)
    if "if-none-match" in names:
        responses.setdefault("304", {"description": "It is as you know it.", "headers": _ETAG})
    for status, response in responses.items():
        if status[0] in "45" and "content" not in response:
            response["content"] = {MEDIA_TYPE: {"schema": _PROBLEM, "example": _said(int(status))}}
    for status in _errors(operation, permission, names):
        responses[str(status)] = _error(status)
    for generic in ("4XX", "5XX"):
        responses[generic] = {"description": "Another error.", "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}


def _add_example(media: dict[str, Any], shapes: dict[str, Any]) -> None:
    if "schema" in media and "example" not in media and "examples" not in media:
        media["example"] = example_of(media["schema"], shapes)


def _errors(operation: dict[str, Any], permission: Permission | None, names: set[str]) -> list[int]:
    """Return the errors that a route may answer with, beside those that it names itself."""
    found = {422, 429, 503} if names or "requestBody" in operation else {429, 503}
    if permission is not None:
        found |= {401, 403}
    if any(parameter["in"] == "path" for parameter in operation.get("parameters", ())):
        found.add(404)
    if "requestBody" in operation:
        found |= {400, 409, 413}
    if "if-match" in names:
        found |= {412}
    return sorted(found)


#: What errors say, for the examples.
_SAID = {
    400: ("invalid-request", "Bad Request", "Name a track or a place, one of both."),
    401: ("not-logged-in", "Unauthorized", "Log in, or send a token: Authorization: Bearer ..."),
    403: ("not-allowed", "Forbidden", "This needs the permission 'edit', which you do not have."),
    404: ("not-found", "Not Found", "There is no track 42."),
    409: ("conflict", "Conflict", "There is no track 42."),
    412: ("changed", "Precondition Failed", "The track was changed meanwhile: read it again, and decide anew."),
    413: ("too-large", "Content Too Large", "A request has 1,048,576 bytes at most."),
    422: ("invalid-request", "Unprocessable Content", "The request does not fit its description."),
    429: ("too-many-requests", "Too Many Requests", "That is more than 600 requests a minute. Try again in 12 s."),
    503: ("unavailable", "Service Unavailable", "A server that MAP4 needs does not answer just now. Nothing was changed."),
}


def _said(status: int) -> dict[str, Any]:
    code, title, detail = _SAID.get(status, ("gone", HTTPStatus(status).phrase, HTTPStatus(status).description or "It is so."))
    said: dict[str, Any] = {"type": f"urn:map4:problem:{code}", "title": title, "status": status, "detail": detail}
    return {**said, "instance": "urn:map4:request:0f6ce6f2a4f64d8f"}


def _error(status: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": _PROBLEM, "example": _said(status)}}
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase, "content": content}
    return described | ({"headers": _RETRY} if status in (429, 503) else {})
