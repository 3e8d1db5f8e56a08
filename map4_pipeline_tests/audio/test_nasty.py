"""The collection of nasty files, where it has been built: every one gives the result its manifest expects.

The same kinds of damage are made by the other tests here out of sound of their own; this one takes a collection as it is. Set
MAP4_NASTY_DIR to the folder that its build script wrote, or have it in ../shared/nasty/data beside the checkout.
"""

import ast
import csv
import os
from pathlib import Path

import pytest

from map4_pipeline.audio import AudioError, analyse

_BESIDE = Path(__file__).parents[3] / "shared" / "nasty" / "data"
FOLDER = os.environ.get("MAP4_NASTY_DIR", "") or (str(_BESIDE) if (_BESIDE / "MANIFEST.tsv").exists() else "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="not applicable: the nasty files are not here (MAP4_NASTY_DIR)")

#: What the manifest calls "clear error" and the like, in our classes.
ERRORS = {
    b"empty.mp3": {"empty"},
    b"trunc_head.flac": {"damaged"},
    b"trunc_moov_last.m4a": {"damaged"},
    b"wrong_ext_text.mp3": {"not_audio"},
    b"html_download.mp3": {"not_audio"},
    b"random_bytes.mp3": {"not_audio", "damaged"},
    b"one_sample.wav": {"too_short"},
    b"zero_samples.wav": {"too_short"},
    b"short_100ms.wav": {"too_short"},
    b"drm_fairplay.m4p": {"encrypted"},
    b"video_only.mp4": {"no_audio"},
    b"wav_rate0.wav": {"damaged"},
    b"dir.mp3": {"unreadable"},
    b"dangling.mp3": {"unreadable"},
    b"loop.mp3": {"unreadable"},
    b"fifo.mp3": {"unreadable"},
}
FINDINGS = {
    b"trunc_half.mp3": "truncated",
    b"trunc_mid.flac": "truncated",
    b"trunc.ogg": "truncated",
    b"bitrot.mp3": "decoder_errors",
    b"silence.wav": "silence",
    b"silence_almost.flac": "silence",
    b"denormal_float.wav": "silence",
    b"dc_only.wav": "dc_offset",
    b"nan_inf_float.wav": "non_finite_samples",
    b"huge_float.wav": "over_full_scale",
    b"clipped_square.wav": "clipping",
    b"antiphase.wav": "antiphase",
}
SILENT = {b"silence.wav", b"silence_almost.flac", b"denormal_float.wav", b"dc_only.wav"}
#: Seconds, where they are not the control's 20.
LENGTH = {b"trunc_half.mp3": 10, b"trunc_mid.flac": 9.6, b"trunc.ogg": 5.1, b"192k_6ch_24bit.wav": 10, b"mix_3h.mp3": 10800}
#: BPM, where it is not the control's 120; None: not told.
TEMPO = {b"8k_mono_8bit.wav": 108.84, b"clipped_square.wav": None, b"bitrot.mp3": None}


def cases() -> list[bytes]:
    if not FOLDER:
        return []
    with open(Path(FOLDER) / "MANIFEST.tsv", encoding="utf-8") as file:
        names = [ast.literal_eval(row[0]) for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row]
    return [os.fsencode(name) if isinstance(name, str) else name for name in names]


@pytest.mark.parametrize("name", cases(), ids=ascii)
def test_a_nasty_file(name: bytes) -> None:
    path = os.fsdecode(os.path.join(os.fsencode(FOLDER), name))
    if name in ERRORS:
        with pytest.raises(AudioError) as caught:
            analyse(path)
        assert caught.value.kind in ERRORS[name]
        assert caught.value.message.endswith(".")
        return
    result = analyse(path)
    features, fingerprint = result.features, result.fingerprint
    assert features is not None
    assert fingerprint is not None
    codes = {finding.code for finding in features.findings}
    if name in FINDINGS:
        assert FINDINGS[name] in codes
    else:
        assert codes <= {"mono_in_stereo"}
    if name in SILENT:
        assert features.bpm is None
        assert features.key is None
        assert fingerprint.chromaprint is None
        return
    if name not in TEMPO:
        assert features.bpm == pytest.approx(120, rel=0.002)
    elif TEMPO[name] is not None:
        assert features.bpm == pytest.approx(TEMPO[name], rel=0.002)
    if name not in (b"clipped_square.wav", b"bitrot.mp3"):
        assert result.technical.duration == pytest.approx(LENGTH.get(name, 20), abs=0.1)
