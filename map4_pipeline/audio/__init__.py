"""From sound to numbers: `analyse(path)` decodes a file once and measures it. Usable alone, in a notebook as well.

Importing this package costs next to nothing; numpy and the decoders are loaded with the first use of `analyse`.
"""

from typing import TYPE_CHECKING, Any

from map4_pipeline.audio.errors import AudioError, ErrorKind
from map4_pipeline.audio.model import (
    ENGINE,
    FEATURES_VERSION,
    Candidate,
    Features,
    Finding,
    Fingerprint,
    KeySpan,
    Section,
    Technical,
    TempoSpan,
    TrackAnalysis,
)

if TYPE_CHECKING:
    from map4_pipeline.audio.engine import analyse
    from map4_pipeline.audio.frames import Frames, frame_features

__all__ = [
    "ENGINE",
    "FEATURES_VERSION",
    "AudioError",
    "Candidate",
    "ErrorKind",
    "Features",
    "Finding",
    "Fingerprint",
    "Frames",
    "KeySpan",
    "Section",
    "Technical",
    "TempoSpan",
    "TrackAnalysis",
    "analyse",
    "frame_features",
]


def __getattr__(name: str) -> Any:
    if name == "analyse":
        from map4_pipeline.audio.engine import analyse

        return analyse
    if name in ("Frames", "frame_features"):
        from map4_pipeline.audio import frames

        return getattr(frames, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
