"""A client for the REST API of `map4 serve`: one method for each operation, with the types of what it takes and gives.

>>> from map4_pipeline.client import Client
>>> with Client("https://music.example.org", token="map4_...") as client:  # doctest: +SKIP
...     for track in client.search(q="bpm:120..128 key:8A~")["tracks"]:
...         print(track["artist"], track["title"])

`shapes` and `operations` are made from the API's description: `python scripts/make_client.py`. Nothing else of MAP4 is imported.
"""

from map4_pipeline.client import shapes
from map4_pipeline.client.operations import Client
from map4_pipeline.client.transport import ProblemError, TransportError

__all__ = ["Client", "ProblemError", "TransportError", "shapes"]
