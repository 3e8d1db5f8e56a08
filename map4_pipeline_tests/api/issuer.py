"""An OpenID Connect issuer, and a GitHub, on a socket of this machine: they check what they are sent, and lie when told to."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "map4-here", "a secret of a registration / with: signs"
#: What an ID token is made of: claims, header, key; a lie changes it.
Lie = Callable[[dict[str, Any]], Any]


class Issuer:
    """Who is logged in there, what was asked, and which lie it tells.

    Attributes
    ----------
    who : dict
        Claims about whoever is logged in there.
    lie : callable or None
        Given {"claims", "header", "key"}, changes them, or returns a token of its own.
    """

    def __init__(self) -> None:
        self.who: dict[str, Any] = {
            "sub": "1001",
            "email": "anna@example.org",
            "email_verified": True,
            "preferred_username": "anna",
        }
        self.lie: Lie | None = None
        self.about: dict[str, Any] = {}
        self.redirects = False  # of everything but the authorization endpoint
        self.refuses = False
        self.asked: list[str] = []
        self.key = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
        self.grants: dict[str, dict[str, str]] = {}
        self.address = ""

    def metadata(self) -> dict[str, Any]:
        base = {name: f"{self.address}/{path}" for name, path in _PATHS.items()}
        return {"issuer": self.address, **base, **self.about}

    def authorize(self, query: dict[str, str]) -> str:
        """Return where the browser goes on: whoever is logged in consents."""
        assert query["client_id"] == CLIENT_ID
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        answer = {"state": query["state"], "iss": self.address}
        if self.refuses:
            return f"{query['redirect_uri']}?{urlencode({**answer, 'error': 'access_denied'})}"
        code = secrets.token_urlsafe()
        self.grants[code] = query
        return f"{query['redirect_uri']}?{urlencode({**answer, 'code': code})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Exchange a code, once, for who has the registration's secret and the verifier."""
        user, _, password = base64.b64decode(authorization.partition(" ")[2]).decode().partition(":")
        if (user, password) != (CLIENT_ID, CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        grant = self.grants.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if grant is None or grant["code_challenge"] != challenge or grant["redirect_uri"] != form.get("redirect_uri"):
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "an access token", "token_type": "Bearer", "id_token": self.id_token(grant.get("nonce"))}

    def id_token(self, nonce: str | None) -> str:
        now = int(time.time())
        claims = {"iss": self.address, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": nonce, **self.who}
        made = {"claims": claims, "header": {"alg": "RS256", "kid": self.key.kid}, "key": self.key}
        told = self.lie(made) if self.lie is not None else None
        if isinstance(told, str):
            return told
        return jwt.encode(made["header"], made["claims"], made["key"], algorithms=[made["header"]["alg"]])


_PATHS = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}


@contextmanager
def issuer() -> Iterator[Issuer]:
    """Run an issuer on a port of its own."""
    made = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            made.asked.append(parts.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if parts.path in ("/authorize", "/login/oauth/authorize"):
                self.answer(302, b"", {"Location": made.authorize(query)})
            elif made.redirects:
                self.answer(302, b"", {"Location": f"{made.address}/elsewhere"})
            elif parts.path == "/.well-known/openid-configuration":
                self.answer_json(200, made.metadata())
            elif parts.path == "/jwks":
                self.answer_json(200, {"keys": [made.key.as_dict(private=False)]})
            elif parts.path == "/api/v3/user" and self.headers["Authorization"] == "Bearer an access token":
                self.answer_json(200, {"id": 77, "login": "anna"})
            else:
                self.answer_json(404, {})

        def do_POST(self) -> None:
            made.asked.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            if made.redirects:
                self.answer(307, b"", {"Location": f"{made.address}/elsewhere"})
                return
            self.answer_json(*made.token(form, self.headers.get("Authorization", "")))

        def answer_json(self, status: int, document: Any) -> None:
            self.answer(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
