"""Logins that are under way at another site: what the browser has to come back with, and that it comes back once."""

import hashlib
import json
import secrets
from typing import Any

from sqlalchemy import Connection, delete, func, insert, text

from map4_pipeline.store.cipher import Cipher
from map4_pipeline.store.schema import login_flows

#: So long a user may take at the other site.
FLOW_SECONDS = 600
_PURPOSE = "login flow"


def begin_flow(conn: Connection, cipher: Cipher, data: dict[str, Any]) -> tuple[str, str]:
    """Note a login; return its state, which travels with the browser, and the secret that stays in the browser's cookie."""
    state, browser = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    sealed = cipher.encrypt(json.dumps(data).encode(), f"{_PURPOSE} {state}")
    until = func.now() + text("make_interval(secs => :seconds)").bindparams(seconds=FLOW_SECONDS)
    values = {"state_hash": _digest(state), "browser_hash": _digest(browser), "data": sealed, "expires_at": until}
    conn.execute(insert(login_flows).values(values))
    return state, browser


def take_flow(conn: Connection, cipher: Cipher, state: str, browser: str) -> dict[str, Any] | None:
    """Return what was noted, once; None for another browser, another state, a second time, or too late."""
    f = login_flows.c
    mine = (f.state_hash == _digest(state)) & (f.browser_hash == _digest(browser)) & (f.expires_at > func.now())
    sealed = conn.execute(delete(login_flows).where(mine).returning(f.data)).scalar_one_or_none()
    if sealed is None:
        return None
    found: dict[str, Any] = json.loads(cipher.decrypt(bytes(sealed), f"{_PURPOSE} {state}"))
    return found


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
