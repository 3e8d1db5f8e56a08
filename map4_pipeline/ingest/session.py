"""A session: one full look at some libraries, from the survey to the closed scan."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from map4_pipeline.ingest.survey import Survey, register, survey
from map4_pipeline.ingest.workbench import Scope, Workbench
from map4_pipeline.library.ledger import Ledger
from map4_pipeline.store import scans
from map4_pipeline.store.directories import Directory
from map4_pipeline.store.libraries import Library, all_libraries


@dataclass(slots=True)
class Session:
    """Surveys, the directories they touch, and the scans that count.

    Attributes
    ----------
    touched : list of Directory
        Vanished directories of all libraries first, so that moved files are recognised; then the rest in the order of
        the walk.
    scan_ids : dict
        Library id to its open full scan, once `begin` was called.
    """

    bench: Workbench
    surveys: list[Survey]
    touched: list[Directory] = field(default_factory=list)
    scan_ids: dict[int, int] = field(default_factory=dict)

    @property
    def refusals(self) -> list[str]:
        """Why libraries are left as they are."""
        return [found.refusal for found in self.surveys if found.refusal is not None]

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes per touched directory by partition key."""
        found = {(s.library.id, t.relative_path): t.size_bytes for s in self.surveys for t in s.touched}
        return {d.partition_key: found[d.library_id, d.relative_path] for d in self.touched}

    def fingerprint(self, keys: Sequence[str]) -> str:
        """Return a text that is equal for equal contents of these directories, by what the walk saw."""
        wanted = set(keys)
        digest = sha256()
        found = {(s.library.id, t.relative_path): t.signature for s in self.surveys for t in s.touched}
        for directory in self.touched:
            if directory.partition_key in wanted:
                settled = directory.signature or b""
                digest.update(directory.partition_key.encode() + settled + found[directory.library_id, directory.relative_path])
        return digest.hexdigest()[:32]

    def begin(self, run_id: str | None = None) -> None:
        """Open a full scan for each library; one that was refused gets a closed scan with the reason."""
        with self.bench.engine.begin() as conn:
            for found in self.surveys:
                scan_id = scans.begin_scan(conn, found.library.id, "full", run_id, found.base)
                if found.refusal is None:
                    self.scan_ids[found.library.id] = scan_id
                else:
                    scans.finish_scan(conn, scan_id, "guarded", found.refusal)

    def scope(self) -> Scope:
        """Return a scope over all touched directories."""
        return Scope(self.touched, {found.library.id: found.root for found in self.surveys}, self.scan_ids)

    def finish(self, status: str = "completed", message: str | None = None) -> Ledger:
        """Close the scans and return the sum of their ledgers."""
        total = Ledger()
        with self.bench.engine.begin() as conn:
            for scan_id in self.scan_ids.values():
                total += scans.finish_scan(conn, scan_id, status, message)
        return total


def open_session(
    bench: Workbench,
    *,
    libraries: Sequence[Library] | None = None,
    everything: bool = False,
    confirm_loss: bool = False,
    on_directory: Callable[[int, int], None] = lambda directories, files: None,
) -> Session:
    """Survey libraries (all by default) and make rows for directories that are new.

    Parameters
    ----------
    everything : bool
        Touch every directory, changed or not.
    confirm_loss : bool
        The user has said that what is gone is meant to be gone.
    on_directory : callable
        Called with (directories, files) seen so far.
    """
    engine = bench.engine
    if libraries is None:
        with engine.connect() as conn:
            libraries = all_libraries(conn)
    surveys = [
        survey(engine, library, bench.settings, everything=everything, confirm_loss=confirm_loss, on_directory=on_directory)
        for library in libraries
    ]
    session = Session(bench, surveys)
    gone: list[Directory] = []
    there: list[Directory] = []
    for found in surveys:
        if found.refusal is None and found.touched:
            for directory, touched in zip(register(engine, found), found.touched, strict=True):
                (gone if touched.vanished else there).append(directory)
    session.touched = gone + there
    return session
