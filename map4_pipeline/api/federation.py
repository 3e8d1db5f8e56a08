"""Logging in elsewhere: any OpenID Connect issuer, Google, GitHub. MAP4 is the relying party; Authlib speaks the protocol.

What belongs here is the protocol: where a browser is sent, and what is believed of what it comes back with. Which account an
identity is, decides `pages.elsewhere`. Addresses come from settings and from the issuer that they name, never from a user.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from map4_pipeline.settings import Settings
from map4_pipeline.store.errors import InfrastructureError

if TYPE_CHECKING:
    from authlib.integrations.requests_client import OAuth2Session

_log = logging.getLogger("map4.api.federation")
#: Algorithms of ID tokens that are believed: signatures, no shared secrets, and never `none` (RFC 8725, 3.1).
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
GOOGLE = "https://accounts.google.com"
GITHUB = "https://github.com"
_TIMEOUT_SECONDS = 10.0
_LARGEST = 1 << 20
#: What an issuer says of itself is read anew after so long; its keys at once when a token names one that is not known.
_DISCOVERY_SECONDS = 3600.0
#: Clocks that differ by so much are forgiven, seconds.
_LEEWAY = 60
_LONGEST_SUBJECT = 255


class FederationError(Exception):
    """A login elsewhere that is not believed, or did not come about; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Somebody who says who a user is.

    Attributes
    ----------
    key : str
        Its name in addresses.
    title : str
        Its name for people.
    issuer : str
        Together with a subject, who somebody is: two providers never speak for the same identity.
    """

    key: str
    title: str
    kind: Literal["oidc", "github"]
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, elsewhere.

    Attributes
    ----------
    label : str
        For the user to recognise it: a mail address or a name. It proves nothing.
    email : str or None
        An address that the issuer says it has verified.
    name : str
        What the user is called there.
    """

    issuer: str
    subject: str
    label: str
    email: str | None
    name: str


def providers_of(settings: Settings) -> dict[str, Provider]:
    """Return the providers that the settings switch on, by their key.

    Raises
    ------
    InfrastructureError
        When settings that belong together are not there together, or nobody could log in.
    """
    wanted = (
        ("oidc", settings.oidc_name, "oidc", settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret),
        ("google", "Google", "oidc", GOOGLE, settings.google_client_id, settings.google_client_secret),
        ("github", "GitHub", "github", settings.github_url, settings.github_client_id, settings.github_client_secret),
    )
    found: dict[str, Provider] = {}
    for key, title, kind, issuer, client_id, secret in wanted:
        if not client_id and secret is None:
            continue
        name = f"MAP4_{key.upper()}"
        if not client_id or secret is None or not issuer:
            parts = ", ".join(f"{name}_{part}" for part in (["ISSUER"] if key == "oidc" else []) + ["CLIENT_ID", "CLIENT_SECRET"])
            raise InfrastructureError(f"For the login with {title} all of these have to be set: {parts}.")
        if not _is_safe(issuer, issuer):
            raise InfrastructureError(f"{issuer} cannot be who logs people in: its address has to begin with https://.")
        found[key] = Provider(key, title, kind, issuer, client_id, secret.get_secret_value())  # type: ignore[arg-type]
    if found and not settings.public_url:
        raise InfrastructureError(
            "MAP4_PUBLIC_URL has to be set for logins elsewhere: it is where browsers are sent back to, and has to be "
            "registered there as <MAP4_PUBLIC_URL>/login/<oidc, google or github>/callback."
        )
    if not found and not settings.password_login:
        raise InfrastructureError(
            "MAP4_PASSWORD_LOGIN is off, and no login elsewhere is set up: nobody could log in. Set one of both."
        )
    return found


class Federation:
    """The providers that are switched on, and what their issuers say of themselves.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    InfrastructureError
        When the settings do not fit together.
    """

    def __init__(self, settings: Settings) -> None:
        self.providers = providers_of(settings)
        self._base = settings.public_url.rstrip("/")
        self._known: dict[str, tuple[float, dict[str, Any]]] = {}
        self._keys: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def address(self, provider: Provider, *, state: str, nonce: str, verifier: str) -> str:
        """Return where a browser is to go.

        Raises
        ------
        FederationError
            When the issuer does not answer.
        """
        with self._session(provider) as session:
            where = self._endpoint(provider, session, "authorization_endpoint")
            more = {"nonce": nonce} if provider.kind == "oidc" else {}
            address, _ = session.create_authorization_url(where, state=state, code_verifier=verifier, **more)
        return str(address)

    def identity(self, provider: Provider, answer: Mapping[str, str], *, nonce: str, verifier: str) -> Identity:
        """Return who came back.

        Parameters
        ----------
        answer : mapping
            The callback's parameters. Its state has been verified.

        Raises
        ------
        FederationError
            When it is not believed.
        """
        if "error" in answer:
            _log.info("%s answered: %.100r", provider.key, answer["error"])
            raise FederationError(f"{provider.title} did not log you in.")
        code, said = answer.get("code", ""), answer.get("iss")
        if not code or (said is not None and said != provider.issuer):
            raise FederationError(f"What came back is no answer of {provider.title}.")
        with self._session(provider) as session:
            if said is None and self._about(provider, session).get("authorization_response_iss_parameter_supported") is True:
                raise FederationError(f"What came back is no answer of {provider.title}.")  # RFC 9207
            token = session.fetch_token(
                self._endpoint(provider, session, "token_endpoint"),
                grant_type="authorization_code",
                code=code,
                code_verifier=verifier,
                allow_redirects=False,
            )
            if provider.kind == "github":
                return self._of_github(provider, session, str(token.get("access_token", "")))
            claims = self._claims(provider, session, token, nonce)
        email = str(claims["email"]) if claims.get("email") and claims.get("email_verified") is True else None
        name = str(claims.get("preferred_username") or claims.get("name") or claims.get("email") or "")
        return Identity(provider.issuer, _subject(claims.get("sub")), str(claims.get("email") or name)[:200], email, name)

    # ------------------------------------------------------------------ OpenID Connect
    def _claims(self, provider: Provider, session: "OAuth2Session", token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Return what an ID token says, after everything that it has to be was verified."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jws, jwt
        from joserfc.jwk import KeySet

        given = token.get("id_token")
        if not isinstance(given, str):
            raise FederationError(f"{provider.title} did not say who you are.")
        kid = jws.extract_compact(given.encode()).headers().get("kid")
        keys = self._key_set(provider, session)
        if kid is not None and kid not in [key.get("kid") for key in keys["keys"]]:
            keys = self._key_set(provider, session, anew=True)
        read = jwt.decode(given, KeySet.import_key_set(keys), algorithms=ALGORITHMS)  # type: ignore[arg-type]
        options = {
            "iss": {"essential": True, "value": provider.issuer},
            "aud": {"essential": True, "value": provider.client_id},
            "nonce": {"essential": True, "value": nonce},
        }
        params = {"nonce": nonce, "client_id": provider.client_id, "access_token": token.get("access_token")}
        claims = CodeIDToken(read.claims, read.header, options, params)
        claims.validate(leeway=_LEEWAY)
        return dict(claims)

    def _key_set(self, provider: Provider, session: "OAuth2Session", *, anew: bool = False) -> dict[str, Any]:
        with self._lock:
            known = self._keys.get(provider.key)
        if known is not None and not anew:
            return known
        found = self._read(provider, session, self._endpoint(provider, session, "jwks_uri"))
        keys = found.get("keys")
        if not isinstance(keys, list):
            raise FederationError(f"{provider.title} shows no keys.")
        # Public keys that sign; a shared secret among them would let anybody sign.
        usable = [key for key in keys if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP")]
        usable = [key for key in usable if key.get("use", "sig") == "sig"]
        with self._lock:
            self._keys[provider.key] = {"keys": usable}
        return {"keys": usable}

    def _endpoint(self, provider: Provider, session: "OAuth2Session", name: str) -> str:
        """Return one of an issuer's addresses."""
        if provider.kind == "github":
            base = provider.issuer.rstrip("/")
            path = {"authorization_endpoint": "authorize", "token_endpoint": "access_token"}[name]
            return f"{base}/login/oauth/{path}"
        found = self._about(provider, session).get(name)
        if not isinstance(found, str) or not _is_safe(found, provider.issuer):
            raise FederationError(f"{provider.title} names no address for this that could be used.")
        return found

    def _about(self, provider: Provider, session: "OAuth2Session") -> dict[str, Any]:
        """Return what an issuer says of itself (OpenID Connect Discovery)."""
        if provider.kind != "oidc":
            return {}
        with self._lock:
            read_at, about = self._known.get(provider.key, (0.0, {}))
        if not about or time.monotonic() - read_at > _DISCOVERY_SECONDS:
            about = self._read(provider, session, f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration")
            # OpenID Connect Discovery 4.3: or another issuer could speak in this one's name.
            if about.get("issuer") != provider.issuer:
                raise FederationError(f"{provider.title} says of itself that it is somebody else.")
            with self._lock:
                self._known[provider.key] = (time.monotonic(), about)
        return about

    # ------------------------------------------------------------------ GitHub, which is not OpenID Connect
    def _of_github(self, provider: Provider, session: "OAuth2Session", access: str) -> Identity:
        base = provider.issuer.rstrip("/")
        where = "https://api.github.com/user" if base == GITHUB else f"{base}/api/v3/user"
        found = self._read(provider, session, where, {"Authorization": f"Bearer {access}"})
        number, login = found.get("id"), str(found.get("login") or "")
        if isinstance(number, bool) or not isinstance(number, int):
            raise FederationError("GitHub did not say who you are.")
        # The number: a login name can be given up, and taken by somebody else.
        return Identity(provider.issuer, str(number), login[:200], None, login)

    # ------------------------------------------------------------------ the wire
    @contextmanager
    def _session(self, provider: Provider) -> Iterator["OAuth2Session"]:
        """Give a session with a provider; whatever it fails with becomes a sentence."""
        import requests
        from authlib.common.errors import AuthlibBaseError
        from authlib.integrations.requests_client import OAuth2Session
        from joserfc.errors import JoseError

        scope = "openid profile email" if provider.kind == "oidc" else "read:user"
        made = OAuth2Session(
            provider.client_id,
            provider.client_secret,
            scope=scope,
            redirect_uri=f"{self._base}/login/{provider.key}/callback",
            code_challenge_method="S256",
            default_timeout=_TIMEOUT_SECONDS,
        )
        with made as session:
            try:
                yield session
            except requests.RequestException as error:
                _log.warning("%s does not answer: %s", provider.key, type(error).__name__)
                raise FederationError(f"{provider.title} does not answer just now. Try again later.") from error
            except (AuthlibBaseError, JoseError, ValueError, KeyError, TypeError) as error:
                # The reason is for who looks after MAP4; a user could only be misled by it.
                _log.warning("%s is not believed: %s: %.200s", provider.key, type(error).__name__, error)
                raise FederationError(f"What {provider.title} answered is not believed. Try again.") from error

    def _read(
        self, provider: Provider, session: "OAuth2Session", address: str, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the JSON object at an address of the provider's; redirections are not followed."""
        import json

        wanted = {"Accept": "application/json", **(headers or {})}
        with session.get(address, withhold_token=True, headers=wanted, allow_redirects=False, stream=True) as answer:
            body = answer.raw.read(_LARGEST + 1, decode_content=True)
            if answer.status_code != 200 or len(body) > _LARGEST:
                raise FederationError(f"{provider.title} does not answer as it should. Try again later.")
        found = json.loads(body)
        if not isinstance(found, dict):
            raise FederationError(f"{provider.title} does not answer as it should. Try again later.")
        return found


def _subject(given: Any) -> str:
    if not isinstance(given, str) or not given or len(given) > _LONGEST_SUBJECT or not given.isprintable():
        raise FederationError("The issuer did not say who you are.")
    return given


def _is_safe(address: str, issuer: str) -> bool:
    """Return whether an address may be asked: by HTTPS, or on this machine where the issuer itself is."""
    parts, home = urlsplit(address), urlsplit(issuer)
    if parts.username is not None or not parts.hostname:
        return False
    local = ("127.0.0.1", "localhost", "::1")
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in local and home.hostname in local)
