"""`map4 status`: the ledger of the last scan, the state of the tracks, the libraries and where everything is."""

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(as_json: bool) -> None:
    """Show what the last completed scan of each library found, and how the tracks stand now.

    The exit code says whether the status could be shown, not what it is: failed files are for `map4 ingest` to report.
    """
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import make_console
    from map4_pipeline.settings import settings

    found = current_status(settings())
    if as_json:
        lines.write(lines.to_json(found, indent=2) + "\n")
    else:
        _show(make_console(), found)


def current_status(configured: Any) -> dict[str, Any]:
    """Return what `map4 status --json` prints."""
    from map4_pipeline.store.controls import is_paused
    from map4_pipeline.store.database import masked, open_database
    from map4_pipeline.store.failures import recent_run_failures
    from map4_pipeline.store.file_findings import TOLD, finding_counts
    from map4_pipeline.store.overview import library_overviews
    from map4_pipeline.store.reporting import FORMATS
    from map4_pipeline.store.scans import analysis_versions, state_counts
    from map4_pipeline.store.snapshot import current_ledger
    from map4_pipeline.store.watching import refusals

    engine = open_database(configured)
    try:
        with engine.connect() as conn:
            files, states, libraries = current_ledger(conn), state_counts(conn), library_overviews(conn)
            findings, versions = finding_counts(conn, TOLD), analysis_versions(conn)
            paused, failures, refused = is_paused(conn), recent_run_failures(conn), refusals(conn)
        # A slash needs no escaping in a query, and people read this.
        address = masked(engine.url.render_as_string(hide_password=False)).replace("%2F", "/")
    finally:
        engine.dispose()
    reports = [configured.reports_dir / name for name in FORMATS.values()]
    return {
        "files": files,
        "tracks": states,
        "analysis_versions": versions,
        "findings": findings,
        "libraries": [library_json(library) for library in libraries],
        "database": {"url": address, "embedded": configured.database_url is None},
        "paused": paused,
        "failed_runs": [
            {"run_id": run.run_id, "job": run.job, "message": run.message, "failed_at": run.failed_at.isoformat()}
            for run in failures
        ],
        "watch_refusals": refused,
        "reports": [str(path) for path in reports if path.exists()],
        "home": str(configured.home),
    }


def library_json(library: Any) -> dict[str, Any]:
    """Return a library's overview, ready for JSON."""
    moments = {"last_scan_at": library.last_scan_at, "last_completed_at": library.last_completed_at}
    return {
        "slug": library.slug,
        "name": library.name,
        "root": library.root_text,
        "watched": library.watched,
        "tracks": library.tracks,
        "failed": library.failed,
        "missing": library.missing,
        "last_scan_status": library.last_scan_status,
        "last_scan_message": library.last_scan_message,
        **{name: None if moment is None else moment.isoformat() for name, moment in moments.items()},
    }


def _show(console: "Console", found: dict[str, Any]) -> None:
    from map4_pipeline.cli.console import printable
    from map4_pipeline.cli.show import finding_lines, ledger_table, library_lines

    if not found["libraries"]:
        console.print("No library is registered yet. Begin with: map4 ingest ~/Music", soft_wrap=True)
        return
    library_lines(console, found["libraries"])
    console.print()
    console.print(ledger_table(found["files"], "Files at the last completed scan"))
    console.print()
    states = found["tracks"]
    parts = [f"{states['ok']:,} analysed", f"{states['failed']:,} failed", f"{states['missing']:,} missing"]
    if states["pending"]:
        parts.append(f"{states['pending']:,} waiting for analysis")
    console.print(f"Tracks      {', '.join(parts)}", soft_wrap=True)
    if len(found["analysis_versions"]) > 1:
        versions = found["analysis_versions"].items()
        counts = ", ".join(f"{printable(name)} ({count:,} track{'s' * (count != 1)})" for name, count in versions)
        told = f"Versions    {counts}: their values are not to be compared; `map4 ingest` without folders measures all by one"
        console.print(told, style="yellow", soft_wrap=True)
    console.print(f"Database    {found['database']['url']}", soft_wrap=True)
    for number, path in enumerate(found["reports"]):
        console.print(f"{'Reports' if not number else '':<11} {path}", soft_wrap=True)
    if found["paused"]:
        console.print("Paused      nothing new is begun; `map4 resume` goes on", style="bold yellow", soft_wrap=True)
    for refusal in found["watch_refusals"]:
        console.print(f"Watching    {printable(refusal)}", style="bold red", soft_wrap=True)
    for number, run in enumerate(found["failed_runs"][:3]):
        text = f"{run['failed_at'][:16].replace('T', ' ')} UTC  {run['run_id'][:8]} of {run['job']}: {printable(run['message'])}"
        console.print(f"{'Failed runs' if not number else '':<11} {text}", style="yellow", soft_wrap=True)
    if states["failed"]:
        console.print("Failed      map4 tracks --failed   says why", soft_wrap=True)
    finding_lines(console, found["findings"])
