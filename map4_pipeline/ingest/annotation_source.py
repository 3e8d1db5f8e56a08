"""Where the manager's tracks come from and its outcomes go: what is known is not asked again, no two runs ask one thing."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from map4_pipeline.annotate.facts import TrackFacts
from map4_pipeline.annotate.manager import Outcome
from map4_pipeline.annotate.pricing import Usage
from map4_pipeline.store import annotations as store
from map4_pipeline.store.annotation_cache import AnnotationCache
from map4_pipeline.store.annotations import Asked, Candidate, Known, Subject

#: Failures that lie in the question or the reply: asked again only when somebody says so. All others (a time-out, no credit, a
#: rate limit) are tried again by the next run.
LASTING: frozenset[str] = frozenset(
    {"refusal", "content_filter", "truncated", "unparsable", "schema", "too_large", "bad_request"}
)

#: Requests whose tracks are claimed at once.
_REQUESTS_AHEAD = 4


@dataclass(slots=True)
class Counts:
    """What became of tracks in one run: of a directory, or of all."""

    annotated: int = 0
    failed: int = 0
    reused: int = 0
    failed_before: int = 0
    cost: Decimal = Decimal(0)
    tokens: Usage = field(default_factory=Usage)


@dataclass(slots=True)
class TrackSource:
    """Gives out tracks that need an annotation and keeps what comes of them (`annotate.manager.Source`).

    Parameters
    ----------
    asked
        The chain of who is asked.
    preferred
        Whose annotation a track shows when several have spoken, first one first; the chain by default.
    waiting : set of Subject
        Those that are part of a batch under way.
    lasting : set of str
        Kinds of failures after which a provider is not asked again.
    pause
        Called when somebody has paused MAP4.
    """

    engine: Engine
    cache: AnnotationCache
    asked: Sequence[Asked]
    run_id: str
    preferred: Sequence[Asked] = ()
    retry_failed: bool = False
    file_names: bool = False
    waiting: frozenset[Subject] = frozenset()
    limit: int | None = None
    lasting: frozenset[str] = LASTING
    pause: Callable[[], None] = lambda: None
    counts: dict[int, Counts] = field(default_factory=dict)
    in_batches: int = 0
    _candidates: Iterator[Candidate] = field(default_factory=lambda: iter(()))
    _later: list[Candidate] = field(default_factory=list)
    _mine: dict[Subject, list[int]] = field(default_factory=dict)
    _links: dict[int, int] = field(default_factory=dict)
    _given: int = 0
    _ready: deque[TrackFacts] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _counting: threading.Lock = field(default_factory=threading.Lock)
    _locks: Connection | None = None

    # ------------------------------------------------------------------ for the caller of the manager
    def begin(self, candidates: Iterable[Candidate]) -> None:
        """Give out these tracks from now on."""
        self._candidates, self._later = iter(candidates), []
        self._mine.clear()

    def later(self) -> list[Candidate]:
        """Return tracks that could not be decided: another run had them, or a copy of them was under way."""
        return self._later

    def first_link(self, facts: TrackFacts) -> int:
        """Return whose turn it is for a track that was given out."""
        return self._links.get(facts.track_id, 0)

    def close(self) -> None:
        """Give all locks back."""
        with self._lock:
            if self._locks is not None:
                # Its locks belong to the server's session, which a pooled connection would keep.
                try:
                    store.release_all_locks(self._locks)
                except DBAPIError:
                    self._locks.invalidate()
                self._locks.close()
                self._locks = None

    def total(self) -> Counts:
        """Return the sum over all groups."""
        total = Counts()
        for counts in self.counts.values():
            total.annotated += counts.annotated
            total.failed += counts.failed
            total.reused += counts.reused
            total.failed_before += counts.failed_before
            total.cost += counts.cost
            total.tokens = total.tokens.plus(counts.tokens)
        return total

    # ------------------------------------------------------------------ for the manager
    def take(self, count: int) -> list[TrackFacts]:
        """Return the next tracks that nobody has annotated, claimed by locks."""
        with self._lock:
            if len(self._ready) < count:
                self._refill(count * _REQUESTS_AHEAD)
            return [self._ready.popleft() for _ in range(min(count, len(self._ready)))]

    def _refill(self, count: int) -> None:
        """Claim tracks for some requests at once: a look at the database for each would hold the workers up."""
        from map4_pipeline.store.controls import is_paused

        with self.engine.connect() as conn:
            if is_paused(conn):
                self.pause()
                self._ready.clear()
                return
        while len(self._ready) < count:
            room = count - len(self._ready)
            if self.limit is not None:
                room = min(room, self.limit - self._given)
            batch = list(islice(self._candidates, room))
            if not batch:
                return
            chosen = self._claimed(self._due(batch))
            self._given += len(chosen)
            self._ready.extend(chosen)

    def put(self, outcomes: Sequence[Outcome]) -> None:
        """Keep outcomes in one transaction, and let their tracks show the annotations."""
        kept: list[tuple[store.Record, TrackFacts]] = []
        for outcome in outcomes:
            facts, subject = outcome.facts, self._subject(outcome.facts)
            asked = next(one for one in self.asked if one.provider == outcome.provider)
            payload = None
            if outcome.annotation is not None:
                payload = outcome.annotation.to_dict(
                    provider=asked.provider, model=asked.model, prompt_version=asked.prompt_version, tags_digest=subject[1]
                )
            record = store.Record(
                subject, facts.track_id, asked, payload, outcome.error_kind, outcome.error, outcome.cost, outcome.tokens.input,
                outcome.tokens.output, outcome.requests, self.run_id,
            )  # fmt: skip
            kept.append((record, facts))
            with self._counting:
                counts = self.counts.setdefault(facts.group, Counts())
                counts.cost += outcome.cost
                counts.tokens = counts.tokens.plus(outcome.tokens)
                counts.annotated += payload is not None
                counts.failed += payload is None and asked == self.asked[-1] and outcome.error_kind != "stopped"
        if not kept:
            return
        with self.engine.begin() as conn:
            store.save(conn, [record for record, _ in kept])
            said = {
                record.subject: {record.asked.provider: Known(record.asked, record.payload, None)}
                for record, _ in kept
                if record.payload is not None
            }
            self._show(conn, [(record.track_id, record.subject) for record, _ in kept if record.payload is not None], said)
        for record, facts in kept:
            if record.payload is not None:
                self.cache.put(facts.file_hash, record.asked, record.subject[1], record.payload)

    def done(self, tracks: Sequence[TrackFacts]) -> None:
        """Give the tracks' locks back."""
        subjects = [self._subject(facts) for facts in tracks]
        with self._lock:
            if self._locks is not None:
                store.release_locks(self._locks, [store.lock_key(subject) for subject in subjects])

    # ------------------------------------------------------------------ deciding
    def due(self, candidates: Iterable[Candidate]) -> Iterator[TrackFacts]:
        """Yield what would be asked, changing nothing (for estimates)."""
        page: list[Candidate] = []
        for candidate in candidates:
            page.append(candidate)
            if len(page) == 500:
                yield from self._due(page, look_only=True)
                page = []
        yield from self._due(page, look_only=True)

    def _subject(self, facts: TrackFacts) -> Subject:
        return facts.audio_hash, facts.tags_digest(file_names=self.file_names)

    def _due(self, batch: Sequence[Candidate], *, look_only: bool = False) -> list[TrackFacts]:
        """Return those that have to be asked about; the others are counted, and shown what is known of them."""
        subjects = {candidate.facts.track_id: self._subject(candidate.facts) for candidate in batch}
        known = self._known(batch, subjects)
        due: list[TrackFacts] = []
        stale: list[tuple[int, Subject]] = []
        for candidate in batch:
            facts, subject = candidate.facts, subjects[candidate.facts.track_id]
            said = known.get(subject, {})
            link = self._turn(said)
            if link is None:
                if self._settle_known(candidate, subject, said):
                    stale.append((facts.track_id, subject))
            elif subject in self.waiting:
                self.in_batches += 1
            elif subject in self._mine:
                self._later.append(candidate)
            else:
                self._mine[subject] = [facts.track_id]
                self._links[facts.track_id] = link
                due.append(facts)
        if stale and not look_only:
            with self.engine.begin() as conn:
                self._show(conn, stale, known)
        return due

    def _known(self, batch: Sequence[Candidate], subjects: Mapping[int, Subject]) -> dict[Subject, dict[str, Known]]:
        """Look into the cache, then into PostgreSQL for what is not there."""
        found: dict[Subject, dict[str, Known]] = {}
        for candidate in batch:
            subject = subjects[candidate.facts.track_id]
            for asked in self.asked:
                payload = self.cache.get(candidate.facts.file_hash, asked, subject[1])
                if payload is not None:
                    found.setdefault(subject, {})[asked.provider] = Known(asked, payload, None)
        open_ = list({subject for subject in subjects.values() if subject not in found})
        if open_:
            with self.engine.connect() as conn:
                for subject, said in store.known(conn, open_, self.asked).items():
                    found[subject] = said
                    for known in said.values():
                        if known.payload is not None:
                            self._warm(batch, subjects, subject, known)
        return found

    def _warm(self, batch: Sequence[Candidate], subjects: Mapping[int, Subject], subject: Subject, known: Known) -> None:
        for candidate in batch:
            if subjects[candidate.facts.track_id] == subject and known.payload is not None:
                self.cache.put(candidate.facts.file_hash, known.asked, subject[1], known.payload)

    def _turn(self, said: Mapping[str, Known]) -> int | None:
        """Return whose turn it is in the chain; None when somebody has annotated it, or all have failed for good."""
        if any(known.payload is not None for known in said.values()):
            return None
        for link, asked in enumerate(self.asked):
            known = said.get(asked.provider)
            if known is None or self.retry_failed or known.error_kind not in self.lasting:
                return link
        return None

    def _settle_known(self, candidate: Candidate, subject: Subject, said: Mapping[str, Known]) -> bool:
        """Count a track that is not asked about; return whether its row shows something else than it is to show."""
        counts = self.counts.setdefault(candidate.facts.group, Counts())
        if not any(known.payload is not None for known in said.values()):
            counts.failed_before += 1
            return False
        counts.reused += 1
        best = self._best(said)
        shown = (best.asked.provider, best.asked.model, best.asked.prompt_version, subject[1])
        # With another preference (a second opinion) the row shows what it is to show already.
        return candidate.shown != shown and not self._is_preferred(candidate, subject)

    def _is_preferred(self, candidate: Candidate, subject: Subject) -> bool:
        """Return whether a track shows somebody's who is preferred to all that this chain has."""
        order = [(one.provider, one.model, one.prompt_version, subject[1]) for one in self.preferred or self.asked]
        mine = {one.provider for one in self.asked}
        return candidate.shown in order and candidate.shown[0] not in mine

    def _best(self, said: Mapping[str, Known]) -> Known:
        for asked in self.preferred or self.asked:
            known = said.get(asked.provider)
            if known is not None and known.payload is not None:
                return known
        return next(known for known in said.values() if known.payload is not None)

    def _show(self, conn: Connection, tracks: Sequence[tuple[int, Subject]], said: Mapping[Subject, Mapping[str, Known]]) -> None:
        """Let tracks show the preferred annotation of all that are kept."""
        kept = store.known(conn, [subject for _, subject in tracks], self.preferred) if self.preferred else {}
        items = []
        for track_id, subject in tracks:
            best = self._best({**kept.get(subject, {}), **said[subject]})
            items.append(store.Shown(track_id, subject, best.asked, best.payload or {}))
        store.show(conn, items)

    def _claimed(self, due: Sequence[TrackFacts]) -> list[TrackFacts]:
        """Lock what is due; what another run has is looked at later, what it has just finished is known now."""
        if not due:
            return []
        if self._locks is None:
            self._locks = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        keys = [store.lock_key(self._subject(facts)) for facts in due]
        got = store.try_locks(self._locks, keys)
        claimed: list[TrackFacts] = []
        with self.engine.connect() as conn:
            now = store.known(conn, [self._subject(facts) for facts in due], self.asked)
        for facts, key, free in zip(due, keys, got, strict=True):
            subject = self._subject(facts)
            if free and self._turn(now.get(subject, {})) is not None:
                claimed.append(facts)
                continue
            if free:
                store.release_locks(self._locks, [key])
            self._mine.pop(subject, None)
            self._later.append(Candidate(facts, (None, None, None, None)))
        return claimed
