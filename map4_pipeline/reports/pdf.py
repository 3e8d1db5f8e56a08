"""The library report as a PDF."""

from pathlib import Path

from map4_pipeline.reports.atomic import Stopwatch, replacing
from map4_pipeline.reports.digest import Digest, Limits, digest
from map4_pipeline.reports.model import LibrarySnapshot, ReportFile

#: Rows of each list; the whole library is in the workbook.
LIMITS = Limits(tracks=200, review=40, duplicates=60, failures=100, flagged=5)


def write_pdf(snapshot: LibrarySnapshot, path: Path | str, selection: Digest | None = None) -> ReportFile:
    """Write the library report as a PDF with vector charts.

    Parameters
    ----------
    snapshot : LibrarySnapshot
    path : Path or str
        Replaced atomically.
    selection : Digest, optional
        Of this snapshot, made for a report with longer lists; without it the tracks are streamed.

    Returns
    -------
    ReportFile

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """
    # Imported here: reportlab costs a quarter of a second that only a report should pay.
    from map4_pipeline.reports import fontstack, pdf_content, text
    from map4_pipeline.reports.pdf_layout import ReportDocument

    watch = Stopwatch()
    target = Path(path)
    fontstack.register()
    selection = (selection or digest(snapshot, LIMITS)).shortened(LIMITS)
    with replacing(target) as temporary:
        document = ReportDocument(
            str(temporary),
            title=text.one_line(snapshot.title, 200) or "Music library",
            subtitle=text.moment(snapshot.generated_at),
            cover=pdf_content.cover(snapshot),
        )
        document.multiBuild(pdf_content.story(snapshot, selection))
    return watch.report(target, "pdf")
