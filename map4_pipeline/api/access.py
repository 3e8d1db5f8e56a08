"""Who may do what, in one place: permissions, the roles that have them, and the mark that every route carries.

A route says what it needs with a parameter (`principal: Reader`), or that it needs nothing with `dependencies=[PUBLIC]`; the
application refuses to start with a route that says neither.
"""

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from map4_pipeline.api.problems import Problem
from map4_pipeline.store.accounts import User

_log = logging.getLogger("map4.api.access")


class Permission(StrEnum):
    """Something a user may be allowed to do."""

    ACCOUNT = "account"  # look after one's own account
    READ = "read"  # see tracks, statistics, playlists and duplicates
    LISTEN = "listen"  # hear files
    EDIT = "edit"  # correct and hide tracks, decide on duplicates
    PLAYLISTS = "playlists"  # make and change playlists
    EXPORT = "export"
    ANALYZE = "analyze"
    ANNOTATE = "annotate"  # spends money
    METRICS = "metrics"
    USERS = "users"
    LIBRARIES = "libraries"  # libraries, queue, audit log


_VIEWER = frozenset((Permission.ACCOUNT, Permission.READ, Permission.LISTEN))
_USER = _VIEWER | {Permission.EDIT, Permission.PLAYLISTS, Permission.EXPORT, Permission.ANALYZE}
ROLES: dict[str, frozenset[Permission]] = {"viewer": _VIEWER, "user": _USER, "admin": frozenset(Permission)}
#: What a named token may be limited to. A token never looks after accounts: whoever finds one could lock its owner out.
SCOPES: dict[str, frozenset[Permission]] = {
    "read": frozenset((Permission.READ, Permission.LISTEN)),
    "write": frozenset((Permission.READ, Permission.EDIT, Permission.PLAYLISTS)),
    "export": frozenset((Permission.READ, Permission.EXPORT)),
    "analyze": frozenset((Permission.READ, Permission.ANALYZE)),
    "metrics": frozenset((Permission.METRICS,)),
    "admin": frozenset(Permission) - {Permission.ACCOUNT},
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request.

    Attributes
    ----------
    user : User
    permissions : frozenset of Permission
        What the role allows, within the scopes of a token.
    way : str
        "session", "access" (an access token) or "token" (a named one).
    session_id : int or None
    csrf : str or None
        What the pages of this session send with every change.
    """

    user: User
    permissions: frozenset[Permission]
    way: str
    session_id: int | None = None
    csrf: str | None = None

    @property
    def library_ids(self) -> frozenset[int] | None:
        """The libraries this user sees; None: all."""
        return self.user.libraries

    def may(self, permission: Permission) -> bool:
        """Return whether this may be done."""
        return permission in self.permissions


class Needs:
    """What a route needs; called by FastAPI, it gives the `Principal` or refuses."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    def __call__(self, request: Request) -> Principal:
        """Return who asks.

        Raises
        ------
        Problem
            401 when nobody has logged in, 403 when the user may not.
        """
        from map4_pipeline.api.identity import identify

        principal = identify(request)
        if principal is None:
            headers = {"WWW-Authenticate": 'Bearer realm="map4"'}
            raise Problem(401, "not-logged-in", "Log in, or send a token: Authorization: Bearer ...", headers=headers)
        if not principal.may(self.permission):
            route = getattr(request.scope.get("route"), "path", "")
            _log.warning("refused: user %d, %s, %s %s", principal.user.id, self.permission.value, request.method, route)
            raise Problem(403, "not-allowed", f"This needs the permission {self.permission.value!r}, which you do not have.")
        if principal.user.must_change_password and self.permission is not Permission.ACCOUNT:
            raise Problem(403, "password-change", "Choose a password of your own first.")
        return principal


class Public:
    """The mark of a route that everybody may use."""

    def __call__(self) -> None:
        """Let everybody in."""


PUBLIC = Depends(Public())

# What a route's parameter is annotated with: who has the permission, or nobody gets in.
Oneself = Annotated[Principal, Depends(Needs(Permission.ACCOUNT))]
Reader = Annotated[Principal, Depends(Needs(Permission.READ))]
Listener = Annotated[Principal, Depends(Needs(Permission.LISTEN))]
Editor = Annotated[Principal, Depends(Needs(Permission.EDIT))]
PlaylistMaker = Annotated[Principal, Depends(Needs(Permission.PLAYLISTS))]
Exporter = Annotated[Principal, Depends(Needs(Permission.EXPORT))]
Analyst = Annotated[Principal, Depends(Needs(Permission.ANALYZE))]
Annotator = Annotated[Principal, Depends(Needs(Permission.ANNOTATE))]
Observer = Annotated[Principal, Depends(Needs(Permission.METRICS))]
UserAdmin = Annotated[Principal, Depends(Needs(Permission.USERS))]
LibraryAdmin = Annotated[Principal, Depends(Needs(Permission.LIBRARIES))]


def marks(dependant: Dependant) -> list[Needs | Public]:
    """Return what a route says of who may use it."""
    found: list[Needs | Public] = []
    for child in dependant.dependencies:
        if isinstance(child.call, Needs | Public):
            found.append(child.call)
        found += marks(child)
    return found


def verify_routes(app: FastAPI) -> None:
    """Refuse an application in which a route does not say, exactly once, who may use it.

    Raises
    ------
    RuntimeError
    """
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute) and len(marks(route.dependant)) != 1:
            raise RuntimeError(f"The route {route.path} has to say once who may use it (api.access).")
