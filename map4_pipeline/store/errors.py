"""Errors of the store."""


class InfrastructureError(RuntimeError):
    """Something MAP4 stands on (database, disk, permissions) failed; the text says what happened and what to do.

    A bad audio file is never an `InfrastructureError`: that is a row with its reason.
    """

    exit_code = 3


class StoreError(ValueError):
    """What was asked for cannot be done with what is in the database (nested roots, unknown track); the text says why."""

    exit_code = 2
