"""Make the Python client from the API's description: map4_pipeline/client/shapes.py and operations.py.

python scripts/make_client.py            # writes both
python scripts/make_client.py --check    # says whether they are up to date, exit code 1 if not
"""

import argparse
import keyword
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "map4_pipeline" / "client"
_NOTE = "Made by scripts/make_client.py from the API's description; changes here are lost."
_SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def document() -> dict[str, Any]:
    """Return the API's description. No database is asked."""
    from sqlalchemy import create_engine

    from map4_pipeline.api.app import create_app
    from map4_pipeline.settings import Settings

    with tempfile.TemporaryDirectory() as home:
        app = create_app(Settings(home=Path(home), secret_key="x" * 40), create_engine("postgresql+psycopg2://nobody@/nothing"))
        return app.openapi()


def type_of(schema: dict[str, Any], prefix: str = "") -> str:
    """Return a schema as a Python type."""
    if "$ref" in schema:
        return prefix + schema["$ref"].rpartition("/")[2]
    if "const" in schema or "enum" in schema:
        return f"Literal[{', '.join(repr(value) for value in schema.get('enum', [schema.get('const')]))}]"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(dict.fromkeys(type_of(option, prefix) for option in options))
    kind = schema.get("type")
    if kind == "array":
        return f"list[{type_of(schema.get('items', {}), prefix)}]"
    if kind == "object":
        more = schema.get("additionalProperties")
        return f"dict[str, {type_of(more, prefix)}]" if isinstance(more, dict) and more else "dict[str, Any]"
    return _SIMPLE.get(str(kind), "Any")


def sentence(text: str) -> str:
    """Return the first sentence of a description on one line, as it may stand in a docstring."""
    said = re.split(r"(?<=[.?])\s", " ".join(text.split()))[0].replace("\\", "\\\\").replace('"""', "'''")
    return said if said.endswith((".", "?", ":")) else f"{said}."


def shapes(found: dict[str, Any]) -> str:
    """Return the module of the shapes."""
    lines = [
        f'"""What the API takes and gives, as types. {_NOTE}"""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Any, Literal, NotRequired, TypedDict",
    ]
    aliases, classes = [], []
    for name, schema in sorted(found["components"]["schemas"].items()):
        if schema.get("type") != "object":
            aliases.append(f"{name} = {type_of(schema)}")
            continue
        classes += ["", "", f"class {name}(TypedDict):", f'    """{sentence(schema.get("description", name))}"""', ""]
        required = set(schema.get("required", ()))
        for member, inner in schema.get("properties", {}).items():
            kind = type_of(inner)
            classes.append(f"    {member}: {kind if member in required else f'NotRequired[{kind}]'}")
        if not schema.get("properties"):
            classes.pop()
    return "\n".join([*lines, *(["", *aliases] if aliases else []), *classes]) + "\n"


def operations(found: dict[str, Any]) -> str:
    """Return the module of the operations."""
    lines = [f'"""The API\'s operations as methods. {_NOTE}"""', "", "from typing import IO, Any, Literal", ""]
    lines += ["from map4_pipeline.client import shapes", "from map4_pipeline.client.transport import Transport", "", ""]
    lines += ["class Client(Transport):", '    """All that `map4 serve` can be asked for; how it is asked is in `Transport`."""']
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            lines += ["", *_method(path, method, operation)]
    return "\n".join(lines) + "\n"


def _name(name: str) -> str:
    plain = re.sub(r"\W", "_", name)
    return f"{plain}_" if keyword.iskeyword(plain) else plain


def _method(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    parameters = operation.get("parameters", [])
    groups = {place: [one for one in parameters if one["in"] == place] for place in ("path", "query", "header")}
    given = [f"{_name(one['name'])}: {type_of(one['schema'], 'shapes.')}" for one in groups["path"]]
    body = operation.get("requestBody")
    if body is not None:
        (media,) = body["content"].values()
        kind = type_of(media["schema"], "shapes.")
        given.append(
            f"body: {kind}" if body.get("required") else f"body: {kind} | None = None".replace("| None | None", "| None")
        )
    named = []
    for one in groups["query"] + groups["header"]:
        kind, default = type_of(one["schema"], "shapes."), one["schema"].get("default")
        kind = kind if default is not None or one.get("required") or "None" in kind else f"{kind} | None"
        named.append(f"{_name(one['name'])}: {kind}{'' if one.get('required') else f' = {default!r}'}")
    content = next((value for status, value in operation["responses"].items() if status.startswith("2")), {}).get("content")
    statuses = [status for status in operation["responses"] if status.startswith("2")]
    is_file = not content and statuses != ["204"]
    if is_file:
        named.append("to: IO[bytes]")
    arguments = ", ".join(["self", *given, *(["*", *named] if named else [])])
    template = re.sub(r"\{(\w+)(:\w+)?\}", r"{\1}", path)
    call = [repr(template)] if is_file else [repr(method.upper()), repr(template)]
    call += ["to"] if is_file else []
    for title, place in (("values", "path"), ("query", "query"), ("headers", "header")):
        if groups[place] and not (is_file and place != "path"):
            pairs = ", ".join(f"{one['name']!r}: {_name(one['name'])}" for one in groups[place])
            call.append(f"{title}={{{pairs}}}")
    call += ["body=body"] if body is not None else []
    said = f'        """{sentence(operation.get("description") or operation["summary"])}"""'
    if is_file:
        result, rest = "str | None", [f"        return self.download({', '.join(call)})"]
    elif content is None:
        result, rest = "None", [f"        self.request({', '.join(call)})"]
    else:
        result = type_of(content["application/json"]["schema"], "shapes.")
        rest = [f"        found: {result} = self.request({', '.join(call)})", "        return found"]
    return [f"    def {_name(operation['operationId'])}({arguments}) -> {result}:", said, *rest]


def tidy(source: str, name: str) -> str:
    """Return source as `ruff format` writes it."""
    command = [sys.executable, "-m", "ruff", "format", "--quiet", "--stdin-filename", str(FOLDER / name), "-"]
    formatted = subprocess.run(command, input=source, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    fix = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--quiet",
        "--fix-only",
        "--select",
        "F401,I",
        "--stdin-filename",
        str(FOLDER / name),
        "-",
    ]
    return subprocess.run(fix, input=formatted, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def made() -> dict[Path, str]:
    """Return what the modules have to be."""
    found = document()
    return {
        FOLDER / "shapes.py": tidy(shapes(found), "shapes.py"),
        FOLDER / "operations.py": tidy(operations(found), "operations.py"),
    }


def main() -> None:
    """Write the modules, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when they are out of date")
    options = parser.parse_args()
    stale = [path for path, text in made().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if options.check:
        if stale:
            raise SystemExit(f"Out of date: {', '.join(path.name for path in stale)}. Run: python scripts/make_client.py")
        return
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
