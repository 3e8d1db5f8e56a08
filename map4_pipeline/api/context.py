"""What the application's routes work with: settings, the database, the cache, secrets."""

import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import Request
from sqlalchemy import Connection, Engine

from map4_pipeline.settings import Settings
from map4_pipeline.store.cache import Cache
from map4_pipeline.store.cipher import Cipher
from map4_pipeline.store.database import reading
from map4_pipeline.store.tokens import SigningKeys, signing_keys_now

if TYPE_CHECKING:
    from map4_pipeline.api.annotator import Annotator
    from map4_pipeline.api.exporter import Exporter
    from map4_pipeline.api.features import Activity
    from map4_pipeline.api.federation import Federation
    from map4_pipeline.api.metrics import Metrics

#: Signing keys are read anew after so many seconds, so that every process follows a rotation.
_KEYS_SECONDS = 60.0
#: ... and for a key that is not known yet, which another process may have made just now, at most once in so many.
_KEYS_AGAIN_SECONDS = 1.0


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
    federation: "Federation"
    annotator: "Annotator"
    tls: bool = False
    _keys: SigningKeys | None = None
    _keys_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reading(self) -> AbstractContextManager[Connection]:
        """Give a connection for what only reads."""
        return reading(self.engine)

    @property
    def is_secure(self) -> bool:
        """Whether people reach the application by HTTPS: of its own, or a proxy's."""
        return self.tls or urlsplit(self.settings.public_url).scheme == "https"

    @property
    def cookie_name(self) -> str:
        """Name of the session's cookie; with the prefix, browsers take it from HTTPS and this host alone."""
        return "__Host-map4" if self.is_secure else "map4"

    def signing_keys(self, kid: str | None = None) -> SigningKeys:
        """Return the keys of access tokens; `kid` is one that somebody's token names."""
        with self._lock:
            age = time.monotonic() - self._keys_at
            unknown = self._keys is not None and kid is not None and kid not in self._keys.secrets
            if self._keys is None or age > _KEYS_SECONDS or (unknown and age > _KEYS_AGAIN_SECONDS):
                settings = self.settings
                with self.engine.begin() as conn:
                    self._keys = signing_keys_now(conn, self.cipher, settings.access_minutes * 60, settings.key_days)
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
