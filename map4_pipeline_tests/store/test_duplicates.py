"""Groups of duplicates in a real database: found, kept, decided, taken back; and never a file touched."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, insert, select, text, update

from map4_pipeline.fingerprint import FINGERPRINT_VERSION
from map4_pipeline.fingerprint.codec import encode
from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.duplicate_decisions import DecisionError, decide, history, undo
from map4_pipeline.store.duplicate_listing import Group, group_with_history, list_groups, surplus_paths, totals
from map4_pipeline.store.duplicates import FOLDER, DuplicateSummary, rebuild_duplicates
from map4_pipeline.store.libraries import register_library
from map4_pipeline.store.schema import directories, duplicate_groups, fingerprint_index, fingerprint_matches, tracks

from ..fingerprint.prints import noisy, walk

FLAC = {"codec": "flac", "bit_rate": 900_000, "bit_depth": 16}
#: Clears the screen of whoever prints it.
HOSTILE_NAME = "so\x1b[2Jng.mp3"
MP3 = {"codec": "mp3", "bit_rate": 128_000}


class Shelf:
    """A library whose tracks are rows: `add` puts one there, by name."""

    def __init__(self, engine: Engine, home: Path, root: Path) -> None:
        self.engine, self.home = engine, home
        with engine.begin() as conn:
            self.library = register_library(conn, root)
            register_directories(conn, self.library, [b""])
            self.directory = conn.execute(directories.select()).one().id
        self.ids: dict[str, int] = {}

    def add(self, name: str, print_: np.ndarray[Any, Any] | None = None, **values: Any) -> int:
        row: dict[str, Any] = {
            "library_id": self.library.id,
            "directory_id": self.directory,
            "relative_path": name.encode(),
            "file_path": f"{self.library.root_text}/{name}",
            "file_name": name,
            "status": "ok",
            "file_size": 1000,
            "file_hash": f"file of {name}",
            "audio_hash": f"audio of {name}",
            "duration": 120.0,
            "sample_rate": 44100,
            "channels": 2,
            "codec": "mp3",
            "bit_rate": 320_000,
            "chromaprint_fp": None if print_ is None else encode(print_),
            "fingerprint_version": FINGERPRINT_VERSION,
        }
        with self.engine.begin() as conn:
            self.ids[name] = conn.execute(insert(tracks).values(row | values).returning(tracks.c.id)).scalar_one()
        return self.ids[name]

    def change(self, name: str, **values: Any) -> None:
        with self.engine.begin() as conn:
            conn.execute(update(tracks).where(tracks.c.id == self.ids[name]).values(values))

    def rebuild(self) -> DuplicateSummary:
        return rebuild_duplicates(self.engine, self.home)

    def groups(self, **options: Any) -> list[Group]:
        with self.engine.connect() as conn:
            return list_groups(conn, **({"states": ()} | options))

    def names(self, group: Group) -> list[str]:
        of = {track_id: name for name, track_id in self.ids.items()}
        return [of[track["id"]] for track in group.members]


@pytest.fixture
def shelf(engine: Engine, home: Path, tmp_path: Path) -> Iterator[Shelf]:
    root = tmp_path / "Music"
    root.mkdir()
    return Shelf(engine, home, root)  # type: ignore[return-value]


@pytest.fixture
def stocked(shelf: Shelf) -> Shelf:
    """Three copies of a recording, two identical files, one retagged copy, an edit, a live take, and five others."""
    song = walk(1, 900)
    shelf.add("song.flac", song, **FLAC, file_size=30_000, title="Song", artist="A")
    shelf.add("song.mp3", noisy(song, 0.02), **MP3, file_size=2_000, title="Song", artist="A")
    shelf.add("song.ogg", noisy(song[24:], 0.03), codec="vorbis", bit_rate=160_000, file_size=3_000)
    shelf.add("edit.mp3", np.concatenate([song[:380], walk(99, 500)]), duration=115.0)
    shelf.add("twin1.mp3", walk(2, 900), file_hash="twin", audio_hash="twins")
    shelf.add("twin2.mp3", walk(2, 900), file_hash="twin", audio_hash="twins")
    shelf.add("tagged1.mp3", walk(3, 900), audio_hash="tagged", title="T")
    shelf.add("tagged2.mp3", walk(3, 900), audio_hash="tagged")
    shelf.add("studio.mp3", walk(4, 900), title="Hit", artist="B")
    shelf.add("live.mp3", walk(5, 900), title="Hit (Live)", artist="b")
    for seed in range(10, 15):
        shelf.add(f"other{seed}.mp3", walk(seed, 900))
    return shelf


def test_each_kind_is_found_with_its_evidence(stocked: Shelf) -> None:
    summary = stocked.rebuild()
    assert summary.groups == {"identical_file": 1, "identical_audio": 1, "same_recording": 1, "other_version": 2}
    assert summary.surplus == 4
    assert summary.wasted_bytes == 2_000 + 3_000 + 1000 + 1000
    assert (summary.rebuilt, summary.contents, summary.compared) == (True, 13, 13)
    by_kind = {(group.kind, *sorted(stocked.names(group))): group for group in stocked.groups()}
    assert by_kind.keys() == {
        ("identical_file", "twin1.mp3", "twin2.mp3"),
        ("identical_audio", "tagged1.mp3", "tagged2.mp3"),
        ("same_recording", "song.flac", "song.mp3", "song.ogg"),
        ("other_version", "edit.mp3", "song.flac", "song.mp3", "song.ogg"),
        ("other_version", "live.mp3", "studio.mp3"),
    }
    recording = by_kind["same_recording", "song.flac", "song.mp3", "song.ogg"]
    assert recording.keeper_track_id == stocked.ids["song.flac"]
    assert "lossless" in recording.keeper_reason
    assert len(recording.pairs) == 3
    pair = next(pair for pair in recording.pairs if pair["second"] == stocked.ids["song.ogg"])
    assert pair["shift_seconds"] == pytest.approx(-24 * 1365 / 11025, abs=0.01)
    assert 0 < pair["bit_error_rate"] < 0.1
    assert pair["overlap_seconds"] > 90
    live = by_kind["other_version", "live.mp3", "studio.mp3"]
    assert live.keeper_track_id is None
    assert "by the tags only" in live.pairs[0]["why"]


def test_a_second_time_changes_nothing_and_compares_nothing(stocked: Shelf) -> None:
    stocked.rebuild()
    before = stocked.groups()
    again = stocked.rebuild()
    assert (again.compared, again.changed, again.rebuilt) == (0, 0, False)
    assert stocked.groups() == before


def test_a_new_track_is_compared_alone_and_joins_its_group(stocked: Shelf) -> None:
    stocked.rebuild()
    before = {group.id: stocked.names(group) for group in stocked.groups()}
    stocked.add("song2.mp3", noisy(walk(1, 900), 0.01, 7), **MP3)
    summary = stocked.rebuild()
    assert (summary.compared, summary.rebuilt) == (1, False)
    after = {group.id: stocked.names(group) for group in stocked.groups()}
    assert before.keys() == after.keys()
    grown = [group for group in after if set(after[group]) != set(before[group])]
    assert all(set(after[group]) - set(before[group]) == {"song2.mp3"} for group in grown)
    assert len(grown) == 2


@pytest.mark.parametrize("loss", ["folder", "row", "version"])
def test_a_lost_index_is_made_anew_with_the_same_groups(stocked: Shelf, loss: str) -> None:
    stocked.rebuild()
    before = stocked.groups()
    if loss == "folder":
        for path in (stocked.home / FOLDER).rglob("items.u32"):
            path.unlink()
    else:
        with stocked.engine.begin() as conn:
            changed = {"version": "0/0"} if loss == "version" else {"generation": "elsewhere"}
            conn.execute(update(fingerprint_index).values(changed))
    summary = stocked.rebuild()
    assert summary.rebuilt
    assert stocked.groups() == before
    assert len(list((stocked.home / FOLDER).iterdir())) == 1


def test_without_a_home_everything_is_compared_and_nothing_is_left_behind(stocked: Shelf) -> None:
    assert rebuild_duplicates(stocked.engine).rebuilt
    assert rebuild_duplicates(stocked.engine).rebuilt
    assert not (stocked.home / FOLDER).exists()
    assert len(stocked.groups()) == 5


def test_hidden_missing_and_failed_tracks_are_in_no_group(stocked: Shelf) -> None:
    stocked.rebuild()
    ids = {stocked.names(group)[0]: group.id for group in stocked.groups(kinds=["same_recording"])}
    stocked.change("song.flac", hidden_at="2026-01-01T00:00:00Z")
    stocked.change("twin1.mp3", missing_since="2026-01-01T00:00:00Z")
    stocked.change("tagged1.mp3", status="failed", error_kind="damaged")
    summary = stocked.rebuild()
    assert (summary.groups["identical_file"], summary.groups["identical_audio"]) == (0, 0)
    (recording,) = stocked.groups(kinds=["same_recording"])
    assert recording.id == ids["song.flac"]
    assert sorted(stocked.names(recording)) == ["song.mp3", "song.ogg"]
    # They come back without being compared again.
    stocked.change("song.flac", hidden_at=None)
    assert stocked.rebuild().compared == 0
    assert len(stocked.groups(kinds=["same_recording"])[0].members) == 3


def test_the_order_in_which_tracks_came_does_not_matter(shelf: Shelf) -> None:
    song = walk(1, 900)
    sounds = {
        "a": song,
        "b": noisy(song, 0.03, 1),
        "c": noisy(song[30:], 0.03, 2),
        "x": walk(2, 900),
        "y": noisy(walk(2, 900), 0.05),
    }
    for name in ("y", "c", "x"):
        shelf.add(name, sounds[name])
        shelf.rebuild()
    for name in ("b", "a"):
        shelf.add(name, sounds[name])
    shelf.rebuild()
    assert {frozenset(shelf.names(group)) for group in shelf.groups()} == {frozenset("abc"), frozenset("xy")}
    with shelf.engine.connect() as conn:
        pairs = {(row.first_hash, row.second_hash): row.shift for row in conn.execute(select(fingerprint_matches))}
    assert pairs["audio of a", "audio of c"] == -30


def test_a_decision_holds_survives_and_is_taken_back(stocked: Shelf) -> None:
    stocked.rebuild()
    (recording,) = stocked.groups(kinds=["same_recording"])
    (twins,) = stocked.groups(kinds=["identical_file"])
    mp3 = stocked.ids["song.mp3"]
    with stocked.engine.begin() as conn:
        decide(conn, recording.id, "keep", keeper=mp3, by="me", note="for the car")
        decide(conn, twins.id, "not_duplicates", by="me")
    shown = {group.id: group for group in stocked.groups()}
    assert (shown[recording.id].state, shown[recording.id].keeper_track_id) == ("keep", mp3)
    assert shown[recording.id].surplus_bytes == 33_000
    assert (shown[twins.id].state, shown[twins.id].surplus_bytes) == ("not_duplicates", 0)
    before = stocked.groups()
    summary = stocked.rebuild()
    assert summary.groups["identical_file"] == 0
    assert stocked.groups() == before
    assert [group.id for group in stocked.groups(states=("open",))] == sorted(
        group.id for group in before if group.id not in (recording.id, twins.id)
    )
    with stocked.engine.begin() as conn:
        undone = undo(conn, recording.id, by="me")
        assert undone.undone_by == "me"
        with pytest.raises(DecisionError, match="Nothing is decided"):
            undo(conn, recording.id)
        undo(conn, twins.id)
        assert [one.verdict for one in history(conn, [mp3])] == ["keep"]
    reopened = {group.id: group for group in stocked.groups()}
    assert reopened[recording.id] == recording
    assert reopened[twins.id] == twins


def test_a_further_copy_opens_the_group_again_with_what_was_chosen(stocked: Shelf) -> None:
    stocked.rebuild()
    (recording,) = stocked.groups(kinds=["same_recording"])
    with stocked.engine.begin() as conn:
        decide(conn, recording.id, "keep", keeper=stocked.ids["song.ogg"])
    # One fewer: the decision still holds.
    stocked.change("song.mp3", missing_since="2026-01-01T00:00:00Z")
    stocked.rebuild()
    assert stocked.groups(ids=[recording.id])[0].state == "keep"
    stocked.add("song3.mp3", noisy(walk(1, 900), 0.01, 9), **MP3)
    stocked.rebuild()
    (reopened,) = stocked.groups(ids=[recording.id])
    assert (reopened.state, reopened.keeper_track_id) == ("open", stocked.ids["song.ogg"])
    assert "before" in reopened.keeper_reason


def test_a_decision_comes_back_with_its_tracks(stocked: Shelf) -> None:
    stocked.rebuild()
    (twins,) = stocked.groups(kinds=["identical_file"])
    with stocked.engine.begin() as conn:
        decide(conn, twins.id, "ignore")
    stocked.change("twin1.mp3", missing_since="2026-01-01T00:00:00Z")
    stocked.rebuild()
    assert stocked.groups(kinds=["identical_file"]) == []
    stocked.change("twin1.mp3", missing_since=None)
    stocked.rebuild()
    assert [group.state for group in stocked.groups(kinds=["identical_file"])] == ["ignore"]


def test_what_may_go_is_only_what_was_decided(stocked: Shelf) -> None:
    stocked.rebuild()
    (recording,) = stocked.groups(kinds=["same_recording"])
    with stocked.engine.begin() as conn:
        assert list(surplus_paths(conn)) == []
        assert len(list(surplus_paths(conn, suggested=True))) == 4
        decide(conn, recording.id, "keep")
        assert [relative for *_, relative in surplus_paths(conn)] == [b"song.mp3", b"song.ogg"]
        assert totals(conn)["states"] == {"open": 4, "keep": 1}


def test_wrong_decisions_are_refused(stocked: Shelf) -> None:
    stocked.rebuild()
    (twins,) = stocked.groups(kinds=["identical_file"])
    version = stocked.groups(kinds=["other_version"])[0]
    with stocked.engine.connect() as conn:
        for group_id, verdict, keeper, message in (
            (10**9, "keep", None, "no group"),
            (twins.id, "delete", None, "no decision"),
            (twins.id, "keep", stocked.ids["song.mp3"], "not in group"),
            (twins.id, "ignore", stocked.ids["twin1.mp3"], "keep one only"),
            (version.id, "keep", None, "versions"),
        ):
            with pytest.raises(DecisionError, match=message):
                decide(conn, group_id, verdict, keeper=keeper)
        assert group_with_history(conn, 10**9) is None


def test_a_fingerprint_that_cannot_be_read_is_counted_not_raised(shelf: Shelf) -> None:
    shelf.add("good.mp3", walk(1, 900))
    shelf.add("bad.mp3", None, chromaprint_fp="no fingerprint!")
    assert shelf.rebuild().unreadable == 1
    assert shelf.groups() == []


def test_texts_that_postgres_refuses_do_no_harm(shelf: Shelf) -> None:
    song = walk(1, 900)
    shelf.add("a", song, title="Song", artist="X")
    shelf.add("b", noisy(song, 0.05), title="Song (Remix \ufffd 💿)", artist="X")
    shelf.rebuild()
    assert shelf.rebuild().changed == 0
    assert [group.kind for group in shelf.groups()] == ["other_version"]


def test_an_empty_library_has_none(shelf: Shelf) -> None:
    assert shelf.rebuild().groups == dict.fromkeys(("identical_file", "identical_audio", "same_recording", "other_version"), 0)
    with shelf.engine.connect() as conn:
        assert conn.execute(select(duplicate_groups)).all() == []
        assert conn.execute(text("SELECT count(*) FROM fingerprint_index")).scalar_one() == 1
