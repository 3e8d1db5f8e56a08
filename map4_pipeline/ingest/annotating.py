"""Annotating tracks of the library: the line from candidates over providers to rows, for Dagster's asset and the command line."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice

from sqlalchemy import ColumnElement, Engine

from map4_pipeline.annotate.facts import TrackFacts
from map4_pipeline.annotate.manager import Link, Manager, Tally
from map4_pipeline.annotate.work import (
    ESTIMATED_OUTPUT_PER_TRACK,
    likely_input_tokens,
    most_input_tokens,
    question_of,
)
from map4_pipeline.ingest.annotation_setup import Configured, make_link, options_of
from map4_pipeline.ingest.annotation_source import LASTING, Counts, TrackSource
from map4_pipeline.settings import Settings
from map4_pipeline.store import annotations as store
from map4_pipeline.store.annotation_batches import open_subjects
from map4_pipeline.store.annotation_cache import annotation_cache
from map4_pipeline.store.annotations import Candidate
from map4_pipeline.store.spending import Budget, LedgerPurse, close_abandoned

#: Requests whose real size a dry run measures; the rest is taken to be alike.
_SAMPLE_REQUESTS = 50


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tracks, and how: conditions on `tracks`, at most so many that are asked about, those that failed for good too."""

    conditions: Sequence[ColumnElement[bool]]
    limit: int | None = None
    retry_failed: bool = False


@dataclass(slots=True)
class Result:
    """What a run came to.

    Attributes
    ----------
    counts : dict
        Counts by directory id.
    left : int
        Tracks that nobody was asked about, because the run stopped (`stopped` says why).
    elsewhere : int
        Tracks that another run has in hand.
    in_batches : int
        Tracks that are part of a batch under way.
    """

    run_id: str
    counts: dict[int, Counts] = field(default_factory=dict)
    total: Counts = field(default_factory=Counts)
    requests: int = 0
    left: int = 0
    elsewhere: int = 0
    in_batches: int = 0
    contradicted: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    by_provider: dict[str, int] = field(default_factory=dict)
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would cost with one provider; `most` what the budget has to allow, `likely` a guess by length."""

    provider: str
    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    likely: Decimal
    most: Decimal
    batch_likely: Decimal | None


def new_run_id(where: str = "cli") -> str:
    """Return an id for a run that is not one of Dagster's; `where` says whose."""
    return f"{where}-{uuid.uuid4().hex[:16]}"


def annotate_tracks(
    engine: Engine,
    settings: Settings,
    chain: Sequence[Configured],
    budget: Budget,
    selection: Selection,
    run_id: str,
    *,
    preferred: Sequence[Configured] = (),
    on_progress: Callable[[Tally], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Result:
    """Annotate tracks through a chain of providers.

    Parameters
    ----------
    preferred
        Whose annotation a track shows when several have spoken; the chain by default.
    cancelled
        Asked after each outcome: whether no more requests are to begin.

    Raises
    ------
    NotConfiguredError
        When a provider's SDK is not installed.
    """

    def told(tally: Tally) -> None:
        if on_progress is not None:
            on_progress(tally)
        if cancelled is not None and cancelled():
            manager.stop("It was cancelled.")

    with engine.begin() as conn:
        close_abandoned(conn)
        waiting = frozenset(open_subjects(conn))
    links: list[Link] = []
    with annotation_cache(settings) as cache:
        try:
            links += [make_link(settings, configured) for configured in chain]
            source = TrackSource(
                engine,
                cache,
                [configured.asked for configured in chain],
                run_id,
                preferred=[configured.asked for configured in preferred],
                retry_failed=selection.retry_failed,
                file_names=settings.ai_send_file_names,
                waiting=waiting,
                limit=selection.limit,
            )
            manager = Manager(links, LedgerPurse(engine, run_id, budget), options_of(settings), source.first_link, told)
            source.pause = lambda: manager.stop("MAP4 is paused (`map4 resume`).")
            try:
                later = _rounds(manager, source, store.candidates(engine, selection.conditions))
            finally:
                source.close()
        finally:
            for link in links:
                link.provider.close()
    result = _result(run_id, manager.tally, source, later)
    if result.stopped is not None:
        result.left = sum(1 for _ in due_tracks(engine, settings, chain, selection))
    return result


def _rounds(manager: Manager, source: TrackSource, candidates: Iterable[Candidate]) -> int:
    """Run until nothing is undecided, or what is left is in another run's hands; return how many these are."""
    undecided: Iterable[Candidate] = candidates
    before: int | None = None
    while True:
        source.begin(undecided)
        manager.run(source)
        later = source.later()
        # Copies are known after one more round. What another run has may be known by then, or not: it is that run's.
        if not later or manager.stopping or (before is not None and len(later) >= before):
            return len(later)
        before = len(later)
        # A later round shows and asks; whether it is a failure of a moment ago is not asked again.
        undecided = list(later)


def _result(run_id: str, tally: Tally, source: TrackSource, later: int) -> Result:
    return Result(
        run_id,
        source.counts,
        source.total(),
        tally.requests,
        0,
        later,
        source.in_batches,
        tally.contradicted,
        dict(tally.failures),
        dict(tally.by_provider),
        tally.stopped,
    )


def due_tracks(
    engine: Engine,
    settings: Settings,
    chain: Sequence[Configured],
    selection: Selection,
    lasting: frozenset[str] = LASTING,
) -> Iterator[TrackFacts]:
    """Yield the tracks that a run would ask about, each audio once; changes nothing."""
    with engine.connect() as conn:
        waiting = frozenset(open_subjects(conn))
    with annotation_cache(settings) as cache:
        source = TrackSource(
            engine,
            cache,
            [configured.asked for configured in chain],
            "",
            retry_failed=selection.retry_failed,
            file_names=settings.ai_send_file_names,
            waiting=waiting,
            lasting=lasting,
        )
        yield from islice(source.due(store.candidates(engine, selection.conditions)), selection.limit)


def estimate(engine: Engine, settings: Settings, chain: Sequence[Configured], selection: Selection) -> tuple[int, list[Estimate]]:
    """Return how many tracks would be asked about, and what each provider would take for them."""
    from map4_pipeline.annotate.providers import BATCH_PROVIDERS

    options = options_of(settings)
    size = options.tracks_per_request
    sample: list[TrackFacts] = []
    count = 0
    for facts in due_tracks(engine, settings, chain, selection):
        count += 1
        if len(sample) < size * _SAMPLE_REQUESTS:
            sample.append(facts)
    if not count:
        return 0, []
    questions = [question_of(sample[start : start + size], options) for start in range(0, len(sample), size)]
    scale = Decimal(count) / len(sample)
    requests = -(-count // size)
    input_tokens = round(sum(likely_input_tokens(question) for question in questions) * scale)
    output_tokens = ESTIMATED_OUTPUT_PER_TRACK * count
    found = []
    for configured in chain:
        price = configured.known.price
        most = sum((price.most(most_input_tokens(q), q.max_output_tokens) for q in questions), Decimal(0)) * scale
        likely = price.most(input_tokens, output_tokens)
        half = (
            price.most(input_tokens, output_tokens, batch=True)
            if configured.name in BATCH_PROVIDERS and not configured.local
            else None
        )
        found.append(Estimate(configured.name, configured.model, requests, input_tokens, output_tokens, likely, most, half))
    return count, found


def annotate_with_each(
    engine: Engine,
    settings: Settings,
    providers: Sequence[Configured],
    budget: Budget,
    selection: Selection,
    run_id: str,
    on_progress: Callable[[Tally], None] | None = None,
) -> Result:
    """Ask every provider about every track, one provider after the other, so that their agreement can be seen."""
    whole = Result(run_id)
    for configured in providers:
        one = annotate_tracks(
            engine, settings, [configured], budget, selection, run_id, preferred=providers, on_progress=on_progress
        )
        whole = _joined(whole, one)
        if one.stopped:
            break
    return whole


def _joined(first: Result, second: Result) -> Result:
    counts = dict(first.counts)
    for group, more in second.counts.items():
        counts[group] = _sum(counts.get(group, Counts()), more)
    failures = {kind: first.failures.get(kind, 0) + second.failures.get(kind, 0) for kind in first.failures | second.failures}
    return replace(
        second,
        counts=counts,
        total=_sum(first.total, second.total),
        requests=first.requests + second.requests,
        contradicted=first.contradicted + second.contradicted,
        left=first.left + second.left,
        failures=failures,
        by_provider={**first.by_provider, **second.by_provider},
    )


def _sum(first: Counts, second: Counts) -> Counts:
    return Counts(
        first.annotated + second.annotated,
        first.failed + second.failed,
        first.reused + second.reused,
        first.failed_before + second.failed_before,
        first.cost + second.cost,
        first.tokens.plus(second.tokens),
    )
