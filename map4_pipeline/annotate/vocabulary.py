"""Controlled vocabularies: the genres, moods and eras a model chooses from. What does not fit goes into free tags.

The lists are MAP4's own, kept short enough that two models can agree on them. A change is a change of the prompt: bump
`prompts.PROMPT_VERSION`.
"""

import re
import unicodedata

GENRES: tuple[str, ...] = (
    "Afrobeats", "Ambient", "Bass Music", "Blues", "Bossa Nova", "Breakbeat", "Chanson", "Chiptune", "Classical", "Country",
    "Dancehall", "Deep House", "Disco", "Downtempo", "Drum and Bass", "Dub", "Dubstep", "Easy Listening", "EDM", "Electro",
    "Electronica", "Experimental", "Film Score", "Flamenco", "Folk", "Funk", "Garage", "Gospel", "Grime", "Hard Dance",
    "Hip-Hop", "House", "Hyperpop", "IDM", "Indie", "Industrial", "Jazz", "K-Pop", "Latin", "Lo-Fi", "Metal", "Minimal",
    "New Age", "New Wave", "Pop", "Post-Punk", "Progressive House", "Punk", "R&B", "Reggae", "Reggaeton", "Rock", "Salsa",
    "Samba", "Singer-Songwriter", "Ska", "Soul", "Spoken Word", "Swing", "Synthpop", "Synthwave", "Tango", "Tech House",
    "Techno", "Trance", "Trap", "Trip-Hop", "Vaporwave", "World",
)  # fmt: skip

MOODS: tuple[str, ...] = (
    "aggressive", "angry", "anxious", "bittersweet", "bright", "calm", "cheerful", "cold", "dark", "dramatic", "dreamy",
    "driving", "eerie", "emotional", "energetic", "epic", "euphoric", "groovy", "happy", "hopeful", "hypnotic", "intense",
    "intimate", "lonely", "melancholic", "mellow", "mysterious", "nostalgic", "optimistic", "party", "peaceful", "playful",
    "powerful", "rebellious", "reflective", "relaxed", "romantic", "sad", "sensual", "serene", "sleepy", "spiritual",
    "tender", "tense", "triumphant", "uplifting", "warm", "wistful",
)  # fmt: skip

ERAS: tuple[str, ...] = ("before 1900", *(f"{decade}s" for decade in range(1900, 2030, 10)))

#: Moods that loud, dense music has not, and moods that quiet, sparse music has not.
QUIET_MOODS = frozenset({"calm", "peaceful", "relaxed", "serene", "sleepy", "tender"})
LOUD_MOODS = frozenset({"aggressive", "energetic", "intense", "party", "powerful", "euphoric"})


def era_of(year: int) -> str:
    """Return the era that a year belongs to."""
    return ERAS[0] if year < 1900 else f"{year // 10 * 10}s"


def genre_of(text: str | None) -> str | None:
    """Return the genre of the vocabulary that a text names, whatever its case, spaces and hyphens; None when there is none.

    For comparing tags with annotations; what a model returns has to be a name of the vocabulary as it stands.
    """
    return _FOLDED.get(_fold(text)) if text else None


def _fold(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).casefold().replace("&", "and")
    return re.sub(r"[^a-z0-9]", "", plain)


_ALIASES = {
    "dnb": "Drum and Bass", "drumnbass": "Drum and Bass", "jungle": "Drum and Bass", "rap": "Hip-Hop", "rnb": "R&B",
    "ukgarage": "Garage", "soundtrack": "Film Score", "electronic": "Electronica", "alternative": "Indie",
    "hiphoprap": "Hip-Hop", "afrobeat": "Afrobeats",
}  # fmt: skip
_FOLDED = {**{_fold(name): name for name in GENRES}, **_ALIASES}
