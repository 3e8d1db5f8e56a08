"""Sounds that several tests share, made once."""

from pathlib import Path

import numpy as np
import pytest

from map4_pipeline_tests.audio import sound


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 s, 120 BPM, C major, stereo, 44.1 kHz WAV."""
    mono = sound.drums(120, 24) * 0.6 + sound.chords(0, "major", 24) * 0.6
    noise = np.random.default_rng(5).standard_normal((len(mono), 2)) * 1e-3
    return sound.write(tmp_path_factory.mktemp("song") / "song.wav", mono[:, None] * [0.9, 0.7] + noise)
