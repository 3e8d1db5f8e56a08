"""`map4 report`: the library on paper, as a workbook and as a page."""

from pathlib import Path

import click


@click.command()
@click.option("--format", "formats", multiple=True, type=click.Choice(["pdf", "xlsx", "html"]), help="Repeatable. Default: all.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Folder. Default: reports/ in MAP4_HOME.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def report(formats: tuple[str, ...], output: Path | None, as_json: bool) -> None:
    """Write the report of the whole library and print where it is."""
    from map4_pipeline.cli import lines
    from map4_pipeline.cli.console import folder_text, make_console
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.libraries import all_libraries
    from map4_pipeline.store.reporting import FORMATS, write_library_reports

    configured = settings()
    chosen = tuple(dict.fromkeys(formats)) or tuple(FORMATS)
    engine = open_database(configured)
    try:
        with engine.connect() as conn:
            if not all_libraries(conn):
                raise click.UsageError("No library is registered yet. Begin with: map4 ingest ~/Music")
        console = make_console(stderr=True)
        with console.status("Writing the report ..."):
            files = write_library_reports(engine, output.expanduser() if output else configured.reports_dir, chosen)
    finally:
        engine.dispose()
    if as_json:
        facts = [{"format": file.format, "path": folder_text(file.path), "size_bytes": file.size_bytes} for file in files]
        lines.write_json({"files": facts})
        return
    out = make_console()
    for file in files:
        out.print(folder_text(file.path), soft_wrap=True)
