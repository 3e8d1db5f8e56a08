"""Small summaries of directories and of the library, for metadata and checks: a query each, whatever the number of tracks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine, func, select

from map4_pipeline.store.schema import tracks


@dataclass(slots=True)
class DirectorySummary:
    """What is known of a directory's tracks: how many are analysed, tempi, keys (Camelot), failures (first 50)."""

    ok: int = 0
    bpms: list[float] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)


def directory_summaries(engine: Engine, directory_ids: Sequence[int]) -> dict[int, DirectorySummary]:
    """Return a summary per directory id."""
    t = tracks.c
    found: dict[int, DirectorySummary] = {}
    there = (t.directory_id == func.any(list(directory_ids)), t.missing_since.is_(None))
    with engine.connect() as conn:
        measured = select(t.directory_id, t.bpm, t.camelot).where(*there, t.status == "ok")
        for directory_id, bpm, camelot in conn.execute(measured):
            about = found.setdefault(directory_id, DirectorySummary())
            about.ok += 1
            if bpm is not None:
                about.bpms.append(bpm)
            if camelot is not None:
                about.keys[camelot] = about.keys.get(camelot, 0) + 1
        failed = select(t.directory_id, t.file_path, t.error_kind, t.error_message).where(*there, t.status == "failed")
        for directory_id, path, kind, message in conn.execute(failed.order_by(t.relative_path)):
            failures = found.setdefault(directory_id, DirectorySummary()).failures
            if len(failures) < 50:
                failures.append((path, kind or "", message or ""))
    for about in found.values():
        about.keys = dict(sorted(about.keys.items(), key=lambda pair: (int(pair[0][:-1]), pair[0][-1])))
    return found
