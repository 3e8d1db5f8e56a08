"""Where the samples of WAV and AIFF files begin and end.

Raw samples stand in one chunk, so no demuxer is needed; libav would also look for DTS hidden in PCM by decoding, which takes
ten times as long as hashing the file.

References
----------
RIFF and WAVE: Multimedia Programming Interface and Data Specifications 1.0 (1991); RF64: EBU Tech 3306; AIFF-C: Apple, 1991.
"""

import struct
from typing import BinaryIO

from map4_pipeline.library.spans import Span

_MAX_CHUNKS = 10_000
_MAX_FORMAT_BYTES = 4096
_EXTENSIBLE = 0xFFFE


def wav_span(file: BinaryIO, span: Span) -> tuple[bytes, Span] | None:
    """Return what describes the samples of a WAV file, and their span; None if it is no WAV file with samples.

    A data chunk that claims more than there is, or nothing (as recorders and pipes leave it), reaches to the end.
    """
    file.seek(span.start)
    header = file.read(12)
    if header[:4] not in (b"RIFF", b"RF64") or header[8:12] != b"WAVE":
        return None
    description, position, long_size = b"", span.start + 12, None
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        chunk = file.read(8)
        if len(chunk) < 8:
            return None
        name, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        if name == b"ds64" and header[:4] == b"RF64":
            long_size = int.from_bytes(file.read(16)[8:16], "little")
        elif name == b"fmt ":
            description = _wav_description(file.read(min(size, _MAX_FORMAT_BYTES)))
        elif name == b"data":
            start = position + 8
            if long_size is not None and size == 0xFFFFFFFF:
                size = long_size
            end = start + size if 0 < size <= span.end - start else span.end
            return (description, Span(start, end)) if description and start < end else None
        position += 8 + size + (size & 1)
    return None


def _wav_description(chunk: bytes) -> bytes:
    """Return codec, channels, rate, block and bits of a `fmt ` chunk in one form, `b""` if they make no sense."""
    if len(chunk) < 16:
        return b""
    codec, channels, rate, _, block, bits = struct.unpack("<HHIIHH", chunk[:16])
    if codec == _EXTENSIBLE and len(chunk) >= 26:
        # The plain and the extensible form describe the same samples; programs that copy a stream change one into the other.
        codec = int.from_bytes(chunk[24:26], "little")
        extra = b""
    else:
        extra = b"" if codec in (1, 3) else chunk[18:]
    if not channels or not rate or not block:
        return b""
    return struct.pack("<HHIHH", codec, channels, rate, block, bits) + extra


def aiff_span(file: BinaryIO, span: Span) -> tuple[bytes, Span] | None:
    """Return what describes the samples of an AIFF or AIFF-C file, and their span; None if it is none."""
    file.seek(span.start)
    header = file.read(12)
    if header[:4] != b"FORM" or header[8:12] not in (b"AIFF", b"AIFC"):
        return None
    description, samples, position = b"", None, span.start + 12
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        chunk = file.read(8)
        if len(chunk) < 8 or position >= span.end:
            break
        name, size = chunk[:4], int.from_bytes(chunk[4:], "big")
        if name == b"COMM" and size >= 18:
            common = file.read(22 if header[8:12] == b"AIFC" else 18)
            # Channels, bits, rate and codec; the number of frames is the samples' own affair.
            description = common[:2] + common[6:]
        elif name == b"SSND":
            offset = int.from_bytes(file.read(8)[:4], "big")
            start = position + 16 + offset
            samples = Span(start, min(position + 8 + size, span.end))
        position += 8 + size + (size & 1)
    if not description or samples is None or samples.start >= samples.end:
        return None
    return description, samples
