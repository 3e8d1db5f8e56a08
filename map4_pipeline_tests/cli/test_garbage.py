"""Commands look for garbage seldom while they load, and as usual when they work."""

import subprocess
import sys

_PROGRAM = """
import gc
from map4_pipeline.cli import garbage
usual = gc.get_threshold()
garbage.begin()
assert gc.get_threshold()[0] > 100 * usual[0]
garbage.loaded()
assert gc.get_threshold() == usual
assert gc.get_freeze_count() > 1000

class Held:
    def __del__(self):
        print("found")

held = Held()
held.itself = held
del held
gc.collect()
"""


def test_garbage_is_looked_for_again_when_all_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True)
    assert done.stdout == "found\n"
