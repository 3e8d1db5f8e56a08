"""Writes samples as audio files of many formats, with the ffmpeg that the wheel `imageio-ffmpeg` carries.

For the demo library, tests and benchmarks; MAP4 never writes users' audio. The bundled program is several times faster at MP3
than PyAV's build (0.5 s against 2.3 s for a minute of stereo), and libsndfile crashes on long Ogg writes.
"""

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Format, by extension -> what ffmpeg is told.
_CODECS: dict[str, tuple[str, ...]] = {
    "wav": ("-c:a", "pcm_s16le", "-f", "wav"),
    "aiff": ("-c:a", "pcm_s16be", "-f", "aiff"),
    "flac": ("-c:a", "flac", "-f", "flac"),
    "mp3": ("-c:a", "libmp3lame", "-b:a", "192k", "-compression_level", "9", "-f", "mp3"),
    "ogg": ("-c:a", "libvorbis", "-q:a", "4", "-f", "ogg"),
    "opus": ("-c:a", "libopus", "-b:a", "96k", "-compression_level", "3", "-f", "opus"),
    "m4a": ("-c:a", "aac", "-b:a", "128k", "-aac_coder", "fast", "-f", "ipod"),
    "wma": ("-c:a", "wmav2", "-b:a", "128k", "-f", "asf"),
    "wv": ("-c:a", "wavpack", "-f", "wv"),
}


def encode(
    samples: "NDArray[np.float32]", path: str | os.PathLike[str], *, sample_rate: int = 44100, options: tuple[str, ...] = ()
) -> None:
    """Write samples to a file; equal samples give equal bytes.

    Parameters
    ----------
    samples : ndarray, shape (samples, channels)
        Between -1 and 1.
    path
        The extension decides the format: wav, aiff, flac, mp3, ogg, opus, m4a, wma, wv.
    options : tuple of str
        Further arguments of ffmpeg for the output, which win over the format's own.

    Raises
    ------
    RuntimeError
        If ffmpeg fails; with its message.
    """
    import imageio_ffmpeg
    import numpy as np

    path = Path(path)
    codec = _CODECS[path.suffix[1:].lower()]
    pcm = np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2")
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y"),
        *("-f", "s16le", "-ar", str(sample_rate), "-ac", str(samples.shape[1]), "-i", "pipe:0"),
        # Without bitexact the encoder's version and a random stream number would be in the file.
        *("-threads", "1", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact"),
        *codec,
        *options,
        # The protocol's name keeps ffmpeg from reading a scheme into a file's name.
        f"file:{path}",
    ]
    done = subprocess.run(command, input=pcm.tobytes(), capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ffmpeg could not write {path.name}: {done.stderr.decode('utf-8', 'replace').strip()}")
