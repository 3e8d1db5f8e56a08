"""Frame-level features as Parquet; tempo, beats, keys and sections as JAMS.

JAMS is the JSON format of music research in which an annotation says who made it (Humphrey et al. 2014); the structure is that of
version 0.3 with its namespaces `tempo`, `beat`, `key_mode` and `segment_open`.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from map4_pipeline.audio.tonality import PITCH_CLASSES
from map4_pipeline.library.keys import escape_path

if TYPE_CHECKING:
    from map4_pipeline.audio.frames import Frames

JAMS_VERSION = "0.3.4"
#: Bytes of a file's name that are kept; file systems allow 255.
_NAME_BYTES = 180


class FramesNotWrittenError(Exception):
    """The folder for the frames cannot be written; `exit_code` is what the command line ends with."""

    exit_code = 3


@dataclass(slots=True)
class FrameNames:
    """Gives every input file a name of its own in a folder.

    The name is the file's own. Where that is taken, by another input or by something else in the folder, it is followed by ten
    hex digits that belong to the path. Run again, a file gets the name it had.
    """

    folder: Path
    _taken: dict[str, str] = field(default_factory=dict)

    def stem(self, path: bytes) -> Path:
        """Return where a file's results go, without the ending."""
        identity = _identity(path)
        name = escape_path(os.path.basename(path)).replace("/", "_").replace("\\", "_")
        name = name.encode()[:_NAME_BYTES].decode("utf-8", "ignore")
        # Names that differ in case only are one on macOS and Windows.
        owner = self._taken.get(name.casefold()) or self._owner_on_disk(name) or identity
        if owner != identity:
            name = f"{name}~{hashlib.sha256(identity.encode()).hexdigest()[:10]}"
        self._taken[name.casefold()] = identity
        return self.folder / name

    def _owner_on_disk(self, name: str) -> str | None:
        written = [self.folder / f"{name}.{ending}" for ending in ("jams", "parquet")]
        if not any(os.path.lexists(path) for path in written):
            return None
        try:
            return str(json.loads(written[0].read_text(encoding="utf-8"))["file_metadata"]["identifiers"]["path"])
        except (OSError, ValueError, KeyError, TypeError):
            return "somebody else's"


def _identity(path: bytes) -> str:
    return escape_path(os.path.abspath(path))


def write_frames(stem: Path, path: bytes, frames: "Frames", about: Mapping[str, Any]) -> None:
    """Write a track's `.parquet` and `.jams`; each is there whole or not at all.

    Parameters
    ----------
    stem : Path
        From `FrameNames`.
    path : bytes
        The audio file.
    about : mapping
        "technical", "features" and "identity" as dictionaries, "tags" with title, artist and album, "engine" and "version" under
        which the features are known.

    Raises
    ------
    FramesNotWrittenError
    """
    from map4_pipeline.reports.atomic import replacing

    try:
        with replacing(stem.with_name(f"{stem.name}.parquet")) as target:
            _write_parquet(target, path, frames, about)
        with replacing(stem.with_name(f"{stem.name}.jams")) as target:
            text = json.dumps(jams(path, about), indent=1, ensure_ascii=False, allow_nan=False)
            # Lone surrogates, from names that are no text, cannot be written.
            target.write_bytes(text.encode("utf-8", "backslashreplace") + b"\n")
    except OSError as error:
        reason = error.strerror or str(error)
        raise FramesNotWrittenError(f"The frames cannot be written to {stem.parent}: {reason}.") from None


def _write_parquet(target: Path, path: bytes, frames: "Frames", about: Mapping[str, Any]) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {
        "time": frames.time,
        "onset": frames.onset,
        "onset_low": frames.onset_low,
        "onset_high": frames.onset_high,
        "level_dbfs": frames.level_dbfs,
        "centroid_hz": frames.centroid_hz,
    }
    columns |= {f"chroma_{name}": frames.chroma[:, index] for index, name in enumerate(PITCH_CLASSES)}
    columns |= {f"mel_{band:02d}": frames.mel[:, band] for band in range(frames.mel.shape[1])}
    origin = {"path": _identity(path), "engine": about["engine"], "features_version": about["version"], **about["identity"]}
    table = pyarrow.table(columns).replace_schema_metadata({"map4": json.dumps(origin)})
    # float32 spectra hardly repeat: a dictionary would only cost time.
    pyarrow.parquet.write_table(table, target, compression="zstd", use_dictionary=False)


def jams(path: bytes, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return a track's annotations as a JAMS object. What was not measured has no annotation; `sandbox` says why."""
    from map4_pipeline import __version__

    features, duration = about["features"], float(about["technical"]["duration"])
    tags = {name: str(about["tags"].get(tag) or "") for name, tag in _TAGS.items()}
    annotations = {
        "tempo": _tempo(features, duration),
        "beat": _beats(features),
        "key_mode": _keys(features, duration),
        "segment_open": [_observation(s["start"], s["end"], s["label"], None) for s in features["sections"]],
    }
    tools = f"MAP4 {__version__}, engine {about['engine']}, features version {about['version']}"
    metadata = {
        "curator": {"name": "", "email": ""},
        "annotator": {},
        "version": about["version"],
        "corpus": "",
        "annotation_tools": tools,
        "annotation_rules": "",
        "validation": "",
        "data_source": "program",
    }
    return {
        "annotations": [
            {
                "namespace": namespace,
                "annotation_metadata": metadata,
                "data": data,
                "sandbox": {"alternatives": features[_ALTERNATIVES[namespace]]} if namespace in _ALTERNATIVES else {},
                "time": 0.0,
                "duration": duration,
            }
            for namespace, data in annotations.items()
            if data
        ],
        "file_metadata": {
            **tags,
            "duration": duration,
            "identifiers": {"path": _identity(path), **about["identity"]},
            "jams_version": JAMS_VERSION,
        },
        "sandbox": {"null_reasons": features["null_reasons"], "beats_per_bar": features["beats_per_bar"]},
    }


_TAGS = {"title": "title", "artist": "artist", "release": "album"}
_ALTERNATIVES = {"tempo": "bpm_alternatives", "key_mode": "key_alternatives"}


def _observation(start: float, end: float, value: Any, confidence: float | None) -> dict[str, Any]:
    return {"time": start, "duration": max(0.0, end - start), "value": value, "confidence": confidence}


def _tempo(features: Mapping[str, Any], duration: float) -> list[dict[str, Any]]:
    if features["bpm"] is None:
        return []
    spans = features["tempo_spans"] if len(features["tempo_spans"]) > 1 else []
    # The namespace asks for a number; an engine that gives no confidence vouches for nothing.
    confidence = features["bpm_confidence"] or 0.0
    if not spans:
        return [_observation(0.0, duration, features["bpm"], confidence)]
    return [_observation(span["start"], span["end"], span["bpm"], confidence) for span in spans]


def _beats(features: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the beats; their value is the place in the bar, from 1, where the bar is known."""
    places: list[int | None] = []
    downbeats = set(features["downbeat_times"])
    place: int | None = None
    for time in features["beat_times"]:
        place = 1 if time in downbeats else None if place is None else place + 1
        places.append(place)
    if downbeats and features["beats_per_bar"]:
        # Before the first downbeat the bar is counted backwards.
        first = places.index(1) if 1 in places else 0
        for index in range(first):
            places[index] = (index - first) % int(features["beats_per_bar"]) + 1
    return [_observation(max(0.0, t), t, place, None) for t, place in zip(features["beat_times"], places, strict=True)]


def _keys(features: Mapping[str, Any], duration: float) -> list[dict[str, Any]]:
    def spelled(key: str) -> str:
        return key.replace(" ", ":")

    if features["key"] is None:
        return []
    if len(features["key_spans"]) > 1:
        return [_observation(s["start"], s["end"], spelled(s["key"]), s["probability"]) for s in features["key_spans"]]
    return [_observation(0.0, duration, spelled(features["key"]), features["key_confidence"])]
