"""Survey a library: which directories have work, without reading a file and without a query per file.

A directory that is settled, whose entries have the signature they had, and whose tracks have today's versions, is
left alone: its files count as they did. Everything else is touched by the run that follows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Engine

from map4_pipeline.ingest.classify import join
from map4_pipeline.ingest.versions import versions_text
from map4_pipeline.library.filesystem import root_state
from map4_pipeline.library.keys import escape_path
from map4_pipeline.library.ledger import Ledger
from map4_pipeline.library.walk import walk
from map4_pipeline.settings import Settings
from map4_pipeline.store.directories import Directory, directories_of, register_directories
from map4_pipeline.store.libraries import Library, local_root


@dataclass(frozen=True, slots=True)
class Touched:
    """A directory with work.

    Attributes
    ----------
    size_bytes, files : int
        Of the files in it that may be audio.
    newest_mtime_ns : int
        When a file in it was last written.
    signature : bytes
        Of its entries as they are now, empty when it is gone.
    new : bool
        It has no row yet.
    vanished : bool
        It is gone from the disk.
    """

    relative_path: bytes
    size_bytes: int = 0
    files: int = 0
    newest_mtime_ns: int = 0
    signature: bytes = b""
    new: bool = False
    vanished: bool = False


@dataclass(slots=True)
class Survey:
    """What a walk over a library found.

    Attributes
    ----------
    root : bytes
        Where the library is on this machine.
    touched : list of Touched
        In the order of the walk; directories that vanished come first, so that moved files are recognised.
    base : Ledger
        The files of the directories that are left alone.
    directories : int
        How many directories with files there are.
    refusal : str or None
        Why nothing may be changed: the root is absent, empty or unreadable, or too much is gone at once.
    """

    library: Library
    root: bytes
    touched: list[Touched] = field(default_factory=list)
    base: Ledger = field(default_factory=Ledger)
    directories: int = 0
    refusal: str | None = None


def survey(
    engine: Engine,
    library: Library,
    settings: Settings,
    *,
    everything: bool = False,
    confirm_loss: bool = False,
    on_directory: Callable[[int, int], None] = lambda directories, files: None,
) -> Survey:
    """Walk a library and compare each directory's signature with the stored one.

    Parameters
    ----------
    everything : bool
        Touch every directory (`--verify`, `--retry-failed`).
    confirm_loss : bool
        The user has said that what is gone is meant to be gone.
    on_directory : callable
        Called with (directories, files) seen so far.
    """
    root = local_root(library, settings.path_map)
    found = Survey(library, root)
    with engine.connect() as conn:
        known = directories_of(conn, library.id)
    tracked = sum(d.ok_count + d.failed_count for d in known.values() if not d.vanished)
    state = root_state(root)
    if state != "ok" and not (state == "empty" and (tracked == 0 or confirm_loss)):
        found.refusal = root_refusal(library.name, root, state, library.slug)
        return found
    versions = versions_text()
    seen: set[bytes] = set()
    closed: list[bytes] = []
    here: list[Touched] = []
    files = present = 0
    for listing in walk(root):
        path = listing.relative_path
        seen.add(path)
        count = len(listing.files) + len(listing.skipped) + len(listing.unreadable)
        files += count
        present += len(listing.files)
        found.directories += 1
        on_directory(found.directories, files)
        closed += [join(path, entry.name) for entry in listing.unreadable if entry.is_directory]
        record = known.get(path)
        settled = record is not None and is_settled(record, listing.signature, versions)
        if listing.is_unreadable and settled and not everything:
            # What is in it is unknown: the folder itself is what was seen, and it failed.
            found.base += Ledger(seen=count, failed=count)
        elif not everything and record is not None and settled:
            found.base += Ledger(seen=count, unchanged=record.ok_count, failed=record.failed_count, skipped=record.skipped_count)
        else:
            size = sum(file.stat.size for file in listing.files)
            newest = max((file.stat.mtime_ns for file in listing.files), default=0)
            here.append(Touched(path, size, len(listing.files), newest, listing.signature, new=record is None))

    def is_closed(path: bytes) -> bool:
        return any(path == c or path.startswith(c + b"/") for c in closed)

    vanished = [r for path, r in known.items() if path not in seen and not r.vanished and not is_closed(path)]
    unknown = sum(r.ok_count + r.failed_count for path, r in known.items() if not r.vanished and is_closed(path))
    lost = tracked - unknown - present  # net: a folder that was renamed is not lost
    if lost >= settings.guard_files and lost > settings.guard_share * tracked and not confirm_loss:
        found.refusal = loss_refusal(library.name, root, lost, tracked)
        return found
    found.touched = [Touched(record.relative_path, vanished=True) for record in vanished] + here
    return found


def root_refusal(name: str, root: bytes, state: str, slug: str) -> str:
    """Return why a library is left as it is whose root is in this state (see `root_state`)."""
    moved = f" If the folder was moved or renamed: map4 library relocate {slug} NEW_FOLDER" if state != "unreadable" else ""
    return (
        f"The library '{name}' at {escape_path(root)} {_STATE_WORDS.get(state, 'cannot be read')}. "
        f"Nothing was changed. If it is on another disk or share, connect that and try again.{moved}"
    )


def loss_refusal(name: str, root: bytes, lost: int, tracked: int) -> str:
    """Return why a library is left as it is that has lost much at once."""
    return (
        f"{lost} of {tracked} files of the library '{name}' at {escape_path(root)} are gone at once. "
        "Nothing was changed: a disk may be missing. If they are meant to be gone, run `map4 ingest --confirm-loss` on it."
    )


_STATE_WORDS = {
    "absent": "is not there",
    "not_a_directory": "is not a folder",
    "unreadable": "cannot be opened (permission denied)",
    "empty": "is empty, although it had files",
}


def is_settled(record: Directory, signature: bytes, versions: str) -> bool:
    """Return whether a directory is as it was when every stage had gone over it."""
    return record.settled and not record.vanished and record.signature == signature and record.versions == versions


def register(engine: Engine, found: Survey) -> list[Directory]:
    """Make rows for directories that are new, and return all touched ones in the survey's order."""
    with engine.begin() as conn:
        register_directories(conn, found.library, sorted(touched.relative_path for touched in found.touched if touched.new))
        known = directories_of(conn, found.library.id)
    return [known[touched.relative_path] for touched in found.touched]
