"""`map4 annotate`: what language models say about tracks, with its price before and after."""

import sys
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import click

from map4_pipeline.cli import MOST_ROWS

if TYPE_CHECKING:
    from map4_pipeline.ingest.annotating import Estimate, Result
    from map4_pipeline.ingest.annotation_batches import BatchReport

_HELP = """Ask language models about tracks: genre, moods, era, tags, each with its evidence; within a budget.

\b
  map4 annotate --dry-run                       what it would cost; sends nothing
  map4 annotate                                 everything that has no annotation yet
  map4 annotate 'genre:house added:7d'          a search, as in `map4 search`
  map4 annotate --provider anthropic --batch    handed in for half the price, collected by the next call

Keys come from the environment only (OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY; OPENAI_BASE_URL for a server of your own),
the budget from MAP4_AI_BUDGET_USD_PER_DAY or --budget. Sent are measured values and tags, never audio, paths or file names. What
was annotated before costs nothing. docs/annotations.md says more.
"""


class _Dollars(click.ParamType):  # type: ignore[type-arg]
    name = "USD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            amount = value if isinstance(value, Decimal) else Decimal(str(value).lstrip("$"))
        except InvalidOperation:
            self.fail(f"{value!r} is no amount in US dollars, such as 0.50.", param, ctx)
        if not amount.is_finite() or amount < 0:
            self.fail("A budget is zero or more.", param, ctx)
        return amount


@click.command(help=_HELP)
@click.argument("words", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Tracks, tokens and price per provider; nothing is sent.")
@click.option(
    "--provider",
    "providers",
    multiple=True,
    type=click.Choice(["openai", "anthropic", "gemini"]),
    help="Repeatable: in this order.",
)
@click.option("--each", is_flag=True, help="Ask every provider, not the next one where one fails, and compare.")
@click.option("--budget", type=_Dollars(), help="What this run may cost at most, in US dollars; the day's budget holds as well.")
@click.option("--limit", type=click.IntRange(1, MOST_ROWS), help="Ask about so many tracks at most.")
@click.option("--retry-failed", is_flag=True, help="Ask again about tracks that a provider refused or answered badly.")
@click.option("--batch", is_flag=True, help="Hand in and collect batches (OpenAI, Anthropic): half the price, within a day.")
@click.option("--wait", is_flag=True, help="With --batch: wait until all batches are collected.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def annotate(
    words: tuple[str, ...],
    dry_run: bool,
    providers: tuple[str, ...],
    each: bool,
    budget: Decimal | None,
    limit: int | None,
    retry_failed: bool,
    batch: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Annotate tracks."""
    from map4_pipeline.ingest.annotating import Selection, new_run_id
    from map4_pipeline.ingest.annotation_setup import budget_of, configured_providers
    from map4_pipeline.settings import settings
    from map4_pipeline.store.annotations import wanted
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.query import QueryError, parse_query
    from map4_pipeline.store.search_terms import on_tracks

    configured = settings()
    if wait and not batch:
        raise click.UsageError("--wait goes with --batch.")
    if each and batch:
        raise click.UsageError("--each does not go with --batch: hand in one batch per provider.")
    if budget is not None:
        day = configured.ai_budget_usd_per_day
        # A budget for the run is explicit enough; without one for the day it is the day's too.
        configured = configured.model_copy(
            update={"ai_budget_usd_per_run": budget, "ai_budget_usd_per_day": budget if day is None else day}
        )
    try:
        query = parse_query(" ".join(words))
    except QueryError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    chain = configured_providers(configured, providers, only_estimate=dry_run)
    limits = None if dry_run else budget_of(configured)
    engine = open_database(configured)
    try:
        selection = Selection([*on_tracks(query), *wanted()], limit, retry_failed)
        if limits is None:
            _estimate(engine, configured, chain, selection, as_json)
        elif batch:
            _batches(engine, configured, chain, limits, selection, wait, as_json)
        else:
            sys.exit(_run(engine, configured, chain, limits, selection, new_run_id(), each, as_json))
    finally:
        engine.dispose()


def _estimate(engine: Any, configured: Any, chain: Any, selection: Any, as_json: bool) -> None:
    from map4_pipeline.annotate.pricing import PRICES_DATE
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.ingest.annotating import estimate
    from map4_pipeline.ingest.annotation_setup import WHAT_TO_SET

    count, estimates = estimate(engine, configured, chain, selection)
    keyless = [one.name for one in chain if not one.has_key]
    if as_json:
        facts = [_estimate_json(one) | {"has_key": one.provider not in keyless} for one in estimates]
        budget = configured.ai_budget_usd_per_day
        lines.write_json(
            {
                "tracks": count,
                "providers": facts,
                "prices_of": PRICES_DATE,
                "budget_usd_per_day": None if budget is None else str(budget),
            }
        )
        return
    console = make_console()
    if not count:
        console.print("0 tracks: everything that was looked for is annotated, or failed for good (--retry-failed).")
        return
    from rich.table import Table

    from map4_pipeline.store.spending import dollars

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("provider", "model", "requests", "tokens in", "tokens out", "likely", "at most", "as a batch"):
        table.add_column(name, justify="left" if name in ("provider", "model") else "right", no_wrap=True)
    for one in estimates:
        half = "-" if one.batch_likely is None else dollars(one.batch_likely)
        numbers = [f"{number:,}" for number in (one.requests, one.input_tokens, one.output_tokens)]
        table.add_row(one.provider, one.model, *numbers, dollars(one.likely), dollars(one.most), half)
    console.print(f"{count:,} tracks would be asked about; nothing was sent. Each provider's price for all of them:")
    console.print(table)
    console.print(
        f"Tokens are estimated from the lengths of texts. Prices are of {PRICES_DATE} unless MAP4_AI_PRICES says otherwise; "
        "check them at the provider.",
        soft_wrap=True,
    )
    if keyless:
        console.print(f"No key is set for {', '.join(keyless)}. {WHAT_TO_SET}", style="yellow", soft_wrap=True)


def _estimate_json(one: "Estimate") -> dict[str, Any]:
    return {
        "provider": one.provider,
        "model": one.model,
        "requests": one.requests,
        "input_tokens": one.input_tokens,
        "output_tokens": one.output_tokens,
        "likely_usd": float(one.likely),
        "most_usd": float(one.most),
        "batch_likely_usd": None if one.batch_likely is None else float(one.batch_likely),
    }


def _run(engine: Any, configured: Any, chain: Any, limits: Any, selection: Any, run_id: str, each: bool, as_json: bool) -> int:
    from map4_pipeline.annotate.manager import Tally
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.ingest.annotating import annotate_tracks, annotate_with_each

    console = make_console(stderr=True)
    with console.status("Asking ...") as status:

        def show(tally: Tally) -> None:
            status.update(f"{tally.annotated:,} annotated, {tally.failed:,} failed, ${tally.cost:.4f}")

        run = annotate_with_each if each else annotate_tracks
        result = run(engine, configured, chain, limits, selection, run_id, on_progress=show)
    if as_json:
        lines.write_json(result_json(result))
    else:
        _print_result(engine, result)
    if result.stopped is not None:
        return 3
    return 1 if result.total.failed or result.total.failed_before else 0


def result_json(result: "Result") -> dict[str, Any]:
    """Return a run's result for programs."""
    total = result.total
    return {
        "run": result.run_id,
        "annotated": total.annotated,
        "reused": total.reused,
        "failed": total.failed,
        "failed_before": total.failed_before,
        "contradicted": result.contradicted,
        "left": result.left,
        "elsewhere": result.elsewhere,
        "in_batches": result.in_batches,
        "requests": result.requests,
        "input_tokens": total.tokens.input,
        "output_tokens": total.tokens.output,
        "cost_usd": float(total.cost),
        "failures": result.failures,
        "by_provider": result.by_provider,
        "stopped": result.stopped,
    }


def _print_result(engine: Any, result: "Result") -> None:
    from map4_pipeline.cli.console import make_console, printable
    from map4_pipeline.store.annotations import failures_of
    from map4_pipeline.store.spending import booked_today, dollars

    console = make_console()
    total = result.total
    said = ", ".join(f"{name} {count:,}" for name, count in result.by_provider.items())
    console.print(
        f"{total.annotated:,} annotated{f' ({said})' if said else ''}, {total.reused:,} known before, {total.failed:,} failed"
    )
    if total.failed_before:
        console.print(f"{total.failed_before:,} failed before and were not asked again (--retry-failed)")
    for count, words in (
        (result.contradicted, "contradict what was measured; the claims are kept apart"),
        (result.left, "were not asked about"),
        (result.elsewhere, "are in another run's hands"),
        (result.in_batches, "are part of a batch under way (--batch collects it)"),
    ):
        if count:
            console.print(f"{count:,} {words}")
    with engine.connect() as conn:
        today = booked_today(conn)
        failures = failures_of(conn, result.run_id, 10)
    console.print(
        f"{result.requests:,} requests, {total.tokens.input:,} tokens in, {total.tokens.output:,} out: {dollars(total.cost)}; "
        f"booked today: {dollars(today)}",
        soft_wrap=True,
    )
    for _, path, provider, kind, message in failures:
        console.print(f"  {printable(path)}: {provider}: {printable(message or '')} ({kind})", soft_wrap=True)
    if result.stopped:
        make_console(stderr=True).print(f"Stopped: {printable(result.stopped)}", soft_wrap=True)


def _batches(engine: Any, configured: Any, chain: Any, limits: Any, selection: Any, wait: bool, as_json: bool) -> None:
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console, printable
    from map4_pipeline.ingest.annotating import new_run_id
    from map4_pipeline.ingest.annotation_batches import collect, hand_in
    from map4_pipeline.ingest.annotation_setup import configured_providers
    from map4_pipeline.store.spending import dollars

    # Batches of a provider that is not asked now are collected all the same.
    everybody = {one.name: one for one in [*configured_providers(configured.model_copy(update={"ai_providers": ""})), *chain]}
    got = collect(engine, configured, list(everybody.values()))
    gave = hand_in(engine, configured, chain[0], limits, selection, new_run_id())
    if wait:
        console = make_console(stderr=True)
        with console.status("Waiting for the batches ..."):
            later = collect(engine, configured, list(everybody.values()), wait=True)
        _add(got, later)
    else:
        got.running, got.tracks_running = got.running + gave.handed_in, got.tracks_running + gave.tracks_handed_in
    problems = [*got.problems, *([gave.stopped] if gave.stopped else [])]
    if as_json:
        lines.write_json(
            {
                "handed_in": gave.handed_in,
                "tracks_handed_in": gave.tracks_handed_in,
                "reserved_usd": float(gave.reserved),
                "running": got.running,
                "collected": got.collected,
                "annotated": got.annotated,
                "failed": got.failed,
                "cost_usd": float(got.cost),
                "problems": problems,
            }
        )
    else:
        out = make_console()
        if got.collected:
            out.print(
                f"{got.collected} batches collected: {got.annotated:,} annotated, {got.failed:,} to ask again, "
                f"{dollars(got.cost)}"
            )
        if gave.handed_in:
            out.print(f"{gave.handed_in} batches handed in: {gave.tracks_handed_in:,} tracks, at most {dollars(gave.reserved)}")
        if got.running:
            out.print(f"{got.running} batches are under way ({got.tracks_running:,} tracks); the same command collects them")
        if not (got.collected or gave.handed_in or got.running):
            out.print("Nothing to hand in, nothing to collect.")
        for problem in problems:
            make_console(stderr=True).print(printable(problem), soft_wrap=True)
    sys.exit(3 if problems else 1 if got.failed else 0)


def _add(first: "BatchReport", second: "BatchReport") -> None:
    first.collected += second.collected
    first.annotated += second.annotated
    first.failed += second.failed
    first.cost += second.cost
    first.running, first.tracks_running = second.running, second.tracks_running
    first.problems += [problem for problem in second.problems if problem not in first.problems]
