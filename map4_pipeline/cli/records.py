"""One file, one record: what `map4 analyze` prints and `map4 tracks` prints again from the database.

The names and their order are a contract with whoever reads the output.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from map4_pipeline.audio.model import ENGINE, FEATURES_VERSION
from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.library.keys import escape_path

if TYPE_CHECKING:
    from map4_pipeline.audio.spectra import Spectra

#: The names of a record, in order.
NAMES: tuple[str, ...] = (
    "path", "status", "error", "duration", "sample_rate", "channels", "bit_rate", "bpm", "bpm_confidence", "bpm_alternatives",
    "key", "camelot", "key_confidence", "key_alternatives", "energy", "loudness_lufs", "true_peak_dbtp", "hamms",
    "hamms_confidence", "fingerprint", "spectral_hash", "audio_hash", "analysis_version", "null_reasons", "error_kind",
)  # fmt: skip

_TECHNICAL = ("duration", "sample_rate", "channels", "bit_rate")
_MEASURED = (
    "bpm", "bpm_confidence", "bpm_alternatives", "key", "camelot", "key_confidence", "key_alternatives", "energy",
    "loudness_lufs", "true_peak_dbtp",
)  # fmt: skip


def analyse_path(path: bytes, engine: str = ENGINE, frames: Path | None = None) -> dict[str, Any]:
    """Analyse one file and return its record. A bad file is a value, never an exception. Runs in a worker process.

    Parameters
    ----------
    engine : str
        Who measures the features.
    frames : Path, optional
        Where the frame-level features go as well, without the ending.

    Raises
    ------
    FramesNotWrittenError
    """
    from map4_pipeline.audio.engines import features_identity
    from map4_pipeline.hamms.vector import hamms_vector
    from map4_pipeline.ingest.worker import analyse_file, identify_file

    measured_by, version = features_identity(engine)
    if not os.path.lexists(path):
        return failed_record(path, "unreadable", "There is no file of this name.", version=version)
    identified = identify_file(path)
    if identified.error_kind is not None:
        return failed_record(path, identified.error_kind, identified.error_message or "", version=version)
    identity = identified.identity or {}
    audio_hash = identity.get("audio_hash")
    spectra: list[Spectra] = []
    analysed = analyse_file(
        path, ("features", "fingerprint"), engine, None if frames is None else spectra.append, identified.state
    )
    if analysed.error_kind is not None:
        return failed_record(path, analysed.error_kind, analysed.error_message or "", audio_hash, version=version)
    payload, fingerprint = analysed.payloads["features"], analysed.payloads["fingerprint"]
    features = payload["features"]
    if frames is not None:
        from map4_pipeline.audio.frame_files import write_frames
        from map4_pipeline.audio.frames import frames_in

        about = {**payload, "identity": identity, "tags": identified.tags or {}, "engine": measured_by, "version": version}
        write_frames(frames, path, frames_in(spectra[0]), about)
    vector = hamms_vector(features)
    record = {
        "path": escape_path(path),
        "status": "ok",
        **{name: payload["technical"][name] for name in _TECHNICAL},
        **{name: features[name] for name in _MEASURED},
        "hamms": vector.values,
        "hamms_confidence": vector.confidence,
        "fingerprint": fingerprint["chromaprint"],
        "spectral_hash": fingerprint["spectral_hash"],
        "audio_hash": audio_hash,
        "analysis_version": version,
        "null_reasons": {
            **features["null_reasons"],
            **fingerprint["null_reasons"],
            **{f"hamms.{name}": reason for name, reason in vector.null_reasons.items()},
        },
    }
    return complete(record)


def failed_record(
    path: bytes, kind: str, message: str, audio_hash: str | None = None, *, version: str = FEATURES_VERSION
) -> dict[str, Any]:
    """Return the record of a file that could not be analysed."""
    record = {"path": escape_path(path), "status": "failed", "error": message, "error_kind": kind, "audio_hash": audio_hash}
    return complete(record | {"analysis_version": version})


def complete(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with every name in order; `hamms` always has the twelve names, lists are lists also when empty."""
    found = {name: record.get(name) for name in NAMES}
    found["analysis_version"] = record.get("analysis_version", FEATURES_VERSION)
    for name in ("bpm_alternatives", "key_alternatives"):
        found[name] = list(found[name] or ())
    reasons = dict(found["null_reasons"] or {})
    if "chromaprint" in reasons:
        reasons["fingerprint"] = reasons.pop("chromaprint")
    found["null_reasons"] = reasons
    # JSONB knows no order.
    values = found["hamms"] or {}
    found["hamms"] = {name: values.get(name) for name in DIMENSIONS}
    return found


def track_names() -> tuple[str, ...]:
    """Return the names of a track's record: those of a file's, then what only the library knows."""
    from map4_pipeline.store.listing import NAMES as STORED

    return NAMES + tuple(name for name in STORED if name not in NAMES)


def track_record(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a row of `store.listing`, ready for JSON."""
    more = {name: value for name, value in row.items() if name not in NAMES}
    if more.get("missing_since") is not None:
        more["missing_since"] = more["missing_since"].isoformat()
    return complete(row) | more
