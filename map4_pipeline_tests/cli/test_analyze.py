"""`map4 analyze`: one line a file, whatever the file."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from map4_pipeline.audio import FEATURES_VERSION
from map4_pipeline.audio.frame_files import FrameNames
from map4_pipeline.cli import analyze, records
from map4_pipeline.hamms import DIMENSIONS
from map4_pipeline.library.keys import unescape_path
from map4_pipeline.settings import load_settings

from ..guest_engine import EngineShop
from . import workers
from .conftest import HOSTILE, Map4

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="not applicable: a file on its own has a process on Linux")

# The contract with whoever reads the output.
NAMES = (
    "path status error duration sample_rate channels bit_rate bpm bpm_confidence bpm_alternatives key camelot key_confidence "
    "key_alternatives energy loudness_lufs true_peak_dbtp hamms hamms_confidence fingerprint spectral_hash audio_hash "
    "analysis_version null_reasons error_kind"
).split()


def test_json_has_the_names_in_order(map4: Map4, sound: Path) -> None:
    done = map4("analyze", str(sound), "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    (record,) = map(json.loads, done.stdout.splitlines())
    assert list(record) == NAMES
    assert list(record["hamms"]) == list(DIMENSIONS)
    assert (record["path"], record["status"], record["error"]) == (str(sound), "ok", None)
    assert (record["sample_rate"], record["channels"]) == (22050, 1)
    assert record["duration"] == pytest.approx(4.0)
    assert record["fingerprint"]
    assert len(record["audio_hash"]) == len(record["spectral_hash"]) == 64
    for name, value in record.items():
        if value is None and name not in ("error", "error_kind"):
            assert record["null_reasons"][name]


def test_a_library_prints_what_analyze_prints() -> None:
    assert list(records.track_names()[: len(NAMES)]) == NAMES


def test_hostile_names_come_through_every_format(
    map4: Map4, sound: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    names = [b"a\x1b[2J.wav", b"b\nc.wav", b"c\xff\xfe.wav", "d\u202egnp.wav".encode(), b"=e[red].wav", b"-f.wav"]
    for name in names:
        shutil.copyfile(os.fsencode(sound), os.path.join(os.fsencode(tmp_path), name))
    expected = sorted(os.path.join(os.fsencode(tmp_path), name) for name in names)
    done = map4("analyze", str(tmp_path), "--json")
    assert done.returncode == 0
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [unescape_path(record["path"]) for record in found] == expected
    shown = {"json": done.stdout}
    for output in ("table", "csv"):
        writer = analyze.record_writer(output)
        for record in found:
            writer(record)
        sys.stdout.flush()
        shown[output] = capsysbinary.readouterr().out.decode()
        assert len(shown[output].splitlines()) == 1 + len(names)
    for text in shown.values():
        assert not {"\x1b", "\x9b", "\u202e"} & set(text)
    header = next(csv.reader(io.StringIO(shown["csv"])))
    assert header[header.index("hamms_bpm") :][:12] == [f"hamms_{name}" for name in DIMENSIONS]


def test_csv_cells_are_no_formulas(map4: Map4, sound: Path, tmp_path: Path) -> None:
    for name in ("=1+1.wav", "-1.wav", "@x.wav"):
        shutil.copyfile(sound, tmp_path / name)
    command = [sys.executable, "-c", "from map4_pipeline.cli.main import run; run()", "analyze", "--format", "csv", "--"]
    done = subprocess.run(
        [*command, "=1+1.wav", "-1.wav", "@x.wav"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["path"] for row in rows] == ["'=1+1.wav", "'-1.wav", "'@x.wav"]
    # A negative number is a number.
    assert float(rows[0]["loudness_lufs"]) < 0


def test_a_bad_file_has_its_line_and_the_others_theirs(map4: Map4, sound: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp3"
    empty.touch()
    done = map4("analyze", str(tmp_path / "none.mp3"), str(sound), str(empty), "--json")
    assert done.returncode == 1
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(record["status"], record["error_kind"]) for record in found] == [
        ("failed", "unreadable"),
        ("ok", None),
        ("failed", "empty"),
    ]
    assert found[0]["error"].endswith(".")
    assert list(found[0]) == NAMES
    assert list(found[0]["hamms"]) == list(DIMENSIONS)


def test_nothing_to_analyse_is_said(map4: Map4, tmp_path: Path) -> None:
    done = map4("analyze", str(tmp_path), "--json")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no audio" in done.stderr


@on_linux
@pytest.mark.parametrize(("name", "kind"), [(b"crash", "crashed"), (b"hang", "timeout"), (b"good", None)])
def test_a_single_file_that_crashes_or_hangs_is_a_failed_file(
    name: bytes, kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "analyse_path", workers.moody)
    # What is not to hang may take as long as a loaded machine needs for a new process.
    limits = load_settings(file_timeout_seconds=1 if name == b"hang" else 60)
    (record,) = analyze.analyse_all(iter([(name, None)]), limits, 2)
    assert record["error_kind"] == kind


def test_in_a_pool_a_crash_or_hang_costs_one_file_and_the_order_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "analyse_path", workers.moody)
    names = [b"slow", b"crash", b"a", b"hang", b"b"]
    files = [(name, None) for name in names] + [(b"closed", "The folder cannot be listed.")]
    found = list(analyze.analyse_all(iter(files), load_settings(file_timeout_seconds=3), 2))
    assert [record["path"] for record in found] == ["slow", "crash", "a", "hang", "b", "closed"]
    assert [record["error_kind"] for record in found] == [None, "crashed", None, "timeout", None, "unreadable"]


@pytest.mark.skipif(os.name == "nt", reason="not applicable: signals are for Unix")
def test_ctrl_c_ends_it_without_a_traceback(sound: Path, tmp_path: Path) -> None:
    # So many that it is not through before the signal comes, however late that is.
    for number in range(1000):
        os.link(sound, tmp_path / f"{number:03d}.wav")
    # A shell that runs the tests in the background has its children ignore the signal.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heed}; from map4_pipeline.cli.main import run; run()", "analyze", str(tmp_path), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 3
    assert errors.strip() == "Interrupted."


def test_a_hostile_error_message_does_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from map4_pipeline.cli.tables import FileLines

    FileLines().write(records.failed_record(b"x.mp3", "damaged", HOSTILE))
    shown = capsys.readouterr().out
    assert "[red]not markup[/] :smile:" in shown
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 1


def test_frames_go_into_a_folder_a_pair_of_files_for_each(map4: Map4, sound: Path, tmp_path: Path) -> None:
    music, frames = tmp_path / "music", tmp_path / "new" / "frames"
    for folder in ("a", "b"):
        (music / folder).mkdir(parents=True)
        shutil.copyfile(sound, music / folder / "beat.wav")
    (music / "b" / "empty.mp3").touch()
    before = {path: path.read_bytes() for path in music.rglob("*.*")}
    done = map4("analyze", str(music), "--json", "--frames", str(frames))
    assert done.returncode == 1
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["ok", "ok", "failed"]
    names = sorted(path.name for path in frames.iterdir())
    assert len(names) == 4
    assert {name.partition("~")[0].removesuffix(".jams").removesuffix(".parquet") for name in names} == {"beat.wav"}
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in frames.glob("*.jams")]
    origins = {document["file_metadata"]["identifiers"]["path"] for document in documents}
    assert origins == {str(music / "a" / "beat.wav"), str(music / "b" / "beat.wav")}
    (record, *_) = map(json.loads, done.stdout.splitlines())
    assert {document["file_metadata"]["identifiers"]["audio_hash"] for document in documents} == {record["audio_hash"]}
    assert {path: path.read_bytes() for path in music.rglob("*.*")} == before
    # A folder that is a file is wrong use.
    assert map4("analyze", str(sound), "--frames", str(sound)).returncode == 2


@pytest.mark.skipif(sys.platform != "linux", reason="not applicable: processes and signals as on Linux")
def test_one_that_is_told_to_end_says_so_and_leaves_nothing_behind(sound: Path, tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number:03}.wav").symlink_to(sound)
    program = "from map4_pipeline.cli.main import run; run()"
    files = sorted(map(str, tmp_path.iterdir()))
    command = [sys.executable, "-c", program, "analyze", "--json", *files]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGTERM)  # as `timeout` and service managers do: its workers hear it too
        _, said = process.communicate(timeout=120)
    assert (process.returncode, said.strip()) == (3, "Interrupted.")


def test_frames_that_cannot_be_written_end_it(map4: Map4, sound: Path, tmp_path: Path) -> None:
    for _ in range(2):  # also under the name that is left when the first is taken
        (tmp_path / f"{FrameNames(tmp_path).stem(os.fsencode(sound)).name}.parquet").mkdir()
    done = map4("analyze", str(sound), "--frames", str(tmp_path))
    assert done.returncode == 3
    assert "The frames cannot be written to" in done.stderr


def test_an_engine_that_the_settings_choose_measures(map4: Map4, sound: Path, engine_shop: EngineShop, tmp_path: Path) -> None:
    engine_shop.install()
    chosen = {"MAP4_ENGINE": "metronome", "PYTHONPATH": str(engine_shop.folder)}
    shutil.copyfile(sound, tmp_path / "refuse.wav")
    done = map4("analyze", str(sound), str(tmp_path / "refuse.wav"), "--json", **chosen)
    assert (done.returncode, done.stderr) == (1, "")
    good, bad = map(json.loads, done.stdout.splitlines())
    assert (good["bpm"], good["key"], good["camelot"]) == (77.7, "F# minor", "11A")
    assert (good["hamms"]["key"] is None, bad["bpm"]) == (False, None)
    assert good["analysis_version"] == bad["analysis_version"] == f"{FEATURES_VERSION}+metronome-1.0"
    assert bad["error_kind"] == "engine"
    assert bad["error"] == "The engine metronome 1.0 failed on this file in its stage tempo (ValueError: no such model file)."
    # One file alone goes another way, to the same values.
    (alone,) = map(json.loads, map4("analyze", str(sound), "--json", **chosen).stdout.splitlines())
    assert alone == good


@pytest.mark.parametrize("command", ["analyze", "ingest", "evaluate"])
def test_an_engine_that_is_not_installed_is_wrong_use(command: str, map4: Map4, sound: Path, engine_shop: EngineShop) -> None:
    engine_shop.install()
    target = str(sound.parent if command == "ingest" else sound)
    done = map4(command, target, MAP4_ENGINE="metronom", PYTHONPATH=str(engine_shop.folder))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "map4: There is no engine 'metronom' (MAP4_ENGINE). Installed: map4, metronome.\n"
