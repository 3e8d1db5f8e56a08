"""Anthropic's Messages through its own SDK, with structured outputs (`output_config`), and Message Batches."""

from collections.abc import Iterator, Mapping
from typing import Any

from map4_pipeline.annotate.pricing import Usage
from map4_pipeline.annotate.providers.base import (
    Answer,
    BatchState,
    ErrorKind,
    Finish,
    ProviderError,
    Question,
    connection_error,
    explained,
    kind_of_status,
    scrubbed,
    seconds_to_wait,
)

_FINISHES: dict[str, Finish] = {
    "refusal": "refusal",
    "max_tokens": "truncated",
    "model_context_window_exceeded": "truncated",
}


class AnthropicProvider:
    """Asks one model; parameters as for `OpenAIProvider`."""

    name = "anthropic"

    def __init__(
        self, key: str, model: str, base_url: str | None = None, effort: str | None = None, timeout: float = 120
    ) -> None:
        import anthropic

        self.model = model
        self._effort = effort
        self._secrets = [key]
        self._client = anthropic.Anthropic(
            api_key=key, base_url=base_url or "https://api.anthropic.com", timeout=timeout, max_retries=0
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, question: Question) -> Answer:
        """Ask once."""
        with explained(self._explained):
            message = self._client.messages.create(**self._body(question))
        return _answer(message)

    def _body(self, question: Question) -> dict[str, Any]:
        config: dict[str, Any] = {"format": {"type": "json_schema", "schema": question.schema}}
        if self._effort:
            config["effort"] = self._effort
        return {
            "model": self.model,
            "system": question.system,
            "messages": [{"role": "user", "content": question.user}],
            "max_tokens": question.max_output_tokens,
            "output_config": config,
        }

    def _explained(self, error: Exception) -> ProviderError:
        import anthropic

        if isinstance(error, anthropic.APIStatusError):
            said = error.api_message or error.message
            kind = _kind(error.status_code, str(error.type or ""), said)
            message = f"HTTP {error.status_code}: {scrubbed(said, self._secrets)}"
            return ProviderError(kind, message, retry_after=seconds_to_wait(error.response.headers))
        if isinstance(error, anthropic.APIConnectionError):
            return connection_error(error, self._secrets)
        if isinstance(error, anthropic.AnthropicError | ValueError):
            return ProviderError("garbled", "The reply is not one of this API's.", spent=True)
        raise error

    # ------------------------------------------------------------------ batches
    def submit(self, questions: Mapping[str, Question], label: str) -> str:
        """Hand a batch in."""
        requests: list[Any] = [{"custom_id": name, "params": self._body(question)} for name, question in questions.items()]
        with explained(self._explained):
            return str(self._client.messages.batches.create(requests=requests).id)

    def find(self, label: str) -> str | None:
        """Return None: Message Batches carry no label of ours."""
        return None

    def state(self, batch_id: str) -> BatchState:
        """Ask how a batch stands."""
        with explained(self._explained):
            batch = self._client.messages.batches.retrieve(batch_id)
        if batch.processing_status != "ended":
            return BatchState("running", batch.processing_status)
        return BatchState(
            "ended" if batch.results_url else "failed", "ended" if batch.results_url else "the results are archived"
        )

    def results(self, batch_id: str) -> Iterator[tuple[str, Answer | ProviderError]]:
        """Read the results."""
        with explained(self._explained):
            for item in self._client.messages.batches.results(batch_id):
                yield item.custom_id, self._result(item.result)

    def _result(self, result: Any) -> Answer | ProviderError:
        if result.type == "succeeded":
            return _answer(result.message)
        if result.type == "errored":
            said = result.error.error
            return ProviderError(_kind(0, said.type, said.message), scrubbed(str(said.message), self._secrets))
        return ProviderError("server", f"The provider did not come to it: {result.type}.")


def _kind(status: int, type_: str, message: str) -> ErrorKind:
    named: dict[str, ErrorKind] = {
        "overloaded_error": "overloaded",
        "rate_limit_error": "rate_limited",
        "api_error": "server",
        "timeout_error": "server",
        "authentication_error": "auth",
        "permission_error": "auth",
        "billing_error": "quota",
        "not_found_error": "not_found",
        "request_too_large": "too_large",
    }
    if type_ == "invalid_request_error" and "credit balance" in message:
        return "quota"
    return named.get(type_) or kind_of_status(status or 400)


def _answer(message: Any) -> Answer:
    usage = getattr(message, "usage", None)
    blocks = getattr(message, "content", None)
    if usage is None or not isinstance(blocks, list) or getattr(usage, "output_tokens", None) is None:
        raise ProviderError("garbled", "The reply is not one of this API's.", spent=True)
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    # `input_tokens` are those that neither came from the cache nor went into it.
    counted = Usage(usage.input_tokens + read + written, usage.output_tokens, read, written)
    text = "".join(block.text for block in blocks if getattr(block, "type", "") == "text" and block.text)
    return Answer(text, _FINISHES.get(message.stop_reason or "", "complete"), counted, str(message.model))
