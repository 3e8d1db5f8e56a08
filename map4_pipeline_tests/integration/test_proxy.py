"""Dagster's UI behind MAP4's login: Caddy with the configuration that MAP4 brings, TLS 1.3, real webservers behind it."""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import Engine

from map4_pipeline.api import passwords
from map4_pipeline.api.app import create_app
from map4_pipeline.api.identity import CSRF_HEADER
from map4_pipeline.settings import Settings, load_settings
from map4_pipeline.store.accounts import create_user

from ..certificates import Certificate, make_certificate
from .running import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("proxy")]
CADDYFILE = Path(__file__).resolve().parents[2] / "deploy" / "Caddyfile"
PASSWORD = "a long enough password"
#: What only the page of Dagster's UI holds.
UI = '"assetPrefix":"/dagster"'
#: Webservers take their time on a machine with other things to do.
SECONDS = 600.0
#: Changes something: only the full instance may.
DELETE = 'mutation { deleteRun(runId: "00000000-0000-4000-8000-000000000000") { __typename } }'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(commands: dict[int, list[str]], folder: Path, env: dict[str, str]) -> Iterator[None]:
    """Run servers until each answers on its port, and stop them afterwards."""
    processes: dict[int, subprocess.Popen[bytes]] = {}
    try:
        for port, command in commands.items():
            # A home for each: two that begin at the same moment would make the same tables.
            home = folder / f"home-{port}"
            home.mkdir()
            (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
            own = {**env, "DAGSTER_HOME": str(home)}
            with (folder / f"{port}.log").open("wb") as output:
                processes[port] = subprocess.Popen(command, stdout=output, stderr=output, env=own, stdin=subprocess.DEVNULL)
        for port, process in processes.items():
            wait_for(commands[port][0], lambda port=port, it=process: it.poll() is not None or answers(port), SECONDS)  # type: ignore[misc]
            assert process.poll() is None, (folder / f"{port}.log").read_text()
        yield
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait(60)


@contextlib.contextmanager
def serving(config: uvicorn.Config) -> Iterator[None]:
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_for("the API", lambda: server.started, SECONDS)
        yield
    finally:
        server.should_exit = True
        thread.join(60)


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens."""

    site: int
    api: int
    full: int
    some: int


@pytest.fixture
def ports() -> Ports:
    return Ports(*(free_port() for _ in range(4)))


@pytest.fixture
def env(tmp_path: Path, certificate: Certificate, ports: Ports) -> dict[str, str]:
    """The environment of the servers: as docs/deployment.md says, and nothing of this machine's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "MAP4_"))}
    kept |= {"DAGSTER_DISABLE_TELEMETRY": "1", "HOME": str(tmp_path)}
    kept |= {"XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    return kept | {
        "MAP4_SITE": f"localhost:{ports.site}", "MAP4_TLS_FILES": f"{certificate.certificate} {certificate.key}",
        "MAP4_API": f"127.0.0.1:{ports.api}", "DAGSTER_FULL": f"127.0.0.1:{ports.full}",
        "DAGSTER_READ_ONLY": f"127.0.0.1:{ports.some}",
    }  # fmt: skip


def caddy() -> list[str]:
    """Return how Caddy is run with the configuration that MAP4 brings, or skip the test."""
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("the system has no Caddy (Debian: apt-get install caddy)")
    return [program, "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"]


@pytest.fixture
def site(
    settings: Settings, engine: Engine, tmp_path: Path, ports: Ports, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """MAP4, two instances of Dagster's webserver and Caddy before them; gives the address that people type."""
    monkeypatch.setattr(passwords, "COST", 4)
    monkeypatch.setenv("MAP4_PUBLIC_URL", f"https://localhost:{ports.site}")
    webserver = [
        sys.executable,
        "-m",
        "dagster_webserver",
        "--empty-workspace",
        "--host",
        "127.0.0.1",
        "--path-prefix",
        "/dagster",
    ]
    config = uvicorn.Config(create_app(load_settings(), engine), "127.0.0.1", ports.api, log_config=None, access_log=False)
    commands = {
        ports.full: [*webserver, "--port", str(ports.full)],
        ports.some: [*webserver, "--port", str(ports.some), "--read-only"],
        ports.site: caddy(),
    }
    with serving(config), running(commands, tmp_path, env):
        yield f"https://localhost:{ports.site}"


def browser(site: str, certificate: Certificate, engine: Engine, name: str = "", role: str = "", **more: Any) -> httpx.Client:
    """Return a client that trusts the test's authority; logged in, if it has a name."""
    client = httpx.Client(base_url=site, verify=ssl.create_default_context(cafile=str(certificate.authority)), timeout=SECONDS)
    if name:
        with engine.begin() as conn:
            create_user(conn, name, role, password_hash=passwords.hash_password(PASSWORD), **{"library_ids": None, **more})
        answer = client.post("/api/auth/login", json={"name": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        assert answer.headers["set-cookie"].startswith("__Host-map4=")
        client.headers[CSRF_HEADER] = answer.json()["csrf"]
    return client


def test_everybody_gets_the_dagster_that_is_for_him(site: str, certificate: Certificate, engine: Engine) -> None:
    page, asked = {"accept": "text/html"}, {"query": DELETE}
    nobody = browser(site, certificate, engine)
    sent = nobody.get("/dagster/runs?q=1", headers=page)
    assert (sent.status_code, sent.headers["location"]) == (302, "/login?next=%2Fdagster%2Fruns%3Fq%3D1")
    for path in ("/dagster", "/dagster/", "/dagster/graphql"):
        assert nobody.get(path).status_code == 401, path
    # What only MAP4 may say is not believed of anybody else.
    claims = {"x-map4-dagster": "full", "x-map4-user": "root", "x-forwarded-uri": "/", "x-forwarded-method": "GET"}
    assert nobody.post("/dagster/graphql", json=asked, headers=claims).status_code == 401

    root = browser(site, certificate, engine, "root", "admin")
    assert UI in root.get("/dagster/runs", headers=page).text
    assert root.post("/dagster/graphql", json=asked).json()["data"]["deleteRun"]["__typename"] == "RunNotFoundError"
    # Another site's page makes the browser of an admin ask: the cookie would come along, the answer is no.
    for foreign in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert root.post("/dagster/graphql", json=asked, headers=foreign).status_code == 403, foreign
    assert root.get("/dagster/graphql", headers={"origin": "https://evil.example", "upgrade": "websocket"}).status_code == 403

    for name, role in (("anna", "user"), ("vera", "viewer")):
        client = browser(site, certificate, engine, name, role)
        assert UI in client.get("/dagster/runs", headers=page).text
        for headers in ({}, claims):
            told = client.post("/dagster/graphql", json=asked, headers=headers).json()["data"]["deleteRun"]
            assert told["__typename"] == "UnauthorizedError", (name, headers)
    some = browser(site, certificate, engine, "ben", "user", library_ids=())
    assert some.get("/dagster/runs", headers=page).status_code == 403

    assert root.post("/api/auth/logout").status_code == 204
    assert root.get("/dagster/runs").status_code == 401


def test_only_tls_13_is_spoken(tmp_path: Path, certificate: Certificate, ports: Ports, env: dict[str, str]) -> None:
    with running({ports.site: caddy()}, tmp_path, env):
        assert handshake(ports.site, certificate) == "TLSv1.3"
        with pytest.raises(ssl.SSLError):
            handshake(ports.site, certificate, ssl.TLSVersion.TLSv1_2)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"https://localhost:{ports.site}")  # an authority that nobody trusts


def handshake(port: int, certificate: Certificate, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> str | None:
    """Return the version of TLS that a server and a client agree on."""
    context = ssl.create_default_context(cafile=str(certificate.authority))
    context.maximum_version = newest
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain, server_hostname="localhost") as made:
        return made.version()
