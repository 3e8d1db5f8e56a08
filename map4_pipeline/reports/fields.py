"""The fields of an exported track: names, types and meanings, from which Parquet's types and the JSON Schema are made.

Names that `map4 analyze` prints are the same here. A field is never removed or given another meaning without a new
`SCHEMA_VERSION`; new ones may be added at the end.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from map4_pipeline.hamms import DIMENSIONS

if TYPE_CHECKING:
    import pyarrow

#: Version of the exported data's shape.
SCHEMA_VERSION = "1"
#: Name by which a JSON export says what it is.
SCHEMA_ID = f"map4/tracks/{SCHEMA_VERSION}"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an exported track.

    Attributes
    ----------
    name : str
    kind : str
        "integer", "number", "unit" (a number in [0, 1]), "text", "moment", "numbers" and "texts" (candidates with probabilities),
        "hamms", "reasons", "findings" or "object".
    meaning : str
        With the unit.
    """

    name: str
    kind: str
    meaning: str


FIELDS: tuple[Field, ...] = (
    Field("id", "integer", "Number of the track in the library."),
    Field("path", "text", "Path of the file; bytes that are no text are escaped without loss."),
    Field("library", "text", "Name of the library root."),
    Field("file_name", "text", "Last part of the path."),
    Field("status", "text", "ok, failed or pending."),
    Field("error_kind", "text", "Stable name of why the file failed."),
    Field("error", "text", "A sentence for the user."),
    Field("missing_since", "moment", "When the file was found gone; null while it is there."),
    Field("title", "text", "From the tags, or corrected."),
    Field("artist", "text", "From the tags, or corrected."),
    Field("album", "text", "From the tags, or corrected."),
    Field("album_artist", "text", "From the tags."),
    Field("composer", "text", "From the tags."),
    Field("genre", "text", "From the tags, or corrected."),
    Field("year", "integer", "From the tags, or corrected."),
    Field("track_number", "integer", "From the tags."),
    Field("disc_number", "integer", "From the tags."),
    Field("duration", "number", "Seconds."),
    Field("sample_rate", "integer", "Hz."),
    Field("bit_rate", "integer", "bit/s."),
    Field("bit_depth", "integer", "Bits a sample, of lossless formats."),
    Field("channels", "integer", "Channels of the source."),
    Field("codec", "text", "FFmpeg's name of the codec."),
    Field("file_size", "integer", "Bytes."),
    Field("bpm", "number", "Beats a minute."),
    Field("bpm_confidence", "unit", "Probability that the tempo is right, octave included."),
    Field("bpm_alternatives", "numbers", "Other tempi with their probabilities, most probable first."),
    Field("key", "text", 'Spelled "A minor".'),
    Field("camelot", "text", 'The key on the Camelot ring, "8A".'),
    Field("key_confidence", "unit", "Probability that the key is right."),
    Field("key_alternatives", "texts", "Other keys with their probabilities, most probable first."),
    Field("energy", "unit", "Perceived intensity."),
    Field("loudness_lufs", "number", "EBU R128 integrated loudness, LUFS."),
    Field("loudness_range_lu", "number", "EBU Tech 3342 loudness range, LU."),
    Field("true_peak_dbtp", "number", "True peak, dBTP."),
    Field("hamms", "hamms", "The twelve dimensions, each in [0, 1] or null with a reason."),
    Field("hamms_confidence", "unit", "How sure the vector is."),
    Field("fingerprint", "text", "Chromaprint as fpcalc prints it."),
    Field("spectral_hash", "text", "64 hex digits."),
    Field("audio_hash", "text", "SHA-256 over the encoded audio without tags."),
    Field("file_hash", "text", "SHA-256 over the file."),
    Field("analysis_version", "text", "Version of the analysis that measured the features."),
    Field("null_reasons", "reasons", "Why a field could not be measured."),
    Field("findings", "findings", "What a user should know of the file's quality."),
    Field("tags_bpm", "number", "Tempo that the file's tags claim."),
    Field("tags_key", "text", "Key that the file's tags claim."),
    Field("ai_provider", "text", "Who annotated."),
    Field("ai_analysis", "object", "The annotation, as the provider's checked answer."),
    Field("created_at", "moment", "When the track came into the library."),
    Field("analyzed_at", "moment", "When it was analysed last."),
)
NAMES: tuple[str, ...] = tuple(field.name for field in FIELDS)


def chosen_fields(names: "list[str] | tuple[str, ...] | None") -> tuple[Field, ...]:
    """Return the fields of these names, in the order asked for; all of them without names.

    Raises
    ------
    ValueError
        For a name that does not exist or stands twice; the text names it.
    """
    if not names:
        return FIELDS
    known = {field.name: field for field in FIELDS}
    for name in names:
        if name not in known:
            raise ValueError(f"There is no field {name!r}. Fields: {', '.join(NAMES)}.")
    if len(set(names)) < len(names):
        raise ValueError("A field is named twice.")
    return tuple(known[name] for name in names)


def arrow_schema(fields: tuple[Field, ...] = FIELDS) -> "pyarrow.Schema":
    """Return the fields as types of Arrow: HAMMS is a list of twelve float32, in the order of `hamms.DIMENSIONS`."""
    import pyarrow as pa

    def candidates(value: pa.DataType) -> pa.DataType:
        return pa.list_(pa.struct([("value", value), ("probability", pa.float64())]))

    finding = pa.struct([("code", pa.string()), ("message", pa.string()), ("value", pa.float64())])
    kinds = {
        "integer": pa.int64(),
        "number": pa.float64(),
        "unit": pa.float64(),
        "text": pa.string(),
        "moment": pa.timestamp("us", tz="UTC"),
        "numbers": candidates(pa.float64()),
        "texts": candidates(pa.string()),
        "hamms": pa.list_(pa.float32(), len(DIMENSIONS)),
        "reasons": pa.map_(pa.string(), pa.string()),
        "findings": pa.list_(finding),
        "object": pa.string(),
    }
    metadata = {"map4_schema": SCHEMA_ID, "hamms_dimensions": ",".join(DIMENSIONS)}
    return pa.schema([pa.field(field.name, kinds[field.kind], metadata={"meaning": field.meaning}) for field in fields], metadata)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an exported JSON document; a line of JSON Lines is its `$defs/track`."""
    unit = {"type": ["number", "null"], "minimum": 0, "maximum": 1}

    def candidates(value: str) -> dict[str, Any]:
        item = {
            "type": "object",
            "properties": {"value": {"type": value}, "probability": {"type": "number", "minimum": 0, "maximum": 1}},
            "required": ["value", "probability"],
        }
        return {"type": "array", "items": item}

    kinds: dict[str, dict[str, Any]] = {
        "integer": {"type": ["integer", "null"]},
        "number": {"type": ["number", "null"]},
        "unit": unit,
        "text": {"type": ["string", "null"]},
        "moment": {"type": ["string", "null"], "format": "date-time"},
        "numbers": candidates("number"),
        "texts": candidates("string"),
        "hamms": {
            "type": ["object", "null"],
            "properties": dict.fromkeys(DIMENSIONS, unit),
            "required": list(DIMENSIONS),
            "additionalProperties": False,
        },
        "reasons": {"type": "object", "additionalProperties": {"type": "string"}},
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "value": {"type": ["number", "null"]}},
                "required": ["code", "message"],
            },
        },
        "object": {"type": ["object", "null"]},
    }
    track = {
        "type": "object",
        "properties": {field.name: {**kinds[field.kind], "description": field.meaning} for field in FIELDS},
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{SCHEMA_ID.replace('/', ':')}",
        "title": "Tracks exported by MAP4",
        "type": "object",
        "properties": {
            "schema": {"const": SCHEMA_ID},
            "generated_at": {"type": "string", "format": "date-time"},
            "generator": {"type": "string"},
            "query": {"type": "string", "description": "What the tracks were chosen by; empty: all."},
            "track_count": {"type": "integer", "minimum": 0},
            "tracks": {"type": "array", "items": {"$ref": "#/$defs/track"}},
        },
        "required": ["schema", "generated_at", "track_count", "tracks"],
        "$defs": {"track": track},
    }
