"""A folder as hostile as folders get: every file has a fate and a reason, the good ones are analysed, nothing crashes."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sqlalchemy import Engine

from map4_pipeline.settings import Settings
from map4_pipeline.store.checks import ledger_states, vector_problems

from ..ingest.music import music_bytes, write_music
from .program import Program, last_ledger, rows, value

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not applicable: names, links and pipes as on Unix")


def write(root: bytes, name: bytes, data: bytes = b"") -> None:
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def make_nasty(folder: Path, outside: Path) -> tuple[set[bytes], dict[bytes, str], set[bytes]]:
    """Make the folder; return (good files, {skipped file: reason}, bad files)."""
    root = os.fsencode(folder)
    good = {
        b"good/fine.wav",
        b"good/fine.mp3",
        b"good/wrong extension.mp3",  # a FLAC file
        b"good/bad utf-8 \xff\xfe.wav",
        b"good/new\nline.wav",
        b"good/\x1b[31mred.wav",
        b"good/truncated.wav",
        b"good/copy of fine.wav",
        b"folder.mp3/inside.wav",
        b"nan.wav",
        b"id3.mp3",
    }
    write_music(folder / "good/fine.wav", 1)
    write_music(folder / "good/fine.mp3", 2)
    write(root, b"good/wrong extension.mp3", music_bytes("flac", 3))
    write_music(root + b"/good/bad utf-8 \xff\xfe.wav", 4)
    write_music(root + b"/good/new\nline.wav", 5)
    write_music(root + b"/good/\x1b[31mred.wav", 6)
    write(root, b"good/truncated.wav", music_bytes("wav", 7, 3.0)[:-60000])
    shutil.copy(folder / "good/fine.wav", folder / "good/copy of fine.wav")
    write_music(root + b"/folder.mp3/inside.wav", 8)
    samples = np.random.default_rng(9).normal(0, 0.1, (2 * 22050, 1)).astype(np.float32)
    samples[500:600] = np.nan
    soundfile.write(folder / "nan.wav", samples, 22050, subtype="FLOAT")
    import mutagen.id3

    write_music(folder / "id3.mp3", 10)
    tags = mutagen.id3.ID3()
    tags.add(mutagen.id3.TIT2(encoding=3, text=["\x1b[2J\x1b]0;owned\x07Title\0two"]))
    tags.add(mutagen.id3.TPE1(encoding=3, text=["<script>alert(1)</script> =cmd|' /C calc'!A0 [bold]"]))
    tags.add(mutagen.id3.COMM(encoding=3, lang="eng", desc="", text=["x" * 100_000]))
    tags.save(folder / "id3.mp3")

    bad = {b"bad/empty.mp3", b"bad/text.mp3", b"bad/header only.flac", b"bad/zeros.mp3", b"bad/picture.mp3", b"bad/playlist.mp3"}
    write(root, b"bad/empty.mp3")
    write(root, b"bad/text.mp3", b"Dear diary, this is no music. " * 100)
    write(root, b"bad/header only.flac", music_bytes("flac", 11)[:42])
    write(root, b"bad/zeros.mp3", bytes(50_000))
    write(root, b"bad/picture.mp3", b"\x89PNG\r\n\x1a\n" + bytes(1000))
    write(root, b"bad/playlist.mp3", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n")

    skipped = {
        b"short.wav": "too_short",
        b"cover.jpg": "not_audio",
        b".hidden.mp3": "hidden",
        b".git/inside.mp3": "hidden",
        b"download.mp3.part": "partial_download",
        b"pipe.mp3": "not_regular",
        b"dangling.mp3": "link_broken",
        b"loop.mp3": "link_broken",
        b"link inside.mp3": "link_inside",
        b"link outside.mp3": "link_outside",
        b"good/up": "link_inside",
    }
    write_music(folder / "short.wav", 12, 0.1)
    for name in (b"cover.jpg", b".hidden.mp3", b".git/inside.mp3", b"download.mp3.part"):
        write(root, name, b"data")
    os.mkfifo(folder / "pipe.mp3")
    (folder / "dangling.mp3").symlink_to("nowhere.mp3")
    (folder / "loop.mp3").symlink_to("loop.mp3")
    (folder / "link inside.mp3").symlink_to("good/fine.mp3")
    (folder / "good/up").symlink_to(folder)
    write_music(outside, 13)
    (folder / "link outside.mp3").symlink_to(outside)
    return good, skipped, bad


@pytest.mark.slow
def test_a_hostile_folder_is_accounted_for_to_the_last_file(
    home: Path, database: str, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "Nasty"
    good, skipped, bad = make_nasty(folder, tmp_path / "outside.mp3")
    program = Program(home, database)
    told = program.run("ingest", folder)
    assert told.code == 1, told.all
    assert "Traceback" not in told.all
    assert "\x1b" not in told.all
    assert "map4 search is:damaged" in told.all
    tracks = {bytes(row["relative_path"]): row for row in rows(engine, "SELECT * FROM tracks")}
    skips = {bytes(row["relative_path"]): row for row in rows(engine, "SELECT * FROM skipped_files")}
    assert {path for path, row in tracks.items() if row["status"] == "ok"} == good
    assert {path for path, row in tracks.items() if row["status"] == "failed"} == bad
    assert {path: row["reason"] for path, row in skips.items()} == skipped
    for path in bad:
        assert tracks[path]["error_kind"] in ("empty", "not_audio", "no_audio", "damaged", "unsupported"), path
        assert tracks[path]["error_message"].endswith("."), path
        assert tracks[path]["bpm"] is None
    assert all(row["detail"] for row in skips.values())
    ledger = last_ledger(engine)
    assert ledger.reconciles
    assert ledger.seen == len(good) + len(bad) + len(skipped)
    assert (ledger.failed, ledger.skipped, ledger.reused) == (len(bad), len(skipped), 1)
    assert all(state.reconciles for state in ledger_states(engine))
    assert vector_problems(engine) == (len(good), 0, [])
    codes = {finding["code"] for finding in tracks[b"nan.wav"]["findings"]}
    assert "non_finite_samples" in codes
    assert all((settings.reports_dir / name).stat().st_size for name in ("library.pdf", "library.xlsx", "library.html"))
    # And once more: nothing is opened again.
    code, again = program.ingest_json(folder)
    assert code == 1
    assert (again["files"]["unchanged"], again["files"]["failed"]) == (len(good), len(bad))
    assert value(engine, "SELECT decodes FROM scans ORDER BY id DESC LIMIT 1") == 0
