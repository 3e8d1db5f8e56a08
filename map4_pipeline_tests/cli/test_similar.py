"""`map4 similar` and `map4 compare` as their users have them."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, update

from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.hamms.vector import normalised_bpm, normalised_key
from map4_pipeline.store.schema import directories, tracks

from .conftest import HOSTILE, Invoke, Seeded

PARTS = {"key", "tempo", "energy", "loudness"}


@pytest.fixture
def mixable(seeded: Seeded, engine: Engine) -> Seeded:
    """The seeded library and three tracks beside it: one that goes with one.mp3, one that does not, one in between."""
    others = {
        "near.mp3": ("Near", 127.0, "E minor", "9A", 0.72),
        "far.mp3": ("Far <b>away</b>", 93.0, "Eb major", "5B", 0.2),
        "mid.mp3": ("Mid", 130.0, "G major", "9B", 0.6),
    }
    with engine.begin() as conn:
        place = conn.execute(select(directories.c.id.label("directory_id"), directories.c.library_id)).first()
        assert place is not None
        for name, (title, bpm, key, camelot, energy) in others.items():
            file = {"relative_path": f"album/{name}".encode(), "file_path": f"{seeded.root}/album/{name}", "file_name": name}
            vector = dict.fromkeys(DIMENSIONS, energy) | {"bpm": normalised_bpm(bpm), "key": normalised_key(key)}
            values = {"title": title, "artist": "Other", "bpm": bpm, "key": key, "camelot": camelot, "energy": energy}
            sure = {"bpm_confidence": 0.95, "key_confidence": 0.9, "loudness_lufs": -9.0, "status": "ok", "duration": 200.0}
            conn.execute(insert(tracks).values(**place._asdict(), **file, **values, **sure, hamms_vector=vector))
            (seeded.root / "album" / name).touch()
        vector = dict.fromkeys(DIMENSIONS, 0.7) | {"bpm": normalised_bpm(128.04), "key": normalised_key("A minor")}
        conn.execute(update(tracks).where(tracks.c.file_name == "one.mp3").values(hamms_vector=vector))
    return seeded


def test_similar_as_a_table_and_as_json(mixable: Seeded, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    shown = invoke("similar", "artist:anna", "-n", "5")
    assert shown.exit_code == 0, shown.stderr
    assert "Most like Anna - A Title" in shown.stdout
    assert shown.stdout.index("Near") < shown.stdout.index("Far")
    near_line = next(line for line in shown.stdout.splitlines() if "Near" in line)
    assert " 127.0  9A " in near_line
    assert "blend" in near_line
    printed = invoke("similar", "artist:anna", "--json")
    records = [json.loads(line) for line in printed.stdout.splitlines()]
    assert [record["title"] for record in records if record["artist"] == "Other"] == ["Near", "Mid", "Far <b>away</b>"]
    near = next(record for record in records if record["title"] == "Near")
    assert 0 < near["similarity"] < 1
    assert 0 <= near["percentile"] <= 100
    assert set(near["transition"]["parts"]) == PARTS
    assert near["transition"]["label"] == "blend"
    assert set(near["contributions"]) == set(DIMENSIONS)


def test_similar_with_filters_and_mix(mixable: Seeded, invoke: Invoke) -> None:
    printed = invoke("similar", str(mixable.root / "album" / "one.mp3"), "bpm<100", "--json")
    assert [json.loads(line)["title"] for line in printed.stdout.splitlines()] == ["Far <b>away</b>"]
    mixed = invoke("similar", "artist:anna", "artist:other", "--mix", "--json")
    assert [json.loads(line)["title"] for line in mixed.stdout.splitlines()] == ["Near", "Mid", "Far <b>away</b>"]
    nothing = invoke("similar", "artist:anna", "bpm>240")
    assert nothing.exit_code == 0
    assert "No other track fits." in nothing.stdout


def test_hostile_titles_do_not_act(mixable: Seeded, invoke: Invoke) -> None:
    for shown in (invoke("similar", "artist:anna"), invoke("compare", "1", "2", "title:near")):
        assert shown.exit_code == 0, shown.stderr
        assert "\\x1b" in shown.stdout
        assert HOSTILE not in shown.stdout
        assert "\x1b]0" not in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("similar", "artist:other"), "means several tracks"),
        (("similar", "unheard of"), "There is no track 'unheard of'"),
        (("similar", "3"), "no HAMMS vector"),
        (("similar", "1", "bmp:120"), "There is no field 'bmp'"),
        (("similar", "1", "--pitch-range", "40"), "pitch range"),
        (("compare", "1"), "two tracks or more"),
        (("compare", "1", "1"), "is there twice"),
        (("compare", "1", "artist:other"), "means several tracks"),
    ],
)
def test_wrong_use_is_told(mixable: Seeded, invoke: Invoke, arguments: tuple[str, ...], said: str) -> None:
    shown = invoke(*arguments)
    assert shown.exit_code == 2
    assert said in shown.stderr


def test_compare_as_a_table(mixable: Seeded, invoke: Invoke) -> None:
    shown = invoke("compare", "title:far", "artist:anna", "title:near", "title:mid", "--policy", "extended")
    assert shown.exit_code == 0, shown.stderr
    assert "extended keys, pitch range 6%, with key lock" in shown.stdout
    assert "The best order" in shown.stdout
    order = shown.stdout.partition("The best order")[2]
    assert order.index("Near") > -1
    assert "avoid" in order or "harmonic mix" in order or "tempo match" in order


def test_compare_as_json_and_page(mixable: Seeded, invoke: Invoke, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "order.html"
    printed = invoke("compare", "title:far", "artist:anna", "title:near", "title:mid", "--json", "--html", str(page))
    assert printed.exit_code == 0, printed.stderr
    found = json.loads(printed.stdout)
    assert len(found["tracks"]) == 4
    assert sorted(found["order"]) == sorted(track["id"] for track in found["tracks"])
    assert found["exact"] is True
    assert [len(row) for row in found["scores"]] == [4] * 4
    assert found["similarities"][0][0] == 1.0
    assert found["percentiles"][1][2] == found["percentiles"][2][1]
    total = sum(step["score"] for step in found["transitions"])
    assert total == pytest.approx(found["total"], abs=1e-4)
    assert [step["from"] for step in found["transitions"]] == found["order"][:-1]
    text = page.read_text(encoding="utf-8")
    assert "Far &lt;b&gt;away&lt;/b&gt;" in text
    assert "<b>away" not in text
    assert "src=" not in text.partition("<body>")[0]
    assert "https://cdn" not in text.split("Plotly.newPlot")[-1]
    assert "Plotly.newPlot" in text


def test_without_key_lock_scores_change(mixable: Seeded, invoke: Invoke) -> None:
    def score(*options: str) -> float:
        printed = invoke("compare", "artist:anna", "title:near", "--json", *options)
        return float(json.loads(printed.stdout)["scores"][0][1])

    assert score("--no-key-lock") < score("--key-lock") == score()
    assert score("--pitch-range", "0.5") < score()
