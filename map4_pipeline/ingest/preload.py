"""What the fork server loads before the first worker, so that each starts with the engine in (shared) memory."""

import sys
import traceback
from types import TracebackType

from map4_pipeline.ingest.worker import warm_up


def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what ended a worker, unless it only came too late: its pool had ended, and the locks it was to share are gone."""
    frames = traceback.extract_tb(trace)
    if isinstance(error, FileNotFoundError) and frames and frames[-1].filename.endswith("synchronize.py"):
        return
    sys.__excepthook__(kind, error, trace)


sys.excepthook = say
warm_up()
