"""The cache before the table of annotations: `ai:{file_hash}:{provider}`, lost at any moment without a loss but speed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from map4_pipeline.settings import Settings
from map4_pipeline.store.annotations import Asked
from map4_pipeline.store.cache import TRACK_SECONDS, Cache, ai_key, open_cache


class AnnotationCache:
    """Annotations by file and provider. A value names its model, prompt version and tags: another one is a miss."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def get(self, file_hash: str, asked: Asked, tags_digest: str) -> Mapping[str, Any] | None:
        """Return an annotation of exactly this provider, model, prompt version and digest of the tags."""
        if not file_hash or not self._cache.enabled:
            return None
        value = self._cache.get(ai_key(file_hash, asked.provider))
        wanted = _identity(asked, tags_digest)
        if not isinstance(value, dict) or any(value.get(name) != wanted[name] for name in wanted):
            return None
        return value

    def put(self, file_hash: str, asked: Asked, tags_digest: str, payload: Mapping[str, Any]) -> None:
        """Keep an annotation for a day."""
        if file_hash:
            self._cache.put(ai_key(file_hash, asked.provider), {**payload, **_identity(asked, tags_digest)}, TRACK_SECONDS)


def _identity(asked: Asked, tags_digest: str) -> dict[str, str]:
    return {
        "provider": asked.provider,
        "model": asked.model,
        "prompt_version": asked.prompt_version,
        "tags_digest": tags_digest,
    }


@contextmanager
def annotation_cache(settings: Settings) -> Iterator[AnnotationCache]:
    """Give the cache that the settings name, or none."""
    cache = open_cache(settings)
    try:
        yield AnnotationCache(cache)
    finally:
        cache.close()
