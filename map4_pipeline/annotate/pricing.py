"""What providers charge: a dated table, the user's own prices before it, and exact sums in US dollars.

Prices change, and this table does not know it: `map4 annotate --dry-run` prints its date, `MAP4_AI_PRICES` overrides it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from typing import NamedTuple

#: When the table was put together, from the providers' list prices as copies and transcripts of their pages had them (OpenAI:
#: September to November 2026, Anthropic and Google: October 2026); the pages are the authority. Nothing is fetched at run time.
PRICES_DATE = "2026-11-22"
PRICING_PAGES = {
    "openai": "https://developers.openai.com/api/docs/pricing",
    "anthropic": "https://platform.claude.com/docs/en/about-claude/pricing",
    "gemini": "https://ai.google.dev/gemini-api/docs/pricing",
}
#: Batch APIs of OpenAI and Anthropic cost half (same sources).
BATCH_FACTOR = Decimal("0.5")

_MILLION = Decimal(1_000_000)
#: Sums are cut to this when they are shared out.
_SMALLEST = Decimal("1e-12")


class PriceError(ValueError):
    """A price that cannot be read, or a model that has none."""


class Usage(NamedTuple):
    """Tokens: `input` is all that went in, `cached` and `cache_written` are parts of it; `output` includes thought."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_written: int = 0

    def plus(self, other: "Usage") -> "Usage":
        """Return the sum."""
        return Usage(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens. `cached` and `cache_write` are those of `input` where they are None."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None

    def cost(self, usage: Usage, *, batch: bool = False) -> Decimal:
        """Return what some tokens cost, exactly."""
        plain = usage.input - usage.cached - usage.cache_written
        cached = self.input if self.cached is None else self.cached
        written = self.input if self.cache_write is None else self.cache_write
        sum_ = plain * self.input + usage.cached * cached + usage.cache_written * written + usage.output * self.output
        return sum_ / _MILLION * (BATCH_FACTOR if batch else 1)

    def most(self, input_tokens: int, output_tokens: int, *, batch: bool = False) -> Decimal:
        """Return what so many tokens cost at most, whatever the provider's cache does."""
        dearest = max(price for price in (self.input, self.cached, self.cache_write) if price is not None)
        sum_ = input_tokens * dearest + output_tokens * self.output
        return sum_ / _MILLION * (BATCH_FACTOR if batch else 1)

    @property
    def free(self) -> bool:
        """Whether it costs nothing."""
        return not (self.input or self.output or self.cached or self.cache_write)


@dataclass(frozen=True, slots=True)
class Model:
    """What MAP4 knows of a model: its price, and how much it should think (None: the provider's default, or it cannot)."""

    price: Price
    effort: str | None = None


def _price(input_: str, output: str, cached: str | None = None, cache_write: str | None = None) -> Price:
    return Price(Decimal(input_), Decimal(output), *(None if part is None else Decimal(part) for part in (cached, cache_write)))


#: Prices for prompts under the providers' long-context limits (100,000 tokens and more); a request has some thousands.
#: Annotating needs no long thought, and thought is paid as output, so it is kept short where the model takes the parameter.
MODELS: dict[tuple[str, str], Model] = {
    ("openai", "gpt-6-luna"): Model(_price("0.10", "0.50", "0.01", "0.125"), "none"),
    ("openai", "gpt-6-sol"): Model(_price("2", "10", "0.20", "2.50"), "none"),
    ("openai", "gpt-5.6-luna"): Model(_price("0.20", "1.20", "0.02"), "none"),
    ("openai", "gpt-5.4-mini"): Model(_price("0.75", "4.50", "0.075"), "none"),
    ("anthropic", "claude-haiku-5-5"): Model(_price("0.10", "0.50", None, "0.20"), "low"),
    ("anthropic", "claude-haiku-4-5"): Model(_price("1", "5", "0.10", "2")),
    ("anthropic", "claude-sonnet-5-5"): Model(_price("2", "10"), "low"),
    ("anthropic", "claude-opus-5-5"): Model(_price("4", "20", "0.20", "8"), "low"),
    ("gemini", "gemini-3.1-flash-lite"): Model(_price("0.25", "1.50"), "minimal"),
    ("gemini", "gemini-3.5-flash-lite"): Model(_price("0.30", "2.50"), "minimal"),
    ("gemini", "gemini-3.5-flash"): Model(_price("1.50", "9.00"), "low"),
}

FREE = Price(Decimal(0), Decimal(0))


def parse_prices(text: str) -> dict[str, Price]:
    """Read the user's prices: `model=input/output` in US dollars per million tokens, several separated by `;`.

    Raises
    ------
    PriceError
    """
    found: dict[str, Price] = {}
    for part in (part.strip() for part in text.split(";")):
        if not part:
            continue
        model, _, numbers = part.partition("=")
        try:
            input_, output = (Decimal(number.strip()) for number in numbers.split("/"))
        except (ValueError, InvalidOperation):
            raise PriceError(f"{part!r} is no price. Write model=input/output in US dollars per million tokens.") from None
        if not model.strip() or not all(price.is_finite() and price >= 0 for price in (input_, output)):
            raise PriceError(f"{part!r} is no price. Write model=input/output in US dollars per million tokens.")
        found[model.strip()] = Price(input_, output)
    return found


def model_of(provider: str, model: str, own: Mapping[str, Price], *, local: bool = False) -> Model:
    """Return a model's price, the user's own before the table's.

    Parameters
    ----------
    local
        The provider is a server on this machine: it costs nothing unless the user says otherwise.

    Raises
    ------
    PriceError
        When nobody knows the price: a budget cannot be kept by guessing.
    """
    known = None if local else MODELS.get((provider, model))
    if model in own:
        return Model(own[model], known.effort if known else None)
    if local:
        return Model(FREE)
    if known is None:
        raise PriceError(
            f"MAP4 does not know what {model} of {provider} costs. Set MAP4_AI_PRICES={model}=input/output in US dollars per "
            f"million tokens ({PRICING_PAGES[provider]})."
        )
    return known


def share(cost: Decimal, parts: Sequence[int] | int) -> list[Decimal]:
    """Share a cost out equally, to the last fraction: the shares add up to the cost."""
    count = parts if isinstance(parts, int) else len(parts)
    each = (cost / count).quantize(_SMALLEST, ROUND_DOWN)
    return [cost - each * (count - 1), *[each] * (count - 1)]
