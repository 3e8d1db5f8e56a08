"""The README is true where a program can tell."""

import re
from pathlib import Path

from map4_pipeline.settings import settings_table

ROOT = Path(__file__).resolve().parents[1]


def test_the_readme_shows_every_setting_as_it_is() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.split("<!-- settings -->")[1].split("<!-- /settings -->")[0].strip()
    assert shown == settings_table(), "run `python -m map4_pipeline.settings` and put the table into the README"


def test_links_and_pictures_of_all_pages_exist() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
