"""What is seen while a run is under way."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from map4_pipeline.cli.progress import RunDisplay, SurveyDisplay
from map4_pipeline.ingest.progress import Silent

from .conftest import HOSTILE


def screen() -> tuple[Console, io.StringIO]:
    """Return a console that is no terminal, and what it prints to."""
    out = io.StringIO()
    return Console(file=out, width=80, markup=False, highlight=False, emoji=False), out


def test_failed_files_are_named_and_their_number_is_bounded() -> None:
    console, out = screen()
    with RunDisplay(console) as display:
        display.expect(50, 1000)
        for number in range(50):
            display.done("failed", f"/music/{HOSTILE}/{number}.mp3", 20, "It is broken: [/red]")
    lines = out.getvalue().splitlines()
    # Paths are not cut, so that they can be copied.
    assert lines[19].endswith("/19.mp3: It is broken: [/red]")
    assert len(lines) == 21
    assert "map4 tracks --failed" in lines[20]
    assert "\x1b" not in out.getvalue()


def test_without_a_terminal_a_line_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("map4_pipeline.cli.progress.time.monotonic", lambda: clock[0])
    console, out = screen()
    with SurveyDisplay(console) as survey, RunDisplay(console) as display:
        survey.update(3, 40)
        display.expect(40, 1000)
        for _ in range(20):
            clock[0] += 6.0
            display.done("analysed", "x", 1)
    lines = out.getvalue().splitlines()
    assert lines[-1] == "20 of 40 files, 10 tracks/min, about 2 min left"
    assert len(lines) == 10


@pytest.fixture
def nobody_watches() -> Iterator[None]:
    from map4_pipeline.orchestration.resources import Map4Resource

    yield
    Map4Resource().with_progress(Silent)


def test_dagster_s_own_copy_of_the_resource_tells_who_watches(nobody_watches: None) -> None:
    from map4_pipeline.orchestration.resources import Map4Resource

    display = RunDisplay(screen()[0])
    Map4Resource().with_progress(lambda: display)
    # Dagster makes a new object from the configuration before each run.
    assert Map4Resource(nice=3)._progress() is display
