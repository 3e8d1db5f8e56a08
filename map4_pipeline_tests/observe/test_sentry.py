"""Reports to Sentry: what goes over the wire when it is wanted, and that nothing does when it is not.

A process of its own each time: Sentry's library stays in a process once it is there.
"""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "geheim-7Wq"
_PROGRAM = """
import logging, sys, threading
from map4_pipeline.observe.logs import bind_process, configure_logging
from map4_pipeline.observe.sentry import start_sentry
from map4_pipeline.settings import settings
configure_logging(settings(), "serve")
print("started", start_sentry(settings(), "serve"))
bind_process(request_id="req-20261129")
log = logging.getLogger("map4.api")
log.warning("no event")
secret_local = "hunter2-local"
try:
    address = settings().database_url.get_secret_value()
    raise RuntimeError("no row for '/home/anna/Music/Secret Song.mp3' by anna@example.org: " + address)
except RuntimeError:
    log.exception("a defect of user %s with password=%s", "'anna'", "hunter2-argument")
if "sentry_sdk" in sys.modules:
    import sentry_sdk
    sentry_sdk.set_user({"id": 7, "email": "anna@example.org", "ip_address": "192.0.2.7"})
    sentry_sdk.capture_message("a message about /home/anna/Music/x.mp3")
    sentry_sdk.flush(30)
print("loaded", "sentry_sdk" in sys.modules)
"""


@dataclass
class Wire:
    """What a server in Sentry's place was sent."""

    url: str
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def events(self) -> list[dict[str, Any]]:
        """Return the events in all envelopes."""
        found = []
        for _, headers, body in self.requests:
            plain = decoded(headers, body)
            lines = plain.split(b"\n")
            found += [json.loads(lines[i + 1]) for i in range(1, len(lines) - 1, 2) if json.loads(lines[i])["type"] == "event"]
        return found

    def text(self) -> str:
        """Return everything that was sent, headers too."""
        parts = []
        for path, headers, body in self.requests:
            plain = decoded(headers, body)
            parts.append(f"{path} {headers} {plain.decode()}")
        return "\n".join(parts)


@pytest.fixture
def wire() -> Iterator[Wire]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Wire(f"http://publickey@127.0.0.1:{server.server_address[1]}/42")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def decoded(headers: dict[str, str], body: bytes) -> bytes:
    coding = headers.get("content-encoding")
    if coding == "br":
        import brotli

        plain: bytes = brotli.decompress(body)
        return plain
    return gzip.decompress(body) if coding == "gzip" else body


def run(home: Path, dsn: str | None) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAP4_", "SENTRY_"))}
    environment = kept | {"MAP4_HOME": str(home), "DATABASE_URL": f"postgresql://map4:{PASSWORD}@db.example.org/map4"}
    if dsn is not None:
        environment["SENTRY_DSN"] = dsn
    done = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_defect_is_reported_without_anything_about_anybody(home: Path, wire: Wire) -> None:
    said = run(home, wire.url)
    assert "started True" in said
    defect, message = wire.events()
    error = defect["exception"]["values"][-1]
    assert error["type"] == "RuntimeError"
    assert error["stacktrace"]["frames"][-1]["lineno"] > 0
    assert defect["tags"] == {"program": "serve", "request_id": "req-20261129"}
    assert defect["release"].startswith("map4@")
    assert message["level"] == "info"
    sent = wire.text()
    for private in (PASSWORD, "hunter2", "anna", "Secret Song", "192.0.2.7", "example.org", os.uname().nodename, str(home)):
        assert private not in sent, private
    assert not {"user", "request", "breadcrumbs", "server_name", "modules", "extra"} & set(defect)


def test_nothing_is_sent_and_nothing_loaded_without_an_address(home: Path, wire: Wire) -> None:
    said = run(home, None)
    assert "started False" in said
    assert "loaded False" in said
    assert wire.requests == []


def test_an_address_that_is_none_stops_nothing(home: Path) -> None:
    assert "started False" in run(home, "not an address")
    assert "SENTRY_DSN cannot be read" in (home / "logs" / "map4.log").read_text()
