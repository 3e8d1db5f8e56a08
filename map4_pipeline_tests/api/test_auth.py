"""Logging in: who gets in, who is kept out, and what ends a session or a token."""

import base64
import json
import re
import time

import jwt
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from map4_pipeline.api import passwords
from map4_pipeline.api.identity import CSRF_HEADER
from map4_pipeline.store.accounts import find_user, update_user
from map4_pipeline.store.cipher import open_cipher
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.tokens import rotate_keys, signing_keys_now

from .conftest import PASSWORD, LogIn, entered


def test_a_login_sets_a_cookie_that_scripts_cannot_read(client: TestClient, log_in: LogIn) -> None:
    log_in("Anna")
    answer = client.post("/api/auth/login", json={"name": "anna", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert answer.json()["account"]["role"] == "user"
    assert client.get("/api/auth/me").json()["name"] == "Anna"


@pytest.mark.parametrize(("name", "password"), [("anna", "wrong password!"), ("nobody", PASSWORD), ("anna", ""), ("", PASSWORD)])
def test_wrong_credentials_are_all_answered_alike(client: TestClient, log_in: LogIn, name: str, password: str) -> None:
    log_in("anna")
    answer = client.post("/api/auth/login", json={"name": name, "password": password})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "Name or password is wrong."
    assert "set-cookie" not in answer.headers


def test_who_guesses_has_to_wait_and_so_does_the_right_password(client: TestClient, log_in: LogIn, engine: Engine) -> None:
    log_in("anna")
    for _ in range(6):
        answer = client.post("/api/auth/login", json={"name": "anna", "password": "wrong password!"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert client.post("/api/auth/login", json={"name": "ANNA", "password": PASSWORD}).status_code == 429
    with engine.begin() as conn:
        conn.execute(text("UPDATE login_failures SET blocked_until = now()"))
    entered(client, "anna")


def test_failures_are_forgotten_after_a_login(client: TestClient, log_in: LogIn, engine: Engine) -> None:
    log_in("anna")
    client.post("/api/auth/login", json={"name": "anna", "password": "wrong password!"})
    entered(client, "anna")
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM login_failures WHERE subject = 'account:anna'")).scalar_one() == 0


def test_a_change_needs_the_pages_token(log_in: LogIn) -> None:
    anna = log_in()
    token = anna.headers.pop(CSRF_HEADER)
    assert anna.post("/api/auth/logout").json()["type"] == "urn:map4:problem:csrf"
    assert anna.post("/api/auth/logout", headers={CSRF_HEADER: token[:-2]}).status_code == 403
    assert anna.get("/api/auth/me").status_code == 200
    assert anna.post("/api/auth/logout", headers={CSRF_HEADER: token}).status_code == 204
    assert anna.get("/api/auth/me").status_code == 401


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
def test_another_sites_page_changes_nothing(log_in: LogIn, client: TestClient, headers: dict[str, str]) -> None:
    anna = log_in()
    assert anna.post("/api/auth/logout", headers=headers).status_code == 403
    answer = client.post("/api/auth/login", json={"name": "anna", "password": PASSWORD}, headers=headers)
    assert answer.status_code == 403


def test_a_session_ends_when_it_was_idle_or_is_old(log_in: LogIn, engine: Engine) -> None:
    anna = log_in()
    with engine.begin() as conn:
        conn.execute(text("UPDATE sessions SET used_at = now() - interval '13 hours'"))
    assert anna.get("/api/auth/me").status_code == 401
    with engine.begin() as conn:
        conn.execute(text("UPDATE sessions SET used_at = now(), expires_at = now() - interval '1 second'"))
    assert anna.get("/api/auth/me").status_code == 401


def test_the_database_holds_no_secret_that_lets_somebody_in(log_in: LogIn, engine: Engine) -> None:
    anna = log_in()
    secrets = [anna.cookies["map4"]]
    secrets += [anna.post("/api/auth/tokens", json={"name": "script", "scopes": ["read"]}).json()["token"]]
    secrets += list(anna.post("/api/auth/token", json={"name": "anna", "password": PASSWORD}).json().values())[:2]
    with engine.connect() as conn:
        keys = signing_keys_now(conn, open_cipher_of(anna), 900)
        secrets += [base64.b64encode(secret).decode() for secret in keys.secrets.values()]
        tables = conn.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
        for table in tables:
            for row in conn.execute(text(f'SELECT t::text FROM "{table}" t')).scalars():
                assert not [secret for secret in [*secrets, PASSWORD] if secret in row], table


def open_cipher_of(client: TestClient) -> object:
    return client.app.state.context.cipher  # type: ignore[attr-defined]


def test_a_new_password_ends_every_other_session_and_token(log_in: LogIn, client: TestClient) -> None:
    anna = log_in()
    other = entered(client, "anna")
    pair = other.post("/api/auth/token", json={"name": "anna", "password": PASSWORD}).json()
    body = {"current": PASSWORD, "new": "another fine password"}
    assert anna.post("/api/auth/password", json=body).status_code == 204
    assert anna.get("/api/auth/me").status_code == 200
    assert other.get("/api/auth/me").status_code == 401
    headers = {"authorization": f"Bearer {pair['access_token']}"}
    assert TestClient(anna.app).get("/api/auth/me", headers=headers).status_code == 401
    assert client.post("/api/auth/refresh", json={"refresh_token": pair["refresh_token"]}).status_code == 401


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("short", "12 characters"),
        ("aaaaaaaaaaaa", "easy"),
        ("password1234", "easy"),
        ("anna-anna-12", "easy"),
        ("x" * 300, "at most"),
    ],
)
def test_a_password_that_is_easy_to_guess_is_refused(log_in: LogIn, new: str, said: str) -> None:
    answer = log_in().post("/api/auth/password", json={"current": PASSWORD, "new": new})
    assert answer.status_code == 409
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    "password",
    [
        "password12345!", "P@ssw0rd!2026", "Football2019!!", "qwertyuiop[]1", "Anna-Bell-2026", "map4-music-library",
        "abcabcabcabc7", "zyxwvutsrqpo9", "Summer2026Winter", "1qaz2wsx3edc!",
    ],
)  # fmt: skip
def test_a_password_that_a_guesser_comes_to_is_refused(password: str) -> None:
    with pytest.raises(StoreError, match="easy to guess"):
        passwords.verify_choice(password, "Anna Bell")


def test_a_password_that_was_stolen_from_others_is_refused() -> None:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    stolen = [one for one in FREQUENCY_LISTS["passwords"] if len(one) >= passwords.SHORTEST]
    assert len(stolen) > 200
    for password in [*stolen, "123qweasdzxc", "Finalfantasy", "justinbieber1"]:
        with pytest.raises(StoreError, match="easy to guess"):
            passwords.verify_choice(password, "Anna Bell")


@pytest.mark.parametrize(
    "password",
    ["correct horse battery staple", "my own good password", "tr0ub4dor&3-zebra", "k7Jx!mQ2z#pW"],
)
def test_a_password_that_nobody_comes_to_is_taken(password: str) -> None:
    passwords.verify_choice(password, "Anna Bell")


def test_a_password_may_be_long_and_in_any_script(log_in: LogIn, client: TestClient) -> None:
    anna = log_in()
    new = "правильная лошадь батарея скоба " * 4
    assert anna.post("/api/auth/password", json={"current": PASSWORD, "new": new}).status_code == 204
    entered(client, "anna", new)
    client.cookies.clear()
    # bcrypt alone would take the first 72 bytes for the whole.
    assert client.post("/api/auth/login", json={"name": "anna", "password": new[:80]}).status_code == 401


def test_access_tokens_are_refreshed_and_each_refresh_token_is_good_once(client: TestClient, log_in: LogIn) -> None:
    log_in()
    first = client.post("/api/auth/token", json={"name": "anna", "password": PASSWORD}).json()
    assert first["expires_in"] == 900
    headers = {"authorization": f"Bearer {first['access_token']}"}
    assert client.get("/api/auth/me", headers=headers).json()["name"] == "anna"
    second = client.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]}).json()
    assert second["refresh_token"] != first["refresh_token"]
    # The first comes back: somebody has copied it, so all that came from it ends.
    assert client.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]}).status_code == 401
    assert client.post("/api/auth/refresh", json={"refresh_token": second["refresh_token"]}).status_code == 401


def test_a_revoked_refresh_token_is_not_good(client: TestClient, log_in: LogIn) -> None:
    log_in()
    pair = client.post("/api/auth/token", json={"name": "anna", "password": PASSWORD}).json()
    assert client.post("/api/auth/revoke", json={"refresh_token": pair["refresh_token"]}).status_code == 204
    assert client.post("/api/auth/refresh", json={"refresh_token": pair["refresh_token"]}).status_code == 401


def forged(token: str, app: FastAPI, kind: str) -> str:
    keys = app.state.context.signing_keys()
    secret = keys.secrets[keys.current]
    claims = jwt.decode(token, secret, ["HS256"], audience="map4")
    headers = {"kid": keys.current}
    if kind == "none":
        parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT", "kid": keys.current}, claims)]
        return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."
    if kind == "other algorithm":
        return jwt.encode(claims, secret, "HS512", headers=headers)
    if kind == "other key":
        return jwt.encode(claims, b"x" * 32, "HS256", headers=headers)
    if kind == "unknown key":
        return jwt.encode(claims, secret, "HS256", headers={"kid": "../../etc/passwd"})
    if kind == "run out":
        return jwt.encode(claims | {"exp": int(time.time()) - 1}, secret, "HS256", headers=headers)
    if kind == "for ever":
        return jwt.encode({name: value for name, value in claims.items() if name != "exp"}, secret, "HS256", headers=headers)
    if kind == "for another":
        return jwt.encode(claims | {"aud": "other"}, secret, "HS256", headers=headers)
    return token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")


KINDS = ["none", "other algorithm", "other key", "unknown key", "run out", "for ever", "for another", "changed"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_forged_access_token_is_refused(client: TestClient, app: FastAPI, log_in: LogIn, kind: str) -> None:
    log_in()
    token = client.post("/api/auth/token", json={"name": "anna", "password": PASSWORD}).json()["access_token"]
    answer = client.get("/api/auth/me", headers={"authorization": f"Bearer {forged(token, app, kind)}"})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_keys_are_rotated_and_earlier_tokens_live_on_until_they_run_out(
    client: TestClient, app: FastAPI, log_in: LogIn, engine: Engine
) -> None:
    log_in()
    context = app.state.context
    before = {
        "authorization": "Bearer "
        + client.post("/api/auth/token", json={"name": "anna", "password": PASSWORD}).json()["access_token"]
    }
    with engine.begin() as conn:
        kid = rotate_keys(conn, context.cipher)
    context.forget_keys()
    after = client.post("/api/auth/token", json={"name": "anna", "password": PASSWORD}).json()["access_token"]
    assert jwt.get_unverified_header(after)["kid"] == kid
    assert client.get("/api/auth/me", headers=before).status_code == 200
    with engine.begin() as conn:
        rotate_keys(conn, context.cipher, forget=True)
    context.forget_keys()
    assert client.get("/api/auth/me", headers=before).status_code == 401


def test_a_named_token_does_what_its_scopes_say_and_can_be_revoked(client: TestClient, log_in: LogIn) -> None:
    anna = log_in(role="admin")
    made = anna.post("/api/auth/tokens", json={"name": "script", "scopes": ["admin"], "days": None}).json()
    assert re.fullmatch(r"map4_[\w-]{43}", made["token"])
    headers = {"authorization": f"Bearer {made['token']}"}
    assert client.get("/api/users", headers=headers).status_code == 200
    # A token never looks after accounts: whoever finds one could lock its owner out.
    assert client.get("/api/auth/tokens", headers=headers).status_code == 403
    assert [token["name"] for token in anna.get("/api/auth/tokens").json()["tokens"]] == ["script"]
    assert anna.post("/api/auth/tokens", json={"name": "script", "scopes": ["read"]}).status_code == 409
    assert anna.delete(f"/api/auth/tokens/{made['id']}").status_code == 204
    assert client.get("/api/users", headers=headers).status_code == 401
    assert anna.delete(f"/api/auth/tokens/{made['id']}").status_code == 404


def test_a_token_gives_no_more_than_its_users_role(log_in: LogIn) -> None:
    answer = log_in(role="viewer").post("/api/auth/tokens", json={"name": "x", "scopes": ["metrics"]})
    assert answer.status_code == 403


def test_a_token_runs_out(client: TestClient, log_in: LogIn, engine: Engine) -> None:
    made = log_in().post("/api/auth/tokens", json={"name": "x", "scopes": ["read"], "days": 1}).json()
    with engine.begin() as conn:
        conn.execute(text("UPDATE api_tokens SET expires_at = now()"))
    assert client.get("/api/auth/me", headers={"authorization": f"Bearer {made['token']}"}).status_code == 401


def test_sessions_are_listed_and_ended_one_by_one_or_all(log_in: LogIn, client: TestClient) -> None:
    anna = log_in()
    other = entered(client, "anna")
    found = anna.get("/api/auth/sessions").json()["sessions"]
    assert sorted(one["current"] for one in found) == [False, True]
    theirs = next(one["id"] for one in found if not one["current"])
    assert anna.delete(f"/api/auth/sessions/{theirs}").status_code == 204
    assert other.get("/api/auth/me").status_code == 401
    assert anna.delete("/api/auth/sessions").status_code == 204
    assert anna.get("/api/auth/me").status_code == 401


def test_a_user_cannot_end_anothers_session(log_in: LogIn) -> None:
    anna, ben = log_in("anna"), log_in("ben")
    theirs = ben.get("/api/auth/sessions").json()["sessions"][0]["id"]
    assert anna.delete(f"/api/auth/sessions/{theirs}").status_code == 404
    assert ben.get("/api/auth/me").status_code == 200


def test_a_user_who_is_put_out_of_use_is_out_at_once(log_in: LogIn, client: TestClient, engine: Engine) -> None:
    anna = log_in()
    log_in("root", "admin")
    token = anna.post("/api/auth/tokens", json={"name": "x", "scopes": ["read"]}).json()["token"]
    with engine.begin() as conn:
        found = find_user(conn, "anna")
        assert found is not None
        update_user(conn, found[0].id, active=False)
    assert anna.get("/api/auth/me").status_code == 401
    assert client.get("/api/auth/me", headers={"authorization": f"Bearer {token}"}).status_code == 401
    assert client.post("/api/auth/login", json={"name": "anna", "password": PASSWORD}).status_code == 401


def test_without_a_login_the_answer_says_how(client: TestClient) -> None:
    answer = client.get("/api/users")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json() == {
        "type": "urn:map4:problem:not-logged-in",
        "title": "Unauthorized",
        "status": 401,
        "detail": "Log in, or send a token: Authorization: Bearer ...",
        "instance": f"urn:map4:request:{answer.headers['x-request-id']}",
    }


def test_a_key_of_another_installation_is_told(app: FastAPI, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from map4_pipeline.settings import load_settings
    from map4_pipeline.store.errors import InfrastructureError

    context = app.state.context
    context.signing_keys()
    monkeypatch.setenv("MAP4_SECRET_KEY", "y" * 40)
    with engine.begin() as conn, pytest.raises(InfrastructureError, match="MAP4_SECRET_KEY"):
        signing_keys_now(conn, open_cipher(load_settings()), 900)
    monkeypatch.setenv("MAP4_SECRET_KEY", "short")
    with pytest.raises(InfrastructureError, match="32 characters"):
        open_cipher(load_settings())


def test_the_key_file_is_its_owners_alone(app: FastAPI) -> None:
    path = app.state.context.settings.home / "secret.key"
    assert path.stat().st_mode & 0o777 == 0o600
