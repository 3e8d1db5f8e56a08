"""When Python looks for garbage. Loading Dagster makes a million objects that all stay."""

import atexit
import gc

_USUAL = gc.get_threshold()
#: While modules load: looking through what has just been loaded, again and again, took a sixth of a command's time.
_LOADING = (100_000, 20, 20)


def begin() -> None:
    """Look seldom from now on, and not at all when the process ends: that took another third."""
    gc.set_threshold(*_LOADING)
    atexit.register(gc.freeze)


def loaded() -> None:
    """Look as usual from now on, but not at what is there."""
    gc.freeze()
    gc.set_threshold(*_USUAL)
