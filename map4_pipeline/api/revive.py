"""Embedded servers that ended under `map4 serve` or `map4 up` (killed, out of memory) are started again; all else goes on.

Servers that a setting names are somebody else's to start: the application waits for them and goes on when they are back.
"""

import logging
import threading
import time

from map4_pipeline.settings import Settings
from map4_pipeline.store.errors import InfrastructureError

_log = logging.getLogger("map4.api.servers")
#: Between two attempts.
_PAUSE_SECONDS = 1.0


class Reviver:
    """Starts this installation's embedded PostgreSQL and Valkey when they are missed.

    Parameters
    ----------
    settings : Settings
        Which of the two are embedded.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._missed = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reviver", daemon=True)

    @property
    def has_work(self) -> bool:
        """Whether a server is embedded at all."""
        return self._settings.database_url is None or self._settings.redis_url is None

    def start(self) -> None:
        """Begin to listen."""
        if self.has_work:
            self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._missed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def missed(self) -> None:
        """Say that a server did not answer."""
        self._missed.set()

    def _run(self) -> None:
        while True:
            self._missed.wait()
            if self._stop.is_set():
                return
            self._missed.clear()
            try:
                self._revive()
            except InfrastructureError as error:
                _log.warning("An embedded server does not come back: %s", error)
                self._missed.set()
            self._stop.wait(_PAUSE_SECONDS)

    def _revive(self) -> None:
        """Start what does not run; what runs is left alone."""
        from map4_pipeline.store.postgres_server import EmbeddedPostgres
        from map4_pipeline.store.valkey_server import EmbeddedValkey

        servers: list[EmbeddedPostgres | EmbeddedValkey] = []
        if self._settings.database_url is None:
            servers.append(EmbeddedPostgres(self._settings.home))
        if self._settings.redis_url is None and EmbeddedValkey.is_available():
            servers.append(EmbeddedValkey(self._settings.home))
        for server in servers:
            if not server.status().ready:
                begun = time.monotonic()
                server.start()
                _log.warning("%s was gone and runs again after %.1f s.", server.title, time.monotonic() - begun)
