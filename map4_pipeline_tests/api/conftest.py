"""The application over a real database, and clients that are logged in."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from map4_pipeline.api import passwords
from map4_pipeline.api.app import create_app
from map4_pipeline.api.identity import CSRF_HEADER
from map4_pipeline.settings import Settings
from map4_pipeline.store.accounts import create_user
from map4_pipeline.store.libraries import register_library

PASSWORD = "a long enough password"  # of every account in these tests

#: Makes a client in which a user of this name and role has logged in.
LogIn = Callable[..., TestClient]


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash with the lowest cost: a quarter of a second for each login is a virtue outside tests only."""
    monkeypatch.setattr(passwords, "COST", 4)


@pytest.fixture
def app(settings: Settings, engine: Engine) -> Iterator[FastAPI]:
    made = create_app(settings, engine)
    with TestClient(made, client=("127.0.0.1", 50_000)):
        yield made


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """A client that has not logged in."""
    return TestClient(app, client=("127.0.0.1", 50_000))


@pytest.fixture
def library_id(engine: Engine, tmp_path: Path) -> int:
    (tmp_path / "Music").mkdir()
    with engine.begin() as conn:
        return register_library(conn, tmp_path / "Music").id


@pytest.fixture
def log_in(app: FastAPI, engine: Engine) -> LogIn:
    def log_in(name: str = "anna", role: str = "user", libraries: list[int] | None = None) -> TestClient:
        with engine.begin() as conn:
            create_user(conn, name, role, password_hash=passwords.hash_password(PASSWORD), library_ids=libraries)
        return entered(TestClient(app, client=("127.0.0.1", 50_000)), name)

    return log_in


@contextlib.contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an application on a port of its own; give its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def entered(client: TestClient, name: str, password: str = PASSWORD) -> TestClient:
    """Log a user in and let every change carry the page's token."""
    answer = client.post("/api/auth/login", json={"name": name, "password": password})
    assert answer.status_code == 200, answer.text
    client.headers[CSRF_HEADER] = answer.json()["csrf"]
    return client
