"""schemathesis against a running server with real PostgreSQL and Valkey, thriftily (all of it: `benchmarks.api_schema`)."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from map4_pipeline.api import passwords
from map4_pipeline.api.app import create_app
from map4_pipeline.settings import Settings
from map4_pipeline.store.accounts import create_user
from map4_pipeline.store.tokens import create_token
from map4_pipeline.store.valkey_server import redis_url

from .attack import SCOPES_OF, attack
from .conftest import PASSWORD, served
from .test_pages import furnish


@pytest.fixture
def app(settings: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The application with a cache, in which everybody may ask as often as he likes."""
    monkeypatch.setattr("map4_pipeline.api.app.ANONYMOUS_PER_MINUTE", 1_000_000)
    furnish(engine, tmp_path / "Music")
    configured = settings.model_copy(update={"redis_url": None, "rate_per_minute": 1_000_000})
    return create_app(configured, engine, redis_url(configured))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("role", ["nobody", *SCOPES_OF])
def test_nothing_that_is_sent_breaks_the_server_or_its_description(app: FastAPI, engine: Engine, role: str) -> None:
    token = None
    if role in SCOPES_OF:
        with engine.begin() as conn:
            user = create_user(conn, role, role, password_hash=passwords.hash_password(PASSWORD), library_ids=None)
            token = create_token(conn, user.id, "attack", SCOPES_OF[role], None)[1]
    with served(app) as address:
        went = attack(address, token, examples=1, phases="examples,coverage")
    assert went.code == 0, went.found[-8000:]
    assert went.cases > 500
    answered = answers(app)
    # Who asks too often is refused before anything is tried: such answers would show nothing.
    assert answered.get("429", 0) < 0.05 * sum(answered.values()), answered


def answers(app: FastAPI) -> dict[str, int]:
    """Return {status: how many requests were answered with it}."""
    found: dict[str, int] = {}
    for family in text_string_to_metric_families(app.state.context.metrics.page().decode()):
        for sample in family.samples:
            if sample.name == "map4_http_requests_total":
                status = sample.labels["status"]
                found[status] = found.get(status, 0) + int(sample.value)
    return found
