"""What a walk sees of real folders, hostile ones included."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from map4_pipeline.library.filesystem import is_local, root_state
from map4_pipeline.library.model import DirectoryListing
from map4_pipeline.library.walk import list_directory, walk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and names that are no text need a Unix file system")
NOBODY = 65534


def put(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def listings(root: Path) -> dict[bytes, DirectoryListing]:
    """Walk, and check on the way that `list_directory` agrees."""
    found = {}
    for listing in walk(str(root)):
        assert list_directory(str(root), listing.relative_path) == listing
        assert listing.relative_path not in found
        found[listing.relative_path] = listing
    return found


def reasons(listing: DirectoryListing) -> dict[bytes, str]:
    return {entry.name: entry.reason for entry in listing.skipped}


def names(listing: DirectoryListing) -> list[bytes]:
    return [entry.name for entry in listing.files]


def test_folders_come_parents_first_and_sorted(tmp_path: Path) -> None:
    for name in ("b/2.mp3", "b/1.flac", "a/deep/er/x.ogg", "top.WAV"):
        put(tmp_path / name)
    (tmp_path / "nothing in here").mkdir()
    found = listings(tmp_path)
    assert list(found) == [b"", b"a/deep/er", b"b"]
    assert names(found[b"b"]) == [b"1.flac", b"2.mp3"]
    assert names(found[b""]) == [b"top.WAV"]


def test_a_walk_goes_on_behind_any_directory(tmp_path: Path) -> None:
    for name in ("a/1.mp3", "a/b/2.mp3", "a/b/c/3.mp3", "a/bb/4.mp3", "a b/5.mp3", "a!/6.mp3", "b/7.mp3", "b/z/8.mp3", "0.mp3"):
        put(tmp_path / name)
    order = list(listings(tmp_path))
    for number, path in enumerate(order):
        assert [listing.relative_path for listing in walk(str(tmp_path), after=path)] == order[number + 1 :]
    shutil.rmtree(tmp_path / "a" / "b")
    for gone in (b"a/b/c", b"a/b/never/was"):
        left = [listing.relative_path for listing in walk(str(tmp_path), after=gone)]
        assert left == [b"a/bb", b"a b", b"a!", b"b", b"b/z"]


def test_every_entry_is_accounted_for_with_its_reason(tmp_path: Path) -> None:
    put(tmp_path / "ok.mp3")
    for name in (
        "cover.jpg",
        "no extension",
        ".hidden.mp3",
        "._ok.mp3",
        "Thumbs.db",
        "x.mp3.part",
        "y.crdownload",
        "z.flac.tmp",
        "z.tmp",
    ):
        put(tmp_path / name)
    os.mkfifo(tmp_path / "fifo.mp3")
    assert reasons(listings(tmp_path)[b""]) == {
        b"cover.jpg": "not_audio",
        b"no extension": "not_audio",
        b".hidden.mp3": "hidden",
        b"._ok.mp3": "hidden",
        b"Thumbs.db": "hidden",
        b"x.mp3.part": "partial_download",
        b"y.crdownload": "partial_download",
        b"z.flac.tmp": "partial_download",
        b"z.tmp": "not_audio",
        b"fifo.mp3": "not_regular",
    }


def test_sockets_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.mp3")
        assert reasons(listings(tmp_path)[b""]) == {b"socket.mp3": "not_regular"}


def test_titles_that_begin_with_dots_are_not_hidden(tmp_path: Path) -> None:
    put(tmp_path / "...And Justice for All" / "...Baby.mp3")
    assert names(listings(tmp_path)[b"...And Justice for All"]) == [b"...Baby.mp3"]


def test_files_in_hidden_folders_are_counted_as_hidden(tmp_path: Path) -> None:
    put(tmp_path / "a.mp3")
    put(tmp_path / ".trash" / "Album" / "b.mp3")
    put(tmp_path / "@eaDir" / "thumb.jpg")
    found = listings(tmp_path)
    assert reasons(found[b".trash/Album"]) == {b"b.mp3": "hidden"}
    assert reasons(found[b"@eaDir"]) == {b"thumb.jpg": "hidden"}


def test_links_are_told_apart_and_never_followed(tmp_path: Path) -> None:
    library = tmp_path / "library"
    put(library / "Album" / "song.mp3")
    put(tmp_path / "library-too" / "other.mp3")
    links = {
        "same.mp3": "Album/song.mp3",
        "folder": "Album",
        "up": "..",
        "round": ".",
        "dangling.mp3": "no-such-file",
        "self.mp3": "self.mp3",
        "ping.mp3": "pong.mp3",
        "pong.mp3": "ping.mp3",
        "out.mp3": "../library-too/other.mp3",
        "out folder": "../library-too",
    }
    for name, target in links.items():
        os.symlink(target, library / name)
    found = listings(library)
    assert list(found) == [b"", b"Album"]
    assert reasons(found[b""]) == {
        b"same.mp3": "link_inside",
        b"folder": "link_inside",
        b"up": "link_outside",
        b"round": "link_inside",
        b"dangling.mp3": "link_broken",
        b"self.mp3": "link_broken",
        b"ping.mp3": "link_broken",
        b"pong.mp3": "link_broken",
        b"out.mp3": "link_outside",
        b"out folder": "link_outside",
    }
    assert list_directory(str(library), b"folder") is None


def test_a_root_that_is_a_link_is_walked(tmp_path: Path) -> None:
    put(tmp_path / "real" / "a.mp3")
    os.symlink("Album", tmp_path / "real" / "inside")
    os.symlink("real", tmp_path / "link")
    (tmp_path / "real" / "Album").mkdir()
    listing = listings(tmp_path / "link")[b""]
    assert names(listing) == [b"a.mp3"]
    assert reasons(listing) == {b"inside": "link_inside"}


def test_names_come_back_byte_for_byte(tmp_path: Path) -> None:
    odd = [
        b"bad-\xff\xfe.mp3",
        b"new\nline.mp3",
        b"-rf.mp3",
        "\u202egnp.3pm.mp3".encode(),
        b"  lead trail .mp3",
        b"e\xcc\x81.mp3",
        b"\xc3\xa9.mp3",
    ]
    folder = os.fsencode(tmp_path) + b"/al\xffbum\n"
    try:
        os.mkdir(folder)
        for name in odd:
            with open(folder + b"/" + name, "wb"):
                pass
    except OSError:
        pytest.skip("not applicable: this file system takes UTF-8 names only")
    listing = listings(tmp_path)[b"al\xffbum\n"]
    assert names(listing) == sorted(odd)
    assert all(os.path.exists(folder + b"/" + name) for name in names(listing))


@settings(max_examples=25, deadline=None)
@given(
    st.sets(
        st.binary(min_size=1, max_size=40).filter(lambda name: not {0, 47} & set(name) and name not in (b".", b"..")), max_size=8
    )
)
def test_walk_agrees_with_the_disk_for_any_names(tmp_path_factory: pytest.TempPathFactory, stems: set[bytes]) -> None:
    root = tmp_path_factory.mktemp("names")
    for stem in stems:
        with open(os.fsencode(root) + b"/" + stem, "wb"):
            pass
    listing = listings(root)[b""]
    seen = {entry.name for entry in (*listing.files, *listing.skipped, *listing.unreadable)}
    assert seen == set(os.listdir(os.fsencode(root)))


def test_a_folder_named_like_a_file_is_a_folder(tmp_path: Path) -> None:
    put(tmp_path / "dir.mp3" / "a.mp3")
    found = listings(tmp_path)
    assert names(found[b"dir.mp3"]) == [b"a.mp3"]
    assert found[b""].files == ()


@contextmanager
def as_ordinary_user() -> Iterator[Path]:
    """Give a folder of one's own, and shed root's rights: permissions do not bind root."""
    folder = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, -1)
        os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(0)
            shutil.rmtree(folder)
    else:
        yield folder
        shutil.rmtree(folder)


def test_a_folder_without_permission_is_unreadable_and_not_gone() -> None:
    with as_ordinary_user() as root:
        put(root / "a.mp3")
        closed = [root / "closed", root / "lost+found"]
        for folder in closed:
            put(folder / "b.mp3")
            folder.chmod(0)
        try:
            found = listings(root)
            assert root_state(str(root / "closed")) == "unreadable"
        finally:
            for folder in closed:
                folder.chmod(0o755)
    assert list(found) == [b"", b"closed"]
    assert found[b"closed"].is_unreadable
    assert "permission denied" in found[b"closed"].unreadable[0].message
    assert not found[b""].is_unreadable


def test_an_io_error_is_unreadable_and_not_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "bad" / "a.mp3")
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"bad"):
            raise OSError(5, "Input/output error", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = listings(tmp_path)
    assert found[b"bad"].is_unreadable
    assert found[b"bad"].unreadable[0].message == "The folder cannot be listed: input/output error."


def test_a_path_beyond_the_systems_limit_is_reported_file_by_file(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    part = "d" * 200
    for _ in range(22):
        os.mkdir(part, dir_fd=descriptor)
        deeper = os.open(part, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    for name in ("deep.mp3", "deep.txt"):
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.symlink("deep.mp3", "link.mp3", dir_fd=descriptor)
    os.close(descriptor)
    found = listings(tmp_path)
    assert len(found) == 2
    deepest = found[b"/".join([part.encode()] * 22)]
    assert [entry.name for entry in deepest.unreadable] == [b"deep.mp3"]
    assert "shorten the folders" in deepest.unreadable[0].message
    assert reasons(deepest)[b"deep.txt"] == "not_audio"
    assert b"link.mp3" in reasons(deepest)


def test_deep_trees_need_no_recursion_and_have_a_limit(tmp_path: Path) -> None:
    path = tmp_path
    for _ in range(300):
        path = path / "d"
    put(path / "a.mp3")
    assert len(listings(tmp_path)) == 2
    limited = list(walk(str(tmp_path), max_depth=10))
    assert [listing.is_unreadable for listing in limited] == [False, True]
    assert limited[1].relative_path.count(b"/") == 10


def test_files_that_vanish_meanwhile_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.mp3", "b.mp3"):
        put(tmp_path / name)
    put(tmp_path / "gone" / "c.mp3")
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"gone"):
            raise FileNotFoundError(2, "No such file or directory")
        entries = real(path)
        (tmp_path / "b.mp3").unlink(missing_ok=True)
        return entries

    monkeypatch.setattr(os, "scandir", scandir)
    found = {listing.relative_path: listing for listing in walk(str(tmp_path))}
    assert list(found) == [b""]
    assert names(found[b""]) == [b"a.mp3"]


def test_a_directory_that_is_gone_is_none_and_a_lost_root_is_an_error(tmp_path: Path) -> None:
    put(tmp_path / "lib" / "a.mp3")
    assert list_directory(str(tmp_path / "lib"), b"gone/deeper") is None
    assert list_directory(str(tmp_path / "lib"), b"a.mp3") is None
    with pytest.raises(FileNotFoundError):
        list_directory(str(tmp_path / "unplugged"), b"Album")
    with pytest.raises(FileNotFoundError):
        list(walk(str(tmp_path / "unplugged")))
    for path in (b"/etc", b"..", b"a/../../b", b"a//b"):
        with pytest.raises(ValueError, match="relative"):
            list_directory(str(tmp_path / "lib"), path)


def test_the_signature_changes_with_any_file_and_only_then(tmp_path: Path) -> None:
    song = put(tmp_path / "a.mp3")
    before = listings(tmp_path)[b""].signature
    assert listings(tmp_path)[b""].signature == before
    os.utime(song, ns=(1, 1))
    after = listings(tmp_path)[b""].signature
    assert after != before
    song.rename(tmp_path / "b.mp3")
    assert listings(tmp_path)[b""].signature not in (before, after)


def test_ids_are_kept_on_local_disks_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song = put(tmp_path / "a.mp3")
    stat = listings(tmp_path)[b""].files[0].stat
    assert (stat.size, stat.mtime_ns) == (1, song.stat().st_mtime_ns)
    if is_local(str(tmp_path)):
        assert (stat.ctime_ns, stat.inode) == (song.stat().st_ctime_ns, song.stat().st_ino)
    monkeypatch.setattr("map4_pipeline.library.walk.is_local", lambda path: False)
    stat = listings(tmp_path)[b""].files[0].stat
    assert (stat.ctime_ns, stat.inode) == (0, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("path", "local"),
    [
        (b"/music/x", True),
        (b"/mnt/nas/x", False),
        (b"/mnt/nasty", True),
        (b"/mnt/a b", False),
        (b"/mnt/stick/a", False),
        (b"/mnt/rclone", False),
    ],
)
def test_shares_are_told_from_disks(path: bytes, local: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = put(
        tmp_path / "mountinfo",
        b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        b"30 22 0:5 / /mnt/nas rw shared:1 - nfs4 nas:/x rw\n"
        b"31 22 0:6 / /mnt/a\\040b rw - cifs //s/x rw\n"
        b"32 22 0:7 / /mnt/stick rw - vfat /dev/sdb1 rw\n"
        b"33 22 0:8 / /mnt/rclone rw - fuse.rclone r: rw\n",
    )
    real = open
    monkeypatch.setattr(
        "builtins.open", lambda name, *rest, **more: real(table if name == "/proc/self/mountinfo" else name, *rest, **more)
    )
    assert is_local(path) is local


def test_states_of_a_root(tmp_path: Path) -> None:
    put(tmp_path / "ok" / "a.mp3")
    put(tmp_path / "only hidden" / ".DS_Store")
    (tmp_path / "empty").mkdir()
    assert root_state(str(tmp_path / "ok")) == "ok"
    assert root_state(str(tmp_path / "only hidden")) == "empty"
    assert root_state(str(tmp_path / "empty")) == "empty"
    assert root_state(str(tmp_path / "ok" / "a.mp3")) == "not_a_directory"
    assert root_state(str(tmp_path / "nowhere")) == "absent"
