"""`map4 ingest`: folders of music to a library, with live progress, the ledger and what to do next."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from map4_pipeline.ingest.session import Session
    from map4_pipeline.library.ledger import Ledger
    from map4_pipeline.settings import Settings


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
@click.option("--retry-failed", is_flag=True, help="Try failed files again although they did not change.")
@click.option("--verify", is_flag=True, help="Read every file again, whatever its size and times say.")
@click.option("--confirm-loss", is_flag=True, help="What is gone from the folders is meant to be gone.")
@click.option("--new-library", is_flag=True, help="Register a folder without audio too, or a copy of a library that is away.")
@click.option("--no-report", is_flag=True, help="Do not write the report.")
@click.option("--nice", is_flag=True, help="Leave the machine usable: workers run at the lowest priority.")
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object in place of tables.")
def ingest(
    folders: tuple[Path, ...],
    retry_failed: bool,
    verify: bool,
    confirm_loss: bool,
    new_library: bool,
    no_report: bool,
    nice: bool,
    as_json: bool,
) -> None:
    """Register FOLDERS as libraries and bring them up to date; without FOLDERS all registered libraries.

    New and changed files are analysed, moved and retagged ones recognised, broken ones listed with the reason. Killed in
    the middle, the same command goes on where it was.
    """
    from map4_pipeline.audio.engines import load_engine
    from map4_pipeline.cli.console import at_home, make_console
    from map4_pipeline.settings import settings

    folders = tuple(Path(at_home(str(folder))) for folder in folders)
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise click.UsageError(f"{os.fsencode(folder).decode('utf-8', 'backslashreplace')} is not a folder.")
    configured = settings()
    load_engine(configured.engine)
    console = make_console(stderr=as_json)
    code = run_ingest(
        configured,
        folders,
        console,
        retry_failed=retry_failed,
        verify=verify,
        confirm_loss=confirm_loss,
        new_library=new_library,
        report=not no_report,
        nice=nice,
        as_json=as_json,
    )
    sys.exit(code)


def run_ingest(
    configured: "Settings",
    folders: tuple[Path, ...],
    console: "Console",
    *,
    retry_failed: bool,
    verify: bool,
    confirm_loss: bool,
    new_library: bool,
    report: bool,
    nice: bool,
    as_json: bool,
) -> int:
    """Do what `map4 ingest` says; return its exit code."""
    from map4_pipeline.cli import show
    from map4_pipeline.cli.progress import SurveyDisplay
    from map4_pipeline.ingest.roots import check_new_root
    from map4_pipeline.ingest.session import open_session
    from map4_pipeline.ingest.workbench import Workbench
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.libraries import all_libraries, register_library
    from map4_pipeline.store.reporting import reports_are_stale

    engine = open_database(configured)
    for folder in folders:
        if folder.is_dir() and not new_library:
            check_new_root(engine, folder, configured.path_map)
    with engine.begin() as conn:
        libraries = [
            register_library(conn, folder, path_map=configured.path_map, new=folder.is_dir()) for folder in folders
        ] or all_libraries(conn)
    if not libraries:
        raise click.UsageError("No library is registered yet. Name a folder: map4 ingest ~/Music")
    bench = Workbench(configured, engine)
    with SurveyDisplay(console) as display:
        session = open_session(
            bench,
            libraries=libraries,
            everything=retry_failed or verify,
            confirm_loss=confirm_loss,
            on_directory=display.update,
        )
    # When that is all there is to say, it is said once, at the end.
    nothing_else = len(session.refusals) == len(session.surveys)
    if not nothing_else:
        _print_refusals(console, session)
    failed_runs = 0
    # A process before this one may have been killed between its work and its report.
    if session.touched or (report and reports_are_stale(engine, configured.reports_dir)):
        from map4_pipeline.cli.runs import Plan, run_plan

        plan = Plan(
            retry_failed=retry_failed, verify=verify, confirm_loss=confirm_loss, report=report, niceness=19 if nice else 0
        )
        ledger, failed_runs = run_plan(configured, session, plan, console)
    else:
        session.begin()
        ledger = session.finish()
    code = _exit_code(session, ledger, failed_runs)
    if as_json:
        show.ingest_json(engine, ledger, session.refusals, code)
    elif not nothing_else:
        ids = [library.id for library in libraries]
        show.after_ingest(console, engine, configured, ledger, ids, changed=bool(session.touched or session.refusals))
    if session.refusals:
        if not nothing_else:
            console.print()
        _print_refusals(console, session)
    engine.dispose()
    return code


def _print_refusals(console: "Console", session: "Session") -> None:
    for refusal in session.refusals:
        console.print(refusal, style="bold red", markup=False, soft_wrap=True)


def _exit_code(session: "Session", ledger: "Ledger", failed_runs: int) -> int:
    if session.refusals or failed_runs:
        return 3
    return 1 if ledger.failed else 0
