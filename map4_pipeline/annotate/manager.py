"""The manager: from tracks to annotations through a chain of providers, within a budget, and never a made-up one.

Each request is reserved in the purse at its maximum before it goes out and settled at what it cost when the reply is there. A
reply that was lost stays booked at the maximum. What is asked again is what failed: a request is halved until the bad track
stands alone.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from map4_pipeline.annotate import work
from map4_pipeline.annotate.annotation import Annotation
from map4_pipeline.annotate.facts import TrackFacts
from map4_pipeline.annotate.limits import CircuitBreaker, RateLimiter
from map4_pipeline.annotate.pricing import Price, Usage
from map4_pipeline.annotate.providers.base import Provider


class BudgetError(Exception):
    """The budget does not allow a request; the text says which one and what is left."""


class Purse(Protocol):
    """Where money is reserved and booked. Implementations are used by several threads, and by several processes on one ledger."""

    def reserve(self, provider: str, model: str, tracks: int, amount: Decimal) -> int:
        """Reserve the most that a request can cost; return the reservation. Raises `BudgetError`."""

    def settle(self, reservation: int, cost: Decimal, usage: Usage) -> None:
        """Book what a reply cost."""

    def release(self, reservation: int, reason: str) -> None:
        """Book nothing: the provider refused the request, or it never got there."""

    def keep(self, reservation: int, reason: str) -> None:
        """Leave it booked at the maximum: the reply was lost, and may have been paid for."""


class Source(Protocol):
    """Where tracks come from, a few at a time, and where what became of them goes. Used by several threads."""

    def take(self, count: int) -> list[TrackFacts]:
        """Return the next tracks to ask about, claimed for this run; empty at the end."""

    def put(self, outcomes: Sequence["Outcome"]) -> None:
        """Keep what became of tracks with one provider."""

    def done(self, tracks: Sequence[TrackFacts]) -> None:
        """Note that nothing more will come of these tracks in this run."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a track with one provider.

    Attributes
    ----------
    annotation : Annotation or None
        None: failed.
    error_kind, error : str or None
        Why it failed.
    cost : Decimal
        Its share of every request it was part of, US dollars.
    tokens : Usage
        Its share of the tokens of those requests.
    requests : int
        How many requests it was part of.
    """

    facts: TrackFacts
    provider: str
    model: str
    annotation: Annotation | None
    error_kind: str | None
    error: str | None
    cost: Decimal
    tokens: Usage
    requests: int


@dataclass(slots=True)
class Link:
    """A provider in the chain with its price, limits and state."""

    provider: Provider
    price: Price
    limiter: RateLimiter
    breaker: CircuitBreaker


@dataclass(frozen=True, slots=True)
class Options:
    """How requests are made.

    Attributes
    ----------
    tracks_per_request, workers : int
    attempts : int
        Requests for the same tracks before a provider counts as not available, the first one included.
    repairs : int
        How often a track is asked again after a reply that could not be used.
    output_tokens_per_track : int
        Bound of the reply, and so of what it can cost.
    longest_wait_seconds : float
        A provider that asks for a longer wait counts as not available.
    file_names : bool
        Whether file names are sent.
    """

    tracks_per_request: int = 10
    workers: int = 4
    attempts: int = 5
    repairs: int = 2
    output_tokens_per_track: int = 700
    longest_wait_seconds: float = 120.0
    first_wait_seconds: float = 1.0
    file_names: bool = False


@dataclass(slots=True)
class Tally:
    """What a run came to."""

    annotated: int = 0
    failed: int = 0
    left: int = 0
    requests: int = 0
    contradicted: int = 0
    cost: Decimal = Decimal(0)
    tokens: Usage = field(default_factory=Usage)
    failures: dict[str, int] = field(default_factory=dict)
    by_provider: dict[str, int] = field(default_factory=dict)
    stopped: str | None = None


@dataclass(slots=True)
class Task:
    """Tracks that go into one request to one provider of the chain."""

    tracks: list[TrackFacts]
    link: int
    repairs: int = 0
    note: str | None = None
    room: int = 1


@dataclass(slots=True)
class Spent:
    """What a track has cost so far with the provider that has it now."""

    cost: Decimal = Decimal(0)
    tokens: Usage = field(default_factory=Usage)
    requests: int = 0


class Manager:
    """Annotates tracks.

    Parameters
    ----------
    chain
        Providers in the order in which they are asked.
    purse
        Where money is reserved and booked.
    first_link
        The place in the chain where a track begins; 0 by default.
    on_progress
        Called with the tally after each outcome.
    """

    def __init__(
        self,
        chain: Sequence[Link],
        purse: Purse,
        options: Options | None = None,
        first_link: Callable[[TrackFacts], int] | None = None,
        on_progress: Callable[[Tally], None] | None = None,
    ) -> None:
        if not chain:
            raise ValueError("a manager needs a provider")
        self.chain, self.purse, self.options = list(chain), purse, options or Options()
        self.tally = Tally()
        self.changed = threading.Condition()
        self.in_flight = 0
        self._first_link = first_link or (lambda facts: 0)
        self._on_progress = on_progress
        self._tasks: deque[Task] = deque()
        self._working = 0
        self._taking = False
        self._dry = False
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._spent: dict[int, Spent] = {}

    # ------------------------------------------------------------------ the run
    def run(self, source: Source) -> Tally:
        """Annotate everything that a source gives; return what it came to.

        An error of the source or the purse (a database that is gone) ends the run and is raised here. So does an interrupt, after
        the requests that are under way. May be called again with another source; the tally goes on.
        """
        self._dry = self._taking = False
        threads = [
            threading.Thread(target=self._work, args=(source,), name=f"annotate-{number}", daemon=True)
            for number in range(self.options.workers)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)
        except BaseException:
            self.stop("interrupted")
            for thread in threads:
                thread.join()
            raise
        if self._error is not None:
            raise self._error
        return self.tally

    def stop(self, reason: str) -> None:
        """Begin no more requests."""
        with self.changed:
            if self.tally.stopped is None:
                self.tally.stopped = reason
            self._stop.set()
            self.changed.notify_all()

    @property
    def stopping(self) -> bool:
        """Whether no more requests are begun."""
        return self._stop.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait; return whether the run goes on."""
        return not self._stop.wait(seconds) if seconds > 0 else not self._stop.is_set()

    def _work(self, source: Source) -> None:
        try:
            while (task := self._next(source)) is not None:
                try:
                    work.handle(self, source, task)
                finally:
                    with self.changed:
                        self._working -= 1
                        self.changed.notify_all()
        except BaseException as error:  # noqa: BLE001 (raised again by `run`, in the thread that called it)
            with self.changed:
                self._error = self._error or error
            self.stop("an error")

    def _next(self, source: Source) -> Task | None:
        """Return the next task: one that waits, else new tracks of the source; None when there is nothing left to do."""
        while True:
            with self.changed:
                while True:
                    if self._tasks:
                        self._working += 1
                        return self._tasks.popleft()
                    if self._stop.is_set() or (self._dry and self._working == 0):
                        return None
                    if not self._dry and not self._taking:
                        # One thread at a time asks the source, so that requests are full.
                        self._taking = True
                        break
                    self.changed.wait(0.5)
            tracks: list[TrackFacts] = []
            try:
                tracks = source.take(self.options.tracks_per_request)
            finally:
                with self.changed:
                    self._taking = False
                    self._dry = self._dry or not tracks
                    by_link: dict[int, list[TrackFacts]] = {}
                    for facts in tracks:
                        by_link.setdefault(self._first_link(facts), []).append(facts)
                    self._tasks.extend(Task(members, link) for link, members in sorted(by_link.items()))
                    self.changed.notify_all()

    # ------------------------------------------------------------------ what tasks report
    def push(self, *tasks: Task) -> None:
        """Let tasks come next."""
        with self.changed:
            self._tasks.extendleft(reversed([task for task in tasks if task.tracks]))
            self.changed.notify_all()

    def book(self, task: Task, costs: Sequence[Decimal], usage: Usage) -> None:
        """Share a request's cost and tokens among its tracks."""
        count = len(task.tracks)
        with self.changed:
            self.tally.requests += 1
            self.tally.cost += sum(costs, Decimal(0))
            self.tally.tokens = self.tally.tokens.plus(usage)
            for number, (facts, cost) in enumerate(zip(task.tracks, costs, strict=True)):
                spent = self._spent.setdefault(facts.track_id, Spent())
                spent.cost += cost
                spent.requests += 1
                # The first track has the remainder.
                spent.tokens = spent.tokens.plus(Usage(*(n // count + (n % count if number == 0 else 0) for n in usage)))

    def finish(self, source: Source, task: Task, found: Sequence[tuple[TrackFacts, Annotation]]) -> None:
        """Keep the annotations of a reply."""
        if not found:
            return
        source.put([self._outcome(task, facts, annotation, None, None) for facts, annotation in found])
        with self.changed:
            self.tally.annotated += len(found)
            self.tally.contradicted += sum(bool(annotation.contradictions) for _, annotation in found)
            name = self.chain[task.link].provider.name
            self.tally.by_provider[name] = self.tally.by_provider.get(name, 0) + len(found)
        self._report()
        source.done([facts for facts, _ in found])

    def fail(self, source: Source, task: Task, tracks: Sequence[TrackFacts], kind: str, reason: str) -> None:
        """Keep that a provider has no annotation of some tracks, and let the next one of the chain try."""
        source.put([self._outcome(task, facts, None, kind, reason) for facts in tracks])
        if task.link + 1 < len(self.chain):
            self.push(Task(list(tracks), task.link + 1))
            return
        with self.changed:
            self.tally.failed += len(tracks)
            self.tally.failures[kind] = self.tally.failures.get(kind, 0) + len(tracks)
        self._report()
        source.done(tracks)

    def leave(self, source: Source, task: Task, reason: str) -> None:
        """Leave tracks for another run; what they have cost so far is kept with them."""
        with self.changed:
            begun = [facts for facts in task.tracks if facts.track_id in self._spent]
        source.put([self._outcome(task, facts, None, "stopped", reason) for facts in begun])
        with self.changed:
            self.tally.left += len(task.tracks)
        source.done(task.tracks)

    def leave_waiting(self, source: Source) -> None:
        """Leave the tasks that still wait."""
        while True:
            with self.changed:
                if not self._tasks:
                    return
                task = self._tasks.popleft()
            self.leave(source, task, self.tally.stopped or "stopped")

    def _outcome(
        self, task: Task, facts: TrackFacts, annotation: Annotation | None, kind: str | None, reason: str | None
    ) -> Outcome:
        with self.changed:
            spent = self._spent.pop(facts.track_id, Spent())
        provider = self.chain[task.link].provider
        return Outcome(facts, provider.name, provider.model, annotation, kind, reason, spent.cost, spent.tokens, spent.requests)

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self.tally)
