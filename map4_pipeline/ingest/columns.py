"""From stored payloads to the columns of `tracks`."""

from typing import Any

from map4_pipeline.ingest.versions import FINGERPRINT, features_key
from map4_pipeline.store.tracks import MEASURED_COLUMNS, TECHNICAL_COLUMNS


def feature_columns(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that the stage `features` fills."""
    technical, features = payload["technical"], payload["features"]
    columns = {name: technical.get(name) for name in TECHNICAL_COLUMNS}
    columns.update({name: features.get(name) for name in MEASURED_COLUMNS})
    columns["features_version"] = features_key().version
    return columns


def fingerprint_columns(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that the stage `fingerprint` fills; its null reasons are added to those of the features."""
    return {
        "chromaprint_fp": payload.get("chromaprint"),
        "spectral_hash": payload.get("spectral_hash"),
        "null_reasons": payload.get("null_reasons") or {},
        "fingerprint_version": FINGERPRINT.version,
    }
