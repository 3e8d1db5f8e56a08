"""Writers of formats that the bundled ffmpeg can read but not write."""

import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: One-bit samples a second: 64 times 44.1 kHz.
DSD_RATE = 2822400


def one_bit(signal: "NDArray[np.float64]", rate: int) -> bytes:
    """Return a mono signal as one-bit samples, the first in the lowest bit of the first byte.

    Sigma-delta modulation of the first order in closed form: the number of ones so far is the whole part of the sum so far.
    """
    stretch = DSD_RATE // rate
    count = 0.0
    packed = []
    for start in range(0, len(signal), rate):
        wave = np.repeat(signal[start : start + rate], stretch)
        total = count + np.cumsum(0.5 + 0.5 * wave)
        ones = np.diff(np.floor(total), prepend=np.floor(count))
        packed.append(np.packbits(ones.astype(np.uint8), bitorder="little").tobytes())
        count = float(total[-1])
    return b"".join(packed)


def dsf(signal: "NDArray[np.float64]", rate: int) -> bytes:
    """Return a mono DSF file (Sony, DSF File Format Specification 1.01)."""
    data = one_bit(signal, rate)
    samples = len(data) * 8
    data += bytes(-len(data) % 4096)
    form = b"fmt " + struct.pack("<QIIIIIIQII", 52, 1, 0, 1, 1, DSD_RATE, 1, samples, 4096, 0)
    body = form + b"data" + struct.pack("<Q", 12 + len(data)) + data
    return b"DSD " + struct.pack("<QQQ", 28, 28 + len(body), 0) + body


def ape(signal: "NDArray[np.float64]", rate: int) -> bytes:
    """Return a mono 16-bit Monkey's Audio file of version 3.87 at its fastest level, the simplest of the family.

    The prediction runs along the line through the last two differences, with a gain that follows the sign of the error; what is
    left is written in Rice codes whose parameter follows their running mean. (How that version is decoded is described by
    libavcodec's decoder; this is the way back.)
    """
    samples = np.rint(np.clip(signal, -1, 1) * 32767).astype(int).tolist()
    frames = [_ape_frame(samples[at : at + _APE_FRAME]) for at in range(0, len(samples), _APE_FRAME)]
    start = 32 + 4 * len(frames)
    positions = np.cumsum([start, *map(len, frames[:-1])]).tolist()
    last = len(samples) - _APE_FRAME * (len(frames) - 1)
    header = b"MAC " + struct.pack("<HHHHIIIII", 3870, 1000, 32, 1, rate, 0, 0, len(frames), last)
    return header + struct.pack(f"<{len(frames)}I", *positions) + b"".join(frames)


#: Samples a frame.
_APE_FRAME = 9216


def _ape_frame(samples: list[int]) -> bytes:
    bits = ["0" * 32]  # the place of a checksum
    value = rise = rise_before = 0
    gain, k, mean = 375, 10, 1 << 14
    for place, sample in enumerate(samples):
        if place < 3:
            error = sample
            rise, rise_before = sample, rise
        else:
            line = 2 * rise - rise_before
            rise, rise_before = sample - value, rise
            error = rise - (line * gain >> 9)
            gain += 1 if error ^ line > 0 else -1
        value = sample
        code = 2 * error - 1 if error > 0 else -2 * error
        bits.append("0" * (code >> k) + "1" + (format(code & (1 << k) - 1, f"0{k}b") if k else ""))
        mean += code - (mean + 8 >> 4)
        if k and mean < 1 << k + 4:
            k -= 1
        elif mean >= 1 << k + 5:
            k += 1
    text = "".join(bits)
    text += "0" * (32 + -len(text) % 32)
    # Words of 32 bits, the first bit the highest, the lowest byte first.
    return np.frombuffer(int(text, 2).to_bytes(len(text) // 8, "big"), ">u4").astype("<u4").tobytes()


def dff(signal: "NDArray[np.float64]", rate: int) -> bytes:
    """Return a mono DSDIFF file (Philips, DSDIFF 1.5); there the first sample is the highest bit."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack(">Q", len(content)) + content + bytes(len(content) % 2)

    bits = np.unpackbits(np.frombuffer(one_bit(signal, rate), np.uint8), bitorder="little")
    properties = (
        b"SND "
        + chunk(b"FS  ", struct.pack(">I", DSD_RATE))
        + chunk(b"CHNL", struct.pack(">H", 1) + b"C   ")
        + chunk(b"CMPR", b"DSD \x0enot compressed")
    )
    content = b"DSD " + chunk(b"FVER", struct.pack(">I", 0x01050000)) + chunk(b"PROP", properties)
    return chunk(b"FRM8", content + chunk(b"DSD ", np.packbits(bits).tobytes()))
