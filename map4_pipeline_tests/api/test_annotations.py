"""Annotations over the API: what was said of a track, what asking would cost, and asking; a real socket in a provider's place."""

import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Connection, Engine, text

from map4_pipeline.api import job_worker
from map4_pipeline.api.app import create_app
from map4_pipeline.settings import Settings

from ..annotate.library import fill, settings_for
from ..annotate.wire import Wire, good_annotation, serve
from .conftest import LogIn
from .test_lists import walked


@pytest.fixture
def wire() -> Iterator[Wire]:
    with serve(hang_seconds=0.9) as running:
        yield running


@pytest.fixture
def app(settings: Settings, engine: Engine, wire: Wire) -> Iterator[FastAPI]:
    fill(engine, 25, 1)
    made = create_app(settings_for(settings, wire, ai_providers="openai", anthropic_api_key=None), engine)
    with TestClient(made, client=("127.0.0.1", 50_000)):
        yield made


def ended(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    for _ in range(1200):
        found: dict[str, Any] = client.get(f"/api/annotations/{job['id']}").json()
        if found["status"] not in ("pending", "running"):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def test_an_admin_lets_models_be_asked_within_the_budget(log_in: LogIn, wire: Wire) -> None:
    root = log_in("root", "admin")
    guess = root.get("/api/annotations/estimate", params={"limit": 12}).json()
    assert (guess["tracks"], guess["budget_usd_per_day"], wire.first_requests) == (12, 5.0, 0)
    (price,) = guess["prices"]
    assert (price["provider"], price["requests"]) == ("openai", 2)
    assert 0 < price["likely_usd"] <= price["most_usd"]
    job = ended(root, root.post("/api/annotations", json={"limit": 12}).json())
    assert (job["status"], job["total"], job["done"], job["annotated"], job["failed"]) == ("completed", 12, 12, 12, 0)
    assert 0 < job["cost_usd"] <= price["most_usd"]
    again = ended(root, root.post("/api/annotations", json={"query": "is:annotated"}).json())
    assert (again["annotated"], again["reused"], again["cost_usd"]) == (0, 12, 0.0)
    poor = ended(root, root.post("/api/annotations", json={"budget_usd": 0.0}).json())
    assert (poor["status"], poor["annotated"], poor["left"]) == ("completed", 0, 13)
    assert "budget" in poor["stopped"].lower()
    assert [one["id"] for page in walked(root, "/api/annotations", "jobs") for one in page] == [
        poor["id"], again["id"], job["id"]
    ]  # fmt: skip


def test_what_was_said_of_a_track_is_told_and_its_price_to_admins_only(log_in: LogIn, engine: Engine, wire: Wire) -> None:
    root, vera = log_in("root", "admin"), log_in("vera", "viewer")
    ended(root, root.post("/api/annotations", json={"limit": 1}).json())
    with engine.begin() as conn:
        track, sound = conn.execute(text("SELECT id, audio_hash FROM tracks WHERE ai_analysis IS NOT NULL")).one()
        conn.execute(
            text(
                "INSERT INTO annotations (audio_hash, tags_digest, track_id, provider, model, prompt_version, status, "
                "error_kind, error_message) "
                "VALUES (:sound, 'then', :track, 'gemini', 'm', '1', 'failed', 'refusal', 'It would not.')"
            ),
            {"sound": sound, "track": track},
        )
        library = conn.execute(text("SELECT library_id FROM tracks WHERE id = :id"), {"id": track}).scalar_one()
    address = f"/api/tracks/{track}/annotations"
    failed, good = root.get(address).json()["annotations"]
    assert (failed["provider"], failed["status"], failed["error_message"], failed["annotation"]) == (
        "gemini", "failed", "It would not.", None
    )  # fmt: skip
    assert (good["provider"], good["status"]) == ("openai", "ok")
    assert good["annotation"]["claims"]["genre"]["basis"]
    assert good["cost_usd"] > 0
    pages = walked(vera, address, "annotations", limit=1)
    assert [[(one["id"], one["cost_usd"]) for one in page] for page in pages] == [[(failed["id"], None), (good["id"], None)]]
    assert log_in("limited", libraries=[library]).get(address).json() == vera.get(address).json()
    assert log_in("nobody", libraries=[]).get(address).status_code == 404


def test_nobody_else_spends_and_what_cannot_be_asked_is_told_at_once(log_in: LogIn, app: FastAPI, settings: Settings) -> None:
    for role in ("viewer", "user"):
        assert log_in(role, role).post("/api/annotations", json={}).status_code == 403
    root = log_in("root", "admin")
    assert root.post("/api/annotations", json={"query": "bpm:fast"}).status_code == 400
    assert root.post("/api/annotations", json={"providers": ["anthropic"]}).json()["detail"].startswith("No key for anthropic")
    assert root.post("/api/annotations", json={"budget_usd": -1}).status_code == 422
    context = app.state.context
    context.settings = context.settings.model_copy(update={"ai_budget_usd_per_day": None})
    refused = root.post("/api/annotations", json={})
    assert (refused.status_code, "MAP4_AI_BUDGET_USD_PER_DAY" in refused.json()["detail"]) == (409, True)
    assert root.get("/api/annotations").json() == {"jobs": [], "next": None}


def test_what_is_cancelled_begins_no_more_requests(log_in: LogIn, app: FastAPI, wire: Wire) -> None:
    root, ben = log_in("root", "admin"), log_in("ben", "admin")
    app.state.context.annotator.stop()
    job = root.post("/api/annotations", json={}).json()
    assert ben.get(f"/api/annotations/{job['id']}").status_code == 404
    assert root.delete(f"/api/annotations/{job['id']}").json()["status"] == "cancelled"
    assert wire.first_requests == 0


def test_a_job_that_is_cancelled_under_way_keeps_what_was_answered(
    log_in: LogIn, app: FastAPI, wire: Wire, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotator = app.state.context.annotator
    annotator._settings = annotator._settings.model_copy(update={"ai_tracks_per_request": 1, "ai_workers": 2})
    asked, known, go_on = threading.Event(), threading.Event(), threading.Event()

    def answer(track: dict[str, Any]) -> dict[str, Any]:
        asked.set()
        assert go_on.wait(60)
        return good_annotation(track)

    def beat(conn: Connection, job_id: UUID) -> bool:
        cancelled = note_beat(conn, job_id)
        if cancelled:
            known.set()
        return cancelled

    note_beat = job_worker.note_beat
    monkeypatch.setattr(job_worker, "_BEAT_SECONDS", 0.02)
    monkeypatch.setattr(job_worker, "note_beat", beat)
    wire.answer = answer
    root = log_in("root", "admin")
    job = root.post("/api/annotations", json={}).json()
    assert asked.wait(60)
    root.delete(f"/api/annotations/{job['id']}")
    assert known.wait(60)
    go_on.set()
    job = ended(root, job)
    assert job["status"] == "cancelled"
    # What was asked is answered, kept and booked; the others were never asked about.
    assert 1 <= wire.first_requests == wire.finished["openai", "replies"] <= 6
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM annotations WHERE status = 'ok'")) == wire.first_requests
        assert conn.scalar(text("SELECT count(*) FROM tracks WHERE ai_analysis IS NOT NULL")) == wire.first_requests
    again = ended(root, root.post("/api/annotations", json={}).json())
    assert (again["status"], again["annotated"]) == ("completed", 25 - job["done"])
    assert wire.first_requests == 25
