"""Every route with every role: who gets in, who does not; and the description of the API tells it as it is."""

import itertools
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from fastapi.testclient import TestClient

from map4_pipeline.api.access import ROLES, SCOPES, Needs, Permission, marks, verify_routes

from .conftest import LogIn


def routes(app: FastAPI) -> list[tuple[str, RouteContext, Permission | None]]:
    """Return every (method, route, permission); None: everybody may."""
    found = []
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute):
            (mark,) = marks(route.dependant)
            permission = mark.permission if isinstance(mark, Needs) else None
            found += [(method, route, permission) for method in sorted((route.methods or set()) - {"HEAD"})]
    return found


def address(route: RouteContext) -> str:
    """Return an address that fits a route and leads to nothing that exists."""
    path = route.path or ""
    for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
        plain = name.partition(":")[0]
        value = {"job_id": "00000000-0000-4000-8000-000000000000", "format": "csv", "provider": "google"}.get(plain, "999999")
        path = path.replace("{" + name + "}", value)
    return path


def asked(client: TestClient, method: str, route: RouteContext) -> Any:
    return client.request(method, address(route), json={} if method in ("POST", "PUT", "PATCH") else None, follow_redirects=False)


@pytest.mark.parametrize("role", list(ROLES))
def test_every_route_lets_in_whom_it_should(app: FastAPI, log_in: LogIn, role: str) -> None:
    for method, route, permission in routes(app):
        if permission is None:
            continue
        # Some of these log out or end the session: everyone comes anew.
        client = log_in(f"{role}-{method}-{route.name}"[:90], role)
        answer = asked(client, method, route)
        if permission in ROLES[role]:
            wrong_password = answer.text.count("wrong-credentials")
            assert wrong_password or answer.status_code not in (401, 403, 500), (method, route.path, answer.text)
        else:
            assert answer.status_code == 403, (method, route.path, answer.status_code)


def test_nobody_gets_in_without_a_login(app: FastAPI, client: TestClient) -> None:
    checked = 0
    for method, route, permission in routes(app):
        answer = asked(client, method, route)
        if permission is not None:
            assert answer.status_code == 401 or answer.headers.get("location", "").startswith("/login"), (method, route.path)
            checked += 1
    assert checked > 15


def test_a_route_that_does_not_say_who_may_use_it_is_refused() -> None:
    app, router = FastAPI(), APIRouter()

    @router.get("/everybody")
    def everybody() -> None: ...

    app.include_router(router)
    with pytest.raises(RuntimeError, match="/everybody"):
        verify_routes(app)


def test_who_has_to_choose_a_password_can_do_nothing_else(app: FastAPI, log_in: LogIn) -> None:
    root = log_in("root", "admin")
    made = root.post("/api/users", json={"name": "new", "role": "admin"}).json()
    client = TestClient(app)
    body = {"name": "new", "password": made["one_time_password"]}
    csrf = client.post("/api/auth/login", json=body).json()["csrf"]
    assert client.get("/api/users").json()["type"] == "urn:map4:problem:password-change"
    assert client.post("/api/auth/token", json=body).status_code == 403
    change = {"current": made["one_time_password"], "new": "my own good password"}
    assert client.post("/api/auth/password", json=change, headers={"x-csrf-token": csrf}).status_code == 204
    assert client.get("/api/users").status_code == 200


def test_a_mightier_role_may_all_that_a_lesser_one_may() -> None:
    for mighty, lesser in itertools.pairwise(("admin", "user", "viewer")):
        assert ROLES[lesser] < ROLES[mighty]
    assert all(Permission.ACCOUNT not in permissions for permissions in SCOPES.values())


def test_the_description_names_every_route_and_every_operation_once(app: FastAPI) -> None:
    document = app.openapi()
    assert document["openapi"].startswith("3.1")
    operations = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == len(set(operations))
    described = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(method.lower(), route.path_format) for method, route, _ in routes(app) if route.include_in_schema}


def test_answers_carry_what_protects(client: TestClient) -> None:
    answer = client.get("/api/health/live", headers={"x-request-id": "abc-12345"})
    assert answer.headers["x-request-id"] == "abc-12345"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "private, no-cache"
    assert client.get("/api/health/live", headers={"x-request-id": "a\tb"}).headers["x-request-id"] != "a\tb"


def test_a_body_that_is_too_large_is_refused(client: TestClient) -> None:
    answer = client.post("/api/auth/login", content=b"x" * ((1 << 20) + 1), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    parts = (b"x" * 100_000 for _ in range(12))
    assert client.post("/api/auth/login", content=parts, headers={"content-type": "application/json"}).status_code == 413


def test_an_address_names_the_methods_that_it_takes_and_no_other(client: TestClient) -> None:
    for address, methods in (("42", "DELETE"), ("google", "POST")):
        assert client.options(f"/api/auth/identities/{address}").headers["allow"] == methods


def test_what_does_not_exist_is_a_problem_document_too(client: TestClient) -> None:
    for answer in (client.get("/api/nothing"), client.put("/api/health/live")):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
