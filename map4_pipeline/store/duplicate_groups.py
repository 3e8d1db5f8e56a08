"""Groups of duplicates out of hashes, pairs and tags: what they are, what speaks for it, which copy to keep.

Two families. Copies: each track is in one group at most, whose kind is the loosest tie in it (identical files, identical audio,
the same recording). Versions: recordings that are versions of one piece; nothing in them is superfluous, so nothing is
suggested. Pure reading: `store.duplicates` writes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from sqlalchemy import Connection, select

from map4_pipeline.fingerprint.groups import components, recordings
from map4_pipeline.fingerprint.keeper import suggest_keeper
from map4_pipeline.fingerprint.match import ITEM_SECONDS
from map4_pipeline.fingerprint.versions import OTHER_VERSION, SAME_RECORDING, Likeness, Verdict, judge, judge_titles, title_key
from map4_pipeline.store.duplicate_facts import Details, Entry, details, entries
from map4_pipeline.store.schema import fingerprint_matches

IDENTICAL_FILE, IDENTICAL_AUDIO = "identical_file", "identical_audio"
KINDS = (IDENTICAL_FILE, IDENTICAL_AUDIO, SAME_RECORDING, OTHER_VERSION)
COPIES, VERSIONS = "copies", "versions"
#: Pairs that a group's evidence lists; a group of 20 has 190.
_LISTED = 200
#: More tracks of one artist with one title are no versions of a piece ("Untitled", "Track 01").
_SAME_TITLE = 20


@dataclass(slots=True)
class FoundGroup:
    """A group as it was worked out.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    members : tuple of int
        Numbers of tracks, sorted.
    pairs : list of dict
        Evidence: tracks, kind, why in words, and what was measured.
    keeper_track_id : int or None
    keeper_reason : str
    sizes : dict
        Bytes of each member's file.
    """

    kind: str
    members: tuple[int, ...]
    pairs: list[dict[str, Any]]
    keeper_track_id: int | None = None
    keeper_reason: str = ""
    sizes: dict[int, int] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """Whether its members are copies of one recording or versions of one piece."""
        return VERSIONS if self.kind == OTHER_VERSION else COPIES


def find_groups(conn: Connection) -> list[FoundGroup]:
    """Return the groups of the tracks that are there, sorted."""
    contents: dict[str, list[Entry]] = {}
    everything = entries(conn)
    for entry in everything:
        contents.setdefault(entry.audio_hash, []).append(entry)
    matches = {
        (row.first_hash, row.second_hash): Likeness(
            row.bit_error_rate, row.shift, row.overlap, row.alike, row.distinct_items, row.background, row.shorter
        )
        for row in conn.execute(select(fingerprint_matches))
        if row.first_hash in contents and row.second_hash in contents
    }
    titled = _same_titles(everything)
    wanted = {entry.track_id for tracks in contents.values() if len(tracks) > 1 for entry in tracks}
    wanted |= {entry.track_id for pair in [*matches, *titled] for content in pair for entry in contents[content]}
    known = details(conn, wanted)
    return _Finder(contents, known, matches, titled).groups()


def _same_titles(everything: Iterable[Entry]) -> set[tuple[str, str]]:
    """Return pairs of contents whose tags name one piece in different versions."""
    pieces: dict[tuple[str, str], dict[str, Entry]] = {}
    for entry in everything:
        key = title_key(entry.artist, entry.title)
        if key is not None:
            pieces.setdefault(key, {}).setdefault(entry.audio_hash, entry)
    return {
        (min(pair), max(pair))
        for tracks in pieces.values()
        if 1 < len(tracks) <= _SAME_TITLE and len({entry.title for entry in tracks.values()}) > 1
        for pair in combinations(tracks, 2)
    }


class _Finder:
    """Works out the groups from contents, what is known of their tracks, pairs by sound and pairs by title."""

    def __init__(
        self,
        contents: dict[str, list[Entry]],
        known: dict[int, Details],
        matches: dict[tuple[str, str], Likeness],
        titled: set[tuple[str, str]],
    ) -> None:
        self.contents, self.known, self.matches, self.titled = contents, known, matches, titled
        self.same: dict[tuple[str, str], Verdict] = {}
        self.other: dict[tuple[str, str], Verdict] = {}

    def groups(self) -> list[FoundGroup]:
        """Return all groups."""
        self._judge()
        alike = recordings({pair: self.matches[pair].bit_error_rate for pair in self.same})
        grouped = {content for group in alike for content in group}
        alike += [[content] for content, tracks in self.contents.items() if len(tracks) > 1 and content not in grouped]
        copies = [self._copies(group) for group in alike]
        of = {content: f"+{number:09d}" for number, group in enumerate(alike) for content in group}
        edges: dict[tuple[str, str], None] = {}
        for pair in (*self.other, *self.same):
            one, other = (of.get(content, content) for content in pair)
            if one != other:
                edges[min(one, other), max(one, other)] = None
        inside = {f"+{number:09d}": group for number, group in enumerate(alike)}
        versions = [
            self._versions([content for node in part for content in inside.get(node, [node])]) for part in components(edges)
        ]
        return sorted([*copies, *versions], key=lambda group: (group.family, group.members))

    def _judge(self) -> None:
        for pair in sorted(self.matches.keys() | self.titled):
            sides = [self._first(content).side for content in pair]
            verdict = judge(self.matches[pair], *sides) if pair in self.matches else None
            if verdict is None and pair in self.titled:
                verdict = judge_titles(*sides)
            if verdict is not None:
                (self.same if verdict.kind == SAME_RECORDING else self.other)[pair] = verdict

    def _first(self, content: str) -> Details:
        return self.known[self.contents[content][0].track_id]

    def _tracks(self, group: Iterable[str]) -> list[Details]:
        tracks = [self.known[entry.track_id] for content in group for entry in self.contents[content]]
        return sorted(tracks, key=lambda track: track.entry.track_id)

    def _copies(self, group: list[str]) -> FoundGroup:
        tracks = self._tracks(group)
        files = {track.entry.file_hash for track in tracks}
        kind = SAME_RECORDING if len(group) > 1 else IDENTICAL_FILE if len(files) == 1 and files != {""} else IDENTICAL_AUDIO
        keeper = suggest_keeper([track.copy for track in tracks])
        return FoundGroup(
            kind,
            tuple(track.entry.track_id for track in tracks),
            [*self._identical(group), *self._pairs(group, self.same)][:_LISTED],
            keeper.track_id,
            keeper.reason,
            {track.entry.track_id: track.size_bytes for track in tracks},
        )

    def _versions(self, group: list[str]) -> FoundGroup:
        tracks = self._tracks(group)
        pairs = self._pairs(group, self.other)
        if not pairs:  # a chain of the same recording that was cut
            pairs = self._pairs(group, self.same, OTHER_VERSION)
        return FoundGroup(OTHER_VERSION, tuple(track.entry.track_id for track in tracks), pairs[:_LISTED])

    def _identical(self, group: Iterable[str]) -> Iterable[dict[str, Any]]:
        for content in group:
            first, *others = self.contents[content]
            for entry in others:
                same = bool(entry.file_hash) and entry.file_hash == first.file_hash
                yield {
                    "first": first.track_id,
                    "second": entry.track_id,
                    "kind": IDENTICAL_FILE if same else IDENTICAL_AUDIO,
                    "why": "the same bytes" if same else "the same sound data; tags or container differ",
                }

    def _pairs(
        self, group: Iterable[str], verdicts: dict[tuple[str, str], Verdict], kind: str | None = None
    ) -> list[dict[str, Any]]:
        lines = []
        for pair in combinations(sorted(group), 2):
            if pair not in verdicts:
                continue
            first, second = (self.contents[content][0].track_id for content in pair)
            line: dict[str, Any] = {"kind": kind or verdicts[pair].kind, "why": verdicts[pair].why}
            found = self.matches.get(pair)
            if found is not None:
                line |= {
                    "bit_error_rate": round(found.bit_error_rate, 4),
                    "shift_seconds": round(found.shift * ITEM_SECONDS * (1 if first < second else -1), 2),
                    "overlap_seconds": round(found.overlap * ITEM_SECONDS, 1),
                    "alike_seconds": round(found.alike * ITEM_SECONDS, 1),
                }
            lines.append({"first": min(first, second), "second": max(first, second), **line})
        return sorted(lines, key=lambda line: (line["first"], line["second"]))
