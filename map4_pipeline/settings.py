"""Every setting of MAP4, typed, from the environment, in one place.

`Settings` is the only thing in MAP4 that reads the environment, and the file that `map4 secrets` keeps encrypted. The table in
the README is made from it by `python -m map4_pipeline.settings`.
"""

import os
import sys
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from map4_pipeline.sealing import SealError, read_sealed


class SettingsError(ValueError):
    """A setting that cannot be used; the text says which and why."""


def default_home() -> Path:
    """Return the platform's folder for user data, `/var/lib/map4` for root on Unix."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "map4"
    if os.geteuid() == 0:
        return Path("/var/lib/map4")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "map4"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "map4"


def default_workers() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_token_file() -> Path:
    """Return where a user's token for a server elsewhere is kept."""
    if sys.platform == "win32":
        return default_home() / "token"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "map4" / "token"


class Settings(BaseSettings):
    """MAP4's settings. Each field's description is the documentation that users read."""

    model_config = SettingsConfigDict(env_prefix="MAP4_", extra="ignore", populate_by_name=True)

    home: Path = Field(
        default_factory=default_home,
        description="Where MAP4 keeps its own things: the embedded PostgreSQL, Dagster's home, reports, backups, logs.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL"),
        description="PostgreSQL 15 to 18 to use (`postgresql://user:password@host:5432/database`). Unset: the embedded server.",
    )
    dagster_database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DAGSTER_DATABASE_URL"),
        description=(
            "Dagster's own storage. Unset: the database `<name>_dagster` on MAP4's server, "
            "or the schema `dagster` where no database may be created."
        ),
    )
    redis_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("REDIS_URL"),
        description="Redis or Valkey for the cache. Unset: an embedded Valkey. `none`: no cache; everything works, only slower.",
    )
    workers: int = Field(
        default_factory=default_workers,
        ge=1,
        le=1024,
        description="Processes that analyse at the same time. Default: one per core.",
    )
    single_workers: int = Field(
        default=2,
        ge=0,
        le=64,
        description=(
            "Single files that the resident worker of `map4 serve` and `map4 up` analyses at the same time, beside any run. "
            "0: none, they wait for a run."
        ),
    )
    engine: str = Field(
        default="map4",
        description="Who measures tempo, key and the other features: MAP4 itself, or an installed engine (docs/research.md).",
    )
    chunk_bytes: int = Field(
        default=32 * 1024**3, ge=1, description="How many pending bytes of audio one Dagster run covers at most."
    )
    chunk_directories: int = Field(default=1000, ge=1, description="How many directories one Dagster run covers at most.")
    commit_files: int = Field(default=32, ge=1, le=64, description="Results are committed after this many files ...")
    commit_seconds: float = Field(default=2.0, gt=0, le=5, description="... or after this many seconds, whichever is first.")
    file_timeout_seconds: float = Field(
        default=600.0, gt=0, description="A file whose analysis takes longer fails; the rest go on."
    )
    worker_memory_mb: int = Field(default=2048, ge=256, description="Memory limit of one worker process, in MB (Linux).")
    guard_share: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="A scan that finds more than this share of a library gone changes nothing (see MAP4_GUARD_FILES).",
    )
    guard_files: int = Field(default=50, ge=1, description="... and at least this many files gone.")
    refresh_cron: str = Field(default="30 4 * * *", description="When the schedule `library_refresh` looks at every directory.")
    backup_cron: str = Field(
        default="0 3 * * *", description="When the schedule `database_backup` writes a dump (off until switched on)."
    )
    timezone: str = Field(default="UTC", description="Time zone of the schedules, for example `Europe/Zurich`.")
    backup_keep: int = Field(default=7, ge=1, description="How many scheduled backups are kept.")
    keep_days: int = Field(
        default=90,
        ge=1,
        description="Events of steps, logs of runs, scans and done rows of the queue that are older are removed once a week.",
    )
    audit_days: int = Field(default=365, ge=1, description="Entries of the audit log that are older are removed once a week.")
    watch_seconds: int = Field(default=30, ge=5, description="How often the sensor `watched_folders` looks.")
    watch_settle_seconds: float = Field(
        default=5.0, ge=0, description="A file has to be unchanged for so long before the sensor takes it."
    )
    watch_budget_seconds: float = Field(
        default=20.0, gt=0, le=50, description="How long one look may take; a large library is gone over in several looks."
    )
    alert_webhook: SecretStr | None = Field(
        default=None, description="A failed run is told to this address: a POST of JSON with `text`, as chat services take it."
    )
    alert_mail: SecretStr | None = Field(
        default=None,
        description="A failed run is told by mail: `smtp://user:password@host:587?from=map4@example.org&to=me@example.org`.",
    )
    http_host: str = Field(default="127.0.0.1", description="Address of the Dagster UI. It has no login: keep it on loopback.")
    http_port: int = Field(default=3000, ge=1, le=65535, description="Port of the Dagster UI.")
    mix_policy: Literal["strict", "extended"] = Field(
        default="strict",
        description="Which keys mix: the four of the Camelot ring, or `extended`: more, for effect (docs/mixing.md).",
    )
    mix_pitch_range: float = Field(default=6.0, gt=0, le=25, description="How far a player's tempo may be moved, per cent.")
    mix_key_lock: bool = Field(default=True, description="Whether the player keeps the key when its tempo is moved.")
    mix_tempo_weight: float = Field(default=0.4, ge=0, description="Weight of the tempo in a transition's score, ...")
    mix_key_weight: float = Field(default=0.35, ge=0, description="... of the key, ...")
    mix_energy_weight: float = Field(default=0.2, ge=0, description="... of the energy's flow, ...")
    mix_loudness_weight: float = Field(default=0.05, ge=0, description="... and of the jump in loudness.")
    openai_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("OPENAI_API_KEY"),
        description="Key of OpenAI, or of the server that OPENAI_BASE_URL names. Keys are read from the environment only.",
    )
    openai_base_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("OPENAI_BASE_URL"),
        description="A server that speaks OpenAI's API in its place: Ollama, llama.cpp, vLLM (docs/annotations.md).",
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("ANTHROPIC_API_KEY"), description="Key of Anthropic."
    )
    anthropic_base_url: str | None = Field(
        default=None, validation_alias=AliasChoices("ANTHROPIC_BASE_URL"), description="A gateway in Anthropic's place."
    )
    gemini_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        description="Key of Google's Gemini; `GOOGLE_API_KEY` is read too.",
    )
    gemini_base_url: str | None = Field(
        default=None, validation_alias=AliasChoices("GOOGLE_GEMINI_BASE_URL"), description="A gateway in Gemini's place."
    )
    ai_budget_usd_per_day: Decimal | None = Field(
        default=None,
        ge=0,
        description="What AI annotations may cost in a day (UTC), in US dollars. Unset: nothing is sent to anybody.",
    )
    ai_budget_usd_per_run: Decimal | None = Field(default=None, ge=0, description="... and in one run. Unset: the day's.")
    ai_providers: str = Field(
        default="",
        description="Who is asked, in order, the next one where one fails: `anthropic,openai`. Unset: all that have a key.",
    )
    ai_openai_model: str = Field(default="gpt-6-luna", description="OpenAI's model, or the local server's.")
    ai_anthropic_model: str = Field(default="claude-haiku-5-5", description="Anthropic's model.")
    ai_gemini_model: str = Field(default="gemini-3.1-flash-lite", description="Gemini's model.")
    ai_prices: str = Field(
        default="",
        description="Your prices before MAP4's dated table: `model=input/output;...`, US dollars per million tokens.",
    )
    ai_effort: str = Field(
        default="auto",
        pattern="^(auto|default|none|minimal|low|medium|high)$",
        description="How much a model thinks first: `auto` little, `default` what the provider does, or a level it knows.",
    )
    ai_tracks_per_request: int = Field(default=10, ge=1, le=50, description="Tracks that one request is about.")
    ai_workers: int = Field(default=4, ge=1, le=64, description="Requests at the same time in one run.")
    ai_requests_per_minute: int = Field(default=300, ge=0, description="Per provider and run; 0: no limit.")
    ai_tokens_per_minute: int = Field(default=400_000, ge=0, description="Per provider and run (estimated); 0: no limit.")
    ai_timeout_seconds: float = Field(default=120.0, gt=0, description="A request without a byte for so long is given up.")
    ai_attempts: int = Field(
        default=5, ge=1, le=20, description="Requests about the same tracks before the next provider's turn."
    )
    ai_send_file_names: bool = Field(default=False, description="Send file names too (never paths).")
    ai_automatic: bool = Field(
        default=False, description="Annotate what changed without being asked, within the budget. Off: only on request."
    )
    api_host: str = Field(default="127.0.0.1", description="Address of `map4 serve`: the REST API and the web page.")
    api_port: int = Field(default=8000, ge=1, le=65535, description="Port of `map4 serve`.")
    public_url: str = Field(
        default="",
        description="Where people reach `map4 serve` when a proxy stands before it: `https://music.example.org`.",
    )
    trusted_proxies: str = Field(
        default="127.0.0.1", description="Addresses of proxies whose `X-Forwarded-For` is believed, with commas between."
    )
    server: str = Field(
        default="",
        description=(
            "Address of a `map4 serve` elsewhere: `map4 search`, `tracks`, `similar`, `compare`, `status`, `queue`, `playlist`, "
            "`export`, `duplicates` and `library list` then ask that one (also `--server`)."
        ),
    )
    token: SecretStr | None = Field(
        default=None, description="Token for MAP4_SERVER. Unset: the file that MAP4_TOKEN_FILE names, which `map4 login` writes."
    )
    token_file: Path = Field(
        default_factory=default_token_file, description="Where the token for MAP4_SERVER is kept, readable by its user alone."
    )
    dagster_url: str = Field(
        default="", description="Where people reach Dagster's UI behind the same proxy: `/dagster/` (docs/deployment.md)."
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="Encrypts secrets in the database; 32 characters or more. Unset: the file `secret.key` in MAP4_HOME.",
    )
    session_hours: float = Field(default=12.0, gt=0, description="A browser that was idle for so long has to log in again.")
    session_days: float = Field(default=30.0, gt=0, description="... and in any case after so many days.")
    access_minutes: float = Field(default=15.0, gt=0, le=1440, description="How long an access token of the API lives.")
    refresh_days: float = Field(default=30.0, gt=0, description="How long a refresh token of the API lives.")
    password_login: bool = Field(
        default=True,
        description="People may log in with a password. Off: only elsewhere, where a second factor may be asked for.",
    )
    oidc_issuer: str = Field(
        default="", description="Log in with an OpenID Connect issuer: its address (`https://id.example.org/realms/home`), ..."
    )
    oidc_client_id: str = Field(default="", description="... as whom MAP4 is registered there, ...")
    oidc_client_secret: SecretStr | None = Field(default=None, description="... the secret of this registration, ...")
    oidc_name: str = Field(default="single sign-on", description="... and what people call it.")
    google_client_id: str = Field(default="", description="Log in with Google: MAP4's registration there ...")
    google_client_secret: SecretStr | None = Field(default=None, description="... and its secret.")
    github_client_id: str = Field(default="", description="Log in with GitHub: MAP4's registration there ...")
    github_client_secret: SecretStr | None = Field(default=None, description="... and its secret.")
    github_url: str = Field(default="https://github.com", description="GitHub, or a GitHub Enterprise server.")
    login_new_users: Literal["refuse", "viewer", "user"] = Field(
        default="refuse",
        description="Who logs in elsewhere and has no account here: is refused, or gets one with this role and no library yet.",
    )
    login_domains: str = Field(
        default="", description="... if the issuer has verified a mail address of one of these domains; with commas between."
    )
    key_days: float = Field(default=90.0, gt=0, description="The key that signs access tokens is changed after so many days.")
    tls_certificate: Path | None = Field(
        default=None, description="`map4 serve` speaks HTTPS (TLS 1.3) with this certificate and its chain (PEM) ..."
    )
    tls_key: Path | None = Field(default=None, description="... and this private key (PEM).")
    redis_ca: Path | None = Field(
        default=None, description="CA (PEM) that a `rediss://` server's certificate has to be of. Unset: the system's."
    )
    rate_per_minute: int = Field(default=600, ge=1, description="Requests a minute that a user may make.")
    api_processes: int = Field(
        default=1, ge=1, le=64, description="Processes of `map4 serve`. One serves some dozens of users; more use more cores."
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        description=(
            "Lets a Prometheus server read `/metrics` of `map4 serve` (16 characters or more). Unset: only named tokens of "
            "the scope `metrics`."
        ),
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least that is logged. The console shows INFO and above in any case."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto",
        description="How servers log to the console; `auto`: plain text on a terminal, JSON elsewhere. The file is always JSON.",
    )
    sentry_dsn: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("SENTRY_DSN"),
        description="Defects are reported to this Sentry (`pip install 'map4[sentry]'`). Unset: nothing is sent to anybody.",
    )
    sentry_environment: str = Field(default="production", description="What Sentry calls this installation.")
    path_map: str = Field(
        default="",
        description="Where libraries registered on another machine are here: `/home/me/Music=/music;/other=/mnt/other`.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment first, then what `map4 secrets` keeps."""
        return init_settings, env_settings, SealedSettings(settings_cls)

    @field_validator(
        "openai_api_key", "anthropic_api_key", "gemini_api_key", "openai_base_url", "anthropic_base_url", "gemini_base_url",
        "ai_budget_usd_per_day", "ai_budget_usd_per_run", mode="before",
    )  # fmt: skip
    @classmethod
    def _empty_ai_is_unset(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("home", mode="after")
    @classmethod
    def _absolute_home(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator(
        "database_url",
        "dagster_database_url",
        "redis_url",
        "secret_key",
        "token",
        "alert_webhook",
        "alert_mail",
        "metrics_token",
        "sentry_dsn",
        "tls_certificate",
        "tls_key",
        "redis_ca",
        "oidc_client_secret",
        "google_client_secret",
        "github_client_secret",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.strip().upper() if isinstance(value, str) else value

    @field_validator("metrics_token", mode="after")
    @classmethod
    def _long_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("a token has 16 characters or more")
        return value

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance directory (absolute)."""
        return self.home / "dagster"

    @property
    def reports_dir(self) -> Path:
        """Where reports are written."""
        return self.home / "reports"

    @property
    def backups_dir(self) -> Path:
        """Where `map4 db dump` and the backup schedule write."""
        return self.home / "backups"


class SealedSettings(PydanticBaseSettingsSource):
    """Secret settings that `map4 secrets` keeps encrypted in MAP4_HOME; only the environment says where that is, and the key."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: `__call__` gives all at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return what is kept, by field."""
        home = self.current_state.get("home") or os.environ.get("MAP4_HOME") or default_home()
        key = self.current_state.get("secret_key") or os.environ.get("MAP4_SECRET_KEY")
        try:
            kept = read_sealed(Path(home).expanduser(), key if isinstance(key, str) else None)
        except SealError as error:
            raise SettingsError(f"{error}.") from None
        fields = {environment_name(name): name for name in Settings.model_fields}
        # By the name that validation looks for: an alias goes before the field's own.
        return {_validated_name(fields[name]): value for name, value in kept.items() if name in fields}


#: What a value has to be, by Pydantic's kind of mistake; these values are no secrets.
_WANTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "decimal_parsing": "a number",
    "bool_parsing": "true or false",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
}


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment.

    Raises
    ------
    SettingsError
        With one line per setting that is wrong.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = environment_name(str(problem["loc"][0]) if problem["loc"] else "settings")
            wanted = _WANTED.get(problem["type"])
            if wanted is None:
                lines.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}")
            else:
                lines.append(f"{name} has to be {wanted.format_map(problem.get('ctx', {}))}, not '{problem['input']}'")
        raise SettingsError("; ".join(lines)) from None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the process's settings, read once."""
    return load_settings()


def environment_name(field: str) -> str:
    """Return the environment variable of a field."""
    info = Settings.model_fields.get(field)
    if info is not None and isinstance(info.validation_alias, AliasChoices):
        return str(info.validation_alias.choices[0])
    return field if field.isupper() else f"MAP4_{field.upper()}"


def secret_names() -> list[str]:
    """Return the environment variables of all settings that are secret, but for the key that the others are encrypted with."""
    secret = [name for name, info in Settings.model_fields.items() if "SecretStr" in str(info.annotation)]
    return sorted(environment_name(name) for name in secret if name != "secret_key")


def _validated_name(field: str) -> str:
    alias = Settings.model_fields[field].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else field


def settings_table() -> str:
    """Return the Markdown table of all settings that the README shows."""
    shown_defaults = {"home": "user data folder", "workers": "cores", "token_file": "user config folder"}
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, info in Settings.model_fields.items():
        default = shown_defaults.get(name) or ("" if info.default is None else f"`{info.default}`")
        rows.append(f"| `{environment_name(name)}` | {'unset' if default in ('', '``') else default} | {info.description} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(settings_table())
