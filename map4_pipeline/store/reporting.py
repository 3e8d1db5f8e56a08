"""Write the library's reports from a consistent snapshot, and note them in `export_history`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from map4_pipeline.library.keys import escape_path
from map4_pipeline.reports.model import LibrarySnapshot, ReportFile
from map4_pipeline.store.errors import InfrastructureError, what_to_do
from map4_pipeline.store.schema import controls, directories, export_history
from map4_pipeline.store.snapshot import library_snapshot

if TYPE_CHECKING:
    from map4_pipeline.reports.digest import Digest

#: Report formats and their file names.
FORMATS = {"pdf": "library.pdf", "xlsx": "library.xlsx", "html": "library.html"}


def write_library_reports(engine: Engine, folder: Path, formats: Sequence[str] = tuple(FORMATS)) -> list[ReportFile]:
    """Write reports of the whole library into a folder, each in one piece or not at all.

    Raises
    ------
    InfrastructureError
        When the folder cannot be written.
    """
    with engine.connect() as conn:
        begun = conn.execute(select(func.clock_timestamp())).scalar_one()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with library_snapshot(engine) as snapshot:
            files = _write_all(snapshot, folder, formats)
            tracks = snapshot.statistics.tracks
    except OSError as error:
        raise InfrastructureError(
            f"The report cannot be written to {folder}: {error.strerror or error}. {what_to_do(error)}"
        ) from error
    with engine.begin() as conn:
        rows = [
            {"export_type": file.format, "track_count": tracks, "file_size": file.size_bytes, "duration_ms": file.duration_ms}
            for file in files
        ]
        conn.execute(insert(export_history), rows)
        if set(formats) == set(FORMATS):
            mark = upsert(controls).values(name=_mark(folder), value="", changed_at=begun)
            conn.execute(mark.on_conflict_do_update(index_elements=["name"], set_={"changed_at": begun}))
    return files


def reports_are_stale(engine: Engine, folder: Path) -> bool:
    """Return whether a directory was settled after the reports in a folder were begun, or they are not there.

    So it is after a run that was killed before it came to its report, and after one that was to write none.
    """
    if not all((folder / name).exists() for name in FORMATS.values()):
        return True
    with engine.connect() as conn:
        written = conn.execute(select(controls.c.changed_at).where(controls.c.name == _mark(folder))).scalar_one_or_none()
        settled = conn.execute(select(func.max(directories.c.settled_at))).scalar_one()
    return settled is not None and (written is None or settled > written)


def _mark(folder: Path) -> str:
    return f"reports in {escape_path(os.fsencode(folder.absolute()))}"


def _write_all(snapshot: LibrarySnapshot, folder: Path, formats: Sequence[str]) -> list[ReportFile]:
    # Paper and page show the same, so the library is gone through once for both.
    selection = None
    if {"pdf", "html"} <= set(formats):
        from map4_pipeline.reports.digest import digest
        from map4_pipeline.reports.html import LIMITS

        selection = digest(snapshot, LIMITS)
    return [_write(name, snapshot, selection, folder / FORMATS[name]) for name in formats]


def _write(name: str, snapshot: LibrarySnapshot, selection: "Digest | None", path: Path) -> ReportFile:
    if name == "pdf":
        from map4_pipeline.reports.pdf import write_pdf

        return write_pdf(snapshot, path, selection)
    if name == "xlsx":
        from map4_pipeline.reports.excel import write_excel

        return write_excel(snapshot, path)
    from map4_pipeline.reports.html import write_html

    return write_html(snapshot, path, selection)
