"""The application: routes, and what all of them share."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute
from sqlalchemy import Engine
from starlette.responses import Response

from map4_pipeline import __version__
from map4_pipeline.api import description, problems
from map4_pipeline.api.access import verify_routes
from map4_pipeline.api.annotator import Annotator
from map4_pipeline.api.context import Context
from map4_pipeline.api.exporter import Exporter
from map4_pipeline.api.features import Activity, feature_of
from map4_pipeline.api.federation import Federation
from map4_pipeline.api.identity import identify
from map4_pipeline.api.limits import ANONYMOUS_PER_MINUTE, RateLimiter, address_of, network_of, verify_rate
from map4_pipeline.api.metrics import Metrics
from map4_pipeline.api.middleware import Envelope, Served, route_of
from map4_pipeline.api.revive import Reviver
from map4_pipeline.observe.logs import event
from map4_pipeline.settings import Settings
from map4_pipeline.store.cache import Cache
from map4_pipeline.store.cipher import open_cipher

_log = logging.getLogger("map4.api")
_QUIET_ROUTES = frozenset(("/metrics", "/api/health/live", "/api/health/ready", "/static"))
_DESCRIPTION = "The music library that MAP4 keeps: tracks with measured features, search, comparison, playlists, exports."


def create_app(
    settings: Settings, engine: Engine, redis_url: str | None = None, *, threads: int = 24, tls: bool = False
) -> FastAPI:
    """Return the application over a database that is up to date.

    Parameters
    ----------
    engine : Engine
        Its pool bounds how many requests work at once.
    redis_url : str or None
        Where limits are counted and answers are cached for all processes together.
    threads : int
        Requests that work at once; more of them wait.
    tls : bool
        Whether the server itself speaks HTTPS.

    Raises
    ------
    InfrastructureError
        When settings do not fit together.
    """
    from map4_pipeline.api.pages import install as install_pages
    from map4_pipeline.api.routes import ROUTERS

    cache = Cache(redis_url)
    exporter = Exporter(engine, settings.home / "exports" / "jobs", cache)
    annotator = Annotator(engine, cache, settings)
    metrics, activity = Metrics(settings, engine, cache), Activity(engine)
    context = Context(
        settings, engine, open_cipher(settings), cache, exporter, metrics, activity, Federation(settings), annotator, tls
    )
    limiter = RateLimiter(redis_url)

    def rate(request: Request) -> None:
        address = f"address:{network_of(address_of(request))}"
        try:
            principal = identify(request)
        except problems.Problem:
            # Who tries tokens is nobody until one is right, and is counted like everybody who has not logged in.
            verify_rate(limiter, request, address, ANONYMOUS_PER_MINUTE)
            raise
        if principal is None:
            verify_rate(limiter, request, address, ANONYMOUS_PER_MINUTE)
        else:
            verify_rate(limiter, request, f"user:{principal.user.id}", settings.rate_per_minute)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Every request holds a connection; more threads than connections would only wait for each other.
        to_thread.current_default_thread_limiter().total_tokens = threads
        metrics.watch_log()
        exporter.start()
        annotator.start()
        activity.start()
        reviver.start()
        yield
        reviver.stop()
        exporter.stop()
        annotator.stop()
        activity.stop()
        cache.close()
        engine.dispose()

    app = FastAPI(
        title="MAP4",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(rate)],
        generate_unique_id_function=_operation_id,
    )
    app.state.context = context
    problems.install(app)

    async def defect(request: Request, error: Exception) -> Response:
        event(_log, logging.ERROR, "a defect", exc_info=error, method=request.method, route=route_of(request.scope))
        detail = "MAP4 has a defect here. Please report it with the number of the request; the log has the rest."
        return problems.respond(request, problems.Problem(500, "defect", detail))

    app.add_exception_handler(Exception, defect)
    for router in ROUTERS:
        app.include_router(router)
    install_pages(app)
    verify_routes(app)
    description.install(app)

    reviver = Reviver(settings)

    def cache_failed() -> None:
        metrics.errors.labels("cache").inc()
        reviver.missed()

    cache.observe(metrics.looked_up, cache_failed)

    def observe(served: Served) -> None:
        if served.status == 503:
            reviver.missed()
        metrics.served(served.method, served.route, served.status, served.seconds)
        feature = feature_of(served.method, served.route) if served.status < 400 else None
        if feature is not None and served.user_id is not None:
            metrics.features.labels(feature).inc()
            activity.note(served.user_id, feature)
        # A scrape every few seconds tells nobody anything.
        level = logging.DEBUG if served.route in _QUIET_ROUTES else logging.INFO
        event(
            _log, level, "request", method=served.method, route=served.route, status=served.status,
            duration_ms=round(served.seconds * 1000, 1), user_id=served.user_id,
        )  # fmt: skip

    app.add_middleware(Envelope, is_secure=lambda: context.is_secure, observe=observe)
    return app


def _operation_id(route: APIRoute) -> str:
    """Return the name that a generated client gives a route's function."""
    return route.name
