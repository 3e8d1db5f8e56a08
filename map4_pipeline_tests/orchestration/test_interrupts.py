"""Ctrl-C is heard whenever it comes."""

import os
import signal
import sys
from typing import Any

import pytest
from dagster import DagsterEventType, DagsterInstance
from rich.console import Console

from map4_pipeline.cli.runs import _execute
from map4_pipeline.orchestration.definitions import build_defs

from ..ingest.music import Shelf

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not applicable: signals as on Unix")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_dagster_finishes_a_run_is_not_lost(
    shelf: Shelf, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    shelf.add("1.wav", 1)
    shelf.library()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as `map4 ingest` does
    handle = instance.handle_new_event
    sent = []

    def handle_and_interrupt(entry: Any, **options: Any) -> None:
        event = entry.dagster_event
        if event is not None and event.event_type == DagsterEventType.RUN_SUCCESS:
            sent.append(number)
            os.kill(os.getpid(), number)
        handle(entry, **options)

    monkeypatch.setattr(instance, "handle_new_event", handle_and_interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            _execute(build_defs(), "refresh_library", instance, {}, Console(quiet=True))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert sent == [number]
    (run,) = instance.get_runs()
    assert run.is_success
    assert signal.set_wakeup_fd(-1) == -1
