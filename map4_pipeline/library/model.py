"""Plain values of the file side: what a walk sees, what a file is, what its tags say."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SkipReason = Literal[
    "not_audio",  # extension is not one MAP4 reads
    "hidden",  # name starts with a dot, or a system's own litter (._x, Thumbs.db)
    "too_short",  # under 1 second (known only after decoding)
    "link_outside",  # a symbolic link that leaves the library
    "link_inside",  # a symbolic link to a file or folder of the library: counted there
    "link_broken",  # dangling, or a loop
    "not_regular",  # FIFO, socket, device
    "partial_download",  # .part, .crdownload, ...
]


@dataclass(frozen=True, slots=True)
class FileStat:
    """Identity of a file's bytes as the file system tells it, without reading them.

    `ctime_ns` and `inode` are 0 where they mean nothing (network shares, Windows).
    """

    size: int
    mtime_ns: int
    ctime_ns: int = 0
    inode: int = 0


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that may be audio. `name` is the file name as bytes (`os.fsencode`)."""

    name: bytes
    stat: FileStat


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """An entry that is not analysed, and why. `detail` is a sentence for the user."""

    name: bytes
    reason: SkipReason
    detail: str
    stat: FileStat


@dataclass(frozen=True, slots=True)
class UnreadableEntry:
    """A file or folder that could not even be looked at. It counts as failed, not as skipped.

    `name` is `b""` where the directory that is being listed is itself the one that cannot be read.
    """

    name: bytes
    message: str
    is_directory: bool = False


@dataclass(frozen=True, slots=True)
class DirectoryListing:
    """One directory of a library as it is on disk now, sorted by name.

    Attributes
    ----------
    relative_path : bytes
        From the library's root, `b""` for the root itself, separator `/`.
    files, skipped, unreadable
        Regular entries of this directory only, not of those below.
    signature : bytes
        32-byte SHA-256 over (name, size, mtime_ns, ctime_ns, inode) of all entries above: equal when nothing changed.
    """

    relative_path: bytes
    files: tuple[FoundFile, ...]
    skipped: tuple[SkippedFile, ...] = ()
    unreadable: tuple[UnreadableEntry, ...] = ()
    signature: bytes = b""

    @property
    def is_unreadable(self) -> bool:
        """Whether the directory itself could not be listed: what it holds is unknown, and nothing in it is missing."""
        return any(entry.name == b"" for entry in self.unreadable)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file's content is.

    Attributes
    ----------
    file_hash : str
        SHA-256 of the file's bytes, 64 hex digits.
    audio_hash : str
        SHA-256 over codec id, codec parameters and the packets of the first audio stream; tags and container do not count.
        Where packets cannot be demuxed: the file hash, with `audio_hash_kind` "file".
    bytes_read : int
    """

    file_hash: str
    audio_hash: str
    audio_hash_kind: Literal["packets", "file"]
    bytes_read: int


@dataclass(frozen=True, slots=True)
class Tags:
    """What the file says about itself; None where it says nothing. Never mixed with what was measured.

    Attributes
    ----------
    bpm : float or None
        The tag's tempo if it is a number in (0, 1000).
    key : str or None
        The tag's key as written, at most 40 characters.
    year : int or None
        1000 to 2999, from the recording's date.
    other : dict
        Further text tags worth keeping (comment, label, isrc, catalog, ...), values cut at 2,000 characters, at most 64 of them.
    """

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    album_artist: str | None = None
    genre: str | None = None
    composer: str | None = None
    year: int | None = None
    track_number: int | None = None
    disc_number: int | None = None
    bpm: float | None = None
    key: str | None = None
    has_cover: bool = False
    other: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values without NUL and lone surrogates."""
        return asdict(self)
