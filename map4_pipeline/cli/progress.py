"""Live progress on the terminal: tracks done, rate, time left. Without a terminal, a line every ten seconds."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from map4_pipeline.cli.console import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID


class SurveyDisplay:
    """Shows how far the walk over the folders has come."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._status = console.status("Looking at the folders ...") if console.is_terminal else None
        self._last = 0.0

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._status is not None:
            self._status.stop()

    def update(self, directories: int, files: int) -> None:
        """Show how many directories and files have been seen; ten times a second at most."""
        now = time.monotonic()
        if self._status is not None and now - self._last > 0.1:
            self._last = now
            self._status.update(f"Looking at the folders: {directories:,} directories, {files:,} files")


class RunDisplay:
    """A `Progress` on the terminal."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        self._console = console
        self._started = time.monotonic()
        self._last_line = self._started
        self._done = 0
        self._total = 0
        self._failed = 0
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
            refresh_per_second=5,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task("starting", total=None, rate="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def expect(self, files: int, size_bytes: int) -> None:
        """More files are known to be pending."""
        if not self._total:
            self._started = time.monotonic()
        self._total += files
        self._bar.update(self._task, total=self._total)

    def stage(self, text: str) -> None:
        """Name what is being done."""
        self._bar.update(self._task, description=printable(text))

    def done(self, outcome: str, path: str, size_bytes: int, message: str | None = None) -> None:
        """Count a file; name it when it failed."""
        self._done += 1
        if outcome == "failed":
            self._failed += 1
            if self._failed <= 20:
                text = f"failed  {printable(path)}: {printable(message or '')}"
                self._console.print(text, style="yellow", soft_wrap=True)
            elif self._failed == 21:
                self._console.print("More failures follow; `map4 tracks --failed` lists them all.", style="yellow")
        now = time.monotonic()
        rate = 60.0 * self._done / max(now - self._started, 0.001)
        self._bar.update(self._task, completed=self._done, rate=f"{rate:,.0f} tracks/min")
        if not self._console.is_terminal and now - self._last_line >= 10.0:
            self._last_line = now
            self._console.print(f"{self._done:,} of {self._total:,} files, {rate:,.0f} tracks/min, {self._left(rate)}")

    def _left(self, rate: float) -> str:
        """Return the time left at a rate (tracks a minute) in words."""
        minutes = (self._total - self._done) / rate if rate else 0.0
        if minutes < 1:
            return "less than a minute left"
        return f"about {minutes:.0f} min left" if minutes < 90 else f"about {minutes / 60:.1f} h left"
