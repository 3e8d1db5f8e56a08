"""Reports of one track and one playlist, as other programs read them."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from map4_pipeline.hamms.comparison import compare_tracks
from map4_pipeline.hamms.mixing import MixTrack
from map4_pipeline.reports import sheets
from map4_pipeline.reports.heatmap import write_heatmap
from map4_pipeline.reports.html_sheet import MAX_DRAWN, write_playlist_html, write_track_html
from map4_pipeline.reports.pdf_sheet import write_playlist_pdf, write_track_pdf
from map4_pipeline.reports.sheets import Match, PlaylistSheet, Step, TrackSheet
from map4_pipeline.reports.statistics import HAMMS_NAMES

from .factory import NASTY, NOW
from .test_html import FLAGS, LINES, Page

REASON = "A long overlay works: 8A to 9A, a step up the ring; 128.0 to 126.0 BPM, the second by +1.6%."


def row(index: int = 1, **changes: Any) -> dict[str, Any]:
    """Return a track with the names of `store.details.track_detail`."""
    values: dict[str, Any] = {
        "id": index, "path": f"/music/{index}.flac", "status": "ok", "missing_since": None, "title": f"Signal {index}",
        "artist": "Velvet Harbour", "album": "Tide", "year": 2019, "genre": "House", "duration": 200.0, "bpm": 128.02,
        "bpm_confidence": 0.81, "bpm_alternatives": [{"value": 64.01, "probability": 0.14}], "key": "A minor", "camelot": "8A",
        "key_confidence": 0.66, "key_alternatives": [{"value": "C major", "probability": 0.22}], "energy": 0.71,
        "loudness_lufs": -8.4, "true_peak_dbtp": 0.3, "hamms": {name: 0.1 + 0.07 * n for n, name in enumerate(HAMMS_NAMES)},
        "codec": "flac", "sample_rate": 44_100, "channels": 2, "bit_rate": 900_000, "bit_depth": 16, "file_size": 22_500_000,
        "tags_bpm": 85.0, "tags_key": "Am", "findings": [{"code": "clipping", "message": "214 samples in a row at full scale."}],
        "null_reasons": {}, "corrections": {}, "ai_analysis": None, "analysis_version": "4", "analyzed_at": "2026-11-22T14:05:00",
    }  # fmt: skip
    return values | changes


ANALYSIS = {
    "waveform": [40, 90, 200, 255] * 100,
    "sections": [
        {"start": 0.0, "end": 60.0, "label": "A"}, {"start": 60.0, "end": 140.0, "label": "B"},
        {"start": 140.0, "end": 200.0, "label": "A"},
    ],
    "key_spans": [{"start": 0.0, "end": 120.0, "key": "A minor"}, {"start": 120.0, "end": 200.0, "key": "B minor"}],
    "tempo_curve": [[0, 128.0], [90, 130.0], [180, 131.5]],
    "null_reasons": {"beats_per_bar": "the bar cannot be told"},
}  # fmt: skip


def track_sheet(**changes: Any) -> TrackSheet:
    """Return the sheet of a track with ten matches."""
    matches = [
        Match(
            row=row(n + 2, title=f"Mirrors {n}"), step=Step(score=0.9 - n / 20, label="blend", reason=REASON),
            percentile=99.97 - n, shares={"key": 0.5, "energy": 0.3, "valence": 0.01},
        )
        for n in range(10)
    ]  # fmt: skip
    values: dict[str, Any] = {
        "generated_at": NOW, "row": row(), "analysis": ANALYSIS, "matches": matches, "usual": dict.fromkeys(HAMMS_NAMES, 0.5)
    }  # fmt: skip
    return TrackSheet(**(values | changes))


def playlist_sheet(size: int, **changes: Any) -> PlaylistSheet:
    """Return the sheet of a playlist of so many tracks."""
    rows = [row(n + 1, energy=None if n == 3 else 0.3 + 0.4 * (n % 7) / 7, bpm=120.0 + n % 9) for n in range(size)]
    steps = [Step(score=0.5 + (n % 5) / 10, label="blend" if n % 3 else "avoid", reason=REASON) for n in range(max(size - 1, 0))]
    values: dict[str, Any] = {
        "generated_at": NOW, "name": "Friday", "description": "Opening hour.", "kind": "set", "tracks": rows, "steps": steps,
        "targets": [0.5] * size, "cost": {"proven": True},
    }  # fmt: skip
    return PlaylistSheet(**(values | changes))


def read(path: Path) -> str:
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in PdfReader(path).pages))


def test_a_track_says_what_is_known_of_it(tmp_path: Path) -> None:
    paper = read(write_track_pdf(track_sheet(), tmp_path / "a.pdf").path)
    page = Page(write_track_html(track_sheet(), tmp_path / "a.html").path)
    for said in (paper, re.sub(r"\s+", " ", page.text)):
        for words in (
            "Track report", "Signal 1", "Velvet Harbour", "128.02 BPM", "81%", "64.01 BPM", "14%", "A minor (8A)", "66%",
            "C major (8B)", "22%", "Harmonic complexity", "Mirrors 0", "Mirrors 9", REASON, "99.9",
            "key 50%, energy 30%", "85 BPM (disagrees)",
            "214 samples in a row", "the bar cannot be told", "128.0 and 131.5 BPM", "/music/1.flac",
        ):  # fmt: skip
            assert words in said, words
        assert "Am (disagrees)" not in said
        assert "valence 1%" not in said
    # The form is drawn: two letters, three sections, two keys, each with what it is.
    assert [words for words in page.titles if words.startswith(("Section", "A minor", "B minor"))] == [
        "Section A: 0:00 to 1:00", "Section B: 1:00 to 2:20", "Section A: 2:20 to 3:20", "A minor: 0:00 to 2:00",
        "B minor: 2:00 to 3:20",
    ]  # fmt: skip


def test_a_track_of_which_nothing_is_known_says_so(tmp_path: Path) -> None:
    unknown = (
        "title artist album year genre bpm bpm_confidence key camelot key_confidence energy loudness_lufs duration hamms tags_bpm"
    )
    nothing = dict.fromkeys(unknown.split())
    bare = track_sheet(row=row(bpm_alternatives=[], key_alternatives=None, findings=None) | nothing, analysis={}, matches=())
    paper = read(write_track_pdf(bare, tmp_path / "a.pdf").path)
    page = Page(write_track_html(bare, tmp_path / "a.html").path).text
    for said in (paper, page):
        assert said.count("Nothing measured") == 3
        assert "No other track can be compared" in said
        assert "1.flac" in said
        assert "None" not in said


def test_a_playlist_shows_its_order_and_its_transitions(tmp_path: Path) -> None:
    made = playlist_sheet(12)
    paper = read(write_playlist_pdf(made, tmp_path / "a.pdf").path)
    page = Page(write_playlist_html(made, tmp_path / "a.html").path)
    for said in (paper, re.sub(r"\s+", " ", page.text)):
        for words in ("Playlist report", "Friday", "Opening hour. Built as a set. Proven to be the best", "40:00", "0.50",
                      "Blend 7, Avoid 4", "Signal 12", "36:40", REASON):  # fmt: skip
            assert words in said, words
    assert sum(words.startswith("Velvet Harbour") and "into" in words for words in page.titles) == 11
    # A track without energy has no point, and the others keep their places.
    assert len([words for words in page.titles if re.fullmatch(r"\d+\. Velvet Harbour . Signal \d+: 0\.\d\d", words)]) == 11


def test_a_playlist_of_one_or_of_none(tmp_path: Path) -> None:
    for size, words in ((0, "no tracks yet"), (1, "Signal 1")):
        assert words in read(write_playlist_pdf(playlist_sheet(size), tmp_path / "a.pdf").path)
        assert words in Page(write_playlist_html(playlist_sheet(size), tmp_path / "a.html").path).text


def test_a_long_playlist_is_drawn_in_part_and_listed_whole(tmp_path: Path) -> None:
    page = Page(write_playlist_html(playlist_sheet(MAX_DRAWN + 5), tmp_path / "a.html").path)
    assert f"The first {MAX_DRAWN} tracks are drawn." in page.text
    assert f"Signal {MAX_DRAWN + 5}" in page.text


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    for number, text in enumerate(NASTY):
        evil = row(
            title=text, artist=text, genre=text, tags_key=text, codec=text, path=f"/music/{text}", null_reasons={text: text},
            findings=[{"code": text, "message": text}], ai_analysis={"description": text, "moods": [text]},
        )  # fmt: skip
        step = Step(score=0.5, label="blend", reason=text)
        match = Match(row=evil, step=step, percentile=None, shares={text: 0.5})
        analysis = ANALYSIS | {
            "sections": [{"start": 0, "end": 200, "label": text}],
            "key_spans": [{"start": 0, "end": 200, "key": text}],
        }
        of_track = track_sheet(row=evil, matches=[match], analysis=analysis)
        of_list = playlist_sheet(2, tracks=[evil, evil], steps=[step], targets=(), name=text, description=text)
        pages = [write_track_html(of_track, tmp_path / "t.html").path, write_playlist_html(of_list, tmp_path / "p.html").path]
        for path in pages:
            page = Page(path)
            assert sum(tag == "script" for tag, _ in page.tags) == 1
            assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
            assert not {"para", "font"} & {tag for tag, _ in page.tags}
        if number % 4 == 0:
            assert len(PdfReader(write_track_pdf(of_track, tmp_path / "t.pdf").path).pages) < 6
            assert len(PdfReader(write_playlist_pdf(of_list, tmp_path / "p.pdf").path).pages) < 4


def test_the_pages_are_small_and_self_contained(tmp_path: Path) -> None:
    for file in (
        write_track_html(track_sheet(), tmp_path / "t.html"),
        write_playlist_html(playlist_sheet(30), tmp_path / "p.html"),
    ):
        assert file.size_bytes < 200_000
        for tag, attributes in Page(file.path).tags:
            for name in ("src", "href", "srcset", "action"):
                assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)


def test_starts_are_unknown_behind_a_track_of_unknown_length() -> None:
    made = playlist_sheet(3, tracks=[row(1, duration=60.0), row(2, duration=None), row(3)])
    assert sheets.starts(made) == [0.0, 60.0, None]


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_shows_and_sorts_them_without_network_or_errors(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    made = playlist_sheet(30)
    paths = [
        write_track_html(track_sheet(row=row(title="Counterclockwise and the Northern Lights")), tmp_path / "t.html").path,
        write_playlist_html(made, tmp_path / "p.html").path,
    ]
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for path in paths:
            page = browser.new_page()
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or complaints.append(asked.url))
            page.goto(path.as_uri(), timeout=120_000)
            assert page.locator("svg.drawing").count() == 2
            head = page.locator("th", has_text="BPM")
            head.locator("button").click()
            assert head.get_attribute("aria-sort") == "ascending"
            place = head.evaluate("cell => cell.cellIndex + 1")
            tempi = json.loads(page.evaluate(
                "n => JSON.stringify([...document.querySelectorAll(`table.sortable:last-of-type tbody tr td:nth-child(${n})`)]"
                ".map(cell => parseFloat(cell.textContent)).filter(value => value > 60))", place))  # fmt: skip
            assert len(tempi) >= 10
            assert tempi == sorted(tempi)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            # On a telephone nothing is wider than the screen, a heading keeps its words, sentences have the table's width.
            page.set_viewport_size({"width": 390, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            assert page.locator("h1").evaluate(LINES) == 1
            words = page.locator("table.steps td.words").nth(1).bounding_box()
            assert words is not None
            assert words["width"] > 280
            page.close()
        heat = browser.new_page(viewport={"width": 390, "height": 800})
        mixed = [MixTrack(n, bpm=120.0 + n, camelot="8A", energy=0.5) for n in range(3)]
        write_heatmap(tmp_path / "c.html", ["Velvet Harbour - Nocturne"] * 3, mixed, compare_tracks(mixed, [{}] * 3), "strict")
        heat.goto((tmp_path / "c.html").as_uri(), timeout=120_000)
        assert heat.evaluate("document.documentElement.scrollWidth") == 390
        browser.close()
    assert not complaints
