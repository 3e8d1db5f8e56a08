"""Metrics: who may read them, that they count, that a database that is away takes nothing else along; the dashboard's queries."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import Engine, text

from map4_pipeline.api.app import create_app
from map4_pipeline.settings import Settings
from map4_pipeline.store.database import make_engine

from .conftest import LogIn

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a token of thirty-two characters"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def app(settings: Settings, engine: Engine) -> Iterator[FastAPI]:
    made = create_app(settings.model_copy(update={"metrics_token": SecretStr(TOKEN)}), engine)
    with TestClient(made, client=("127.0.0.1", 50_000)):
        yield made


def samples(client: TestClient) -> dict[str, float]:
    """Return every sample of the page, `name{labels}` to its value."""
    answer = client.get("/metrics", headers=HEADERS)
    assert answer.status_code == 200, answer.text
    found = {}
    for line in answer.text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def test_only_who_may_reads_the_metrics(client: TestClient, log_in: LogIn) -> None:
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer a wrong one, but a long one"}).status_code == 401
    assert log_in("vera", "viewer").get("/metrics").status_code == 403
    assert log_in("uwe", "user").get("/metrics").status_code == 403
    admin = log_in("anna", "admin")
    assert admin.get("/metrics").headers["content-type"].startswith("text/plain")
    made = admin.post("/api/auth/tokens", json={"name": "prometheus", "scopes": ["metrics"]}).json()
    bearer = {"Authorization": f"Bearer {made['token']}"}
    assert client.get("/metrics", headers=bearer).status_code == 200
    assert client.get("/api/tracks", headers=bearer).status_code == 403
    assert client.get("/api/tracks", headers=HEADERS).status_code == 403, "the scraper's token opens nothing else"


def test_requests_are_counted_by_route_and_users_by_what_they_use(app: FastAPI, client: TestClient, log_in: LogIn) -> None:
    anna = log_in("anna")
    for _ in range(3):
        assert anna.get("/api/search", params={"q": "a secret wish"}).status_code == 200
    assert anna.get("/api/tracks/4711").status_code == 404
    assert app.state.context.activity.flush()
    found = samples(client)
    assert found['map4_http_requests_total{method="GET",route="/api/search",status="200"}'] == 3
    assert found['map4_http_requests_total{method="GET",route="/api/tracks/{track_id}",status="404"}'] == 1
    assert found['map4_http_request_duration_seconds_count{method="GET",route="/api/search"}'] == 3
    assert found['map4_feature_uses_total{feature="search"}'] == 3
    assert found['map4_active_users{window="day"}'] == 1
    assert found['map4_feature_adoption_ratio{feature="search"}'] == 1
    assert 'map4_feature_users{feature="tracks"}' not in found, "a request that failed is no use"
    assert not any("secret wish" in name for name in found)


def test_figures_of_machine_queue_and_database_are_there(client: TestClient, engine: Engine, log_in: LogIn) -> None:
    log_in("anna")
    with engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO analysis_queue (file_path, status, user_id, created_at, started_at, completed_at) VALUES "
                "('/a', 'completed', 1, now() - interval '9 s', now() - interval '7 s', now() - interval '2 s'), "
                "('/b', 'failed', 1, now() - interval '9 s', now() - interval '8 s', now()), "
                "('/c', 'pending', NULL, now() - interval '100 s', NULL, NULL)"
            )
        )
        conn.execute(text("INSERT INTO export_history (export_type, user_id) VALUES ('csv', '1'), ('csv', '1'), ('pdf', NULL)"))
        conn.execute(
            text(
                "INSERT INTO analyses (audio_hash, stage, engine, version, payload) "
                "SELECT 'h' || i, 'features', 'map4', '1', '{}' FROM generate_series(1, 10) i"
            )
        )
    found = samples(client)
    assert found['map4_queue_depth{status="pending"}'] == 1
    assert found["map4_queue_oldest_seconds"] >= 100
    assert found['map4_queue_processing_seconds{quantile="0.5"}'] == pytest.approx(6.5, abs=0.1)
    assert found['map4_queue_wait_seconds{quantile="0.5"}'] == pytest.approx(1.5, abs=0.1)
    assert found['map4_work_last_hour{component="queue",outcome="failed"}'] == 1
    assert found['map4_user_tracks_analyzed{user_id="1"}'] == 1
    assert found['map4_exports{type="csv"}'] == 2
    assert found["map4_tracks_analyzed_per_minute"] == 2
    assert found["map4_database_up"] == 1
    assert found['map4_database_connections{state="active"}'] >= 1
    assert found["map4_database_connections_max"] > 10
    assert found['map4_memory_bytes{kind="total"}'] > found['map4_memory_bytes{kind="available"}'] > 0
    assert found['map4_cpu_seconds_total{mode="user"}'] > 0
    assert 0 <= found["map4_cpu_utilization_ratio"] <= 1
    assert found["map4_process_memory_bytes"] > 1e7


def test_without_a_database_the_rest_is_still_told(settings: Settings) -> None:
    nowhere = make_engine("postgresql+psycopg2://map4@127.0.0.1:1/map4", connect_args={"connect_timeout": 1})
    made = create_app(settings.model_copy(update={"metrics_token": SecretStr(TOKEN)}), nowhere)
    client = TestClient(made, client=("127.0.0.1", 50_000))
    found = samples(client)
    assert found["map4_database_up"] == 0
    assert "map4_cpu_utilization_ratio" in found
    assert not any(name.startswith("map4_queue_depth") for name in found)


def test_every_metric_of_the_dashboard_exists(client: TestClient, engine: Engine, log_in: LogIn, app: FastAPI) -> None:
    anna = log_in("anna", "admin")
    anna.get("/api/search")
    app.state.context.activity.flush()
    app.state.context.metrics.lookups.labels("search", "hit").inc()
    with engine.begin() as conn:
        conn.execute(
            text("INSERT INTO analysis_queue (file_path, status, user_id, completed_at) VALUES ('/a', 'completed', 1, now())")
        )
        conn.execute(text("INSERT INTO export_history (export_type) VALUES ('csv')"))
    names = {re.sub(r"\{.*", "", name) for name in samples(client)}
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "map4.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked = {name for query in queries for name in re.findall(r"\bmap4_\w+", query)}
    assert len(queries) > 20
    assert asked - names - {"map4_cache_up"} == set()
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}
    offered = {re.sub(r"_(bucket|count|sum)$", "", name) for name in names if not name.endswith("_created")}
    assert offered - shown == {"map4_info", "map4_http_requests_in_progress"}, "no figure is there that nobody sees"


def test_counts_of_several_processes_are_added_up(settings: Settings, tmp_path: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys, logging\n"
        "from map4_pipeline.api.metrics import Metrics\n"
        "from map4_pipeline.settings import settings\n"
        "from map4_pipeline.store.cache import Cache\n"
        "from map4_pipeline.store.database import make_engine\n"
        "m = Metrics(settings(), make_engine('postgresql+psycopg2://map4@127.0.0.1:1/map4'), Cache(None))\n"
        "m.served('GET', '/api/tracks', 200, 0.01)\n"
        "print(m.page().decode())\n"
    )
    import os

    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    pages = [
        subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert 'map4_http_requests_total{method="GET",route="/api/tracks",status="200"} 2.0' in pages[1]
