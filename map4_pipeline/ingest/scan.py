"""Scan a directory: write down what is there, what is new, what is gone. No audio is read."""

from dataclasses import dataclass

from sqlalchemy import Engine

from map4_pipeline.ingest.classify import classify, join
from map4_pipeline.ingest.versions import stage_keys
from map4_pipeline.library.ledger import Ledger
from map4_pipeline.library.model import DirectoryListing
from map4_pipeline.library.walk import list_directory
from map4_pipeline.store import scans
from map4_pipeline.store import tracks as store
from map4_pipeline.store.directories import Directory, record_scanned, unsettle
from map4_pipeline.store.locks import lock_directory


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How a scan treats what is already known."""

    retry_failed: bool = False
    verify: bool = False
    confirm_loss: bool = False
    #: Relative paths of the only files that are looked at; None: all. Of a directory that is looked at in part only, nothing is
    #: said as a whole: neither that it was scanned, nor with what entries.
    only: frozenset[bytes] | None = None


def scan_directory(
    engine: Engine, scan_id: int, root: bytes, directory: Directory, options: ScanOptions = ScanOptions()
) -> Ledger:
    """Bring a directory's rows up to date with the disk, in one transaction.

    Parameters
    ----------
    scan_id : int
        The scan that the directory's line belongs to.
    root : bytes
        Where the library is on this machine.

    Returns
    -------
    Ledger
        The directory's line; `pending` files wait for the analysis.
    """
    listing = list_directory(root, directory.relative_path)
    there = listing is not None
    if listing is None:
        listing = DirectoryListing(directory.relative_path, ())
    if options.only is not None:
        listing = _narrowed(listing, options.only)
    with engine.begin() as conn:
        lock_directory(conn, directory.id)
        known = store.known_tracks(conn, directory.id, options.only)
        skips = store.known_skips(conn, directory.id, options.only)
        changes = classify(
            listing,
            known,
            skips,
            {stage: key.version for stage, key in stage_keys().items()},
            retry_failed=options.retry_failed,
            verify=options.verify,
        )
        store.forget_skips(conn, changes.forgotten_skips)
        store.delete_rows(conn, changes.forgotten_rows)
        store.insert_pending(conn, directory.library_id, directory.id, root, changes.new)
        store.mark_changed(conn, changes.changed)
        store.mark_pending(conn, changes.outdated)
        store.mark_returned(conn, changes.returned)
        store.mark_missing(conn, changes.missing)
        store.record_skips(conn, directory.library_id, directory.id, root, changes.skipped)
        store.record_unreadable(conn, directory.library_id, directory.id, root, changes.unreadable)
        if options.only is None:
            size = sum(file.stat.size for file in listing.files)
            record_scanned(conn, directory.id, listing.signature if there else None, size)
        elif changes.ledger.pending:
            unsettle(conn, directory.id)
        scans.set_directory(conn, scan_id, directory.id, changes.ledger)
    return changes.ledger


def _narrowed(listing: DirectoryListing, paths: frozenset[bytes]) -> DirectoryListing:
    """Return what a listing says of some files; that the directory itself cannot be opened stays said."""

    def wanted(name: bytes) -> bool:
        return not name or join(listing.relative_path, name) in paths

    return DirectoryListing(
        listing.relative_path,
        tuple(file for file in listing.files if wanted(file.name)),
        tuple(file for file in listing.skipped if wanted(file.name)),
        tuple(entry for entry in listing.unreadable if wanted(entry.name)),
    )
