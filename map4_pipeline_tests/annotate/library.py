"""A library of made-up tracks, without files, for tests of annotating."""

import json
import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, text

from map4_pipeline.settings import Settings

from .wire import KEY, Wire, fingerprint

_WORDS = "Night Day Blue Velvet Signal Motor River Glass Echo Paper Silver Storm Garden Static Amber Motion".split()
_ARTISTS = ["The Tests", "Åsa Öberg", "DJ Example", "東京テスト", "AC/DC/AC", "Sample & Hold"]


def settings_for(settings: Settings, wire: Wire, **more: Any) -> Settings:
    """Return settings whose providers are all the wire server, with a budget."""
    return settings.model_copy(
        update={
            "openai_api_key": _secret(KEY), "anthropic_api_key": _secret(KEY), "gemini_api_key": _secret(KEY),
            "openai_base_url": f"{wire.url}/v1", "anthropic_base_url": wire.url, "gemini_base_url": wire.url,
            "ai_prices": "gpt-6-luna=0.10/0.50", "ai_budget_usd_per_day": Decimal("5"), "ai_requests_per_minute": 0,
            "ai_tokens_per_minute": 0, "ai_timeout_seconds": 1.0, **more,
        }
    )  # fmt: skip


def _secret(value: str) -> Any:
    from pydantic import SecretStr

    return SecretStr(value)


def fill(engine: Engine, tracks: int, directories: int = 1, more: Sequence[Mapping[str, Any]] = ()) -> list[int]:
    """Write analysed tracks; `more` overrides columns of the first ones. Return the track ids."""
    pick = random.Random(1)
    with engine.begin() as conn:
        library = conn.execute(
            text("INSERT INTO libraries (slug, name, root, root_text) VALUES ('lib', 'lib', '/nowhere', '/nowhere') RETURNING id")
        ).scalar_one()
        folders = [
            conn.execute(
                text(
                    "INSERT INTO directories (library_id, relative_path, path_text, partition_key) "
                    "VALUES (:l, :p, :t, :k) RETURNING id"
                ),
                {"l": library, "p": f"d{n}".encode(), "t": f"d{n}", "k": f"lib/d{n}~{n:010x}"},
            ).scalar_one()
            for n in range(directories)
        ]
        rows = [_row(n, library, folders[n * directories // tracks], pick) for n in range(tracks)]
        for row, override in zip(rows, more, strict=False):
            row |= override
        statement = text(f"INSERT INTO tracks ({', '.join(rows[0])}) VALUES ({', '.join(':' + name for name in rows[0])})")
        conn.execute(statement, rows)
        return list(conn.scalars(text("SELECT id FROM tracks ORDER BY id")))


def _row(number: int, library: int, directory: int, pick: random.Random) -> dict[str, Any]:
    path = f"d/{number}.mp3"
    return {
        "library_id": library, "directory_id": directory, "relative_path": path.encode(), "file_path": f"/nowhere/{path}",
        "file_name": f"{number:05d} secret name.mp3", "status": "ok", "file_hash": fingerprint(f"file {number}"),
        "audio_hash": fingerprint(f"audio {number}"), "title": f"{pick.choice(_WORDS)} {pick.choice(_WORDS)} {number}",
        "artist": pick.choice(_ARTISTS), "album": "An Album", "genre": "House", "year": pick.randint(1970, 2025),
        "duration": pick.uniform(120, 400), "bpm": round(pick.uniform(80, 160), 1), "bpm_confidence": 0.97, "key": "A minor",
        "key_confidence": 0.95, "energy": 0.5, "loudness_lufs": -9.0,
        "hamms_vector": json.dumps({"danceability": 0.7, "valence": 0.4}),
    }  # fmt: skip
