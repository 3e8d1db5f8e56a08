"""Where the audio of a file begins and ends, between the tags that people put before and behind it.

Nothing is decoded. In MP3 and FLAC (here) and in WAV and AIFF (`chunks`) the bytes between the tags are the packets; finding
them so is several times faster than through a demuxer, cannot crash, and does not change with the version of a library,
which an identity that is kept for years must not do.

References
----------
ID3v2: https://id3.org/id3v2.4.0-structure ; APEv2: https://wiki.hydrogenaud.io/index.php?title=APEv2_specification ;
Lyrics3: https://id3.org/Lyrics3v2 ; MPEG audio header: ISO/IEC 11172-3, 2.4.1.3 ; FLAC: RFC 9639.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

# Taggers leave padding, and some leave junk, before the first frame; random data must not be searched for ever.
_SYNC_SEARCH_BYTES = 256 * 1024
# No file has so many tags or metadata blocks; a hostile one must not keep us counting.
_MAX_TAGS = 1000

_BIT_RATES_KBPS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = (44100, 48000, 32000)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` to `end` of a file."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class MpegHeader:
    """One MPEG audio frame header. `version` is 1, 2 or 25 (2.5); `size` is the frame's length in bytes."""

    version: int
    layer: int
    sample_rate: int
    channels: int
    size: int

    def belongs_to(self, other: "MpegHeader") -> bool:
        """Tell whether two frames can be of one stream."""
        return (self.version, self.layer, self.sample_rate) == (other.version, other.layer, other.sample_rate)


def _read_at(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def id3v2_size(header: bytes) -> int:
    """Return the length of the ID3v2 tag that starts with these (at least 10) bytes, 0 if there is none."""
    if len(header) < 10 or header[:3] != b"ID3" or header[3] == 0xFF or header[4] == 0xFF or max(header[6:10]) > 127:
        return 0
    size = (header[6] << 21) | (header[7] << 14) | (header[8] << 7) | header[9]
    return size + (20 if header[5] & 0x10 else 10)


def without_tags(file: BinaryIO, size: int) -> Span:
    """Return the span between leading ID3v2 tags and trailing ID3v1, APE, Lyrics3 and appended ID3v2 tags.

    A leading tag that claims more than there is counts as its header only.
    """
    start = 0
    for _ in range(_MAX_TAGS):
        length = id3v2_size(_read_at(file, start, 10))
        if not length:
            break
        if start + length > size:
            start = min(start + 10, size)
            break
        start += length
    end = size
    for _ in range(_MAX_TAGS):
        if end <= start:
            break
        length = _trailing_tag_size(_read_at(file, max(start, end - 160), end - max(start, end - 160)), end - start)
        if not length:
            break
        end -= length
    return Span(start, end)


def _trailing_tag_size(tail: bytes, available: int) -> int:
    """Return the length of the tag that ends with these bytes, 0 if none does."""
    if tail[-128:-125] == b"TAG" and len(tail) >= 128:
        return 128
    if tail[-32:-24] == b"APETAGEX" and len(tail) >= 32:
        length, flags = struct.unpack("<4xI4xI", tail[-24:-8])
        length += 32 if flags & 0x80000000 else 0
        # A footer that lies takes itself away and nothing else.
        return length if 32 <= length <= available else 32
    if tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
        length = int(tail[-15:-9]) + 15
        return length if length <= available else 0
    if tail[-10:-7] == b"3DI" and len(tail) >= 10 and max(tail[-4:]) <= 127:
        length = ((tail[-4] << 21) | (tail[-3] << 14) | (tail[-2] << 7) | tail[-1]) + 20
        return length if length <= available else 0
    return 0


def flac_span(file: BinaryIO, span: Span) -> tuple[bytes, Span] | None:
    """Return a FLAC file's STREAMINFO block (34 bytes) and the span of its frames, None if it is not FLAC."""
    if _read_at(file, span.start, 4) != b"fLaC":
        return None
    position, stream_info = span.start + 4, b""
    for _ in range(_MAX_TAGS):
        header = _read_at(file, position, 4)
        if len(header) < 4:
            return None
        kind, length = header[0] & 0x7F, int.from_bytes(header[1:], "big")
        position += 4
        if kind == 0 and length >= 34:
            stream_info = file.read(34)
        position += length
        if header[0] & 0x80:
            break
    # Damaged files may hold anything after the blocks; a frame starts with 14 sync bits.
    sync = _read_at(file, position, 2)
    if not stream_info or position >= span.end or len(sync) < 2 or sync[0] != 0xFF or sync[1] & 0xFC != 0xF8:
        return None
    return stream_info, Span(position, span.end)


def mpeg_span(file: BinaryIO, span: Span) -> tuple[MpegHeader, Span] | None:
    """Return the first header of an MP1, MP2 or MP3 stream and the span of its frames, None if it is none.

    A Xing, Info or VBRI frame at the head is left out: it holds no audio, and programs that copy a stream write their own.
    """
    window = _read_at(file, span.start, min(_SYNC_SEARCH_BYTES, span.end - span.start))
    offset = window.find(b"\xff")
    while 0 <= offset < len(window) - 4:
        header = mpeg_header(window[offset : offset + 4])
        if header is not None and _frames_follow(file, span, span.start + offset, header, count=3):
            start = span.start + offset
            if _is_information_frame(_read_at(file, start, min(header.size, 256)), header):
                start += header.size
            return header, Span(start, span.end)
        offset = window.find(b"\xff", offset + 1)
    return None


def mpeg_header(data: bytes) -> MpegHeader | None:
    """Parse 4 bytes as an MPEG audio frame header; None if they are none, or of free format."""
    word = int.from_bytes(data, "big")
    version = {0: 25, 2: 2, 3: 1}.get((word >> 19) & 3)
    layer = 4 - ((word >> 17) & 3)
    rate_index, bit_rate_index = (word >> 10) & 3, (word >> 12) & 15
    if word >> 21 != 0x7FF or version is None or layer == 4 or rate_index == 3 or bit_rate_index in (0, 15):
        return None
    bit_rate = _BIT_RATES_KBPS[1 if version == 1 else 2, layer][bit_rate_index] * 1000
    sample_rate = _SAMPLE_RATES[rate_index] // {1: 1, 2: 2, 25: 4}[version]
    padding = (word >> 9) & 1
    if layer == 1:
        size = (12 * bit_rate // sample_rate + padding) * 4
    else:
        size = (72 if layer == 3 and version != 1 else 144) * bit_rate // sample_rate + padding
    return MpegHeader(version, layer, sample_rate, 1 if (word >> 6) & 3 == 3 else 2, size)


def _frames_follow(file: BinaryIO, span: Span, position: int, first: MpegHeader, count: int) -> bool:
    """Tell whether `count` more frames of the same stream stand where they should, or the stream ends before."""
    header = first
    for index in range(count):
        position += header.size
        if position + 4 > span.end:
            return index > 0
        following = mpeg_header(_read_at(file, position, 4))
        if following is None or not following.belongs_to(first):
            return False
        header = following
    return True


def _is_information_frame(frame: bytes, header: MpegHeader) -> bool:
    if header.layer != 3:
        return False
    side_information = (17 if header.channels == 1 else 32) if header.version == 1 else (9 if header.channels == 1 else 17)
    marks = {frame[4 + side_information : 8 + side_information], frame[6 + side_information : 10 + side_information]}
    return bool(marks & {b"Xing", b"Info"}) or frame[36:40] == b"VBRI"
