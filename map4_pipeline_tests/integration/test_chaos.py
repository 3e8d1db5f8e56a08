"""Kill run, worker and database at random points, and fill the disk: the same command finishes the work. Under three minutes."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..postgres import short_directory
from .chaos import chaos, fill
from .program import Program

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(sys.platform != "linux", reason="not applicable: processes and signals as on Linux"),
]
ROUNDS = 6


def test_six_rounds_of_bad_luck(tmp_path: Path) -> None:
    with short_directory() as home:
        tally = chaos(home / "h", tmp_path / "Music", ROUNDS, seed=4, patience=300)
    assert set(tally.killed) == {"run", "worker", "database"}, tally
    # A killed run forgets at most what it had in hand and had not written: 4 files, and those the workers held.
    assert tally.decodes <= ROUNDS * 20 + ROUNDS * 12, tally


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own, in memory."""
    if os.geteuid() != 0:
        pytest.skip("not applicable: only root may mount a small disk")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "map4", str(folder)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("not applicable: nothing may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_the_command_with_a_sentence_and_the_next_finishes(tmp_path: Path) -> None:
    fill(tmp_path / "Music", 60)
    with short_directory() as place, small_disk(place, 400) as disk:
        program = Program(disk / "h", None, MAP4_COMMIT_FILES="4")
        assert program.run("status").code == 0
        used = sum(path.stat().st_blocks * 512 for path in disk.rglob("*") if path.is_file())
        filler = disk / "filler"
        filler.write_bytes(b"\0" * (400 * 1024 * 1024 - used - 1024 * 1024))
        told = program.run("ingest", "--no-report", tmp_path / "Music")
        assert told.code == 3, told.all
        assert "Traceback" not in told.all
        assert "disk" in told.all.lower() or "space" in told.all.lower(), told.all
        filler.unlink()
        told = program.run("ingest", "--no-report", tmp_path / "Music")
        assert told.code == 0, told.all
        assert program.ingest_json(tmp_path / "Music")[1]["files"]["unchanged"] == 60
        program.run("db", "stop")
