"""The web page: server-rendered, small, the same functions behind it as behind the API."""

from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Add the pages and what they are made of to the application."""
    from starlette.staticfiles import StaticFiles

    from map4_pipeline.api.pages import admin, browse, elsewhere, entry, playlists, review, tracks
    from map4_pipeline.api.pages.rendering import STATIC

    for module in (entry, elsewhere, browse, tracks, playlists, review, admin):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
