"""The workbook as other programs read it."""

import csv
import shutil
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
from map4_pipeline_tests.reports.factory import NASTY, nasty_snapshot, snapshot, track

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
    added = [row.added_at and row.added_at.replace(tzinfo=None) for row in rows]
    assert list(library["Added (UTC)"].dt.to_pydatetime()) == added


def test_headers_filters_formats_colours_and_charts(workbook: Path) -> None:
    book = openpyxl.load_workbook(workbook)
    for name in SHEETS[:-1]:
        sheet = book[name]
        assert sheet.freeze_panes in ("A2", "C2")
        assert sheet.auto_filter.ref
        assert sheet["A1"].font.bold
    library = book["Library"]
    assert library.auto_filter.ref == library.dimensions == "A1:U91"
    assert library.print_title_rows == "$1:$1"
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


def test_what_an_annotation_says_has_columns_of_its_own(tmp_path: Path) -> None:
    said = {
        "genre": "House",
        "moods": ["dark", "hypnotic"],
        "release_year": 1998,
        "confidence": 0.4,
        "description": "=not a formula",
        "contradictions": [{"claim": "tempo_bpm", "reason": "measured 128"}],
        "model": "m",
    }
    odd = {"genre": 7, "moods": "dark", "release_year": "1998", "confidence": True, "contradictions": "none"}
    path = write_excel(snapshot([track(0, ai_analysis=said), track(1, ai_analysis=odd)]), tmp_path / "a.xlsx").path
    first, second = pandas.read_excel(path, sheet_name="AI").to_dict("records")
    assert (first["Genre"], first["Moods"], first["Year"], first["Confidence"]) == ("House", "dark, hypnotic", 1998, 0.4)
    assert first["Contradicts what was measured"] == "tempo_bpm: measured 128"
    assert first["Description"] == "=not a formula"
    assert second["Moods"] == "dark"
    assert pandas.isna(second["Genre"])
    assert pandas.isna(second["Year"])


def test_what_does_not_fit_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("map4_pipeline.reports.excel.MAX_ROWS", 10)
    path = write_excel(snapshot(size=25), tmp_path / "a.xlsx").path
    frames = pandas.read_excel(path, sheet_name=None)
    assert len(frames["Library"]) == len(frames["HAMMS"]) == 10
    said = frames["Summary"].iloc[:, 0].tolist()
    assert "15 rows of Library do not fit into a sheet of Excel and are left out." in said


@pytest.mark.slow
def test_libreoffice_opens_it_without_repair(tmp_path: Path) -> None:
    """Headless, it gives up on a file that it would have to repair; all sheets come out as CSV."""
    program = shutil.which("soffice")
    if program is None:
        pytest.skip("needs LibreOffice Calc")
    titles = [text for text in NASTY if text.strip() and "\udcff" not in text] + ["_x0041_ stays"]
    rows = [track(30 * index, title=title) for index, title in enumerate(titles)]
    path = write_excel(snapshot(rows), tmp_path / "a.xlsx").path
    filters = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,false,false,false,-1"
    command = [program, "--headless", f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}", "--convert-to", filters]
    subprocess.run([*command, "--outdir", str(tmp_path / "out"), str(path)], check=True, capture_output=True, timeout=600)
    sheets = {}
    for name in SHEETS:
        with (tmp_path / "out" / f"a-{name}.csv").open(encoding="utf-8", newline="") as file:
            sheets[name] = list(csv.DictReader(file))
    assert [len(sheets[name]) for name in ("Library", "HAMMS", "Technical")] == [len(rows)] * 3
    read = [row["Title"] for row in sheets["Library"]]
    assert "_x0041_ stays" in read
    assert '=HYPERLINK("http://example.org","click")' in read
    assert float(sheets["Library"][0]["BPM"]) == pytest.approx(rows[0].bpm)


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
