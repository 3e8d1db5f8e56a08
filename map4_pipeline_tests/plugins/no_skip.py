"""Make a skipped test a failed one, where every program that tests need is installed.

A test skips with its reason where a system program is missing, so that nobody has to install PostgreSQL or Chromium to
run the suite. On the build server that would hide a test that never runs: there, `-p map4_pipeline_tests.plugins.no_skip`
with MAP4_NO_SKIP=1 turns skips into failures.

Two kinds of reason are allowed: one that begins with "not applicable" (another platform, another user), and one that
matches the regular expression in MAP4_SKIP_OK.
"""

import os
import re
from collections.abc import Generator
from typing import Any

import pytest

NOT_APPLICABLE = "not applicable"


def reason_of(longrepr: Any) -> str:
    """Return why a test was skipped; pytest keeps (file, line, "Skipped: reason")."""
    text = str(longrepr[2] if isinstance(longrepr, tuple) and len(longrepr) == 3 else longrepr)
    return text.removeprefix("Skipped: ")


def is_allowed(reason: str) -> bool:
    """Say whether a skip with this reason may stay one."""
    allowed = os.environ.get("MAP4_SKIP_OK", "")
    return reason.lower().startswith(NOT_APPLICABLE) or bool(allowed and re.search(allowed, reason))


def is_active() -> bool:
    """Say whether skips fail."""
    return os.environ.get("MAP4_NO_SKIP", "") == "1"


def fail_skipped(report: Any) -> None:
    """Turn a report's skip into a failure unless its reason is allowed."""
    if not is_active() or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = reason_of(report.longrepr)
    if not is_allowed(reason):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped (MAP4_NO_SKIP=1): {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Watch the tests."""
    report = yield
    fail_skipped(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Watch modules that skip as a whole."""
    report = yield
    fail_skipped(report)
    return report
