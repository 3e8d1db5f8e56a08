"""Taking every n-th sample keeps what is low and lets nothing fold back."""

import numpy as np
import pytest

from map4_pipeline.audio.decimation import decimated


@pytest.mark.parametrize(("step", "reach"), [(4, 48), (2, 18)])
def test_low_tones_stay_and_their_mirror_images_vanish(step: int, reach: int) -> None:
    time, count = np.arange(9000), 2048
    for share in (0.1, 0.6, 1.0):
        low = share * (0.5 / step - 1.6 / reach)
        kept, mirrored = (np.cos(2 * np.pi * f * time + 1).astype(np.float32) for f in (low, 1 / step - low))
        out = decimated(kept, step, reach, count)
        expected = step * kept[reach : reach + step * count : step]
        assert np.abs(out - expected)[: (len(time) - 2 * reach) // step].max() < 1e-4
        # Where the samples end, the tone breaks off.
        assert np.abs(decimated(mirrored, step, reach, count)[: (len(time) - 2 * reach) // step]).max() < 1e-4


def test_what_lies_beyond_the_end_counts_as_nothing() -> None:
    noise = np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    longer = np.concatenate([noise, np.zeros(5000, np.float32)])
    assert np.array_equal(decimated(noise, 4, 48, 256), decimated(longer, 4, 48, 256))
