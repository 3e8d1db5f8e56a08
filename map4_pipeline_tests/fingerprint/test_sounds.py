"""One recording through encoders, gains and scissors is one recording; another one in the same key and tempo is not."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from map4_pipeline.audio.engine import analyse
from map4_pipeline.fingerprint.codec import decode
from map4_pipeline.fingerprint.compare import compare
from map4_pipeline.fingerprint.index import collect, make_postings, pairs_within
from map4_pipeline.fingerprint.versions import MIN_OVERLAP, Likeness, Side, judge
from map4_pipeline.library.encode import encode

RATE = 22050
Sound = NDArray[np.float32]


@lru_cache(maxsize=8)
def music(seed: int, seconds: float = 24.0) -> Sound:
    """Chords, a bass and a lead that never repeat, at 120 BPM in C; shape (samples, 1)."""
    random = np.random.default_rng(seed)
    beat = RATE // 2
    t = np.arange(beat) / RATE
    signal = np.zeros(int(seconds * RATE) + beat, np.float32)
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12])
    for start in range(0, int(seconds * RATE), beat):
        root = int(random.choice(scale))
        notes = [root - 24, root, root + 4, root + 7, *(random.choice(scale, 2) + 12)]
        tone = sum(np.sin(2 * np.pi * 261.63 * 2 ** (note / 12) * t) / (1 + k) for k, note in enumerate(notes))
        signal[start : start + beat] += np.asarray(tone * np.exp(-2 * t), np.float32)
    return np.asarray(0.2 * signal[: int(seconds * RATE), None], np.float32)


def file(folder: Path, name: str, samples: Sound, *options: str) -> Path:
    path = folder / name
    encode(samples, path, sample_rate=RATE, options=options)
    return path


def verdicts(paths: list[Path]) -> dict[tuple[str, str], str]:
    rows = [(path.name, analyse(path, stages=("fingerprint",))) for path in paths]
    made = [(name, found.technical.duration, found.fingerprint.chromaprint) for name, found in rows if found.fingerprint]
    there = [(name, duration, decode(text)) for name, duration, text in made if text]
    prints = collect([items for _, _, items in there])
    kinds = {}
    for one in compare(prints, pairs_within(prints, make_postings(prints)), MIN_OVERLAP):
        shorter = min(len(there[one.first][2]), len(there[one.second][2]))
        like = Likeness(one.bit_error_rate, one.shift, one.overlap, one.alike, one.distinct, one.background, shorter)
        verdict = judge(like, Side(there[one.first][1]), Side(there[one.second][1]))
        if verdict:
            kinds[there[one.first][0], there[one.second][0]] = verdict.kind
    return kinds


def test_every_encoding_of_a_recording_is_recognised(tmp_path: Path) -> None:
    sound = music(1)
    paths = [
        file(tmp_path, "a.flac", sound),
        file(tmp_path, "b.mp3", sound, "-b:a", "128k"),
        file(tmp_path, "c.ogg", sound),
        file(tmp_path, "d.m4a", sound),
        file(tmp_path, "e.opus", sound, "-b:a", "64k"),
        file(tmp_path, "f.wav", sound * 0.5),
        file(tmp_path, "g.wav", np.concatenate([np.zeros((3 * RATE, 1), np.float32), sound])),
        file(tmp_path, "h.mp3", sound[5 * RATE :]),
        file(tmp_path, "i.ogg", sound[: -5 * RATE]),
        file(tmp_path, "j.wav", sound, "-ar", "11025"),
    ]
    others = [file(tmp_path, f"other{seed}.wav", music(seed)) for seed in (2, 3)]
    kinds = verdicts(paths + others)
    # Even the two that have only the middle 14 s in common.
    names = [path.name for path in paths]
    assert set(kinds.values()) == {"same_recording"}
    assert set(kinds) == {(one, other) for place, one in enumerate(names) for other in names[place + 1 :]}


@pytest.mark.parametrize("kind", ["silence", "tone", "noise", "short", "hum"])
def test_what_says_nothing_is_never_merged(tmp_path: Path, kind: str) -> None:
    paths = []
    for seed in (1, 2):
        t = np.arange(30 * RATE, dtype=np.float32)[:, None] / RATE
        sound = {
            "silence": lambda t=t, seed=seed: np.random.default_rng(seed).normal(0, 1e-6, t.shape),
            "tone": lambda t=t, seed=seed: 0.3 * np.sin(2 * np.pi * 440 * t + seed),
            "noise": lambda t=t, seed=seed: np.random.default_rng(seed).normal(0, 0.1, t.shape),
            "short": lambda seed=seed: music(1)[: 6 * RATE] * (0.5 + seed / 4),
            "hum": lambda t=t, seed=seed: np.where((t > 4 + seed) & (t < 25), 0.05 * np.sin(2 * np.pi * 50 * t), 0),
        }[kind]()
        paths.append(file(tmp_path, f"{seed}.wav", np.asarray(sound, np.float32)))
    assert verdicts(paths) == {}
