"""Logins elsewhere that are connected with one's account."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field
from starlette.convertors import Convertor, register_url_convertor

from map4_pipeline.api.access import Oneself
from map4_pipeline.api.context import context_of
from map4_pipeline.api.federation import FederationError
from map4_pipeline.api.models import Id, Strict
from map4_pipeline.api.problems import Problem, not_found
from map4_pipeline.api.routes.auth import Password, note, verify_recent
from map4_pipeline.store.accounts import identities_of, remove_identity


class _Letters(Convertor[str]):
    """The name of a provider: no number, so the address of an identity does not seem to take POST, nor this one DELETE."""

    regex = "[a-z]+"

    def convert(self, value: str) -> str:
        """Return the name."""
        return value

    def to_string(self, value: str) -> str:
        """Return the name."""
        return value


register_url_convertor("letters", _Letters())
router = APIRouter(prefix="/api/auth/identities", tags=["auth"])
Provider = Annotated[str, Path(pattern="^[a-z]+$", max_length=40, examples=["google"])]


class IdentityInfo(BaseModel):
    """A login elsewhere."""

    id: int
    provider: str = Field(examples=["google"])
    issuer: str
    label: str = Field(description="As it was called there when it was connected.")
    created_at: datetime


class Proof(Strict):
    """That it is really oneself."""

    password: Password | None = Field(default=None, description="Of the account; null where it has none.")


class Onward(BaseModel):
    """Where the browser has to go."""

    address: str


@router.get("")
def list_identities(request: Request, principal: Oneself) -> list[IdentityInfo]:
    """List the logins elsewhere that log in as oneself."""
    with context_of(request).engine.connect() as conn:
        return [IdentityInfo(**row) for row in identities_of(conn, principal.user.id)]


@router.post("/{provider:letters}")
def connect_identity(request: Request, response: Response, provider: Provider, principal: Oneself, body: Proof) -> Onward:
    """Begin to connect a login elsewhere: send the browser to the address, it comes back by itself."""
    from map4_pipeline.api.pages.elsewhere import begin, remember

    context = context_of(request)
    wanted = context.federation.providers.get(provider)
    if wanted is None:
        raise not_found(f"login with {provider}")
    verify_recent(request, principal, body.password)
    try:
        address, browser = begin(context, wanted, {"user": principal.user.id})
    except FederationError as error:
        raise Problem(502, "no-answer", str(error)) from None
    remember(context, response, browser)
    return Onward(address=address)


@router.delete("/{identity_id:int}", status_code=204)
def disconnect_identity(request: Request, identity_id: Id, principal: Oneself) -> None:
    """Disconnect a login elsewhere; not the only way in."""
    with context_of(request).engine.begin() as conn:
        removed = remove_identity(conn, principal.user.id, identity_id)
        if removed is None:
            raise not_found(f"identity {identity_id}")
        note(conn, request, "identity disconnected", principal.user, target=removed)
