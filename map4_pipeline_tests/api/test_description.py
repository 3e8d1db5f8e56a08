"""The description of the API: complete, with examples that fit, and the client that is made from it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parents[2]

#: Part 2 of the requirements: these addresses and verbs, no others for these things.
REQUIRED = """
GET /api/tracks
GET /api/tracks/{id}
POST /api/tracks/analyze
PUT /api/tracks/{id}
DELETE /api/tracks/{id}
POST /api/batch/analyze
GET /api/batch/{id}
DELETE /api/batch/{id}
GET /api/search
POST /api/search/advanced
POST /api/export/{format}
GET /api/export/{id}
POST /api/compare
GET /api/compatibility/{id}/{id}
GET /api/stats/library
GET /api/stats/genres
GET /api/stats/timeline
""".split("\n")[1:-1]


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_endpoint_of_the_requirements_is_there(document: dict[str, Any]) -> None:
    def plain(address: str) -> str:
        return "/".join("{id}" if part.endswith("_id}") else part for part in address.split("/"))

    found = {plain(address) for address, _ in operations(document)}
    assert set(REQUIRED) <= found
    formats = document["components"]["schemas"]["Format"]["enum"]
    assert {"pdf", "excel", "json"} <= set(formats)


def test_every_route_has_examples_that_fit_its_shapes(document: dict[str, Any]) -> None:
    definitions = document["components"]["schemas"]

    def verify(where: str, media: dict[str, Any]) -> None:
        assert "example" in media, f"{where} has no example"
        schema = {**media["schema"], "components": {"schemas": definitions}}
        errors = [
            f"{'/'.join(map(str, error.path))}: {error.message}"
            for error in Draft202012Validator(schema).iter_errors(media["example"])
        ]
        assert not errors, (where, errors)

    for address, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            verify(
                f"{address} {parameter['name']}",
                parameter if "example" in parameter else {**parameter, "example": parameter.get("examples")},
            )
        for media in operation.get("requestBody", {}).get("content", {}).values():
            verify(f"{address} body", media)
        for status, response in operation["responses"].items():
            for kind, media in response.get("content", {}).items():
                if status.isdigit():
                    verify(f"{address} {status} {kind}", media)


def test_every_route_says_who_may_use_it_and_how_it_fails(document: dict[str, Any]) -> None:
    assert set(document["components"]["securitySchemes"]) == {"bearer", "session"}
    for address, operation in operations(document):
        responses = operation["responses"]
        assert "security" in operation, address
        assert {"429", "503"} <= set(responses), address
        if operation["security"]:
            assert {"401", "403"} <= set(responses), address
        if "{" in address:
            assert "404" in responses, address
        for status, response in responses.items():
            if status[0] in "45":
                assert set(response.get("content", ())) == {"application/problem+json"}, (address, status)


def test_the_client_is_what_the_description_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_client.py"), "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
