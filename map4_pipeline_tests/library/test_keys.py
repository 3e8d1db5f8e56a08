"""Partition keys, slugs and the text form of paths: laws that hold for all bytes."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from map4_pipeline.library.keys import MAX_KEY_LENGTH, escape_path, partition_key, slugify, unescape_path

components = st.binary(min_size=1, max_size=80).map(lambda data: data.replace(b"/", b"x").replace(b"\0", b"y"))
# Names as people and programs write them, and names that are no text at all.
names = st.one_of(
    components, st.text(min_size=1, max_size=60).map(lambda text: text.replace("/", "_").encode("utf-8", "replace"))
)
paths = st.lists(names, max_size=8).map(b"/".join)

FORBIDDEN = set(",'\"[](){}<>|*?:;\\`$&%#=@!~") - {"~"}


def assert_is_valid(key: str) -> None:
    assert len(key) <= MAX_KEY_LENGTH
    assert "..." not in key
    assert not FORBIDDEN & set(key)
    assert key.isprintable()
    assert key == key.strip()
    assert key.count("~") == 1
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for character in key)
    key.encode("utf-8")


@given(paths, st.integers(1, 2**31))
def test_every_path_has_a_valid_key_that_never_changes(path: bytes, library_id: int) -> None:
    key = partition_key("my-music", library_id, path)
    assert_is_valid(key)
    assert key == partition_key("my-music", library_id, path)
    assert key.startswith("my-music/")


@given(paths, paths, st.integers(1, 99), st.integers(1, 99))
def test_different_directories_have_different_keys(one: bytes, other: bytes, library: int, another: int) -> None:
    same = (one, library) == (other, another)
    assert (partition_key("m", library, one) == partition_key("m", another, other)) == same


@given(st.text(max_size=300), paths)
def test_a_key_stays_valid_whatever_the_slug(slug: str, path: bytes) -> None:
    assert_is_valid(partition_key(slug, 1, path))


@pytest.mark.parametrize(
    ("path", "readable"),
    [
        (b"", "."),
        (b"Artist/Best of...", "Artist/Best of"),
        ("Käthe & die Wellen/Frühling 🌱".encode(), "Käthe die Wellen/Frühling"),
        ("Motörhead/Don't Stop (Live) [2004]".encode(), "Motörhead/Dont Stop Live 2004"),
        ("音楽/モーニング娘。".encode(), "音楽/モーニング娘"),
        (b"AC\xff\xfeDC", "AC DC"),
        (b"...And Justice for All", "And Justice for All"),
        (b"tab\there/new\nline", "tab here/new line"),
        (b"...", "_"),
    ],
)
def test_keys_are_readable(path: bytes, readable: str) -> None:
    key = partition_key("lib", 7, path)
    assert key.rpartition("~")[0] == f"lib/{readable}"
    assert len(key.rpartition("~")[2]) == 10


def test_key_is_the_documented_hash() -> None:
    # SHA-256 of b"7\\0Artist/Album"; a golden value, because keys are stored in Dagster for years.
    assert partition_key("lib", 7, b"Artist/Album") == "lib/Artist/Album~e985a66072"


def test_long_paths_keep_head_and_tail() -> None:
    key = partition_key("lib", 1, b"Artist/" + b"x" * 4000 + b"/The Last Album")
    assert len(key) <= MAX_KEY_LENGTH
    assert key.startswith("lib/Artist/xxx")
    assert "/The Last Album~" in key


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My Music", "my-music"),
        ("Käthe's Plattenkiste!", "kathe-s-plattenkiste"),
        ("a" * 90, "a" * 40),
        ("音楽", "library-14b31f"),
    ],
)
def test_slugs(name: str, slug: str) -> None:
    assert slugify(name) == slug


@given(st.text(max_size=60))
def test_every_name_has_a_slug_of_safe_characters(name: str) -> None:
    slug = slugify(name)
    assert 1 <= len(slug) <= 40
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug == slug.strip("-")


@given(st.one_of(st.binary(max_size=200), paths))
def test_paths_survive_as_text(path: bytes) -> None:
    text = escape_path(path)
    assert unescape_path(text) == path
    assert "\0" not in text
    # PostgreSQL refuses anything that is no valid UTF-8.
    text.encode("utf-8")
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_different_paths_are_different_texts(one: bytes, other: bytes) -> None:
    assert (escape_path(one) == escape_path(other)) == (one == other)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("Käthe/🌱.mp3".encode(), "Käthe/🌱.mp3"),
        (b"bad-\xff\xfe.mp3", r"bad-\xff\xfe.mp3"),
        (b"new\nline\ttab\x1b", r"new\nline\ttab\x1b"),
        (rb"back\slash", r"back\\slash"),
        ("\u202egnp.mp3".encode(), r"\u202egnp.mp3"),
        ("\x85".encode(), r"\u0085"),
        (b"\x85", r"\x85"),
        (rb"\xff", r"\\xff"),
    ],
)
def test_escapes_are_the_documented_ones(path: bytes, text: str) -> None:
    assert escape_path(path) == text
    assert unescape_path(text) == path


def test_a_text_that_is_no_escaped_path_is_refused() -> None:
    with pytest.raises(ValueError, match="backslash"):
        unescape_path(r"C:\qux")
