"""OpenAI's Chat Completions through its own SDK; with another base URL any server that speaks the same: Ollama, llama.cpp, vLLM.

Chat Completions rather than Responses: compatible servers have it, and one question with one structured answer is alike in both.
"""

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from map4_pipeline.annotate.pricing import Usage
from map4_pipeline.annotate.providers.base import (
    Answer,
    BatchState,
    Finish,
    ProviderError,
    Question,
    connection_error,
    explained,
    kind_of_status,
    scrubbed,
    seconds_to_wait,
)

DEFAULT_BASE_URL = "https://api.openai.com/v1"
_ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"


class OpenAIProvider:
    """Asks one model.

    Parameters
    ----------
    key : str or None
        None for a server that wants none.
    base_url : str or None
        None: OpenAI's own.
    effort : str or None
        How much the model thinks first (`none`, `minimal`, `low`, ...); None: its default.
    timeout : float
        Seconds without a byte after which a request is given up.
    """

    name = "openai"

    def __init__(
        self, key: str | None, model: str, base_url: str | None = None, effort: str | None = None, timeout: float = 120
    ) -> None:
        import openai

        self.model = model
        self._effort = effort
        self._own = base_url is None or urlsplit(base_url).hostname == urlsplit(DEFAULT_BASE_URL).hostname
        self._secrets = [key] if key else []
        # Retries are the manager's: each attempt is reserved and booked by itself.
        self._client = openai.OpenAI(api_key=key or "none", base_url=base_url or DEFAULT_BASE_URL, timeout=timeout, max_retries=0)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, question: Question) -> Answer:
        """Ask once."""
        with explained(self._explained):
            reply = self._client.chat.completions.create(**self._body(question))
        return _answer(reply.model_dump() if hasattr(reply, "model_dump") else reply)

    def _body(self, question: Question) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "system", "content": question.system}, {"role": "user", "content": question.user}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "annotations", "strict": True, "schema": question.schema},
            },
            # The older name is the one that compatible servers know.
            ("max_completion_tokens" if self._own else "max_tokens"): question.max_output_tokens,
        }
        if self._effort:
            body["reasoning_effort"] = self._effort
        if self._own:
            body["store"] = False
        return body

    def _explained(self, error: Exception) -> ProviderError:
        import openai

        if isinstance(error, openai.APIStatusError):
            kind = kind_of_status(error.status_code)
            code = str(error.code or "")
            if kind == "rate_limited" and code in ("insufficient_quota", "billing_hard_limit_reached"):
                kind = "quota"
            elif code in ("content_filter", "content_policy_violation"):
                kind = "content_filter"
            elif code in ("context_length_exceeded", "string_above_max_length"):
                kind = "too_large"
            said = error.body.get("message") if isinstance(error.body, dict) else error.message
            message = f"HTTP {error.status_code}: {scrubbed(str(said), self._secrets)}"
            return ProviderError(kind, message, retry_after=seconds_to_wait(error.response.headers))
        if isinstance(error, openai.APIConnectionError):
            return connection_error(error, self._secrets)
        if isinstance(error, openai.APIError | ValueError):
            # A reply with status 200 that is not what the API sends: it was paid for, and does not say how much.
            return ProviderError("garbled", "The reply is not one of this API's.", spent=True)
        raise error

    # ------------------------------------------------------------------ batches
    def submit(self, questions: Mapping[str, Question], label: str) -> str:
        """Upload the questions as a file and start a batch over it."""
        lines = (
            json.dumps({"custom_id": name, "method": "POST", "url": _ENDPOINT, "body": self._body(question)})
            for name, question in questions.items()
        )
        data = "\n".join(lines).encode()
        with explained(self._explained):
            file = self._client.files.create(file=("map4.jsonl", io.BytesIO(data), "application/jsonl"), purpose="batch")
            batch = self._client.batches.create(
                input_file_id=file.id, endpoint=_ENDPOINT, completion_window="24h", metadata={"map4": label}
            )
        return str(batch.id)

    def find(self, label: str) -> str | None:
        """Look for a batch among the newest hundred."""
        with explained(self._explained):
            page = self._client.batches.list(limit=100)
        return next((str(batch.id) for batch in page.data if (batch.metadata or {}).get("map4") == label), None)

    def state(self, batch_id: str) -> BatchState:
        """Ask how a batch stands."""
        with explained(self._explained):
            batch = self._client.batches.retrieve(batch_id)
        if batch.status in ("validating", "in_progress", "finalizing", "cancelling"):
            return BatchState("running", batch.status)
        if batch.output_file_id or batch.error_file_id:
            return BatchState("ended", batch.status)
        problems = batch.errors.data if batch.errors and batch.errors.data else []
        return BatchState(
            "failed", scrubbed("; ".join(str(problem.message) for problem in problems) or batch.status, self._secrets)
        )

    def results(self, batch_id: str) -> Iterator[tuple[str, Answer | ProviderError]]:
        """Read the files of answers and of errors."""
        with explained(self._explained):
            batch = self._client.batches.retrieve(batch_id)
            texts = [self._client.files.content(file).text for file in (batch.output_file_id, batch.error_file_id) if file]
        for line in "\n".join(texts).split("\n"):
            if line.strip():
                yield self._result(json.loads(line))

    def _result(self, item: dict[str, Any]) -> tuple[str, Answer | ProviderError]:
        response, error = item.get("response") or {}, item.get("error") or {}
        status = response.get("status_code")
        if status == 200:
            return item["custom_id"], _answer(response["body"])
        if status is None:
            return item["custom_id"], ProviderError("server", scrubbed(str(error.get("message", "no answer")), self._secrets))
        said = (response.get("body") or {}).get("error") or {}
        return item["custom_id"], ProviderError(
            kind_of_status(status), f"HTTP {status}: {scrubbed(str(said.get('message', '')), self._secrets)}"
        )


def _answer(reply: Any) -> Answer:
    """Return what a completion says; whatever a compatible server leaves out is None."""
    reply = reply if isinstance(reply, dict) else {}
    usage = _usage(reply.get("usage"))
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ProviderError("garbled", "The reply is not one of this API's.", spent=True)
    message = choices[0].get("message") or {}
    finish: Finish = "complete"
    if choices[0].get("finish_reason") == "content_filter":
        finish = "content_filter"
    elif message.get("refusal"):
        finish = "refusal"
    elif choices[0].get("finish_reason") == "length":
        finish = "truncated"
    return Answer(message.get("content") or "", finish, usage, str(reply.get("model") or ""))


def _usage(said: Any) -> Usage | None:
    if not isinstance(said, dict) or said.get("prompt_tokens") is None or said.get("completion_tokens") is None:
        return None
    details = said.get("prompt_tokens_details") or {}
    return Usage(
        int(said["prompt_tokens"]),
        int(said["completion_tokens"]),
        int(details.get("cached_tokens") or 0),
        int(details.get("cache_write_tokens") or 0),
    )
