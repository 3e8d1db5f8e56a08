"""One task of the manager: ask, read, and decide what comes of each of its tracks."""

import random
from decimal import Decimal
from typing import TYPE_CHECKING

from map4_pipeline.annotate.annotation import annotate
from map4_pipeline.annotate.pricing import Usage, share
from map4_pipeline.annotate.prompts import system_prompt, user_message
from map4_pipeline.annotate.providers.base import FATAL, RETRIED, UNWELL, Answer, ProviderError, Question
from map4_pipeline.annotate.schema import ReplyError, read_reply, reply_schema

if TYPE_CHECKING:
    from map4_pipeline.annotate.facts import TrackFacts
    from map4_pipeline.annotate.manager import Link, Manager, Options, Source, Task

#: Tokens that a provider's own framing of messages may add.
_FRAME_TOKENS = 200
#: For estimates, not for bounds: characters of English JSON per token. No tokenizer of these models can be had offline.
_CHARACTERS_PER_TOKEN = 3.2
#: Replies are shorter than their bound (estimate, for the dry run).
ESTIMATED_OUTPUT_PER_TRACK = 260
#: Output that a request has beyond its tracks.
_OUTPUT_BASE = 300


def handle(manager: "Manager", source: "Source", task: "Task") -> None:
    """Work on a task to its end: every track of it is finished, failed, left, or in another task."""
    from map4_pipeline.annotate.manager import BudgetError

    if manager.stopping:
        manager.leave(source, task, manager.tally.stopped or "stopped")
        manager.leave_waiting(source)
        return
    link = manager.chain[task.link]
    question = question_of(task.tracks, manager.options, task.note, task.room)
    try:
        answer = _ask(manager, task, link, question)
    except BudgetError as error:
        manager.stop(str(error))
        manager.leave(source, task, str(error))
        manager.leave_waiting(source)
    except ProviderError as error:
        _failed(manager, source, task, error)
    except _Stopped:
        manager.leave(source, task, manager.tally.stopped or "stopped")
        manager.leave_waiting(source)
    else:
        _read(manager, source, task, answer)


class _Stopped(Exception):  # noqa: N818 (no error: the run ends)
    """The run ends while a task waits."""


def question_of(tracks: "list[TrackFacts]", options: "Options", note: str | None = None, room: int = 1) -> Question:
    """Return the request about some tracks; `room` multiplies the bound of the reply."""
    return Question(
        system_prompt(),
        user_message(tracks, file_names=options.file_names, note=note),
        reply_schema(),
        (_OUTPUT_BASE + options.output_tokens_per_track * len(tracks)) * room,
    )


def most_input_tokens(question: Question) -> int:
    """Return a bound of a request's input: a token of these models is at least one byte of text."""
    import json

    schema = json.dumps(question.schema, separators=(",", ":"))
    return len(question.system.encode()) + len(question.user.encode("utf-8", "replace")) + len(schema) + _FRAME_TOKENS


def likely_input_tokens(question: Question) -> int:
    """Return an estimate of a request's input."""
    return round((most_input_tokens(question) - _FRAME_TOKENS) / _CHARACTERS_PER_TOKEN) + 20


def _ask(manager: "Manager", task: "Task", link: "Link", question: Question) -> Answer:
    """Ask until there is a reply.

    Raises
    ------
    ProviderError
        The last attempt's.
    BudgetError
    """
    options = manager.options
    attempt = 0
    while True:
        _wait_for_breaker(manager, task, link)
        attempt += 1
        wait = link.limiter.reserve(likely_input_tokens(question) + ESTIMATED_OUTPUT_PER_TRACK * len(task.tracks))
        if not manager.pause(wait):
            link.breaker.end_try()
            raise _Stopped
        try:
            return _ask_once(manager, task, link, question)
        except ProviderError as error:
            if error.kind in FATAL:
                link.breaker.close_for_good(str(error))
                raise
            if error.kind not in RETRIED:
                link.breaker.success()
                raise
            if error.kind in UNWELL:
                link.breaker.failure(str(error))
            else:
                link.breaker.end_try()
            asked = error.retry_after
            if attempt >= options.attempts or (asked is not None and asked > options.longest_wait_seconds):
                raise
            backoff = options.first_wait_seconds * 2 ** (attempt - 1)
            pause = min(backoff, options.longest_wait_seconds) * random.uniform(0.5, 1.0) if asked is None else asked
            if asked is not None or error.kind == "rate_limited":
                # All threads wait: the limit is the account's.
                link.limiter.pause(pause)
            if not manager.pause(pause):
                raise _Stopped from None


def _wait_for_breaker(manager: "Manager", task: "Task", link: "Link") -> None:
    """Wait until the provider may be asked; if that takes too long or another one is there, give it up for this task."""
    waited = 0.0
    while True:
        wait = link.breaker.wait()
        if wait is None:
            raise ProviderError("auth", f"{link.provider.name} is not asked any more: {link.breaker.reason}")
        if wait <= 0:
            return
        others = task.link + 1 < len(manager.chain)
        if others or waited + wait > manager.options.longest_wait_seconds:
            raise ProviderError("overloaded", f"{link.provider.name} failed several times in a row: {link.breaker.reason}")
        waited += wait
        if not manager.pause(wait):
            raise _Stopped


def _ask_once(manager: "Manager", task: "Task", link: "Link", question: Question) -> Answer:
    """Reserve, ask, book."""
    most = link.price.most(most_input_tokens(question), question.max_output_tokens)
    reservation = _reserve(manager, task, link, most)
    count = len(task.tracks)
    try:
        try:
            answer = link.provider.ask(question)
        except ProviderError as error:
            if error.spent:
                manager.purse.keep(reservation, str(error))
                manager.book(task, share(most, count), Usage())
            else:
                manager.purse.release(reservation, str(error))
                manager.book(task, [Decimal(0)] * count, Usage())
            raise
        except BaseException:
            # Whatever it was, the request may be out.
            manager.purse.keep(reservation, "an error that MAP4 does not know")
            raise
        if answer.usage is None:
            manager.purse.keep(reservation, "the reply does not say what it cost")
            manager.book(task, share(most, count), Usage())
        else:
            cost = link.price.cost(answer.usage)
            manager.purse.settle(reservation, cost, answer.usage)
            manager.book(task, share(cost, count), answer.usage)
    finally:
        with manager.changed:
            manager.in_flight -= 1
            manager.changed.notify_all()
    link.breaker.success()
    return answer


def _reserve(manager: "Manager", task: "Task", link: "Link", most: Decimal) -> int:
    """Reserve; while others of this run have reservations that will shrink, wait for them before giving up."""
    from map4_pipeline.annotate.manager import BudgetError

    while True:
        with manager.changed:
            before = manager.in_flight
            manager.in_flight += 1
        try:
            return manager.purse.reserve(link.provider.name, link.provider.model, len(task.tracks), most)
        except BaseException as error:
            with manager.changed:
                manager.in_flight -= 1
                if not isinstance(error, BudgetError) or before == 0 or manager.stopping:
                    link.breaker.end_try()
                    manager.changed.notify_all()
                    raise
                manager.changed.wait(1.0)


def _failed(manager: "Manager", source: "Source", task: "Task", error: ProviderError) -> None:
    """Decide what comes of tracks whose request failed for good."""
    if len(task.tracks) > 1 and error.kind in ("too_large", "bad_request", "content_filter"):
        # One of them may be to blame.
        _halve(manager, task)
        return
    manager.fail(source, task, task.tracks, error.kind, str(error))


def _read(manager: "Manager", source: "Source", task: "Task", answer: Answer) -> None:
    """Take what is good out of a reply, and ask again about the rest."""
    if answer.finish in ("refusal", "content_filter"):
        if len(task.tracks) > 1:
            _halve(manager, task)
        else:
            words = "The model refused." if answer.finish == "refusal" else "The provider's content filter stopped the reply."
            manager.fail(source, task, task.tracks, answer.finish, words)
        return
    if answer.finish == "truncated":
        if len(task.tracks) > 1:
            _halve(manager, task)
        else:
            # Alone, with more room.
            _again(manager, source, task, task.tracks, "truncated", "the reply did not fit into its length", room=task.room * 2)
        return
    names = {facts.alias(file_names=manager.options.file_names): facts for facts in task.tracks}
    try:
        good, bad = read_reply(answer.text, list(names))
    except ReplyError as error:
        if len(task.tracks) > 1 and task.repairs > 0:
            _halve(manager, task)
        else:
            _again(manager, source, task, task.tracks, "unparsable", str(error))
        return
    manager.finish(source, task, [(names[name], annotate(reply, names[name])) for name, reply in good.items()])
    for name, problem in bad.items():
        _again(manager, source, task, [names[name]], "schema", problem)


def _again(
    manager: "Manager", source: "Source", task: "Task", tracks: "list[TrackFacts]", kind: str, problem: str, room: int = 1
) -> None:
    """Ask again about some tracks, saying what was wrong; after the last repair they have failed."""
    from map4_pipeline.annotate.manager import Task

    if task.repairs >= manager.options.repairs:
        manager.fail(source, task, tracks, kind, f"After {task.repairs + 1} replies: {problem}.")
    else:
        manager.push(Task(list(tracks), task.link, task.repairs + 1, problem, room))


def _halve(manager: "Manager", task: "Task") -> None:
    """Ask about each half."""
    from map4_pipeline.annotate.manager import Task

    middle = len(task.tracks) // 2
    manager.push(*(Task(half, task.link, 0, None, task.room) for half in (task.tracks[:middle], task.tracks[middle:])))
