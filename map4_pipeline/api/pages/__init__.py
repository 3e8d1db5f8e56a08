"""The web page: server-rendered, small, the same functions behind it as behind the API."""

import inspect
import json
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response


def install(app: FastAPI) -> None:
    """Add the pages and what they are made of to the application; `problems.install` was called before."""
    from starlette.staticfiles import StaticFiles

    from map4_pipeline.api.pages import admin, browse, elsewhere, entry, playlists, review, tracks
    from map4_pipeline.api.pages.rendering import STATIC

    for module in (entry, elsewhere, browse, tracks, playlists, review, admin):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for kind in (HTTPException, Exception):
        app.add_exception_handler(kind, _for_people_too(app.exception_handlers[kind]))


def _for_people_too(respond: Any) -> Any:
    """Return a handler of errors that belong to no page (no such address, a defect): a page for who looks at pages."""
    from map4_pipeline.api.pages.rendering import is_for_people, refused
    from map4_pipeline.api.problems import Problem

    async def handler(request: Request, error: Exception) -> Response:
        answer = respond(request, error)
        if inspect.isawaitable(answer):
            answer = await answer
        if not is_for_people(request):
            return answer  # type: ignore[no-any-return]
        said = json.loads(answer.body)
        code = said["type"].rpartition(":")[2]
        headers = {name: answer.headers[name] for name in ("allow", "retry-after") if name in answer.headers}
        return refused(request, Problem(said["status"], code, said["detail"], headers=headers))

    return handler
