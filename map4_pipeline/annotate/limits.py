"""How fast a provider is asked, and whether it is asked at all: rate limits and a circuit breaker, both shared by all threads."""

import threading
import time
from collections.abc import Callable

Clock = Callable[[], float]


class RateLimiter:
    """Two buckets that fill by the second, one of requests and one of tokens, and a pause that the provider asks for.

    Parameters
    ----------
    requests_per_minute, tokens_per_minute : int
        0: no limit.
    """

    def __init__(self, requests_per_minute: int, tokens_per_minute: int, clock: Clock = time.monotonic) -> None:
        self._rates = (requests_per_minute / 60, tokens_per_minute / 60)
        # A few seconds' worth may go at once; a full minute's burst would be two minutes' worth in one of the provider's.
        self._sizes = tuple(max(1.0, rate * 5) for rate in self._rates)
        self._left = list(self._sizes)
        self._clock = clock
        self._looked = clock()
        self._paused_until = 0.0
        self._lock = threading.Lock()

    def reserve(self, tokens: int) -> float:
        """Take a place for a request of so many tokens; return the seconds to wait before it may go out."""
        with self._lock:
            now = self._clock()
            wait = max(0.0, self._paused_until - now)
            for bucket, amount in enumerate((1.0, float(tokens))):
                rate, size = self._rates[bucket], self._sizes[bucket]
                if rate == 0:
                    continue
                # Below zero stand those who already wait, so that nobody overtakes.
                self._left[bucket] = min(size, self._left[bucket] + rate * (now - self._looked)) - amount
                # A request that is larger than the bucket waits for a full one.
                wait = max(wait, (min(0.0, self._left[bucket] + max(0.0, amount - size)) / -rate))
            self._looked = now
            return wait

    def pause(self, seconds: float) -> None:
        """Let nothing out for a while: the provider said so."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def paused(self) -> float:
        """Return the seconds that the provider's pause still lasts."""
        with self._lock:
            return max(0.0, self._paused_until - self._clock())


class CircuitBreaker:
    """Stops asking a provider that failed several times in a row; after a while one request tries again.

    Parameters
    ----------
    threshold : int
        Failures in a row that open it.
    cooldown_seconds : float
        How long it stays open; doubled each time the try fails, up to eight times as long.
    """

    def __init__(self, threshold: int = 5, cooldown_seconds: float = 30.0, clock: Clock = time.monotonic) -> None:
        self._threshold, self._cooldown, self._clock = threshold, cooldown_seconds, clock
        self._failures = 0
        self._opened = 0
        self._open_until: float | None = None
        self._trying = False
        self._lock = threading.Lock()
        self.reason = ""
        self.closed_for_good = False

    def wait(self) -> float | None:
        """Ask for a request: 0 to go on, the seconds to wait, or None when the provider is not to be asked again."""
        with self._lock:
            if self.closed_for_good:
                return None
            if self._open_until is None:
                return 0.0
            left = self._open_until - self._clock()
            if left > 0:
                return left
            if self._trying:
                return max(0.05, self._cooldown / 10)
            self._trying = True
            return 0.0

    def success(self) -> None:
        """Note a reply."""
        with self._lock:
            self._failures = self._opened = 0
            self._open_until, self._trying = None, False

    def failure(self, reason: str) -> None:
        """Note that the provider is not well."""
        with self._lock:
            self._failures += 1
            self.reason = reason
            if self._trying or self._failures >= self._threshold:
                self._open_until = self._clock() + self._cooldown * 2 ** min(self._opened, 3)
                self._opened += 1
                self._trying = False

    def end_try(self) -> None:
        """Note that a try came to no verdict (a rate limit, a budget), so that another may try."""
        with self._lock:
            self._trying = False

    def close_for_good(self, reason: str) -> None:
        """Ask this provider no more: its key is wrong, its credit used up, its model unknown."""
        with self._lock:
            self.closed_for_good, self.reason = True, reason
