"""Thirty pairs as a DJ hears them: the label, where the score lies, and the argument in words."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from map4_pipeline.hamms.transition import MixTrack, TransitionRules, transition


def track(bpm: float | None, key: str | None, **values: Any) -> MixTrack:
    """A track that is well known, with an ordinary energy and level unless said otherwise."""
    known = {"bpm_confidence": 1.0, "key_confidence": 1.0, "energy": 0.6, "loudness_lufs": -9.0}
    return MixTrack(0, bpm, camelot=key, **known | values)


@dataclass(frozen=True)
class Pair:
    """`low` and `high`: where the score lies; 0.8 and more is a transition to play without thinking."""

    first: MixTrack
    second: MixTrack
    label: str
    low: float
    high: float
    argument: str
    rules: dict[str, Any] = field(default_factory=dict)


EXTENDED = {"policy": "extended"}
VINYL = {"key_lock": False, "pitch_range": 8}

PAIRS = [
    # keys
    Pair(track(128, "8A"), track(128, "8A"), "blend", 0.999, 1, "The same tempo and key: made for each other."),
    Pair(
        track(128, "12A"),
        track(128, "1A"),
        "blend",
        0.95,
        0.98,
        "The ring closes: 12 and 1 are a fifth apart like any neighbours.",
    ),
    Pair(track(128, "1B"), track(128, "12B"), "blend", 0.95, 0.98, "The same the other way round, in major."),
    Pair(track(128, "8A"), track(128, "9A"), "blend", 0.95, 0.98, "A fifth up: six of seven notes are shared."),
    Pair(track(128, "8A"), track(128, "7A"), "blend", 0.95, 0.98, "A fifth down is as close as a fifth up."),
    Pair(track(124, "8A"), track(124, "8B"), "blend", 0.95, 0.98, "A minor and C major: relative keys, the same seven notes."),
    Pair(track(124, "5B"), track(124, "5A"), "blend", 0.95, 0.98, "And back from major to minor."),
    Pair(
        track(128, "8A"), track(128, "2A"), "tempo match", 0.6, 0.68, "A tritone: two notes shared. Over the drums or not at all."
    ),
    Pair(track(128, "8A"), track(128, "3A"), "tempo match", 0.6, 0.7, "A semitone up clashes while both tracks play."),
    Pair(
        track(128, "8A"),
        track(128, "3A"),
        "creative",
        0.78,
        0.86,
        "The same as a lift by a semitone, for who plays that.",
        EXTENDED,
    ),
    Pair(
        track(128, "8A"),
        track(128, "1A"),
        "tempo match",
        0.6,
        0.7,
        "A semitone down lifts nobody, whatever the policy.",
        EXTENDED,
    ),
    Pair(
        track(128, "8A"),
        track(128, "10A"),
        "tempo match",
        0.68,
        0.75,
        "A whole tone up shares five notes; strict mixing leaves it.",
    ),
    Pair(track(128, "8A"), track(128, "10A"), "creative", 0.84, 0.9, "The energy boost: a whole tone up, at a break.", EXTENDED),
    Pair(
        track(128, "8A"), track(128, "9B"), "blend", 0.88, 0.93, "A minor to G major, the diagonal: one note differs.", EXTENDED
    ),
    Pair(track(128, "8A"), track(128, "9B"), "tempo match", 0.7, 0.8, "The diagonal is none of the strict four."),
    Pair(
        track(128, "8A"),
        track(128, "11B"),
        "creative",
        0.8,
        0.87,
        "A minor to A major: the mood turns, the root stays.",
        EXTENDED,
    ),
    # tempo
    Pair(
        track(64, "5A"), track(128, "5A"), "blend", 0.94, 0.97, "64 and 128: two beats for one; the feel changes, no beat is off."
    ),
    Pair(
        track(174, "5A"), track(87, "5A"), "blend", 0.94, 0.97, "Drum and bass into hip hop at half tempo: the classic way down."
    ),
    Pair(track(126, "4A"), track(128, "4A"), "blend", 0.93, 0.98, "Two BPM at 126: a nudge of the fader that nobody hears."),
    Pair(track(128, "4A"), track(122, "4A"), "blend", 0.84, 0.9, "5%: on the fader, but the second track runs audibly fast."),
    Pair(track(88, "4A"), track(170, "5A"), "blend", 0.78, 0.88, "170 against twice 88: 3.5% at double time, and a fifth up."),
    Pair(track(128, "8A"), track(95, "8A"), "harmonic mix", 0.55, 0.65, "In key, but the beats never meet: mix over a break."),
    Pair(track(128, "8A"), track(192, "8A"), "harmonic mix", 0.55, 0.65, "Three beats for two is a trick, not a match."),
    Pair(
        track(128, "8A"),
        track(100, "3B"),
        "avoid",
        0.2,
        0.35,
        "Neither beat nor key: five steps and a quarter of the tempo apart.",
    ),
    # no key lock: the key moves with the tempo
    Pair(
        track(120, "8A"),
        track(127.14, "8A"),
        "tempo match",
        0.5,
        0.65,
        "The same key on paper; slowed by a semitone, 8A sounds as 1A, and that clashes.",
        VINYL,
    ),
    Pair(
        track(120, "8A"),
        track(127.14, "3A"),
        "blend",
        0.8,
        0.9,
        "3A played a semitone down is 8A: the mismatch on paper is a match at the decks.",
        VINYL,
    ),
    Pair(
        track(128, "8A"),
        track(124.36, "8A"),
        "tempo match",
        0.45,
        0.6,
        "Half a semitone of detuning fits no key at all.",
        VINYL,
    ),
    # energy, loudness
    Pair(
        track(128, "8A", energy=0.85),
        track(128, "8A", energy=0.4),
        "creative",
        0.75,
        0.85,
        "Beat and key agree, but the floor falls from peak to lounge: an effect, no blend.",
    ),
    Pair(
        track(128, "8A"),
        track(128, "8A", loudness_lufs=-15.0),
        "blend",
        0.95,
        0.99,
        "A master 6 LU quieter is a turn of the gain knob.",
    ),
    # doubt and gaps
    Pair(
        track(128, "8A", key_confidence=0.3),
        track(128, "8A", key_confidence=0.4),
        "tempo match",
        0.75,
        0.85,
        "Both keys are guesses: what is sure are the beats.",
    ),
    Pair(
        track(None, "8A", bpm_confidence=None),
        track(128, "9A"),
        "harmonic mix",
        0.6,
        0.7,
        "Of a beatless track only the key is known, and it goes with the next.",
    ),
    Pair(
        track(128, None),
        track(128.5, "2B"),
        "tempo match",
        0.7,
        0.8,
        "An atonal drum track: it clashes with nothing, says the beat.",
    ),
]


@pytest.mark.parametrize("pair", PAIRS, ids=[pair.argument for pair in PAIRS])
def test_as_a_dj_hears_it(pair: Pair) -> None:
    found = transition(pair.first, pair.second, TransitionRules(**pair.rules))
    assert found.label == pair.label, found
    assert pair.low <= found.score <= pair.high, found


def test_there_are_thirty_and_more() -> None:
    assert len(PAIRS) >= 30
    assert all(len(pair.argument) > 20 for pair in PAIRS)


def test_the_better_of_two_is_what_a_dj_would_pick() -> None:
    playing = track(126, "8A", energy=0.6)
    falling = [
        track(126, "8A", energy=0.62),
        track(127, "9A", energy=0.65),
        track(128, "8B", energy=0.7),
        track(132, "8A", energy=0.75),
        track(126, "2B", energy=0.6),
        track(100, "8A", energy=0.6),
        track(100, "2B", energy=0.2),
    ]
    scores = [transition(playing, other).score for other in falling]
    assert scores == sorted(scores, reverse=True)
