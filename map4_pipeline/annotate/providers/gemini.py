"""Google's Gemini through google-genai, with a JSON schema for the reply."""

from typing import Any

from map4_pipeline.annotate.pricing import Usage
from map4_pipeline.annotate.providers.base import (
    Answer,
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
    "MAX_TOKENS": "truncated",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "LANGUAGE": "refusal",
}


class GeminiProvider:
    """Asks one model; parameters as for `OpenAIProvider`."""

    name = "gemini"

    def __init__(
        self, key: str, model: str, base_url: str | None = None, effort: str | None = None, timeout: float = 120
    ) -> None:
        from google import genai
        from google.genai import types

        self.model = model
        self._effort = effort
        self._secrets = [key]
        options = types.HttpOptions(
            base_url=base_url or "https://generativelanguage.googleapis.com",
            timeout=round(timeout * 1000),
            # Attempts count the first one.
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        # The Gemini API by key, whatever else of Google's is set up on this machine.
        self._client = genai.Client(vertexai=False, api_key=key, http_options=options)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, question: Question) -> Answer:
        """Ask once."""
        from google.genai import types

        thinking = None
        if self._effort:
            thinking = types.ThinkingConfig(thinking_level=types.ThinkingLevel(self._effort.upper()))
        config = types.GenerateContentConfig(
            system_instruction=question.system,
            response_mime_type="application/json",
            response_json_schema=question.schema,
            max_output_tokens=question.max_output_tokens,
            thinking_config=thinking,
        )
        with explained(self._explained):
            reply = self._client.models.generate_content(model=self.model, contents=question.user, config=config)
        return _answer(reply)

    def _explained(self, error: Exception) -> ProviderError:
        import httpx2
        from google.genai import errors

        if isinstance(error, errors.APIError):
            said = scrubbed(str(error.message or error.status or ""), self._secrets)
            kind = kind_of_status(int(error.code))
            if kind == "bad_request" and "API key" in said:
                kind = "auth"
            headers = getattr(error.response, "headers", None)
            wait = seconds_to_wait(headers) if kind in ("rate_limited", "overloaded") else None
            if wait is None and kind == "rate_limited":
                wait = _retry_delay(error.details)
            return ProviderError(kind, f"HTTP {error.code}: {said}", retry_after=wait)
        if isinstance(error, httpx2.TransportError):
            return connection_error(error, self._secrets)
        if isinstance(error, errors.UnknownApiResponseError | ValueError):
            return ProviderError("garbled", "The reply is not one of this API's.", spent=True)
        raise error


def _retry_delay(details: Any) -> float | None:
    """Return the seconds of `google.rpc.RetryInfo` in an error, which stands in for Retry-After."""
    body = details.get("error", details) if isinstance(details, dict) else {}
    for detail in body.get("details") or []:
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            try:
                return float(delay[:-1])
            except ValueError:
                return None
    return None


def _answer(reply: Any) -> Answer:
    said = reply.usage_metadata
    usage = None
    if said is not None and said.prompt_token_count is not None:
        output = (said.candidates_token_count or 0) + (said.thoughts_token_count or 0)
        usage = Usage(said.prompt_token_count, output, said.cached_content_token_count or 0)
    blocked = reply.prompt_feedback.block_reason if reply.prompt_feedback else None
    if not reply.candidates:
        if blocked is None:
            raise ProviderError("garbled", "The reply is not one of this API's.", spent=True)
        return Answer("", "content_filter", usage, str(reply.model_version or ""))
    candidate = reply.candidates[0]
    reason = candidate.finish_reason.value if candidate.finish_reason is not None else "STOP"
    parts = candidate.content.parts if candidate.content and candidate.content.parts else []
    text = "".join(part.text for part in parts if part.text and not part.thought)
    return Answer(text, _FINISHES.get(reason, "complete"), usage, str(reply.model_version or ""))
