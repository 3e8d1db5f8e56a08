"""The ledger: every file that was seen has exactly one fate.

seen = analysed + reused + unchanged + failed + skipped (+ pending while a run is under way).
"""

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Ledger:
    """Counts of files.

    Attributes
    ----------
    seen : int
        Every entry of the folders that is not a folder.
    analysed : int
        Decoded and measured.
    reused : int
        Moved, copied or retagged: the analysis was there, nothing was decoded.
    unchanged : int
        Not even opened.
    failed : int
        Could not be analysed, now or earlier and unchanged since.
    skipped : int
        Not audio, hidden, under 1 second, links.
    pending : int
        Not looked at yet; 0 when a scan is complete.
    missing : int
        Tracks whose file is gone: a state of tracks, not among the seen.
    """

    seen: int = 0
    analysed: int = 0
    reused: int = 0
    unchanged: int = 0
    failed: int = 0
    skipped: int = 0
    pending: int = 0
    missing: int = 0

    def __iadd__(self, other: "Ledger") -> "Ledger":
        for name in LEDGER_FIELDS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in LEDGER_FIELDS)

    @property
    def reconciles(self) -> bool:
        """Whether every file seen has a fate."""
        return self.seen == self.analysed + self.reused + self.unchanged + self.failed + self.skipped and self.pending == 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in LEDGER_FIELDS}


LEDGER_FIELDS = tuple(field.name for field in fields(Ledger))
