"""PostgreSQL and Valkey killed under users: 503 with Retry-After, recovery without a restart, nothing confirmed is lost."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from map4_pipeline.settings import Settings, load_settings
from map4_pipeline.store.accounts import create_user
from map4_pipeline.store.database import open_database
from map4_pipeline.store.postgres_server import EmbeddedPostgres
from map4_pipeline.store.schema import playlists
from map4_pipeline.store.tokens import create_token
from map4_pipeline.store.valkey_server import EmbeddedValkey

from ..integration.outage import Users

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(sys.platform == "win32", reason="not applicable: kills by signal"),
    pytest.mark.skipif(not EmbeddedValkey.is_available(), reason="the extra `cache` is not installed"),
]


@pytest.fixture
def installation(home: Path, clean_environment: None) -> Settings:
    return load_settings(home=home, rate_per_minute=1_000_000)


@pytest.fixture
def tokens(installation: Settings) -> list[dict[str, str]]:
    engine = open_database(installation)
    with engine.begin() as conn:
        ids = [create_user(conn, f"user {n}", "user", library_ids=None).id for n in range(6)]
        found = [create_token(conn, user_id, "program", ["read", "write"])[1] for user_id in ids]
    engine.dispose()
    return [{"Authorization": f"Bearer {token}"} for token in found]


@pytest.fixture
def server(installation: Settings, tokens: list[dict[str, str]]) -> Iterator[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAP4_", "DATABASE_", "REDIS_"))}
    environment = kept | {"MAP4_HOME": str(installation.home), "MAP4_RATE_PER_MINUTE": "1000000", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "map4_pipeline.cli.main", "serve", "--port", "0"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"running on (http://[\d.]+:\d+)", line):
            break
    else:
        raise AssertionError(f"map4 serve ended with {process.wait()}: {''.join(said)}")
    threading.Thread(target=process.stderr.read, daemon=True).start()
    yield found.group(1)
    assert process.poll() is None, "the server was never restarted"
    process.send_signal(signal.SIGINT)
    process.wait(60)


def kill(server: EmbeddedPostgres | EmbeddedValkey) -> None:
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_users_live_through_the_death_of_cache_and_database(
    installation: Settings, tokens: list[dict[str, str]], server: str
) -> None:
    postgres, valkey = EmbeddedPostgres(installation.home), EmbeddedValkey(installation.home)
    with Users(server, tokens) as users:
        users.wait_for_more(200, 20)
        users.wait_for_more(201, 5)
        kill(valkey)
        users.wait_for_more(200, 50)
        assert users.count(503) == 0, "without a cache everything works"
        users.wait_for(lambda _: valkey.status().ready, "the cache is back")
        for _ in range(2):
            kill(postgres)
            users.wait_for_more(503, 1)
            took = users.wait_for_more(201, 10)
            users.wait_for_more(200, 20)
            print(f"killed PostgreSQL: ten more playlists were made within {took:.1f} s")
    tally = users.tally
    print(f"told: {dict(sorted(tally.statuses.items()))}, the slowest answer after {tally.slowest:.1f} s")
    assert tally.wrong == []
    engine = open_database(installation)
    with engine.connect() as conn:
        there = set(conn.scalars(select(playlists.c.id)))
    engine.dispose()
    assert set(tally.made) <= there, "what was confirmed is kept"
