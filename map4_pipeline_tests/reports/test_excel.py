"""The workbook as other programs read it."""

import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path

import openpyxl
import pandas
import pytest

from map4_pipeline.reports.excel import write_excel
from map4_pipeline.reports.statistics import HAMMS_NAMES
from map4_pipeline_tests.reports.factory import NASTY, nasty_snapshot, snapshot

SHEETS = ["Library", "HAMMS", "AI", "Technical", "Duplicates", "Failures", "Summary"]


@pytest.fixture(scope="module")
def workbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_excel(snapshot(size=90), tmp_path_factory.mktemp("xlsx") / "a.xlsx").path


def test_sheets_are_complete_and_typed(workbook: Path) -> None:
    frames = pandas.read_excel(workbook, sheet_name=None)
    rows = list(snapshot(size=90).tracks())
    assert list(frames) == SHEETS
    library = frames["Library"]
    assert len(library) == len(frames["HAMMS"]) == len(frames["Technical"]) == 90
    assert len(frames["AI"]) == sum(row.ai_analysis is not None for row in rows)
    assert len(frames["Failures"]) == 3
    assert library["BPM"].dtype == "float64"
    assert library["Energy"].between(0, 1).sum() == 87
    for row, bpm in zip(rows, library["BPM"], strict=True):
        assert bpm == pytest.approx(row.bpm) if row.bpm is not None else pandas.isna(bpm)
    assert set(library["State"]) <= {"ok", "failed", "missing"}
    assert frames["HAMMS"].shape[1] == 3 + len(HAMMS_NAMES) + 2


def test_headers_filters_formats_colours_and_charts(workbook: Path) -> None:
    book = openpyxl.load_workbook(workbook)
    for name in SHEETS[:-1]:
        sheet = book[name]
        assert sheet.freeze_panes in ("A2", "C2")
        assert sheet.auto_filter.ref
        assert sheet["A1"].font.bold
    library = book["Library"]
    assert library.auto_filter.ref == "A1:U91"
    heads = {cell.value: cell.column_letter for cell in library[1]}
    assert library[f"{heads['BPM confidence']}2"].number_format == "0%"
    assert library[f"{heads['Length']}2"].number_format == "[m]:ss"
    assert isinstance(library[f"{heads['Added (UTC)']}2"].value, datetime)
    assert len(library.conditional_formatting) >= 5
    assert len(book["Summary"]._charts) == 6


def test_hostile_text_is_text(tmp_path: Path) -> None:
    path = write_excel(nasty_snapshot(), tmp_path / "a.xlsx").path
    book = openpyxl.load_workbook(path)
    for sheet in book:
        for row in sheet.iter_rows():
            assert not [cell.coordinate for cell in row if cell.data_type in ("f", "e")]
    artists = {cell.value: cell for cell in book["Library"]["C"]}
    for text in NASTY:
        if text.lstrip().startswith(("=", "+", "-", "@")):
            assert next(cell for value, cell in artists.items() if value and value.strip() == text.strip()).quotePrefix
    assert "x" * 3000 in artists
    assert any(value and value.startswith("NUL\ufffdin") for value in artists)
    with zipfile.ZipFile(path) as archive:
        assert b"<f>" not in archive.read("xl/worksheets/sheet1.xml")


def test_memory_does_not_grow_with_the_library(tmp_path: Path) -> None:
    code = """
import resource, sys
from map4_pipeline.reports.excel import write_excel
from map4_pipeline_tests.reports.factory import snapshot
library = {size: snapshot(size=size, duplicates=()) for size in (100, 2000)}
peaks = []
for size in (100, 2000):
    write_excel(library[size], sys.argv[1])
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""
    pytest.importorskip("resource", reason="Windows has no getrusage")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.xlsx")], check=True, capture_output=True, text=True, timeout=120
    )
    grown = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
    # 1,900 rows held as cells would be some 40 MB.
    assert grown < 12e6
