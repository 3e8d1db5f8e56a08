"""Reports of defects to Sentry, where `SENTRY_DSN` names one; without it nothing is sent, and its library is not even loaded.

What goes out: the exception's type, its masked text, file and line of each frame, the request's number, MAP4's version. What does
not: users, addresses, cookies, headers, bodies, query strings, local variables, host names, paths of music files.
"""

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from map4_pipeline.observe.logs import mask, mask_value

if TYPE_CHECKING:
    from map4_pipeline.settings import Settings

_log = logging.getLogger("map4.sentry")
#: Parts of an event that are let out. A later version of the library may add others: they stay here.
_KEPT = frozenset(
    ("event_id", "timestamp", "platform", "level", "logger", "exception", "logentry", "message", "tags", "release", "environment",
     "sdk", "contexts", "type", "fingerprint", "errors")
)  # fmt: skip
_KEPT_CONTEXTS = frozenset(("runtime", "trace"))
_KEPT_FRAME = frozenset(("filename", "function", "module", "lineno", "in_app", "context_line"))
#: Paths that an error's text names may be a user's: what stays is that there was one.
_PATH = re.compile(r"(?<![\w<])(?:[A-Za-z]:\\|~?/)[^\s'\":,;<>]+(?:[/\\][^'\":,;<>\n]+)*")
#: Texts in quotes are values: names of files, tags, users.
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
#: Mail and IP addresses.
_PERSON = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\b\d{1,3}(?:\.\d{1,3}){3}\b")
#: SQLAlchemy shows the statement and its parameters below the database's words.
_STATEMENT = re.compile(r"\n\[(?:SQL|parameters): .*", re.DOTALL)


def start_sentry(settings: "Settings", program: str) -> bool:
    """Report this process's defects if that is wanted; return whether they are.

    Parameters
    ----------
    program : str
        As for `configure_logging`, which comes first: it knows the secrets.
    """
    if settings.sentry_dsn is None:
        return False
    try:
        import sentry_sdk
        from sentry_sdk.integrations.atexit import AtexitIntegration
        from sentry_sdk.integrations.dedupe import DedupeIntegration
        from sentry_sdk.integrations.excepthook import ExcepthookIntegration
        from sentry_sdk.integrations.logging import LoggingIntegration
        from sentry_sdk.integrations.threading import ThreadingIntegration
        from sentry_sdk.utils import BadDsn
    except ImportError:
        _log.warning("SENTRY_DSN is set, but Sentry's library is not there: pip install 'map4[sentry]'")
        return False
    from map4_pipeline import __version__

    try:
        sentry_sdk.init(
            dsn=settings.sentry_dsn.get_secret_value(),
            release=f"map4@{__version__}",
            environment=settings.sentry_environment,
            server_name="map4",
            send_default_pii=False,
            include_local_variables=False,
            include_source_context=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            traces_sample_rate=None,
            auto_session_tracking=False,
            send_client_reports=False,
            # No integration by itself: they would add requests, users and statements.
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[
                LoggingIntegration(level=None, event_level=logging.ERROR),
                ExcepthookIntegration(),
                DedupeIntegration(),
                ThreadingIntegration(propagate_hub=False),
                AtexitIntegration(callback=lambda pending, timeout: None),
            ],
            before_send=scrub,
        )
    except (BadDsn, ValueError):
        _log.warning("SENTRY_DSN cannot be read; it has to look like https://key@host/number. Nothing is reported.")
        return False
    sentry_sdk.set_tag("program", program)
    return True


def scrub(event: Any, _hint: Any = None) -> Any:
    """Return an event with nothing in it but what the module's head allows."""
    kept = {name: value for name, value in event.items() if name in _KEPT}
    contexts = event.get("contexts") or {}
    kept["contexts"] = {name: value for name, value in contexts.items() if name in _KEPT_CONTEXTS}
    if request_id := _request_id():
        kept["tags"] = {**_plain_tags(event.get("tags")), "request_id": request_id}
    for error in _values(event.get("exception")):
        error["value"] = _said(error.get("value"))
        error.pop("mechanism", None)
        for frame in (error.get("stacktrace") or {}).get("frames") or ():
            for name in [name for name in frame if name not in _KEPT_FRAME]:
                del frame[name]
    entry = kept.get("logentry")
    if isinstance(entry, dict):
        kept["logentry"] = {"message": _said(entry.get("formatted") or entry.get("message"))}
    if isinstance(kept.get("message"), str):
        kept["message"] = _said(kept["message"])
    return mask_value(kept)


def _said(text: Any) -> str:
    """Return an error's words without statements, paths, values and addresses."""
    # Secrets first: what is cut to pieces is not recognised any more.
    return _PERSON.sub("(address)", _QUOTED.sub("'...'", _PATH.sub("(path)", _STATEMENT.sub("", mask(str(text or ""))))))


def _values(container: Any) -> list[dict[str, Any]]:
    if isinstance(container, Mapping):
        container = container.get("values")
    return [one for one in container or () if isinstance(one, dict)]


def _plain_tags(tags: Any) -> dict[str, Any]:
    return dict(tags) if isinstance(tags, Mapping | list) else {}


def _request_id() -> str | None:
    from structlog.contextvars import get_contextvars

    from map4_pipeline.observe.logs import process_values

    found = get_contextvars().get("request_id") or process_values().get("request_id")
    return None if found is None else str(found)
