"""How the client talks: requests with a token, problem documents as errors, waits that the server asks for."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx

#: Times a request that changed nothing is sent again when the server asks for a moment (429, 503) ...
_ATTEMPTS = 3
#: ... which it waits for at most so long, seconds.
_LONGEST_WAIT = 15.0


class ProblemError(Exception):
    """The server refused a request (RFC 9457).

    Attributes
    ----------
    status : int
    code : str
        The end of the problem's type: "not-found", "changed", ...
    document : dict
        All that the server said.
    """

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.document = dict(document)
        self.code = str(document.get("type", "")).rpartition(":")[2]
        places = "; ".join(f"{one.get('at')}: {one.get('detail')}" for one in document.get("errors", ()) if isinstance(one, dict))
        detail = str(document.get("detail") or f"The server answered {status}.")
        super().__init__(f"{detail} {places}".strip())


class TransportError(Exception):
    """The server could not be reached, or what answered is none of MAP4's."""


class Transport:
    """Sends requests.

    Parameters
    ----------
    server : str
        Address of `map4 serve`, with or without a path of a proxy.
    token : str or None
        A named token or an access token.
    timeout : float
        Seconds without a byte after which a request is given up.

    Attributes
    ----------
    etag : str or None
        Of the newest answer: what `if_match` takes.
    """

    def __init__(self, server: str, token: str | None = None, *, timeout: float = 60.0) -> None:
        import httpx

        if "://" not in server:
            server = f"http://{server}"
        headers = {"Accept": "application/json", "User-Agent": "map4-client"}
        headers |= {} if token is None else {"Authorization": f"Bearer {token}"}
        self.server = server.rstrip("/")
        self.etag: str | None = None
        # A redirect would carry the token to whoever is named there.
        self._http: httpx.Client = httpx.Client(headers=headers, timeout=timeout, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        values: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str | None] | None = None,
        body: Any = None,
    ) -> Any:
        """Send a request and return the document of its answer, None where there is none.

        Parameters
        ----------
        path : str
            With the names of `values` in braces.

        Raises
        ------
        ProblemError
            When the server refuses it.
        TransportError
            When nobody answers.
        """
        answer = self._send(method, path, values, query, headers, body)
        self.etag = answer.headers.get("etag")
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            raise TransportError(f"What answers at {self.server} is no MAP4 server.") from None

    def download(self, path: str, to: IO[bytes], *, values: Mapping[str, Any] | None = None) -> str | None:
        """Write a file that the server sends; return the name that it gives it. Raises as `request` does."""
        import httpx

        try:
            with self._http.stream("GET", self._address(path, values)) as answer:
                if answer.status_code >= 300:
                    answer.read()
                    raise _problem(answer)
                for piece in answer.iter_bytes():
                    to.write(piece)
                named = answer.headers.get("content-disposition", "").partition('filename="')[2].partition('"')[0]
                return named or None
        except httpx.HTTPError as error:
            raise TransportError(f"{self.server} does not answer ({error or type(error).__name__}).") from None

    def _address(self, path: str, values: Mapping[str, Any] | None) -> str:
        # As one segment: a value with a slash must not become another address.
        return self.server + path.format(**{name: quote(str(value), safe="") for name, value in (values or {}).items()})

    def _send(
        self,
        method: str,
        path: str,
        values: Mapping[str, Any] | None,
        query: Mapping[str, Any] | None,
        headers: Mapping[str, str | None] | None,
        body: Any,
    ) -> "httpx.Response":
        import httpx

        given = {name: value for name, value in (query or {}).items() if value is not None}
        plain = {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()}
        sent = {name: value for name, value in (headers or {}).items() if value is not None}
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = self._http.request(method, self._address(path, values), params=plain, headers=sent, json=body)
            except httpx.HTTPError as error:
                raise TransportError(f"{self.server} does not answer ({error or type(error).__name__}).") from None
            wait = answer.headers.get("retry-after", "")
            # 429 and 503 say that nothing was done, so any request may be sent again.
            if answer.status_code not in (429, 503) or attempt == _ATTEMPTS or not wait.isdigit() or int(wait) > _LONGEST_WAIT:
                break
            time.sleep(int(wait))
        if answer.status_code >= 300 and answer.status_code != 304:
            raise _problem(answer)
        return answer


def _problem(answer: "httpx.Response") -> Exception:
    try:
        document = answer.json()
    except ValueError:
        document = None
    if isinstance(document, dict):
        return ProblemError(answer.status_code, document)
    return TransportError(
        f"What answers at {answer.url.copy_with(path='/', query=None)} is no MAP4 server ({answer.status_code})."
    )
