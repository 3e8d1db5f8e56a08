"""Takes what is heavy out of ID3v2 tags before they are parsed.

A tag of 40 MB of cover art would be held in memory three times over, and a compressed frame of a few kilobytes may unpack to
gigabytes. Pictures, binary frames, large and compressed frames are left out while the tag is copied frame by frame.
"""

import io
import os
from typing import BinaryIO

from map4_pipeline.library.spans import id3v2_size

# Smaller tags are harmless as they are, compressed frames apart.
_SMALL_TAG_BYTES = 64 * 1024
_MAX_FRAME_BYTES = 1024 * 1024
_MAX_KEPT_BYTES = 8 * 1024 * 1024
_MAX_FRAMES = 20_000
_PICTURES = (b"APIC", b"PIC")


def reduced_id3(file: BinaryIO) -> tuple[io.BytesIO | None, bool]:
    """Return a copy of the ID3v2 tag at the file's beginning without its heavy frames, and whether it holds a picture.

    None where the file starts with no ID3v2 tag (an ID3v1 tag may be at its end). The file is left at its beginning.
    """
    file.seek(0)
    header = file.read(10)
    size = id3v2_size(header)
    if not size:
        file.seek(0)
        return None, False
    version, flags = header[3], header[5]
    available = min(size, os.fstat(file.fileno()).st_size) - 10
    if flags & 0x80 and version < 4:
        # The whole tag is unsynchronised: frame sizes count bytes that are not in the file. Rare and old, so small ones are
        # taken as they are, and of large ones the first megabyte, where taggers put the text.
        data = file.read(min(available, _MAX_FRAME_BYTES))
        file.seek(0)
        return _with_header(version, flags & 0x80, data), b"APIC" in data
    end = 10 + available
    if flags & 0x40 and version >= 3:
        extended = file.read(4)
        length = _synchsafe(extended) - 4 if version == 4 else int.from_bytes(extended, "big")
        file.seek(max(0, length), os.SEEK_CUR)
    kept, has_cover = _kept_frames(file, version, end)
    file.seek(0)
    return _with_header(version, flags & 0x80, kept), has_cover


def _kept_frames(file: BinaryIO, version: int, end: int) -> tuple[bytes, bool]:
    name_length, header_length = (3, 6) if version == 2 else (4, 10)
    kept = bytearray()
    has_cover = False
    for _ in range(_MAX_FRAMES):
        position = file.tell()
        if position + header_length > end or len(kept) > _MAX_KEPT_BYTES:
            break
        header = file.read(header_length)
        name = header[:name_length]
        if len(header) < header_length or not name.isalnum():
            break
        length = _frame_length(file, header, version, end)
        if length > end - file.tell():
            break
        # Status and encoding flags of 2.3 and 2.4 mark compression differently; encrypted frames are of no use either.
        heavy_flags = {3: 0xC0, 4: 0x0C}.get(version, 0)
        is_packed = version > 2 and bool(header[9] & heavy_flags)
        has_cover |= name in _PICTURES and length > 0
        if name[:1] in b"TCW" and name not in _PICTURES and length <= _MAX_FRAME_BYTES and not is_packed:
            kept += _with_valid_text(version, header, file.read(length))
        elif is_packed and length <= _SMALL_TAG_BYTES // 16 and name not in _PICTURES:
            # At most 4 kB, so at most about 4 MB unpacked.
            kept += header + file.read(length)
        else:
            file.seek(length, os.SEEK_CUR)
    return bytes(kept), has_cover


def _with_valid_text(version: int, header: bytes, data: bytes) -> bytes:
    """Return a frame whose text is valid where it is marked as UTF-8: mutagen drops such a frame, we keep what is legible."""
    if version < 3 or data[:1] != b"\x03" or header[:1] != b"T" or header[8:10] != b"\0\0":
        return header + data
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        data = b"\x03" + data[1:].decode("utf-8", "replace").encode("utf-8")
    else:
        return header + data
    size = _synchsafe_bytes(len(data)) if version == 4 else len(data).to_bytes(4, "big")
    return header[:4] + size + header[8:10] + data


def _frame_length(file: BinaryIO, header: bytes, version: int, end: int) -> int:
    if version == 2:
        return int.from_bytes(header[3:6], "big")
    plain = int.from_bytes(header[4:8], "big")
    if version == 3 or max(header[4:8]) > 127:
        return plain
    synchsafe = _synchsafe(header[4:8])
    if synchsafe == plain:
        return plain
    # iTunes wrote plain lengths into 2.4 tags for years: believe the one behind which another frame (or the end) stands.
    position = file.tell()
    for length in (synchsafe, plain):
        file.seek(position + length)
        following = file.read(4) if position + length < end else b"\0\0\0\0"
        if following.isalnum() or following == b"\0\0\0\0" or position + length == end:
            file.seek(position)
            return length
    file.seek(position)
    return synchsafe


def _synchsafe(data: bytes) -> int:
    value = 0
    for byte in data:
        value = (value << 7) | (byte & 127)
    return value


def _synchsafe_bytes(size: int) -> bytes:
    return bytes(((size >> 21) & 127, (size >> 14) & 127, (size >> 7) & 127, size & 127))


def _with_header(version: int, flags: int, frames: bytes) -> io.BytesIO:
    return io.BytesIO(b"ID3" + bytes((version, 0, flags)) + _synchsafe_bytes(len(frames)) + frames)
