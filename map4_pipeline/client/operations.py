"""The API's operations as methods. Made by scripts/make_client.py from the API's description; changes here are lost."""

from typing import IO, Any, Literal

from map4_pipeline.client import shapes
from map4_pipeline.client.transport import Transport


class Client(Transport):
    """All that `map4 serve` can be asked for; how it is asked is in `Transport`."""

    def live(self) -> shapes.Health:
        """Say that the process answers."""
        found: shapes.Health = self.request("GET", "/api/health/live")
        return found

    def ready(self) -> shapes.Health:
        """Say that the database answers too; 503 when it does not."""
        found: shapes.Health = self.request("GET", "/api/health/ready")
        return found

    def login(self, body: shapes.Credentials) -> shapes.LoggedIn:
        """Log in with a browser: sets the session's cookie."""
        found: shapes.LoggedIn = self.request("POST", "/api/auth/login", body=body)
        return found

    def logout(self) -> None:
        """End this browser's session."""
        self.request("POST", "/api/auth/logout")

    def create_tokens(self, body: shapes.Credentials) -> shapes.Tokens:
        """Log in with a program: gives an access token and a refresh token."""
        found: shapes.Tokens = self.request("POST", "/api/auth/token", body=body)
        return found

    def refresh_tokens(self, body: shapes.Refresh) -> shapes.Tokens:
        """Exchange a refresh token for the next pair."""
        found: shapes.Tokens = self.request("POST", "/api/auth/refresh", body=body)
        return found

    def revoke_refresh(self, body: shapes.Refresh) -> None:
        """End a refresh token and all that came from it."""
        self.request("POST", "/api/auth/revoke", body=body)

    def get_account(self) -> shapes.Account:
        """Show one's own account."""
        found: shapes.Account = self.request("GET", "/api/auth/me")
        return found

    def change_password(self, body: shapes.NewPassword) -> None:
        """Change one's password."""
        self.request("POST", "/api/auth/password", body=body)

    def list_sessions(self, *, limit: int = 100, after: str | None = None) -> shapes.SessionPage:
        """List the browsers in which one is logged in page by page, the one used last first."""
        found: shapes.SessionPage = self.request("GET", "/api/auth/sessions", query={"limit": limit, "after": after})
        return found

    def end_all_sessions(self) -> None:
        """Log out everywhere: all sessions, access and refresh tokens end."""
        self.request("DELETE", "/api/auth/sessions")

    def end_session(self, session_id: int) -> None:
        """Log out another browser."""
        self.request("DELETE", "/api/auth/sessions/{session_id}", values={"session_id": session_id})

    def list_tokens(self, *, limit: int = 100, after: str | None = None) -> shapes.TokenPage:
        """List one's named tokens page by page, the oldest first."""
        found: shapes.TokenPage = self.request("GET", "/api/auth/tokens", query={"limit": limit, "after": after})
        return found

    def create_token(self, body: shapes.NewToken) -> shapes.MadeToken:
        """Make a named token for a program."""
        found: shapes.MadeToken = self.request("POST", "/api/auth/tokens", body=body)
        return found

    def revoke_token(self, token_id: int) -> None:
        """Revoke a named token."""
        self.request("DELETE", "/api/auth/tokens/{token_id}", values={"token_id": token_id})

    def list_identities(self) -> list[shapes.IdentityInfo]:
        """List the logins elsewhere that log in as oneself."""
        found: list[shapes.IdentityInfo] = self.request("GET", "/api/auth/identities")
        return found

    def connect_identity(self, provider: str, body: shapes.Proof) -> shapes.Onward:
        """Begin to connect a login elsewhere: send the browser to the address, it comes back by itself."""
        found: shapes.Onward = self.request("POST", "/api/auth/identities/{provider}", values={"provider": provider}, body=body)
        return found

    def disconnect_identity(self, identity_id: int) -> None:
        """Disconnect a login elsewhere; not the only way in."""
        self.request("DELETE", "/api/auth/identities/{identity_id}", values={"identity_id": identity_id})

    def forward(self, *, x_forwarded_method: str = "GET", x_forwarded_uri: str = "/") -> None:
        """Say who makes a request that a proxy has before it: `X-Map4-User`, and `X-Map4-Dagster`, `full` or `read-only`."""
        self.request(
            "GET", "/api/auth/forward", headers={"x-forwarded-method": x_forwarded_method, "x-forwarded-uri": x_forwarded_uri}
        )

    def export_oneself(self) -> dict[str, Any]:
        """Take away all that MAP4 holds about oneself."""
        found: dict[str, Any] = self.request("GET", "/api/auth/me/export")
        return found

    def erase_oneself(self, body: shapes.Proof) -> None:
        """Erase one's account and what is held about oneself."""
        self.request("POST", "/api/auth/me/erase", body=body)

    def export_user_data(self, user_id: int) -> dict[str, Any]:
        """Show all that MAP4 holds about a user, to hand it over."""
        found: dict[str, Any] = self.request("GET", "/api/users/{user_id}/export", values={"user_id": user_id})
        return found

    def list_users(self, *, limit: int = 100, after: str | None = None) -> shapes.UserPage:
        """List the accounts by name, page by page."""
        found: shapes.UserPage = self.request("GET", "/api/users", query={"limit": limit, "after": after})
        return found

    def create_user(self, body: shapes.NewUser) -> shapes.MadeUser:
        """Make an account."""
        found: shapes.MadeUser = self.request("POST", "/api/users", body=body)
        return found

    def get_user(self, user_id: int) -> shapes.UserInfo:
        """Show an account."""
        found: shapes.UserInfo = self.request("GET", "/api/users/{user_id}", values={"user_id": user_id})
        return found

    def update_user(self, user_id: int, body: shapes.UserChange, *, if_match: str | None = None) -> shapes.UserInfo:
        """Change an account."""
        found: shapes.UserInfo = self.request(
            "PATCH", "/api/users/{user_id}", values={"user_id": user_id}, headers={"if-match": if_match}, body=body
        )
        return found

    def delete_user(self, user_id: int) -> None:
        """Erase an account and what is held about its user."""
        self.request("DELETE", "/api/users/{user_id}", values={"user_id": user_id})

    def reset_password(self, user_id: int) -> shapes.MadeUser:
        """Give an account a password for the next login only."""
        found: shapes.MadeUser = self.request("POST", "/api/users/{user_id}/password", values={"user_id": user_id})
        return found

    def list_audit(self, *, limit: int = 100, after: str | None = None) -> shapes.AuditPage:
        """List who did what page by page, the newest first."""
        found: shapes.AuditPage = self.request("GET", "/api/audit", query={"limit": limit, "after": after})
        return found

    def list_libraries(self, *, limit: int = 100, after: str | None = None) -> shapes.LibraryPage:
        """List the libraries that one sees page by page, in the order in which they were registered."""
        found: shapes.LibraryPage = self.request("GET", "/api/libraries", query={"limit": limit, "after": after})
        return found

    def list_queue(
        self,
        *,
        status: Literal["pending", "running", "completed", "failed", "cancelled"] | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> shapes.QueuePage:
        """List the queue page by page: what is in work, what waits by its urgency, what is done, the newest first."""
        found: shapes.QueuePage = self.request("GET", "/api/queue", query={"status": status, "limit": limit, "after": after})
        return found

    def analyze_track(self, body: shapes.SingleBody) -> shapes.BatchJob:
        """Ask for one track to be analysed."""
        found: shapes.BatchJob = self.request("POST", "/api/tracks/analyze", body=body)
        return found

    def analyze_batch(self, body: shapes.BatchBody) -> shapes.BatchJob:
        """Ask for tracks, files and folders to be analysed."""
        found: shapes.BatchJob = self.request("POST", "/api/batch/analyze", body=body)
        return found

    def list_batches(self, *, limit: int = 50, after: str | None = None) -> shapes.BatchPage:
        """List what one asked to have analysed page by page, the newest first."""
        found: shapes.BatchPage = self.request("GET", "/api/batch", query={"limit": limit, "after": after})
        return found

    def get_batch(self, job_id: str) -> shapes.BatchJob:
        """Show how far a batch is."""
        found: shapes.BatchJob = self.request("GET", "/api/batch/{job_id}", values={"job_id": job_id})
        return found

    def cancel_batch(self, job_id: str) -> shapes.BatchJob:
        """Cancel a batch: what waits is not begun, and a run that is at work on it stops after the files in hand."""
        found: shapes.BatchJob = self.request("DELETE", "/api/batch/{job_id}", values={"job_id": job_id})
        return found

    def list_tracks(self, *, q: str = "", limit: int = 50, after: str | None = None, count: bool = False) -> shapes.TrackPage:
        """List tracks, page by page; `q` chooses and sorts as in a search."""
        found: shapes.TrackPage = self.request(
            "GET", "/api/tracks", query={"q": q, "limit": limit, "after": after, "count": count}
        )
        return found

    def get_track(self, track_id: int, *, if_none_match: str | None = None) -> shapes.TrackDetail:
        """Show a track with all that is known of it."""
        found: shapes.TrackDetail = self.request(
            "GET", "/api/tracks/{track_id}", values={"track_id": track_id}, headers={"if-none-match": if_none_match}
        )
        return found

    def update_track(self, track_id: int, body: shapes.Correction, *, if_match: str | None = None) -> shapes.TrackDetail:
        """Correct a track, or take corrections back."""
        found: shapes.TrackDetail = self.request(
            "PUT", "/api/tracks/{track_id}", values={"track_id": track_id}, headers={"if-match": if_match}, body=body
        )
        return found

    def delete_track(self, track_id: int) -> None:
        """Hide a track until it is restored."""
        self.request("DELETE", "/api/tracks/{track_id}", values={"track_id": track_id})

    def undelete_track(self, track_id: int) -> None:
        """Show a hidden track again."""
        self.request("POST", "/api/tracks/{track_id}/restore", values={"track_id": track_id})

    def list_similar(
        self,
        track_id: int,
        *,
        q: str = "",
        limit: int = 20,
        by: Literal["similarity", "mix"] = "similarity",
        policy: Literal["strict", "extended"] | None = None,
    ) -> list[dict[str, Any]]:
        """List the tracks that are most like one (`by=similarity`), or into which it mixes best (`by=mix`), with the reasons."""
        found: list[dict[str, Any]] = self.request(
            "GET",
            "/api/tracks/{track_id}/similar",
            values={"track_id": track_id},
            query={"q": q, "limit": limit, "by": by, "policy": policy},
        )
        return found

    def get_audio(self, track_id: int, *, to: IO[bytes]) -> str | None:
        """Play a track's file; `Range` gives a part of it."""
        return self.download("/api/tracks/{track_id}/audio", to, values={"track_id": track_id})

    def list_annotations(self, track_id: int, *, limit: int = 50, after: str | None = None) -> shapes.AnnotationPage:
        """List what models have said of a track page by page, the newest first; the track itself shows the one that counts."""
        found: shapes.AnnotationPage = self.request(
            "GET", "/api/tracks/{track_id}/annotations", values={"track_id": track_id}, query={"limit": limit, "after": after}
        )
        return found

    def estimate_annotations(
        self, *, q: str = "", limit: int | None = None, retry_failed: bool = False
    ) -> shapes.AnnotationEstimate:
        """Tell what asking about the tracks that a query finds would cost."""
        found: shapes.AnnotationEstimate = self.request(
            "GET", "/api/annotations/estimate", query={"q": q, "limit": limit, "retry_failed": retry_failed}
        )
        return found

    def create_annotations(self, body: shapes.AnnotationBody) -> shapes.AnnotationJob:
        """Let models be asked about the tracks that a query finds."""
        found: shapes.AnnotationJob = self.request("POST", "/api/annotations", body=body)
        return found

    def list_annotation_jobs(self, *, limit: int = 50, after: str | None = None) -> shapes.AnnotationJobPage:
        """List the jobs in which one let models be asked page by page, the newest first."""
        found: shapes.AnnotationJobPage = self.request("GET", "/api/annotations", query={"limit": limit, "after": after})
        return found

    def get_annotation_job(self, job_id: str) -> shapes.AnnotationJob:
        """Show how far it is."""
        found: shapes.AnnotationJob = self.request("GET", "/api/annotations/{job_id}", values={"job_id": job_id})
        return found

    def cancel_annotation_job(self, job_id: str) -> shapes.AnnotationJob:
        """Begin no more requests."""
        found: shapes.AnnotationJob = self.request("DELETE", "/api/annotations/{job_id}", values={"job_id": job_id})
        return found

    def search(self, *, q: str = "", limit: int = 50, after: str | None = None, count: bool = False) -> shapes.TrackPage:
        """Search by words and by what was measured, in the language of `map4 search`."""
        found: shapes.TrackPage = self.request(
            "GET", "/api/search", query={"q": q, "limit": limit, "after": after, "count": count}
        )
        return found

    def search_advanced(self, body: shapes.Advanced) -> shapes.TrackPage:
        """Search by many properties at once."""
        found: shapes.TrackPage = self.request("POST", "/api/search/advanced", body=body)
        return found

    def search_facets(self, *, q: str = "") -> shapes.Facets:
        """Count what a search finds by genre, key, decade, tempo and format."""
        found: shapes.Facets = self.request("GET", "/api/search/facets", query={"q": q})
        return found

    def compare(self, body: shapes.Tracks) -> shapes.Compared:
        """Compare tracks: how each goes into each, how alike they are, and the best order."""
        found: shapes.Compared = self.request("POST", "/api/compare", body=body)
        return found

    def get_compatibility(
        self,
        track1_id: int,
        track2_id: int,
        *,
        policy: Literal["strict", "extended"] | None = None,
        key_lock: bool | None = None,
        pitch_range: float | None = None,
    ) -> shapes.Compatibility:
        """Say how well the second track follows the first, and why."""
        found: shapes.Compatibility = self.request(
            "GET",
            "/api/compatibility/{track1_id}/{track2_id}",
            values={"track1_id": track1_id, "track2_id": track2_id},
            query={"policy": policy, "key_lock": key_lock, "pitch_range": pitch_range},
        )
        return found

    def get_library_statistics(self) -> shapes.LibraryStats:
        """Show the library at a glance."""
        found: shapes.LibraryStats = self.request("GET", "/api/stats/library")
        return found

    def get_genre_statistics(self) -> list[shapes.Genre]:
        """List the genres, the most frequent first."""
        found: list[shapes.Genre] = self.request("GET", "/api/stats/genres")
        return found

    def get_timeline(self) -> shapes.Timeline:
        """Show the music by year of release, and the library by month of import."""
        found: shapes.Timeline = self.request("GET", "/api/stats/timeline")
        return found

    def list_playlists(self, *, limit: int = 100, after: str | None = None) -> shapes.PlaylistPage:
        """List the playlists by name, page by page."""
        found: shapes.PlaylistPage = self.request("GET", "/api/playlists", query={"limit": limit, "after": after})
        return found

    def create_playlist(self, body: shapes.NewPlaylist) -> shapes.PlaylistDetail:
        """Make a playlist by hand."""
        found: shapes.PlaylistDetail = self.request("POST", "/api/playlists", body=body)
        return found

    def build_playlist(self, body: shapes.SetWishes) -> shapes.PlaylistDetail:
        """Build a set from what a query finds, and store it."""
        found: shapes.PlaylistDetail = self.request("POST", "/api/playlists/build", body=body)
        return found

    def get_playlist(self, playlist_id: int) -> shapes.PlaylistDetail:
        """Show a playlist with its tracks; those that one does not see are left out."""
        found: shapes.PlaylistDetail = self.request("GET", "/api/playlists/{playlist_id}", values={"playlist_id": playlist_id})
        return found

    def update_playlist(
        self, playlist_id: int, body: shapes.PlaylistChange, *, if_match: str | None = None
    ) -> shapes.PlaylistDetail:
        """Rename a playlist, describe it, or put its tracks in another order."""
        found: shapes.PlaylistDetail = self.request(
            "PATCH",
            "/api/playlists/{playlist_id}",
            values={"playlist_id": playlist_id},
            headers={"if-match": if_match},
            body=body,
        )
        return found

    def delete_playlist(self, playlist_id: int) -> None:
        """Delete a playlist; no track and no file is touched."""
        self.request("DELETE", "/api/playlists/{playlist_id}", values={"playlist_id": playlist_id})

    def list_duplicates(
        self,
        *,
        kind: list[Literal["identical_file", "identical_audio", "same_recording", "other_version"]] | None = None,
        state: list[Literal["open", "keep", "not_duplicates", "ignore"]] | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> shapes.GroupPage:
        """List groups page by page, those first that free the most; without `state` those that nobody has decided about."""
        found: shapes.GroupPage = self.request(
            "GET", "/api/duplicates", query={"kind": kind, "state": state, "limit": limit, "after": after}
        )
        return found

    def get_duplicates(self, group_id: int) -> shapes.GroupDetail:
        """Show a group with its evidence and what was decided."""
        found: shapes.GroupDetail = self.request("GET", "/api/duplicates/{group_id}", values={"group_id": group_id})
        return found

    def decide(self, group_id: int, body: shapes.Verdict) -> shapes.GroupDetail:
        """Decide about a group."""
        found: shapes.GroupDetail = self.request(
            "POST", "/api/duplicates/{group_id}/decision", values={"group_id": group_id}, body=body
        )
        return found

    def undo_decision(self, group_id: int) -> shapes.GroupDetail:
        """Take back the newest decision about a group."""
        found: shapes.GroupDetail = self.request("DELETE", "/api/duplicates/{group_id}/decision", values={"group_id": group_id})
        return found

    def create_export(self, format: shapes.Format, body: shapes.ExportBody | None = None) -> shapes.ExportJob:
        """Begin an export."""
        found: shapes.ExportJob = self.request("POST", "/api/export/{format}", values={"format": format}, body=body)
        return found

    def list_exports(self, *, limit: int = 50, after: str | None = None) -> shapes.ExportPage:
        """List one's exports page by page, the newest first."""
        found: shapes.ExportPage = self.request("GET", "/api/export", query={"limit": limit, "after": after})
        return found

    def get_export(self, job_id: str) -> shapes.ExportJob:
        """Show how far an export is."""
        found: shapes.ExportJob = self.request("GET", "/api/export/{job_id}", values={"job_id": job_id})
        return found

    def cancel_export(self, job_id: str) -> shapes.ExportJob:
        """Cancel an export; no file is left."""
        found: shapes.ExportJob = self.request("DELETE", "/api/export/{job_id}", values={"job_id": job_id})
        return found

    def get_export_file(self, job_id: str, *, to: IO[bytes]) -> str | None:
        """Fetch the file of an export."""
        return self.download("/api/export/{job_id}/file", to, values={"job_id": job_id})
