"""One BLAS thread while a track is analysed.

The products here are small: a second thread doubles their CPU time and shortens nothing, workers already fill the cores, and a
result must not depend on how many there are. Environment variables act only before numpy's first import, so the
library that numpy brought is asked directly, and set back afterwards.
"""

import contextlib
import ctypes
import glob
import os
from collections.abc import Callable, Iterator
from functools import lru_cache

_PREFIXES = ("scipy_openblas", "openblas")
_SUFFIXES = ("64_", "", "_64_")


@lru_cache(maxsize=1)
def _controls() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Return (get threads, set threads) of numpy's OpenBLAS; None where numpy uses another library, such as Accelerate."""
    import numpy

    home = os.path.dirname(numpy.__file__)
    places = (os.path.join(home, "..", "numpy.libs", "*openblas*"), os.path.join(home, ".dylibs", "*openblas*"))
    for path in sorted(found for place in places for found in glob.glob(place)):
        try:
            library = ctypes.CDLL(path)  # numpy has loaded it: this is only another handle
        except OSError:
            continue
        for prefix in _PREFIXES:
            for suffix in _SUFFIXES:
                getter = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
                setter = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
                if getter is not None and setter is not None:
                    getter.restype, setter.argtypes = ctypes.c_int, [ctypes.c_int]
                    return getter, setter
    return None


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Hold numpy's BLAS to one thread inside the context."""
    controls = _controls()
    before = controls[0]() if controls else 1
    if controls is None or before == 1:
        yield
        return
    controls[1](1)
    try:
        yield
    finally:
        controls[1](before)
