"""What admins look after: accounts, libraries, the queue, who did what."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from map4_pipeline.api.access import LibraryAdmin, UserAdmin
from map4_pipeline.api.context import context_of
from map4_pipeline.api.pages.rendering import page_router, render
from map4_pipeline.store import accounts, audit, queue
from map4_pipeline.store.overview import library_overviews

router = page_router()
_ENTRIES = 50


@router.get("/admin")
def admin_page(request: Request, principal: LibraryAdmin) -> Response:
    """Show libraries and the queue, and the way to Dagster."""
    context = context_of(request)
    with context.reading() as conn:
        libraries = library_overviews(conn)
        entries = queue.entries(conn, limit=_ENTRIES)
    settings = context.settings
    host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
    dagster = settings.dagster_url or f"http://{host}:{settings.http_port}/"
    return render(
        request, "admin.html", principal, libraries=libraries, entries=entries, dagster=dagster, behind=bool(settings.dagster_url)
    )


@router.get("/admin/users")
def users_page(request: Request, principal: UserAdmin) -> Response:
    """Show the accounts."""
    with context_of(request).reading() as conn:
        users = accounts.list_users(conn)
        libraries = {one.id: one.name for one in library_overviews(conn)}
    return render(request, "users.html", principal, users=users, libraries=libraries)


@router.get("/admin/audit")
def audit_page(
    request: Request, principal: LibraryAdmin, before: Annotated[int | None, Query(ge=0, le=2**53 - 1)] = None
) -> Response:
    """Show who did what, the newest first."""
    with context_of(request).reading() as conn:
        entries = audit.entries(conn, before=before, limit=_ENTRIES)
    following = entries[-1].id if len(entries) == _ENTRIES else None
    return render(request, "audit.html", principal, entries=entries, following=following)
