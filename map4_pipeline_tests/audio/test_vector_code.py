"""Compiled routines say what numpy says."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from map4_pipeline.audio.channels import count_clipped, split_stereo
from map4_pipeline.audio.logarithms import log_of
from map4_pipeline.audio.mel_frames import BATCH, FRAME, HOP, MelFrames
from map4_pipeline.audio.true_peaks import SHORTEST, largest_between
from map4_pipeline.audio.vector_code import DOUBLE, INT, SINGLE, Routine, Term, address, columns_of, compiled, vector
from map4_pipeline_tests.audio import sound

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = st.sampled_from([-1.0, -0.99, -0.5, 0.0, 0.5, 0.99, 1.0])
PLANES = arrays.arrays(np.float32, st.integers(26, 90), elements=LEVELS)


def test_nothing_is_contracted() -> None:
    """A product is rounded before it is added to, whether or not the processor could do both at once."""

    def body(routine: Routine) -> None:
        a, b, c, count, out = routine.arguments
        kind = vector(SINGLE, 8)

        def step(index: Term) -> list[Term]:
            x, y, z = (routine.load(array, index, kind) for array in (a, b, c))
            routine.store(x * y + z, out, index)
            return []

        routine.loop(0, count, 8, [], step)

    rng = np.random.default_rng(5)
    a, b, c, out = (rng.standard_normal(4096).astype(np.float32) for _ in range(4))
    compiled("aaana")(body)(address(a), address(b), address(c), len(a), address(out))
    assert np.array_equal(out, a * b + c)


def test_loops_carry_and_may_not_run_at_all() -> None:
    def body(routine: Routine) -> None:
        start, stop, out = routine.arguments
        total = routine.loop(start, stop, 3, [routine.integer(0)], lambda index, total: [total + index * 2])[0]
        routine.store(total, out, 0)

    routine = compiled("nna")(body)
    out = np.empty(1, np.int64)
    for start, stop in ((0, 10), (4, 5), (5, 5), (7, -2)):
        routine(start, stop, address(out))
        assert out[0] == sum(2 * k for k in range(start, stop, 3))


def test_columns_and_widening() -> None:
    def body(routine: Routine) -> None:
        rows, out = routine.arguments
        found = columns_of([routine.load(rows, 8 * k, vector(SINGLE, 8)) for k in range(8)])
        for k, column in enumerate(found):
            routine.store(column.widened() - routine.constant(1.0, vector(DOUBLE, 8)), out, 8 * k)

    rows, out = np.arange(64, dtype=np.float32).reshape(8, 8), np.empty((8, 8))
    compiled("aa")(body)(address(rows), address(out))
    assert np.array_equal(out, rows.T - 1.0)


def test_threads_may_need_a_routine_at_once() -> None:
    written: list[int] = []

    @compiled("na")
    def add(routine: Routine) -> None:
        written.append(1)
        routine.store(routine.arguments[0] + 1, routine.arguments[1], 0)

    found: list[int] = []
    together = threading.Barrier(8)

    def run(number: int) -> None:
        out = np.empty(1, np.int64)
        together.wait()
        add(number, address(out))
        found.append(int(out[0]))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 9))
    assert written == [1]


@pytest.mark.skipif(sys.platform != "linux", reason="not applicable: Linux forbids it by prctl")
@pytest.mark.parametrize("count", [1, 2])
def test_a_system_that_forbids_code_is_told(count: int, tmp_path: Path) -> None:
    """With memory that may not become executable, a call would crash every worker without a word."""
    program = """
import ctypes, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE
    sys.exit("older than Linux 6.3")
from map4_pipeline.cli.main import run
run()
"""
    files = [str(sound.write(tmp_path / f"{k}.wav", sound.drums(120, 4))) for k in range(count)]
    command = [sys.executable, "-c", program, "analyze", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "older than Linux" in done.stderr:
        pytest.skip("not applicable: older than Linux 6.3")
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode not in (0, -11)
    assert said.count("MemoryDenyWriteExecute=no") == count, said
    assert "Traceback" not in said, said
    assert "defect" not in said


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 65536, 65543])
def test_stereo_is_taken_apart(frames: int) -> None:
    block = np.random.default_rng(frames).uniform(-0.9, 0.9, (frames, 2)).astype(np.float32)
    planes, mono = np.empty((2, frames + 5), np.float32)[:, :frames], np.empty(frames, np.float32)
    found = split_stereo(block, planes, mono)
    left, right = block.astype(np.float64).T
    assert np.array_equal(planes, block.T)
    assert np.array_equal(mono, (block[:, 0] + block[:, 1]) * np.float32(0.5))
    assert found.peak == np.abs(block).max()
    sums = left.sum(), right.sum(), left @ left, right @ right, left @ right
    assert found[1:] == pytest.approx(sums, rel=1e-5, abs=1e-4 * np.sqrt(frames))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 13, 20])
def test_what_is_no_sample_shows_in_the_sums(bad: float, place: int) -> None:
    block = np.full((21, 2), 0.25, np.float32)
    block[place, 1] = bad
    found = split_stereo(block, np.empty((2, 21), np.float32), np.empty(21, np.float32))
    assert not np.isfinite(found.right_energy)
    assert np.isfinite(found.left_energy)


@pytest.mark.parametrize("place", [0, 20])
def test_what_is_too_large_to_square_shows(place: int) -> None:
    block = np.full((21, 2), 0.25, np.float32)
    block[place, 0] = -1e25
    found = split_stereo(block, np.empty((2, 21), np.float32), np.empty(21, np.float32))
    assert found.peak == np.float32(1e25)


def test_blocks_of_another_layout_are_refused() -> None:
    planes, mono = np.empty((2, 16), np.float32), np.empty(16, np.float32)
    block = np.zeros((16, 2), np.float32)
    for arguments in (
        (block.astype(np.float64), planes, mono),
        (np.asfortranarray(block), planes, mono),
        (block[:15], planes, mono),
        (block, planes, mono[:15]),
        (block, np.asfortranarray(planes), mono),
    ):
        with pytest.raises(ValueError, match="contiguous"):
            split_stereo(*arguments)  # type: ignore[arg-type]


@given(PLANES)
def test_clipped_samples_are_counted(plane: "NDArray[np.float32]") -> None:
    over = np.abs(plane) >= np.float32(0.99)
    assert count_clipped(plane, 0.99) == np.count_nonzero(over[2:] & over[1:-1] & over[:-2])


@given(arrays.arrays(np.float32, st.integers(SHORTEST, 90), elements=LEVELS), st.sampled_from([0.0, 0.5, 0.99, 2.0]))
def test_values_between_samples(channel: "NDArray[np.float32]", level: float) -> None:
    """Looked at are the peaks that reach the level; beside them lie sums of sincs, tapered over 13 samples."""
    size = np.abs(channel)
    expected = 0.0
    for k in range(12, len(channel) - 12):
        if size[k] >= np.float32(level) and size[k] >= max(size[k - 1], size[k + 1]):
            for part in (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75):
                away = np.arange(-12, 13) - part
                weights = np.sinc(away) * np.where(np.abs(away) < 13, 0.5 + 0.5 * np.cos(np.pi * away / 13), 0)
                expected = max(expected, abs(float(channel[k - 12 : k + 13] @ weights / weights.sum())))
    assert largest_between(channel, level) == pytest.approx(expected, abs=1e-6)


def test_a_channel_too_short_for_values_between() -> None:
    for channel in (np.zeros(SHORTEST - 1, np.float32), np.zeros(SHORTEST), np.zeros(2 * SHORTEST, np.float32)[::2]):
        with pytest.raises(ValueError, match=f"{SHORTEST} samples"):
            largest_between(channel, 0.5)


CORNERS = np.array([100.0, 400.0, 1000.0, 1100.0, 2000.0, 3000.0, 3100.0, 6000.0, 9000.0, 9500.0])


@pytest.mark.parametrize("corners", [CORNERS, CORNERS[:9], CORNERS[:8]])
def test_bands_of_frames(corners: "NDArray[np.float64]") -> None:
    rng = np.random.default_rng(2)
    window = rng.uniform(0, 1, FRAME).astype(np.float32)
    samples = rng.standard_normal(FRAME + (3 * BATCH - 1) * HOP).astype(np.float32)
    found = np.full((3 * BATCH + 1, len(corners)), np.float32(7))
    MelFrames(corners, 22050, window).measure(samples, found[:-1])
    assert np.all(found[-1] == 7)
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), FRAME)[::HOP] * window
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    hertz = np.fft.rfftfreq(FRAME, 1 / 22050)
    bank = np.stack([np.interp(hertz, corners[k : k + 3], [0, 1, 0], left=0, right=0) for k in range(len(corners) - 2)])
    expected = np.column_stack([power @ (bank / bank.sum(axis=1, keepdims=True)).T, power.sum(axis=1), power @ hertz])
    assert found[:-1] == pytest.approx(expected, rel=5e-6)


def test_frames_come_by_eight_and_bands_have_bins() -> None:
    window = np.ones(FRAME, np.float32)
    frames = MelFrames(CORNERS, 22050, window)
    eight, out = np.zeros(FRAME + 7 * HOP, np.float32), np.empty((8, len(CORNERS)), np.float32)
    with pytest.raises(ValueError, match="by eight"):
        frames.measure(eight[:FRAME], out)
    with pytest.raises(ValueError, match="a row for each"):
        frames.measure(eight, out[:7])
    with pytest.raises(ValueError, match="a row for each"):
        frames.measure(eight, out[:, :-1])
    with pytest.raises(ValueError, match="between two bins"):
        MelFrames(np.arange(1.0, 9.0), 22050, window)
    with pytest.raises(ValueError, match="6 bands"):
        MelFrames(CORNERS[:7], 22050, window)


def test_logarithms() -> None:
    rng = np.random.default_rng(4)
    wide, near = np.exp(rng.uniform(-80, 80, 20011)), rng.uniform(0.5, 2.0, 20011)
    for x in (wide, near, np.array([1.0]), np.exp2(np.arange(-126.0, 128.0))):
        single = x.astype(np.float32)
        found, exact = log_of(single), np.log(single.astype(np.float64))
        assert np.all(np.abs(found - exact) <= np.spacing(np.abs(exact).astype(np.float32)))
    power = rng.random((5, 7)).astype(np.float32)
    out = np.empty((5, 7), np.float32)
    assert log_of(power[:, 1:6], 3.0, 1.0) == pytest.approx(np.log(power[:, 1:6] * 3 + 1), abs=3e-7)
    assert log_of(power, addition=0.5, out=out) is out
    assert out == pytest.approx(np.log(power + 0.5), abs=3e-7)
    assert log_of(power[:0]).shape == (0, 7)
    with pytest.raises(ValueError, match="as many as"):
        log_of(power, out=out[1:])


def test_integers_are_sixty_four_bits() -> None:
    def body(routine: Routine) -> None:
        number, out = routine.arguments
        routine.store((number << 3) | (number >> 60), out, 0)
        routine.store((number & 12).lowest(), out, 1)
        routine.store(number.ones(), out, routine.constant(2, INT))

    out = np.empty(3, np.int64)
    compiled("na")(body)(-4, address(out))
    assert out.tolist() == [-32 | 15, 2, 62]
