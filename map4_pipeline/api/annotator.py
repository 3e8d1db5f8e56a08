"""Annotations in the background: what models are asked about the tracks that a query finds, within the budget of the settings."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from map4_pipeline.api.job_worker import JobCancelled, JobWorker
from map4_pipeline.settings import Settings
from map4_pipeline.store.cache import Cache
from map4_pipeline.store.jobs import Job

if TYPE_CHECKING:
    from map4_pipeline.annotate.manager import Tally
    from map4_pipeline.ingest.annotating import Selection

#: How far a job is is written down after so many more tracks.
_SHOWN_EVERY = 10


class Annotator(JobWorker):
    """Asks models about tracks."""

    kind = "annotation"
    look_seconds = 30.0

    def __init__(self, engine: Engine, cache: Cache, settings: Settings) -> None:
        super().__init__(engine, cache)
        self._settings = settings

    def work(self, job: Job, progress: Callable[[int, int], None], cancelled: Callable[[], bool]) -> dict[str, Any]:
        """Ask; what was answered before it was cancelled is kept."""
        from map4_pipeline.ingest.annotating import annotate_tracks, due_tracks, new_run_id
        from map4_pipeline.ingest.annotation_setup import budget_of, configured_providers

        asked: Mapping[str, Any] = job.request
        settings = with_budget(self._settings, asked.get("budget_usd"))
        chain = configured_providers(settings, asked.get("providers") or ())
        selection, budget = selection_of(asked), budget_of(settings)
        count = sum(1 for _ in due_tracks(self._engine, settings, chain, selection))
        progress(0, count)
        shown = 0

        def show(tally: "Tally") -> None:
            nonlocal shown
            # Each outcome is a row already; this is for those who look.
            if tally.annotated + tally.failed >= shown + _SHOWN_EVERY:
                shown = tally.annotated + tally.failed
                progress(shown, count)

        run_id = new_run_id("api")
        result = annotate_tracks(self._engine, settings, chain, budget, selection, run_id, on_progress=show, cancelled=cancelled)
        total = result.total
        progress(total.annotated + total.failed, count)
        if cancelled():
            raise JobCancelled
        return {
            "annotated": total.annotated,
            "reused": total.reused,
            "failed": total.failed,
            "left": result.left,
            "cost_usd": str(total.cost),
            "stopped": result.stopped,
        }


def with_budget(settings: Settings, budget_usd: str | None) -> Settings:
    """Return the settings with what one run may cost at most; never more than they allow."""
    if budget_usd is None:
        return settings
    wanted, allowed = Decimal(budget_usd), settings.ai_budget_usd_per_run
    return settings.model_copy(update={"ai_budget_usd_per_run": wanted if allowed is None else min(wanted, allowed)})


def selection_of(asked: Mapping[str, Any]) -> "Selection":
    """Return which tracks are meant.

    Raises
    ------
    QueryError
        When the query cannot be read.
    """
    from map4_pipeline.ingest.annotating import Selection
    from map4_pipeline.store.annotations import wanted
    from map4_pipeline.store.query import parse_query
    from map4_pipeline.store.search_terms import on_tracks

    conditions = [*on_tracks(parse_query(asked.get("query", ""))), *wanted()]
    return Selection(conditions, asked.get("limit"), asked.get("retry_failed", False))
