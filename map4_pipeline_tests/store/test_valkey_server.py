"""The embedded cache: shared like the database, and never needed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from map4_pipeline.settings import Settings
from map4_pipeline.store import valkey_server
from map4_pipeline.store.errors import InfrastructureError
from map4_pipeline.store.valkey_server import EmbeddedValkey, redis_url

pytestmark = pytest.mark.skipif(not EmbeddedValkey.is_available(), reason="the extra `cache` is not installed")


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedValkey]:
    """A cache server that is stopped after the test."""
    server = EmbeddedValkey(home)
    yield server
    server.stop(force=True)


def test_a_value_comes_back(server: EmbeddedValkey) -> None:
    import redis

    with redis.Redis.from_url(server.start()) as client:
        client.set("track:x", b"\0value", ex=10)
        assert client.get("track:x") == b"\0value"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
    assert Path(server._socket()).stat().st_mode & 0o077 == 0
    server.release()
    assert not server.status().running


def test_it_is_started_again_after_it_was_killed(server: EmbeddedValkey) -> None:
    server.start()
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    server.start()
    assert server.status().ready
    assert server.status().pid != pid


def test_a_home_with_a_long_path(home: Path) -> None:
    server = EmbeddedValkey(home / ("x" * 120))
    server.start()
    assert server.status().ready
    server.release()
    assert not server._socket().parent.exists()


def test_the_doctor_knows_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from map4_pipeline.cli.health_services import cache

    try:
        (found,) = cache(Settings(home=home, redis_url=None))
        assert found.state == "ok"
        assert found.message.startswith("embedded Valkey 9")
    finally:
        EmbeddedValkey(home).stop(force=True)
    (found,) = cache(Settings(home=home, redis_url=SecretStr("redis://127.0.0.1:9/0")))
    assert (found.state, "does not answer" in found.message) == ("warn", True)
    monkeypatch.setattr(valkey_server, "_program", lambda: None)
    (found,) = cache(Settings(home=home, redis_url=None))
    assert (found.state, "not installed" in found.message) == ("ok", True)


def test_the_setting_decides(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert redis_url(Settings(home=home, redis_url=SecretStr("redis://cache:6379/1"))) == "redis://cache:6379/1"
    assert redis_url(Settings(home=home, redis_url=SecretStr("none"))) is None
    monkeypatch.setattr(valkey_server, "_program", lambda: None)
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert redis_url(Settings(home=home)) is None
    with pytest.raises(InfrastructureError, match="extra `cache`"):
        EmbeddedValkey(home).start()
