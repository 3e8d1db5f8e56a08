"""What the application's routes work with: settings, the database, the cache, secrets."""

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import Request
from sqlalchemy import Engine

from map4_pipeline.settings import Settings
from map4_pipeline.store.cache import Cache
from map4_pipeline.store.cipher import Cipher
from map4_pipeline.store.tokens import SigningKeys, signing_keys_now

if TYPE_CHECKING:
    from map4_pipeline.api.exporter import Exporter
    from map4_pipeline.api.features import Activity
    from map4_pipeline.api.metrics import Metrics

#: Signing keys are read anew after so many seconds, so that every process follows a rotation.
_KEYS_SECONDS = 60.0


@dataclass(slots=True)
class Context:
    """The application's parts, made once at its start."""

    settings: Settings
    engine: Engine
    cipher: Cipher
    cache: Cache
    exporter: "Exporter"
    metrics: "Metrics"
    activity: "Activity"
    _keys: SigningKeys | None = None
    _keys_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_secure(self) -> bool:
        """Whether people reach the application by HTTPS."""
        return urlsplit(self.settings.public_url).scheme == "https"

    @property
    def cookie_name(self) -> str:
        """Name of the session's cookie; with the prefix, browsers take it from HTTPS and this host alone."""
        return "__Host-map4" if self.is_secure else "map4"

    def signing_keys(self) -> SigningKeys:
        """Return the keys of access tokens."""
        with self._lock:
            if self._keys is None or time.monotonic() - self._keys_at > _KEYS_SECONDS:
                with self.engine.begin() as conn:
                    self._keys = signing_keys_now(conn, self.cipher, self.settings.access_minutes * 60)
                self._keys_at = time.monotonic()
            return self._keys

    def forget_keys(self) -> None:
        """Read the signing keys anew at the next request."""
        with self._lock:
            self._keys = None


def context_of(request: Request) -> Context:
    """Return the parts of the application that serves a request."""
    found: Context = request.app.state.context
    return found
