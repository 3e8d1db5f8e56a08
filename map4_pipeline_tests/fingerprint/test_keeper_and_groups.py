"""Which copy is suggested and why; which pairs make a group."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from map4_pipeline.fingerprint.groups import components, recordings
from map4_pipeline.fingerprint.keeper import Copy, suggest_keeper

FLAC = Copy(1, "b/song.flac", 240.0, "flac", True, 900_000, 44100, 2, 16, None, "", 5)
MP3 = Copy(2, "a/song.mp3", 240.05, "mp3", False, 320_000, 44100, 2, 0, None, "", 9)


@pytest.mark.parametrize(
    ("kept", "other", "word"),
    [
        (FLAC, MP3, "lossless"),
        (MP3, replace(FLAC, cutoff_hz=16000.0), "made from a smaller file"),
        (MP3, replace(MP3, track_id=3, bit_rate=128_000), "better sound"),
        (replace(MP3, bit_rate=192_000), replace(MP3, track_id=3, bit_rate=320_000, cutoff_hz=16000.0), "16.0 kHz"),
        (replace(MP3, codec="aac", bit_rate=256_000), replace(MP3, track_id=3, bit_rate=256_000), "better sound"),
        (MP3, replace(FLAC, damaged="ends early", sound_seconds=100.0), "whole"),
        (MP3, replace(FLAC, sound_seconds=230.0), "complete: 10 s more"),
        (MP3, replace(FLAC, sample_rate=11025, channels=1), "44.1 kHz stereo"),
        (replace(FLAC, bit_depth=24, sample_rate=96000), replace(FLAC, track_id=5), "finer"),
        (MP3, replace(MP3, track_id=4, tags=2), "more tags"),
        (MP3, replace(MP3, track_id=4, path="z.mp3"), "first by path"),
    ],
)
def test_the_better_copy_is_suggested_and_why(kept: Copy, other: Copy, word: str) -> None:
    for copies in ([kept, other], [other, kept]):
        found = suggest_keeper(copies)
        assert found.track_id == kept.track_id
        assert word in found.reason


def test_the_order_of_copies_does_not_matter() -> None:
    copies = [FLAC, MP3, replace(FLAC, track_id=3, cutoff_hz=16000.0), replace(MP3, track_id=4, bit_rate=128_000)]
    assert len({suggest_keeper(list(order)) for order in itertools.permutations(copies)}) == 1
    with pytest.raises(ValueError, match="no copy"):
        suggest_keeper([])


def test_a_chain_of_resemblances_is_no_group() -> None:
    # a is like b, b like c, a not like c
    assert recordings({("a", "b"): 0.02, ("b", "c"): 0.10}) == [["a", "b"]]
    assert recordings({("a", "b"): 0.02, ("b", "c"): 0.02, ("a", "c"): 0.15}) == [["a", "b", "c"]]
    # One missing pair among five does not part them.
    names = "abcde"
    rates = {pair: 0.03 for pair in itertools.combinations(names, 2) if pair != ("a", "e")}
    assert recordings(rates) == [list(names)]
    # Two groups of three that touch in one pair stay two.
    rates = dict.fromkeys([*itertools.combinations("abc", 2), *itertools.combinations("xyz", 2), ("c", "x")], 0.05)
    assert recordings(rates) == [["a", "b", "c"], ["x", "y", "z"]]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=30), st.randoms())
def test_groups_do_not_depend_on_the_order_of_pairs(edges: list[tuple[int, int]], random: object) -> None:
    rates = {(f"{min(pair):02}", f"{max(pair):02}"): (pair[0] * 7 + pair[1]) % 10 / 70 for pair in edges if pair[0] != pair[1]}
    shuffled = list(rates.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    groups = recordings(rates)
    assert recordings(dict(shuffled)) == groups
    members = [name for group in groups for name in group]
    assert len(members) == len(set(members))
    parts = components(rates)
    assert all(any(set(group) <= set(part) for part in parts) for group in groups)
