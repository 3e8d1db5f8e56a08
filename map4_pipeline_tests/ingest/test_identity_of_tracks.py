"""From folders to rows with real files, workers and PostgreSQL: content decides, nothing is done twice, nothing is lost."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection

from map4_pipeline.library.model import Tags
from map4_pipeline.library.tag_writer import write_tags
from map4_pipeline.store import tracks as store
from map4_pipeline.store.libraries import forget_missing

from .music import Shelf, counts, music_bytes, write_music


def test_a_new_folder_is_analysed_once_and_then_left_alone(shelf: Shelf) -> None:
    shelf.add("a/1.wav", 1)
    shelf.add("a/2.flac", 2)
    shelf.add("b/3.wav", 3)
    (shelf.root / "a/cover.jpg").write_bytes(b"\xff\xd8\xff")
    first = shelf.visit()
    assert counts(first.ledger) == {"seen": 4, "analysed": 3, "skipped": 1}
    assert first.summary.effort.decodes == 3
    assert first.summary.effort.bytes_read == sum(
        (shelf.root / name).stat().st_size for name in ("a/1.wav", "a/2.flac", "b/3.wav")
    )
    before = shelf.tracks()
    assert {row["status"] for row in before.values()} == {"ok"}
    again = shelf.visit()
    assert counts(again.ledger) == {"seen": 4, "unchanged": 3, "skipped": 1}
    assert again.touched == []
    assert shelf.tracks() == before
    assert shelf.rows("SELECT decodes, bytes_read FROM scans ORDER BY id DESC LIMIT 1") == [{"decodes": 0, "bytes_read": 0}]


def test_what_is_measured_is_written_and_what_is_not_is_null_with_a_reason(shelf: Shelf) -> None:
    shelf.add("1.wav", 1, 4.0)
    shelf.visit()
    row = shelf.tracks()["1.wav"]
    assert row["duration"] == pytest.approx(4.0, abs=0.01)
    assert (row["sample_rate"], row["channels"], row["codec"]) == (22050, 1, "pcm_s16le")
    assert row["chromaprint_fp"]
    assert len(row["spectral_hash"]) == 64
    assert len(row["hamms_vector"]) == 12
    for name in ("bpm", "key", "energy", "loudness_lufs"):
        assert row[name] is not None or row["null_reasons"][name]
    for name, value in row["hamms_vector"].items():
        assert (value is None and row["null_reasons"][f"hamms.{name}"]) or 0.0 <= value <= 1.0
    assert row["features_version"]
    assert row["fingerprint_version"]
    assert row["analyzed_at"] is not None


def test_a_copy_in_the_same_run_shares_one_decode(shelf: Shelf) -> None:
    shelf.add("a/1.wav", 1)
    shelf.add("b/copy.wav", 1)
    shelf.add("c/another copy.wav", 1)
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 3, "analysed": 1, "reused": 2}
    assert visit.summary.effort.decodes == 1
    rows = shelf.tracks()
    assert len({row["audio_hash"] for row in rows.values()}) == 1
    assert len({row["id"] for row in rows.values()}) == 3
    assert {row["bpm"] for row in rows.values()} == {rows["a/1.wav"]["bpm"]}
    assert {row["chromaprint_fp"] for row in rows.values()} == {rows["a/1.wav"]["chromaprint_fp"]}
    assert shelf.value("SELECT count(*) FROM analyses") == 2


def test_a_copy_that_comes_later_is_a_row_of_its_own_without_a_decode(shelf: Shelf) -> None:
    shelf.add("a/1.wav", 1)
    shelf.visit()
    shutil.copy(shelf.root / "a/1.wav", shelf.root / "a/2.wav")
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 2, "unchanged": 1, "reused": 1}
    assert visit.summary.effort.decodes == 0
    rows = shelf.tracks()
    assert rows["a/1.wav"]["id"] != rows["a/2.wav"]["id"]
    assert rows["a/1.wav"]["hamms_vector"] == rows["a/2.wav"]["hamms_vector"]


def test_a_moved_file_is_the_same_track(shelf: Shelf) -> None:
    shelf.add("a/1.wav", 1)
    shelf.add("a/2.wav", 2)
    shelf.visit()
    before = shelf.tracks()
    (shelf.root / "z").mkdir()
    (shelf.root / "a/1.wav").rename(shelf.root / "z/one.wav")
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 2, "unchanged": 1, "reused": 1}
    assert visit.summary.effort.decodes == 0
    after = shelf.tracks()
    assert set(after) == {"z/one.wav", "a/2.wav"}
    assert after["z/one.wav"]["id"] == before["a/1.wav"]["id"]
    assert after["z/one.wav"]["bpm"] == before["a/1.wav"]["bpm"]
    assert after["z/one.wav"]["missing_since"] is None


def test_a_file_moved_to_a_folder_that_sorts_before_is_the_same_track(shelf: Shelf) -> None:
    shelf.add("m/1.wav", 1)
    shelf.add("m/2.wav", 2)
    shelf.visit()
    before = shelf.tracks()
    (shelf.root / "a").mkdir()
    (shelf.root / "m/1.wav").rename(shelf.root / "a/1.wav")
    shelf.visit()
    after = shelf.tracks()
    assert set(after) == {"a/1.wav", "m/2.wav"}
    assert after["a/1.wav"]["id"] == before["m/1.wav"]["id"]


def test_a_renamed_folder_keeps_its_tracks(shelf: Shelf) -> None:
    for number in range(3):
        shelf.add(f"old name/{number}.wav", number)
    shelf.visit()
    before = shelf.tracks()
    (shelf.root / "old name").rename(shelf.root / "a new name")
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 3, "reused": 3}
    assert visit.summary.effort.decodes == 0
    after = shelf.tracks()
    assert {name: row["id"] for name, row in after.items()} == {
        name.replace("old name", "a new name"): row["id"] for name, row in before.items()
    }
    vanished = shelf.rows("SELECT path_text FROM directories WHERE vanished_at IS NOT NULL")
    assert vanished == [{"path_text": "old name"}]
    assert counts(shelf.visit().ledger) == {"seen": 3, "unchanged": 3}


def test_a_moved_file_stays_the_same_track_when_its_analysis_is_out_of_date_too(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.add("a/1.wav", 1)
    shelf.visit()
    before = shelf.tracks()["a/1.wav"]
    new_versions(monkeypatch, features="next")
    (shelf.root / "a/1.wav").rename(shelf.root / "b.wav")
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 1, "analysed": 1}
    assert {name: row["id"] for name, row in shelf.tracks().items()} == {"b.wav": before["id"]}


def test_a_retagged_file_is_not_decoded_and_its_new_tags_are_there(shelf: Shelf) -> None:
    path = shelf.add("a/1.mp3", 1)
    shelf.visit()
    before = shelf.tracks()["a/1.mp3"]
    write_tags(path, Tags(title="Übermorgen 🎹", artist="Käthe", bpm=124), cover=b"\xff\xd8\xff\xd9")
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 1, "reused": 1}
    assert visit.summary.effort.decodes == 0
    after = shelf.tracks()["a/1.mp3"]
    assert (after["id"], after["audio_hash"], after["bpm"]) == (before["id"], before["audio_hash"], before["bpm"])
    assert after["file_hash"] != before["file_hash"]
    assert (after["title"], after["artist"], after["tags_bpm"]) == ("Übermorgen 🎹", "Käthe", 124)
    assert after["tags"]["has_cover"] is True


def test_other_audio_at_the_same_path_is_analysed_again(shelf: Shelf) -> None:
    shelf.add("1.wav", 1)
    shelf.visit()
    before = shelf.tracks()["1.wav"]
    shelf.add("1.wav", 2, 3.0)
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 1, "analysed": 1}
    after = shelf.tracks()["1.wav"]
    assert after["id"] == before["id"]
    assert after["audio_hash"] != before["audio_hash"]
    assert after["duration"] == pytest.approx(3.0, abs=0.01)
    assert after["hamms_vector"] is not None


def test_a_file_that_is_gone_is_missing_and_comes_back_without_a_decode(shelf: Shelf, tmp_path: Path) -> None:
    shelf.add("a/1.wav", 1)
    shelf.add("a/2.wav", 2)
    shelf.visit()
    before = shelf.tracks()["a/1.wav"]
    (shelf.root / "a/1.wav").rename(tmp_path / "away.wav")
    gone = shelf.visit()
    assert counts(gone.ledger) == {"seen": 1, "unchanged": 1, "missing": 1}
    row = shelf.tracks()["a/1.wav"]
    assert row["missing_since"] is not None
    assert row["bpm"] == before["bpm"]
    (tmp_path / "away.wav").rename(shelf.root / "a/1.wav")
    back = shelf.visit()
    assert back.ledger.seen == 2
    assert back.summary.effort.decodes == 0
    row = shelf.tracks()["a/1.wav"]
    assert (row["id"], row["missing_since"], row["status"]) == (before["id"], None, "ok")


def test_a_missing_file_that_turns_up_elsewhere_is_the_same_track(shelf: Shelf, tmp_path: Path) -> None:
    shelf.add("a/1.wav", 1)
    shelf.add("a/2.wav", 2)
    shelf.visit()
    before = shelf.tracks()["a/1.wav"]
    (shelf.root / "a/1.wav").rename(tmp_path / "away.wav")
    shelf.visit()
    (shelf.root / "b").mkdir()
    (tmp_path / "away.wav").rename(shelf.root / "b/renamed.wav")
    visit = shelf.visit()
    assert visit.summary.effort.decodes == 0
    assert shelf.tracks()["b/renamed.wav"]["id"] == before["id"]
    assert "a/1.wav" not in shelf.tracks()


def test_a_forgotten_track_that_comes_back_is_a_new_one_without_a_decode(shelf: Shelf, tmp_path: Path) -> None:
    shelf.add("a/1.wav", 1)
    shelf.add("a/2.wav", 2)
    shelf.visit()
    before = shelf.tracks()["a/1.wav"]
    (shelf.root / "a/1.wav").rename(tmp_path / "away.wav")
    shelf.visit()
    with shelf.engine.begin() as conn:
        assert forget_missing(conn, 1.0) == 0, "not missing for a day"
        assert forget_missing(conn, 0.0, shelf.library()) == 1
    (tmp_path / "away.wav").rename(shelf.root / "a/1.wav")
    back = shelf.visit()
    assert (counts(back.ledger), back.summary.effort.decodes) == ({"seen": 2, "reused": 1, "unchanged": 1}, 0)
    row = shelf.tracks()["a/1.wav"]
    assert row["id"] != before["id"]
    assert row["bpm"] == before["bpm"]


def test_a_file_whose_track_is_forgotten_while_it_is_being_found_again_waits_for_the_next_run(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.add("a/1.wav", 1)
    shelf.add("a/2.wav", 2)
    shelf.visit()
    (shelf.root / "a/1.wav").rename(tmp_path / "away.wav")
    shelf.visit()
    (tmp_path / "away.wav").rename(shelf.root / "a/renamed.wav")
    moving = store.move_track

    def forgotten_first(conn: Connection, moved_id: int, pending_id: int) -> int | None:
        assert forget_missing(conn, 0.0) == 1
        return moving(conn, moved_id, pending_id)

    monkeypatch.setattr(store, "move_track", forgotten_first)
    shelf.visit()
    assert shelf.tracks()["a/renamed.wav"]["status"] == "pending"
    monkeypatch.undo()
    shelf.visit()
    assert {name: row["status"] for name, row in shelf.tracks().items()} == {"a/2.wav": "ok", "a/renamed.wav": "ok"}


def test_a_file_replaced_by_a_link_is_skipped_and_its_track_missing(shelf: Shelf, tmp_path: Path) -> None:
    path = shelf.add("a/1.wav", 1)
    shelf.add("a/2.wav", 2)
    shelf.visit()
    path.rename(tmp_path / "outside.wav")
    path.symlink_to(tmp_path / "outside.wav")
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 2, "unchanged": 1, "skipped": 1, "missing": 1}
    assert shelf.skips() == {"a/1.wav": "link_outside"}
    assert shelf.tracks()["a/1.wav"]["missing_since"] is not None
    path.unlink()
    (tmp_path / "outside.wav").rename(path)
    back = shelf.visit()
    assert counts(back.ledger) in ({"seen": 2, "unchanged": 1, "reused": 1}, {"seen": 2, "unchanged": 2})
    assert shelf.skips() == {}
    assert shelf.tracks()["a/1.wav"]["missing_since"] is None


def test_a_copy_of_a_file_that_is_still_there_never_takes_its_track(shelf: Shelf) -> None:
    shelf.add("b/1.wav", 1)
    shelf.visit()
    before = shelf.tracks()["b/1.wav"]["id"]
    shelf.add("a/1.wav", 1)
    (shelf.root / "b/1.wav").touch()
    shelf.visit()
    assert shelf.tracks()["b/1.wav"]["id"] == before
    assert shelf.tracks()["a/1.wav"]["id"] != before


def test_names_of_every_kind_come_back_as_they_are(shelf: Shelf) -> None:
    names = [
        b"line\nbreak.wav",
        b"tab\there.wav",
        b"not utf-8 \xff\xfe.wav",
        "right-to-left \u202egnp.wav".encode(),
        b"back\\slash.wav",
        b"percent %s %(x)s {y} [red].wav",
        b"quote ' \" ;--.wav",
        b"Best of.../x.wav",
        "Käthe 🎹/e\u0301.wav".encode(),
    ]
    root = os.fsencode(shelf.root)
    for number, name in enumerate(names):
        write_music(os.path.join(root, name), number)
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": len(names), "analysed": len(names)}
    assert {os.fsencode(path) for path in shelf.tracks()} == set(names)
    for row in shelf.tracks().values():
        assert not set(row["file_path"]) & set("\n\t\0\u202e")
    assert counts(shelf.visit().ledger) == {"seen": len(names), "unchanged": len(names)}


def test_a_rename_of_capitals_alone_is_the_same_track(shelf: Shelf) -> None:
    shelf.add("Album/Song.wav", 1)
    shelf.add("Album/Other.wav", 2)
    shelf.visit()
    before = {path.lower(): row["id"] for path, row in shelf.tracks().items()}
    (shelf.root / "Album" / "Song.wav").rename(shelf.root / "Album" / "SONG.WAV")
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 2, "reused": 1, "unchanged": 1}
    (shelf.root / "Album").rename(shelf.root / "album")
    visit = shelf.visit()
    assert (visit.summary.effort.decodes, counts(visit.ledger)) == (0, {"seen": 2, "reused": 2})
    assert {path.lower(): row["id"] for path, row in shelf.tracks().items()} == before
    assert sorted(shelf.tracks()) == ["album/Other.wav", "album/SONG.WAV"]


@pytest.mark.skipif(sys.platform != "linux", reason="not applicable: limits of paths as on Linux")
def test_long_paths_are_stored_whole_and_those_beyond_the_systems_limit_fail_with_a_reason(shelf: Shelf) -> None:
    folder = "/".join("n" * 200 for _ in range(4))
    shelf.add(f"{folder}/{'long ' * 40}.wav", 1)
    descriptor = os.open(shelf.root, os.O_RDONLY)
    for _ in range(22):
        os.mkdir("d" * 200, dir_fd=descriptor)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    with os.fdopen(os.open("1.wav", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor), "wb") as file:
        file.write(music_bytes("wav", 2))
    os.close(descriptor)
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 2, "analysed": 1, "failed": 1}
    good, bad = sorted(shelf.tracks().items(), key=lambda item: len(item[0]))
    assert good[0] == f"{folder}/{'long ' * 40}.wav"
    assert good[1]["file_path"] == f"{shelf.root}/{good[0]}"
    assert (len(good[0]) > 500, len(bad[0]) > 4096) == (True, True)
    assert (bad[1]["status"], bad[1]["error_kind"]) == ("failed", "unreadable")
    assert "shorten the folders" in bad[1]["error_message"]
    assert counts(shelf.visit().ledger)["failed"] == 1


def test_tags_with_nul_and_broken_text_are_stored_as_far_as_they_can_be(shelf: Shelf) -> None:
    import mutagen.id3

    path = shelf.add("1.mp3", 1)
    tags = mutagen.id3.ID3()
    tags.add(mutagen.id3.TIT2(encoding=3, text=["a\0b"]))
    tags.add(mutagen.id3.TPE1(encoding=3, text=["x" * 5000]))
    tags.add(mutagen.id3.TRCK(encoding=3, text=["99999999999999999999"]))
    tags.add(mutagen.id3.TXXX(encoding=3, desc="nul\0key", text=["\x1b[31mred"]))
    tags.save(path)
    visit = shelf.visit()
    assert counts(visit.ledger) == {"seen": 1, "analysed": 1}
    row = shelf.tracks()["1.mp3"]
    assert row["artist"].startswith("xxxx")
    assert "\0" not in row["title"]


def new_versions(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Pretend that an upgrade of MAP4 has bumped the versions of stages."""
    from dataclasses import replace

    from map4_pipeline.ingest import columns, settle
    from map4_pipeline.ingest import versions as module

    if "features" in versions:
        monkeypatch.setattr(module, "features_identity", lambda engine: (engine, versions["features"]))
    if "fingerprint" in versions:
        for place in (module, columns):
            monkeypatch.setattr(place, "FINGERPRINT", replace(module.FINGERPRINT, version=versions["fingerprint"]))
    if "hamms" in versions:
        for owner in (module, settle):
            monkeypatch.setattr(owner, "HAMMS_VERSION", versions["hamms"])


@pytest.mark.parametrize(
    ("stage", "kept"), [("features", "fingerprint"), ("fingerprint", "features")], ids=["features", "fingerprint"]
)
def test_an_upgrade_of_one_stage_runs_that_stage_alone(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, stage: str, kept: str
) -> None:
    shelf.add("a/1.wav", 1)
    shelf.add("a/2.wav", 2)
    shelf.visit()
    assert shelf.visit().touched == []
    new_versions(monkeypatch, **{stage: "next"})
    visit = shelf.visit()
    assert b"a" in visit.touched
    assert counts(visit.ledger) == {"seen": 2, "analysed": 2}
    stored = shelf.rows("SELECT stage, version, count(*) AS n FROM analyses GROUP BY 1, 2")
    assert {(row["stage"], row["version"] == "next"): row["n"] for row in stored} == {
        (stage, False): 2,
        (stage, True): 2,
        (kept, False): 2,
    }
    assert {row[f"{stage}{'s' * (stage == 'feature')}_version"] for row in shelf.tracks().values()} == {"next"}
    assert all(row["hamms_vector"] for row in shelf.tracks().values())
    assert shelf.visit().touched == []


def test_an_upgrade_of_the_vector_decodes_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.add("a/1.wav", 1)
    shelf.visit()
    new_versions(monkeypatch, hamms="next")
    visit = shelf.visit()
    assert b"a" in visit.touched
    assert counts(visit.ledger) == {"seen": 1, "unchanged": 1}
    assert visit.summary.effort.decodes == 0
    assert [row["hamms_version"] for row in shelf.tracks().values()] == ["next"]
    assert shelf.visit().touched == []


def test_music_bytes_are_the_same_every_time() -> None:
    assert music_bytes("wav", 5) == music_bytes("wav", 5) != music_bytes("wav", 6)
