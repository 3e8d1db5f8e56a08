"""What the fork server prints of workers that end before they begin."""

import subprocess
import sys

PROGRAM = """
import multiprocessing.synchronize, sys
import map4_pipeline.ingest.preload
if sys.argv[1] == "late":
    lock = multiprocessing.synchronize.Lock.__new__(multiprocessing.synchronize.Lock)
    lock.__setstate__((0, 1, 1, "/map4-no-such-lock"))
open("/no/such/file")
"""


def ended(how: str) -> str:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr


def test_a_worker_that_comes_when_its_pool_has_ended_says_nothing() -> None:
    assert ended("late") == ""


def test_other_ends_are_told() -> None:
    assert "/no/such/file" in ended("other")
