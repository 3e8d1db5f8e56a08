"""The PDF as another program reads it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pypdf import PdfReader
from reportlab.pdfbase import pdfmetrics

from map4_pipeline.reports import fontstack, scripts
from map4_pipeline.reports.pdf import write_pdf
from map4_pipeline_tests.reports.factory import nasty_snapshot, snapshot, track

SECTIONS = ["The ledger", "The library at a glance", "Growth and formats", "Tempo", "Keys", "Energy and loudness",
            "Years and genres", "HAMMS profile", "Kinds of music", "Quality", "To review", "Duplicates", "Failures",
            "AI annotations", "Tracks", "Versions"]  # fmt: skip


def _read(path: Path) -> tuple[PdfReader, list[str]]:
    reader = PdfReader(path)
    return reader, [page.extract_text() for page in reader.pages]


def test_contents_outline_and_page_numbers(tmp_path: Path) -> None:
    library = snapshot(size=230)
    reader, pages = _read(write_pdf(library, tmp_path / "a.pdf").path)
    assert [entry["/Title"] for entry in reader.outline] == SECTIONS
    assert reader.metadata is not None
    assert reader.metadata.title == "Late-night crates"
    assert "Late-night crates" in pages[0]
    # Failed files and those that are gone are no tracks.
    assert f"{library.statistics.tracks}\ntracks" in pages[0]
    assert library.statistics.tracks < 230
    contents = pages[1].replace(" ", "").replace(".", "").splitlines()
    # Leaders and numbers are drawn apart from the titles, in the same order.
    printed = [int(line) for line in contents[contents.index("Contents") :] if line.isdigit()]
    numbers = dict(zip(SECTIONS, printed, strict=True))
    for title, entry in zip(SECTIONS, reader.outline, strict=True):
        number = reader.get_destination_page_number(entry)
        assert number is not None
        assert title in pages[number]
        # The number that is printed at the foot is the one that a viewer counts to.
        assert str(number + 1) in pages[number].splitlines()
        assert numbers[title] == number + 1
    assert "The first 200 of 230 tracks." in "".join(pages)
    assert {font for page in reader.pages for font in _fonts(page)} >= {"NotoSans-Regular", "NotoSans-Bold"}


def _fonts(page: object) -> set[str]:
    fonts = page["/Resources"].get("/Font", {})  # type: ignore[index]
    return {str(font.get_object()["/BaseFont"]).split("+")[-1] for font in fonts.values()}


def test_text_from_tags_is_text(tmp_path: Path) -> None:
    _, pages = _read(write_pdf(nasty_snapshot(), tmp_path / "a.pdf").path)
    everything = "\n".join(pages)
    assert "<script>alert(1)</script>" in everything
    assert "Simon & Garfunkel <b>bold</b>" in everything
    assert "Ελληνικά Кириллица Ñandú Łódź" in everything
    assert len(pages) < 25


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    _, pages = _read(write_pdf(snapshot([]), tmp_path / "a.pdf").path)
    everything = "\n".join(pages)
    assert everything.count("Nothing measured") == 8
    assert "No scan has been completed yet." in everything
    assert "The library holds no tracks." in everything
    assert "nan" not in everything.lower().split()
    assert "None" not in everything


def test_a_ledger_that_does_not_add_up_is_said(tmp_path: Path) -> None:
    wrong = snapshot([track(0)], ledger={"seen": 9, "analysed": 1})
    _, pages = _read(write_pdf(wrong, tmp_path / "a.pdf").path)
    assert "does not add up: 9 files were seen, 1 are accounted for" in "\n".join(pages)


def test_text_is_cut_to_its_room() -> None:
    fontstack.register()
    for value in ("x" * 3000, "漢字" * 500, "word " * 600, "עברית" * 400, "short", ""):
        cut = fontstack.fit(value, 120, 8)
        assert fontstack.width(cut, 8) <= 120
        assert cut == value or cut.endswith("…")


def test_characters_without_a_glyph_become_one_box() -> None:
    fontstack.register()
    assert fontstack.markup("a\U00013000\U00013001b") == 'a<font name="MAP4-Fallback">▯</font>b'
    assert fontstack.markup("<b>&") == "&lt;b&gt;&amp;"
    assert fontstack.markup("e\u0301") == "é"


@pytest.mark.parametrize(
    "title",
    ["夜に駆ける 漢字 汉字 봄날", "حبيبي يا نور العين", "ירושלים של זהב שָׁלוֹם", "Любимая Ωδή Đường Łódź", "तुम ही हो", "বাংলা",
     "தமிழ்", "తెలుగు", "เพลงรัก", "ქართული Հայերեն", "😀🎧🌅🐼👍🏽🏳️‍🌈"],
)  # fmt: skip
def test_titles_in_any_script_are_set(title: str) -> None:
    fontstack.register()
    drawn = fontstack.runs(title)
    assert scripts.BOX not in "".join(part for _, part in drawn)
    for font, part in drawn:
        # Glyph 0 is what a font draws for what it does not have.
        assert all(pdfmetrics.getFont(font).face.charToGlyph[ord(char)] for char in part)
    assert fontstack.width(title, 10) > 10


def test_what_is_written_from_right_to_left_is_set_so() -> None:
    fontstack.register()
    whole = "".join(part for _, part in fontstack.runs("עברית (Remix 2024) more"))
    assert whole == "more (Remix 2024) תירבע"
    assert "".join(part for _, part in fontstack.runs("Live: עברית 2019")) == "Live: 2019 תירבע"
    # Joined: the letters of a word have the shapes of their places, and a lam with an alef is one glyph.
    joined = "".join(part for _, part in fontstack.runs("سلام"))
    assert len(joined) == 3
    assert not set(joined) & set("سلا")
    # The joiner that Persian spelling needs keeps two letters of a word apart.
    persian = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    assert fontstack.runs(persian) != fontstack.runs(persian.replace("\u200c", ""))


def test_other_programs_read_the_titles(tmp_path: Path) -> None:
    titles = ["夜に駆ける", "ירושלים של זהב", "Sunset 🌅🎧", "तुम ही हो", "เพลงที่นี่"]
    rows = [track(index + 1, title=title, artist=title) for index, title in enumerate(titles)]
    path = write_pdf(snapshot(rows), tmp_path / "a.pdf").path
    if shutil.which("pdftotext") is None:
        pytest.skip("poppler is not installed")
    read = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, check=True, text=True).stdout
    read = re.sub("[\u202a-\u202e]", "", read)
    for title in titles:
        assert title in read
