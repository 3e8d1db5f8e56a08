"""Answers as JSON, written several times as fast as the standard library does."""

from typing import Any

from fastapi import Response


class Json(Response):
    """A document that holds what JSON can hold; dates as ISO text."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Write the document. What is no number is null."""
        from pydantic_core import to_json

        return to_json(content, inf_nan_mode="null")
