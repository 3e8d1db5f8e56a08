"""What kind of disk a folder lies on, and whether a library's root is there at all."""

import os
import re
import stat
import sys
from typing import Literal

from map4_pipeline.library.formats import is_hidden

RootState = Literal[
    "ok",
    "absent",  # no such path: an unplugged disk, a mistyped name
    "not_a_directory",
    "unreadable",  # it is there, and the system refuses to list it
    "empty",  # nothing but hidden entries: what an unmounted mount point looks like
]

# File systems whose ctime is the server's affair, or whose inode numbers are made up at every mount (FAT family).
_UNSTABLE_FILE_SYSTEMS = frozenset(
    (
        "9p acfs afpfs afs autofs beegfs ceph cifs coda curlftpfs davfs davfs2 exfat exfat-fs fat ftpfs glusterfs gfs gfs2 "
        "gpfs lustre msdos ncpfs nfs nfs3 nfs4 ocfs2 orangefs pvfs2 prl_fs smb smb2 "
        "smb3 smbfs sshfs umsdos vboxsf vfat virtiofs vmhgfs"
    ).split()
)
_OCTAL = re.compile(rb"\\([0-7]{3})")


def is_local(path: bytes | str) -> bool:
    """Tell whether ctime and inode of the files under a path say something about their content.

    Best effort: on Linux by the type of the mount (network shares, FUSE and the FAT family do not count), on macOS
    everything outside `/Volumes` counts, elsewhere nothing does. "No" costs a little certainty and never correctness.
    """
    if sys.platform == "darwin":
        return not os.path.realpath(os.fsencode(path)).startswith(b"/Volumes/")
    if not sys.platform.startswith("linux"):
        return False
    file_system = _file_system_type(os.path.realpath(os.fsencode(path)))
    if file_system is None:
        return False
    # fuseblk is NTFS or exFAT on a local disk through FUSE, whose inodes may be made up as well.
    return not (file_system.startswith("fuse") or file_system in _UNSTABLE_FILE_SYSTEMS)


def _file_system_type(real_path: bytes) -> str | None:
    """Return the type of the mount that holds a path, None where /proc does not tell."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    best_length, best_type = -1, None
    for line in lines:
        fields, _, rest = line.partition(b" - ")
        parts, details = fields.split(b" "), rest.split(b" ")
        if len(parts) < 5 or not details[0]:
            continue
        mount_point = _OCTAL.sub(lambda match: bytes([int(match.group(1), 8) & 255]), parts[4])
        inside = mount_point == b"/" or real_path == mount_point or real_path.startswith(mount_point + b"/")
        # A later mount on the same point hides the earlier one, hence >=.
        if inside and len(mount_point) >= best_length:
            best_length, best_type = len(mount_point), details[0].decode("ascii", "replace")
    return best_type


def root_state(root: bytes | str) -> RootState:
    """Tell whether a library's root can be walked, without walking it.

    A caller that is about to mark files as missing asks this first: an unmounted disk must not empty a library.
    """
    path = os.path.abspath(os.fsencode(root))
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "absent"
    except OSError:
        return "unreadable"
    if not stat.S_ISDIR(mode):
        return "not_a_directory"
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if not is_hidden(entry.name):
                    return "ok"
    except FileNotFoundError:
        return "absent"
    except OSError:
        return "unreadable"
    return "empty"


def open_to_read(path: bytes | str | os.PathLike[str]) -> int:
    """Open a path for reading, without waiting for a writer where a named pipe took the file's place."""
    flags = ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
    return os.open(path, os.O_RDONLY | sum(getattr(os, flag, 0) for flag in flags))


def system_message(error: OSError) -> str:
    """Return why the system refused, as part of a sentence: `permission denied`."""
    text = error.strerror or type(error).__name__
    return text[:1].lower() + text[1:]
