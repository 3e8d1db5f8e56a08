"""Fixtures of the running system. A module that uses `up` says with `furnish(folder, database)` in what environment it runs."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from ..postgres import short_directory, system_server
from .running import Up, chromium, running_up

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module", params=["embedded", pytest.param("system", marks=pytest.mark.own_postgres)])
def up(request: pytest.FixtureRequest) -> Iterator[Up]:
    """`map4 up` on what the module's `furnish` has prepared, on the embedded or the system's PostgreSQL."""
    with ExitStack() as stack:
        folder = stack.enter_context(short_directory())
        database = None
        if request.param == "system":
            database = stack.enter_context(stack.enter_context(system_server()).database(migrated=False))
        yield stack.enter_context(running_up(request.module.furnish(folder, database)))


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """The system's Chromium."""
    with chromium() as found:
        yield found
