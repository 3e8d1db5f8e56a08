"""What changed in a directory: every file has exactly one fate, and the line of the ledger adds up."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from map4_pipeline.ingest.classify import Changes, classify, join, same_file
from map4_pipeline.library.model import DirectoryListing, FileStat, FoundFile, SkippedFile, UnreadableEntry
from map4_pipeline.store.tracks import UNREADABLE_FOLDER, KnownSkip, KnownTrack

VERSIONS = {"features": "2", "fingerprint": "7"}
STAT = FileStat(1000, 5, 6, 7)


def track(id_: int, path: bytes = b"a/x.mp3", **changes: object) -> KnownTrack:
    known = KnownTrack(id_, path, STAT, "ok", False, "2", "7", None)
    return dataclasses.replace(known, **changes)  # type: ignore[arg-type]


def look(
    *files: FoundFile,
    skipped: tuple[SkippedFile, ...] = (),
    unreadable: tuple[UnreadableEntry, ...] = (),
    known: tuple[KnownTrack, ...] = (),
    skips: tuple[KnownSkip, ...] = (),
    **how: bool,
) -> Changes:
    listing = DirectoryListing(b"a", files, skipped, unreadable)
    rows = {row.relative_path: row for row in known}
    return classify(listing, rows, {skip.relative_path: skip for skip in skips}, VERSIONS, **how)


X = FoundFile(b"x.mp3", STAT)


def test_a_new_file_waits_for_analysis() -> None:
    changes = look(X)
    assert changes.new == [(b"a/x.mp3", X)]
    assert (changes.ledger.seen, changes.ledger.pending) == (1, 1)


def test_an_unchanged_file_is_left_alone() -> None:
    changes = look(X, known=(track(1),))
    assert changes == dataclasses.replace(Changes(), ledger=changes.ledger)
    assert (changes.ledger.seen, changes.ledger.unchanged) == (1, 1)


def test_a_file_counts_as_changed_by_size_time_ctime_or_inode() -> None:
    for other in (FileStat(1001, 5, 6, 7), FileStat(1000, 6, 6, 7), FileStat(1000, 5, 9, 7), FileStat(1000, 5, 6, 8)):
        assert look(FoundFile(b"x.mp3", other), known=(track(1),)).changed == [(1, other)]


def test_where_ctime_and_inode_mean_nothing_size_and_time_decide() -> None:
    assert same_file(FileStat(1000, 5), FileStat(1000, 5, 6, 7))
    assert same_file(FileStat(1000, 5, 6, 7), FileStat(1000, 5))
    assert not same_file(None, STAT)


def test_verify_reads_every_file_again() -> None:
    short = KnownSkip(9, b"a/y.mp3", "too_short", STAT)
    changes = look(X, FoundFile(b"y.mp3", STAT), known=(track(1),), skips=(short,), verify=True)
    assert changes.changed == [(1, STAT)]
    assert [path for path, _ in changes.new] == [b"a/y.mp3"]
    assert changes.forgotten_skips == [9]


def test_a_failed_file_stays_failed_until_it_is_to_be_tried_again() -> None:
    failed = track(1, status="failed", error_kind="damaged")
    assert look(X, known=(failed,)).ledger.failed == 1
    assert look(X, known=(failed,), retry_failed=True).outdated == [1]
    assert look(X, known=(dataclasses.replace(failed, features_version="1"),)).outdated == [1]
    assert look(FoundFile(b"x.mp3", FileStat(999, 9)), known=(failed,)).changed == [(1, FileStat(999, 9))]


def test_a_file_that_could_not_be_read_is_tried_at_every_scan() -> None:
    assert look(X, known=(track(1, status="failed", error_kind="unreadable"),)).outdated == [1]


def test_a_new_version_of_either_stage_makes_a_track_outdated() -> None:
    assert look(X, known=(track(1, features_version="1"),)).outdated == [1]
    assert look(X, known=(track(1, fingerprint_version="6"),)).outdated == [1]
    assert look(X, known=(track(1, fingerprint_version=None),)).outdated == [1]


def test_a_file_that_is_gone_is_missing_once() -> None:
    assert look(known=(track(1),)).missing == [1]
    again = look(known=(track(1, missing=True),))
    assert (again.missing, again.ledger.missing, again.ledger.seen) == ([], 1, 0)


def test_a_missing_file_that_is_back_unchanged_is_not_read() -> None:
    changes = look(X, known=(track(1, missing=True),))
    assert (changes.returned, changes.ledger.unchanged) == ([1], 1)


def test_a_link_in_place_of_a_file_makes_the_track_missing_and_is_skipped() -> None:
    link = SkippedFile(b"x.mp3", "link_outside", "It is a link.", FileStat(10, 1))
    changes = look(skipped=(link,), known=(track(1),))
    assert (changes.missing, changes.skipped) == ([1], [(b"a/x.mp3", link)])
    assert (changes.ledger.seen, changes.ledger.skipped, changes.ledger.missing) == (1, 1, 1)


def test_a_short_file_is_not_decoded_again_while_it_is_the_same() -> None:
    short = KnownSkip(9, b"a/x.mp3", "too_short", STAT)
    assert look(X, skips=(short,)).ledger.skipped == 1
    longer = look(FoundFile(b"x.mp3", FileStat(9000, 5)), skips=(short,))
    assert longer.forgotten_skips == [9]
    assert longer.ledger.pending == 1


def test_in_a_folder_that_cannot_be_opened_nothing_is_missing() -> None:
    closed = UnreadableEntry(b"", "The folder cannot be listed: permission denied.", is_directory=True)
    skip = KnownSkip(9, b"a/t.txt", "not_audio", STAT)
    changes = look(unreadable=(closed,), known=(track(1),), skips=(skip,))
    assert (changes.missing, changes.forgotten_skips) == ([], [])
    assert changes.unreadable == [(b"a", closed.message, True)]
    assert (changes.ledger.seen, changes.ledger.failed) == (1, 1)


def test_the_row_of_a_closed_folder_goes_when_it_is_open_again() -> None:
    row = track(5, path=b"a", status="failed", error_kind=UNREADABLE_FOLDER, stat=None)
    assert look(X, known=(track(1), row)).forgotten_rows == [5]


def test_paths_are_joined_without_a_leading_slash() -> None:
    assert [join(b"", b"x"), join(b"a", b"x"), join(b"a", b""), join(b"", b"")] == [b"x", b"a/x", b"a", b""]


stats = st.builds(FileStat, st.integers(0, 2), st.integers(0, 2), st.integers(0, 1), st.integers(0, 1))
names = st.sampled_from([b"%d.mp3" % n for n in range(6)])
fates = st.one_of(
    st.tuples(st.just("file"), stats),
    st.tuples(st.just("skip"), stats, st.sampled_from(["not_audio", "hidden", "link_outside"])),
    st.tuples(st.just("unreadable"), st.booleans()),
)
rows = st.tuples(
    st.one_of(st.none(), stats),
    st.sampled_from(["ok", "failed", "pending"]),
    st.booleans(),
    st.sampled_from([None, "1", "2"]),
    st.sampled_from([None, "7"]),
    st.sampled_from([None, "damaged", "unreadable", UNREADABLE_FOLDER]),
)
old_skips = st.tuples(st.sampled_from(["too_short", "not_audio"]), stats)


@given(
    st.dictionaries(names, fates), st.dictionaries(names, rows), st.dictionaries(names, old_skips), st.booleans(), st.booleans()
)
def test_every_file_has_one_fate_and_the_ledger_adds_up(disk, before, skipped_before, retry, verify) -> None:  # type: ignore[no-untyped-def]
    files = tuple(FoundFile(name, fate[1]) for name, fate in disk.items() if fate[0] == "file")
    skipped = tuple(SkippedFile(name, fate[2], "why", fate[1]) for name, fate in disk.items() if fate[0] == "skip")
    unreadable = tuple(UnreadableEntry(name, "why", fate[1]) for name, fate in disk.items() if fate[0] == "unreadable")
    known = tuple(KnownTrack(n, b"a/" + name, *row) for n, (name, row) in enumerate(before.items(), 1))
    skips = tuple(KnownSkip(n, b"a/" + name, *row) for n, (name, row) in enumerate(skipped_before.items(), 100))
    changes = look(*files, skipped=skipped, unreadable=unreadable, known=known, skips=skips, retry_failed=retry, verify=verify)
    ledger = changes.ledger
    assert ledger.seen == len(disk)
    assert ledger.seen == ledger.unchanged + ledger.failed + ledger.skipped + ledger.pending
    assert ledger.analysed == ledger.reused == 0
    # Nobody is written twice, and nobody is both here and gone.
    written = [*[id_ for id_, _ in changes.changed], *changes.outdated]
    assert len(written) == len(set(written))
    gone = {*changes.missing, *changes.forgotten_rows}
    assert not gone & {*written, *changes.returned}
    assert len(changes.forgotten_skips) == len(set(changes.forgotten_skips))
    # Whatever is not on disk and was not known to be missing is now.
    there = {b"a/" + name for name in disk}
    for row in known:
        if row.relative_path not in there:
            assert row.missing or row.id in gone
