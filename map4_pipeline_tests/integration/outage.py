"""Users at work on `map4 serve` while database or cache is killed: what they are told, and whether that is true.

Used by the test and by `python -m benchmarks load`.
"""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx


@dataclass
class Tally:
    """What users were told.

    Attributes
    ----------
    statuses : Counter
        Answers by status; 0: no answer.
    wrong : list of str
        Answers that no user should get: a 5xx other than 503, a 503 without Retry-After.
    made : list of int
        Playlists whose making was confirmed.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    made: list[int] = field(default_factory=list)
    slowest: float = 0.0


class Users:
    """Some users, each in a thread: they search, look and make playlists until they are stopped.

    Parameters
    ----------
    url, headers
        Where the server is, and the authorization of each user.
    pause : float
        Seconds between a user's requests.
    """

    def __init__(self, url: str, headers: list[dict[str, str]], pause: float = 0.02) -> None:
        self._url = url
        self._pause = pause
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self.tally = Tally()
        self._threads = [threading.Thread(target=self._work, args=(one,), daemon=True) for one in headers]

    def __enter__(self) -> "Users":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def count(self, status: int) -> int:
        """Return how many answers had a status so far."""
        with self._lock:
            return self.tally.statuses[status]

    def wait_for(self, condition: Callable[["Users"], bool], what: str, seconds: float = 120.0) -> float:
        """Wait until something is true; return how long that took."""
        begun = time.monotonic()
        while not condition(self):
            assert time.monotonic() - begun < seconds, f"{what}: not within {seconds:.0f} s; {self.tally}"
            time.sleep(0.02)
        return time.monotonic() - begun

    def wait_for_more(self, status: int, more: int, seconds: float = 120.0) -> float:
        """Wait until so many further answers have a status."""
        before = self.count(status)
        return self.wait_for(lambda users: users.count(status) >= before + more, f"{more} more answers {status}", seconds)

    def _work(self, headers: dict[str, str]) -> None:
        with httpx.Client(base_url=self._url, headers=headers, timeout=60) as client:
            while not self._stop.wait(self._pause):
                number = next(self._numbers)
                begun = time.monotonic()
                try:
                    if number % 5 == 0:
                        answer = client.post("/api/playlists", json={"name": f"Outage {number}"})
                    else:
                        answer = client.get("/api/search", params={"q": f"bpm:{number % 100 + 60}..200", "limit": 5})
                except httpx.TransportError as error:
                    with self._lock:
                        self.tally.statuses[0] += 1
                        self.tally.wrong.append(repr(error))
                    continue
                self._note(answer, time.monotonic() - begun)

    def _note(self, answer: httpx.Response, seconds: float) -> None:
        with self._lock:
            self.tally.statuses[answer.status_code] += 1
            self.tally.slowest = max(self.tally.slowest, seconds)
            if answer.status_code == 201:
                self.tally.made.append(answer.json()["id"])
            elif answer.status_code == 503:
                if "retry-after" not in answer.headers or answer.json()["status"] != 503:
                    self.tally.wrong.append(f"503 without Retry-After: {answer.text}")
            elif answer.status_code != 200:
                self.tally.wrong.append(f"{answer.status_code}: {answer.text[:200]}")
