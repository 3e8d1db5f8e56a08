"""What admins look after: accounts, libraries, the queue, who did what."""

from fastapi import Request
from starlette.responses import Response

from map4_pipeline.api.access import LibraryAdmin, UserAdmin
from map4_pipeline.api.context import context_of
from map4_pipeline.api.models import After
from map4_pipeline.api.pages.rendering import page_router, render
from map4_pipeline.store import accounts, audit, queue
from map4_pipeline.store.libraries import all_libraries
from map4_pipeline.store.overview import library_page

router = page_router()
_ROWS = 50


@router.get("/admin")
def admin_page(request: Request, principal: LibraryAdmin, after: After = None, libraries_after: After = None) -> Response:
    """Show libraries and the queue, each page by page, and the way to Dagster."""
    context = context_of(request)
    with context.reading() as conn:
        libraries, more_libraries = library_page(conn, None, _ROWS, libraries_after)
        entries, following = queue.queue_page(conn, None, _ROWS, after)
    settings = context.settings
    host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
    dagster = settings.dagster_url or f"http://{host}:{settings.http_port}/"
    return render(
        request, "admin.html", principal, libraries=libraries, more_libraries=more_libraries, entries=entries,
        following=following, dagster=dagster, behind=bool(settings.dagster_url),
    )  # fmt: skip


@router.get("/admin/users")
def users_page(request: Request, principal: UserAdmin, after: After = None) -> Response:
    """Show the accounts, page by page."""
    with context_of(request).reading() as conn:
        users, following = accounts.user_page(conn, _ROWS, after)
        libraries = {one.id: one.name for one in all_libraries(conn)}
    return render(request, "users.html", principal, users=users, following=following, libraries=libraries)


@router.get("/admin/audit")
def audit_page(request: Request, principal: LibraryAdmin, after: After = None) -> Response:
    """Show who did what page by page, the newest first."""
    with context_of(request).reading() as conn:
        entries, following = audit.audit_page(conn, _ROWS, after)
    return render(request, "audit.html", principal, entries=entries, following=following)
