"""Stand-ins for the analysis of a file, importable in worker processes."""

import os
import time
from typing import Any

from map4_pipeline.cli.records import complete
from map4_pipeline.library.keys import escape_path


def moody(path: bytes, **options: Any) -> dict[str, Any]:
    """Crash, hang or succeed, as the name says; the first file is the slowest."""
    if b"crash" in path:
        os._exit(70)
    if b"hang" in path:
        time.sleep(60)
    if b"slow" in path:
        time.sleep(0.5)
    return complete({"path": escape_path(path), "status": "ok"})
