"""What a user of the API does, for locust: 70% reads, 20% searches, 10% writes, one to three seconds of thought between.

Started by `benchmarks.load`, which hands over accounts and the library's words in the file that `MAP4_LOAD` names.
"""

import itertools
import json
import os
import random
from pathlib import Path
from typing import Any

from locust import HttpUser, between, task

_GIVEN: dict[str, Any] = json.loads(Path(os.environ["MAP4_LOAD"]).read_text(encoding="utf-8"))
_accounts = itertools.cycle(_GIVEN["tokens"])
_numbers = itertools.count()


class LibraryUser(HttpUser):
    """Somebody who looks around, searches, corrects and makes playlists."""

    wait_time = between(1, 3)

    def on_start(self) -> None:
        """Take an account."""
        self.client.headers["Authorization"] = f"Bearer {next(_accounts)}"
        self._random = random.Random(next(_numbers))
        self._playlists: list[int] = []

    # ------------------------------------------------------------------ reads: 70
    @task(28)
    def look_at_a_track(self) -> None:
        """Open a track."""
        self._get(f"/api/tracks/{self._track()}", "GET track")

    @task(12)
    def leaf_through(self) -> None:
        """Look at the newest tracks, or another page of the library."""
        answer = self._get("/api/tracks?q=sort:-added&limit=50", "GET tracks")
        following = answer.json().get("next") if answer.status_code == 200 else None
        if following and self._random.random() < 0.3:
            self.client.get("/api/tracks", params={"q": "sort:-added", "limit": 50, "after": following}, name="GET tracks")

    @task(10)
    def look_for_what_mixes(self) -> None:
        """Ask what mixes into a track."""
        self._get(f"/api/tracks/{self._track()}/similar?by=mix&limit=20", "GET similar")

    @task(8)
    def look_at_playlists(self) -> None:
        """List playlists, and open one."""
        self._get("/api/playlists", "GET playlists")
        if self._playlists:
            self._get(f"/api/playlists/{self._random.choice(self._playlists)}", "GET playlist")

    @task(6)
    def look_at_statistics(self) -> None:
        """Look at the library's numbers."""
        self._get(self._random.choice(("/api/stats/library", "/api/stats/genres", "/api/stats/timeline")), "GET stats")

    @task(3)
    def look_at_duplicates(self) -> None:
        """Look at duplicates."""
        self._get("/api/duplicates", "GET duplicates")

    @task(3)
    def count_by_property(self) -> None:
        """Look at what a search finds, by property."""
        self.client.get("/api/search/facets", params={"q": self._random.choice(_GIVEN["queries"])}, name="GET facets")

    # ------------------------------------------------------------------ searches: 20
    @task(16)
    def search(self) -> None:
        """Search as people type."""
        self.client.get("/api/search", params={"q": self._random.choice(_GIVEN["queries"])}, name="SEARCH words")

    @task(4)
    def search_by_properties(self) -> None:
        """Search by many properties."""
        low = self._random.randint(80, 160)
        body = {"bpm": [low, low + 8], "energy": [round(self._random.random() * 0.7, 2), None], "sort": "-energy"}
        self.client.post("/api/search/advanced", json=body, name="SEARCH advanced")

    # ------------------------------------------------------------------ writes: 10
    @task(4)
    def make_a_playlist(self) -> None:
        """Make a playlist of ten tracks."""
        body = {"name": f"Load {next(_numbers)} {self._random.random()}", "tracks": [self._track() for _ in range(10)]}
        answer = self.client.post("/api/playlists", json=body, name="POST playlist")
        if answer.status_code == 201:
            self._playlists.append(answer.json()["id"])

    @task(4)
    def correct_a_track(self) -> None:
        """Correct a tempo."""
        body = {"bpm": round(self._random.uniform(80, 180), 1)}
        self.client.put(f"/api/tracks/{self._track()}", json=body, name="PUT track")

    @task(2)
    def ask_for_an_analysis(self) -> None:
        """Put a track into the queue."""
        self.client.post("/api/batch/analyze", json={"tracks": [self._track()]}, name="POST batch")

    def _track(self) -> int:
        return int(self._random.choice(_GIVEN["tracks"]))

    def _get(self, path: str, name: str) -> Any:
        return self.client.get(path, name=name)
