"""Changes a file's tags so that its audio stays what it is, nobody sees half a file, and what was there can be put back.

A copy is made beside the file, the tags are written into the copy, and it takes the file's place only when its audio is the
same to the last bit (`audio_hash`), every other tag is as it was, and nobody touched the file meanwhile. Mode, owner, access
lists and extended attributes are kept where the system allows it. The modification time is new on purpose: backups, players
and MAP4's own refresh have to see that the file changed.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from map4_pipeline.audio.errors import AudioError
from map4_pipeline.library.filesystem import system_message
from map4_pipeline.library.identity import identify
from map4_pipeline.library.model import Identity
from map4_pipeline.library.tag_plan import blocked
from map4_pipeline.library.tag_writer import NativeTags, TagWriteError, read_native, write_native
from map4_pipeline.library.tags import read_tags

#: What stays of what people read in tags, whatever is written.
_KEPT = (
    "title", "artist", "album", "album_artist", "genre", "composer", "year", "track_number", "disc_number", "has_cover",
)  # fmt: skip


class TagRefusedError(Exception):
    """The file is left as it is; the text says why."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What a rewrite changes, as it is written down before it is done.

    Attributes
    ----------
    path : bytes
        Absolute.
    audio_hash : str
        Of the audio before and after.
    had_tags : bool
        Whether the file had a tag at all.
    before, after : dict
        Tags by their native names; None: not there.
    """

    path: bytes
    audio_hash: str
    had_tags: bool
    before: dict[str, list[Any] | None] = field(default_factory=dict)
    after: dict[str, list[Any] | None] = field(default_factory=dict)


def examine(path: bytes, *, size: int | None = None, mtime_ns: int | None = None, root: bytes | None = None) -> os.stat_result:
    """Return a file's state when its tags may be changed.

    Parameters
    ----------
    size, mtime_ns : int, optional
        As the library knows them.
    root : bytes, optional
        The library's root: no link may stand between it and the file.

    Raises
    ------
    TagRefusedError
    """
    try:
        found = os.lstat(path)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise TagRefusedError("The file is gone. `map4 ingest` brings the library up to date.") from None
        raise TagRefusedError(f"The system does not show the file: {_said(error)}.") from None
    if stat.S_ISLNK(found.st_mode):
        raise TagRefusedError("It is a link: its target is not MAP4's to change.")
    if not stat.S_ISREG(found.st_mode):
        raise TagRefusedError("It is no regular file.")
    if root is not None and os.path.realpath(path) != os.path.join(os.path.realpath(root), os.path.relpath(path, root)):
        raise TagRefusedError("A folder on its way is a link now. `map4 ingest` brings the library up to date.")
    if found.st_nlink > 1:
        raise TagRefusedError(
            "The file has another name (a hard link), which would keep the old tags. Copy one of the two first."
        )
    # The superuser may write anything; a file that is marked as read-only is meant to stay as it is all the same.
    if not found.st_mode & 0o222 or not os.access(path, os.W_OK):
        raise TagRefusedError("The file is read-only.")
    if not os.access(os.path.dirname(path), os.W_OK | os.X_OK):
        raise TagRefusedError("Its folder is read-only: a copy cannot be made beside it.")
    if (size is not None and size != found.st_size) or (mtime_ns is not None and mtime_ns != found.st_mtime_ns):
        raise TagRefusedError("The file changed since the last scan. Run `map4 ingest` first.")
    return found


def rewrite(
    path: bytes,
    found: os.stat_result,
    writes: Mapping[str, list[Any] | None],
    *,
    audio_hash: str | None = None,
    drop_empty: bool = False,
    note: Callable[[Rewrite], None] = lambda done: None,
) -> Rewrite:
    """Write tags into a file by replacing it.

    Parameters
    ----------
    found : os.stat_result
        What `examine` returned.
    writes : mapping
        Native name to values; None removes the tag.
    audio_hash : str, optional
        Of the audio whose values are written.
    drop_empty : bool
        Take the tag itself away when nothing is left in it.
    note : callable
        Called with what is about to be done, when all is verified and before the file is replaced. What it raises stops it.

    Raises
    ------
    TagRefusedError
        When something does not agree; the file is as it was.
    OSError
        When the system refuses; the file is as it was.
    """
    try:
        identity = identify(path)
        if identity.audio_hash_kind != "packets":
            raise TagRefusedError("Its audio cannot be told from its tags, so it could not be verified that only tags change.")
        if audio_hash is not None and identity.audio_hash != audio_hash:
            raise TagRefusedError("It holds other audio than was analysed. Run `map4 ingest` first.")
        tags = read_native(path)
        if name := blocked(tags, writes):
            raise TagRefusedError(f"Its tag {name} holds data that MAP4 could not put back.")
        before = {name: tags.values.get(name) for name in writes}
        done = Rewrite(path, identity.audio_hash, tags.has_tags, before, dict(writes))
        temporary = _beside(path)
        try:
            shutil.copyfile(path, temporary)
            write_native(temporary, writes, drop_empty=drop_empty)
            _verify(path, temporary, identity, tags, writes)
            _sync(temporary, os.O_RDWR)
            _keep_attributes(path, temporary, found)
            _require_unchanged(path, found)
            note(done)
            os.replace(temporary, path)
            with suppress(OSError):  # some network shares cannot
                _sync(os.path.dirname(path))
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        return done
    except (TagWriteError, AudioError) as error:
        raise TagRefusedError(f"Its tags cannot be written: {str(error).rstrip('.')}.") from error


def _beside(path: bytes) -> bytes:
    """Make an empty hidden file in the same folder, with the same ending: a rename is atomic within one file system only."""
    ending = os.path.splitext(path)[1]
    name = os.path.join(os.path.dirname(path), b".map4-" + secrets.token_hex(8).encode() + ending)
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return name


def _verify(path: bytes, temporary: bytes, identity: Identity, tags: NativeTags, writes: Mapping[str, list[Any] | None]) -> None:
    now = identify(temporary)
    if (now.audio_hash, now.audio_hash_kind) != (identity.audio_hash, "packets"):
        raise TagRefusedError("Writing tags would change its audio. Please report this.")
    written = read_native(temporary)
    wanted = {name: values for name, values in (tags.values | dict(writes)).items() if values is not None}
    differing = [name for name in {*written.values, *wanted} if written.values.get(name) != wanted.get(name)]
    differing += [name for name in {*written.rest, *tags.rest} if written.rest.get(name) != tags.rest.get(name)]
    # A frame that mutagen cannot read would be lost unseen: MAP4's own reader is more patient.
    was, is_now = read_tags(path), read_tags(temporary)
    differing += [one for one in _KEPT if getattr(was, one) != getattr(is_now, one)]
    if differing:
        raise TagRefusedError(f"Writing would change other tags as well ({', '.join(sorted(differing))[:200]}).")


def _keep_attributes(path: bytes, temporary: bytes, found: os.stat_result) -> None:
    mine = os.stat(temporary)
    if hasattr(os, "chown") and (mine.st_uid, mine.st_gid) != (found.st_uid, found.st_gid):
        with suppress(OSError):
            os.chown(temporary, -1, found.st_gid)
        with suppress(OSError):
            os.chown(temporary, found.st_uid, -1)
    # Mode, extended attributes with access lists among them, flags; after the owner, because chown clears bits of the mode.
    shutil.copystat(path, temporary)
    os.utime(temporary)


def _require_unchanged(path: bytes, found: os.stat_result) -> None:
    try:
        now = os.lstat(path)
    except OSError as error:
        raise TagRefusedError(f"The file went away meanwhile: {_said(error)}.") from None
    if (now.st_size, now.st_mtime_ns, now.st_ino) != (found.st_size, found.st_mtime_ns, found.st_ino):
        raise TagRefusedError("The file changed meanwhile.")


def _sync(path: bytes, how: int = os.O_RDONLY) -> None:
    descriptor = os.open(path, how)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _said(error: Exception) -> str:
    return system_message(error) if isinstance(error, OSError) else str(error)
