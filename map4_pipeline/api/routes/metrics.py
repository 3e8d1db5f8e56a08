"""`/metrics` for Prometheus."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from map4_pipeline.api.access import Observer
from map4_pipeline.api.context import context_of

router = APIRouter(tags=["health"], include_in_schema=False)


@router.get("/metrics")
def get_metrics(request: Request, principal: Observer) -> Response:
    """Show all metrics, to an admin, a named token of the scope `metrics`, or who has MAP4_METRICS_TOKEN."""
    return Response(context_of(request).metrics.page(), media_type=CONTENT_TYPE_LATEST)
