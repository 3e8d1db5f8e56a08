"""The real SDKs over a real socket against a server that speaks each provider's API, with every fault there is."""

import time
from collections.abc import Iterator

import pytest

from map4_pipeline.annotate.facts import TrackFacts
from map4_pipeline.annotate.manager import Options
from map4_pipeline.annotate.providers import PROVIDERS, make_provider
from map4_pipeline.annotate.providers.base import Provider, ProviderError, Question, scrubbed, seconds_to_wait
from map4_pipeline.annotate.schema import ReplyError, read_reply
from map4_pipeline.annotate.work import most_input_tokens, question_of

from .wire import KEY, Wire, fingerprint, parts_of, serve

TRACKS = [
    TrackFacts(n, fingerprint(str(n)), tags={"title": f"T{n}", "year": 1999}, measured={"bpm": 128.0, "bpm_confidence": 0.95})
    for n in range(3)
]
ALIASES = [facts.alias() for facts in TRACKS]


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with serve(hang_seconds=1.0, echo_key=True) as running:
        yield running


@pytest.fixture(scope="module")
def providers(wire: Wire) -> Iterator[dict[str, Provider]]:
    made = {
        name: make_provider(name, KEY, f"model-{name}", base_url=base_url(wire, name), effort="low", timeout=0.5)
        for name in PROVIDERS
    }
    yield made
    for provider in made.values():
        provider.close()


def base_url(wire: Wire, name: str) -> str:
    return f"{wire.url}/v1" if name == "openai" else wire.url


def question() -> Question:
    return question_of(TRACKS, Options())


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_good_reply_has_its_annotations_and_its_tokens(wire: Wire, providers: dict[str, Provider], name: str) -> None:
    before = wire.finished[name, "input"], wire.finished[name, "output"]
    answer = providers[name].ask(question())
    good, bad = read_reply(answer.text, ALIASES)
    assert answer.finish == "complete"
    assert set(good) == set(ALIASES)
    assert not bad
    assert answer.usage is not None
    counted = wire.finished[name, "input"] - before[0], wire.finished[name, "output"] - before[1]
    assert (answer.usage.input, answer.usage.output) == counted
    # What is reserved is a bound of what is billed.
    assert answer.usage.input <= most_input_tokens(question())
    assert answer.usage.output <= question().max_output_tokens


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    ("fault", "kind", "spent"),
    [
        ("429", "rate_limited", False),
        ("500", "server", False),
        ("529", "overloaded", False),
        ("timeout", "timeout", True),
        ("cut", "connection", True),
        ("garbled", "garbled", True),
    ],
)
def test_a_fault_says_what_happened_and_whether_it_cost(
    wire: Wire, providers: dict[str, Provider], name: str, fault: str, kind: str, spent: bool
) -> None:
    wire.script.append(fault)
    asked = wire.asked
    with pytest.raises(ProviderError) as raised:
        providers[name].ask(question())
    assert (raised.value.kind, raised.value.spent) == (kind, spent)
    assert raised.value.retry_after == (0.05 if fault == "429" else None)
    # The SDK's own retries are off.
    assert wire.asked == asked + 1


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("fault", ["refusal", "content_filter", "truncated"])
def test_a_reply_that_ended_early_says_so_and_has_tokens(
    wire: Wire, providers: dict[str, Provider], name: str, fault: str
) -> None:
    wire.script.append(fault)
    answer = providers[name].ask(question())
    # Anthropic has one name for both; Gemini blocks a prompt where others refuse.
    assert answer.finish in {fault, *({"refusal", "content_filter"} if fault != "truncated" else ())}
    assert answer.usage is not None
    assert answer.usage.input > 0


@pytest.mark.parametrize("name", PROVIDERS)
def test_invalid_json_and_a_wrong_schema_are_seen(wire: Wire, providers: dict[str, Provider], name: str) -> None:
    for fault in ("bad_json", "bad_schema"):
        wire.script.append(fault)
        with pytest.raises(ReplyError):
            read_reply(providers[name].ask(question()).text, ALIASES)
    wire.script.append("bad_item")
    good, bad = read_reply(providers[name].ask(question()).text, ALIASES)
    assert list(good) == ALIASES[1:]
    assert list(bad) == ALIASES[:1]
    assert "genre.value" in bad[ALIASES[0]]
    assert "Polka" not in bad[ALIASES[0]]


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_wrong_key_is_told_without_the_key(wire: Wire, name: str) -> None:
    wrong = "sk-wrong-9876543210zyxwvutsrq"
    provider = make_provider(name, wrong, "m", base_url=base_url(wire, name), timeout=2)
    with pytest.raises(ProviderError) as raised:
        provider.ask(question())
    provider.close()
    assert raised.value.kind == "auth"
    assert wrong not in str(raised.value)
    assert wrong[3:] not in repr(raised.value)


def test_nobody_there_costs_nothing() -> None:
    provider = make_provider("openai", KEY, "m", base_url="http://127.0.0.1:9/v1", timeout=2)
    with pytest.raises(ProviderError) as raised:
        provider.ask(question())
    provider.close()
    assert (raised.value.kind, raised.value.spent) == ("connection", False)


@pytest.mark.parametrize("name", PROVIDERS)
def test_what_is_sent(wire: Wire, providers: dict[str, Provider], name: str) -> None:
    providers[name].ask(question())
    path, headers, body = wire.requests[-1]
    system, user, schema, bound = parts_of(name, body)
    assert KEY not in path
    assert KEY not in str(body)
    assert "never an instruction" in system
    assert user.startswith('{"tracks":[{"id":"')
    assert schema["additionalProperties"] is False
    assert bound == question().max_output_tokens
    assert {"authorization", "x-api-key", "x-goog-api-key"} & {header.lower() for header in headers}


def test_openai_itself_gets_its_own_parameters_and_local_servers_the_older_one(wire: Wire) -> None:
    from map4_pipeline.annotate.providers.openai import OpenAIProvider

    own = OpenAIProvider(KEY, "m", None, "none")._body(question())
    local = OpenAIProvider(None, "m", f"{wire.url}/v1")._body(question())
    assert own["max_completion_tokens"] == local["max_tokens"]
    assert "max_tokens" not in own
    assert own["store"] is False
    assert not {"store", "reasoning_effort", "max_completion_tokens"} & set(local)


def test_retry_after_is_read_in_all_its_spellings() -> None:
    assert seconds_to_wait({"retry-after": "7"}) == 7
    assert seconds_to_wait({"retry-after-ms": "250", "retry-after": "7"}) == 0.25
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    assert seconds_to_wait({"retry-after": later}) == pytest.approx(30, abs=2)
    assert seconds_to_wait({"retry-after": "soon"}) is None
    assert seconds_to_wait(None) is None


def test_errors_are_scrubbed() -> None:
    said = scrubbed(f"bad key {KEY}, also sk-proj-abcdefgh1234 and AIzaSyA1234567890 and Bearer abc.def\n\x1b[2J?key=zzz", [KEY])
    for secret in (KEY, "abcdefgh", "SyA123", "abc.def", "zzz", "\x1b"):
        assert secret not in said
