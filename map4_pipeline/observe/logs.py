"""Structured logs: one JSON object a line in `logs/map4.log`, on the console JSON or, for people, plain text.

Everything that logs through Python's `logging` goes this way, MAP4's own modules and those of others. `configure_logging` is
called once by a program (`map4 serve`, the services of `map4 up`, a run); a library never calls it. What a line is about besides
(`request_id`, `run_id`) is bound with `bind` for a request or `bind_process` for a whole process.
"""

import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from map4_pipeline.observe.files import SharedRotatingFile
from map4_pipeline.observe.masking import Masker, secrets_of

if TYPE_CHECKING:
    from structlog.types import EventDict, Processor

    from map4_pipeline.settings import Settings

FILE_NAME = "map4.log"
#: Loggers that tell of every request or statement at INFO; their address may hold a key.
_TALKATIVE = ("httpx", "httpcore", "urllib3", "openai", "anthropic", "google_genai", "alembic", "asyncio", "multipart", "PIL")
_MARK = "_map4_handler"
_RENDERED = "_map4_line"
_process_values: dict[str, Any] = {}
_masker = Masker()
_plain_factory: Callable[..., logging.LogRecord] | None = None


def log_path(settings: "Settings") -> Path:
    """Return where MAP4's log is."""
    return settings.home / "logs" / FILE_NAME


def configure_logging(settings: "Settings", program: str, *, console: IO[str] | None = None) -> None:
    """Send this process's log lines to the file, and to a console if there is one; calling it again changes that.

    Parameters
    ----------
    program : str
        Which of MAP4's programs this is: "serve", "run", "daemon", ...
    console : text stream, optional
        Gets INFO and above. By `MAP4_LOG_FORMAT`, JSON or plain text; `auto` is plain text on a terminal.
    """
    global _masker
    _masker = Masker(secrets_of(settings))
    _mask_foreign_records()
    _process_values.clear()
    bind_process(program=program)
    level = logging.getLevelNamesMapping()[settings.log_level]
    root = logging.getLogger()
    for handler in [one for one in root.handlers if getattr(one, _MARK, False)]:
        root.removeHandler(handler)
        handler.close()
    file = SharedRotatingFile(log_path(settings))
    as_json = _formatter(_as_json())
    file.setFormatter(as_json)
    _add(root, file, logging.DEBUG)
    if console is not None:
        plain = settings.log_format == "text" or (settings.log_format == "auto" and console.isatty())
        shown = logging.StreamHandler(console)
        shown.setFormatter(_formatter(_as_text(console)) if plain else as_json)
        _add(root, shown, logging.INFO)
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def bind_process(**values: Any) -> None:
    """Let every further line of this process say something; None takes it away."""
    for name, value in values.items():
        if value is None:
            _process_values.pop(name, None)
        else:
            _process_values[name] = value


def process_values() -> dict[str, Any]:
    """Return what every line of this process says."""
    return dict(_process_values)


def is_configured(settings: "Settings") -> bool:
    """Return whether this process logs to these settings' file."""
    path = log_path(settings)
    return any(isinstance(one, SharedRotatingFile) and one.path == path for one in logging.getLogger().handlers)


def event(logger: logging.Logger, level: int, message: str, *, exc_info: Any = None, **fields: Any) -> None:
    """Log a message with fields of its own, which JSON lines show by their names."""
    logger.log(level, message, exc_info=exc_info, extra={"fields": fields}, stacklevel=2)


def mask(text: str) -> str:
    """Return a text without what is secret in this process."""
    return _masker.text(text)


def mask_value(value: Any, name: str = "") -> Any:
    """Return a value of any make without what is secret in this process."""
    return _masker.value(value, name)


def _add(root: logging.Logger, handler: logging.Handler, level: int) -> None:
    handler.setLevel(level)
    setattr(handler, _MARK, True)
    root.addHandler(handler)


def _formatter(render: "list[Processor]") -> logging.Formatter:
    import structlog

    shared: list[Processor] = [
        _fields,
        _context,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta

    class Once(structlog.stdlib.ProcessorFormatter):
        """Renders a line once for all handlers that it is given to."""

        def format(self, record: logging.LogRecord) -> str:
            made: tuple[object, str] | None = record.__dict__.get(_RENDERED)
            if made is None or made[0] is not self:
                made = record.__dict__[_RENDERED] = (self, super().format(record))
            return made[1]

    return Once(foreign_pre_chain=shared, processors=[remove, structlog.processors.format_exc_info, _mask_fields, *render])


def _fields(_logger: Any, _method: str, event_dict: "EventDict") -> "EventDict":
    """Take over what `event` was given."""
    record = event_dict.get("_record")
    found = getattr(record, "fields", None)
    return {**found, **event_dict} if isinstance(found, dict) else event_dict


def _context(_logger: Any, _method: str, event_dict: "EventDict") -> "EventDict":
    """Say which process and which request a line belongs to."""
    from structlog import contextvars

    return {"pid": os.getpid(), **_process_values, **contextvars.get_contextvars(), **event_dict}


def _mask_fields(_logger: Any, _method: str, event_dict: "EventDict") -> MutableMapping[str, Any]:
    return {name: _masker.value(value, "" if name == "event" else name) for name, value in event_dict.items()}


def _as_json() -> "list[Processor]":
    import structlog

    render = structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
    return [structlog.processors.EventRenamer("message"), _in_order, render]


def _as_text(console: IO[str]) -> "list[Processor]":
    import structlog

    coloured = console.isatty() and "NO_COLOR" not in os.environ
    return [_for_people, structlog.dev.ConsoleRenderer(colors=coloured)]


def _in_order(_logger: Any, _method: str, event_dict: "EventDict") -> "EventDict":
    """Begin every line with what people look for first."""
    first = {name: event_dict.pop(name) for name in ("timestamp", "level", "logger", "message") if name in event_dict}
    return {**first, **event_dict}


def _for_people(_logger: Any, _method: str, event_dict: "EventDict") -> "EventDict":
    for name in ("pid", "program"):
        event_dict.pop(name, None)
    event_dict["timestamp"] = str(event_dict["timestamp"])[11:19]
    return event_dict


def _mask_foreign_records() -> None:
    """Blacken messages where they are made, so that handlers of others (Dagster's, Sentry's) have none to write."""
    global _plain_factory
    if _plain_factory is not None:
        return
    _plain_factory = logging.getLogRecordFactory()
    make = _plain_factory

    def masked(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if isinstance(record.msg, str):
            try:
                said = record.getMessage()
            except (TypeError, ValueError, KeyError):  # logging tells of it where the record is formatted
                return record
            clean = _masker.text(said)
            if clean != said:
                record.msg, record.args = clean, ()
        return record

    logging.setLogRecordFactory(masked)


def stream_of_console() -> IO[str]:
    """Return where a server's console lines go: the standard error, which is free for them."""
    return sys.stderr
