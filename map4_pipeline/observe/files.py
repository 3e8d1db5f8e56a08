"""A log file that several processes write, put aside when it is full."""

import logging
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

#: As REQUIREMENTS has it: ten megabytes, and five older files.
MAX_BYTES = 10 * 1024 * 1024
BACKUPS = 5


class SharedRotatingFile(logging.Handler):
    """Appends lines to a file; several processes may have it open, and one of them puts it aside when it is full.

    The standard library's handler loses lines there: each process renames by its own count, and goes on writing into what
    another one has put aside. Here a line is one write in append mode, whoever finds the file full takes a lock on the
    open file itself, looks whether it is still the one at the path, and renames; the others see another file at the path and
    open that one. Nobody removes a lock file, and a killed process holds nothing up.

    A disk that is full or a folder that is gone loses lines, and nothing else: who logs is never told.

    Parameters
    ----------
    path : Path
        Its folder is made, once: a home that was removed is not made again for a line.
    max_bytes : int
        A line that would make the file larger goes into the next one.
    backups : int
        `map4.log.1`, the newest, to `map4.log.<backups>`.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, backups: int = BACKUPS) -> None:
        super().__init__()
        self.path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._descriptor: int | None = None
        self._process = os.getpid()
        self._told = False
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as a line."""
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - what cannot be written down must not stop what it tells of
            self.handleError(record)
            return
        try:
            os.write(self._place_for(len(line)), line)
            self._told = False
        except OSError as error:
            self._release()
            self._tell(error)

    def close(self) -> None:
        """Close the file."""
        with self.lock or threading.RLock():
            self._release()
        super().close()

    def _place_for(self, size: int) -> int:
        descriptor = self._current()
        # Another process may have filled it in the moment before: look again until there is room in the one that is there.
        for _ in range(3):
            length = os.fstat(descriptor).st_size
            if length == 0 or length + size <= self._max_bytes:
                break
            if not self._put_aside(descriptor):
                break
            descriptor = self._current()
        return descriptor

    def _current(self) -> int:
        """Return the open file that is at the path now."""
        if self._descriptor is not None and self._process == os.getpid() and _is_at(self._descriptor, self.path):
            return self._descriptor
        self._release()
        self._process = os.getpid()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        self._descriptor = os.open(self.path, flags, 0o640)
        return self._descriptor

    def _put_aside(self, descriptor: int) -> bool:
        """Rename the full file, unless another process has done so meanwhile; return whether there is another one now."""
        _lock(descriptor)
        try:
            if not _is_at(descriptor, self.path):
                return True
            for number in range(self._backups, 0, -1):
                older = self.path.with_name(f"{self.path.name}.{number - 1}") if number > 1 else self.path
                if older.exists():
                    older.replace(self.path.with_name(f"{self.path.name}.{number}"))
            return True
        except OSError:  # Windows renames nothing that is open elsewhere: the file grows until the others have ended
            return False
        finally:
            _unlock(descriptor)

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)

    def _tell(self, error: OSError) -> None:
        if not self._told and self.path.parent.exists():
            self._told = True
            with suppress(OSError, ValueError, AttributeError):
                sys.stderr.write(f"map4: the log {self.path} cannot be written: {error.strerror}.\n")


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is the one at a path."""
    try:
        here, there = os.fstat(descriptor), path.stat()
    except OSError:
        return False
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        """Windows refuses to rename what is open: the lock is there already."""

    def _unlock(descriptor: int) -> None:
        """See `_lock`."""

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _unlock(descriptor: int) -> None:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
