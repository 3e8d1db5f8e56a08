"""Decoding with libsndfile: the cheaper decoder for WAV, AIFF, FLAC and MP3."""

import contextlib
import os
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from map4_pipeline.audio.decode import BLOCK_FRAMES
from map4_pipeline.audio.errors import AudioError
from map4_pipeline.audio.sniff import Sniffed

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: libsndfile subtype -> (FFmpeg codec name, bits a sample or None for lossy codecs). "{e}" is the byte order.
_CODECS: dict[str, tuple[str, int | None]] = {
    "PCM_S8": ("pcm_s8", 8),
    "PCM_U8": ("pcm_u8", 8),
    "PCM_16": ("pcm_s16{e}", 16),
    "PCM_24": ("pcm_s24{e}", 24),
    "PCM_32": ("pcm_s32{e}", 32),
    "FLOAT": ("pcm_f32{e}", 32),
    "DOUBLE": ("pcm_f64{e}", 64),
    "ULAW": ("pcm_mulaw", 8),
    "ALAW": ("pcm_alaw", 8),
    "IMA_ADPCM": ("adpcm_ima_wav", None),
    "MS_ADPCM": ("adpcm_ms", None),
    "GSM610": ("gsm_ms", None),
    "VORBIS": ("vorbis", None),
    "OPUS": ("opus", None),
    "ALAC_16": ("alac", 16),
    "ALAC_20": ("alac", 20),
    "ALAC_24": ("alac", 24),
    "ALAC_32": ("alac", 32),
    "MPEG_LAYER_I": ("mp1", None),
    "MPEG_LAYER_II": ("mp2", None),
    "MPEG_LAYER_III": ("mp3", None),
}


@lru_cache(maxsize=1)
def _nowhere() -> int:
    """Return a file descriptor that takes everything; opened once, because it is needed for every block."""
    return os.open(os.devnull, os.O_WRONLY)


class _QuietStderr:
    """While somebody is in it, file descriptor 2 points to nowhere, in whatever number of threads.

    libsndfile's MP3 reader prints hundreds of lines to it and cannot be told not to.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                with contextlib.suppress(OSError):  # closed already
                    self._saved = os.dup(2)
                    os.dup2(_nowhere(), 2)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._saved is not None:
                os.dup2(self._saved, 2)
                os.close(self._saved)
                self._saved = None


_quiet_stderr = _QuietStderr()


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from its start to its end.

    After every read of what can seek, soundfile seeks to where it is, for which the MP3 and FLAC decoders go back some frames and
    decode them again: with blocks of 65,536 frames that is 10% of the decoding.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


class SoundFileStream:
    """An `AudioStream` over libsndfile."""

    decoder = "soundfile"

    def __init__(self, path: str | os.PathLike[str], sniffed: Sniffed) -> None:
        name = os.fspath(path)
        # Bytes, so that names which are not UTF-8 reach the operating system as they are.
        target: str | bytes = name if os.name == "nt" else os.fsencode(name)
        self._noisy = sniffed.name == "mp3"
        try:
            with self._quiet():
                self._file = _Forward(target)
        except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
            raise AudioError("damaged", f"The audio cannot be decoded: {_reason(error)}.") from None
        if self._file.samplerate <= 0 or self._file.channels <= 0:
            self._file.close()
            raise AudioError("damaged", "The header gives no valid sample rate or number of channels.")
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        codec, self.bit_depth = _CODECS.get(self._file.subtype, (self._file.subtype.lower(), None))
        big = self._file.format in ("AIFF", "AU") and self._file.endian != "LITTLE"
        self.codec = codec.format(e="be" if big else "le")
        self.container = sniffed.demuxer
        if sniffed.name == "flac":
            self.codec = "flac"
        frames = int(self._file.frames)
        # Where no frame counts the others, libsndfile guesses their number.
        guessed = sniffed.name == "mp3" and sniffed.soundfile != "first"
        self.declared_frames: int | None = frames if 0 < frames < 1 << 62 and not guessed else None
        self.packet_bytes = 0
        self.errors = 0

    def _quiet(self) -> contextlib.AbstractContextManager[None]:
        return _quiet_stderr if self._noisy else contextlib.nullcontext()

    def blocks(self) -> "Iterator[NDArray[np.float32]]":
        """Yield (frames, channels) float32 blocks to the end of the stream."""
        nothing_yet = True
        while True:
            try:
                block = np.empty((BLOCK_FRAMES, self.channels), np.float32)
                with self._quiet():
                    block = block[: self._file.buffer_read_into(block, "float32")]
            except (soundfile.LibsndfileError, RuntimeError) as error:
                raise AudioError("damaged", f"The audio cannot be decoded to its end: {_reason(error)}.") from None
            if not len(block):
                if nothing_yet and self.declared_frames:
                    raise AudioError("damaged", "The header announces music, and none follows.")
                return
            nothing_yet = False
            yield block

    def close(self) -> None:
        """Release the file."""
        with self._quiet():
            self._file.close()


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", "") or "the decoder gives no reason"
    return str(text).strip().rstrip(".")
