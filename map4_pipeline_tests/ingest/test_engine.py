"""An engine that a user installed, through workers into PostgreSQL: its values are never among another's."""

import pytest

from map4_pipeline import settings as settings_module

from ..guest_engine import EngineShop
from .music import Shelf, counts


def test_switching_engines_analyses_anew_and_switching_back_reuses(
    shelf: Shelf, engine_shop: EngineShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_shop.install()

    def choose(name: str) -> None:
        monkeypatch.setenv("MAP4_ENGINE", name)
        settings_module.settings.cache_clear()

    def found() -> dict[str, object]:
        return {name: (row["status"], row["bpm"], row["key"]) for name, row in shelf.tracks().items()}

    def vectors() -> dict[str, object]:
        return {name: row["hamms_vector"] for name, row in shelf.tracks().items()}

    shelf.add("a/1.wav", 1, 4.0)
    shelf.add("a/refuse.wav", 2, 4.0)
    assert counts(shelf.visit().ledger) == {"seen": 2, "analysed": 2}
    own, own_vectors = found(), vectors()

    choose("metronome")
    other = shelf.visit()
    assert counts(other.ledger) == {"seen": 2, "analysed": 1, "failed": 1}
    assert found()["a/1.wav"] == ("ok", 77.7, "F# minor")
    assert vectors()["a/1.wav"] != own_vectors["a/1.wav"]
    row = shelf.tracks()["a/refuse.wav"]
    assert (row["status"], row["error_kind"], row["bpm"], row["hamms_vector"]) == ("failed", "engine", None, None)
    told = "The engine metronome 1.0 failed on this file in its stage tempo (ValueError: no such model file)."
    assert row["error_message"] == told
    assert [message for _, _, message in other.summary.failures] == [told]
    # Each engine's results lie apart; the fingerprint is nobody's but MAP4's.
    stored = shelf.rows("SELECT stage, engine, count(*) FROM analyses GROUP BY stage, engine ORDER BY stage, engine")
    assert [tuple(row.values()) for row in stored] == [
        ("features", "map4", 2),
        ("features", "metronome", 1),
        ("fingerprint", "chromaprint", 2),
    ]
    assert shelf.visit().touched == []

    engine_shop.install(version="1.1")
    assert counts(shelf.visit().ledger) == {"seen": 2, "analysed": 1, "failed": 1}

    choose("map4")
    back = shelf.visit()
    assert counts(back.ledger) == {"seen": 2, "reused": 2}
    assert back.summary.effort.decodes == 0
    assert (found(), vectors()) == (own, own_vectors)
