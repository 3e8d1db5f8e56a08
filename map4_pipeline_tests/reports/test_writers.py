"""What holds for every writer: atomic, described truthfully, fit for any library, light to import."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from map4_pipeline.reports import LibrarySnapshot, ReportFile, TrackRow
from map4_pipeline.reports.excel import write_excel
from map4_pipeline.reports.html import write_html
from map4_pipeline.reports.pdf import write_pdf
from map4_pipeline_tests.reports.factory import nasty_snapshot, snapshot, track

Writer = Callable[[LibrarySnapshot, Path], ReportFile]
WRITERS = pytest.mark.parametrize(("writer", "suffix"), [(write_pdf, "pdf"), (write_html, "html"), (write_excel, "xlsx")])


@WRITERS
@pytest.mark.parametrize("library", ["empty", "one", "all failed", "hostile", "silent"])
def test_any_library_makes_a_report(writer: Writer, suffix: str, library: str, tmp_path: Path) -> None:
    snapshots = {
        "empty": lambda: snapshot([]),
        "one": lambda: snapshot(size=1),
        "all failed": lambda: snapshot([track(29 + 30 * index) for index in range(25)]),
        "hostile": nasty_snapshot,
        # Nothing but a path: what a row looks like when nothing could be measured or read.
        "silent": lambda: snapshot([TrackRow(id=1, file_path="/music/silence.wav")]),
    }
    target = tmp_path / "deep" / f"report.{suffix}"
    report = writer(snapshots[library](), target)
    assert report.path == target
    assert report.format == suffix
    assert report.size_bytes == target.stat().st_size > 4_000
    assert [entry.name for entry in target.parent.iterdir()] == [target.name]


@WRITERS
def test_a_failure_leaves_what_was_there(writer: Writer, suffix: str, tmp_path: Path) -> None:
    target = tmp_path / f"report.{suffix}"
    target.write_bytes(b"the last report")

    def breaks() -> Iterator[TrackRow]:
        yield track(0)
        raise ConnectionError("the database went away")

    with pytest.raises(ConnectionError):
        writer(snapshot([track(0)], tracks=breaks), target)
    assert target.read_bytes() == b"the last report"
    assert list(tmp_path.iterdir()) == [target]


@WRITERS
def test_a_failure_while_writing_leaves_no_half(
    writer: Writer, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / f"report.{suffix}"
    monkeypatch.setattr("map4_pipeline.reports.atomic.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        writer(snapshot([track(0)]), target)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path: Path) -> None:
    old, recent, other = (tmp_path / name for name in (f".map4-{'a' * 16}.tmp", f".map4-{'b' * 16}.tmp", ".map4-mine.tmp"))
    for left in (old, recent, other):
        left.touch()
    for left in (old, other):
        os.utime(left, (1, 1))
    write_excel(snapshot([]), tmp_path / "a.xlsx")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([recent.name, other.name, "a.xlsx"])


@WRITERS
def test_a_report_is_readable_by_others(writer: Writer, suffix: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    report = writer(snapshot([]), tmp_path / f"report.{suffix}")
    assert report.path.stat().st_mode == plain.stat().st_mode


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, map4_pipeline.reports, map4_pipeline.reports.statistics, map4_pipeline.reports.pdf, "
        "map4_pipeline.reports.html, map4_pipeline.reports.excel\n"
        "heavy = {'reportlab', 'openpyxl', 'plotly', 'jinja2', 'numpy', 'dagster', 'sqlalchemy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
