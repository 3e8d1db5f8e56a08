"""Limits of requests, counted in the embedded Valkey for all processes together."""

from map4_pipeline.api.limits import RateLimiter
from map4_pipeline.settings import Settings
from map4_pipeline.store.valkey_server import redis_url


def test_two_processes_count_together_in_the_embedded_server(settings: Settings) -> None:
    address = redis_url(settings.model_copy(update={"redis_url": None}))
    assert address is not None
    first, second = RateLimiter(address), RateLimiter(address)
    assert [one.take("user:1", 2) for one in (first, second)] == [0.0, 0.0]
    assert first.take("user:1", 2) > 0
    assert second.take("user:1", 2) > 0
    assert second.take("user:2", 2) == 0.0
