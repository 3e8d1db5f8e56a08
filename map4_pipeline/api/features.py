"""Which part of MAP4 a request uses, and a note of it for each user and day, written in the background."""

import logging
import threading
from collections import Counter
from datetime import UTC, datetime

from sqlalchemy import Engine

from map4_pipeline.store.activity import Use, note_uses

_log = logging.getLogger("map4.api.activity")
#: First part of a route's path, after `/api`, to the part of MAP4 that it belongs to. Accounts, health and metrics are none.
_FEATURES = {
    "tracks": "tracks",
    "doubtful": "corrections",
    "search": "search",
    "compare": "compare",
    "playlists": "playlists",
    "duplicates": "duplicates",
    "export": "export",
    "exports": "export",
    "annotations": "annotations",
    "batch": "analysis",
    "queue": "administration",
    "stats": "statistics",
    "statistics": "statistics",
    "admin": "administration",
    "users": "administration",
    "audit": "administration",
}
_LAST = {"audio": "listening", "similar": "similar", "analyze": "analysis", "build": "sets"}
FEATURES = tuple(sorted({*_FEATURES.values(), *_LAST.values()}))


def feature_of(method: str, pattern: str) -> str | None:
    """Return the part of MAP4 that a route belongs to; None for one that is nobody's use of it."""
    parts = [part for part in pattern.removeprefix("/api").split("/") if part]
    if not parts:
        return "search" if pattern == "/" else None
    if parts[-1] in _LAST:
        return _LAST[parts[-1]]
    if parts[0] == "tracks" and method in ("PUT", "PATCH"):
        return "corrections"
    return _FEATURES.get(parts[0])


class Activity:
    """Collects who uses what, and writes it down every few seconds.

    A database that is away is no trouble: what was collected waits, a line for each user, day and part.

    Parameters
    ----------
    engine : Engine
    seconds : float
        Between two writes.
    """

    def __init__(self, engine: Engine, seconds: float = 5.0) -> None:
        self._engine = engine
        self._seconds = seconds
        self._uses: Counter[Use] = Counter()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="activity", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left and end."""
        self._stop.set()
        self._thread.join(timeout=10)

    def note(self, user_id: int, feature: str) -> None:
        """Note that a user used a part."""
        with self._lock:
            self._uses[user_id, datetime.now(UTC).date(), feature] += 1

    def flush(self) -> bool:
        """Write what was collected; return whether that worked."""
        with self._lock:
            uses, self._uses = self._uses, Counter()
        if not uses:
            return True
        try:
            with self._engine.begin() as conn:
                note_uses(conn, uses)
        except Exception as error:  # noqa: BLE001 - the database is away, most likely; the figures wait
            _log.info("Who uses what is written later (%s).", type(error).__name__)
            with self._lock:
                self._uses.update(uses)
            return False
        return True

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self.flush()
        self.flush()
