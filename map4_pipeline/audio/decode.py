"""From a file to blocks of float32 samples, by the cheaper of two decoders and by the other where the first refuses.

libsndfile (soundfile) and FFmpeg's libraries (PyAV) each refuse files that the other reads. A stream gives blocks of shape
(frames, channels) at the source's rate and knows, at its end, what it read: nothing here keeps the samples.
"""

import os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np

from map4_pipeline.audio.errors import AudioError
from map4_pipeline.audio.sniff import Sniffed, sniff

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Frames a block; large enough that Python's cost a block vanishes, small enough for 6 channels at 192 kHz.
BLOCK_FRAMES = 1 << 16


class AudioStream(Protocol):
    """One opened audio stream.

    Attributes
    ----------
    sample_rate : int
        Hz.
    channels : int
    codec, container : str
        FFmpeg's names.
    bit_depth : int or None
    decoder : str
        "soundfile" or "pyav".
    declared_frames : int or None
        What the header promises.
    packet_bytes : int
        Compressed bytes read so far, 0 when unknown.
    errors : int
        Packets that could not be decoded so far.
    """

    sample_rate: int
    channels: int
    codec: str
    container: str
    bit_depth: int | None
    decoder: str
    declared_frames: int | None
    packet_bytes: int
    errors: int

    def blocks(self) -> "Iterator[NDArray[np.float32]]":
        """Yield (frames, channels) blocks to the end of the stream."""

    def close(self) -> None:
        """Release the file."""


def open_file(path: str | os.PathLike[str]) -> tuple[BinaryIO, int]:
    """Open a regular file for reading and return it with its size.

    Raises
    ------
    AudioError
        "unreadable" for what is no regular file (opening a FIFO would block for ever) or cannot be opened.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise AudioError("unreadable", "This is a folder, not a file.")
        if not stat.S_ISREG(mode):
            raise AudioError("unreadable", "This is no regular file (a pipe, socket or device).")
        file = open(path, "rb")  # noqa: SIM115 (the caller closes it)
        return file, os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        message = "The file does not exist, or its link leads nowhere."
    except PermissionError:
        message = "The file may not be read: permission denied."
    except OSError as error:
        message = f"The operating system cannot open the file: {error.strerror or error}."
    except ValueError:
        message = "The path is not valid."
    raise AudioError("unreadable", message)


def candidates(path: str | os.PathLike[str]) -> tuple[Sniffed, list[Callable[[], AudioStream]]]:
    """Return what the file is and functions that open it, the cheapest decoder first.

    Raises
    ------
    AudioError
        When the file cannot be opened or is no audio.
    """
    file, size = open_file(path)
    with file:
        try:
            sniffed = sniff(file, size)
        except OSError as error:
            raise AudioError("unreadable", f"The file cannot be read: {error.strerror or error}.") from None

    def with_pyav() -> AudioStream:
        from map4_pipeline.audio.decode_pyav import PyAVStream

        return PyAVStream(path, sniffed)

    def with_soundfile() -> AudioStream:
        from map4_pipeline.audio.decode_soundfile import SoundFileStream

        return SoundFileStream(path, sniffed)

    if sniffed.soundfile == "first":
        return sniffed, [with_soundfile, with_pyav]
    if sniffed.soundfile == "only":
        return sniffed, [with_soundfile]
    if sniffed.soundfile == "second":
        return sniffed, [with_pyav, with_soundfile]
    return sniffed, [with_pyav]
