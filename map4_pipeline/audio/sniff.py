"""What a file is, told from its first bytes and never from its name.

The result names the FFmpeg demuxer to use, so that libavformat does not probe: playlist-like formats (HLS, concat,
DASH), which would open other files or addresses, can then never be chosen. No decoding happens here.
"""

import struct
from dataclasses import dataclass, replace
from typing import BinaryIO

from map4_pipeline.audio.errors import AudioError
from map4_pipeline.audio.mpeg_streams import counted_bytes, find_free_format, find_mpeg_stream, id3_length

#: Bytes looked at; an MPEG stream may begin with junk, so that the first frame header is searched in them.
HEAD_BYTES = 1 << 16

#: How well libsndfile serves a format: "first" when it is the cheaper decoder, "second" as a fallback, "no" otherwise.
_SOUNDFILE = {
    "wav": "first",
    "w64": "first",
    "aiff": "first",
    "au": "first",
    "caf": "second",
    "flac": "first",
    "mp3": "first",
    "vorbis": "second",
    "opus": "second",
    "oggflac": "second",
}

#: Signature at an offset -> (name, demuxer). Order matters only where signatures overlap.
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"fLaC", "flac", "flac"),
    (0, b"wvpk", "wavpack", "wv"),
    (0, b"MAC ", "ape", "ape"),
    (0, b"\x1a\x45\xdf\xa3", "matroska", "matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf", "asf"),
    (0, b"DSD ", "dsf", "dsf"),
    (0, b"FRM8", "dff", "iff"),
    (0, b"TTA1", "tta", "tta"),
    (0, b"tBaK", "tak", "tak"),
    (0, b"caff", "caf", "caf"),
    (0, b".snd", "au", "au"),
    (0, b"riff\x2e\x91\xcf\x11", "w64", "w64"),
    (0, b"#!AMR", "amr", "amr"),
    (0, b"MPCK", "musepack", "mpc8"),
    (0, b"MP+", "musepack", "mpc"),
    (0, b"FLV\x01", "flv", "flv"),
    (0, b"\x00\x00\x01\xba", "mpegps", "mpeg"),
    (0, b"\x7f\xfe\x80\x01", "dts", "dts"),
    (0, b"\xfe\x7f\x01\x80", "dts", "dts"),
    (0, b"DTSHDHDR", "dts", "dtshd"),
    (4, b"\xf8\x72\x6f\xba", "truehd", "truehd"),
    (4, b"\xf8\x72\x6f\xbb", "mlp", "mlp"),
    (0, b"\x0b\x77", "ac3", "ac3"),
    (4, b"ftyp", "mp4", "mov"),
    (4, b"moov", "mp4", "mov"),
    (4, b"mdat", "mp4", "mov"),
    (4, b"wide", "mp4", "mov"),
    (4, b"free", "mp4", "mov"),
    (4, b"skip", "mp4", "mov"),
)

#: Content Encryption Object and its extended form (ASF specification 3.14, 3.15), GUIDs as they lie in the file.
_ASF_PROTECTED = (bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"), bytes.fromhex("14e68a292226174cb935dae07ee9289c"))

#: Share of an MP3's bytes that are music where nothing but small tags stands behind it: then all of them count as music.
_MOSTLY = 0.99


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What the first bytes say.

    Attributes
    ----------
    name : str
        Our name of the format: "mp3", "flac", "vorbis", "mp4", ...
    demuxer : str
        FFmpeg's demuxer, opened by name.
    soundfile : str
        "first", "second", "only" or "no": when libsndfile is tried.
    start : int
        Byte at which a decoder has to begin; above 0 only where a lying tag in front would mislead it.
    audio_bytes : int
        Bytes of the file without the tags in front, for the bit rate.
    truncated : bool
        The container itself says that its end is missing.
    """

    name: str
    demuxer: str
    soundfile: str
    start: int
    audio_bytes: int
    truncated: bool


def sniff(file: BinaryIO, size: int) -> Sniffed:
    """Tell the format of an open file.

    Parameters
    ----------
    file : binary file
        Seekable; its position is left undefined.
    size : int
        Bytes.

    Raises
    ------
    AudioError
        "empty", "not_audio", "damaged" or "encrypted".
    """
    if size == 0:
        raise AudioError("empty", "The file is empty (0 bytes).")
    head = _read_at(file, 0, HEAD_BYTES)
    offset = 0
    while length := id3_length(head):  # some files carry two
        if offset + length >= size:  # the tag claims more than there is: look behind its ten bytes instead
            found = find_mpeg_stream(head[10:])
            if found is None:
                raise AudioError("damaged", "The ID3 tag claims to be longer than the file, and no audio follows it.")
            start = offset + 10 + found[0]
            return Sniffed("mp3" if found[1] == 3 else "mp2", "mp3", "no", start, size - start, False)
        offset += length
        head = _read_at(file, offset, HEAD_BYTES)
    result = _identify(file, head, offset, size)
    if result is None:
        raise AudioError("not_audio", "This is no audio file that MAP4 knows, whatever its name says.")
    return result


def _identify(file: BinaryIO, head: bytes, offset: int, size: int) -> Sniffed | None:
    rest = size - offset
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"FFIR"):
        if head[8:12] == b"WAVE":
            return _make("wav", "wav", rest, truncated=_wav_is_cut(head, rest))
        if head[8:12] == b"AVI ":
            return _make("avi", "avi", rest)
        return None
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        declared = struct.unpack(">I", head[4:8])[0] + 8
        return _make("aiff", "aiff", rest, truncated=declared > rest + 1 and declared < 0xFFFFFF00)
    if head[:4] == b"OggS":
        return _make(_ogg_codec(head), "ogg", rest, truncated=not _ogg_has_end(file, size))
    for at, signature, name, demuxer in _SIGNATURES:
        if head[at : at + len(signature)] == signature:
            if name == "asf" and any(guid in head for guid in _ASF_PROTECTED):
                raise AudioError("encrypted", "The audio is copy-protected (Windows Media DRM) and cannot be decoded.")
            if name == "mp4" and at == 4 and struct.unpack(">I", head[:4])[0] not in range(0, size + 1):
                continue
            return _make(name, demuxer, rest, truncated=_is_cut(name, head, rest))
    if len(head) > 6 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        follows = head[length : length + 2]
        if length > 7 and (not follows or (follows[0] == 0xFF and len(follows) > 1 and follows[1] & 0xF6 == 0xF0)):
            return _make("adts", "aac", rest)
    if len(head) > 188 * 4 and all(head[188 * k] == 0x47 for k in range(4)):
        return _make("mpegts", "mpegts", rest)
    found = find_mpeg_stream(head)
    if found is None and offset and not head.strip(b"\0"):  # padding behind the tag
        offset += len(head)
        head = _read_at(file, offset, HEAD_BYTES)
        found = find_mpeg_stream(head)
    if found is not None:
        result = _make("mp3" if found[1] == 3 else "mp2", "mp3", rest)
        # Without a count of the frames, libsndfile guesses the length from the bit rate and stops there.
        counted = counted_bytes(file, size, offset + found[0], head[found[0] :])
        if counted is None:
            return replace(result, soundfile="second")
        return result if counted > _MOSTLY * rest else replace(result, audio_bytes=counted)
    if find_free_format(head) is not None:
        return replace(_make("mp3", "mp3", rest), soundfile="only")
    return None


def _make(name: str, demuxer: str, audio_bytes: int, truncated: bool = False) -> Sniffed:
    return Sniffed(name, demuxer, _SOUNDFILE.get(name, "no"), 0, audio_bytes, truncated)


def _read_at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


def _wav_is_cut(head: bytes, size: int) -> bool:
    """Whether the data chunk claims more bytes than follow; writers of endless streams claim about 4 GB, which is no cut."""
    position = 12
    while position + 8 <= len(head):
        name, length = head[position : position + 4], struct.unpack("<I", head[position + 4 : position + 8])[0]
        if name == b"data":
            return bool(0 < length < 0xFFFFFF00 and position + 8 + length > size + 1)
        position += 8 + length + (length & 1)
    return False


def _is_cut(name: str, head: bytes, size: int) -> bool:
    """Whether a header that gives the length of the whole file in bytes gives more than there is."""
    declared = 0
    if name == "dsf" and len(head) >= 20:
        declared = struct.unpack("<Q", head[12:20])[0]
    elif name == "dff" and len(head) >= 12:
        declared = struct.unpack(">Q", head[4:12])[0] + 12
    elif name == "w64" and len(head) >= 24:
        declared = struct.unpack("<Q", head[16:24])[0]
    elif name == "au" and len(head) >= 12:
        start, length = struct.unpack(">II", head[4:12])
        declared = start + length if length < 0xFFFFFF00 else 0
    elif name == "caf":
        position = 8
        while position + 12 <= len(head):
            length = struct.unpack(">q", head[position + 4 : position + 12])[0]
            end = position + 12 + length
            if head[position : position + 4] == b"data" or length < 0:
                declared = end
                break
            position = end
    return size + 1 < declared < 1 << 60


def _ogg_codec(head: bytes) -> str:
    for mark, name in ((b"OpusHead", "opus"), (b"\x01vorbis", "vorbis"), (b"\x7fFLAC", "oggflac"), (b"Speex   ", "speex")):
        if mark in head[:4096]:
            return name
    return "ogg"


def _ogg_has_end(file: BinaryIO, size: int) -> bool:
    """Whether one of the last pages carries the end-of-stream mark (RFC 3533 section 6, header type bit 0x04)."""
    tail = _read_at(file, max(0, size - HEAD_BYTES - 65307), HEAD_BYTES + 65307)
    position = tail.rfind(b"OggS")
    for _ in range(4):
        if position < 0:
            return False
        if len(tail) > position + 5 and tail[position + 5] & 4:
            return True
        position = tail.rfind(b"OggS", 0, position)
    return False
