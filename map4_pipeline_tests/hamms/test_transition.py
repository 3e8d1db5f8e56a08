"""Laws of transitions: one pair and all pairs agree, directions, doubt, what is unknown is told."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from map4_pipeline.hamms.camelot import KEYS, to_camelot
from map4_pipeline.hamms.transition import MixTable, MixTrack, TransitionRules, scores_between, transition, transition_scores
from map4_pipeline.settings import load_settings

shares = st.floats(0, 1)
bpms = st.one_of(st.floats(40, 250), st.sampled_from([64.0, 87.0, 100.0, 106.0, 120.0, 128.0, 174.0]))
tracks = st.builds(
    MixTrack,
    track_id=st.integers(1, 1000),
    bpm=st.one_of(st.none(), bpms),
    bpm_confidence=st.one_of(st.none(), shares),
    camelot=st.one_of(st.none(), st.sampled_from(KEYS).map(to_camelot)),
    key_confidence=st.one_of(st.none(), shares),
    energy=st.one_of(st.none(), shares),
    loudness_lufs=st.one_of(st.none(), st.floats(-40, 0)),
)
weights = st.floats(0, 5)
rules = st.builds(
    TransitionRules,
    key=weights,
    tempo=weights,
    energy=weights,
    loudness=st.floats(0.01, 5),
    policy=st.sampled_from(["strict", "extended"]),
    pitch_range=st.sampled_from([3.0, 6.0, 8.0, 16.0, 25.0]),
    key_lock=st.booleans(),
)


@given(st.lists(tracks, min_size=1, max_size=6), rules)
@settings(max_examples=150, deadline=None)
def test_all_pairs_are_as_one_pair(some: list[MixTrack], how: TransitionRules) -> None:
    scores = transition_scores(MixTable.of(some), how)
    assert scores.shape == (len(some), len(some))
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    expected = [[transition(a, b, how).score for b in some] for a in some]
    assert scores == pytest.approx(np.array(expected), abs=2e-5)


@given(tracks, tracks, rules)
@settings(deadline=None)
def test_the_parts_make_the_score(a: MixTrack, b: MixTrack, how: TransitionRules) -> None:
    found = transition(a, b, how)
    assert 0 <= found.score <= 1
    assert sum(part.weight for part in found.parts.values()) == pytest.approx(1)
    assert sum(part.fit * part.weight for part in found.parts.values()) == pytest.approx(found.score, abs=1e-9)
    assert all(0 <= part.fit <= 1 and 0 <= part.confidence <= 1 for part in found.parts.values())
    for name, field in (("key", "camelot"), ("tempo", "bpm"), ("energy", "energy"), ("loudness", "loudness_lufs")):
        missing = getattr(a, field) is None or getattr(b, field) is None
        assert (found.parts[name].unknown is not None) == missing
        assert missing == (f"the {name} of" in found.reason.partition("Unknown:")[2])
    assert found.reason.endswith(".")


@given(tracks, tracks, rules)
@settings(deadline=None)
def test_the_way_back_is_the_same_but_for_energy_and_lifts(a: MixTrack, b: MixTrack, how: TransitionRules) -> None:
    there, back = transition(a, b, how).parts, transition(b, a, how).parts
    for name in ("tempo", "loudness", *(("key",) if how.policy == "strict" else ())):
        assert there[name].fit == pytest.approx(back[name].fit, abs=1e-6)


@given(tracks, rules)
@settings(deadline=None)
def test_a_track_goes_best_into_itself(a: MixTrack, how: TransitionRules) -> None:
    known = replace(
        a, bpm=a.bpm or 120.0, camelot=a.camelot or "8A", energy=a.energy or 0.5, loudness_lufs=a.loudness_lufs or -9.0
    )
    sure = replace(known, bpm_confidence=1.0, key_confidence=1.0)
    assert transition(sure, sure, how).score == pytest.approx(1.0)
    assert transition(sure, sure, how).label == "blend"


@given(tracks, tracks, rules, shares)
@settings(deadline=None)
def test_doubt_never_helps(a: MixTrack, b: MixTrack, how: TransitionRules, doubt: float) -> None:
    sure = replace(b, bpm_confidence=1.0, key_confidence=1.0)
    doubtful = replace(b, bpm_confidence=doubt, key_confidence=doubt)
    assert transition(a, doubtful, how).score <= transition(a, sure, how).score + 1e-12


@pytest.mark.parametrize("key_lock", [True, False])
def test_without_key_lock_six_per_cent_are_a_semitone(key_lock: bool) -> None:
    how = TransitionRules(key_lock=key_lock, pitch_range=8)
    sure = {"bpm_confidence": 1.0, "key_confidence": 1.0, "energy": 0.5, "loudness_lufs": -9.0}
    semitone = 2 ** (1 / 12)
    a = MixTrack(1, 120.0, camelot="8A", **sure)
    # Slowed to 120, the second sounds a semitone lower: seven places down the ring.
    same, lower = MixTrack(2, 120.0 * semitone, camelot="8A", **sure), MixTrack(3, 120.0 * semitone, camelot="3A", **sure)
    key = {track.track_id: transition(a, track, how).parts["key"].fit for track in (same, lower)}
    assert key[2] == pytest.approx(1.0 if key_lock else 0.05)
    assert key[3] == pytest.approx(0.05 if key_lock else 1.0, abs=1e-6)
    # At half tempo nothing is sped up, so the key stays.
    half = MixTrack(4, 60.0, camelot="8A", **sure)
    assert transition(a, half, how).parts["key"].fit == pytest.approx(1.0)
    # A change that cannot be made moves no key.
    assert transition(a, MixTrack(5, 150.0, camelot="8A", **sure), how).parts["key"].fit == 1.0


def test_tables_of_different_size_and_none() -> None:
    one = MixTable.of([MixTrack(1, 120.0)])
    many = MixTable.of([MixTrack(n, 100.0 + n) for n in range(5)])
    assert scores_between(one, many).shape == (1, 5)
    assert transition_scores(MixTable.of([])).shape == (0, 0)
    assert len(many.rows(slice(1, 3))) == 2


def test_values_that_are_none_are_unknown() -> None:
    odd = MixTrack(1, bpm=0.0, camelot="13C", energy=math.nan, loudness_lufs=math.inf)
    found = transition(odd, MixTrack(2, 120.0, camelot="8A", energy=0.5, loudness_lufs=-9.0))
    assert all(part.unknown is not None for part in found.parts.values())
    assert found.label == "creative"
    assert "only ears tell" in found.reason


@pytest.mark.parametrize(
    "wrong",
    [{"key": -1.0}, {"key": 0, "tempo": 0, "energy": 0, "loudness": 0}, {"pitch_range": 0}, {"pitch_range": 30}, {"policy": "x"}],
)
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"weights|pitch range|policy"):
        TransitionRules(**wrong)  # type: ignore[arg-type]


def test_the_rules_come_from_the_settings(monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> None:
    assert TransitionRules.from_settings(load_settings()) == TransitionRules()
    monkeypatch.setenv("MAP4_MIX_POLICY", "extended")
    monkeypatch.setenv("MAP4_MIX_KEY_LOCK", "false")
    monkeypatch.setenv("MAP4_MIX_TEMPO_WEIGHT", "0.9")
    found = TransitionRules.from_settings(load_settings(), pitch_range=10.0, key_lock=None)
    assert found == TransitionRules(tempo=0.9, policy="extended", pitch_range=10.0, key_lock=False)


def test_tempi_beyond_the_range_are_said_to_be_further_apart_than_it() -> None:
    def said(first: float, second: float) -> str:
        return transition(MixTrack(1, bpm=first), MixTrack(2, bpm=second)).parts["tempo"].detail

    assert said(120.0, 113.0) == "120.0 to 113.0 BPM, 6.2% apart: beyond the 6% range"
    # A faster second track would be slowed down by less, but the range is the same both ways.
    assert said(113.0, 120.0) == "113.0 to 120.0 BPM, 6.2% apart: beyond the 6% range"
    assert said(106.03, 100.0) == "106.0 to 100.0 BPM, just over 6% apart: beyond the 6% range"


def test_a_whole_tone_up_is_an_energy_boost_only_where_it_is_advised() -> None:
    first, second = (MixTrack(1, bpm=120, bpm_confidence=1, camelot=key, key_confidence=1, energy=0.5) for key in ("7A", "9A"))
    extended = TransitionRules(policy="extended")
    boost = transition(first, second, extended)
    assert boost.label == "creative"
    assert "7A to 9A, a whole tone up (energy boost);" in boost.reason
    avoided = transition(first, replace(second, bpm=100.0), extended)
    assert avoided.label == "avoid"
    for other in (avoided, transition(first, second), transition(first, replace(second, bpm=100.0))):
        assert "a whole tone up;" in other.reason
