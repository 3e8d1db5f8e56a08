"""Annotating by batch: many requests handed in at once for half the price, collected within a day, by this process or another.

A batch is written down before it is handed in, with its money reserved at the maximum; so a process that is killed loses none.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import cast

from sqlalchemy import Engine

from map4_pipeline.annotate.annotation import annotate
from map4_pipeline.annotate.facts import TrackFacts, alias_of
from map4_pipeline.annotate.manager import BudgetError, Options
from map4_pipeline.annotate.pricing import Price, PriceError, Usage, share
from map4_pipeline.annotate.prompts import PROMPT_VERSION
from map4_pipeline.annotate.providers import BATCH_PROVIDERS
from map4_pipeline.annotate.providers.base import Answer, BatchProvider, ProviderError, Question
from map4_pipeline.annotate.schema import ReplyError, TrackReply, read_reply
from map4_pipeline.annotate.work import most_input_tokens, question_of
from map4_pipeline.ingest.annotating import Selection, due_tracks
from map4_pipeline.ingest.annotation_setup import Configured, NotConfiguredError, make_link, options_of, price_of
from map4_pipeline.ingest.annotation_source import LASTING
from map4_pipeline.settings import Settings
from map4_pipeline.store import annotation_batches as store
from map4_pipeline.store.annotation_cache import AnnotationCache, annotation_cache
from map4_pipeline.store.annotations import Asked, Record, Shown, candidates_by_id, save, show
from map4_pipeline.store.spending import Budget, book, reserve

#: Requests in one batch at most: 10,000 tracks, far below what providers take (50,000 and 100,000 requests), so that an end in
#: the middle holds little money.
MAX_REQUESTS = 1000

#: What failed in a request of a batch is asked again by requests of its own, not by the next batch.
LASTING_IN_BATCHES = LASTING | {f"batch_{kind}" for kind in LASTING}


@dataclass(slots=True)
class BatchReport:
    """What handing in and collecting came to."""

    handed_in: int = 0
    tracks_handed_in: int = 0
    reserved: Decimal = Decimal(0)
    running: int = 0
    tracks_running: int = 0
    collected: int = 0
    annotated: int = 0
    failed: int = 0
    cost: Decimal = Decimal(0)
    problems: list[str] = field(default_factory=list)
    stopped: str | None = None


def hand_in(
    engine: Engine, settings: Settings, configured: Configured, budget: Budget, selection: Selection, run_id: str
) -> BatchReport:
    """Hand in everything that is due, as far as the budget allows.

    Raises
    ------
    NotConfiguredError
        When the provider has no batches.
    """
    if configured.name not in BATCH_PROVIDERS or configured.local:
        raise NotConfiguredError(f"{configured.name} takes no batches here. Those that do: {', '.join(BATCH_PROVIDERS)}.")
    report, options = BatchReport(), options_of(settings)
    provider = cast(BatchProvider, make_link(settings, configured).provider)
    try:
        due = due_tracks(engine, settings, [configured], selection, LASTING_IN_BATCHES)
        while report.stopped is None:
            chunk = list(islice(due, MAX_REQUESTS * options.tracks_per_request))
            if not chunk:
                break
            _hand_in_chunk(engine, provider, configured, budget, run_id, chunk, options, report)
    finally:
        provider.close()
    return report


def _hand_in_chunk(
    engine: Engine,
    provider: BatchProvider,
    configured: Configured,
    budget: Budget,
    run_id: str,
    chunk: Sequence[TrackFacts],
    options: Options,
    report: BatchReport,
) -> None:
    size = options.tracks_per_request
    groups = [list(chunk[start : start + size]) for start in range(0, len(chunk), size)]
    questions = {f"r{number:05d}": question_of(group, options) for number, group in enumerate(groups)}
    members = {
        name: [(facts.track_id, facts.audio_hash, facts.tags_digest(file_names=options.file_names)) for facts in group]
        for name, group in zip(questions, groups, strict=True)
    }
    most = _most(configured.known.price, questions)
    try:
        with engine.begin() as conn:
            spending = reserve(conn, run_id, budget, configured.name, configured.model, len(chunk), most, "batch")
            batch = store.prepare(conn, run_id, configured.name, configured.model, PROMPT_VERSION, spending, members)
    except BudgetError as error:
        report.stopped = str(error)
        return
    try:
        provider_id = provider.submit(questions, batch.label)
    except ProviderError as error:
        with engine.begin() as conn:
            # A batch whose acceptance was lost may run: it stays booked.
            book(conn, spending, "lost" if error.spent else "released", None if error.spent else Decimal(0), note=str(error))
            store.finish(conn, batch.id, "lost" if error.spent else "failed", str(error))
        report.stopped = f"{configured.name} took no batch: {error}"
        return
    with engine.begin() as conn:
        store.handed_in(conn, batch.id, provider_id)
    report.handed_in += 1
    report.tracks_handed_in += len(chunk)
    report.reserved += most


def _most(price: Price, questions: Mapping[str, Question]) -> Decimal:
    return sum(
        (price.most(most_input_tokens(question), question.max_output_tokens, batch=True) for question in questions.values()),
        Decimal(0),
    )


def collect(
    engine: Engine,
    settings: Settings,
    providers: Sequence[Configured],
    *,
    wait: bool = False,
    every_seconds: float = 30.0,
    on_wait: Callable[[BatchReport], None] | None = None,
) -> BatchReport:
    """Collect the batches that are over; with `wait` until none is running.

    What failed in a batch is due again for requests of its own, one track by one if need be.
    """
    report = BatchReport()
    by_name = {configured.name: configured for configured in providers}
    with annotation_cache(settings) as cache:
        while True:
            with engine.connect() as conn:
                batches = store.open_batches(conn)
            report.running = report.tracks_running = 0
            for batch in batches:
                configured = by_name.get(batch.provider)
                if configured is None:
                    _note(report, f"A batch of {batch.provider} waits, but there is no key for it.")
                    continue
                link = make_link(settings, configured)
                try:
                    _collect_one(engine, cache, cast(BatchProvider, link.provider), configured, settings, batch, report)
                except (ProviderError, PriceError) as error:
                    _note(report, f"{batch.provider}: {error}")
                finally:
                    link.provider.close()
            if not wait or not report.running:
                return report
            if on_wait is not None:
                on_wait(report)
            time.sleep(every_seconds)


def _note(report: BatchReport, problem: str) -> None:
    """Add a problem that may come up in every round, once."""
    if problem not in report.problems:
        report.problems.append(problem)


def _collect_one(
    engine: Engine,
    cache: AnnotationCache,
    provider: BatchProvider,
    configured: Configured,
    settings: Settings,
    batch: store.Batch,
    report: BatchReport,
) -> None:
    """Collect one batch in one transaction: it is collected once, whoever does it."""
    price = price_of(settings, configured, batch.model)
    with engine.begin() as conn:
        if not store.hold(conn, batch.id):
            return
        provider_id = batch.provider_batch_id or provider.find(batch.label)
        if provider_id is None:
            note = "the process ended while it handed the batch in; if it got there, it was paid for and is not collected"
            book(conn, batch.spending_id, "lost", None, note=note)
            store.finish(conn, batch.id, "lost", note)
            report.problems.append(f"A batch of {batch.tracks} tracks was lost: {note}.")
            return
        state = provider.state(provider_id)
        if state.state == "running":
            if batch.provider_batch_id is None:
                store.handed_in(conn, batch.id, provider_id)
            report.running += 1
            report.tracks_running += batch.tracks
            return
        if state.state == "failed":
            book(conn, batch.spending_id, "released", Decimal(0), note=state.detail)
            store.finish(conn, batch.id, "failed", state.detail)
            report.problems.append(f"{batch.provider} refused a batch: {state.detail}")
            return
        usage, cost = Usage(), Decimal(0)
        facts = candidates_by_id(engine, [member[0] for members in batch.requests.values() for member in members])
        for name, result in provider.results(provider_id):
            members = batch.requests.get(name)
            if members is None:
                continue
            spent = price.cost(result.usage, batch=True) if isinstance(result, Answer) and result.usage else Decimal(0)
            cost += spent
            if isinstance(result, Answer) and result.usage:
                usage = usage.plus(result.usage)
            asked = Asked(batch.provider, batch.model, batch.prompt_version)
            tokens = result.usage if isinstance(result, Answer) and result.usage else Usage()
            for record, payload in _records(batch, asked, members, facts, result, spent, tokens):
                save(conn, [record])
                if payload is None:
                    report.failed += 1
                    continue
                report.annotated += 1
                if facts[record.track_id].tags_digest(file_names=settings.ai_send_file_names) != record.subject[1]:
                    continue  # retagged meanwhile: another question
                show(conn, [Shown(record.track_id, record.subject, asked, payload)])
                cache.put(facts[record.track_id].file_hash, asked, record.subject[1], payload)
        book(conn, batch.spending_id, "settled", cost, usage=usage)
        store.finish(conn, batch.id, "collected")
        report.collected += 1
        report.cost += cost


def _records(
    batch: store.Batch,
    asked: Asked,
    members: Sequence[tuple[int, str, str]],
    facts: Mapping[int, TrackFacts],
    result: Answer | ProviderError,
    spent: Decimal,
    tokens: Usage,
) -> Iterator[tuple[Record, Mapping[str, object] | None]]:
    """Yield a row for each track of a request. Tracks that were deleted or retagged meanwhile keep theirs in the history."""
    costs = share(spent, len(members))
    names = {alias_of(audio_hash, digest): track_id for track_id, audio_hash, digest in members}
    good: dict[str, TrackReply] = {}
    kind = "batch_schema"
    if isinstance(result, ProviderError):
        bad, kind = {name: str(result) for name in names}, result.kind
    elif result.finish != "complete":
        bad, kind = {name: f"The reply ended early: {result.finish}." for name in names}, "batch_" + result.finish
    else:
        try:
            good, bad = read_reply(result.text, list(names))
        except ReplyError as error:
            bad, kind = {name: str(error) for name in names}, "batch_unparsable"
    for number, (track_id, audio_hash, digest) in enumerate(members):
        name = alias_of(audio_hash, digest)
        payload = None
        track = facts.get(track_id)
        if name in good and track is not None:
            payload = annotate(good[name], track).to_dict(
                provider=asked.provider, model=asked.model, prompt_version=asked.prompt_version, tags_digest=digest
            )
        if track is None:
            continue
        count = len(members)
        mine = Usage(*(n // count + (n % count if number == 0 else 0) for n in tokens))
        yield (
            Record(
                (audio_hash, digest), track_id, asked, payload, None if payload else kind, None if payload else bad.get(name),
                costs[number], mine.input, mine.output, 1, batch.run_id,
            ),
            payload,
        )  # fmt: skip
