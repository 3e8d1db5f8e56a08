"""Spectral peaks are those of the definition, computed the long way round."""

import numpy as np
import pytest

from map4_pipeline.audio.tonal_peaks import PeakFinder

LOW, HIGH, WIDTH = 3, 203, 2.5


def by_definition(spectra: np.ndarray) -> list[tuple[float, float, float, int]]:
    found = []
    for number, spectrum in enumerate(np.abs(spectra[:, LOW:HIGH]).astype(np.float64)):
        log = np.log(spectrum + 1e-6)
        white = log - np.convolve(np.pad(log, 30, mode="edge"), np.ones(61) / 61, "valid")
        for k in range(1, len(log) - 1):
            if white[k] > max(white[k - 1], 0.7) and white[k] >= white[k + 1]:
                shift = 0.5 * (log[k - 1] - log[k + 1]) / min(log[k - 1] - 2 * log[k] + log[k + 1], -1e-6)
                found.append(((k + LOW + np.clip(shift, -0.5, 0.5)) * WIDTH, white[k], spectrum[k], number))
    return found


@pytest.mark.parametrize("high", [HIGH, HIGH - 1, HIGH - 5])
def test_peaks_are_those_of_the_definition(high: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "HIGH", high)
    rng = np.random.default_rng(3)
    spectra = (rng.standard_normal((40, 220)) + 1j * rng.standard_normal((40, 220))).astype(np.complex64)
    spectra *= np.exp(rng.uniform(-8, 8, (40, 220))).astype(np.float32)
    # At the ends nothing is a peak, whatever lies beside them.
    spectra[0, [LOW, high - 1]] = spectra[1, [LOW - 1, high]] = 1e6
    spectra[2, [LOW + 1, high - 2]] = 1e6
    spectra[3] = 0
    expected = by_definition(spectra)
    finder = PeakFinder(LOW, high, WIDTH)
    for _ in range(2):
        found = finder.find(spectra)
        assert found.spectrum.tolist() == [row[3] for row in expected]
        for column, values in zip(found[:3], zip(*(row[:3] for row in expected), strict=True), strict=True):
            assert column == pytest.approx(np.array(values), rel=1e-5, abs=1e-5)
    assert {0, 1, 2} <= set(found.spectrum.tolist())
    assert not np.any(found.spectrum == 3)
    second = found.frequency[found.spectrum == 2]
    assert abs(second[0] - (LOW + 1) * WIDTH) <= WIDTH / 2
    assert abs(second[-1] - (high - 2) * WIDTH) <= WIDTH / 2


def test_spectra_go_on_behind_the_last_bin() -> None:
    finder = PeakFinder(LOW, HIGH, WIDTH)
    assert len(finder.find(np.zeros((0, HIGH + 8), np.complex64)).frequency) == 0
    with pytest.raises(ValueError, match="go on"):
        finder.find(np.zeros((2, HIGH + 7), np.complex64))
    with pytest.raises(ValueError, match="single precision"):
        finder.find(np.zeros((2, HIGH + 8), np.complex128))
