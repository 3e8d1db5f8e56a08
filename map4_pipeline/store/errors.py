"""Errors of the store."""

import errno


def what_to_do(error: OSError) -> str:
    """Return what a user can do about a file or folder that cannot be written, as a sentence."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return "Free some space or choose another place."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Choose a place that this user may write to."
    return "Choose another place."


class InfrastructureError(RuntimeError):
    """Something MAP4 stands on (database, disk, permissions) failed; the text says what happened and what to do.

    A bad audio file is never an `InfrastructureError`: that is a row with its reason.
    """

    exit_code = 3


class StoreError(ValueError):
    """What was asked for cannot be done with what is in the database (nested roots, unknown track); the text says why."""

    exit_code = 2
