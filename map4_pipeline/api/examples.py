"""Examples for the description of the API: made from the shapes, with values of one little library that go together.

A property is shown with what examples.json has under its name (or under `Shape.name`); a name that is not there with a value
that fits its type. So every route has an example that fits its shape, also one that was added yesterday.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MOMENT = "2026-03-14T15:09:26Z"
_JOB = "3f1c9f0e-5b1e-4c7e-9d3a-2f8a6b7c1d20"
#: By name, or by `Shape.name` where a name means something else there.
VALUES: Mapping[str, Any] = json.loads(Path(__file__).with_name("examples.json").read_text(encoding="utf-8"))


def example_of(schema: Mapping[str, Any], shapes: Mapping[str, Any], name: str = "", shape: str = "") -> Any:
    """Return an example of a schema.

    Parameters
    ----------
    shapes : mapping
        The document's `components/schemas`.
    name, shape : str
        The property that it is, and of what.
    """
    for key in (f"{shape}.{name}", name):
        if key in VALUES and fits(VALUES[key], schema, shapes):
            return VALUES[key]
    if "$ref" in schema:
        return _of_shape(schema["$ref"].rpartition("/")[2], shapes)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("examples"):
        return schema["examples"][0]
    if "default" in schema:
        return schema["default"]
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return example_of(options[0], shapes, name, shape)
    kind = schema.get("type")
    if kind == "array":
        return [example_of(schema.get("items", {}), shapes, name, shape)] * max(1, schema.get("minItems", 1))
    if kind == "object":
        return {key: example_of(value, shapes, key, shape) for key, value in schema.get("properties", {}).items()}
    if kind == "string":
        return {"uuid": _JOB, "date-time": _MOMENT}.get(schema.get("format", ""), "x" * max(1, schema.get("minLength", 1)))
    return {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 0.5), "boolean": True}.get(str(kind))


def _of_shape(shape: str, shapes: Mapping[str, Any]) -> Any:
    found = shapes[shape]
    if found.get("type") != "object":
        return example_of(found, shapes, shape=shape)
    return {key: example_of(value, shapes, key, shape) for key, value in found.get("properties", {}).items()}


def fits(value: Any, schema: Mapping[str, Any], shapes: Mapping[str, Any]) -> bool:
    """Return whether a value is of a schema's kind: as far as telling one meaning of a name from another takes."""
    if "$ref" in schema:
        found = shapes[schema["$ref"].rpartition("/")[2]]
        return (
            value in found["enum"]
            if "enum" in found
            else isinstance(value, dict) and set(found.get("required", ())) <= set(value)
        )
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return any(fits(value, option, shapes) for option in options)
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kind = schema.get("type")
    if kind == "array":
        short = len(value) >= schema.get("minItems", 0) if isinstance(value, list) else False
        return short and all(fits(one, schema.get("items", {}), shapes) for one in value)
    if kind in ("integer", "number"):
        return isinstance(value, int if kind == "integer" else (int, float)) and not isinstance(value, bool)
    expected = {"string": str, "boolean": bool, "object": dict, "null": type(None)}.get(str(kind), object)
    return isinstance(value, expected) and ("format" not in schema or schema["format"] != "uuid" or value == _JOB)
