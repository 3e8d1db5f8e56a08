"""From settings to a chain of providers with prices and limits; and what to set when there is none."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from map4_pipeline.annotate.limits import CircuitBreaker, RateLimiter
from map4_pipeline.annotate.manager import Link, Options
from map4_pipeline.annotate.pricing import Model, Price, PriceError, model_of, parse_prices
from map4_pipeline.annotate.prompts import PROMPT_VERSION
from map4_pipeline.annotate.providers import KEY_VARIABLES, PROVIDERS, ProviderMissingError, make_provider
from map4_pipeline.settings import Settings
from map4_pipeline.store.annotations import Asked
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.spending import Budget

WHAT_TO_SET = (
    "Set the key of a provider (OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY), or OPENAI_BASE_URL for a server of your "
    "own, and what a day may cost in MAP4_AI_BUDGET_USD_PER_DAY (docs/annotations.md)."
)


class NotConfiguredError(StoreError):
    """Nobody may be asked: no key, no budget, no price. The text says what to set."""


@dataclass(frozen=True, slots=True)
class Configured:
    """A provider as the settings have it, without its key."""

    name: str
    model: str
    known: Model
    base_url: str | None
    local: bool
    has_key: bool = True

    @property
    def asked(self) -> Asked:
        """Whose annotations these are."""
        return Asked(self.name, self.model, PROMPT_VERSION)


def configured_providers(settings: Settings, names: Sequence[str] = (), *, only_estimate: bool = False) -> list[Configured]:
    """Return who can be asked, in order.

    Parameters
    ----------
    names
        Providers to ask in the settings' place.
    only_estimate
        Nobody will be asked: those without a key are given too where they were named, and all where there is no key at all.

    Raises
    ------
    NotConfiguredError
        When one that was named has no key or no price, or when there is none at all.
    """
    wanted = list(names) or [name.strip() for name in settings.ai_providers.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in PROVIDERS]
    if unknown:
        raise NotConfiguredError(f"There is no provider {unknown[0]!r}. There are: {', '.join(PROVIDERS)}.")
    able = [name for name in PROVIDERS if _has_access(settings, name)]
    missing = [name for name in wanted if name not in able]
    if missing and not only_estimate:
        raise NotConfiguredError(f"No key for {missing[0]}: set {KEY_VARIABLES[missing[0]]} in the environment.")
    chosen = list(dict.fromkeys(wanted)) or able or (list(PROVIDERS) if only_estimate else [])
    if not chosen:
        raise NotConfiguredError(f"No provider is configured. {WHAT_TO_SET}")
    try:
        prices = parse_prices(settings.ai_prices)
        return [replace(_configured(settings, name, prices), has_key=name in able) for name in chosen]
    except PriceError as error:
        raise NotConfiguredError(str(error)) from None


def _configured(settings: Settings, name: str, prices: dict[str, Price]) -> Configured:
    model: str = getattr(settings, f"ai_{name}_model")
    base_url: str | None = getattr(settings, f"{name}_base_url")
    # Only OpenAI's API is what servers on one's own machine speak; a gateway of another provider's passes its prices on.
    local = name == "openai" and base_url is not None and is_loopback(base_url)
    return Configured(name, model, model_of(name, model, prices, local=local), base_url, local)


def price_of(settings: Settings, configured: Configured, model: str) -> Price:
    """Return the price of another model of a provider: a batch may have been handed in under other settings.

    Raises
    ------
    PriceError
    """
    if model == configured.model:
        return configured.known.price
    return model_of(configured.name, model, parse_prices(settings.ai_prices), local=configured.local).price


def budget_of(settings: Settings) -> Budget:
    """Return the budget.

    Raises
    ------
    NotConfiguredError
        When the user has not set one: nothing is sent without.
    """
    if settings.ai_budget_usd_per_day is None:
        raise NotConfiguredError(
            "No budget: set what AI annotations may cost in a day, in US dollars, in MAP4_AI_BUDGET_USD_PER_DAY (0 is enough for "
            "a server that costs nothing)."
        )
    return Budget(settings.ai_budget_usd_per_day, settings.ai_budget_usd_per_run)


def make_link(settings: Settings, configured: Configured) -> Link:
    """Return a provider ready to be asked.

    Raises
    ------
    NotConfiguredError
        When its SDK is not installed.
    """
    secret = getattr(settings, f"{configured.name}_api_key")
    effort = settings.ai_effort
    chosen = configured.known.effort if effort == "auto" else None if effort == "default" else effort
    try:
        provider = make_provider(
            configured.name,
            None if secret is None else secret.get_secret_value(),
            configured.model,
            base_url=configured.base_url,
            effort=chosen,
            timeout=settings.ai_timeout_seconds,
        )
    except ProviderMissingError as error:
        raise NotConfiguredError(str(error)) from None
    limiter = RateLimiter(settings.ai_requests_per_minute, settings.ai_tokens_per_minute)
    return Link(provider, configured.known.price, limiter, CircuitBreaker())


def options_of(settings: Settings) -> Options:
    """Return how requests are made."""
    return Options(
        tracks_per_request=settings.ai_tracks_per_request,
        workers=settings.ai_workers,
        attempts=settings.ai_attempts,
        file_names=settings.ai_send_file_names,
    )


def is_loopback(url: str) -> bool:
    """Return whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _has_access(settings: Settings, name: str) -> bool:
    return getattr(settings, f"{name}_api_key") is not None or (name == "openai" and settings.openai_base_url is not None)
