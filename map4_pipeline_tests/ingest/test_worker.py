"""What is measured belongs to the content that was identified."""

import os
from pathlib import Path

import numpy as np
import soundfile

from map4_pipeline.ingest.worker import analyse_file, identify_file


def test_a_file_replaced_after_it_was_identified_has_no_measurements(tmp_path: Path) -> None:
    """They would be kept under the hash of what it was, for every copy of that."""
    path = os.fsencode(tmp_path / "x.wav")
    noise = np.random.default_rng(0).normal(0, 0.1, 30_000)
    soundfile.write(path, noise, 8000)
    identified = identify_file(path)
    assert analyse_file(path, ("features",), state=identified.state).payloads
    soundfile.write(path, noise[:20_000] * 0.5, 8000)
    found = analyse_file(path, ("features",), state=identified.state)
    assert (found.payloads, found.error_kind) == ({}, "unreadable")
    assert analyse_file(path, ("features",), state=identify_file(path).state).payloads


def test_a_file_that_changes_while_it_is_measured_has_no_measurements(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "x.wav")
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 30_000), 8000)
    found = analyse_file(path, ("features",), on_spectra=lambda _: os.utime(path, ns=(1, 1)))
    assert (found.payloads, found.error_kind) == ({}, "unreadable")
    assert found.error_message == "The file changed while it was read; the next run takes it up."
