"""What two tracks that sound alike are to each other: the same recording, or another version of it.

The sound decides, the tags have a say, and every verdict comes with the sentence that gave it. What cannot be told from a
fingerprint is not claimed: a cover, a live take or a remix at another tempo has few items in common with the original; there
the titles alone speak ("Song" and "Song (Live)" by one artist), and the verdict says so.
"""

import re
import unicodedata
from dataclasses import dataclass

from map4_pipeline.fingerprint.match import ITEM_SECONDS

SAME_RECORDING, OTHER_VERSION = "same_recording", "other_version"

#: Bump when the same comparison and tags could be classed or grouped otherwise. The asset's code version.
DUPLICATES_VERSION = "3"
#: Overlap that is needed to say anything: 10 s.
MIN_OVERLAP = 80
#: Share of differing bits up to which it is one recording. Measured: encodings of 42 real tracks differ in at most 0.13, the
#: nearest two of 1,200 different pieces in 0.22, of 1,440 pairs made of the same loops in 0.15 (docs/duplicates.md).
SAME_RATE = 0.14
#: Different items that the common part must have: a drone or a beep is the same everywhere.
MIN_DISTINCT = 24
#: The rate has to be below this share of what each has with itself at other moments: two recordings of rain are alike, too.
#: Encodings of the 42 real tracks come to 0.33 of it at most, two takes of noise to 1.
BACKGROUND_SHARE = 0.5
#: Seconds that may be cut off or put in front at either end; more makes it an edit.
TRIM_SECONDS = 15.0
#: With other words in the titles (remaster, instrumental) only what differs in no more than this is called the same recording.
SAME_SOUND = 0.01
#: Seconds and share of the shorter fingerprint that must be alike for another version.
ALIKE_SECONDS, ALIKE_SHARE = 30.0, 0.25

_MARKS = {
    "remix": "remix", "rmx": "remix", "mix": "remix", "rework": "remix", "bootleg": "remix", "vip": "remix", "dub": "remix",
    "flip": "remix", "edit": "edit", "radio": "edit", "extended": "extended", "club": "extended", "short": "edit",
    "live": "live", "unplugged": "live", "session": "live", "concert": "live", "remaster": "remaster", "remastered": "remaster",
    "acoustic": "acoustic", "instrumental": "instrumental", "karaoke": "instrumental", "acapella": "a cappella",
    "cappella": "a cappella", "demo": "demo", "cover": "cover", "take": "take", "alternate": "take", "alternative": "take",
    "orchestral": "arrangement", "piano": "arrangement", "reprise": "reprise", "mono": "mono", "slowed": "speed",
    "sped": "speed", "nightcore": "speed", "version": "version",
}  # fmt: skip
#: Said of the ordinary version.
_NEUTRAL = re.compile(r"\b(original( mix| version)?|album version|single version|explicit|clean|stereo|digital|feat\b.*|ft\b.*)")
_PARTS = re.compile(r"[(\[{]([^()\[\]{}]*)[)\]}]|\s[-\u2013\u2014]\s(.+)$")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Title:
    """A title taken apart.

    Attributes
    ----------
    base : str
        Without what names a version, lower case, without accents.
    marks : frozenset of str
        Kinds of version that it names ("remix", "live", ...).
    words : str
        What names the version, as a key: two remixes are two versions.
    """

    base: str
    marks: frozenset[str]
    words: str


@dataclass(frozen=True, slots=True)
class Side:
    """What is known of one of two tracks: seconds of sound and of silence at its ends, whether it ends early, its tags."""

    duration: float
    silence_before: float = 0.0
    silence_after: float = 0.0
    truncated: bool = False
    title: str | None = None
    artist: str | None = None


@dataclass(frozen=True, slots=True)
class Likeness:
    """What was measured between two fingerprints.

    Attributes
    ----------
    bit_error_rate : float
    shift : int
        Items by which the second lies later.
    overlap, alike, distinct : int
    background : float
        As in `compare.Comparison`.
    shorter : int
        Items of the shorter fingerprint.
    """

    bit_error_rate: float
    shift: int
    overlap: int
    alike: int
    distinct: int
    background: float
    shorter: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What two tracks are to each other and why, in words."""

    kind: str
    why: str


def take_apart(title: str | None) -> Title:
    """Return a title without the words that name a version, and those words."""
    text = unicodedata.normalize("NFKD", title or "").casefold()
    text = "".join(mark for mark in text if not unicodedata.combining(mark))
    marks: set[str] = set()
    named: list[str] = []

    def strip(match: re.Match[str]) -> str:
        inside = _NEUTRAL.sub(" ", match.group(1) or match.group(2) or "")
        words = _WORD.findall(inside)
        found = {_MARKS[word] for word in words if word in _MARKS}
        if not found:
            # Nothing about a version: part of the title, unless it was a neutral word.
            return " " if not words else match.group()
        marks.update(found)
        named.extend(words)
        return " "

    rest = text
    for _ in range(3):
        shorter = _PARTS.sub(strip, rest)
        if shorter == rest:
            break
        rest = shorter
    return Title(" ".join(_WORD.findall(rest)), frozenset(marks), " ".join(named))


def judge(found: Likeness, first: Side, second: Side) -> Verdict | None:
    """Return what two tracks are to each other by their sound, None when too little is alike."""
    if found.distinct < MIN_DISTINCT or found.overlap < MIN_OVERLAP:
        return None
    if min(found.bit_error_rate, SAME_RATE) > BACKGROUND_SHARE * found.background:
        return None
    differ = f"{100 * found.bit_error_rate:.1f}% of the bits differ over {found.overlap * ITEM_SECONDS:.0f} s"
    if found.bit_error_rate > SAME_RATE:
        seconds = found.alike * ITEM_SECONDS
        if seconds < ALIKE_SECONDS or found.alike < ALIKE_SHARE * found.shorter:
            return None
        return Verdict(OTHER_VERSION, f"{seconds:.0f} s sound the same, the rest does not ({differ})")
    head, tail = _ends(found.shift * ITEM_SECONDS, first, second)
    if abs(head) > TRIM_SECONDS and (found.overlap * ITEM_SECONDS < ALIKE_SECONDS or found.overlap < ALIKE_SHARE * found.shorter):
        # The end of one and the beginning of another, made of the same loops, may well be alike for some seconds.
        return None
    early = first.truncated if tail > 0 else second.truncated
    if abs(head) > TRIM_SECONDS:
        return Verdict(OTHER_VERSION, f"an edit: one begins {abs(head):.0f} s later in the same music ({differ})")
    if abs(tail) > TRIM_SECONDS and not early:
        return Verdict(OTHER_VERSION, f"an edit: the same beginning, but one goes on for {abs(tail):.0f} s more ({differ})")
    ours, theirs = take_apart(first.title), take_apart(second.title)
    if ours.words != theirs.words and first.title and second.title and found.bit_error_rate > SAME_SOUND:
        words = " and ".join(f'"{title.words}"' for title in (ours, theirs) if title.words)
        return Verdict(OTHER_VERSION, f"the sound is the same, but the titles name another version, {words} ({differ})")
    notes = _notes(head, tail, early)
    return Verdict(SAME_RECORDING, f"{differ}{notes}")


def judge_titles(first: Side, second: Side) -> Verdict | None:
    """Return whether the tags alone tell of another version: one artist, one title, other words behind it."""
    ours, theirs = take_apart(first.title), take_apart(second.title)
    if not ours.base or ours.base != theirs.base or ours.words == theirs.words or not (ours.marks | theirs.marks):
        return None
    if not first.artist or not second.artist or _folded(first.artist) != _folded(second.artist):
        return None
    words = " and ".join(f'"{title.words}"' for title in (ours, theirs) if title.words)
    return Verdict(OTHER_VERSION, f"by the tags only: the same artist and title, and {words}; the sound does not show it")


def title_key(artist: str | None, title: str | None) -> tuple[str, str] | None:
    """Return what tracks share whose tags name one piece, None without artist or title."""
    base = take_apart(title).base
    return (_folded(artist), base) if artist and base and _folded(artist) else None


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).casefold()
    return " ".join(_WORD.findall("".join(mark for mark in plain if not unicodedata.combining(mark))))


def _ends(shift: float, first: Side, second: Side) -> tuple[float, float]:
    """Return by how many seconds of sound the second is longer at its beginning and at its end (below 0: shorter)."""
    begin = (second.silence_before - shift) - first.silence_before
    end = (second.duration - second.silence_after - shift) - (first.duration - first.silence_after)
    # Silence is reported from 5 s on: what is less is in the shift.
    head = -begin if abs(begin) < abs(shift) else shift
    whole = second.duration - shift - first.duration
    return head, end if abs(end) < abs(whole) else whole


def _notes(head: float, tail: float, early: bool) -> str:
    notes = []
    if abs(head) >= 1:
        notes.append(f"one begins {abs(head):.1f} s later")
    if abs(tail) >= 1:
        notes.append(f"one ends {abs(tail):.0f} s sooner{' because its file does' if early and abs(tail) > TRIM_SECONDS else ''}")
    return "".join(f", {note}" for note in notes)
