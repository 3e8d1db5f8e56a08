"""Paths from machine to machine, and as each program writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from map4_pipeline.reports.interchange.places import (
    PathMap,
    PathMapError,
    file_url,
    path_of_traktor,
    path_of_url,
    traktor_place,
)

NAMES = st.text(st.characters(exclude_characters="/\0\\", exclude_categories=["Cs"]), min_size=1, max_size=20)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: ("/" + "/".join(parts)).encode())


def test_the_longest_prefix_counts_and_only_whole_folders() -> None:
    there = PathMap(["/music=/Users/me/Music", "/music/vinyl=D:\\Rips\\Vinyl"]).there
    assert there(b"/music/a.mp3") == b"/Users/me/Music/a.mp3"
    assert there(b"/music/vinyl/b.mp3") == b"D:/Rips/Vinyl/b.mp3"
    assert there(b"/music2/a.mp3") == b"/music2/a.mp3"


def test_the_way_back_takes_windows_paths_in_any_case() -> None:
    here = PathMap(["/music=D:\\Music"]).here
    assert here(b"d:\\music\\House\\a.mp3") == b"/music/House/a.mp3"
    assert here(b"D:/Music/House/a.mp3") == b"/music/House/a.mp3"
    assert here(b"E:/Music/a.mp3") == b"E:/Music/a.mp3"


@pytest.mark.parametrize("pair", ["/music", "music=/x", "/music=", "=", "C:\\x=/y"])
def test_a_map_that_cannot_be_read_is_named(pair: str) -> None:
    with pytest.raises(PathMapError, match="FROM=TO"):
        PathMap([pair])


@given(PATHS)
def test_a_url_leads_back(path: bytes) -> None:
    url = file_url(path)
    assert url.isascii()
    assert path_of_url(url) == path


def test_urls_are_as_rekordbox_writes_them() -> None:
    assert file_url(b"/Users/me/a b&c.mp3") == "file://localhost/Users/me/a%20b%26c.mp3"
    assert file_url(b"C:/Music/\xc3\xa9.mp3") == "file://localhost/C:/Music/%C3%A9.mp3"
    assert path_of_url("file://localhost/C:/Music/a.mp3") == b"C:/Music/a.mp3"
    assert file_url(b"/m/\xff.mp3") == "file://localhost/m/%FF.mp3"
    assert path_of_url("https://example.org/a.mp3") is None


@given(PATHS)
def test_a_traktor_place_leads_back(path: bytes) -> None:
    # A doubled slash stands for a colon, so a path cannot have an empty part; other oddities stay.
    assert path_of_traktor(*traktor_place(path)) == path


def test_traktor_places_are_as_traktor_writes_them() -> None:
    assert traktor_place(b"/Users/me/a.mp3") == ("Macintosh HD", "/:Users/:me/:", "a.mp3")
    assert traktor_place(b"C:/Music/House/a.mp3") == ("C:", "/:Music/:House/:", "a.mp3")
    assert traktor_place(b"/Volumes/USB/House/a.mp3") == ("USB", "/:House/:", "a.mp3")
    assert path_of_traktor("USB", "/:House/:", "a.mp3") == b"/Volumes/USB/House/a.mp3"
    assert path_of_traktor("C:", "/:Music/:", "a.mp3") == b"C:/Music/a.mp3"
