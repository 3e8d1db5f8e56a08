"""The cache: Redis (or Valkey) before PostgreSQL. It may be lost at any moment, and only speed is lost with it.

Nothing stale is given, but for sums over the whole library where their reader allows some seconds (`tolerance`), more of a
library so large that counting it takes seconds. What is kept
carries the version of what it was made from: the library's generation (`library_generation`) for searches and statistics, the
row's version for a track. A reader asks PostgreSQL for the version, which
costs a fraction of the work, *before* it reads anything else, and takes what the cache has only if that version stands on it. So
nobody has to delete anything after an ingest, a correction or a restore, and a slow reader that writes what it read long ago
writes it under the old version, where nobody looks. The times to live only bound the memory.

A cache that is off, full, slow or dead is no error: every call has a short time limit, and after a failure the cache is left
alone for some seconds (a breaker), so that a hung server costs one short wait, not one a request. Values are JSON, no pickles.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    import redis

    from map4_pipeline.settings import Settings

#: Seconds that values are kept, by what they are.
TRACK_SECONDS = 86_400
SEARCH_SECONDS = 3_600
STATISTICS_SECONDS = 300
TEMPORARY_SECONDS = 600
#: Seconds that one call may take. A local cache answers in a fifth of a millisecond; a page without one in some.
TIMEOUT_SECONDS = 0.1
#: Seconds for which a cache that failed is left alone.
REST_SECONDS = 5.0
#: Bytes of one value that are worth keeping; larger ones would push out many small ones.
MAX_BYTES = 4_000_000

_LOG = logging.getLogger(__name__)

T = TypeVar("T")
#: So many times its tolerance a value is given while another is made.
_BEHIND = 3.0
#: A sum is not made anew before so many times the time have gone by that it took: counting a library that changes all the time
#: takes a twentieth of a processor.
_PAUSE = 20.0


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """What became of look-ups in this process, by the kind of key (`track`, `search`, ...).

    Attributes
    ----------
    hits, misses : dict
        A value of another version is a miss.
    errors : int
        Calls that failed.
    skipped : int
        Calls that were not made because the cache had failed just before.
    """

    hits: dict[str, int] = field(default_factory=dict)
    misses: dict[str, int] = field(default_factory=dict)
    errors: int = 0
    skipped: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Hits among look-ups that were answered; None before the first."""
        hits, misses = sum(self.hits.values()), sum(self.misses.values())
        return hits / (hits + misses) if hits + misses else None


class Cache:
    """A cache at an address, or none.

    Parameters
    ----------
    url : str or None
        As redis-py takes it; None: nothing is kept, everything is computed.
    """

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._client: redis.Redis | None = None
        self._lock = threading.Lock()
        self._resting_until = 0.0
        self._hits: dict[str, int] = {}
        self._misses: dict[str, int] = {}
        self._errors = self._skipped = 0
        #: Of the few keys of sums over the library.
        self._makers: dict[str, threading.Lock] = {}
        self._on_lookup: Callable[[str, bool], None] = lambda kind, hit: None
        self._on_error: Callable[[], None] = lambda: None

    @property
    def enabled(self) -> bool:
        """Whether there is an address; not whether anybody answers there."""
        return self._url is not None

    def counts(self) -> CacheCounts:
        """Return what became of the look-ups so far."""
        with self._lock:
            return CacheCounts(dict(self._hits), dict(self._misses), self._errors, self._skipped)

    def observe(self, on_lookup: Callable[[str, bool], None], on_error: Callable[[], None]) -> None:
        """Let somebody count: told the kind of key and whether it was a hit, and of every call that failed."""
        self._on_lookup, self._on_error = on_lookup, on_error

    def answers(self) -> bool:
        """Return whether the server answers now, for health pages; asks even while it rests."""
        client = self._connected()
        if client is None:
            return False
        try:
            return bool(client.ping())
        except _failures():
            return False

    def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # -------------------------------------------------------------- values with a version
    def through(
        self,
        key: str,
        version: str,
        seconds: int,
        make: Callable[[], T],
        *,
        tolerance: float = 0.0,
        behind: Callable[[], T] | None = None,
    ) -> T:
        """Return the value of a key if it was kept for this version, else make it and keep it.

        Parameters
        ----------
        version : str
            Of what the value is made from, read before it.
        make : callable
            Returns what JSON can hold, so that what comes out of the cache is equal to it: no dates, no tuples, text as keys.
        tolerance : float
            Seconds for which a value of the version before will do. Only for sums over the whole library, which somebody's
            every correction would have everybody else work out anew. One that took long to make will do for longer: twenty times
            as long as it took, up to a third of the time for which it is kept.
        behind : callable, optional
            `make` for a thread of its own (with its own connection). With it nobody waits for a value that is a little too old:
            up to three times the tolerance it is still given, while a new one is made.
        """
        kept = self.get(key)
        tolerance = _stretched(kept, tolerance, seconds)
        if _will_do(kept, version, tolerance):
            self._count(self._hits, key)
            value: T = kept["value"]
            return value
        if tolerance:
            if behind is not None and _will_do(kept, version, _BEHIND * tolerance):
                self._make_behind(key, version, seconds, behind)
                self._count(self._hits, key)
                return kept["value"]  # type: ignore[no-any-return]
            # Everybody asks for sums at once when they have become old: one makes them, the others wait for that.
            asked = time.time()
            with self._making(key):
                kept = self.get(key)
                # However long it took: what was begun after the question is an answer to it.
                if _will_do(kept, version, max(tolerance, time.time() - asked)):
                    self._count(self._hits, key)
                    return kept["value"]  # type: ignore[no-any-return]
                return self._made(key, version, seconds, make, at=time.time())
        return self._made(key, version, seconds, make)

    def document(self, key: str, version: str, seconds: int, make: Callable[[], Any]) -> bytes:
        """Return what `through` does as JSON: what was kept is handed on as it is, what is made is written once for both."""
        head = _head(version)
        kept = self._call(lambda client: client.get(key))
        if isinstance(kept, bytes) and kept.startswith(head) and kept.endswith(b"}"):
            self._count(self._hits, key)
            return kept[len(head) : -1]
        self._count(self._misses, key)
        body = _json(make())
        self._keep(key, b"%b%b}" % (head, body), seconds)
        return body

    def _made(self, key: str, version: str, seconds: int, make: Callable[[], T], at: float | None = None) -> T:
        """Make a value and keep it; `at` is the moment from which its age counts, before it is made."""
        self._count(self._misses, key)
        begun = time.monotonic()
        value = make()
        took = round(time.monotonic() - begun, 3)
        # In front: behind the value they would be part of what `document` hands on.
        self.put(key, ({} if at is None else {"at": at, "took": took}) | {"version": version, "value": value}, seconds)
        return value

    def _make_behind(self, key: str, version: str, seconds: int, make: Callable[[], T]) -> None:
        """Make a value in a thread of its own, unless somebody makes it already."""
        lock = self._making(key)
        if not lock.acquire(blocking=False):
            return

        def work() -> None:
            try:
                self._made(key, version, seconds, make, at=time.time())
            except (SQLAlchemyError, OSError) as error:
                # Who asks when the old value is too old makes it in his own name, and is told.
                _LOG.warning("A sum over the library could not be renewed (%s).", type(error).__name__)
            finally:
                lock.release()

        try:
            threading.Thread(target=work, name="map4-sums", daemon=True).start()
        except RuntimeError:  # no thread can be had: the next who asks tries again
            lock.release()

    def _making(self, key: str) -> threading.Lock:
        """Return the lock of whoever makes the value of a key in this process."""
        with self._lock:
            return self._makers.setdefault(key, threading.Lock())

    # -------------------------------------------------------------- plain values
    def get(self, key: str) -> Any:
        """Return what a key holds; None when it holds nothing, or nobody answers."""
        raw = self._call(lambda client: client.get(key))
        if raw is None:
            return None
        from pydantic_core import from_json

        try:
            return from_json(raw)
        except ValueError:  # not ours, or cut off
            return None

    def put(self, key: str, value: Any, seconds: int) -> bool:
        """Keep a value for some seconds; return whether it was kept. A full cache keeps nothing new."""
        if self._url is None:
            return False
        return self._keep(key, _json(value), seconds)

    def _keep(self, key: str, text: bytes, seconds: int) -> bool:
        if len(text) > MAX_BYTES:
            return False
        return bool(self._call(lambda client: client.set(key, text, ex=seconds)))

    def drop(self, *keys: str) -> None:
        """Forget keys."""
        if keys:
            self._call(lambda client: client.delete(*keys))

    def _count(self, counter: dict[str, int], key: str) -> None:
        if self._url is not None:
            kind = key.partition(":")[0]
            with self._lock:
                counter[kind] = counter.get(kind, 0) + 1
            self._on_lookup(kind, counter is self._hits)

    def _connected(self) -> "redis.Redis | None":
        url = self._url
        if url is None or self._client is not None:
            return self._client
        try:
            with self._lock:
                self._client = self._client or _client(url)
        except (ImportError, ValueError) as error:  # nor will there ever be one
            self._url = None
            why = "the package redis is missing" if isinstance(error, ImportError) else "REDIS_URL is no address of a server"
            _LOG.warning("There is no cache: %s.", why)
        return self._client

    def _call(self, work: "Callable[[redis.Redis], Any]") -> Any:
        """Return what a call gives, None when it cannot be made."""
        if self._url is None:
            return None
        if time.monotonic() < self._resting_until:
            with self._lock:
                self._skipped += 1
            return None
        try:
            client = self._connected()
            return None if client is None else work(client)
        except _failures() as error:
            self._failed(error)
            return None

    def _failed(self, error: Exception) -> None:
        import redis

        # Out of memory, read-only and the like: the server is well and can be read from.
        answered = isinstance(error, redis.ResponseError)
        with self._lock:
            self._errors += 1
            first = time.monotonic() >= self._resting_until
            if not answered:
                self._resting_until = time.monotonic() + REST_SECONDS
        self._on_error()
        if first:
            _LOG.warning("The cache failed (%s); it goes on without.", type(error).__name__)


def open_cache(settings: "Settings") -> Cache:
    """Return the cache that the settings name: REDIS_URL, else the embedded Valkey, else none. Never fails."""
    from map4_pipeline.store.errors import InfrastructureError
    from map4_pipeline.store.valkey_server import redis_url

    try:
        return Cache(redis_url(settings))
    except InfrastructureError as error:
        _LOG.warning("There is no cache: %s", error)
        return Cache(None)


#: A restored backup may have the number of the state before, but its tables are others.
GENERATION = "SELECT map4_generation() || '/' || CAST(CAST('track_search' AS regclass) AS oid)"


def library_generation(conn: Connection) -> str:
    """Return the mark of the library's present state: no two states that differ have the same."""
    return str(conn.exec_driver_sql(GENERATION).scalar_one())


# ------------------------------------------------------------------ keys
def track_key(file_hash: str) -> str:
    """Return the key of a track's complete analysis."""
    return f"track:{file_hash}"


def hamms_key(file_hash: str) -> str:
    """Return the key of a HAMMS vector."""
    return f"hamms:{file_hash}"


def ai_key(file_hash: str, provider: str) -> str:
    """Return the key of a provider's annotation."""
    return f"ai:{file_hash}:{quote(provider, safe='')}"


def search_key(*parts: Any) -> str:
    """Return the key of a page of a search: what was asked, whatever it is made of."""
    return f"search:{_digest(parts)}"


def filter_key(*parts: Any) -> str:
    """Return the key of what belongs to a set of filters: counts, facets."""
    return f"filter:{_digest(parts)}"


def genre_key(genre: str) -> str:
    """Return the key of a genre's statistics."""
    return f"stats:genre:{quote(genre[:200], safe='')}"


LIBRARY_KEY = "stats:library"


def statistics_key(kind: str, libraries: Collection[int] | None) -> str:
    """Return the key of a sum over some libraries (None: all)."""
    return f"stats:{kind}:{'all' if libraries is None else _digest(tuple(sorted(libraries)))}"


def export_key(job_id: UUID | str) -> str:
    """Return the key of an export job's state."""
    return f"export:{job_id}"


def batch_key(job_id: UUID | str) -> str:
    """Return the key of a batch job's state."""
    return f"batch:{job_id}"


def _will_do(kept: Any, version: str, tolerance: float) -> bool:
    """Return whether what a key holds may be given for a version."""
    return isinstance(kept, dict) and "value" in kept and (kept.get("version") == version or _is_young(kept, tolerance))


def _stretched(kept: Any, tolerance: float, seconds: float) -> float:
    """Return a tolerance, longer for what took long to make; soon enough for another before the old one is forgotten."""
    took = kept.get("took") if tolerance and isinstance(kept, dict) else None
    return max(tolerance, min(_PAUSE * took, seconds / _BEHIND)) if isinstance(took, int | float) else tolerance


def _is_young(kept: dict[str, Any], tolerance: float) -> bool:
    """Return whether a value was made so few seconds ago, by the clock of whoever made it."""
    at = kept.get("at")
    return tolerance > 0 and isinstance(at, int | float) and 0 <= time.time() - at < tolerance


def _head(version: str) -> bytes:
    """Return how a value with a version begins in the cache."""
    return b'{"version":%b,"value":' % _json(version)


def _json(value: Any) -> bytes:
    """Return a value as JSON, several times as fast as the standard library writes it."""
    from pydantic_core import to_json

    return to_json(value, inf_nan_mode="null")


def _digest(parts: tuple[Any, ...]) -> str:
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _client(url: str) -> "redis.Redis":
    """Return a client that has not connected yet.

    Raises
    ------
    ImportError
        Without the package redis.
    ValueError
        When the address is none.
    """
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    options: dict[str, Any] = {"socket_timeout": TIMEOUT_SECONDS, "retry": Retry(NoBackoff(), 0)}
    if not url.startswith("unix:"):
        options["socket_connect_timeout"] = TIMEOUT_SECONDS
    return redis.Redis.from_url(url, **options)


def _failures() -> tuple[type[Exception], ...]:
    import redis

    return (redis.RedisError, OSError)
