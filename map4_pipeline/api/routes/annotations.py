"""Annotations: what models have said of a track; asking them, within the budget of the settings, as jobs."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from map4_pipeline.api.access import Annotator, Permission, Principal, Reader
from map4_pipeline.api.annotator import selection_of, with_budget
from map4_pipeline.api.context import Context, context_of
from map4_pipeline.api.models import After, ListLimit, Next, Strict
from map4_pipeline.api.problems import not_found
from map4_pipeline.api.routes.auth import note
from map4_pipeline.api.routes.tracks import TrackId, Words
from map4_pipeline.store import jobs
from map4_pipeline.store.annotation_history import Said, annotation_page
from map4_pipeline.store.details import track_version

router = APIRouter(prefix="/api", tags=["annotations"])


class Annotation(BaseModel):
    """What a provider said of a track, or why it said nothing."""

    id: int
    provider: str
    model: str
    prompt_version: str
    status: Literal["ok", "failed"]
    annotation: dict[str, Any] | None = Field(
        description="Claims with what each rests on, and those that measurements contradict."
    )
    error_kind: str | None
    error_message: str | None
    confidence: float | None
    contradictions: int
    cost_usd: float | None = Field(description="For those who may spend; null for others.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, said: Said, *, with_cost: bool) -> "Annotation":
        """Return what is shown of an answer."""
        names = cls.model_fields.keys() - {"annotation", "cost_usd"}
        return cls(
            **{name: getattr(said, name) for name in names},
            annotation=None if said.payload is None else dict(said.payload),
            cost_usd=float(said.cost_usd) if with_cost else None,
        )


class AnnotationPage(BaseModel):
    """A page of what was said of a track."""

    annotations: list[Annotation]
    next: Next


@router.get("/tracks/{track_id:int}/annotations")
def list_annotations(
    request: Request, track_id: TrackId, principal: Reader, limit: ListLimit = 50, after: After = None
) -> AnnotationPage:
    """List what models have said of a track page by page, the newest first; the track itself shows the one that counts."""
    with context_of(request).reading() as conn:
        if track_version(conn, track_id, principal.library_ids) is None:
            raise not_found(f"track {track_id}")
        found, following = annotation_page(conn, track_id, principal.library_ids, limit, after)
    with_cost = principal.may(Permission.ANNOTATE)
    return AnnotationPage(annotations=[Annotation.of(one, with_cost=with_cost) for one in found], next=following)


Provider = Literal["openai", "anthropic", "gemini"]


class AnnotationBody(Strict):
    """Which tracks models are to be asked about, and what that may cost. What was annotated before costs nothing."""

    query: str = Field(default="", max_length=2000, description="As in a search; empty: all.", examples=["genre:house added:7d"])
    limit: int | None = Field(default=None, ge=1, le=1_000_000, description="Ask about so many tracks at most.")
    providers: list[Provider] = Field(default=[], max_length=3, description="In this order; empty: those of the settings.")
    retry_failed: bool = Field(default=False, description="Ask again about tracks that a provider refused or answered badly.")
    budget_usd: float | None = Field(
        default=None, ge=0, le=1_000_000, allow_inf_nan=False,
        description="What this may cost at most, in US dollars; the budgets of the settings hold as well.",
    )  # fmt: skip


class AnnotationJob(BaseModel):
    """Models being asked about tracks: how far it is, and what it came to."""

    id: UUID
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    query: str
    total: int = Field(description="Tracks to be asked about.")
    done: int
    annotated: int | None
    reused: int | None = Field(description="Known before: nobody was asked.")
    failed: int | None
    left: int | None = Field(description="Nobody was asked about them, because it stopped.")
    cost_usd: float | None
    stopped: str | None = Field(description="Why it stopped before the end.")
    error: str | None
    created_at: datetime
    completed_at: datetime | None

    @classmethod
    def of(cls, job: jobs.Job) -> "AnnotationJob":
        """Return what is shown of a job."""
        found = job.result
        cost = found.get("cost_usd")
        return cls(
            id=job.id,
            status=job.status,
            query=job.request.get("query", ""),
            total=job.total,
            done=job.done,
            **{name: found.get(name) for name in ("annotated", "reused", "failed", "left", "stopped")},
            cost_usd=None if cost is None else float(cost),
            error=job.error_message,
            created_at=job.created_at,
            completed_at=job.completed_at,
        )


class AnnotationJobPage(BaseModel):
    """A page of the jobs in which one let models be asked."""

    jobs: list[AnnotationJob]
    next: Next


class Price(BaseModel):
    """What one provider would take for all of the tracks, in US dollars, estimated from the lengths of texts."""

    provider: Provider
    model: str
    requests: int
    likely_usd: float
    most_usd: float


class AnnotationEstimate(BaseModel):
    """How many tracks would be asked about, and what each provider would take."""

    tracks: int
    prices: list[Price]
    budget_usd_per_day: float | None = Field(description="Of the settings; null: none is set, and nothing is sent.")


@router.get("/annotations/estimate")
def estimate_annotations(
    request: Request,
    principal: Annotator,
    q: Words = "",
    limit: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
    retry_failed: bool = False,
) -> AnnotationEstimate:
    """Tell what asking about the tracks that a query finds would cost. Nothing is sent."""
    from map4_pipeline.ingest.annotating import estimate
    from map4_pipeline.ingest.annotation_setup import configured_providers

    context = context_of(request)
    chain = configured_providers(context.settings)
    selection = selection_of({"query": q, "limit": limit, "retry_failed": retry_failed})
    count, found = estimate(context.engine, context.settings, chain, selection)
    day = context.settings.ai_budget_usd_per_day
    prices = [
        Price(
            provider=one.provider, model=one.model, requests=one.requests, likely_usd=float(one.likely), most_usd=float(one.most)
        )
        for one in found
    ]
    return AnnotationEstimate(tracks=count, prices=prices, budget_usd_per_day=None if day is None else float(day))


@router.post("/annotations", status_code=202)
def create_annotations(request: Request, principal: Annotator, body: AnnotationBody) -> AnnotationJob:
    """Let models be asked about the tracks that a query finds. It goes on by itself: ask for its state."""
    from map4_pipeline.ingest.annotation_setup import budget_of, configured_providers

    context = context_of(request)
    wanted = body.model_dump() | {"budget_usd": None if body.budget_usd is None else str(Decimal(str(body.budget_usd)))}
    # Told at once, not by a job that fails.
    selection_of(wanted)
    settings = with_budget(context.settings, wanted["budget_usd"])
    configured_providers(settings, body.providers)
    budget_of(settings)
    with context.engine.begin() as conn:
        job = jobs.create_job(conn, "annotation", wanted, user_id=principal.user.id, request_id=request.state.request_id)
        note(conn, request, "annotations asked for", principal.user, target=str(job.id), detail={"query": body.query})
    context.annotator.wake()
    return AnnotationJob.of(job)


@router.get("/annotations")
def list_annotation_jobs(request: Request, principal: Annotator, limit: ListLimit = 50, after: After = None) -> AnnotationJobPage:
    """List the jobs in which one let models be asked page by page, the newest first."""
    with context_of(request).reading() as conn:
        found, following = jobs.job_page(conn, user_id=principal.user.id, kind="annotation", limit=limit, after=after)
    return AnnotationJobPage(jobs=[AnnotationJob.of(job) for job in found], next=following)


@router.get("/annotations/{job_id:uuid}")
def get_annotation_job(request: Request, job_id: UUID, principal: Annotator) -> AnnotationJob:
    """Show how far it is."""
    return AnnotationJob.of(_mine(context_of(request), principal, job_id))


@router.delete("/annotations/{job_id:uuid}")
def cancel_annotation_job(request: Request, job_id: UUID, principal: Annotator) -> AnnotationJob:
    """Begin no more requests. What was answered is kept, and what was spent is booked."""
    context = context_of(request)
    _mine(context, principal, job_id)
    with context.engine.begin() as conn:
        job = jobs.cancel_job(conn, job_id)
    if job is None:
        raise not_found(f"job {job_id}")
    return AnnotationJob.of(job)


def _mine(context: Context, principal: Principal, job_id: UUID) -> jobs.Job:
    with context.engine.begin() as conn:
        job = jobs.get_job(conn, job_id)
    if job is None or job.kind != "annotation" or job.user_id != principal.user.id:
        raise not_found(f"job {job_id}")
    return job
