"""Which analysis versions count as current: those of the engine that the settings choose."""

from map4_pipeline.audio.engines import features_identity
from map4_pipeline.fingerprint import FINGERPRINT_VERSION
from map4_pipeline.hamms import HAMMS_VERSION
from map4_pipeline.settings import settings
from map4_pipeline.store.analyses import StageKey

FINGERPRINT = StageKey("fingerprint", "chromaprint", FINGERPRINT_VERSION)


def features_key() -> StageKey:
    """Return what the stage `features` is stored under.

    Raises
    ------
    EngineError
        When the chosen engine cannot be had.
    """
    engine, version = features_identity(settings().engine)
    return StageKey("features", engine, version)


def stage_keys() -> dict[str, StageKey]:
    """Return what every stage is stored under."""
    return {"features": features_key(), "fingerprint": FINGERPRINT}


def versions_text() -> str:
    """Return the versions that a settled directory's tracks have; another text means that there is work."""
    features = features_key()
    return f"features={features.engine}:{features.version};fingerprint={FINGERPRINT.version};hamms={HAMMS_VERSION}"
