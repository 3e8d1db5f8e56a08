"""Scores of tempo and key against labels: what counts as right, and which files of labels can be read."""

from dataclasses import replace
from pathlib import Path

import pytest

from map4_pipeline.audio.evaluation import (
    Answer,
    as_json,
    calibration,
    calibration_lines,
    calibrations,
    key_relation,
    measure,
    score,
    table,
    tempo_hit,
    wrong,
)
from map4_pipeline.audio.truth import ALL, Label, TruthError, read_truth


def label(bpm: float | None = 120.0, key: str | None = "A minor", of: str = ALL) -> Label:
    return Label("x.wav", Path("x.wav"), of, bpm, key)


@pytest.mark.parametrize(
    ("bpm", "tolerance", "any_level", "hit"),
    [
        (124.7, 0.04, False, True),
        (124.9, 0.04, False, False),
        (122.5, 0.02, False, False),
        (60.0, 0.04, False, False),
        *((bpm, 0.02, True, True) for bpm in (40.0, 60.5, 241.0, 359.0)),
        (180.0, 0.04, True, False),
        (None, 0.04, True, False),
    ],
)
def test_tempo_within_a_tolerance(bpm: float | None, tolerance: float, any_level: bool, hit: bool) -> None:
    assert tempo_hit(bpm, 120.0, tolerance, any_level) is hit


@pytest.mark.parametrize(
    ("key", "truth", "relation"),
    [
        ("A minor", "8A", "right"),
        ("E minor", "A minor", "fifth"),
        ("D minor", "A minor", "fifth"),
        ("C major", "A minor", "relative"),
        ("A minor", "C major", "relative"),
        ("A major", "A minor", "parallel"),
        ("Eb major", "A minor", "other"),
        ("E major", "A minor", "other"),
        (None, "A minor", "other"),
    ],
)
def test_how_keys_relate(key: str | None, truth: str, relation: str) -> None:
    assert key_relation(key, truth) == relation


def test_scores_by_set_and_of_all() -> None:
    pairs = [
        (label(of="house"), Answer(bpm=120.0, key="A minor")),
        (label(of="house"), Answer(bpm=60.1, key="C major")),
        (label(of="house", key=None), Answer(bpm=123.0, key="C major")),
        (label(of="folk", bpm=None), Answer(bpm=99.0, key="E minor")),
        (label(of="folk"), Answer(error="The file is empty.")),
    ]
    scores = score(pairs)
    assert list(scores) == ["folk", "house", ALL]
    house = scores["house"].as_dict()
    assert house["tempo"] == {
        "n": 3, "acc1_4": 66.67, "acc2_4": 100.0, "acc1_2": 33.33, "acc2_2": 66.67, "median_error": 0.1667,
    }  # fmt: skip
    assert (house["key"]["n"], house["key"]["right"], house["key"]["mirex"]) == (2, 50, 65)
    # A file that could not be analysed is wrong, not left out.
    assert scores["folk"].as_dict()["tempo"]["acc2_4"] == 0
    assert scores["folk"].as_dict()["key"]["mirex"] == 25
    assert scores[ALL].tempi == scores[ALL].keys == 4
    lines = table(scores).splitlines()
    assert [line.split()[0] for line in lines] == ["set", "folk", "house", "ALL"]
    assert len({len(line) for line in lines[1:]}) == 1
    found = as_json(pairs, [label()])
    assert found["missing"] == ["x.wav"]
    assert found["files"][4]["error"] == "The file is empty."
    assert found["calibration"] == {}


def test_labels_without_a_set_have_one_line() -> None:
    assert list(score([(label(), Answer(bpm=120.0))])) == [ALL]


def test_what_is_wrong_is_told_in_words() -> None:
    assert wrong(label(), Answer(bpm=118.0, key="A minor")) == []
    assert wrong(label(), Answer(bpm=240.0, key="C major")) == [
        "tempo 120, measured 240 (another metrical level)",
        "key A minor, measured C major (relative)",
    ]
    assert wrong(label(bpm=None), Answer(error="It is empty.")) == ["key A minor, measured none", "It is empty."]


def test_confidences_that_are_shares_are_calibrated_and_others_are_not() -> None:
    # Of those that say 0.9 nine in ten are right, of those that say 0.4 four in ten.
    honest = [(0.9, k % 10 != 0) for k in range(50)] + [(0.4, k % 10 < 4) for k in range(50)]
    boasting = [(1.0, is_right) for _, is_right in honest]
    good, bad = calibration(honest), calibration(boasting)
    assert (good.n, good.right) == (100, 0.65)
    assert good.brier == pytest.approx(0.5 * 0.09 + 0.5 * 0.24)
    assert good.gain == pytest.approx(1 - 0.165 / (0.65 * 0.35))
    assert good.auroc == pytest.approx((45 * 30 + 0.5 * (45 * 5 + 20 * 30)) / (65 * 35))
    assert good.error == pytest.approx(0)
    assert (bad.auroc, bad.error) == (0.5, pytest.approx(0.35))
    assert calibration([(0.5, True)] * 20).auroc is None
    pairs = [(label(), Answer(120.0, c, "A minor" if right else "D major", c)) for c, right in honest]
    found = calibrations(pairs)
    assert found["key"] == good
    assert found["bpm"].right == 1
    assert "AUROC -" in calibration_lines(found)[0]
    assert calibrations(pairs[:19]) == {}


def test_a_file_is_measured_and_a_bad_one_is_an_answer_too(song: Path, tmp_path: Path) -> None:
    answer = measure(song)
    assert wrong(label(120.0, "C major"), answer) == []
    assert answer.duration == pytest.approx(24)
    (tmp_path / "x.mp3").touch()
    assert measure(tmp_path / "x.mp3") == replace(Answer(), error="The file is empty (0 bytes).")


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "truth.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_labels_in_the_spellings_of_the_world(tmp_path: Path) -> None:
    text = "\ufeffTitle;Path;BPM;Key;Set\r\nx;a b.mp3;128,5;8A;house\r\n;c.mp3;;1d;\r\n;d.mp3; 90 ;\r\n\r\n;e.mp3;;;folk\r\n"
    found = read_truth(write(tmp_path, text))
    assert [(one.name, one.set, one.bpm, one.key) for one in found] == [
        ("a b.mp3", "house", 128.5, "A minor"),
        ("c.mp3", ALL, None, "C major"),
        ("d.mp3", ALL, 90.0, None),
    ]
    assert found[0].path == tmp_path / "a b.mp3"
    comma = 'path,true_bpm,true_key,bpm\n"/music/x, y.mp3",120,"F# minor",99\n'
    (one,) = read_truth(write(tmp_path, comma), tmp_path / "audio")
    # The truth comes before what another program measured; an absolute path stays.
    assert (one.path, one.bpm, one.key) == (Path("/music/x, y.mp3"), 120.0, "F# minor")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no line with a tempo or a key"),
        ("path,bpm\n", "has no line with a tempo or a key"),
        ("file,tempo\nx.mp3,120\n", "needs the columns path and bpm or key .* it has: file, tempo"),
        ("path,bpm\nx.mp3,fast\n", "line 2: 'fast' is no tempo"),
        ("path,bpm\nx.mp3,-1\n", "line 2: '-1' is no tempo"),
        ("path,bpm\nx.mp3,nan\n", "line 2: 'nan' is no tempo"),
        ("path,key\nx.mp3,Am\ny.mp3,H moll\n", "line 3: 'H moll' is no key"),
        ("path,key\n,Am\n", "line 2: the path is empty"),
        ('path,key\n"x.mp3,Am\n', "line 2: "),
        ("path,key\nK\xe4the.mp3,Am\n".encode("latin-1"), r"is not UTF-8 \(byte 10\)"),
        (b"path,key\nx\0,Am\n", "is no text"),
    ],
)
def test_a_file_of_labels_that_cannot_be_used_says_where_and_why(text: str | bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(TruthError, match=told) as caught:
        read_truth(write(tmp_path, text))
    assert str(tmp_path / "truth.csv") in str(caught.value)


def test_a_file_of_labels_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TruthError, match=r"cannot be read: No such file"):
        read_truth(tmp_path / "none.csv")
