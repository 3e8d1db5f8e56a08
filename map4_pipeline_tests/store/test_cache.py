"""The cache with a real Valkey: never stale, and nothing but slower when it is off, full, hung or killed in mid-request."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from map4_pipeline.settings import Settings
from map4_pipeline.store import cache as module
from map4_pipeline.store import reads
from map4_pipeline.store.cache import (
    Cache,
    ai_key,
    batch_key,
    export_key,
    filter_key,
    genre_key,
    hamms_key,
    library_generation,
    open_cache,
    search_key,
    track_key,
)
from map4_pipeline.store.database import advisory_lock
from map4_pipeline.store.valkey_server import EmbeddedValkey

from ..postgres import PostgresForTests, short_directory
from .big import generated_library

pytestmark = pytest.mark.skipif(not EmbeddedValkey.is_available(), reason="the extra `cache` is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedValkey]:
    """A cache server for this module."""
    with short_directory() as home:
        server = EmbeddedValkey(home)
        server.start()
        yield server
        server.stop(force=True)


@pytest.fixture
def cache(server: EmbeddedValkey) -> Iterator[Cache]:
    """An empty cache; the server is up, empty and limited as usual."""
    import redis

    with redis.Redis.from_url(server.start()) as client:
        client.flushall()
        client.config_set("maxmemory", "128mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
    cache = Cache(server.url())
    yield cache
    cache.close()


@pytest.fixture(scope="module")
def engine(postgres_server: PostgresForTests) -> Iterator[Engine]:
    """A library of 400 invented tracks."""
    with generated_library(postgres_server, 400) as engine:
        yield engine


def raw(server: EmbeddedValkey) -> Any:
    import redis

    return redis.Redis.from_url(server.url())


def pid(server: EmbeddedValkey) -> int:
    found = server.status().pid
    assert found is not None
    return found


# ------------------------------------------------------------------ keys and times
def test_the_keys_and_times_of_the_requirements() -> None:
    assert [track_key("ab"), hamms_key("ab"), ai_key("ab", "openai")] == ["track:ab", "hamms:ab", "ai:ab:openai"]
    assert search_key("house", 50).startswith("search:")
    assert filter_key("house").startswith("filter:")
    assert search_key("house", 50) != search_key("house", 51)
    assert [genre_key("Drum & Bass"), module.LIBRARY_KEY] == ["stats:genre:Drum%20%26%20Bass", "stats:library"]
    assert [export_key("7"), batch_key("7")] == ["export:7", "batch:7"]
    times = (module.TRACK_SECONDS, module.SEARCH_SECONDS, module.STATISTICS_SECONDS, module.TEMPORARY_SECONDS)
    assert times == (86_400, 3_600, 300, 600)


def test_what_is_kept_is_json_with_its_time(cache: Cache, server: EmbeddedValkey, engine: Engine) -> None:
    with engine.connect() as conn:
        id_ = conn.execute(text("SELECT id FROM tracks WHERE status = 'ok' LIMIT 1")).scalar_one()
        assert reads.read_track(conn, cache, id_) == reads.read_track(conn, cache, id_)
        reads.read_hamms(conn, cache, id_)
        reads.read_search(conn, cache, "the")
        reads.read_count(conn, cache, "bpm>100")
        reads.read_facets(conn, cache, "bpm>100")
        reads.read_statistics(conn, cache)
        reads.read_genre(conn, cache, "House")
    cache.put(export_key("1"), {"state": "running", "done": 3}, module.TEMPORARY_SECONDS)
    assert cache.get(export_key("1")) == {"state": "running", "done": 3}
    found: dict[str, int] = {}
    with raw(server) as client:
        for key in client.scan_iter():
            json.loads(client.get(key))
            kind = key.decode().rpartition(":")[0] if key.startswith(b"stats") else key.decode().partition(":")[0]
            found[kind] = max(found.get(kind, 0), client.ttl(key))
    expected = {
        "track": 86_400,
        "hamms": 86_400,
        "search": 3_600,
        "filter": 3_600,
        "stats": 300,
        "stats:genre": 300,
        "export": 600,
    }
    assert found.keys() == expected.keys()
    for kind, seconds in expected.items():
        assert seconds - 60 < found[kind] <= seconds


def test_sums_are_counted_ahead_by_one_process(cache: Cache, engine: Engine) -> None:
    with engine.connect() as other, advisory_lock(other, reads._AHEAD_LOCK):
        reads.count_ahead(engine, cache, 10.0)
    assert cache.counts().misses == {}, "another process does it"
    reads.count_ahead(engine, Cache(None), 10.0)
    reads.count_ahead(engine, cache, 10.0)
    assert cache.counts().misses == {"stats": 4, "filter": 1}
    with engine.connect() as conn:
        reads.read_statistics(conn, cache, tolerance=10.0)
        reads.read_facets(conn, cache, "", tolerance=10.0)
        reads.read_sums(conn, cache, "timeline", tolerance=10.0)
    assert cache.counts().hits == {"stats": 2, "filter": 1}


def test_hits_are_counted(cache: Cache, engine: Engine) -> None:
    assert cache.counts().hit_rate is None
    with engine.connect() as conn:
        for _ in range(4):
            reads.read_search(conn, cache, "the")
    counts = cache.counts()
    assert (counts.hits, counts.misses, counts.errors) == ({"search": 3}, {"search": 1}, 0)
    assert counts.hit_rate == 0.75


# ------------------------------------------------------------------ never stale
CHANGES = {
    "a correction": "UPDATE tracks SET bpm = 61, corrections = '{{}}' WHERE id = {id}",
    "an ingest": "UPDATE tracks SET status = 'failed', bpm = NULL WHERE id = {id}",
    "a retag": "UPDATE tracks SET title = 'zzz' WHERE id = {id}",
    "a deletion": "DELETE FROM tracks WHERE id = {id}",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_at_once(cache: Cache, engine: Engine, change: str) -> None:
    off = Cache(None)
    with engine.connect() as conn:
        id_ = conn.execute(text("SELECT max(track_id) FROM track_search WHERE listed AND bpm > 70")).scalar_one()
        query = "sort:-added"
        before = [reads.read_search(conn, cache, query), reads.read_track(conn, cache, id_), reads.read_statistics(conn, cache)]
    with engine.begin() as conn:
        conn.execute(text(CHANGES[change].format(id=id_).replace(":", "\\:")))
    with engine.connect() as conn:
        after = [reads.read_search(conn, cache, query), reads.read_track(conn, cache, id_), reads.read_statistics(conn, cache)]
        fresh = [reads.read_search(conn, off, query), reads.read_track(conn, off, id_), reads.read_statistics(conn, off)]
    assert after == fresh
    assert after[1] != before[1]


def test_a_slow_reader_cannot_bring_back_what_was(cache: Cache, engine: Engine) -> None:
    """It reads, the library changes and another reads, then the slow one writes what it read."""
    read, changed = threading.Event(), threading.Event()
    results = []

    def slow() -> None:
        with engine.connect() as conn:
            version = library_generation(conn)

            def make() -> int:
                value = int(conn.execute(text("SELECT count(*) FROM track_search WHERE listed")).scalar_one())
                read.set()
                changed.wait(10)
                return value

            results.append(cache.through("stats:library", version, 300, make))

    thread = threading.Thread(target=slow)
    thread.start()
    assert read.wait(10)
    with engine.begin() as conn:
        conn.execute(text("UPDATE tracks SET hidden_at = now() WHERE id = (SELECT min(track_id) FROM track_search WHERE listed)"))
    changed.set()
    thread.join()
    with engine.connect() as conn:
        now = int(conn.execute(text("SELECT count(*) FROM track_search WHERE listed")).scalar_one())
        assert cache.through("stats:library", library_generation(conn), 300, lambda: now) == now == results[0] - 1


def test_a_change_that_is_not_committed_does_not_move_the_generation(engine: Engine) -> None:
    with engine.connect() as other, engine.connect() as conn:
        before = library_generation(other)
        conn.execute(text("UPDATE tracks SET title = 'a' WHERE id = 1"))
        assert library_generation(other) == before
        conn.commit()
        after = library_generation(other)
        assert after != before
        conn.execute(text("UPDATE tracks SET title = 'b' WHERE id = 1"))
        conn.rollback()
        assert library_generation(other) == after
        # A savepoint that is rolled back takes its mark with it, and what follows makes a new one.
        with conn.begin():
            savepoint = conn.begin_nested()
            conn.execute(text("UPDATE tracks SET title = 'c' WHERE id = 1"))
            savepoint.rollback()
            conn.execute(text("UPDATE tracks SET title = 'd' WHERE id = 1"))
        assert library_generation(other) != after


def test_generations_never_come_back(engine: Engine) -> None:
    """Transactions that end out of order, and old marks that are forgotten meanwhile."""
    seen = set()

    def look() -> None:
        with engine.connect() as conn:
            generation = library_generation(conn)
        assert generation not in seen
        seen.add(generation)

    with engine.connect() as slow:
        for number in range(6):
            slow.execute(text("UPDATE tracks SET title = 'slow' WHERE id = 2"))
            with engine.begin() as conn:
                conn.execute(text(f"UPDATE tracks SET title = 'quick {number}' WHERE id = 1"))
            look()
            if number % 2:
                with engine.begin() as conn:
                    conn.execute(text("SELECT map4_forget_changes()"))
                look()
            slow.commit()
            look()
    with engine.begin() as conn:
        conn.execute(text("SELECT map4_forget_changes()"))
        assert conn.execute(text("SELECT count(*) FROM library_changes")).scalar_one() <= 3


# ------------------------------------------------------------------ off, full, hung, killed
def right(engine: Engine, cache: Cache) -> None:
    """Check that everything is as without a cache."""
    off = Cache(None)
    with engine.connect() as conn:
        id_ = conn.execute(text("SELECT id FROM tracks WHERE status = 'ok' LIMIT 1")).scalar_one()
        for query in ("the", "bpm>120 sort:-energy"):
            assert reads.read_search(conn, cache, query) == reads.read_search(conn, off, query)
        assert reads.read_track(conn, cache, id_) == reads.read_track(conn, off, id_)
        assert reads.read_statistics(conn, cache) == reads.read_statistics(conn, off)


def test_off(engine: Engine) -> None:
    cache = Cache(None)
    right(engine, cache)
    assert not cache.enabled
    assert not cache.answers()
    assert cache.counts().hit_rate is None


def test_nobody_listens(engine: Engine) -> None:
    for address in ("redis://127.0.0.1:1/0", "unix:///tmp/no-such-socket", "redis://no-such-host.invalid:6379"):
        cache = Cache(address)
        right(engine, cache)
        assert cache.counts().errors == 1
        assert cache.counts().skipped > 0


@pytest.mark.parametrize("address", ["localhost:6379", "redis://:hush/1@host", "redis://[::1"])
def test_an_address_that_is_none_is_told_once(engine: Engine, address: str, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(address)
    right(engine, cache)
    assert not cache.answers()
    assert (cache.enabled, [record.message for record in caplog.records]) == (
        False, ["There is no cache: REDIS_URL is no address of a server."],
    )  # fmt: skip


def test_without_the_client_there_is_no_cache(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    cache = Cache("redis://127.0.0.1:1/0")
    assert cache.get("x") is None
    assert not cache.put("x", 1, 10)
    assert caplog.text.count("the package redis is missing") == 1


def test_full(cache: Cache, server: EmbeddedValkey, engine: Engine) -> None:
    right(engine, cache)
    with raw(server) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
    assert not cache.put("search:x", [1], 60)
    right(engine, cache)  # what it has it still gives
    assert cache.counts().hits["search"] == 2
    assert cache.counts().skipped == 0
    with engine.connect() as conn:
        assert reads.read_search(conn, cache, "genre:rock") == reads.read_search(conn, Cache(None), "genre:rock")


def test_a_full_disk_or_a_broken_value_is_no_answer(cache: Cache, server: EmbeddedValkey) -> None:
    with raw(server) as client:
        client.set("search:broken", b'{"version": "1", "va')
        client.set("search:other", b"\x80\x04pickle")
        client.lpush("search:list", "1")
    for key in ("search:broken", "search:other", "search:list"):
        assert cache.through(key, "1", 60, lambda: "made") == "made"


def test_hung(cache: Cache, server: EmbeddedValkey, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    right(engine, cache)
    os.kill(pid(server), signal.SIGSTOP)
    try:
        right(engine, cache)
        counts = cache.counts()
        # One call waited, and the others did not.
        assert counts.errors == 1
        assert counts.skipped >= 5
    finally:
        os.kill(pid(server), signal.SIGCONT)
    monkeypatch.setattr(cache, "_resting_until", 0.0)
    assert wait_until(cache.answers)
    hits = sum(cache.counts().hits.values())
    right(engine, cache)
    assert sum(cache.counts().hits.values()) > hits


def test_killed_in_mid_request(cache: Cache, server: EmbeddedValkey, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    right(engine, cache)
    number = pid(server)
    os.kill(number, signal.SIGSTOP)
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 30)
    waiting = Cache(server.url())
    killer = threading.Timer(0.3, os.kill, (number, signal.SIGKILL))
    killer.start()
    right(engine, waiting)  # the first request is on its way when the server dies
    killer.join()
    assert waiting.counts().errors == 1
    server.start()
    monkeypatch.setattr(waiting, "_resting_until", 0.0)
    right(engine, waiting)  # it is used again, empty
    right(engine, waiting)
    assert waiting.counts().hits["search"] >= 2
    waiting.close()


def test_many_threads_share_one(cache: Cache) -> None:
    values = []

    def work(number: int) -> None:
        for turn in range(50):
            values.append(cache.through(f"search:{turn % 5}", "1", 60, lambda turn=turn: turn % 5) == turn % 5)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(values)
    assert len(values) == 200


def test_the_settings_decide(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not open_cache(Settings(home=home, redis_url=SecretStr("none"))).enabled
    assert open_cache(Settings(home=home, redis_url=SecretStr("redis://cache:6379/1"))).enabled
    secret = open_cache(Settings(home=home, redis_url=SecretStr("redis://:hush@127.0.0.1:1/1")))
    assert secret.get("x") is None
    assert "hush" not in caplog.text


def wait_until(what: Any, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.05)
    return False


def test_sums_may_be_some_seconds_old_where_their_reader_allows_it(cache: Cache) -> None:
    made = iter(range(10))

    def read(version: str, tolerance: float) -> int:
        return cache.through("stats:test", version, 60, lambda: next(made), tolerance=tolerance)

    assert read("1", 60.0) == 0
    assert read("2", 60.0) == 0, "young enough"
    assert read("2", 0.0) == 1, "who allows nothing gets what is true now"
    assert read("3", 60.0) == 2, "and it says nothing of when it was made"
    assert read("4", 1e-9) == 3


def test_a_sum_that_took_long_may_be_older(cache: Cache) -> None:
    def read() -> str:
        return cache.through("stats:test", "2", 60, lambda: "new", tolerance=1.0)

    def keep(age: float, took: float) -> None:
        cache.put("stats:test", {"version": "1", "value": "old", "at": time.time() - age, "took": took}, 60)

    keep(age=15.0, took=0.1)
    assert read() == "new"
    keep(age=15.0, took=0.9)
    assert read() == "old", "eighteen seconds"
    keep(age=25.0, took=9.0)
    assert read() == "new", "never older than a third of the time that it is kept"


def test_a_document_is_what_is_read_through_the_cache(cache: Cache, engine: Engine) -> None:
    off = Cache(None)
    with engine.connect() as conn:
        for query in ("the", "sort:-bpm", "nothing at all"):
            made = reads.search_document(conn, cache, query, 5)
            kept = reads.search_document(conn, cache, query, 5)
            assert made == kept == reads.search_document(conn, off, query, 5)
            assert json.loads(made) == reads.read_search(conn, cache, query, 5) == reads.read_search(conn, off, query, 5)
        assert cache.counts().hits == {"search": 6}
        # In the other order: what `through` keeps is handed on.
        value = reads.read_search(conn, cache, "house", 5)
        assert json.loads(reads.search_document(conn, cache, "house", 5)) == value
    assert cache.counts().misses == {"search": 4}
    assert json.loads(cache.document("search:x", "1", 60, lambda: ["\u00fc", 1.5, None])) == ["ü", 1.5, None]
    assert cache.document("search:x", "2", 60, lambda: []) == b"[]", "of another version"
    assert cache.document("search:x", "20", 60, lambda: [1]) == b"[1]"
    cache.through("search:y", "1", 60, lambda: [1], tolerance=9.0)
    assert json.loads(cache.document("search:y", "1", 60, lambda: [2])) in ([1], [2]), "when it was made is no part of it"


def test_nobody_waits_for_a_sum_that_is_a_little_too_old(cache: Cache) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def behind() -> str:
        asked.set()
        assert go_on.wait(30)
        return "new"

    def read() -> str:
        return cache.through("stats:test", "2", 60, lambda: "in person", tolerance=60.0, behind=behind)

    cache.put("stats:test", {"version": "1", "value": "old", "at": time.time() - 100.0}, 60)
    assert read() == "old"
    assert asked.wait(30)
    assert read() == "old", "while another is made"
    go_on.set()
    assert wait_until(lambda: read() == "new")
    cache.put("stats:test", {"version": "1", "value": "old", "at": time.time() - 181.0}, 60)
    assert read() == "in person", "that one is far too old"


def test_a_sum_that_could_not_be_renewed_is_made_by_the_next_who_needs_it(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    def behind() -> str:
        raise OSError

    def read(tolerance: float) -> str:
        return cache.through("stats:test", "2", 60, lambda: "in person", tolerance=tolerance, behind=behind)

    cache.put("stats:test", {"version": "1", "value": "old", "at": time.time() - 100.0}, 60)
    assert read(60.0) == "old"
    assert wait_until(lambda: "could not be renewed (OSError)" in caplog.text)
    assert read(10.0) == "in person"


def test_what_many_ask_for_at_once_is_made_once(cache: Cache) -> None:
    together = threading.Barrier(8)
    made: list[int] = []

    def make() -> int:
        made.append(1)
        time.sleep(0.2)  # long enough for the others to ask
        return len(made)

    def read(number: int) -> int:
        together.wait()
        return cache.through("stats:test", str(number), 60, make, tolerance=60.0)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, range(8)))
    assert found == [1] * 8
