"""Decoding with FFmpeg's libraries through PyAV: every other format, and the fallback where libsndfile refuses.

Frames are taken as raw planes and joined into large blocks; FFmpeg's per-frame resampler would cost more than the decoding
of some formats. The file is handed over as a Python object under a demuxer chosen by `sniff`, so that FFmpeg never probes
and never opens anything else, whatever the file says.
"""

import contextlib
import os
from collections.abc import Iterator
from io import SEEK_CUR, SEEK_END, SEEK_SET
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import av.error
import av.logging
import numpy as np

from map4_pipeline.audio.decode import BLOCK_FRAMES, open_file
from map4_pipeline.audio.errors import AudioError
from map4_pipeline.audio.model import is_lossless
from map4_pipeline.audio.ogg_links import last_link
from map4_pipeline.audio.sniff import Sniffed

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from numpy.typing import NDArray

av.logging.set_level(None)

#: Consecutive undecodable packets after which a stream is given up.
_MAX_ERRORS = 2000
_SCALE = {"u8": 1 / 128, "s16": 1 / 32768, "s32": 1 / 2147483648, "s64": 1 / 9223372036854775808}
_LOSSLESS_DEPTH = {"s16": 16, "s32": 32, "u8": 8, "flt": 32, "dbl": 64}
_RAW = ("mp3", "aac", "ac3", "dts", "dtshd", "truehd", "mlp", "amr", "mpegts", "mpeg")
#: Sample entries of MP4: Apple's FairPlay, ISO common encryption, Audible.
_PROTECTED_TAGS = ("drms", "enca", "aavd")
_PROTECTED = "The audio is copy-protected (DRM) and cannot be decoded."


def _tag(context: "av.CodecContext") -> str:
    """Return the four letters of a sample entry; damaged ones need not be letters."""
    try:
        return context.codec_tag or ""
    except UnicodeDecodeError:
        return ""


class _Window:
    """A file seen from a byte on: what lies before it does not exist for the reader."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start = file, start
        file.seek(start)

    def read(self, count: int = -1) -> bytes:
        return self._file.read(count)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        try:
            if whence == SEEK_SET:
                return self._file.seek(offset + self._start) - self._start
            return self._file.seek(offset, SEEK_CUR if whence == SEEK_CUR else SEEK_END) - self._start
        except (OSError, ValueError):  # a damaged header points before the file: an error to FFmpeg, not to whoever reads the log
            return -1

    def tell(self) -> int:
        return self._file.tell() - self._start


class PyAVStream:
    """An `AudioStream` over libavformat and libavcodec."""

    decoder = "pyav"

    def __init__(self, path: str | os.PathLike[str], sniffed: Sniffed) -> None:
        self._file, _ = open_file(path)
        self._format = sniffed.demuxer
        try:
            self._container = self._open_container(sniffed.start)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._file.close()
            raise AudioError("damaged", f"The {sniffed.name} file cannot be opened: {_reason(error)}.") from None
        try:
            self._stream = self._first_stream()
            self._describe(sniffed)
        except BaseException:
            self.close()
            raise

    def _open_container(self, start: int) -> "InputContainer":
        self._start = start
        return av.open(
            _Window(self._file, start),
            mode="r",
            format=self._format,
            metadata_errors="replace",
            options={"protocol_whitelist": "none"},
        )

    def _first_stream(self) -> "AudioStream":
        streams = self._container.streams.audio
        if not streams:
            raise AudioError("no_audio", "The file holds no audio stream.")
        context = streams[0].codec_context
        if context is None or context.codec is None or context.name in (None, "none"):
            raise AudioError("unsupported", "The codec of the audio stream is not supported.")
        if _tag(context) in _PROTECTED_TAGS:
            # Without the key, some decoders make noise of it rather than fail.
            raise AudioError("encrypted", _PROTECTED)
        context.thread_type = "NONE"
        context.thread_count = 1
        return streams[0]

    def _describe(self, sniffed: Sniffed) -> None:
        """Take down what the header says."""
        stream, context = self._stream, self._stream.codec_context
        # FFmpeg's MP3 decoder is called "mp3float"; the codec is "mp3".
        self.codec = str(getattr(context.codec, "canonical_name", None) or context.name)
        self.container = sniffed.demuxer
        self.sample_rate = int(context.sample_rate or 0)
        self.channels = int(context.channels or 0)
        layout = context.format.name.rstrip("p") if context.format is not None else ""
        depth = getattr(context, "bits_per_coded_sample", 0) or _LOSSLESS_DEPTH.get(layout, 0)
        if self.codec.startswith("dsd_"):
            depth = 1
        self.bit_depth: int | None = depth if is_lossless(self.codec) and depth else None
        self.declared_frames: int | None = None
        # Raw streams declare no length: FFmpeg guesses one from the bit rate.
        guessed = sniffed.demuxer in _RAW and sniffed.soundfile != "first"
        if not guessed and stream.duration and stream.time_base and self.sample_rate:
            self.declared_frames = int(stream.duration * stream.time_base * self.sample_rate)
        elif not guessed and self._container.duration and len(self._container.streams) == 1:
            # Matroska gives one length for the whole file, in microseconds, from 0 on and not from where the sound begins.
            length = self._container.duration - max(0, self._container.start_time or 0)
            self.declared_frames = int(length * self.sample_rate / 1_000_000)
        self.packet_bytes = 0
        self.errors = 0

    def blocks(self) -> "Iterator[NDArray[np.float32]]":
        """Yield (frames, channels) float32 blocks to the end of the stream."""
        pending: list[NDArray[np.generic]] = []
        count = 0
        shape: tuple[str, int, int] | None = None
        for frame in self._frames():
            # A stream may change on its way; frames of one shape are joined and converted together, which is what makes
            # taking them one by one affordable.
            now = (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
            if pending and (now != shape or count >= BLOCK_FRAMES):
                yield self._block(pending, shape)
                pending, count = [], 0
            shape = now
            pending.append(_raw(frame))
            count += frame.samples
        if pending:
            yield self._block(pending, shape)

    def _frames(self) -> "Iterator[AudioFrame]":
        try:
            yield from self._frames_of_container()
            return
        except AudioError as error:
            complaint = error
        # Rate, channels or codec may change from link to link of an Ogg file, where FFmpeg gives up.
        while self._open_next_link():
            with contextlib.suppress(AudioError):
                yield from self._frames_of_container()
                return
        raise complaint

    def _open_next_link(self) -> bool:
        """Go on at the link of a chained Ogg file at which FFmpeg gave up; return whether there is one."""
        link = last_link(self._file, self._start, self._file.tell()) if self._format == "ogg" else None
        if link is None:
            return False
        self._container.close()
        try:
            self._container = self._open_container(link)
            self._stream = self._first_stream()
        except (AudioError, av.error.FFmpegError, OSError, ValueError):
            return False
        return True

    def _frames_of_container(self) -> "Iterator[AudioFrame]":
        decoded = False
        failed = 0
        try:
            for packet in self._container.demux(self._stream):
                self.packet_bytes += packet.size
                try:
                    frames = packet.decode()
                except av.error.EOFError:
                    return
                except (av.error.FFmpegError, ValueError):
                    self.errors += 1
                    failed += 1
                    if failed > _MAX_ERRORS:
                        break
                    continue
                if frames:
                    failed = 0
                for frame in frames:
                    if frame.samples:
                        decoded = True
                        yield frame
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise AudioError("damaged", f"The audio cannot be decoded: {_reason(error)}.") from None
        if not decoded and self.errors:
            raise AudioError("damaged", "The audio cannot be decoded: no part of it is valid.")

    def _block(self, pending: "list[NDArray[np.generic]]", shape: tuple[str, int, int] | None) -> "NDArray[np.float32]":
        """Return frames of one shape as (frames, channels) float32 of the stream's first rate and channel count."""
        assert shape is not None
        name, channels, rate = shape
        if not self.sample_rate or not self.channels:
            self.sample_rate, self.channels = rate, channels
        planar = name.endswith("p") and channels > 1
        joined = np.concatenate(pending, axis=1) if planar else np.concatenate(pending)
        out = np.empty((joined.size // channels, channels), np.float32)
        out[:] = joined.T if planar else joined.reshape(-1, channels)
        sample = name.removesuffix("p")
        if sample == "u8":
            out -= 128
        if sample in _SCALE:
            out *= np.float32(_SCALE[sample])
        if channels != self.channels:  # keep the shape it began with
            out = np.repeat(out.mean(axis=1, keepdims=True), self.channels, axis=1)
        if rate != self.sample_rate:
            import soxr

            out = np.asarray(soxr.resample(out, rate, self.sample_rate), dtype=np.float32)
        return out

    def close(self) -> None:
        """Release the file."""
        self._container.close()
        self._file.close()


_TYPES = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "s64": np.int64, "flt": np.float32, "dbl": np.float64}


def _raw(frame: "AudioFrame") -> "NDArray[np.generic]":
    """Return a frame's samples unconverted: (channels, frames) when planar with several channels, else one row."""
    name = frame.format.name
    kind, count = _TYPES[name.removesuffix("p")], frame.samples
    channels = frame.layout.nb_channels
    planes: Any = frame.planes  # they have the buffer protocol, which their type does not say
    if name.endswith("p") and channels > 1:
        # PyAV counts planes up to a null pointer, which eight planes do not end with: what it gives after them is no memory.
        return np.stack([np.frombuffer(plane, kind, count) for plane in planes[:channels]])
    return np.frombuffer(planes[0], kind, count * channels).copy()


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return str(text).strip().rstrip(".") or "the decoder gives no reason"
