"""What a file is, whatever it is called and whatever its tags say.

`file_hash` is SHA-256 of all bytes. `audio_hash` is SHA-256 of the codec, its parameters and the encoded audio, as in
`ffmpeg -i FILE -map 0:a:0 -c copy -f hash -`: a moved, renamed or retagged file keeps it, a change of one sample does not. It
is a name for content that is stored for years, so nothing goes into it that a newer libav may see differently: no packet
boundaries, no decoder's sample format, no rate that only decoding reveals.
"""

import hashlib
import io
import os
import stat
from typing import TYPE_CHECKING, Any, BinaryIO

from map4_pipeline.audio.errors import AudioError
from map4_pipeline.library.chunks import aiff_span, wav_span
from map4_pipeline.library.filesystem import open_to_read, system_message
from map4_pipeline.library.model import Identity
from map4_pipeline.library.spans import Span, flac_span, mpeg_span, without_tags

if TYPE_CHECKING:
    from hashlib import _Hash

_BLOCK_BYTES = 1024 * 1024
# Demuxers that read the file they are given and no other: no playlists (HLS, DASH, concat), no image sequences, no devices.
# Probing tells the format, and libav refuses what is not listed before it reads a header.
_DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,caf,dsf,dts,dtshd,eac3,flac,iff,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,ogg,rm,shn,tak,tta,"
    "w64,wav,wv"
)


def identify(path: bytes | str | os.PathLike[str]) -> Identity:
    """Hash a file's bytes and its audio.

    Raises
    ------
    AudioError
        `unreadable` if the system refuses, the file has vanished, is no regular file or changes meanwhile; `empty` if it has
        0 bytes.
    """
    try:
        with os.fdopen(open_to_read(path), "rb", buffering=0) as raw:
            return _identify_open(raw)
    except OSError as error:
        raise AudioError("unreadable", _message(error)) from None


def _message(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "The file is gone."
    return f"The system cannot read the file: {system_message(error)}."


def _identify_open(raw: io.FileIO) -> Identity:
    before = os.fstat(raw.fileno())
    if not stat.S_ISREG(before.st_mode):
        raise AudioError("unreadable", "It is not a regular file.")
    if before.st_size == 0:
        raise AudioError("empty", "The file has 0 bytes.")
    file_hash, bytes_read = _hash_file(raw)
    # The second pass comes from the page cache.
    audio_hash = _audio_hash(raw, before.st_size)
    after = os.fstat(raw.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or bytes_read != before.st_size:
        raise AudioError("unreadable", "The file changed while it was read; the next run takes it up.")
    if audio_hash is None:
        return Identity(file_hash, file_hash, "file", bytes_read)
    return Identity(file_hash, audio_hash, "packets", bytes_read)


def _hash_file(raw: io.FileIO) -> tuple[str, int]:
    digest = hashlib.sha256()
    buffer = bytearray(_BLOCK_BYTES)
    view = memoryview(buffer)
    total = 0
    while count := raw.readinto(buffer):
        digest.update(view[:count])
        total += count
    return digest.hexdigest(), total


def _audio_hash(raw: io.FileIO, size: int) -> str | None:
    file = io.BufferedReader(raw, 64 * 1024)
    try:
        span = without_tags(file, size)
        if (flac := flac_span(file, span)) is not None:
            stream_info, frames = flac
            return _hash_span(file, frames, _parameters("flac", stream_info))
        if (wav := wav_span(file, span)) is not None:
            return _hash_span(file, wav[1], _parameters("wav", wav[0]))
        if (aiff := aiff_span(file, span)) is not None:
            return _hash_span(file, aiff[1], _parameters("aiff", aiff[0]))
        if (mpeg := mpeg_span(file, span)) is not None:
            header, frames = mpeg
            return _hash_span(file, frames, _parameters(f"mp{header.layer}", b"", header.sample_rate, header.channels))
        return _hash_packets(file, span)
    finally:
        # The raw file is the caller's to close.
        file.detach()


def _parameters(codec: str, extradata: bytes, *numbers: int) -> "_Hash":
    """Begin a hash with what the packets mean."""
    head = "\0".join(("map4 audio 1", codec, *map(str, numbers), str(len(extradata)))).encode()
    return hashlib.sha256(head + b"\0" + extradata)


def _hash_span(file: BinaryIO, span: Span, digest: "_Hash") -> str | None:
    if span.start >= span.end:
        return None
    file.seek(span.start)
    left = span.end - span.start
    while left and (block := file.read(min(_BLOCK_BYTES, left))):
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()


class _SpanReader:
    """A file-like view of a span, for libav: it sees no tags, no name, and no other file."""

    def __init__(self, file: BinaryIO, span: Span) -> None:
        self._file = file
        self._span = span
        self._position = 0

    def read(self, count: int = -1) -> bytes:
        left = self._span.end - self._span.start - self._position
        count = left if count < 0 else min(count, left)
        if count <= 0:
            return b""
        self._file.seek(self._span.start + self._position)
        data = self._file.read(count)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._span.end - self._span.start}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _hash_packets(file: BinaryIO, span: Span) -> str | None:
    """Hash the packets of the first audio stream; None where they cannot be demuxed to the end."""
    import av

    options = {
        "format_whitelist": _DEMUXERS,
        "protocol_whitelist": "file",
        # All packets, also those that an edit list hides: a tagger may rewrite the list.
        "ignore_editlist": "1",
        # Raw PCM in large packets; the boundaries do not count.
        "max_size": "1048576",
    }
    try:
        source = _SpanReader(file, span)
        with av.open(source, "r", options=options, buffer_size=256 * 1024, metadata_errors="replace") as container:
            if not container.streams.audio:
                return None
            stream: Any = container.streams.audio[0]
            if stream.codec_context is None:  # a codec that FFmpeg does not know
                return None
            digest = _stream_parameters(container.format.name, stream)
            count = 0
            for packet in container.demux(stream):
                if packet.size:
                    digest.update(packet)
                    count += packet.size
            return digest.hexdigest() if count else None
    except (av.error.FFmpegError, ValueError, UnicodeError, EOFError):
        # Half a stream's packets are no identity: two files that break at the same place would be taken for one.
        return None


def _stream_parameters(container: str, stream: Any) -> "_Hash":
    codec = stream.codec_context
    name = codec.codec.canonical_name
    extradata = bytes(codec.extradata or b"")
    if name == "vorbis":
        extradata = _without_comment_header(extradata)
    if name.startswith("aac"):
        # Whether spectral band replication doubles the rate is told by decoding only; the header is in extradata or packets.
        return _parameters(name, extradata)
    return _parameters(name, extradata, codec.sample_rate, codec.channels)


def _without_comment_header(extradata: bytes) -> bytes:
    """Return Vorbis' identification and setup headers: the second of the three holds the tags and the encoder's name."""
    if extradata[:1] == b"\x02":
        sizes, position = [], 1
        for _ in range(2):
            size = 0
            while position < len(extradata) and extradata[position] == 255:
                size += 255
                position += 1
            size += extradata[position] if position < len(extradata) else 0
            position += 1
            sizes.append(size)
        setup = position + sizes[0] + sizes[1]
        return extradata[position : position + sizes[0]] + extradata[setup:]
    headers, position = [], 0
    while position + 2 <= len(extradata):
        size = int.from_bytes(extradata[position : position + 2], "big")
        headers.append(extradata[position + 2 : position + 2 + size])
        position += 2 + size
    return headers[0] + headers[2] if len(headers) == 3 else extradata
