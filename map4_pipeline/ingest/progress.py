"""Progress of a run, told to whoever watches: a terminal, a Dagster log, nobody."""

import time
from dataclasses import dataclass, field
from typing import Protocol

from map4_pipeline.library.ledger import Ledger


class Progress(Protocol):
    """What an analysis tells while it works. Calls come from the thread that runs it."""

    def expect(self, files: int, size_bytes: int) -> None:
        """More work is known: so many files with so many bytes."""

    def done(self, outcome: str, path: str, size_bytes: int, message: str | None = None) -> None:
        """A file got its fate: "analysed", "reused", "failed" or "skipped"."""

    def stage(self, text: str) -> None:
        """Another part of the work begins."""


class Silent:
    """Tells nobody."""

    def expect(self, files: int, size_bytes: int) -> None:
        """Do nothing."""

    def done(self, outcome: str, path: str, size_bytes: int, message: str | None = None) -> None:
        """Do nothing."""

    def stage(self, text: str) -> None:
        """Do nothing."""


@dataclass(slots=True)
class Effort:
    """What an analysis cost.

    Attributes
    ----------
    started : float
        `time.monotonic()` at the start.
    decodes : int
        Files decoded.
    bytes_read : int
        Bytes of files read.
    cpu_seconds : float
        CPU seconds of the workers in decoding and analysis.
    """

    started: float = field(default_factory=time.monotonic)
    decodes: int = 0
    bytes_read: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    files: int = 0

    def stop(self) -> None:
        """Note the end."""
        self.wall_seconds = time.monotonic() - self.started

    @property
    def tracks_per_minute(self) -> float:
        """Files that got their fate, a minute."""
        return 60.0 * self.files / self.wall_seconds if self.wall_seconds > 0 else 0.0


Failure = tuple[str, str, str]


@dataclass(slots=True)
class Summary:
    """What an analysis did: counts, what failed (first 200: path, kind, message), what it cost."""

    ledger: Ledger = field(default_factory=Ledger)
    failures: list[Failure] = field(default_factory=list)
    effort: Effort = field(default_factory=Effort)
    #: What was left because another process has its directory in hand, or because somebody wanted an end.
    busy: bool = False
    stopped: bool = False
    #: Ids of directories that were left before all was done in them, because nobody wants them any more.
    left: set[int] = field(default_factory=set)
