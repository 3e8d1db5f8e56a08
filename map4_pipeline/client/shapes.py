"""What the API takes and gives, as types. Made by scripts/make_client.py from the API's description; changes here are lost."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Format = Literal["excel", "csv", "json", "jsonl", "parquet", "pdf", "xlsx", "html", "rekordbox", "traktor", "m3u8"]


class Account(TypedDict):
    """A user as himself sees it."""

    id: int
    name: str
    email: str | None
    role: Literal["admin", "user", "viewer"]
    permissions: list[str]
    libraries: list[int] | None
    must_change_password: bool


class Advanced(TypedDict):
    """What the tracks have to be; everything given has to hold."""

    text: NotRequired[str]
    bpm: NotRequired[list[float | None] | None]
    octaves: NotRequired[bool]
    keys: NotRequired[list[str] | None]
    compatible: NotRequired[bool]
    energy: NotRequired[list[float | None] | None]
    loudness: NotRequired[list[float | None] | None]
    year: NotRequired[list[float | None] | None]
    duration: NotRequired[list[float | None] | None]
    hamms: NotRequired[dict[str, list[float | None]]]
    genre: NotRequired[str | None]
    mood: NotRequired[str | None]
    artist: NotRequired[str | None]
    format: NotRequired[str | None]
    state: NotRequired[list[Literal["failed", "missing", "hidden", "duplicate", "conflict", "doubtful"]]]
    sort: NotRequired[str | None]
    limit: NotRequired[int]
    after: NotRequired[str | None]
    count: NotRequired[bool]


class Annotation(TypedDict):
    """What a provider said of a track, or why it said nothing."""

    id: int
    provider: str
    model: str
    prompt_version: str
    status: Literal["ok", "failed"]
    annotation: dict[str, Any] | None
    error_kind: str | None
    error_message: str | None
    confidence: float | None
    contradictions: int
    cost_usd: float | None
    created_at: str
    updated_at: str


class AnnotationBody(TypedDict):
    """Which tracks models are to be asked about, and what that may cost."""

    query: NotRequired[str]
    limit: NotRequired[int | None]
    providers: NotRequired[list[Literal["openai", "anthropic", "gemini"]]]
    retry_failed: NotRequired[bool]
    budget_usd: NotRequired[float | None]


class AnnotationEstimate(TypedDict):
    """How many tracks would be asked about, and what each provider would take."""

    tracks: int
    prices: list[Price]
    budget_usd_per_day: float | None


class AnnotationJob(TypedDict):
    """Models being asked about tracks: how far it is, and what it came to."""

    id: str
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    query: str
    total: int
    done: int
    annotated: int | None
    reused: int | None
    failed: int | None
    left: int | None
    cost_usd: float | None
    stopped: str | None
    error: str | None
    created_at: str
    completed_at: str | None


class AnnotationJobPage(TypedDict):
    """A page of the jobs in which one let models be asked."""

    jobs: list[AnnotationJob]
    next: str | None


class AnnotationPage(TypedDict):
    """A page of what was said of a track."""

    annotations: list[Annotation]
    next: str | None


class AuditInfo(TypedDict):
    """Something that somebody did."""

    id: int
    at: str
    user_id: int | None
    user_name: str | None
    action: str
    target: str | None
    detail: dict[str, Any]
    request_id: str | None
    address: str | None


class AuditPage(TypedDict):
    """A page of the log of who did what."""

    entries: list[AuditInfo]
    next: str | None


class BatchBody(TypedDict):
    """Tracks, files and folders to analyse."""

    tracks: NotRequired[list[int]]
    places: NotRequired[list[Place]]
    priority: NotRequired[int]


class BatchJob(TypedDict):
    """A batch: how far it is."""

    id: str
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    total: int
    done: int
    failed: int
    created_at: str
    started_at: str | None
    completed_at: str | None


class BatchPage(TypedDict):
    """A page of one's batches."""

    batches: list[BatchJob]
    next: str | None


class Compared(TypedDict):
    """Tracks beside each other."""

    tracks: list[int]
    scores: list[list[float]]
    similarities: list[list[float | None]]
    order: list[int]
    exact: bool
    steps: list[Step]


class Compatibility(TypedDict):
    """How well a second track follows a first, and how alike they are."""

    score: float
    label: Literal["blend", "harmonic mix", "tempo match", "creative", "avoid"]
    reason: str
    parts: dict[str, Any]
    similarity: float | None
    percentile: float | None
    contributions: dict[str, float]


class Correction(TypedDict):
    """Values that are to stand in the place of what the file and the analysis say."""

    title: NotRequired[str | None]
    artist: NotRequired[str | None]
    album: NotRequired[str | None]
    album_artist: NotRequired[str | None]
    composer: NotRequired[str | None]
    genre: NotRequired[str | None]
    year: NotRequired[int | None]
    track_number: NotRequired[int | None]
    disc_number: NotRequired[int | None]
    bpm: NotRequired[float | None]
    key: NotRequired[str | None]
    energy: NotRequired[float | None]
    withdraw: NotRequired[list[str]]


class Credentials(TypedDict):
    """Name and password."""

    name: str
    password: str


class DecisionInfo(TypedDict):
    """What somebody decided."""

    id: int
    verdict: str
    keeper_track_id: int | None
    note: str
    decided_by: str
    decided_at: str
    undone_at: str | None
    undone_by: str | None


class Entry(TypedDict):
    """A track of a playlist."""

    position: int
    transition_quality: float | None
    track: dict[str, Any]


class ExportBody(TypedDict):
    """Which tracks, which of their fields, and how a DJ program or a player takes them."""

    query: NotRequired[str]
    fields: NotRequired[list[str] | None]
    playlist: NotRequired[int | None]
    path_map: NotRequired[list[str]]
    key_notation: NotRequired[Literal["musical", "camelot", "open"] | None]
    new: NotRequired[bool]
    measured: NotRequired[bool]


class ExportJob(TypedDict):
    """An export: how far it is, and where its file is once it is there."""

    id: str
    format: str
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    query: str
    playlist: int | None
    new: bool
    done: int
    total: int
    size_bytes: int | None
    duration_ms: int | None
    error: str | None
    created_at: str
    completed_at: str | None
    file: str | None


class ExportPage(TypedDict):
    """A page of one's exports."""

    exports: list[ExportJob]
    next: str | None


class Facets(TypedDict):
    """How many tracks a search finds, by property."""

    counts: dict[str, dict[str, int]]
    total: int
    approximate: bool


class Genre(TypedDict):
    """One genre; null: tracks without."""

    tracks: int
    hours: float | None
    bpm: float | None
    energy: float | None
    loudness_lufs: float | None
    genre: str | None


class GroupDetail(TypedDict):
    """A group with all that was decided about its tracks, the newest first."""

    group: int
    kind: Literal["identical_file", "identical_audio", "same_recording", "other_version"]
    state: Literal["open", "keep", "not_duplicates", "ignore"]
    keeper: int | None
    keeper_reason: str
    surplus_bytes: int
    tracks: list[dict[str, Any]]
    evidence: list[dict[str, Any]]
    history: list[DecisionInfo]


class GroupInfo(TypedDict):
    """Tracks that hold the same recording, or versions of a piece."""

    group: int
    kind: Literal["identical_file", "identical_audio", "same_recording", "other_version"]
    state: Literal["open", "keep", "not_duplicates", "ignore"]
    keeper: int | None
    keeper_reason: str
    surplus_bytes: int
    tracks: list[dict[str, Any]]
    evidence: list[dict[str, Any]]


class GroupPage(TypedDict):
    """A page of groups."""

    groups: list[GroupInfo]
    next: str | None


class Health(TypedDict):
    """That it works."""

    status: NotRequired[Literal["ok"]]
    version: NotRequired[str]


class IdentityInfo(TypedDict):
    """A login elsewhere."""

    id: int
    provider: str
    issuer: str
    label: str
    created_at: str


class KeyCandidate(TypedDict):
    """Another key."""

    value: str
    probability: float


class LibraryInfo(TypedDict):
    """A library, and how many tracks it has; hidden ones are left out."""

    id: int
    name: str
    slug: str
    path: str | None
    watched: bool
    tracks: int
    failed: int
    missing: int
    scanned_at: str | None


class LibraryPage(TypedDict):
    """A page of the libraries that one sees."""

    libraries: list[LibraryInfo]
    next: str | None


class LibraryStats(TypedDict):
    """The library at a glance: what the user sees of it, with counts by property."""

    tracks: int
    hours: float | None
    bpm: float | None
    energy: float | None
    loudness_lufs: float | None
    facets: dict[str, dict[str, int]]
    approximate: bool
    whole: dict[str, Any] | None


class LoggedIn(TypedDict):
    """A browser's session has begun: the cookie is set."""

    account: Account
    csrf: str


class MadeToken(TypedDict):
    """A named token and its secret, which is shown this once."""

    id: int
    name: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    used_at: str | None
    token: str


class MadeUser(TypedDict):
    """An account and the password for its first login, which is shown this once."""

    id: int
    name: str
    email: str | None
    role: Literal["admin", "user", "viewer"]
    active: bool
    libraries: list[int] | None
    must_change_password: bool
    created_at: str
    last_seen_at: str | None
    one_time_password: str


class Month(TypedDict):
    """Music that came into the library in a month."""

    tracks: int
    hours: float | None
    bpm: float | None
    energy: float | None
    loudness_lufs: float | None
    month: str


class NewPassword(TypedDict):
    """The password so far, and the one from now on."""

    current: str
    new: str
    keep_tokens: NotRequired[bool]


class NewPlaylist(TypedDict):
    """A playlist to be made by hand."""

    name: str
    description: NotRequired[str | None]
    tracks: NotRequired[list[int]]


class NewToken(TypedDict):
    """A named token to be made."""

    name: str
    scopes: list[Literal["read", "write", "export", "analyze", "metrics", "admin"]]
    days: NotRequired[int | None]


class NewUser(TypedDict):
    """An account to be made."""

    name: str
    role: NotRequired[Literal["admin", "user", "viewer"]]
    email: NotRequired[str | None]
    libraries: NotRequired[list[int] | None]


class NumberCandidate(TypedDict):
    """Another tempo."""

    value: float
    probability: float


class Onward(TypedDict):
    """Where the browser has to go."""

    address: str


class Place(TypedDict):
    """A file or folder of a library."""

    library: int
    path: str


class PlaylistChange(TypedDict):
    """What is to change; what is not given stays."""

    name: NotRequired[str | None]
    description: NotRequired[str | None]
    tracks: NotRequired[list[int] | None]


class PlaylistDetail(TypedDict):
    """A playlist with its tracks in order."""

    id: int
    name: str
    description: str | None
    kind: str
    tracks: int
    seconds: float
    created_at: str
    updated_at: str
    entries: list[Entry]
    parameters: dict[str, Any] | None
    seed: int | None
    cost: dict[str, Any] | None


class PlaylistInfo(TypedDict):
    """A playlist without its tracks."""

    id: int
    name: str
    description: str | None
    kind: str
    tracks: int
    seconds: float
    created_at: str
    updated_at: str


class PlaylistPage(TypedDict):
    """A page of the playlists."""

    playlists: list[PlaylistInfo]
    next: str | None


class Price(TypedDict):
    """What one provider would take for all of the tracks, in US dollars, estimated from the lengths of texts."""

    provider: Literal["openai", "anthropic", "gemini"]
    model: str
    requests: int
    likely_usd: float
    most_usd: float


class Problem(TypedDict):
    """Problem."""

    type: str
    title: str
    status: int
    detail: str
    instance: NotRequired[str]


class Proof(TypedDict):
    """That it is really oneself."""

    password: NotRequired[str | None]


class QueueEntry(TypedDict):
    """A file or folder that somebody asked to have analysed."""

    id: int
    file_path: str
    priority: int
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    error_message: str | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    run_id: str | None
    attempts: int
    request_id: str | None


class QueuePage(TypedDict):
    """A page of the queue."""

    entries: list[QueueEntry]
    next: str | None


class Refresh(TypedDict):
    """A refresh token."""

    refresh_token: str


class SessionInfo(TypedDict):
    """A browser that is logged in."""

    id: int
    client: str | None
    created_at: str
    used_at: str
    current: bool


class SessionPage(TypedDict):
    """A page of the browsers in which one is logged in."""

    sessions: list[SessionInfo]
    next: str | None


class SetWishes(TypedDict):
    """What a set has to be; see the documentation of sets."""

    name: NotRequired[str | None]
    query: NotRequired[str]
    wishes: NotRequired[dict[str, Any]]
    policy: NotRequired[str | None]
    seed: NotRequired[int]


class SingleBody(TypedDict):
    """One track to analyse: one that is known, or a file of a library."""

    track: NotRequired[int | None]
    place: NotRequired[Place | None]


class Step(TypedDict):
    """From one track to the next."""

    score: float
    label: Literal["blend", "harmonic mix", "tempo match", "creative", "avoid"]
    reason: str
    parts: dict[str, Any]


class Timeline(TypedDict):
    """How the music and the library went on."""

    years: list[Year]
    added: list[Month]


class TokenInfo(TypedDict):
    """A named token, without its secret."""

    id: int
    name: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    used_at: str | None


class TokenPage(TypedDict):
    """A page of one's named tokens."""

    tokens: list[TokenInfo]
    next: str | None


class Tokens(TypedDict):
    """What a program shows: the access token with every request, the refresh token to get the next pair."""

    access_token: str
    refresh_token: str
    token_type: NotRequired[Literal["bearer"]]
    expires_in: int


class Track(TypedDict):
    """A track; what was not measured is null, and `null_reasons` says why."""

    id: int
    path: str
    file_name: str
    status: Literal["ok", "failed", "pending"]
    error: str | None
    error_kind: str | None
    missing_since: str | None
    title: str | None
    artist: str | None
    album: str | None
    genre: str | None
    year: int | None
    duration: float | None
    sample_rate: int | None
    channels: int | None
    bit_rate: int | None
    bpm: float | None
    bpm_confidence: float | None
    bpm_alternatives: list[NumberCandidate] | None
    key: str | None
    camelot: str | None
    key_confidence: float | None
    key_alternatives: list[KeyCandidate] | None
    energy: float | None
    loudness_lufs: float | None
    true_peak_dbtp: float | None
    hamms: dict[str, float | None] | None
    hamms_confidence: float | None
    fingerprint: str | None
    spectral_hash: str | None
    audio_hash: str | None
    file_hash: str | None
    analysis_version: str | None
    null_reasons: dict[str, str] | None
    tags_bpm: float | None
    tags_key: str | None


class TrackDetail(TypedDict):
    """A track with all that is known of it."""

    id: int
    path: str
    file_name: str
    status: Literal["ok", "failed", "pending"]
    error: str | None
    error_kind: str | None
    missing_since: str | None
    title: str | None
    artist: str | None
    album: str | None
    genre: str | None
    year: int | None
    duration: float | None
    sample_rate: int | None
    channels: int | None
    bit_rate: int | None
    bpm: float | None
    bpm_confidence: float | None
    bpm_alternatives: list[NumberCandidate] | None
    key: str | None
    camelot: str | None
    key_confidence: float | None
    key_alternatives: list[KeyCandidate] | None
    energy: float | None
    loudness_lufs: float | None
    true_peak_dbtp: float | None
    hamms: dict[str, float | None] | None
    hamms_confidence: float | None
    fingerprint: str | None
    spectral_hash: str | None
    audio_hash: str | None
    file_hash: str | None
    analysis_version: str | None
    null_reasons: dict[str, str] | None
    tags_bpm: float | None
    tags_key: str | None
    library_id: int
    library: str
    album_artist: str | None
    composer: str | None
    track_number: int | None
    disc_number: int | None
    file_size: int | None
    bit_depth: int | None
    codec: str | None
    loudness_range_lu: float | None
    findings: list[dict[str, Any]] | None
    corrections: dict[str, Any]
    ai_provider: str | None
    ai_analysis: dict[str, Any] | None
    ai_analyzed_at: str | None
    hidden_at: str | None
    created_at: str
    analyzed_at: str | None
    analysis: dict[str, Any] | None


class TrackPage(TypedDict):
    """A page of tracks."""

    tracks: list[Track]
    next: str | None
    count: NotRequired[int | None]
    more: NotRequired[bool | None]


class Tracks(TypedDict):
    """Which tracks, and how a DJ mixes; what is not given is as the server's settings have it."""

    tracks: list[int]
    policy: NotRequired[Literal["strict", "extended"] | None]
    key_lock: NotRequired[bool | None]
    pitch_range: NotRequired[float | None]


class UserChange(TypedDict):
    """What is to change; what is not given stays."""

    role: NotRequired[Literal["admin", "user", "viewer"] | None]
    active: NotRequired[bool | None]
    email: NotRequired[str | None]
    libraries: NotRequired[list[int] | None]
    all_libraries: NotRequired[Literal[True] | None]


class UserInfo(TypedDict):
    """An account as admins see it."""

    id: int
    name: str
    email: str | None
    role: Literal["admin", "user", "viewer"]
    active: bool
    libraries: list[int] | None
    must_change_password: bool
    created_at: str
    last_seen_at: str | None


class UserPage(TypedDict):
    """A page of the accounts."""

    users: list[UserInfo]
    next: str | None


class Verdict(TypedDict):
    """A decision."""

    verdict: Literal["keep", "not_duplicates", "ignore"]
    keeper: NotRequired[int | None]
    note: NotRequired[str]


class Year(TypedDict):
    """Music that came out in a year."""

    tracks: int
    hours: float | None
    bpm: float | None
    energy: float | None
    loudness_lufs: float | None
    year: int
