"""Files of rekordbox, Traktor and players: read as they are, refused with a reason when they are none."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from map4_pipeline.reports.interchange.deck import Cue, DeckPlaylist, DeckTrack, GridMark
from map4_pipeline.reports.interchange.disagreements import Values, disagreements
from map4_pipeline.reports.interchange.m3u import write_m3u8
from map4_pipeline.reports.interchange.matching import Known, Wanted, match_tracks
from map4_pipeline.reports.interchange.read_m3u import read_m3u
from map4_pipeline.reports.interchange.read_rekordbox import read_rekordbox
from map4_pipeline.reports.interchange.read_traktor import read_traktor
from map4_pipeline.reports.interchange.reading import DeckEntry, DeckFileError, DeckList
from map4_pipeline.reports.interchange.rekordbox import write_rekordbox
from map4_pipeline.reports.interchange.traktor import write_traktor

from .decks import REKORDBOX, TRAKTOR

Reader = Callable[[Path], Iterator[DeckEntry | DeckList]]


def read(reader: Reader, path: Path, content: str | bytes) -> tuple[list[DeckEntry], DeckList | None]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    items = list(reader(path))
    lists = [item for item in items if isinstance(item, DeckList)]
    return [item for item in items if isinstance(item, DeckEntry)], lists[0] if lists else None


def test_a_rekordbox_collection_is_read_with_everything(tmp_path: Path) -> None:
    entries, root = read(read_rekordbox, tmp_path / "c.xml", REKORDBOX)
    first = entries[0]
    assert first.location == "C:/Music/House/Ünder & Over.mp3".encode()
    assert (first.title, first.artist, first.size_bytes, first.duration) == ("Under & Over", "Ann", 9_000_000, 241)
    assert (first.bpm, first.key, first.grid_start, first.rating, first.play_count) == (128.0, "A minor", 0.025, 4, 7)
    assert first.cues == (
        Cue("cue", 32.525, number=0, name="Drop <1>", color=(40, 226, 20)),
        Cue("loop", 64.025, end=71.525, name="Loop"),
    )
    assert first.attributes["Grouping"] == "Warm up"
    assert [name for name, _ in first.children] == ["TEMPO", "TEMPO", "POSITION_MARK", "POSITION_MARK"]
    assert first.children[0][1] == {"Inizio": "0.025", "Bpm": "128.00", "Metro": "4/4", "Battito": "1"}
    assert entries[3].location == b"file://localhostsoundcloud:tracks:4711"
    assert root is not None
    assert root.children is not None
    folder, flat = root.children
    assert (folder.name, [child.name for child in folder.children or ()]) == ("Gigs", ["2025", "Empty"])
    assert flat.names == ("3", "1", "3")


def test_a_traktor_collection_is_read_with_everything(tmp_path: Path) -> None:
    entries, root = read(read_traktor, tmp_path / "c.nml", TRAKTOR)
    first = entries[0]
    assert first.location == b"C:/Music/House/one.mp3"
    assert (first.bpm, first.key, first.rating, first.play_count) == (128.0, "A minor", 3, 5)
    assert first.grid_start == pytest.approx(0.0514)
    assert [(cue.kind, cue.start, cue.end, cue.number) for cue in first.cues] == [
        ("cue", 32.5, None, 1),
        ("loop", 64.0, 71.5, None),
    ]
    assert first.cues[1].name == ""
    assert root is not None
    assert root.passed_over == 1
    grid = next(values for name, values in first.children if name == "CUE_V2")
    assert grid["GRID"] == {"BPM": "128.000000"}
    assert root is not None
    (folder,) = root.children or ()
    assert [(node.name, node.uuid) for node in folder.children or ()] == [("Friday", "0f" * 16)]
    assert (folder.children or ())[0].names == first.names


TRACK = DeckTrack(
    id=7,
    path=b"C:/Music/a.mp3",
    title="A",
    artist="B",
    bpm=128.0,
    key="F# minor",
    rating=4,
    duration=200.0,
    size_bytes=5_000_000,
    grid=(GridMark(0.123, 128.0),),
    cues=(Cue("cue", 32.5, number=0, name="Drop"), Cue("loop", 64.0, end=71.5)),
)


@pytest.mark.parametrize(("write", "reader"), [(write_rekordbox, read_rekordbox), (write_traktor, read_traktor)])
def test_what_is_written_is_read_back(tmp_path: Path, write: Any, reader: Reader) -> None:
    path = tmp_path / "x"
    write([TRACK], path, count=1, playlists=[DeckPlaylist("F", children=[DeckPlaylist("P", (7, 7))])])
    entries, root = read(reader, path, path.read_bytes())
    (entry,) = entries
    assert (entry.location, entry.title, entry.artist, entry.bpm) == (TRACK.path, "A", "B", 128.0)
    assert (entry.key, entry.rating, entry.grid_start, entry.cues) == ("F# minor", 4, 0.123, TRACK.cues)
    assert root is not None
    assert (root.children or ())[0].children == (
        DeckList(name="P", names=(entry.names[0],) * 2, uuid=(root.children or ())[0].children[0].uuid),
    )


BOMB = '<?xml version="1.0"?><!DOCTYPE {0} [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><{0}>&b;</{0}>'
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE {0} SYSTEM "file:///etc/passwd"><{0}/>'


@pytest.mark.parametrize(
    ("reader", "root", "whole"), [(read_rekordbox, "DJ_PLAYLISTS", REKORDBOX), (read_traktor, "NML", TRAKTOR)]
)
def test_what_is_no_such_file_is_refused_with_the_reason(tmp_path: Path, reader: Reader, root: str, whole: str) -> None:
    path = tmp_path / "file"
    for content, reason in [
        (BOMB.format(root), "document type declaration"),
        (OUTSIDE.format(root), "document type declaration"),
        ("", "is empty"),
        (b"ID3\x03\x00\x00", "not well-formed"),
        ("<html><body/></html>", "begins with <html>"),
        (whole[: len(whole) // 2], "cut off in line"),
        (whole.replace("<COLLECTION", "<COLLECTION>&gone;<X", 1), "undefined entity|not well-formed|mismatched"),
        (f"<{root}>" + "<a>" * 5000, "nested"),
    ]:
        with pytest.raises(DeckFileError, match=reason):
            read(reader, path, content)


def test_a_collection_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "c.xml"
    start = '<DJ_PLAYLISTS><COLLECTION Entries="2"><TRACK Location="file://localhost/a.mp3"/>' + " " * 200_000
    path.write_text(start)
    items = read_rekordbox(path)
    # The first is there before the end, which is missing.
    assert isinstance(next(items), DeckEntry)
    with pytest.raises(DeckFileError, match="cut off"):
        next(items)


def test_a_players_list_is_read(tmp_path: Path) -> None:
    path = tmp_path / "p.m3u8"
    path.write_bytes(
        b"\xef\xbb\xbf#EXTM3U\r\n#PLAYLIST:Friday\r\n#EXTINF:241,Ann - Under - Over\r\n/music/a.mp3\r\n"
        b"#EXTINF:-1,Only a title\r\nsub\\b.mp3\r\n../c%20d.mp3\r\nfile:///music/e%20f.mp3\r\nD:\\Music\\g.mp3\r\n/m/\xff.mp3"
    )
    found = read_m3u(path)
    here = str(tmp_path).encode()
    assert found.name == "Friday"
    assert [entry.location for entry in found.entries] == [
        b"/music/a.mp3",
        here + b"/sub/b.mp3",
        here.rpartition(b"/")[0] + b"/c%20d.mp3",
        b"/music/e f.mp3",
        b"D:\\Music\\g.mp3",
        b"/m/\xff.mp3",
    ]
    first, second = found.entries[:2]
    assert (first.artist, first.title, first.duration) == ("Ann", "Under - Over", 241)
    assert (second.artist, second.title, second.duration) == (None, "Only a title", None)


def test_a_list_of_ours_leads_back_to_the_files(tmp_path: Path) -> None:
    paths = [b"/music/odd\nname.mp3", b"/music/\xff.flac", "/music/é.mp3".encode()]
    write_m3u8([DeckTrack(id=number, path=path) for number, path in enumerate(paths)], tmp_path / "p.m3u8")
    assert [entry.location for entry in read_m3u(tmp_path / "p.m3u8").entries] == paths


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\0\0", "no M3U"), (b"<html>", "no M3U"), (b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:4,\na.ts\n", "HLS")],
)
def test_what_is_no_list_of_files_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "p.m3u8").write_bytes(content)
    with pytest.raises(DeckFileError, match=reason):
        read_m3u(tmp_path / "p.m3u8")


def known(
    number: int, path: str, size: int | None = 1000, length: float | None = 100.0, title: str = "", artist: str = ""
) -> Known:
    return Known(number, path.encode(), size, length, title or None, artist or None)


@pytest.mark.parametrize(
    ("wanted", "by"),
    [
        (Wanted(0, b"/m/A\xcc\x8a/one.mp3"), "path in another spelling"),
        (Wanted(0, "/m/Å/one.mp3".encode()), "path"),
        (Wanted(0, b"/gone.mp3", earlier=1), "earlier import"),
        (Wanted(0, b"/else/ONE.mp3", 1000), "name and size"),
        (Wanted(0, b"/else/one.mp3", 2048, 1024, 101.5), "name and length"),
        (Wanted(0, b"/else/one.mp3", 1500, 1024), "name and size"),
        (Wanted(0, b"/else/x.flac", 5, duration=99, title="tITLE", artist="Ann"), "title, artist and length"),
        (Wanted(0, b"/else/x.flac", 5, duration=90, title="Title", artist="Ann"), None),
        (Wanted(0, b"/else/x.flac", 1000, duration=100), None),
        (Wanted(0, b"/else/one.mp3"), None),
    ],
)
def test_a_track_is_found_by_the_strongest_evidence(wanted: Wanted, by: str | None) -> None:
    tracks = [known(1, "/m/Å/one.mp3", title="Title", artist="ann"), known(2, "/m/two.mp3")]
    found = match_tracks(tracks, [wanted])[0]
    assert (found.by, found.track and found.track.id) == (by, 1 if by else None)


def test_nothing_is_guessed() -> None:
    twins = [known(1, "/a/one.mp3"), known(2, "/b/one.mp3")]
    found = match_tracks(twins, [Wanted(0, b"/c/one.mp3", 1000)])[0]
    assert found.track is None
    assert [track.id for track in found.candidates] == [1, 2]
    # One of them is known by its path: the other one is left, and that is certain.
    both = match_tracks(twins, [Wanted(0, b"/c/one.mp3", 1000), Wanted(1, b"/b/one.mp3")])
    assert {ref: match.track and match.track.id for ref, match in both.items()} == {0: 1, 1: 2}
    # Two entries for one track: which of them is not known either.
    claims = match_tracks(twins[:1], [Wanted(0, b"/c/one.mp3", 1000), Wanted(1, b"/d/one.mp3", 1000)])
    assert [match.track for match in claims.values()] == [None, None]


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        (Values(128.0, "A minor", 0.1), Values(128.3, "A minor", 0.11), []),
        (Values(174.0), Values(87.1), ["octave"]),
        (Values(128.0), Values(126.0), ["bpm"]),
        (Values(172.0), Values(87.9), ["bpm"]),
        (Values(None, "C major"), Values(120.0, "A minor"), ["key"]),
        (Values(120.0, None, 8.0), Values(120.0, None, 0.026), ["grid"]),
        (Values(120.0, None, 8.01), Values(60.0, None, 0.5), ["octave"]),
        (Values(120.0, None, 8.2), Values(110.0, None, 0.0), ["bpm"]),
        (Values(), Values(120.0, "A minor", 0.0), []),
    ],
)
def test_differences_are_told(theirs: Values, ours: Values, expected: list[str]) -> None:
    assert [one.what for one in disagreements(theirs, ours)] == expected


def test_a_difference_says_how_the_two_relate() -> None:
    grid = disagreements(Values(120.0, None, 8.0), Values(120.0, None, 0.026))[0]
    assert grid.offset_ms == pytest.approx(-26.0)
    remarks = [
        disagreements(Values(key=key), Values(key="A minor"))[0].remark for key in ("C major", "A major", "E minor", "Eb minor")
    ]
    assert remarks == [
        "relative key, the same notes",
        "the same tonic in the other mode",
        "a fifth apart",
        "6 steps apart on the Camelot wheel",
    ]
