"""Providers: OpenAI and what speaks its API, Anthropic, Gemini; each one module that imports its SDK when it is made."""

from map4_pipeline.annotate.providers.base import Provider

PROVIDERS: tuple[str, ...] = ("openai", "anthropic", "gemini")
#: Those with a batch API at half price that MAP4 speaks.
BATCH_PROVIDERS: tuple[str, ...] = ("openai", "anthropic")
#: What has to be installed for each (extra `ai`), and the variable that holds its key.
PACKAGES = {"openai": "openai", "anthropic": "anthropic", "gemini": "google-genai"}
KEY_VARIABLES = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "gemini": "GEMINI_API_KEY"}


class ProviderMissingError(RuntimeError):
    """A provider whose SDK is not installed; the text says what to install."""


def make_provider(
    name: str, key: str | None, model: str, *, base_url: str | None = None, effort: str | None = None, timeout: float = 120
) -> Provider:
    """Return a provider.

    Raises
    ------
    ProviderMissingError
    """
    try:
        if name == "openai":
            from map4_pipeline.annotate.providers.openai import OpenAIProvider

            return OpenAIProvider(key, model, base_url, effort, timeout)
        if name == "anthropic":
            from map4_pipeline.annotate.providers.anthropic import AnthropicProvider

            return AnthropicProvider(key or "", model, base_url, effort, timeout)
        from map4_pipeline.annotate.providers.gemini import GeminiProvider

        return GeminiProvider(key or "", model, base_url, effort, timeout)
    except ImportError:
        raise ProviderMissingError(
            f"The package {PACKAGES[name]} is not installed. Install MAP4 with the extra `ai`: pip install 'map4[ai]'."
        ) from None
