"""What a provider is to the manager: a question, a reply with its tokens, or an error that says what happened and if it cost."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from map4_pipeline.annotate.pricing import Usage

#: How a reply ended.
Finish = Literal["complete", "truncated", "refusal", "content_filter"]

#: Kinds of errors. Those before the gap are worth another attempt.
ErrorKind = Literal[
    "rate_limited", "overloaded", "server", "timeout", "connection", "garbled",
    "auth", "quota", "not_found", "too_large", "bad_request", "content_filter",
]  # fmt: skip
RETRIED: frozenset[str] = frozenset({"rate_limited", "overloaded", "server", "timeout", "connection", "garbled"})
#: Kinds after which the provider need not be asked again in this run.
FATAL: frozenset[str] = frozenset({"auth", "quota", "not_found"})
#: Kinds that say that the provider is not well (a rate limit does not).
UNWELL: frozenset[str] = frozenset({"overloaded", "server", "timeout", "connection", "garbled"})

#: What keys look like, in case a provider repeats one in an error (a part of it is enough to be a secret).
_KEYS = re.compile(r"(?i)\b(?:sk-[\w*.-]{6,}|AIza[\w*.-]{6,}|AQ\.[\w*.-]{6,}|Bearer\s+\S+)|(?<=key=)[^&\s]+")


@dataclass(frozen=True, slots=True)
class Question:
    """A request as every provider understands it.

    Attributes
    ----------
    schema : dict
        JSON schema of the reply.
    max_output_tokens : int
        The provider stops there, thinking included; it bounds what the request can cost.
    """

    system: str
    user: str
    schema: dict[str, Any]
    max_output_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply that was received. `usage` None: it did not say what it cost."""

    text: str
    finish: Finish
    usage: Usage | None
    model: str = ""


class ProviderError(Exception):
    """A request without a usable reply.

    Attributes
    ----------
    kind : str
        One of `ErrorKind`.
    retry_after : float or None
        Seconds that the provider asks to wait.
    spent : bool
        Whether it may have cost something: a reply that was lost on its way was paid for; an error's reply was not.
    """

    def __init__(self, kind: ErrorKind, message: str, *, retry_after: float | None = None, spent: bool = False) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.retry_after = retry_after
        self.spent = spent


class Provider(Protocol):
    """A service that answers questions. Objects are used by several threads at once."""

    name: str
    model: str

    def ask(self, question: Question) -> Answer:
        """Ask once; no retries of its own.

        Raises
        ------
        ProviderError
        """

    def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class BatchState:
    """A batch at the provider: still running, ended (with results), or gone without any."""

    state: Literal["running", "ended", "failed"]
    detail: str = ""


class BatchProvider(Provider, Protocol):
    """A provider that takes many questions at once, for half the price, within a day."""

    def submit(self, questions: Mapping[str, Question], label: str) -> str:
        """Hand a batch in; return the provider's id of it. Raises `ProviderError`."""

    def find(self, label: str) -> str | None:
        """Return the id of a batch that was handed in under a label, when the provider can tell."""

    def state(self, batch_id: str) -> BatchState:
        """Return how a batch stands. Raises `ProviderError`."""

    def results(self, batch_id: str) -> Iterator[tuple[str, "Answer | ProviderError"]]:
        """Yield each question's answer or error by its name. Raises `ProviderError`."""


@contextmanager
def explained(explain: Callable[[Exception], ProviderError]) -> Iterator[None]:
    """Turn an SDK's errors into a `ProviderError`; `explain` raises again what it does not know."""
    try:
        yield
    except ProviderError:
        raise
    except Exception as error:  # noqa: BLE001 (none is swallowed)
        raise explain(error) from None


def scrubbed(text: str, secrets: Sequence[str] = (), limit: int = 300) -> str:
    """Return an error's text without keys, on one line, cut."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    plain = "".join(character if character.isprintable() else " " for character in _KEYS.sub("***", text))
    return " ".join(plain.split())[:limit]


def seconds_to_wait(headers: Mapping[str, str] | None) -> float | None:
    """Return what `Retry-After` (seconds or a date) or `retry-after-ms` asks for, in seconds."""
    if not headers:
        return None
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) / scale)
        except ValueError:
            pass
        from email.utils import parsedate_to_datetime

        try:
            from datetime import UTC, datetime

            return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            continue
    return None


def kind_of_status(status: int) -> ErrorKind:
    """Return the kind of an HTTP error."""
    named: dict[int, ErrorKind] = {
        401: "auth", 402: "quota", 403: "auth", 404: "not_found", 408: "server", 409: "server", 413: "too_large",
        429: "rate_limited", 503: "overloaded", 529: "overloaded",
    }  # fmt: skip
    return named.get(status, "server" if status >= 500 else "bad_request")


def connection_error(error: BaseException, secrets: Sequence[str] = ()) -> ProviderError:
    """Return what a failed connection means: before the request was out nothing was spent, afterwards nobody knows."""
    import httpx2

    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(link, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout) for link in chain):
        return ProviderError("connection", "The provider could not be reached.")
    if any(isinstance(link, httpx2.TimeoutException | TimeoutError) for link in chain):
        return ProviderError("timeout", "No reply came in time.", spent=True)
    detail = scrubbed(str(chain[-1]) or type(chain[-1]).__name__, secrets, 120)
    return ProviderError("connection", f"The connection broke before the reply was there ({detail}).", spent=True)
