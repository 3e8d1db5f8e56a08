"""The library report as a PDF."""

from pathlib import Path

from map4_pipeline.reports.atomic import Stopwatch, replacing
from map4_pipeline.reports.digest import digest
from map4_pipeline.reports.model import LibrarySnapshot, ReportFile

#: Rows of each list; the whole library is in the workbook.
MAX_TRACKS = 200
MAX_REVIEW = 40
MAX_DUPLICATES = 60
MAX_FAILURES = 100


def write_pdf(snapshot: LibrarySnapshot, path: Path | str) -> ReportFile:
    """Write the library report as a PDF with vector charts.

    Parameters
    ----------
    snapshot : LibrarySnapshot
        Its tracks are streamed once.
    path : Path or str
        Replaced atomically.

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
    selection = digest(
        snapshot, max_tracks=MAX_TRACKS, max_review=MAX_REVIEW, max_duplicates=MAX_DUPLICATES, max_failures=MAX_FAILURES
    )
    with replacing(target) as temporary:
        document = ReportDocument(
            str(temporary),
            title=text.one_line(snapshot.title, 200) or "Music library",
            subtitle=text.moment(snapshot.generated_at),
            cover=pdf_content.cover(snapshot),
        )
        document.multiBuild(pdf_content.story(snapshot, selection))
    return watch.report(target, "pdf")
