"""What lies on disk, one directory at a time, without opening a single file.

Every entry that is not a folder ends up in exactly one place of its directory's listing: found, skipped with a reason, or
unreadable with a message; entries that vanish while we look are not there. Folders appear by their own listings only.

- Symbolic links are never followed, so links cannot make loops; folders mounted into themselves are noticed by device and
  inode.
- Hidden folders are walked like others, and what they hold is skipped as hidden: the ledger has to agree with the disk to
  the last file.
- A folder that cannot be listed yields a listing with one unreadable entry named `b""` and nothing else. It has to be
  told from a folder that is gone (which is not yielded), or its tracks would be taken for missing.
- A folder that holds nothing but folders, or nothing at all, is not yielded, the root excepted: it is always the first.
- Names are bytes and come back as they are. Paths longer than the system can open are listed through directory
  descriptors, and their files reported as unreadable.
"""

import errno
import hashlib
import os
import stat
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from map4_pipeline.library.filesystem import is_local, system_message
from map4_pipeline.library.formats import extension, is_audio_name, is_hidden, is_partial_download
from map4_pipeline.library.model import DirectoryListing, FileStat, FoundFile, SkippedFile, SkipReason, UnreadableEntry

MAX_DEPTH = 1000
# PATH_MAX counts the closing NUL.
MAX_PATH_BYTES = 1023 if sys.platform == "darwin" else 4095
_MAX_NAME_BYTES = 255

_FileId = tuple[int, int]
_GONE = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class _Root:
    """What is the same for every directory of a walk."""

    path: bytes
    real_path: bytes
    device: int
    has_stable_ids: bool
    max_depth: int


def walk(root: bytes | str, *, after: bytes | None = None, max_depth: int = MAX_DEPTH) -> Iterator[DirectoryListing]:
    """Yield a listing of every directory below a root that holds files, parents before children, sorted by name.

    Memory does not grow with the library: one directory's entries and the names of the folders still to visit are held.

    Parameters
    ----------
    root : bytes or str
        The library's root; a symbolic link to a folder will do.
    after : bytes, optional
        Go on behind this directory (a relative path that an earlier walk yielded; it may be gone meanwhile).
    max_depth : int
        Folders deeper than this are reported as unreadable.

    Raises
    ------
    OSError
        If the root itself cannot be listed. Use `root_state` for a word about why.
    """
    context, root_id = _open_root(root, max_depth)
    # relative path, identities of the directory and those above it
    pending: list[tuple[bytes, tuple[_FileId, ...]]] = [(b"", (root_id,))] if after is None else []
    if after is not None:
        pending += _behind(context, after, root_id)
    while pending:
        relative_path, ancestors = pending.pop()
        scanned = _scan(context, relative_path, ancestors)
        if scanned is None:
            continue
        listing, folders = scanned
        if listing.files or listing.skipped or listing.unreadable or not relative_path:
            yield listing
        for name, identity in reversed(folders):
            pending.append((_join(relative_path, name), (*ancestors, identity)))


def _behind(root: _Root, path: bytes, root_id: _FileId) -> list[tuple[bytes, tuple[_FileId, ...]]]:
    """Return what a walk has still to visit when it has just left a directory, what comes last first."""
    pending: list[tuple[bytes, tuple[_FileId, ...]]] = []
    here = b""
    ancestors: tuple[_FileId, ...] = (root_id,)
    for part in [*path.split(b"/"), None] if path else [None]:
        scanned = _scan(root, here, ancestors)
        if scanned is None:
            break
        rest = [(name, identity) for name, identity in scanned[1] if part is None or name > part]
        pending += [(_join(here, name), (*ancestors, identity)) for name, identity in reversed(rest)]
        below = dict(scanned[1])
        if part is None or part not in below:
            break
        here, ancestors = _join(here, part), (*ancestors, below[part])
    return pending


def list_directory(root: bytes | str, relative_path: bytes, *, max_depth: int = MAX_DEPTH) -> DirectoryListing | None:
    """List one directory exactly as `walk` would.

    Returns
    -------
    DirectoryListing or None
        None when the directory is gone: no longer there, no longer a folder, or reached only through a symbolic link.
        An existing directory without files gives an empty listing.

    Raises
    ------
    OSError
        If the root itself cannot be reached: that says nothing about the directory.
    ValueError
        If `relative_path` is not one that `walk` yields (absolute, `..`, empty parts).
    """
    parts = relative_path.split(b"/") if relative_path else []
    if any(part in (b"", b".", b"..") or b"\0" in part for part in parts):
        raise ValueError("not a path relative to a library's root")
    context, root_id = _open_root(root, max_depth)
    ancestors = [root_id]
    for depth in range(1, len(parts) + 1):
        try:
            status = _lstat(context, b"/".join(parts[:depth]))
        except _GONE:
            return None
        except OSError as error:
            return _unreadable_listing(relative_path, _folder_message(error))
        if not stat.S_ISDIR(status.st_mode) or _id(status) in ancestors:
            return None
        ancestors.append(_id(status) or (0, -depth))
    scanned = _scan(context, relative_path, tuple(ancestors))
    return None if scanned is None else scanned[0]


def _open_root(root: bytes | str, max_depth: int) -> tuple[_Root, _FileId]:
    path = os.path.abspath(os.fsencode(root))
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fsdecode(path))
    context = _Root(path, os.path.realpath(path), status.st_dev, is_local(path), max_depth)
    return context, _id(status) or (0, 0)


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


def _absolute(root: _Root, relative_path: bytes) -> bytes:
    return root.path.rstrip(b"/") + b"/" + relative_path if relative_path else root.path


def _id(status: os.stat_result) -> _FileId | None:
    return (status.st_dev, status.st_ino) if status.st_ino else None


def _is_too_long(path: bytes) -> bool:
    return len(path) > MAX_PATH_BYTES and sys.platform != "win32"


def _lstat(root: _Root, relative_path: bytes) -> os.stat_result:
    path = _absolute(root, relative_path)
    if not _is_too_long(path):
        return os.lstat(path)
    parent, _, name = relative_path.rpartition(b"/")
    descriptor = _open_long(root, parent)
    try:
        return os.lstat(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _open_long(root: _Root, relative_path: bytes) -> int:
    """Open a directory whose path is longer than the system takes at once, in steps it does take."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(root.path, flags & ~os.O_NOFOLLOW)
    for part in relative_path.split(b"/") if relative_path else []:
        try:
            deeper = os.open(part, flags, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = deeper
    return descriptor


def _unreadable_listing(relative_path: bytes, message: str) -> DirectoryListing:
    unreadable = (UnreadableEntry(b"", message, is_directory=True),)
    return DirectoryListing(relative_path, (), (), unreadable, _signature((), (), unreadable))


def _folder_message(error: OSError) -> str:
    return f"The folder cannot be listed: {system_message(error)}."


def _scan(
    root: _Root, relative_path: bytes, ancestors: tuple[_FileId, ...]
) -> tuple[DirectoryListing, list[tuple[bytes, _FileId]]] | None:
    """List one directory; return it and the folders in it, or None if it is gone."""
    depth = relative_path.count(b"/") + 1 if relative_path else 0
    hidden = any(is_hidden(part) for part in relative_path.split(b"/"))
    if depth > root.max_depth:
        return _unreadable_listing(relative_path, f"The folder lies more than {root.max_depth:,} folders deep."), []
    collector = _Collector(root, relative_path, hidden, ancestors)
    path = _absolute(root, relative_path)
    descriptor: int | None = None
    try:
        # The longest name counts as well: the entries of a folder just within the limit may be beyond it.
        if len(path) + 1 + _MAX_NAME_BYTES > MAX_PATH_BYTES and sys.platform != "win32":
            descriptor = _open_long(root, relative_path)
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    collector.add(os.fsencode(entry.name), entry)
        else:
            with os.scandir(path) as byte_entries:
                for byte_entry in byte_entries:
                    collector.add(byte_entry.name, byte_entry)
    except OSError as error:
        if not relative_path:
            raise
        if isinstance(error, _GONE):
            return None
        if hidden:
            # A system's own folder that is closed to us (lost+found, a NAS's recycle bin) is no failure of the library.
            return DirectoryListing(relative_path, (), signature=_signature((), (), ())), []
        return _unreadable_listing(relative_path, _folder_message(error)), []
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return collector.result()


class _Collector:
    """Sorts the entries of one directory."""

    def __init__(self, root: _Root, relative_path: bytes, hidden: bool, ancestors: tuple[_FileId, ...]) -> None:
        self.root = root
        self.relative_path = relative_path
        self.hidden = hidden
        self.ancestors = ancestors
        self.path = _absolute(root, relative_path)
        self.room = MAX_PATH_BYTES - len(self.path) - 1
        self.files: list[FoundFile] = []
        self.skipped: list[SkippedFile] = []
        self.unreadable: list[UnreadableEntry] = []
        self.folders: list[tuple[bytes, _FileId]] = []

    def add(self, name: bytes, entry: "os.DirEntry[bytes] | os.DirEntry[str]") -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except _GONE:
            return
        except OSError as error:
            if self.hidden or is_hidden(name):
                self._skip(name, "hidden", "The name is hidden.", FileStat(0, 0))
            else:
                self.unreadable.append(UnreadableEntry(name, f"The system gives no details: {system_message(error)}."))
            return
        file_stat = self._file_stat(status)
        if stat.S_ISDIR(status.st_mode):
            self._add_folder(name, status, file_stat)
        elif self.hidden or is_hidden(name):
            detail = "It lies in a hidden folder." if self.hidden else "The name is hidden, or a system's own litter."
            self._skip(name, "hidden", detail, file_stat)
        elif not stat.S_ISREG(status.st_mode):
            if stat.S_ISLNK(status.st_mode):
                self._add_link(name, file_stat)
                return
            self._skip(name, "not_regular", f"It is a {_kind(status.st_mode)}, not a file.", file_stat)
        elif is_partial_download(name):
            self._skip(name, "partial_download", "A program is still writing it.", file_stat)
        elif not is_audio_name(name):
            suffix = extension(name).decode("utf-8", "replace")
            named = suffix.isprintable() and suffix
            detail = f"MAP4 reads no audio from .{suffix} files." if named else "The name has no audio extension."
            self._skip(name, "not_audio", detail, file_stat)
        elif len(name) > self.room and sys.platform != "win32":
            message = f"The path is over {MAX_PATH_BYTES:,} bytes, more than the system can open; shorten the folders' names."
            self.unreadable.append(UnreadableEntry(name, message))
        else:
            self.files.append(FoundFile(name, file_stat))

    def _add_folder(self, name: bytes, status: os.stat_result, file_stat: FileStat) -> None:
        identity = _id(status)
        if identity is not None and identity in self.ancestors:
            self._skip(name, "link_broken", "The folder is mounted inside itself.", file_stat)
            return
        self.folders.append((name, identity or (0, -len(self.ancestors))))

    def _add_link(self, name: bytes, file_stat: FileStat) -> None:
        path = os.path.join(self.path, name)
        try:
            os.stat(path)
        except FileNotFoundError:
            self._skip(name, "link_broken", "The link points to nothing.", file_stat)
            return
        except OSError as error:
            if error.errno == errno.ELOOP:
                self._skip(name, "link_broken", "The link points to itself, over however many steps.", file_stat)
                return
            # The target is there and closed to us, or the path is too long: where it points decides.
        target = os.path.realpath(path)
        inside = target == self.root.real_path or target.startswith(self.root.real_path.rstrip(b"/") + b"/")
        if inside:
            self._skip(name, "link_inside", "The link points into this library: it is counted there.", file_stat)
        else:
            self._skip(name, "link_outside", "The link leads out of the library; add its target as a library.", file_stat)

    def _skip(self, name: bytes, reason: SkipReason, detail: str, file_stat: FileStat) -> None:
        self.skipped.append(SkippedFile(name, reason, detail, file_stat))

    def _file_stat(self, status: os.stat_result) -> FileStat:
        # Another file system mounted inside the library may be a network share: its ids are not trusted.
        if self.root.has_stable_ids and status.st_dev == self.root.device:
            return FileStat(status.st_size, _bigint(status.st_mtime_ns), _bigint(status.st_ctime_ns), _bigint(status.st_ino))
        return FileStat(status.st_size, _bigint(status.st_mtime_ns))

    def result(self) -> tuple[DirectoryListing, list[tuple[bytes, _FileId]]]:
        self.folders.sort()
        files = tuple(sorted(self.files, key=lambda entry: entry.name))
        skipped = tuple(sorted(self.skipped, key=lambda entry: entry.name))
        unreadable = tuple(sorted(self.unreadable, key=lambda entry: entry.name))
        signature = _signature(files, skipped, unreadable)
        return DirectoryListing(self.relative_path, files, skipped, unreadable, signature), self.folders


def _signature(files: tuple[FoundFile, ...], skipped: tuple[SkippedFile, ...], unreadable: tuple[UnreadableEntry, ...]) -> bytes:
    """Return 32 bytes that change when an entry comes, goes or changes."""
    digest = hashlib.sha256()
    for found in files:
        digest.update(b"f" + found.name + b"\0" + _packed(found.stat))
    for skip in skipped:
        # The reason counts: a dangling link whose target returns has the same name and times as before.
        digest.update(b"s" + skip.name + b"\0" + skip.reason.encode() + b"\0" + _packed(skip.stat))
    for entry in unreadable:
        digest.update(b"u" + entry.name + b"\0" + entry.message.encode() + b"\0")
    return digest.digest()


def _packed(status: FileStat) -> bytes:
    return struct.pack("<QqqQ", status.size, status.mtime_ns, status.ctime_ns, status.inode)


def _bigint(value: int) -> int:
    """Keep a number within PostgreSQL's BIGINT: a damaged file system tells years beyond 2262, or unsigned inodes."""
    return value if -(2**63) <= value < 2**63 else min(max(value, -(2**63)), 2**63 - 1)


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "named pipe"
    if stat.S_ISSOCK(mode):
        return "socket"
    return "device"
