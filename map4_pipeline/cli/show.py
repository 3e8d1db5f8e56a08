"""What commands print for people: the ledger, libraries, the first tracks, failures, what to do next."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from map4_pipeline.cli.console import folder_text, printable
from map4_pipeline.cli.tables import print_failures, print_tracks

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from sqlalchemy import Engine

    from map4_pipeline.library.ledger import Ledger
    from map4_pipeline.settings import Settings

_LEDGER_WORDS = {
    "seen": "files seen",
    "analysed": "analysed (decoded and measured)",
    "reused": "reused (sound already measured; not decoded)",
    "unchanged": "unchanged (not opened)",
    "failed": "failed",
    "skipped": "skipped (not audio, hidden, under 1 second, links)",
    "missing": "tracks whose file is missing",
}


def ledger_table(counts: dict[str, int], title: str = "Ledger") -> "Table":
    """Return the ledger as a table."""
    from rich.table import Table

    table = Table(title=title, title_style="bold", title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for name, words in _LEDGER_WORDS.items():
        style = "yellow" if name in ("failed", "missing") and counts.get(name) else None
        table.add_row(("  " if name not in ("seen", "missing") else "") + words, f"{counts.get(name, 0):,}", style=style)
    return table


def after_ingest(
    console: "Console",
    engine: "Engine",
    configured: "Settings",
    ledger: "Ledger",
    library_ids: Sequence[int],
    *,
    changed: bool,
) -> None:
    """Print the ledger, the first tracks and failures of these libraries, where the report is and what to do next."""
    from map4_pipeline.store.file_findings import TOLD, finding_counts
    from map4_pipeline.store.listing import list_failures, list_tracks
    from map4_pipeline.store.scans import state_counts

    with engine.connect() as conn:
        states = state_counts(conn, library_ids)
        tracks = list_tracks(conn, limit=12, library_ids=library_ids)
        failures = list_failures(conn, limit=10, library_ids=library_ids)
        findings = finding_counts(conn, TOLD, library_ids)
    counts = {**ledger.as_dict(), "missing": states["missing"]}
    console.print()
    console.print(ledger_table(counts))
    if tracks:
        console.print()
        more = states["ok"] > len(tracks)
        console.print(f"The first {len(tracks)} of {states['ok']:,} tracks" if more else "Tracks", style="bold")
        print_tracks(console, tracks)
    if failures:
        console.print()
        total = states["failed"]
        files = "1 file failed" if total == 1 else f"{total:,} files failed"
        first = f", the first {len(failures)} (`map4 tracks --failed` lists them all)" if total > len(failures) else ""
        console.print(f"{files}{first}", style="bold")
        print_failures(console, failures)
    console.print()
    if not changed:
        console.print("Nothing changed since the last time.")
    finding_lines(console, findings)
    report = configured.reports_dir / "library.html"
    if report.exists():
        console.print(f"Report      {folder_text(report)} (also .pdf and .xlsx)", soft_wrap=True)
    console.print("Tracks      map4 tracks        lists them; --json and --format csv for programs", soft_wrap=True)
    console.print("Database    map4 db url        prints its address for any PostgreSQL client", soft_wrap=True)
    console.print("Next        map4 up            opens the Dagster UI: the graph, runs, schedules", soft_wrap=True)


def finding_lines(console: "Console", findings: Mapping[str, int]) -> None:
    """Print how many files were analysed and are not what they seem, and how to find them; nothing where there are none."""
    damaged, lossy = [], findings.get("spectral_cutoff", 0)
    if ends := findings.get("truncated", 0):
        damaged.append("1 file ends early" if ends == 1 else f"{ends:,} files end early")
    if packets := findings.get("decoder_errors", 0):
        damaged.append("1 file has damaged packets" if packets == 1 else f"{packets:,} files have damaged packets")
    if damaged:
        console.print(f"Damaged     {', '.join(damaged)}: map4 search is:damaged", style="yellow", soft_wrap=True)
    if lossy:
        files = "1 file sounds" if lossy == 1 else f"{lossy:,} files sound"
        told = f"Quality     {files} like a copy of a lossier one: map4 search finding:lossy_source"
        console.print(told, style="yellow", soft_wrap=True)


def library_lines(console: "Console", libraries: Sequence[dict[str, Any]]) -> None:
    """Print libraries as `cli.status.library_json` returns them: name and slug, root, tracks, how the last scan ended."""
    for number, library in enumerate(libraries):
        if number:
            console.print()
        slug = "" if library["slug"] == library["name"] else f"  ({library['slug']})"
        console.print(f"{printable(library['name'])}{slug}", style="bold", soft_wrap=True)
        console.print(f"  {printable(library['root'])}", soft_wrap=True)
        counts = [f"{library['tracks']:,} tracks"]
        counts += [f"{library[name]:,} {name}" for name in ("failed", "missing") if library[name]]
        console.print(f"  {', '.join(counts)}")
        words, style = _scan_words(library)
        console.print(f"  {words}", style=style, soft_wrap=True)
        if library["last_scan_status"] in ("guarded", "failed") and library["last_scan_message"]:
            # The library may have come back since, or been moved.
            console.print(f"  It said then: {printable(library['last_scan_message'])}", style=style, soft_wrap=True)


def _scan_words(library: dict[str, Any]) -> tuple[str, str]:
    status, at = library["last_scan_status"], moment_text(library["last_scan_at"])
    if status is None:
        return "never scanned", "yellow"
    if status == "completed":
        return f"last scan {at}", "none"
    before = moment_text(library["last_completed_at"])
    completed = f"; last completed {before}" if before else ""
    if status == "running":
        return f"a scan began {at} and has not ended{completed}", "none"
    word = "was stopped by a guard" if status == "guarded" else "failed"
    return f"the last scan, {at}, {word}{completed}", "bold red"


def moment_text(text: str | None) -> str:
    """Return a moment (ISO 8601) in this machine's time; nothing for None."""
    from datetime import datetime

    return "" if text is None else f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M}"


def ingest_json(engine: "Engine", ledger: "Ledger", refusals: Sequence[str], code: int) -> None:
    """Print what an ingest did as one JSON object."""
    from map4_pipeline.cli import lines
    from map4_pipeline.store.scans import state_counts

    with engine.connect() as conn:
        states = state_counts(conn)
    counts = {**ledger.as_dict(), "missing": states["missing"]}
    counts.pop("pending")
    lines.write_json({"files": counts, "tracks": states, "refused": list(refusals), "exit_code": code})
