"""Locks on files that the operating system drops when the process ends, however it ends.

`fcntl.flock` on Unix, `LockFileEx` on Windows. Such a lock survives neither `kill -9` nor a crash, which a file
with a process id in it does; and ids are taken again, by another container within the hour.
"""

import os
import sys
import weakref
from pathlib import Path

from .errors import InfrastructureError

_open_locks: "weakref.WeakSet[FileLock]" = weakref.WeakSet()


class FileLock:
    """A shared or exclusive lock on one file.

    The lock belongs to the open file: a child process shares it only if it is given the descriptor.

    Parameters
    ----------
    path
        The file; made if it does not exist, never removed (removing a locked file lets two own "the" lock).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int | None:
        """The open file, or None when the lock was never taken or was released."""
        return self._descriptor

    def acquire(self, *, shared: bool = False, wait: bool = True) -> bool:
        """Take the lock, or turn the one that is held into the other kind.

        Returns
        -------
        bool
            False if `wait` is false and somebody else holds it. A lock that was held before is lost then.

        Raises
        ------
        InfrastructureError
            If the file cannot be opened, or its file system has no locks.
        """
        try:
            if self._descriptor is None:
                self._descriptor = _open(self.path)
                _open_locks.add(self)
            locked = _lock(self._descriptor, shared, wait)
        except OSError as error:
            self.release()
            raise InfrastructureError(
                f"Cannot lock {self.path}: {error.strerror or error}. MAP4_HOME has to be a folder on a local disk "
                "that this user may write to."
            ) from error
        if not locked:
            self.release()
        return locked

    def release(self) -> None:
        """Drop the lock; nothing happens if it is not held."""
        if self._descriptor is not None:
            # Not only closed: a child that was forked meanwhile may have the file open too.
            _unlock(self._descriptor)
        self.hand_over()

    def hand_over(self) -> None:
        """Leave the lock to the process that was given the descriptor."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o600)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # Root working in a user's folder leaves nothing behind that the user cannot open.
        owner = path.parent.stat()
        if os.fstat(descriptor).st_uid != owner.st_uid:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    _FAIL_IMMEDIATELY, _EXCLUSIVE, _ERROR_LOCK_VIOLATION = 1, 2, 33

    class _Overlapped(ctypes.Structure):
        _fields_ = [
            ("internal", ctypes.c_void_p),
            ("internal_high", ctypes.c_void_p),
            ("offset", wintypes.DWORD),
            ("offset_high", wintypes.DWORD),
            ("event", wintypes.HANDLE),
        ]

    def _lock(descriptor: int, shared: bool, wait: bool) -> bool:
        kernel, handle = _unlock(descriptor)
        flags = (0 if shared else _EXCLUSIVE) | (0 if wait else _FAIL_IMMEDIATELY)
        if kernel.LockFileEx(handle, flags, 0, 1, 0, ctypes.byref(_Overlapped())):
            return True
        code = ctypes.get_last_error()
        if code == _ERROR_LOCK_VIOLATION:
            return False
        raise ctypes.WinError(code)

    def _unlock(descriptor: int) -> tuple[ctypes.WinDLL, wintypes.HANDLE]:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(descriptor))
        kernel.UnlockFileEx(handle, 0, 1, 0, ctypes.byref(_Overlapped()))
        return kernel, handle

else:
    import fcntl

    def _lock(descriptor: int, shared: bool, wait: bool) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _forget_after_fork() -> None:
        """A forked child holds none of its parent's locks."""
        for lock in list(_open_locks):
            lock.hand_over()

    os.register_at_fork(after_in_child=_forget_after_fork)
