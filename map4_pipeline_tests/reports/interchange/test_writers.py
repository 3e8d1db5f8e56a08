"""rekordbox XML, Traktor NML and M3U8, read back by programs of others where there are any."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import m3u8
import pytest
from pyrekordbox.rbxml import RekordboxXml

from map4_pipeline.reports.interchange.deck import Cue, DeckPlaylist, DeckTrack, GridMark, written_key
from map4_pipeline.reports.interchange.m3u import write_m3u8
from map4_pipeline.reports.interchange.rekordbox import write_rekordbox
from map4_pipeline.reports.interchange.traktor import key_number, write_traktor

TRACKS = [
    DeckTrack(
        id=7,
        path=b"/music/House & Co/a <b>.mp3",
        title='Say "hi" & <go>\x07',
        artist="Сибирь",
        duration=241.4,
        bit_rate=320_000,
        sample_rate=44_100,
        size_bytes=9_000_000,
        codec="mp3",
        bpm=128.004,
        key="F# minor",
        loudness_lufs=-8.5,
        true_peak_dbtp=0.3,
        year=2001,
        added_on="2026-03-04",
        rating=4,
        grid=(GridMark(0.123, 128.004, 4, 1), GridMark(120.5, 140.0, 3, 2)),
        cues=(Cue("cue", 32.5, number=0, name="Drop", color=(255, 0, 10)), Cue("loop", 64.0, end=71.5)),
    ),
    DeckTrack(id=9, path=b"/music/\xff\nodd.flac"),
]
PLAYLISTS = [DeckPlaylist("Friday", (9, 7, 9)), DeckPlaylist("Folder", children=(DeckPlaylist("Empty"),))]


def test_rekordbox_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "c.xml"
    write_rekordbox(iter(TRACKS), path, count=2, playlists=PLAYLISTS)
    found = RekordboxXml(str(path))
    assert found.num_tracks == 2
    track = found.get_track(TrackID=7)
    assert track["Name"] == 'Say "hi" & <go>\ufffd'
    assert (track["Artist"], track["AverageBpm"], track["Tonality"]) == ("Сибирь", 128.0, "F#m")
    assert (track["TotalTime"], track["BitRate"], track["Rating"], track["Kind"]) == (241, 320, 4, "MP3 File")
    assert track["Location"].endswith("music/House & Co/a <b>.mp3")
    assert [(tempo["Inizio"], tempo["Bpm"], tempo["Metro"], tempo["Battito"]) for tempo in track.tempos] == [
        (0.123, 128.0, "4/4", 1),
        (120.5, 140.0, "3/4", 2),
    ]
    assert [(mark["Type"], mark["Start"], mark["Num"]) for mark in track.marks] == [("cue", 32.5, 0), ("loop", 64.0, -1)]
    bare = found.get_track(TrackID=9)
    assert bare["Name"].endswith("odd.flac")
    assert not bare.tempos
    friday = found.get_playlist("Friday")
    assert friday.get_tracks() == [9, 7, 9]
    assert found.get_playlist("Folder", "Empty").get_tracks() == []


def test_rekordbox_xml_has_what_the_published_format_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "c.xml"
    write_rekordbox(iter(TRACKS), path, count=2, playlists=PLAYLISTS, notation="camelot")
    root = ElementTree.parse(path).getroot()
    assert (root.tag, root.get("Version")) == ("DJ_PLAYLISTS", "1.0.0")
    assert [child.tag for child in root] == ["PRODUCT", "COLLECTION", "PLAYLISTS"]
    collection = root[1]
    assert int(collection.get("Entries", "")) == len(collection) == 2
    for track in collection:
        assert track.get("Location", "").startswith("file://localhost/")
        assert float(track.get("AverageBpm", "0")) >= 0
    assert collection[0].get("Tonality") == "11A"
    (top,) = root[2]
    assert (top.get("Type"), top.get("Name"), top.get("Count")) == ("0", "ROOT", "2")
    assert (top[0].get("Type"), top[0].get("KeyType"), top[0].get("Entries")) == ("1", "0", "3")


def test_what_a_dj_has_made_in_rekordbox_is_written_again(tmp_path: Path) -> None:
    kept = {
        "attributes": {
            "TrackID": "1234",
            "Name": "My name",
            "Mix": "Dub",
            "Location": "file://localhost/old.mp3",
            "AverageBpm": "127.90",
        },
        "children": [
            ("TEMPO", {"Inizio": "0.5", "Bpm": "127.90", "Metro": "4/4", "Battito": "3"}),
            ("POSITION_MARK", {"Num": "0"}),
        ],
    }
    path = tmp_path / "c.xml"
    write_rekordbox([DeckTrack(id=1, path=b"/new.mp3", bpm=64.0, grid=(GridMark(0, 64.0),), kept=kept)], path, count=1)
    (track,) = ElementTree.parse(path).getroot().iter("TRACK")
    assert (track.get("TrackID"), track.get("Location")) == ("1", "file://localhost/new.mp3")
    assert (track.get("Name"), track.get("Mix"), track.get("AverageBpm")) == ("My name", "Dub", "127.90")
    assert [(child.tag, dict(child.attrib)) for child in track] == kept["children"]


def test_traktor_has_entries_grids_cues_and_playlists(tmp_path: Path) -> None:
    path = tmp_path / "c.nml"
    write_traktor(iter(TRACKS), path, count=2, playlists=PLAYLISTS)
    root = ElementTree.parse(path).getroot()
    assert root.get("VERSION") == "19"
    collection = root.find("COLLECTION")
    assert collection is not None
    assert int(collection.get("ENTRIES", "")) == len(collection) == 2
    entry = collection[0]
    location, info, tempo, key = (entry.find(name) for name in ("LOCATION", "INFO", "TEMPO", "MUSICAL_KEY"))
    assert None not in (location, info, tempo, key)
    assert (location.get("DIR"), location.get("FILE")) == ("/:music/:House & Co/:", "a <b>.mp3")
    assert (info.get("KEY"), info.get("RANKING"), info.get("IMPORT_DATE")) == ("4m", "204", "2026/3/4")
    assert float(tempo.get("BPM", "")) == pytest.approx(128.004)
    assert key.get("VALUE") == "18"
    cues = entry.findall("CUE_V2")
    assert [(cue.get("TYPE"), float(cue.get("START", ""))) for cue in cues] == [
        ("4", 123.0),
        ("4", 120_500.0),
        ("0", 32_500.0),
        ("5", 64_000.0),
    ]
    grid = cues[0].find("GRID")
    assert grid is not None
    assert float(grid.get("BPM", "")) == pytest.approx(128.004)
    assert float(cues[3].get("LEN", "")) == 7500.0
    playlists = {node.get("NAME"): node for node in root.iter("NODE")}
    keys = [item.get("KEY") for item in playlists["Friday"].iter("PRIMARYKEY")]
    assert keys[1] == "Macintosh HD/:music/:House & Co/:a <b>.mp3"
    assert len(keys) == 3
    assert playlists["Folder"].get("TYPE") == "FOLDER"


def test_a_playlist_keeps_its_number_in_traktor(tmp_path: Path) -> None:
    numbers = []
    for name in ("a.nml", "b.nml"):
        write_traktor(iter(TRACKS), tmp_path / name, count=2, playlists=PLAYLISTS)
        numbers.append([item.get("UUID") for item in ElementTree.parse(tmp_path / name).iter("PLAYLIST")])
    assert numbers[0] == numbers[1]
    assert len(set(numbers[0])) == 2


@pytest.mark.parametrize(("key", "number"), [("C major", 0), ("B major", 11), ("C minor", 12), ("A minor", 21), (None, None)])
def test_traktors_numbers_of_keys(key: str | None, number: int | None) -> None:
    assert key_number(key) == number


@pytest.mark.parametrize(
    ("key", "notation", "written"),
    [
        ("A minor", "musical", "Am"),
        ("F# major", "musical", "F#"),
        ("A minor", "camelot", "8A"),
        ("A minor", "open", "1m"),
        ("?", "open", None),
    ],
)
def test_keys_are_written_as_asked(key: str, notation: str, written: str | None) -> None:
    assert written_key(key, notation) == written


def test_a_player_reads_the_playlist(tmp_path: Path) -> None:
    path = tmp_path / "p.m3u8"
    write_m3u8(TRACKS[:1], path, name="Friday\nnight")
    found = m3u8.load(str(path))
    assert [(segment.uri, segment.duration) for segment in found.segments] == [("/music/House & Co/a <b>.mp3", 241.0)]
    lines = path.read_bytes().decode().splitlines()
    assert lines[:2] == ["#EXTM3U", "#PLAYLIST:Friday night"]
    write_m3u8(TRACKS, path)
    assert path.read_bytes().splitlines()[-1] == b"/music/\xff%0Aodd.flac"
