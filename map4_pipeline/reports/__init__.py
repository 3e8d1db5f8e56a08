"""Reports of a library: what the store hands over as plain values becomes a PDF, an Excel workbook or an HTML page.

The package knows neither Dagster nor the database: it takes a `model.LibrarySnapshot` and writes files. Importing it is
light; reportlab, openpyxl and plotly are loaded by the writer that needs them, when it writes.

========================  =====================================================================
`model`                   `LibrarySnapshot`, `TrackRow`: what a report is made of
`statistics`              `collect(rows)`: one pass, constant memory; also the asset `library_statistics`
`pdf.write_pdf`           a designed PDF (reportlab, vector charts)
`html.write_html`         one self-contained page (plotly inlined, works offline)
`excel.write_excel`       a workbook of seven sheets, streamed
========================  =====================================================================
"""

from map4_pipeline.reports.model import (
    DuplicateGroup,
    Failure,
    LibraryInfo,
    LibrarySnapshot,
    QualityFinding,
    ReportFile,
    TrackRow,
)

__all__ = [
    "DuplicateGroup",
    "Failure",
    "LibraryInfo",
    "LibrarySnapshot",
    "QualityFinding",
    "ReportFile",
    "TrackRow",
]
