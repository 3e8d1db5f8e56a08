"""What somebody tries who wants in, or wants more: each of these was possible once, or would be with one line less."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from map4_pipeline.api import limits, passwords
from map4_pipeline.api.app import create_app
from map4_pipeline.api.identity import CSRF_HEADER
from map4_pipeline.settings import Settings
from map4_pipeline.store import throttle
from map4_pipeline.store.accounts import find_user
from map4_pipeline.store.tokens import rotate_keys, signing_keys_now
from map4_pipeline.store.valkey_server import EmbeddedValkey

from .conftest import PASSWORD, LogIn, entered


@pytest.mark.parametrize("origin", ["null", "http://[", "http://testserver.evil.example", "https://testserver@evil.example", ""])
def test_a_page_without_an_origin_of_ours_changes_nothing(log_in: LogIn, origin: str) -> None:
    anna = log_in()
    assert anna.post("/api/auth/logout", headers={"origin": origin}).status_code == 403
    assert anna.post("/api/auth/logout", headers={"origin": "http://testserver"}).status_code == 204


@pytest.mark.parametrize("token", ["é".encode("latin-1"), b"\xff" * 40, b""])
def test_a_pages_token_of_any_bytes_is_only_wrong(log_in: LogIn, token: bytes) -> None:
    assert log_in().post("/api/auth/logout", headers={CSRF_HEADER: token}).status_code == 403


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "a\ud83d"])
def test_text_that_the_database_could_not_hold_is_refused(client: TestClient, name: str) -> None:
    body = b'{"name": "%s", "password": "x"}' % name.encode("unicode_escape").replace(b"\\x", b"\\u00")
    answer = client.post("/api/auth/login", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    form = {"name": name.encode("utf-8", "surrogatepass"), "password": "x"}
    assert client.post("/login", data=form).status_code == 401


@pytest.mark.parametrize("path", ["users/{}", "auth/sessions/{}", "auth/tokens/{}"])
def test_a_number_that_no_row_has_is_no_defect(log_in: LogIn, path: str) -> None:
    root = log_in("root", "admin")
    method = "GET" if path.startswith("users") else "DELETE"
    for number in (2**31, 2**63, 10**30):
        assert root.request(method, f"/api/{path.format(number)}").status_code in (200, 404, 422), number


def test_guesses_at_the_same_moment_are_counted_one_by_one(engine: Engine) -> None:
    waits: list[float] = []

    def guess() -> None:
        with engine.begin() as conn:
            waits.append(throttle.begin(conn, "anna", "192.0.2.1"))

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(wait == 0 for wait in waits) == throttle.FREE_FAILURES["account"]


def test_the_password_so_far_cannot_be_guessed_from_a_session_either(log_in: LogIn) -> None:
    anna = log_in()
    for _ in range(6):
        answer = anna.post("/api/auth/password", json={"current": "wrong password!", "new": "another fine password"})
    assert answer.status_code == 429
    assert anna.post("/api/auth/password", json={"current": PASSWORD, "new": "another fine password"}).status_code == 429


def test_a_password_typed_as_a_name_is_not_written_down(client: TestClient, log_in: LogIn, engine: Engine) -> None:
    log_in()
    client.post("/api/auth/login", json={"name": PASSWORD, "password": "anna"})
    with engine.connect() as conn:
        rows = conn.execute(text("SELECT a::text FROM audit_log a")).scalars().all()
    assert any("login failed" in row for row in rows)
    assert not any(PASSWORD in row for row in rows)


def test_a_new_password_ends_named_tokens_unless_they_are_to_be_kept(log_in: LogIn, client: TestClient) -> None:
    anna = log_in()
    token = anna.post("/api/auth/tokens", json={"name": "x", "scopes": ["read"]}).json()["token"]
    headers = {"authorization": f"Bearer {token}"}
    body = {"current": PASSWORD, "new": "another fine password", "keep_tokens": True}
    answer = anna.post("/api/auth/password", json=body)
    assert answer.status_code == 204
    assert client.get("/api/stats/genres", headers=headers).status_code == 200
    other = entered(client, "anna", "another fine password")
    assert other.post("/api/auth/password", json={"current": "another fine password", "new": PASSWORD}).status_code == 204
    assert TestClient(client.app).get("/api/stats/genres", headers=headers).status_code == 401


def test_a_one_time_password_runs_out(log_in: LogIn, client: TestClient, engine: Engine) -> None:
    made = log_in("root", "admin").post("/api/users", json={"name": "new"}).json()
    body = {"name": "new", "password": made["one_time_password"]}
    assert client.post("/api/auth/login", json=body).status_code == 200
    client.cookies.clear()
    with engine.begin() as conn:
        conn.execute(text("UPDATE users SET password_expires_at = now() WHERE name = 'new'"))
    assert client.post("/api/auth/login", json=body).status_code == 401


def test_a_login_ends_the_session_that_the_browser_had(log_in: LogIn, client: TestClient, engine: Engine) -> None:
    log_in()
    entered(client, "anna")
    old = client.cookies["map4"]
    entered(client, "anna")
    assert client.cookies["map4"] != old
    assert TestClient(client.app, cookies={"map4": old}).get("/api/auth/me").status_code == 401


def test_a_login_of_a_program_ends_however_often_it_is_refreshed(client: TestClient, log_in: LogIn, engine: Engine) -> None:
    log_in()
    pair = client.post("/api/auth/token", json={"name": "anna", "password": PASSWORD}).json()
    with engine.connect() as conn:
        first = conn.execute(text("SELECT expires_at FROM refresh_tokens")).scalar_one()
    again = client.post("/api/auth/refresh", json={"refresh_token": pair["refresh_token"]}).json()
    client.post("/api/auth/refresh", json={"refresh_token": again["refresh_token"]})
    with engine.connect() as conn:
        assert set(conn.execute(text("SELECT expires_at FROM refresh_tokens")).scalars()) == {first}
    client.post("/api/auth/refresh", json={"refresh_token": pair["refresh_token"]})
    with engine.connect() as conn:
        used = conn.execute(text("SELECT user_name FROM audit_log WHERE action = 'refresh token used twice'")).scalars().all()
    assert used == ["anna"]


def test_another_processs_new_key_is_known_at_once(
    client: TestClient, app: FastAPI, log_in: LogIn, engine: Engine, settings: Settings
) -> None:
    log_in()
    context = app.state.context
    context.signing_keys()
    with engine.begin() as conn:
        rotate_keys(conn, context.cipher)
    other = create_app(settings, engine)
    token = TestClient(other).post("/api/auth/token", json={"name": "anna", "password": PASSWORD}).json()["access_token"]
    context._keys_at -= 2  # the second that has to lie between two looks for unknown keys
    assert client.get("/api/auth/me", headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_the_signing_key_is_changed_when_it_is_old(app: FastAPI, engine: Engine) -> None:
    context = app.state.context
    before = context.signing_keys()
    with engine.begin() as conn:
        conn.execute(text("UPDATE signing_keys SET created_at = now() - interval '91 days'"))
        after = signing_keys_now(conn, context.cipher, 900, 90)
    assert after.current != before.current
    assert before.current in after.secrets  # tokens that it signed live on


def test_tokens_that_are_no_good_are_counted_too(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("map4_pipeline.api.app.ANONYMOUS_PER_MINUTE", 5)
    statuses = [client.get("/api/auth/me", headers={"authorization": f"Bearer map4_{n}"}).status_code for n in range(8)]
    assert 401 in statuses
    assert statuses[-1] == 429


@pytest.mark.parametrize(
    ("address", "counted"),
    [("192.0.2.7", "192.0.2.7"), ("2001:db8::1:2:3", "2001:db8::/64"), ("::ffff:192.0.2.7", "192.0.2.7"), ("::1", "::/64"),
     ("unknown", "unknown")],
)  # fmt: skip
def test_a_subscriber_is_counted_as_one_whatever_address_he_takes(address: str, counted: str) -> None:
    assert limits.network_of(address) == counted


@pytest.fixture
def valkey(home: Path) -> Iterator[EmbeddedValkey]:
    if not EmbeddedValkey.is_available():
        pytest.skip("not applicable: the extra `cache` is not installed")
    server = EmbeddedValkey(home)
    server.start()
    yield server
    server.stop(force=True)


def test_limits_are_kept_by_all_processes_together_and_by_each_when_redis_is_away(valkey: EmbeddedValkey) -> None:
    one, two = limits.RateLimiter(valkey.url()), limits.RateLimiter(valkey.url())
    taken = [limiter.take("user:1", 4) for limiter in (one, two, one, two, one, two)]
    assert [wait == 0 for wait in taken] == [True] * 4 + [False] * 2
    assert all(1 <= wait <= 60 for wait in taken[4:])
    valkey.stop(force=True)
    assert [one.take("user:1", 4) == 0 for _ in range(6)] == [True] * 4 + [False] * 2


def test_an_export_of_a_library_that_one_no_longer_sees_is_not_given(
    log_in: LogIn, library_id: int, engine: Engine, app: FastAPI
) -> None:
    anna = log_in(libraries=[library_id])
    job = anna.post("/api/export/csv").json()
    with engine.begin() as conn:
        conn.execute(text("DELETE FROM user_libraries"))
        conn.execute(text("UPDATE jobs SET status = 'completed'"))
    answer = anna.get(f"/api/export/{job['id']}/file")
    assert answer.status_code == 403
    assert "no longer see" in answer.json()["detail"]


def test_nothing_can_be_uploaded(app: FastAPI, client: TestClient) -> None:
    routes = [route for route in iter_route_contexts(app.routes) if isinstance(route.original_route, APIRoute)]
    assert len(routes) > 40
    for route in routes:
        names = [str(field.field_info.annotation) for field in route.dependant.body_params]
        assert not [name for name in names if "UploadFile" in name or name == "<class 'bytes'>"], route.path
    answer = client.post("/login", files={"password": ("x.mp3", b"ID3", "audio/mpeg")})
    assert answer.status_code in (401, 404, 422)


def test_what_is_about_accounts_stays_in_no_cache_and_logging_out_clears_what_is_there(log_in: LogIn) -> None:
    anna = log_in()
    for path in ("/api/auth/me", "/account", "/login"):
        assert anna.get(path, follow_redirects=False).headers["cache-control"] == "no-store"
    assert '"cache"' in anna.post("/api/auth/logout").headers["clear-site-data"]


def test_a_refused_request_is_in_the_log(log_in: LogIn, caplog: pytest.LogCaptureFixture) -> None:
    log_in("vera", "viewer").get("/api/users")
    assert any("refused" in record.getMessage() and "/api/users" in record.getMessage() for record in caplog.records)


def test_behind_https_the_cookie_is_bound_to_it(settings: Settings, engine: Engine, log_in: LogIn) -> None:
    log_in()
    secure = TestClient(create_app(settings, engine, tls=True), base_url="https://testserver")
    answer = secure.post("/api/auth/login", json={"name": "anna", "password": PASSWORD})
    assert answer.headers["set-cookie"].startswith("__Host-map4=")
    assert "Secure" in answer.headers["set-cookie"]
    assert "includeSubDomains" in answer.headers["strict-transport-security"]


def test_somebody_without_a_password_gets_in_with_none(client: TestClient, log_in: LogIn, engine: Engine) -> None:
    log_in()
    with engine.begin() as conn:
        conn.execute(text("UPDATE users SET password_hash = NULL"))
        assert find_user(conn, "anna") is not None
    for password in ("", "None", PASSWORD):
        assert client.post("/api/auth/login", json={"name": "anna", "password": password}).status_code == 401
    assert passwords.is_password("", None) is False
