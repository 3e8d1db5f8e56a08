"""From stored payloads to the columns of `tracks`."""

from typing import Any

from map4_pipeline.ingest.versions import FINGERPRINT, features_key

_TECHNICAL = ("duration", "sample_rate", "bit_rate", "channels", "codec", "container", "bit_depth")
_MEASURED = (
    "bpm",
    "bpm_confidence",
    "bpm_alternatives",
    "key",
    "camelot",
    "key_confidence",
    "key_alternatives",
    "energy",
    "loudness_lufs",
    "loudness_range_lu",
    "true_peak_dbtp",
    "null_reasons",
    "findings",
)


def feature_columns(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that the stage `features` fills."""
    technical, features = payload["technical"], payload["features"]
    columns = {name: technical.get(name) for name in _TECHNICAL}
    columns.update({name: features.get(name) for name in _MEASURED})
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
