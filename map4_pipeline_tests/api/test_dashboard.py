"""Grafana's dashboard against a real Prometheus that scrapes a server: every query answers, with its legend's labels."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import Engine, text

from map4_pipeline.api.app import create_app
from map4_pipeline.settings import Settings
from map4_pipeline.store.valkey_server import redis_url

from ..integration.running import wait_for
from .conftest import LogIn, served
from .test_metrics import HEADERS, ROOT, TOKEN
from .test_pages import furnish

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "map4.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(target["expr"].replace("$job", ".+"), target["legendFormat"]) for panel in PANELS for target in panel["targets"]]


@pytest.fixture
def app(settings: Settings, engine: Engine, tmp_path: Path) -> FastAPI:
    furnish(engine, tmp_path / "Music")
    configured = settings.model_copy(update={"metrics_token": SecretStr(TOKEN), "redis_url": None})
    return create_app(configured, engine, redis_url(configured))


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """Let Prometheus scrape a server every second; give Prometheus's address."""
    (folder / "token").write_text(TOKEN)
    (folder / "prometheus.yml").write_text(
        "scrape_configs:\n- job_name: map4\n  scrape_interval: 1s\n  scrape_timeout: 1s\n"
        f"  authorization: {{credentials_file: {folder / 'token'}}}\n"
        f"  static_configs: [{{targets: ['{target.removeprefix('http://')}']}}]\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={place}"], stdout=log, stderr=log)
    try:
        yield f"http://{place}"
    finally:
        process.terminate()
        process.wait(60)


def asked(prometheus_address: str, path: str, **given: str) -> Any:
    """Return what Prometheus says; None while it is starting."""
    try:
        answer = httpx.get(f"{prometheus_address}/api/v1/{path}", params=given, timeout=60)
    except httpx.TransportError:
        return None
    found = answer.json() if answer.headers["content-type"].startswith("application/json") else {}
    assert answer.status_code in (200, 503), (given, found)
    return found.get("data")


@pytest.mark.slow
def test_every_query_of_the_dashboard_is_answered_by_prometheus(
    app: FastAPI, engine: Engine, log_in: LogIn, tmp_path: Path
) -> None:
    if shutil.which("prometheus") is None:
        pytest.skip("Prometheus is not installed (Debian: prometheus).")
    anna = log_in("anna", "admin")
    with engine.begin() as conn:
        for status, done in (("completed", "now()"), ("pending", "NULL")):
            conn.execute(
                text(
                    "INSERT INTO analysis_queue (file_path, status, user_id, created_at, started_at, completed_at) "
                    f"VALUES ('/a', '{status}', 1, now() - interval '9 s', now() - interval '7 s', {done})"
                )
            )
        conn.execute(text("INSERT INTO export_history (export_type, user_id) VALUES ('csv', '1')"))
    with served(app) as target:
        for _ in range(2):
            assert anna.get("/api/search", params={"q": "beta"}).status_code == 200
            assert anna.get("/api/stats/library").status_code == 200
        assert app.state.context.activity.flush()
        with prometheus(tmp_path, target) as address:
            # Rates need two scrapes.
            wait_for("Prometheus has scraped", lambda: scrapes(address) >= 3)
            answers = {query: asked(address, "query", query=query)["result"] for query, _ in QUERIES}
            (jobs,) = (one["query"] for one in DASHBOARD["templating"]["list"] if one["name"] == "job")
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", jobs).groups()  # type: ignore[union-attr]
            assert asked(address, f"label/{label}/values", **{"match[]": metric}) == ["map4"]
            kinds = {name: one[0]["type"] for name, one in asked(address, "metadata").items()}
    for query, legend in QUERIES:
        assert answers[query], query
        labels = set(re.findall(r"{{(\w+)}}", legend))
        assert not any(labels - set(one["metric"]) for one in answers[query]), (query, answers[query])
    # What falls or is read at once has no rate; what only grows is shown by its rate.
    for query, _ in QUERIES:
        for name in re.findall(r"\bmap4_\w+", query):
            kind = kinds[re.sub(r"_(bucket|sum|count)$", "", name)]
            assert (f"rate({name}{{" in query) == (kind in ("counter", "histogram")), (query, kind)


def scrapes(address: str) -> int:
    """Return how often Prometheus has read all figures."""
    found = asked(address, "query", query="count_over_time(map4_queue_depth[5m])")
    return max((int(one["value"][1]) for one in found["result"]), default=0) if found else 0


@pytest.mark.slow
def test_prometheus_finds_nothing_wrong_with_the_names_and_kinds_of_the_metrics(app: FastAPI) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus).")
    page = TestClient(app, client=("127.0.0.1", 50_000)).get("/metrics", headers=HEADERS).content
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_the_dashboard_is_one_that_grafana_can_import() -> None:
    for needed in ("schemaVersion", "templating", "annotations", "panels", "title", "uid", "time"):
        assert needed in DASHBOARD
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert sorted(ids) == sorted(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert cells, panel["title"]
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            assert (panel["collapsed"], panel["panels"]) == (False, [])
            continue
        assert panel["type"] in ("timeseries", "bargauge", "stat"), "a panel that comes with Grafana"
        assert set(panel["fieldConfig"]) == {"defaults", "overrides"}
        assert panel["fieldConfig"]["defaults"]["unit"] in ("short", "s", "bytes", "Bps", "reqps", "percentunit")
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        if panel["type"] == "timeseries":
            assert set(panel["options"]["legend"]) == {"showLegend", "displayMode", "placement", "calcs"}
            assert set(panel["options"]["tooltip"]) == {"mode", "sort"}
        else:
            assert panel["options"]["reduceOptions"]["calcs"] == ["lastNotNull"]
