"""The table of docs/security.md is true where a program can tell: every test that it names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_requirement_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:\d+\.\d+\.\d+(?:, )?)+) \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE)
    assert len(rows) > 40
    there = {
        name
        for file in (ROOT / "map4_pipeline_tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    for requirement, shown in rows:
        named = re.findall(r"`(test_\w+)`", shown)
        assert named, f"{requirement} names no test"
        assert not set(named) - there, f"{requirement} names tests that do not exist: {set(named) - there}"
