"""The page: parsed as a browser does, and opened by one where there is one."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from map4_pipeline.reports.html import LIMITS, script_json, write_html
from map4_pipeline.reports.text import NOTHING
from map4_pipeline_tests.reports.factory import NASTY, nasty_snapshot, snapshot, track

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip

#: On how many lines the first word of an element stands.
LINES = """element => {
  const text = document.createTreeWalker(element, NodeFilter.SHOW_TEXT).nextNode(), range = document.createRange();
  range.setStart(text, 0);
  range.setEnd(text, text.data.search(/\\s|$/));
  return range.getClientRects().length;
}"""


class Page(HTMLParser):
    """The elements of a page, what its data scripts hold, its text, and the words one sees when pointing at a drawing."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: dict[str, str] = {}
        self.text = ""
        self.titles: list[str] = []
        self._open = ""
        self._in_title = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_title = tag == "title"
        self._open = (dict(attrs).get("id") or "script") if tag == "script" else "style" if tag == "style" else ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._open = ""
        self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.data[self._open] = self.data.get(self._open, "") + data
        elif self.tags and self.tags[-1][0] == "title" and self._in_title:
            self.titles.append(data)
        else:
            self.text += data


def test_the_page_is_self_contained(tmp_path: Path) -> None:
    page = Page(write_html(snapshot(size=60), tmp_path / "a.html").path)
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert "@import" not in page.data["style"]
    assert page.data["style"].count("url(") == page.data["style"].count('url("data:font/ttf;base64,')
    assert sum(tag == "script" for tag, _ in page.tags) == 4
    charts = set(json.loads(page.data["charts"]))
    assert charts >= {
        f"chart-{name}" for name in ("tempo", "wheel", "energy", "loudness", "years", "genres", "codecs", "additions", "radar",
                                     "group-1", "group-2", "ai-moods", "ai-tags")
    }  # fmt: skip
    # Every chart has its place, every line of the contents its section.
    places = {attributes.get("id") for _, attributes in page.tags}
    assert charts <= places
    assert {str(attributes["href"])[1:] for tag, attributes in page.tags if tag == "a"} <= places
    assert len(json.loads(page.data["tracks-data"])["rows"]) == 60


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    page = Page(write_html(nasty_snapshot(), tmp_path / "a.html").path)
    assert sum(tag == "script" for tag, _ in page.tags) == 4
    assert not {"b", "para", "font"} & {tag for tag, _ in page.tags[page.tags.index(("main", {})) :]}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    titles = [row[0] for row in json.loads(page.data["tracks-data"])["rows"]]
    assert "</script><script>alert(2)</script>" in titles
    assert len(titles) == len(NASTY)
    assert "\x00" not in page.text


def test_json_cannot_leave_its_script() -> None:
    for text in NASTY:
        encoded = script_json({text: text})
        assert not set("<>&\u2028\u2029") & set(encoded)
        assert encoded.isascii()
        assert json.loads(encoded) == {text: text}


def test_an_empty_library_says_so(tmp_path: Path) -> None:
    page = Page(write_html(snapshot([]), tmp_path / "a.html").path)
    assert json.loads(page.data["charts"]) == {}
    assert page.text.count("Nothing measured") == 12
    assert "The library holds no tracks." in page.text


def test_a_large_library_is_cut_and_says_so(tmp_path: Path) -> None:
    row = track(0)
    page = Page(write_html(snapshot([row] * (LIMITS.tracks + 10)), tmp_path / "a.html").path)
    assert len(json.loads(page.data["tracks-data"])["rows"]) == LIMITS.tracks
    assert "The first 5000 of 5010" in page.text


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_shows_it_without_network_or_errors(tmp_path: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    reports = {name: write_html(made, tmp_path / f"{name}.html").path for name, made in (
        ("plain", snapshot(size=120)), ("hostile", nasty_snapshot()), ("empty", snapshot([])))}  # fmt: skip
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, path in reports.items():
            page = browser.new_page()
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
            page.on(
                "request", lambda request: request.url.startswith(("file:", "data:", "blob:")) or complaints.append(request.url)
            )
            page.goto(path.as_uri(), timeout=120_000)
            if name == "plain":
                assert page.locator(".chart svg.main-svg").count() >= 9
                page.fill("#filter-text", "velvet")
                assert 0 < page.locator("#tracks-table tbody tr").count() < 100
                page.fill("#filter-text", "")
                page.click("#tracks-table th:nth-child(5) button")
                tempi = [
                    float(cell) for cell in page.locator("#tracks-table td:nth-child(5)").all_inner_texts() if cell != NOTHING
                ]
                assert tempi == sorted(tempi)
                assert len(tempi) > 50
                page.emulate_media(color_scheme="dark")
            # On a telephone nothing is wider than the screen, once Plotly has drawn anew.
            page.set_viewport_size({"width": 390, "height": 800})
            expect(page.locator("html")).to_have_js_property("scrollWidth", 390, timeout=120_000)
            if name == "plain":
                # Words are whole and names of the radar are not cut; paths have room.
                assert max(page.locator("#ledger td:first-child").evaluate_all(f"cells => cells.map({LINES})")) == 1
                assert min(page.locator("#failures td:first-child").evaluate_all("cells => cells.map(c => c.offsetWidth)")) >= 200
                assert page.locator("#chart-radar .angularaxistick text").evaluate_all(
                    "all => all.every(one => one.getBoundingClientRect().left >= 0 && one.getBoundingClientRect().right <= 390)"
                )
            page.close()
        browser.close()
    assert not complaints
