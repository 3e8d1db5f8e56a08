"""How many requests a minute: counted in Redis for all processes together, in memory where there is none or it is away."""

import ipaddress
import logging
import time
from typing import Any

from fastapi import Request

from map4_pipeline.api.problems import Problem

_log = logging.getLogger("map4.api.limits")
#: Requests a minute from an address by somebody who has not logged in.
ANONYMOUS_PER_MINUTE = 120
#: One answer of Redis may take so long; then memory counts.
TIMEOUT_SECONDS = 0.2
#: After Redis failed, memory counts for so long before it is asked again.
_REST_SECONDS = 30.0


class RateLimiter:
    """Counts requests by user or address.

    Parameters
    ----------
    redis_url : str or None
        Where to count for all processes together.
    """

    def __init__(self, redis_url: str | None) -> None:
        from limits import strategies
        from limits.storage import MemoryStorage, storage_from_string

        self._memory = strategies.SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared: strategies.SlidingWindowCounterRateLimiter | None = None
        self._rest_until = 0.0
        if redis_url is not None:
            self._shared = strategies.SlidingWindowCounterRateLimiter(
                storage_from_string(_storage(redis_url), **_options(redis_url))
            )

    def take(self, subject: str, per_minute: int) -> float:
        """Count a request; return 0 when it may go on, else the seconds until the next one may."""
        from limits import RateLimitItemPerMinute

        item = RateLimitItemPerMinute(per_minute)
        if self._shared is not None and time.monotonic() >= self._rest_until:
            try:
                return self._take(self._shared, item, subject)
            except Exception:  # noqa: BLE001 - whatever ails Redis, requests go on
                self._rest_until = time.monotonic() + _REST_SECONDS
                _log.warning("Redis does not answer; for %.0f s requests are counted in each process's memory.", _REST_SECONDS)
        return self._take(self._memory, item, subject)

    @staticmethod
    def _take(strategy: object, item: object, subject: str) -> float:
        if strategy.hit(item, subject):  # type: ignore[attr-defined]
            return 0.0
        reset = float(strategy.get_window_stats(item, subject).reset_time)  # type: ignore[attr-defined]
        return max(1.0, reset - time.time())


def _storage(redis_url: str) -> str:
    """Return the address as `limits` wants it: redis-py's `unix:` is its `redis+unix:`."""
    return f"redis+{redis_url}" if redis_url.startswith("unix:") else redis_url


def _options(redis_url: str) -> dict[str, Any]:
    """Return how a connection is made: one short attempt, so that a server that hangs costs one request a fifth of a second."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    options: dict[str, Any] = {"socket_timeout": TIMEOUT_SECONDS, "retry": Retry(NoBackoff(), 0)}
    if not redis_url.startswith("unix:"):
        options["socket_connect_timeout"] = TIMEOUT_SECONDS
    return options


def address_of(request: Request) -> str:
    """Return the address that a request comes from."""
    return request.client.host if request.client else "unknown"


def network_of(address: str) -> str:
    """Return whom an address is counted with: of IPv6 its /64, which is what one subscriber has at least."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:100]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped) if mapped is not None else str(ipaddress.IPv6Network((int(found), 64), strict=False))


def verify_rate(limiter: RateLimiter, request: Request, subject: str, per_minute: int) -> None:
    """Refuse a request too many.

    Raises
    ------
    Problem
        429 with Retry-After.
    """
    wait = limiter.take(subject, per_minute)
    if wait:
        detail = f"That is more than {per_minute} requests a minute. Try again in {wait:.0f} s."
        raise Problem(429, "too-many-requests", detail, headers={"Retry-After": str(round(wait))})
