"""Logging in with OpenID Connect and GitHub, against an issuer on a socket: who gets in, and as whom."""

import base64
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from joserfc.jwk import OctKey, RSAKey
from sqlalchemy import Engine, text

from map4_pipeline.api.app import create_app
from map4_pipeline.api.federation import GITHUB, GOOGLE, Federation, providers_of
from map4_pipeline.settings import Settings, load_settings
from map4_pipeline.store.errors import InfrastructureError

from .conftest import PASSWORD, LogIn
from .issuer import CLIENT_ID, CLIENT_SECRET, Issuer, issuer

pytestmark = pytest.mark.xdist_group("federation")
BASE = "http://testserver"


@pytest.fixture(scope="module")
def running() -> Iterator[Issuer]:
    with issuer() as made:
        yield made


@pytest.fixture
def other(running: Issuer) -> Issuer:
    """The issuer, honest again."""
    fresh = Issuer()
    running.who, running.lie, running.about = fresh.who, None, {}
    running.redirects = running.refuses = False
    running.asked.clear()
    return running


@pytest.fixture
def settings(settings: Settings, other: Issuer, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in {
        "MAP4_PUBLIC_URL": BASE, "MAP4_OIDC_ISSUER": other.address, "MAP4_OIDC_CLIENT_ID": CLIENT_ID,
        "MAP4_OIDC_CLIENT_SECRET": CLIENT_SECRET, "MAP4_GITHUB_URL": other.address, "MAP4_GITHUB_CLIENT_ID": CLIENT_ID,
        "MAP4_GITHUB_CLIENT_SECRET": CLIENT_SECRET,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return load_settings()


def browser(app: FastAPI) -> TestClient:
    return TestClient(app, client=("127.0.0.1", 50_000), follow_redirects=False)


def back_from(client: TestClient, provider: str = "oidc", onward: str = "/") -> str:
    """Go to the other site and log in there; return the address that it sends the browser back to."""
    left = client.get(f"/login/{provider}", params={"next": onward})
    assert left.status_code == 303, left.text
    return consent(left.headers["location"])


def consent(address: str) -> str:
    found = httpx.get(address).headers["location"]
    assert found.startswith(BASE)
    return found.removeprefix(BASE)


def said(answer: Any) -> str:
    """Return what a refused login is told."""
    assert answer.status_code in (400, 403, 409, 502), answer.status_code
    assert "map4=" not in answer.headers.get("set-cookie", "").replace("map4-login=", "")
    return answer.text.partition('role="alert">')[2].partition("<")[0]


def connect(client: TestClient, provider: str = "oidc", password: str = PASSWORD) -> Any:
    left = client.post(f"/api/auth/identities/{provider}", json={"password": password})
    return left if left.status_code != 200 else client.get(consent(left.json()["address"]), follow_redirects=False)


def test_who_has_connected_a_login_gets_in_with_it(app: FastAPI, log_in: LogIn, other: Issuer, engine: Engine) -> None:
    anna = log_in()
    assert connect(anna).headers["location"] == "/account"
    assert "Disconnect</button>" in anna.get("/account").text
    client = browser(app)
    assert ">single sign-on</a>" in client.get("/login").text
    answer = client.get(back_from(client, onward="/statistics"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/statistics")
    assert client.get("/api/auth/me").json()["name"] == "anna"
    assert "map4-login" not in client.cookies
    with engine.connect() as conn:
        actions = conn.execute(text("SELECT action || ' ' || coalesce(detail->>'with', '') FROM audit_log")).scalars().all()
    assert "login oidc" in actions


def test_an_identity_without_an_account_is_refused_and_a_mail_address_makes_it_nobodys(
    app: FastAPI, log_in: LogIn, other: Issuer, engine: Engine
) -> None:
    root = log_in("root", "admin")
    assert root.post("/api/users", json={"name": "victim", "email": "anna@example.org"}).status_code == 201
    other.who |= {"preferred_username": "victim", "email": "anna@example.org"}
    client = browser(app)
    assert "No account here belongs to this login" in said(client.get(back_from(client)))
    assert client.get("/api/auth/me").status_code == 401


LIES = {
    "wrong audience": lambda made: made["claims"].update(aud="somebody else"),
    "one audience of several": lambda made: made["claims"].update(aud=[CLIENT_ID, "other"]),
    "made for another party": lambda made: made["claims"].update(aud=[CLIENT_ID, "other"], azp="other"),
    "wrong issuer": lambda made: made["claims"].update(iss="https://accounts.google.com"),
    "run out": lambda made: made["claims"].update(exp=int(time.time()) - 120),
    "never runs out": lambda made: made["claims"].pop("exp"),
    "from the future": lambda made: made["claims"].update(iat=int(time.time()) + 600),
    "another nonce": lambda made: made["claims"].update(nonce="x"),
    "no nonce": lambda made: made["claims"].pop("nonce") and None,
    "no subject": lambda made: made["claims"].pop("sub") and None,
    "an empty subject": lambda made: made["claims"].update(sub=""),
    "a subject that is no text": lambda made: made["claims"].update(sub=1001),
    "another access token": lambda made: made["claims"].update(at_hash="x" * 22),
    "another key of that name": lambda made: made.update(key=RSAKey.generate_key(2048, {"kid": "first"})),
    "a key that nobody knows": lambda made: made.update(header={"alg": "RS256", "kid": "unknown"}),
    "the secret as key": lambda made: made.update(header={"alg": "HS256"}, key=OctKey.import_key(CLIENT_SECRET)),
    "the public key as secret": lambda made: _confused(made),
    "unsigned": lambda made: _unsigned(made["claims"]),
    "no token": lambda made: "x",
}


def _confused(made: dict[str, Any]) -> str:
    said = ".".join(_part(part) for part in ({"alg": "HS256", "kid": "first"}, made["claims"]))
    digest = hmac.digest(made["key"].as_pem(private=False), said.encode(), "sha256")
    return f"{said}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _part(part: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def _unsigned(claims: dict[str, Any]) -> str:
    return f"{_part({'alg': 'none', 'kid': 'first'})}.{_part(claims)}."


def test_an_id_token_that_is_not_what_it_has_to_be_lets_nobody_in(app: FastAPI, log_in: LogIn, other: Issuer) -> None:
    connect(log_in())
    client = browser(app)
    for name, lie in LIES.items():
        other.lie = lie
        told = said(client.get(back_from(client)))
        assert "not believed" in told or "did not say" in told, name
        assert client.get("/api/auth/me").status_code == 401, name
    other.lie = None
    assert client.get(back_from(client)).status_code == 303


def test_an_answer_is_taken_once_and_only_in_the_browser_that_asked(
    app: FastAPI, log_in: LogIn, other: Issuer, engine: Engine
) -> None:
    connect(log_in())
    client, thief = browser(app), browser(app)
    where = back_from(client)
    assert "not begun here" in said(thief.get(where))
    assert "not begun here" in said(client.get(where.replace("state=", "state=x")))
    where = back_from(client)
    kept = dict(client.cookies)
    assert client.get(where).status_code == 303
    again = browser(app)
    again.cookies.update({"map4-login": kept["map4-login"]})
    assert "not begun here" in said(again.get(where))
    late = back_from(again)
    with engine.begin() as conn:
        conn.execute(text("UPDATE login_flows SET expires_at = now()"))
    assert "took too long" in said(again.get(late))
    # A code that was caught on the way is no use without the verifier, which never leaves the server.
    mine, theirs = back_from(again), back_from(again)
    code = httpx.URL(mine).params["code"]
    stolen = str(httpx.URL(theirs).copy_set_param("code", code))
    assert "not believed" in said(again.get(stolen))


def test_an_answer_in_anothers_name_is_refused(app: FastAPI, log_in: LogIn, other: Issuer) -> None:
    client = browser(app)
    assert "no answer of" in said(client.get(str(httpx.URL(back_from(client)).copy_set_param("iss", "https://evil.example"))))
    other.about = {"authorization_response_iss_parameter_supported": True}
    app.state.context.federation._known.clear()
    assert "no answer of" in said(client.get(str(httpx.URL(back_from(client)).copy_remove_param("iss"))))
    assert "not begun here" in said(client.get(back_from(client).replace("/oidc/", "/github/")))
    other.refuses = True
    assert "did not log you in" in said(client.get(back_from(client)))


@pytest.mark.parametrize(
    "about",
    [
        {"issuer": "https://accounts.google.com"},
        {"authorization_endpoint": "http://192.0.2.1/authorize"},
        {"authorization_endpoint": "file:///etc/passwd"},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "http://127.0.0.1@192.0.2.1/"},
    ],
)
def test_what_an_issuer_says_of_itself_is_not_believed_blindly(settings: Settings, other: Issuer, about: dict[str, Any]) -> None:
    from map4_pipeline.api.federation import FederationError

    other.about = about
    made = Federation(settings)
    with pytest.raises(FederationError):
        made.address(made.providers["oidc"], state="s", nonce="n", verifier="v" * 43)


def test_redirections_of_the_issuer_are_not_followed(app: FastAPI, log_in: LogIn, other: Issuer) -> None:
    connect(log_in())
    client = browser(app)
    where = back_from(client)
    other.redirects = True
    said(client.get(where))
    app.state.context.federation._known.clear()
    assert client.get("/login/oidc").status_code == 502
    assert "/elsewhere" not in other.asked


def test_an_issuer_that_changes_its_key_is_believed(app: FastAPI, log_in: LogIn, other: Issuer) -> None:
    connect(log_in())
    first, other.key = other.key, RSAKey.generate_key(2048, {"kid": "second", "use": "sig"})
    try:
        client = browser(app)
        assert client.get(back_from(client)).status_code == 303
    finally:
        other.key = first


def test_an_issuer_that_is_away_is_told(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, settings: Settings, engine: Engine
) -> None:
    monkeypatch.setenv("MAP4_OIDC_ISSUER", "http://127.0.0.1:1")
    client = browser(create_app(load_settings(), engine))
    answer = client.get("/login/oidc")
    assert answer.status_code == 502
    assert "does not answer just now" in answer.text


def test_connecting_needs_the_password_and_the_same_login_on_the_way_back(app: FastAPI, log_in: LogIn, other: Issuer) -> None:
    anna, ben = log_in("anna"), log_in("ben")
    assert connect(anna, password="wrong password!").status_code == 403
    token = anna.post("/api/auth/token", json={"name": "anna", "password": PASSWORD}).json()["access_token"]
    bearer = {"authorization": f"Bearer {token}"}
    program = TestClient(app).post("/api/auth/identities/oidc", json={"password": PASSWORD}, headers=bearer)
    assert program.status_code == 403
    # Somebody else's session in the browser that comes back: nothing is connected.
    left = anna.post("/api/auth/identities/oidc", json={"password": PASSWORD}).json()["address"]
    anna.cookies.set("map4", ben.cookies["map4"], domain="testserver.local")
    assert "Nothing was connected" in said(anna.get(consent(left), follow_redirects=False))
    assert ben.get("/api/auth/identities").json() == []


def test_an_identity_belongs_to_one_account(app: FastAPI, log_in: LogIn, other: Issuer) -> None:
    anna, ben = log_in("anna"), log_in("ben")
    assert connect(anna).status_code == 303
    assert "another account" in said(connect(ben))
    # The same subject of another issuer is somebody else.
    assert connect(ben, "github").status_code == 303
    (mine,) = anna.get("/api/auth/identities").json()
    assert anna.delete(f"/api/auth/identities/{ben.get('/api/auth/identities').json()[0]['id']}").status_code == 404
    assert anna.delete(f"/api/auth/identities/{mine['id']}").status_code == 204
    assert connect(ben).status_code == 303


def test_an_account_out_of_use_stays_so(app: FastAPI, log_in: LogIn, other: Issuer, engine: Engine) -> None:
    connect(log_in())
    with engine.begin() as conn:
        conn.execute(text("UPDATE users SET active = false"))
    client = browser(app)
    assert "No account here" in said(client.get(back_from(client)))


def test_newcomers_get_an_account_without_a_library_where_the_settings_say_so(
    settings: Settings, engine: Engine, other: Issuer, log_in: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in("Anna", "admin")
    monkeypatch.setenv("MAP4_LOGIN_NEW_USERS", "user")
    monkeypatch.setenv("MAP4_LOGIN_DOMAINS", "example.org, example.net")
    app = create_app(load_settings(), engine)
    client = browser(app)
    for wrong in (
        {"email": "x@example.org.evil.example"},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email": None},
    ):
        other.who = Issuer().who | wrong
        said(client.get(back_from(client)))
    said(client.get(back_from(client, "github")))  # it says nothing of mail addresses
    other.who = Issuer().who | {"email": "x@EXAMPLE.org"}
    assert client.get(back_from(client)).status_code == 303
    me = client.get("/api/auth/me").json()
    assert (me["name"], me["role"], me["libraries"]) == ("anna-2", "user", [])  # another's name is never taken over
    csrf = client.get("/account").text.partition('name="csrf" content="')[2].partition('"')[0]
    (mine,) = client.get("/api/auth/identities").json()
    answer = client.delete(f"/api/auth/identities/{mine['id']}", headers={"x-csrf-token": csrf})
    assert "only way" in answer.json()["detail"]
    # Without a password a fresh login stands for it.
    assert client.post("/api/auth/identities/github", json={}, headers={"x-csrf-token": csrf}).status_code == 200
    with engine.begin() as conn:
        conn.execute(text("UPDATE sessions SET created_at = now() - interval '1 hour'"))
    assert client.post("/api/auth/identities/github", json={}, headers={"x-csrf-token": csrf}).status_code == 403


def test_github_says_who_somebody_is_by_number(app: FastAPI, log_in: LogIn, other: Issuer, engine: Engine) -> None:
    assert connect(log_in(), "github").status_code == 303
    with engine.connect() as conn:
        assert conn.execute(text("SELECT issuer, subject, label FROM user_identities")).one() == (other.address, "77", "anna")
    client = browser(app)
    assert client.get(back_from(client, "github")).status_code == 303


def test_another_sites_page_cannot_begin_a_login_and_the_way_on_stays_here(app: FastAPI, log_in: LogIn) -> None:
    connect(log_in())
    client = browser(app)
    answer = client.get("/login/oidc", headers={"sec-fetch-site": "cross-site"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    for onward in ("https://evil.example/", "//evil.example", "/\\evil.example"):
        assert client.get(back_from(client, onward=onward)).headers["location"] == "/"
        client.cookies.delete("map4")
    assert client.get("/login/nobody").status_code == 404


def test_providers_are_switched_on_by_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAP4_GOOGLE_CLIENT_ID", "x")
    with pytest.raises(InfrastructureError, match="MAP4_GOOGLE_CLIENT_SECRET"):
        providers_of(load_settings())
    monkeypatch.setenv("MAP4_GOOGLE_CLIENT_SECRET", "y")
    monkeypatch.delenv("MAP4_GITHUB_URL")
    found = providers_of(load_settings())
    assert [found["google"].issuer, found["github"].issuer] == [GOOGLE, GITHUB]
    assert CLIENT_SECRET not in repr(found)
    monkeypatch.setenv("MAP4_OIDC_ISSUER", "http://id.example.org")
    with pytest.raises(InfrastructureError, match="https"):
        providers_of(load_settings())
    monkeypatch.setenv("MAP4_OIDC_ISSUER", "https://id.example.org")
    monkeypatch.delenv("MAP4_PUBLIC_URL")
    with pytest.raises(InfrastructureError, match="MAP4_PUBLIC_URL"):
        providers_of(load_settings())


def test_passwords_can_be_switched_off_where_a_login_elsewhere_asks_for_more(
    app: FastAPI, settings: Settings, engine: Engine, log_in: LogIn, other: Issuer
) -> None:
    connect(log_in())
    strict = create_app(settings.model_copy(update={"password_login": False}), engine)
    client = browser(strict)
    credentials = {"name": "anna", "password": PASSWORD}
    for address in ("/api/auth/login", "/api/auth/token"):
        answer = client.post(address, json=credentials)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:map4:problem:no-passwords")
    shown = client.get("/login").text
    assert 'name="password"' not in shown
    assert "/login/oidc" in shown
    refused = client.post("/login", data=credentials)
    assert refused.status_code == 403
    assert "Nobody logs in with a password here" in refused.text
    assert client.get("/api/auth/me").status_code == 401
    assert client.get(back_from(client)).status_code == 303
    assert client.get("/api/auth/me").json()["name"] == "anna"
    nobody = {
        "oidc_issuer": "",
        "oidc_client_id": "",
        "oidc_client_secret": None,
        "github_client_id": "",
        "github_client_secret": None,
    }
    alone = settings.model_copy(update={"password_login": False, **nobody})
    with pytest.raises(InfrastructureError, match="nobody could log in"):
        create_app(alone, engine)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_server_that_nobody_could_log_in_to_says_so_before_it_makes_anything(tmp_path: Path, processes: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAP4_", "DATABASE_", "REDIS_"))}
    environment = kept | {"MAP4_HOME": str(tmp_path / "home"), "MAP4_PASSWORD_LOGIN": "false"}
    command = [sys.executable, "-m", "map4_pipeline.cli.main", "serve", "--port", "0", "--processes", processes]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3
    assert ended.stderr.splitlines() == [
        "map4: MAP4_PASSWORD_LOGIN is off, and no login elsewhere is set up: nobody could log in. Set one of both."
    ]
    assert not (tmp_path / "home").exists()
