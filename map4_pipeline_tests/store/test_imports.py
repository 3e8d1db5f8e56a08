"""Imports: what a DJ has made comes in, is matched without guessing, and goes out again without loss."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select, text, update

from map4_pipeline.store.directories import register_directories
from map4_pipeline.store.errors import StoreError
from map4_pipeline.store.exports import ExportRequest, run_export
from map4_pipeline.store.imports import Imported, import_file
from map4_pipeline.store.libraries import register_library
from map4_pipeline.store.playlists import create_playlist, find_playlist, track_ids
from map4_pipeline.store.schema import (
    analyses,
    deck_entries,
    deck_playlist_entries,
    deck_playlists,
    directories,
    libraries,
    playlists,
    tracks,
)

from ..reports.interchange.decks import REKORDBOX, TRAKTOR

TRACKS: list[dict[str, Any]] = [
    {
        "relative_path": "House/Ünder & Over.mp3",
        "title": "Under",
        "artist": "Ann",
        "bpm": 63.9,
        "key": "C major",
        "audio_hash": "a",
    },
    {"relative_path": "House/two.mp3", "title": "Two", "bpm": 120.0, "key": "D minor"},
    {"relative_path": "House/one.mp3", "title": "One", "bpm": 128.0, "key": "A minor"},
    {"relative_path": "New/four.mp3", "title": "Four", "bpm": 100.0},
]
BEAT = 0.51


@pytest.fixture
def library(engine: Engine, tmp_path: Path) -> tuple[int, ...]:
    """Four tracks under `tmp_path/Music`; the first has a measured grid. Returns their numbers."""
    root = tmp_path / "Music"
    root.mkdir()
    with engine.begin() as conn:
        known = register_library(conn, root)
        register_directories(conn, known, [b""])
        place = {"library_id": known.id, "directory_id": conn.execute(select(directories.c.id)).scalar_one()}
        numbers = []
        for row in TRACKS:
            path = row["relative_path"]
            at = {"file_path": path, "file_name": path, "status": "ok", "file_size": 1000, "features_version": "1"}
            values = {**place, **at, **row, "relative_path": path.encode()}
            numbers.append(conn.execute(insert(tracks).values(values).returning(tracks.c.id)).scalar_one())
        features = {"bpm": 63.9, "beat_first": BEAT, "beats_per_bar": 4}
        payload = {"features": features}
        conn.execute(insert(analyses).values(audio_hash="a", stage="features", engine="e", version="1", payload=payload))
    return tuple(numbers)


def brought(engine: Engine, tmp_path: Path, content: str = REKORDBOX, name: str = "c.xml", **more: Any) -> Imported:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return import_file(engine, path, path_map=(f"{tmp_path}/Music=C:/Music",), **more)


def exported(engine: Engine, tmp_path: Path, kind: str = "rekordbox", **more: Any) -> ElementTree.Element:
    target = tmp_path / "out"
    run_export(engine, ExportRequest(kind, **more), target)
    return ElementTree.parse(target).getroot()


def plain(element: ElementTree.Element, *without: str) -> Any:
    """An element as values that can be compared; numbers of tracks and counts are the file's own."""
    attributes = {name: value for name, value in element.attrib.items() if name not in without}
    return element.tag, attributes, [plain(child, *without) for child in element]


def named(root: ElementTree.Element, names: dict[str | None, str | None]) -> Any:
    """A rekordbox tree of playlists, with tracks by their locations."""
    members = [names[track.get("Key")] for track in root if track.tag == "TRACK"]
    return root.get("Name"), members, [named(node, names) for node in root if node.tag == "NODE"]


def rekordbox(root: ElementTree.Element) -> tuple[dict[str | None, Any], Any]:
    """Tracks by their locations, and playlists."""
    entries = {track.get("Location"): plain(track, "TrackID") for track in root.iter("TRACK") if track.get("Location")}
    names = {track.get("TrackID"): track.get("Location") for track in root.iter("TRACK") if track.get("Location")}
    tree = root.find("PLAYLISTS/NODE")
    assert tree is not None
    return entries, named(tree, names)


def test_rekordbox_goes_through_without_loss(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    found = brought(engine, tmp_path)
    assert (found.entries, found.added, found.updated) == (4, 4, 0)
    assert dict(found.matched) == {"path": 1, "path in another spelling": 1}
    assert [entry.title for entry in found.unmatched] == ["Not here", "Streamed"]
    assert (found.playlists, found.folders, found.lost_names) == (2, 3, 0)

    root = exported(engine, tmp_path)
    before, lists = rekordbox(ElementTree.fromstring(REKORDBOX))
    after, lists_after = rekordbox(root)
    for location, (tag, attributes, children) in before.items():
        assert location in after
        tag_after, attributes_after, children_after = after[location]
        kept = {
            name: value for name, value in attributes.items() if name not in ("AverageBpm", "Tonality") or "two" not in location
        }
        # What was empty may have been filled; nothing else may have changed.
        differs = {name for name, value in kept.items() if attributes_after.get(name) != value}
        assert {attributes[name] for name in differs} <= {""}
        assert (tag_after, children_after) == (tag, children)
    assert lists_after == lists
    # What rekordbox has not analysed is filled; MAP4's other tracks are there too.
    plain_one = after["file://localhost/C:/music/house/two.mp3"][1]
    assert (plain_one["AverageBpm"], plain_one["Tonality"]) == ("120.00", "Dm")
    collection = root.find("COLLECTION")
    assert collection is not None
    assert int(collection.get("Entries", "")) == len(collection) == 6
    assert len({track.get("TrackID") for track in collection}) == 6


def test_an_export_that_comes_back_changes_nothing(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    brought(engine, tmp_path)
    with engine.begin() as conn:
        create_playlist(conn, "Mine", [library[2], library[0]])
    first = rekordbox(exported(engine, tmp_path))
    again = brought(engine, tmp_path, (tmp_path / "out").read_text("utf-8"))
    assert (again.entries, again.matched.total()) == (6, 4)
    assert rekordbox(exported(engine, tmp_path)) == first


def test_importing_again_brings_up_to_date(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    brought(engine, tmp_path)
    changed = REKORDBOX.replace('PlayCount="7"', 'PlayCount="8"').replace('<TRACK Key="3"/><TRACK Key="1"/>', '<TRACK Key="99"/>')
    again = brought(engine, tmp_path, changed)
    assert (again.added, again.updated, again.lost_names, again.not_in_file) == (0, 4, 1, 0)
    with engine.connect() as conn:
        assert conn.scalars(select(deck_entries.c.play_count).order_by(deck_entries.c.position)).first() == 8
        counts = [conn.execute(select(func.count()).select_from(t)).scalar_one() for t in (deck_entries, deck_playlists)]
        assert counts == [4, 5]
        assert conn.execute(select(func.count()).select_from(deck_playlist_entries)).scalar_one() == 4


def test_what_the_file_no_longer_has_stays_until_it_is_replaced(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    brought(engine, tmp_path)
    little = (
        '<DJ_PLAYLISTS><COLLECTION><TRACK TrackID="9" Name="N" Location="file://localhost/n.mp3"/></COLLECTION>{}</DJ_PLAYLISTS>'
    )
    lists = (
        '<PLAYLISTS><NODE Type="0" Name="ROOT"><NODE Type="1" Name="One" KeyType="0"><TRACK Key="9"/></NODE></NODE></PLAYLISTS>'
    )
    assert brought(engine, tmp_path, little.format(lists)).not_in_file == 4
    names = [node.get("Name") for node in exported(engine, tmp_path).iter("NODE")]
    assert {"Opening", "One"} <= set(names)
    assert brought(engine, tmp_path, little.format(lists), replace=True).not_in_file == 4
    root = exported(engine, tmp_path)
    assert [node.get("Name") for node in root.iter("NODE")] == ["ROOT", "One"]
    assert not list(root.iter("POSITION_MARK"))


def test_a_dry_run_and_a_file_that_is_cut_off_change_nothing(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    assert brought(engine, tmp_path, dry_run=True).matched.total() == 2
    with pytest.raises(StoreError, match=r"cut off.*Nothing was imported"):
        brought(engine, tmp_path, REKORDBOX[: REKORDBOX.index("<PLAYLISTS>")])
    with pytest.raises(StoreError, match="ends in"):
        brought(engine, tmp_path, name="c.txt")
    with engine.connect() as conn:
        assert conn.execute(select(func.count()).select_from(deck_entries)).scalar_one() == 0


def test_differences_from_what_was_measured_are_told(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    found = brought(engine, tmp_path)
    first = [one for one in found.disagreements if one.track_id == library[0]]
    assert [(one.difference.what, one.difference.theirs, one.difference.ours) for one in first] == [
        ("octave", 128.0, 63.9),
        ("key", "A minor", "C major"),
    ]
    # 128 BPM: 0.025 s is a beat of a grid that has one at 0.51 s, less 16 ms.
    assert found.grid_offset_ms == pytest.approx((0.025 - BEAT + 60 / 128) * 1000)
    assert found.compared == 2


def test_the_djs_values_stay_unless_the_measured_are_asked_for(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    brought(engine, tmp_path)
    with_map = {"path_map": (f"{tmp_path}/Music=C:/Music",)}
    for measured, expected in [(False, ("128.00", "Am", "0.025")), (True, ("63.90", "C", f"{BEAT:.3f}"))]:
        entries, _ = rekordbox(exported(engine, tmp_path, measured=measured, **with_map))
        # The place is written as rekordbox has it, also where the map would spell it otherwise.
        _, attributes, children = entries["file://localhost/C:/Music/House/%C3%9Cnder%20&%20Over.mp3"]
        assert (attributes["AverageBpm"], attributes["Tonality"], children[0][1]["Inizio"]) == expected
        assert "file://localhost/C:/music/house/two.mp3" in entries
        assert [child[1]["Name"] for child in children if child[0] == "POSITION_MARK"] == ["Drop <1>", "Loop"]
        assert attributes["Grouping"] == "Warm up"


def test_a_file_that_has_moved_is_written_with_its_new_place(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    brought(engine, tmp_path)
    with engine.begin() as conn:
        conn.execute(update(tracks).where(tracks.c.id == library[0]).values(relative_path=b"Moved/one.mp3"))
    entries, _ = rekordbox(exported(engine, tmp_path, path_map=(f"{tmp_path}/Music=C:/Music",)))
    assert entries["file://localhost/C:/Music/Moved/one.mp3"][1]["Mix"] == "Dub"
    # It is still the same track for the next import, by what was known.
    assert brought(engine, tmp_path).matched["earlier import"] == 1


def test_traktor_goes_through_without_loss(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    found = brought(engine, tmp_path, TRAKTOR, "c.nml")
    assert (found.matched.total(), found.smart_playlists, len(found.unmatched)) == (1, 1, 1)
    root = exported(engine, tmp_path, "traktor")
    before = {entry.get("TITLE"): entry for entry in ElementTree.fromstring(TRAKTOR).iter("ENTRY") if entry.get("TITLE")}
    after = {entry.get("TITLE"): entry for entry in root.iter("ENTRY") if entry.get("TITLE")}
    assert sorted(after) == ["Far", "Four", "One", "Two", "Under"]
    for title, entry in before.items():
        assert dict(after[title].attrib) == dict(entry.attrib)
        for child in entry:
            twins = [plain(other) for other in after[title] if other.tag == child.tag]
            if child.tag in ("INFO", "ALBUM", "LOUDNESS"):  # what was missing is added
                assert set(child.attrib.items()) <= set(twins[0][1].items())
            else:
                assert plain(child) in twins
        assert len(after[title].findall("CUE_V2")) == len(entry.findall("CUE_V2"))
    lists = {node.get("NAME"): node for node in root.iter("NODE")}
    assert [node.get("NAME") for node in lists["Gigs"].iter("NODE")] == ["Gigs", "Friday"]
    friday = lists["Friday"].find("PLAYLIST")
    assert friday is not None
    assert friday.get("UUID") == "0f" * 16
    assert [key.get("KEY") for key in friday.iter("PRIMARYKEY")] == ["C:/:Music/:House/:one.mp3"]


def test_measured_values_in_place_of_traktors(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    brought(
        engine,
        tmp_path,
        TRAKTOR.replace('VALUE="21"', 'VALUE="0"').replace('BPM="128.000000" BPM_Q', 'BPM="64.0" BPM_Q'),
        "c.nml",
    )
    root = exported(engine, tmp_path, "traktor", measured=True)
    (one,) = (entry for entry in root.iter("ENTRY") if entry.get("TITLE") == "One")
    found = {child.tag: child for child in one}
    assert (found["TEMPO"].get("BPM"), found["MUSICAL_KEY"].get("VALUE")) == ("128.000000", "21")
    # Nothing measured where the grid stands: Traktor's stays, and its cues.
    assert len(one.findall("CUE_V2")) == 3


def test_cues_of_one_program_go_to_the_other(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    brought(engine, tmp_path)
    root = exported(engine, tmp_path, "traktor", path_map=(f"{tmp_path}/Music=C:/Music",))
    (under,) = (entry for entry in root.iter("ENTRY") if entry.get("TITLE") == "Under")
    marks = [
        (cue.get("TYPE"), cue.get("NAME"), float(cue.get("START", "")), cue.get("HOTCUE")) for cue in under.findall("CUE_V2")
    ]
    assert marks == [("4", "AutoGrid", BEAT * 1000, "-1"), ("0", "Drop <1>", 32525.0, "0"), ("5", "Loop", 64025.0, "-1")]
    info = under.find("INFO")
    assert info is not None
    assert (info.get("RANKING"), info.get("PLAYCOUNT"), info.get("COMMENT")) == ("204", "7", 'peak "time"')
    # Lists too, without what Traktor would not find.
    lists = {node.get("NAME"): node for node in root.iter("NODE")}
    assert "Empty" not in lists
    assert len(list(lists["Opening"].iter("PRIMARYKEY"))) == 2


def test_two_candidates_are_told_and_none_is_chosen(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    with engine.begin() as conn:
        row = dict(conn.execute(select(tracks.c.library_id, tracks.c.directory_id).limit(1)).mappings().one())
        for folder in ("x", "y"):
            name = f"{folder}/three.mp3"
            at = {"relative_path": name.encode(), "file_path": name, "file_name": "three.mp3", "file_size": 77, "status": "ok"}
            conn.execute(insert(tracks).values(**row, **at))
        root = bytes(conn.execute(select(libraries.c.root)).scalar_one()).decode()
    found = brought(engine, tmp_path)
    (entry,) = found.ambiguous
    assert entry.candidates == (f"{root}/x/three.mp3", f"{root}/y/three.mp3")


def test_an_export_of_some_tracks_has_only_those(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    brought(engine, tmp_path)
    entries, lists = rekordbox(exported(engine, tmp_path, query="bpm:60..70"))
    assert len(entries) == 1
    (location,) = entries
    assert lists == ("ROOT", [], [("Gigs", [], [("2025", [], [("Opening", [location], [])])]), ("Flat", [location], [])])


def test_a_playlist_of_a_player_becomes_one_of_ours(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    lines = (
        f"#EXTM3U\n{tmp_path}/Music/House/one.mp3\n{tmp_path}/Music/House/two.mp3\n{tmp_path}/Music/House/one.mp3\n/gone.mp3\n"
    )
    found = brought(engine, tmp_path, lines, "Friday.m3u8")
    assert (found.entries, found.matched.total(), len(found.unmatched)) == (4, 2, 1)
    again = brought(engine, tmp_path, lines.replace("one", "ONE"), "Friday.m3u8")
    assert (again.playlist_id, again.updated) == (found.playlist_id, 1)
    with engine.connect() as conn:
        friday = find_playlist(conn, "Friday")
        assert track_ids(conn, friday.id) == [library[2], library[1], library[2]]
    brought(engine, tmp_path, "", "Other.m3u8", dry_run=True)
    # What finds nothing makes no list, and empties none.
    for name in ("Foreign.m3u8", "Friday.m3u8"):
        with pytest.raises(StoreError, match="None of the 1 entries"):
            brought(engine, tmp_path, "/elsewhere/unknown.mp3\n", name)
    with engine.connect() as conn:
        assert conn.scalars(select(playlists.c.name)).all() == ["Friday"]
    blank = [brought(engine, tmp_path, lines, " Saturday .m3u8") for _ in range(2)]
    assert blank[0].playlist_id == blank[1].playlist_id


def test_what_is_new_since_the_last_export(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    with engine.begin() as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        conn.execute(update(tracks).values(created_at=func.now() - text("interval '1 day'")))
    first = exported(engine, tmp_path, new=True)
    assert [len(node) for node in first.iter("NODE") if node.get("Name") == "New"] == [4]
    # Another kind of export is no reason to leave something out, and neither is one of some tracks.
    run_export(engine, ExportRequest("csv"), tmp_path / "x.csv")
    run_export(engine, ExportRequest("rekordbox", "bpm:500"), tmp_path / "x.xml")
    with engine.begin() as conn:
        conn.execute(update(tracks).where(tracks.c.id == library[3]).values(created_at=func.now()))
    root = exported(engine, tmp_path, new=True)
    (since,) = (node for node in root.iter("NODE") if (node.get("Name") or "").startswith("New since 20"))
    assert [track.get("Key") for track in since] == [str(library[3])]
    run_export(engine, ExportRequest("m3u8", new=True), tmp_path / "a.m3u8")
    assert (tmp_path / "a.m3u8").read_text().count("#EXTINF") == 4
    run_export(engine, ExportRequest("m3u8", new=True), tmp_path / "b.m3u8")
    assert (tmp_path / "b.m3u8").read_text().count("#EXTINF") == 0


def test_what_comes_in_while_an_export_is_made_is_new_the_next_time(
    engine: Engine, library: tuple[int, ...], tmp_path: Path
) -> None:
    with engine.begin() as conn:
        conn.execute(update(tracks).values(created_at=func.now() - text("interval '1 day'")))
    with engine.connect() as slow, slow.begin():
        place = dict(slow.execute(select(tracks.c.library_id, tracks.c.directory_id).limit(1)).mappings().one())
        at = {"relative_path": b"late.mp3", "file_path": "late.mp3", "file_name": "late.mp3", "status": "ok", "title": "Late"}
        slow.execute(insert(tracks).values(**place, **at))
        run_export(engine, ExportRequest("m3u8"), tmp_path / "a.m3u8")
    run_export(engine, ExportRequest("m3u8", new=True), tmp_path / "b.m3u8")
    assert "late" not in (tmp_path / "a.m3u8").read_text()
    assert (tmp_path / "b.m3u8").read_text().endswith("/late.mp3\n")


def test_a_track_that_is_deleted_leaves_its_entry(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    brought(engine, tmp_path)
    with engine.begin() as conn:
        conn.execute(tracks.delete().where(tracks.c.id == library[0]))
    entries, _ = rekordbox(exported(engine, tmp_path))
    assert "file://localhost/C:/Music/House/%C3%9Cnder%20&%20Over.mp3" in entries


def test_a_track_that_comes_after_the_import_takes_its_entry(engine: Engine, library: tuple[int, ...], tmp_path: Path) -> None:
    brought(engine, tmp_path)
    with engine.begin() as conn:
        place = dict(conn.execute(select(tracks.c.library_id, tracks.c.directory_id).limit(1)).mappings().one())
        name = "Elsewhere/three.mp3"
        at = {"relative_path": name.encode(), "file_path": name, "file_name": name, "status": "ok", "title": "Three"}
        number = conn.execute(insert(tracks).values(**place, **at).returning(tracks.c.id)).scalar_one()
    root = exported(engine, tmp_path)
    location = "file://localhost/C:/Music/Elsewhere/three.mp3"
    (three,) = (track for track in root.iter("TRACK") if track.get("Location") == location)
    assert (three.get("TrackID"), three.get("Name"), three.get("Rating")) == (str(number), "Not here", "255")
    collection = root.find("COLLECTION")
    assert collection is not None
    assert len(collection) == 6
