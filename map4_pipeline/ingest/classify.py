"""What changed in a directory: a pure comparison of what is on disk with what was last written."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from map4_pipeline.library.ledger import Ledger
from map4_pipeline.library.model import DirectoryListing, FileStat, FoundFile, SkippedFile
from map4_pipeline.store.tracks import UNREADABLE_FOLDER, KnownSkip, KnownTrack

#: Failures that may be the moment's, not the file's: tried again at every scan.
TRANSIENT = frozenset({"unreadable"})


@dataclass(slots=True)
class Changes:
    """What has to be written for a directory.

    Attributes
    ----------
    new : list of (relative path, file)
    changed : list of (track id, stat now)
        Size or times moved: the content has to be looked at.
    outdated : list of int
        The file is as it was, but a newer version of a stage exists, or it is to be tried again.
    returned : list of int
        Was missing and is there again, unchanged.
    missing : list of int
        Was there and is gone.
    skipped : list of (relative path, file)
        Skipped files that are new or changed.
    forgotten_skips, forgotten_rows : list of int
        Rows of skipped files and of unreadable folders that no longer stand for anything.
    unreadable : list of (relative path, message, is a folder)
    ledger : Ledger
        The directory's line as of now; `pending` is what the analysis has to settle.
    """

    new: list[tuple[bytes, FoundFile]] = field(default_factory=list)
    changed: list[tuple[int, FileStat]] = field(default_factory=list)
    outdated: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    skipped: list[tuple[bytes, SkippedFile]] = field(default_factory=list)
    forgotten_skips: list[int] = field(default_factory=list)
    forgotten_rows: list[int] = field(default_factory=list)
    unreadable: list[tuple[bytes, str, bool]] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)


def join(directory: bytes, name: bytes) -> bytes:
    """Return a relative path below a relative directory; an empty name is the directory itself."""
    return directory + b"/" + name if directory and name else directory or name


def same_file(known: FileStat | None, now: FileStat) -> bool:
    """Return whether a file is the one that was written down, by all that is known of both."""
    if known is None or known.size != now.size or known.mtime_ns != now.mtime_ns:
        return False
    if known.ctime_ns and now.ctime_ns and known.ctime_ns != now.ctime_ns:
        return False
    return not (known.inode and now.inode and known.inode != now.inode)


def classify(
    listing: DirectoryListing,
    known: Mapping[bytes, KnownTrack],
    skips: Mapping[bytes, KnownSkip],
    versions: Mapping[str, str],
    *,
    retry_failed: bool = False,
    verify: bool = False,
) -> Changes:
    """Compare a directory on disk with its rows.

    Parameters
    ----------
    listing : DirectoryListing
        What is on disk.
    known, skips : mapping
        The rows, by relative path.
    versions : mapping
        Current version per stage ("features", "fingerprint").
    retry_failed : bool
        Try failed files again although nothing changed.
    verify : bool
        Read every file again, whatever its times say.
    """
    changes = Changes()
    ledger = changes.ledger
    here = listing.relative_path
    seen: set[bytes] = set()
    for file in listing.files:
        path = join(here, file.name)
        seen.add(path)
        ledger.seen += 1
        skip = skips.get(path)
        if skip is not None and skip.reason == "too_short" and same_file(skip.stat, file.stat) and not verify:
            ledger.skipped += 1
            continue
        if skip is not None:
            changes.forgotten_skips.append(skip.id)
        track = known.get(path)
        if track is None:
            changes.new.append((path, file))
            ledger.pending += 1
        elif verify or not same_file(track.stat, file.stat):
            changes.changed.append((track.id, file.stat))
            ledger.pending += 1
        else:
            if track.missing:
                changes.returned.append(track.id)
            if track.status == "pending":
                ledger.pending += 1
            elif track.status == "failed":
                if retry_failed or track.error_kind in TRANSIENT or track.features_version != versions["features"]:
                    changes.outdated.append(track.id)
                    ledger.pending += 1
                else:
                    ledger.failed += 1
            elif track.features_version != versions["features"] or track.fingerprint_version != versions["fingerprint"]:
                changes.outdated.append(track.id)
                ledger.pending += 1
            else:
                ledger.unchanged += 1
    for skipped in listing.skipped:
        path = join(here, skipped.name)
        seen.add(path)
        ledger.seen += 1
        ledger.skipped += 1
        skip = skips.get(path)
        if skip is None or skip.reason != skipped.reason or not same_file(skip.stat, skipped.stat):
            changes.skipped.append((path, skipped))
        track = known.get(path)
        if track is not None:  # a link, say, now stands where the file was
            ledger.missing += 1
            if not track.missing:
                changes.missing.append(track.id)
    for entry in listing.unreadable:
        path = join(here, entry.name)
        seen.add(path)
        ledger.seen += 1
        ledger.failed += 1
        changes.unreadable.append((path, entry.message, entry.is_directory))
    closed = any(not entry.name for entry in listing.unreadable)
    for path, track in known.items():
        if path in seen or closed:  # what is in a folder that cannot be opened is unknown, not gone
            continue
        if track.error_kind == UNREADABLE_FOLDER:
            changes.forgotten_rows.append(track.id)
            continue
        ledger.missing += 1
        if not track.missing:
            changes.missing.append(track.id)
    if not closed:
        changes.forgotten_skips.extend(skip.id for path, skip in skips.items() if path not in seen)
    return changes
