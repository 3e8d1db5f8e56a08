"""What runs say, in MAP4's own log as well: `dagster.yaml` names the handler here, and Dagster hands it every `context.log` line.

Dagster keeps these lines with the run, where people look at one run. Here they stand beside those of the API and the daemon, with
the run and the request that it was launched for, where people look for what happened at a moment.
"""

import logging
from collections.abc import Mapping
from typing import Any

from map4_pipeline.orchestration.scope import REQUEST_TAG

_log = logging.getLogger("map4.run")


class RunLogHandler(logging.Handler):
    """Hands lines of runs on to the process's log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line on; Dagster's own events of steps are in its storage."""
        about: Mapping[str, Any] = getattr(record, "dagster_meta", {})
        if about.get("dagster_event") is not None:
            return
        try:
            log_of_this_process()
            fields = fields_of_run(about.get("run_id"), about.get("job_tags") or {})
            fields |= {"job": about.get("job_name"), "step": about.get("step_key")}
            said = str(about.get("orig_message") or record.getMessage())
            extra = {"fields": {name: value for name, value in fields.items() if value is not None}}
            if _log.isEnabledFor(record.levelno):
                _log.handle(
                    _log.makeRecord(_log.name, record.levelno, record.pathname, record.lineno, said, (), None, extra=extra)
                )
        except Exception:  # noqa: BLE001 - a run does not fail for its log
            self.handleError(record)


def fields_of_run(run_id: str | None, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return what every line of a run says: which run it is, and the requests it was launched for."""
    return {"run_id": run_id, "request_id": tags.get(REQUEST_TAG)}


def log_of_this_process() -> None:
    """Open MAP4's log in a process that executes runs, unless it is open: Dagster starts some, and none asks for it."""
    from map4_pipeline.observe.logs import configure_logging, is_configured
    from map4_pipeline.observe.sentry import start_sentry
    from map4_pipeline.settings import settings

    if not is_configured(settings()):
        configure_logging(settings(), "run")
        start_sentry(settings(), "run")
