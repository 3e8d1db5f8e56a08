"""A small fixed set of rendered music: no answer flips unnoticed. `regression.py` says how answers are written down anew."""

from pathlib import Path

from map4_pipeline.audio.evaluation import Answer
from map4_pipeline.audio.truth import Label

from .regression import answers, changes, expected, items, machine


def test_the_set_is_varied() -> None:
    songs = [item.song for item in items()]
    assert len({song.key for song in songs}) == 24
    assert (min(song.bpm for song in songs), max(song.bpm for song in songs)) == (62, 178)
    assert len({song.style for song in songs}) == 6
    assert {item.name for item in items()} == set(expected()["answers"])
    for ending in ("mp3", "opus", "flac"):
        assert any(item.name.endswith(ending) for item in items())


def test_a_flip_is_told_with_what_it_was_and_is() -> None:
    label = Label("song", Path("song"), "regression", 120.0, "A minor")
    known = {"song": {"bpm": 120.0, "key": "A minor"}}
    assert changes([(label, Answer(bpm=120.9, key="A minor"))], known) == []
    assert changes([(label, Answer(bpm=60.0, key="A minor"))], known) == [
        "song: was 120.0 BPM, A minor (right); is 60.0 BPM, A minor (wrong)"
    ]
    assert len(changes([(label, Answer(bpm=120.0, key="C major"))], known)) == 1
    assert len(changes([(label, Answer())], known)) == 1


def test_no_answer_flips(tmp_path: Path) -> None:
    """On the machine that wrote the answers none, elsewhere at most one: encoders, decoders and processors round differently."""
    flips = changes(list(answers(tmp_path)), expected()["answers"])
    assert len(flips) <= (0 if machine() == expected()["machine"] else 1), "\n".join(flips)
