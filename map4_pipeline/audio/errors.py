"""Why a file could not be analysed, in classes a program can test and words a user can read."""

from typing import Literal

ErrorKind = Literal[
    "empty",  # 0 bytes
    "unreadable",  # the operating system refuses (permission, I/O error, vanished)
    "not_audio",  # no known audio format
    "no_audio",  # a known container without an audio stream
    "unsupported",  # a known format that cannot be decoded here
    "encrypted",  # DRM
    "damaged",  # a known format whose audio cannot be decoded
    "too_short",  # under 1 second: skipped, not failed
    "timeout",  # the analysis took longer than the limit
    "crashed",  # the decoder took its process down
    "memory",  # the analysis wanted more memory than the limit
    "engine",  # an engine that the user installed failed; the message names it
    "internal",  # a defect of ours; the message names it
]


class AudioError(Exception):
    """A file that cannot be analysed.

    Parameters
    ----------
    kind : ErrorKind
        Stable class.
    message : str
        What happened and what to do, one sentence without the path.
    """

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(kind, message)
        self.kind: ErrorKind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message
