"""ETags: what a thing was when somebody saw it, so that nothing is written over what another has changed meanwhile."""

import hashlib
from typing import Annotated

from fastapi import Header
from pydantic import BaseModel

from map4_pipeline.api.problems import Problem

IfMatch = Annotated[str | None, Header(max_length=200, description="The `ETag` that was shown; another one by now: 412.")]


def etag_of(shown: BaseModel, *, but: frozenset[str] = frozenset()) -> str:
    """Return the ETag of what is shown, some members left out."""
    said = shown.model_dump_json(exclude=set(but))
    return f'"{hashlib.sha256(said.encode()).hexdigest()[:24]}"'


def refuse_stale(given: str | None, etag: str, what: str) -> None:
    """Refuse a change of what has changed since it was seen.

    Raises
    ------
    Problem
        412.
    """
    if given is not None and given.strip() != "*" and etag not in [one.strip() for one in given.split(",")]:
        raise Problem(412, "changed", f"The {what} was changed meanwhile: read it again, and decide anew.")
