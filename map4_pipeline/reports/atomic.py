"""Writing a report so that nobody ever sees half of one."""

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from map4_pipeline.reports.model import ReportFile

_TEMPORARY = re.compile(r"\.map4-[0-9a-f]{16}\.tmp")
_ABANDONED_SECONDS = 86_400


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to; on success it is flushed to disk and takes the place of `path`.

    The temporary file is in the same folder, because a rename is atomic only within one file system. On any error,
    cancellation included, it is removed and `path` stays what it was.

    Parameters
    ----------
    path : Path
        Where the report belongs; its folder is made if it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    # Short whatever the report is called: names longer than 255 bytes cannot be made.
    temporary = path.parent / f".map4-{secrets.token_hex(8)}.tmp"
    try:
        # Made here, not by tempfile, whose 0600 would survive the rename and hide the report from others.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what a killed process or a power cut left behind; nobody writes to one file for so long."""
    for left in folder.glob(".map4-*.tmp"):
        with suppress(OSError):
            if _TEMPORARY.fullmatch(left.name) and time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                left.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can (Windows and some network shares cannot)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Stopwatch:
    """Wall time of one report."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def report(self, path: Path, report_format: str) -> ReportFile:
        """Describe the file that was just written."""
        elapsed = round((time.perf_counter() - self._started) * 1000)
        return ReportFile(path=path, size_bytes=path.stat().st_size, format=report_format, duration_ms=elapsed)
