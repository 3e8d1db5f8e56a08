"""MPEG audio streams, told from a few of their frames: where one begins, how long a frame is, what its count of frames is worth.

No decoding happens here.
"""

import struct
from typing import BinaryIO, NamedTuple

from map4_pipeline.library.spans import mpeg_header

_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
#: Bytes behind the counted music that may be tags and are not looked at.
_SLACK_BYTES = 4096
#: Bytes that are searched there for more music: tags, with cover art in them, stand between files that were joined.
_SEARCH_BYTES = 1 << 20
_MOST_TAGS = 100
#: How many times the length of a frame the mean length may be before the count is wrong.
_EXCESS = 1.1
#: Bit rate of the longest frames that are not of free format, kbit/s.
_LARGEST_KBPS = 320
#: Bytes of a frame of free format at 640 kbit/s and 8 kHz, beyond which decoders do not go.
_LONGEST_FREE = 5760
#: Bytes in which the first frame of free format begins.
_FREE_WITHIN = 4096


class Count(NamedTuple):
    """What the Xing, Info or VBRI frame at the head of a stream says: frames and bytes of the music, 0 where it does not say."""

    frames: int
    bytes: int
    is_constant: bool


def mpeg_frame_bytes(header: bytes) -> tuple[int, int]:
    """Return (length in bytes, layer) of the MPEG audio frame with these four header bytes, (0, 0) if it is none.

    Source: ISO/IEC 11172-3 section 2.4.1.3, and 13818-3 for the lower sampling rates.
    """
    found = mpeg_header(header) if len(header) == 4 else None
    return (0, 0) if found is None else (found.size, found.layer)


def find_mpeg_stream(data: bytes, run: int = 3) -> tuple[int, int] | None:
    """Return (offset, layer) of the first of `run` consecutive MPEG frames in `data`, or None.

    Random bytes hold many false frame headers; a run of three at the distances they announce is rare (1 in 10^6).
    """
    position = data.find(b"\xff")
    while 0 <= position < len(data) - 4:
        at, count, layer = position, 0, 0
        while count < run:
            size, found = mpeg_frame_bytes(data[at : at + 4])
            if not size or (count and found != layer):
                break
            layer, count, at = found, count + 1, at + size
            if at + 4 > len(data):
                break
        if count >= run or (count and at >= len(data) and count >= 2):
            return position, layer
        position = data.find(b"\xff", position + 1)
    return None


def find_free_format(data: bytes) -> int | None:
    """Return the offset of the first of four MPEG frames of free format, or None.

    Their header gives no bit rate: a frame ends where the same header follows, at one distance or a padding byte more.
    """
    position = data.find(b"\xff", 0, _FREE_WITHIN)
    while position >= 0:
        header = data[position : position + 3]
        # A bit rate of 0 is free format; with another one in its place, the header has to be valid.
        if len(header) == 3 and header[2] >> 4 == 0 and mpeg_frame_bytes(bytes((*header[:2], header[2] | 0x10, 0)))[1] == 3:
            following = [at for at in range(position + 24, position + _LONGEST_FREE) if _is_alike(data, at, header)]
            if any(_is_next(data, position, at, header) for at in following):
                return position
        position = data.find(b"\xff", position + 1, _FREE_WITHIN)
    return None


def _is_alike(data: bytes, at: int, header: bytes) -> bool:
    return data[at : at + 2] == header[:2] and len(data) > at + 2 and not (data[at + 2] ^ header[2]) & ~2


def _is_next(data: bytes, first: int, second: int, header: bytes) -> bool:
    """Tell whether a third and a fourth frame follow at the distance of the first two."""
    length = second - first
    return all(any(_is_alike(data, first + k * length + more, header) for more in range(-k, k + 1)) for k in (2, 3))


def read_count(frame: bytes) -> Count | None:
    """Return what the first frame of a stream counts, None where it holds music.

    Sources: the Xing header as LAME writes it (gabriel.mp3-tech.org/mp3infotag.html), VBRI as Fraunhofer's encoder does.
    """
    frame = frame[:200]
    for mark in (b"Xing", b"Info"):
        at = frame.find(mark)
        if at >= 0 and len(frame) >= at + 16:
            flags, *numbers = struct.unpack(">III", frame[at + 4 : at + 16])
            frames = numbers.pop(0) if flags & 1 else 0
            return Count(frames, numbers[0] if flags & 2 else 0, mark == b"Info")
    at = frame.find(b"VBRI")
    if at >= 0 and len(frame) >= at + 18:
        length, frames = struct.unpack(">II", frame[at + 10 : at + 18])
        return Count(frames, length, False)
    return None


def counted_bytes(file: BinaryIO, size: int, start: int, head: bytes) -> int | None:
    """Return the bytes of a stream as far as the count in its first frame reaches; None where no count can be relied on.

    Joined files begin with the count of the first, and edited ones with that of what they were: a decoder that ends where
    it says would leave music out.

    Parameters
    ----------
    file : binary file
        Seekable; its position is left undefined.
    size : int
        Bytes of the file.
    start : int
        Byte at which the first frame begins.
    head : bytes
        The file from there on, some frames.
    """
    count = read_count(head)
    if count is None or not count.frames:
        return None
    length = min(count.bytes or size, size - start)
    if length > count.frames * _EXCESS * _longest_frame(head, count):
        return None
    end = start + length
    if size - end > _SLACK_BYTES and find_mpeg_stream(_behind_tags(file, end)) is not None:
        return None
    return length


def _longest_frame(head: bytes, count: Count) -> int:
    """Return the bytes of the longest frame that the stream may have."""
    first, _ = mpeg_frame_bytes(head[:4])
    second, _ = mpeg_frame_bytes(head[first : first + 4])
    if count.is_constant and second:
        return second
    version, rate = head[1] >> 3 & 3, _MPEG_RATES[head[1] >> 3 & 3][head[2] >> 2 & 3]
    return (144 if version == 3 else 72) * 1000 * _LARGEST_KBPS // rate


def id3_length(head: bytes) -> int:
    """Return the bytes of the ID3v2 tag that begins with these ten, 0 if none does."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    a, b, c, d = (byte & 127 for byte in head[6:10])
    footer = 10 if head[5] & 0x10 else 0
    return (a << 21 | b << 14 | c << 7 | d) + 10 + footer


def _behind_tags(file: BinaryIO, position: int) -> bytes:
    """Return what follows a place, from behind the ID3 tags there."""
    for _ in range(_MOST_TAGS):
        file.seek(position)
        start = file.read(10)
        length = 128 if start[:3] == b"TAG" else id3_length(start)
        if not length:
            break
        position += length
    file.seek(position)
    return file.read(_SEARCH_BYTES)
