"""Whether the application is alive, and whether it can work."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel
from sqlalchemy import text

from map4_pipeline import __version__
from map4_pipeline.api.access import PUBLIC
from map4_pipeline.api.context import context_of

router = APIRouter(prefix="/api/health", tags=["health"], dependencies=[PUBLIC])


class Health(BaseModel):
    """That it works."""

    status: Literal["ok"] = "ok"
    version: str = __version__


@router.get("/live")
def live() -> Health:
    """Say that the process answers."""
    return Health()


@router.get("/ready")
def ready(request: Request) -> Health:
    """Say that the database answers too; 503 when it does not."""
    with context_of(request).engine.connect() as conn:
        conn.execute(text("SELECT 1"))
    return Health()
