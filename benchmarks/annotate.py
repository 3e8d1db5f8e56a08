"""`python -m benchmarks annotate`: 1,000 tracks through each provider's SDK over a real socket, with faults, in two processes.

The provider is the local wire server of the tests: 200 ms latency, 5% faults of all kinds. Each measurement checks itself, and
the run ends with an error when one does not hold.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

ROOT = Path(__file__).resolve().parents[1]
TRACKS = 1000
LATENCY_SECONDS = 0.2
FAULT_RATE = 0.05
WORKERS = 8
RUNS = 2
REQUESTS_PER_TRACK = 0.11
_SERVER: dict[str, Any] = {"hang_seconds": 2.5, "keep": False}


def main(arguments: Sequence[str] = ()) -> None:
    """Measure every provider (or those named) and print a table."""
    from map4_pipeline.annotate.providers import PROVIDERS
    from map4_pipeline_tests.postgres import running_server

    failed = []
    with running_server() as server:
        for provider in arguments or PROVIDERS:
            with server.database() as url:
                failed += [f"{provider}: {problem}" for problem in _whole(url, provider)]
            with server.database() as url:
                failed += [f"{provider}: {problem}" for problem in _budget(url, provider)]
    for problem in failed:
        print("DOES NOT HOLD", problem)
    if failed:
        raise SystemExit(1)


def _whole(url: str, provider: str) -> list[str]:
    """Annotate everything twice; return what does not hold."""
    from map4_pipeline_tests.annotate.library import fill
    from map4_pipeline_tests.annotate.wire import serve

    problems: list[str] = []
    engine = _engine(url)
    fill(engine, TRACKS, 8)
    with serve(latency=LATENCY_SECONDS, fault_rate=FAULT_RATE, next_kind=_first_fault(provider), **_SERVER) as wire:
        started = time.perf_counter()
        results = _together(url, wire, provider, "50")
        seconds = time.perf_counter() - started
        price = _price(provider)
        received = wire.finished[provider, "input"], wire.finished[provider, "output"]
        served = _cost(price, *received)
        with engine.connect() as conn:
            settled = conn.execute(
                text("SELECT coalesce(sum(booked_usd), 0) FROM ai_spending WHERE status = 'settled'")
            ).scalar_one()
            lost = conn.execute(
                text(
                    "SELECT count(*), count(*) FILTER (WHERE booked_usd = reserved_usd AND booked_usd > 0) "
                    "FROM ai_spending WHERE status = 'lost'"
                )
            ).one()
            released = conn.execute(text("SELECT count(*) FROM ai_spending WHERE status = 'released'")).scalar_one()
            booked = conn.execute(text("SELECT sum(booked_usd) FROM ai_spending")).scalar_one()
            budget = conn.execute(text("SELECT booked_usd FROM ai_budgets WHERE scope LIKE 'day:%'")).scalar_one()
            per_track = conn.execute(text("SELECT sum(cost_usd) FROM annotations")).scalar_one()
            shown = conn.execute(text("SELECT count(*) FROM tracks WHERE ai_analysis IS NOT NULL")).scalar_one()
            reasons = conn.execute(
                text(
                    "SELECT count(*) FROM annotations WHERE status = 'failed' AND error_kind IS NOT NULL AND error_message <> ''"
                )
            ).scalar_one()
        first, asked = wire.first_requests, wire.asked
        again = _together(url, wire, provider, "50")
        second = wire.asked - asked
    _row(provider, "annotated + failed with a reason", f"{shown} + {reasons} of {TRACKS} in {seconds:.1f} s")
    _row(provider, "faults injected", dict(sorted(wire.faults.items())))
    _row(provider, "requests, first ones a track", f"{asked}, {first / TRACKS:.3f}")
    _row(provider, "ledger for replies received / server's count", f"${settled} / ${served}")
    _row(provider, "lost replies: server, ledger, at the maximum", f"{wire.lost[provider]}, {lost[0]}, {lost[1]}")
    _row(provider, "errors: server, ledger (booked at 0)", f"{wire.refused[provider]}, {released}")
    _row(provider, "booked / in the day's budget / on tracks", f"${booked} / ${budget} / ${per_track}")
    _row(provider, "second run: requests", second)
    problems += [] if shown + reasons == TRACKS else [f"{shown} annotated and {reasons} failed of {TRACKS}"]
    problems += [] if settled == served else [f"the ledger says {settled}, the server {served}"]
    problems += [] if wire.lost[provider] == lost[0] == lost[1] else [f"lost: {wire.lost[provider]}, {tuple(lost)}"]
    problems += [] if wire.refused[provider] == released else [f"errors: {wire.refused[provider]}, {released}"]
    problems += [] if booked == budget == per_track else [f"booked {booked}, budget {budget}, tracks {per_track}"]
    problems += [] if first <= REQUESTS_PER_TRACK * TRACKS else [f"{first} first requests"]
    problems += [] if second == 0 else [f"the second run sent {second} requests"]
    problems += [] if sum(result["annotated"] for result in results) == shown else [f"the runs say {results}"]
    problems += [] if all(result["cost_usd"] == 0 for result in again) else [f"the second run says {again}"]
    engine.dispose()
    return problems


def _budget(url: str, provider: str) -> list[str]:
    """Annotate with too little money in two processes at once; return what does not hold."""
    from map4_pipeline_tests.annotate.library import fill
    from map4_pipeline_tests.annotate.wire import serve

    engine = _engine(url)
    fill(engine, TRACKS, 8)
    price = _price(provider)
    limit = (_cost(price, 30_000, 25_000) * 5).quantize(Decimal("0.0001"))
    seen: list[Decimal] = []
    over = threading.Event()

    def look() -> None:
        with engine.connect() as conn:
            while not over.wait(0.02):
                value = conn.execute(text("SELECT max(booked_usd) FROM ai_budgets WHERE scope LIKE 'day:%'")).scalar()
                conn.rollback()
                seen.append(value or Decimal(0))

    with serve(latency=LATENCY_SECONDS, fault_rate=FAULT_RATE, next_kind=_first_fault(provider) + 6, **_SERVER) as wire:
        watcher = threading.Thread(target=look)
        watcher.start()
        results = _together(url, wire, provider, str(limit), exit_codes=(3,))
        over.set()
        watcher.join()
        served = _cost(price, wire.finished[provider, "input"], wire.finished[provider, "output"])
        at_once = wire.most_at_once
    with engine.connect() as conn:
        booked = conn.execute(text("SELECT booked_usd FROM ai_budgets WHERE scope LIKE 'day:%'")).scalar_one()
    annotated = sum(result["annotated"] for result in results)
    said = f"${max(seen)} of ${limit} at most ({len(seen)} looks), ${booked} at the end, server ${served}; {annotated} annotated"
    _row(provider, f"budget, {RUNS} runs x {WORKERS} workers ({at_once} at once)", said)
    problems = [] if max(seen) <= limit and booked <= limit and served <= booked else ["the budget was passed"]
    problems += [] if all(result["annotated"] for result in results) else [f"one run had nothing: {results}"]
    problems += [] if all("budget" in (result["stopped"] or "") for result in results) else [f"a run did not say so: {results}"]
    engine.dispose()
    return problems


def _together(url: str, wire: Any, provider: str, budget: str, exit_codes: Sequence[int] = (0, 1)) -> list[dict[str, Any]]:
    """Run `map4 annotate` in several processes at once; return what they print."""
    from map4_pipeline_tests.annotate.wire import KEY

    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAP4_")} | {
        "MAP4_HOME": tempfile.gettempdir(), "DATABASE_URL": url, "REDIS_URL": "none",
        "OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY, "GEMINI_API_KEY": KEY,
        "OPENAI_BASE_URL": f"{wire.url}/v1", "ANTHROPIC_BASE_URL": wire.url, "GOOGLE_GEMINI_BASE_URL": wire.url,
        "MAP4_AI_PRICES": _own_price(provider), "MAP4_AI_BUDGET_USD_PER_DAY": budget, "MAP4_AI_WORKERS": str(WORKERS),
        "MAP4_AI_TIMEOUT_SECONDS": "1.5", "MAP4_AI_REQUESTS_PER_MINUTE": "0", "MAP4_AI_TOKENS_PER_MINUTE": "0",
    }  # fmt: skip
    program = [
        sys.executable,
        "-c",
        "from map4_pipeline.cli.main import run; run()",
        "annotate",
        "--json",
        "--provider",
        provider,
    ]
    runs = [
        subprocess.Popen(program, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(RUNS)
    ]
    results = []
    for run in runs:
        output, errors = run.communicate(timeout=500)
        if run.returncode not in exit_codes:
            raise SystemExit(f"map4 annotate ended with {run.returncode}: {errors}")
        results.append(json.loads(output))
    return results


def _first_fault(provider: str) -> int:
    """Begin at another kind of fault for each provider: together they meet all."""
    from map4_pipeline.annotate.providers import PROVIDERS

    return PROVIDERS.index(provider) * 4


def _price(provider: str) -> Any:
    """Return the price that the runs reckon with: input and output of MAP4's table, no cache prices."""
    from map4_pipeline.annotate.pricing import parse_prices

    return next(iter(parse_prices(_own_price(provider)).values()))


def _own_price(provider: str) -> str:
    from map4_pipeline.annotate.pricing import MODELS
    from map4_pipeline.settings import Settings

    model = Settings.model_fields[f"ai_{provider}_model"].default
    price = MODELS[provider, model].price
    return f"{model}={price.input}/{price.output}"


def _cost(price: Any, input_tokens: int, output_tokens: int) -> Decimal:
    from map4_pipeline.annotate.pricing import Usage

    cost: Decimal = price.cost(Usage(input_tokens, output_tokens))
    return cost


def _engine(url: str) -> Engine:
    from map4_pipeline.store.database import driver_url, make_engine

    return make_engine(driver_url(url))


def _row(provider: str, name: str, value: object) -> None:
    print(f"{provider:<10} {name:<48} {value}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
