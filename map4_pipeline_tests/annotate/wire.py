"""A server on a real socket that speaks the HTTP APIs of OpenAI, Anthropic and Gemini as far as MAP4 uses them, with faults.

It checks requests as the real ones do (key, structured output, strict schema), answers with annotations made from what it was
sent, counts the tokens of every reply that it finished, and fails in all the ways that matter when it is told to.
"""

import hashlib
import json
import random
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from map4_pipeline.annotate.vocabulary import GENRES, MOODS, era_of

KEY = "sk-wire-0123456789abcdefghij"

#: Faults before there is a reply: nothing is billed.
REFUSED = ("429", "500", "529")
#: Replies that never get there, or that nobody can read: billed for all that the client knows.
LOST = ("timeout", "cut", "garbled")
#: Replies that get there with their tokens, and cannot be used as they are.
USELESS = ("bad_json", "bad_schema", "bad_item", "refusal", "truncated", "content_filter")
FAULTS = REFUSED + LOST + USELESS


@dataclass
class Reply:
    """What the server makes of a request: the model's text, how it ended, the tokens."""

    text: str
    finish: str
    input_tokens: int
    output_tokens: int


@dataclass
class Wire:
    """The server's state and counts.

    Attributes
    ----------
    script : deque of str or None
        Faults for the next requests, None for a good one; used up first.
    fault_rate : float
        Share of the requests after that which fail somehow.
    hang_seconds : float
        How long a `timeout` keeps the socket open without a byte.
    requests : list
        (path, headers, body) of every request, if `keep`.
    finished : Counter
        Input and output tokens and number of the replies that were sent to the end, by provider.
    lost, refused : Counter
        Requests whose reply was lost, and that got an error, by provider.
    down : set of str
        Providers that answer 500 to everything.
    refusing : set of str
        Providers whose models refuse everything.
    first_requests : int
        Requests with a track that no request was about before.
    """

    latency: float = 0.0
    script: deque[str | None] = field(default_factory=deque)
    fault_rate: float = 0.0
    seed: int = 1
    retry_after: str | None = "0.05"
    hang_seconds: float = 3.0
    keep: bool = True
    answer: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    echo_key: bool = False
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    finished: Counter[tuple[str, str]] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    tracks_seen: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    next_kind: int = 0
    down: set[str] = field(default_factory=set)
    refusing: set[str] = field(default_factory=set)
    first_requests: int = 0
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    batch_polls: int = 1
    url: str = ""

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.random = random.Random(self.seed)
        self.at_once = 0
        self.sockets: list[socket.socket] = []

    @property
    def asked(self) -> int:
        """Requests to a model so far, whatever came of them."""
        return len(self.arrivals)

    def next_fault(self) -> str | None:
        """Return what happens to the next request."""
        with self.lock:
            if self.script:
                fault = self.script.popleft()
            elif self.random.random() < self.fault_rate:
                # One kind after the other, so that a few hundred requests meet them all.
                fault = FAULTS[self.next_kind % len(FAULTS)]
                self.next_kind += 1
            else:
                fault = None
            if fault:
                self.faults[fault] += 1
            return fault


def good_annotation(track: dict[str, Any]) -> dict[str, Any]:
    """Return an annotation as a well-behaved model writes it: the same for the same track, from what was sent."""
    pick = random.Random(track["id"])
    tags, measured = track.get("tags", {}), track.get("measured", {})
    basis = "tags" if tags else "measured" if measured else "unknown"
    known = basis != "unknown"
    year = tags.get("year")

    def claim(value: Any, sure: float = 0.8) -> dict[str, Any]:
        there = known and value not in (None, [])
        empty: Any = [] if isinstance(value, list) else None
        return {"value": value if there else empty, "basis": basis if there else "unknown", "confidence": sure if there else 0}

    return {
        "id": track["id"],
        "genre": claim(pick.choice(GENRES)),
        "subgenre": claim(None),
        "moods": claim([mood for mood in pick.sample(MOODS, 3) if mood not in _EXTREME] or ["warm"]),
        "era": claim(era_of(year) if year else None),
        "release_year": claim(year),
        "tempo_bpm": claim(None),
        "key": claim(None),
        "tags": claim(["synthesizer", "club"]),
        "description": claim("A steady groove with a warm bass and little else."),
    }


_EXTREME = {
    "calm",
    "peaceful",
    "relaxed",
    "serene",
    "sleepy",
    "tender",
    "aggressive",
    "energetic",
    "intense",
    "party",
    "powerful",
    "euphoric",
}


def tokens(*texts: str) -> int:
    """Return how many tokens the server counts: a quarter of the bytes, as models roughly do."""
    return sum(len(text.encode()) for text in texts) // 4 + 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wire: Wire
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    # ------------------------------------------------------------------ routes
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.split("?")[0]
        if path == "/v1/files":
            self._files(body)
        elif path == "/v1/batches":
            self._openai_batch(json.loads(body))
        elif path == "/v1/messages/batches":
            self._anthropic_batch(json.loads(body))
        elif path == "/v1/chat/completions":
            self._model("openai", json.loads(body))
        elif path == "/v1/messages":
            self._model("anthropic", json.loads(body))
        elif path.endswith(":generateContent"):
            self._model("gemini", json.loads(body))
        else:
            self._error("openai", 404, "not found")

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        wire = self.wire
        if path.startswith("/v1/files/"):
            self._send(200, wire.files[path.split("/")[3]].encode(), "application/octet-stream")
        elif path == "/v1/batches":
            shown = [self._openai_batch_state(batch, poll=False) for batch in wire.batches.values()]
            self._json(200, {"object": "list", "data": shown, "has_more": False})
        elif path.startswith("/v1/batches/"):
            self._json(200, self._openai_batch_state(wire.batches[path.split("/")[3]]))
        elif path.endswith("/results"):
            batch = wire.batches[path.split("/")[4]]
            self._send(200, "\n".join(map(json.dumps, batch["results"])).encode(), "application/x-jsonl")
        elif path.startswith("/v1/messages/batches/"):
            self._json(200, self._anthropic_batch_state(wire.batches[path.split("/")[4]]))
        else:
            self._error("openai", 404, "not found")

    # ------------------------------------------------------------------ models
    def _model(self, provider: str, body: dict[str, Any]) -> None:
        wire = self.wire
        with wire.lock:
            wire.arrivals.append(time.monotonic())
            wire.at_once += 1
            wire.most_at_once = max(wire.most_at_once, wire.at_once)
            if wire.keep:
                wire.requests.append((self.path, dict(self.headers), body))
        try:
            self._answer(provider, body)
        finally:
            with wire.lock:
                wire.at_once -= 1

    def _answer(self, provider: str, body: dict[str, Any]) -> None:
        wire = self.wire
        if KEY not in (
            self.headers.get("authorization") or self.headers.get("x-api-key") or self.headers.get("x-goog-api-key") or ""
        ):
            said = f"Incorrect API key provided: {self.headers.get('authorization') or self.headers.get('x-api-key')}"
            self._error(provider, 401, said if wire.echo_key else "Incorrect API key provided.")
            return
        problem = request_problem(provider, body)
        if problem:
            self._error(provider, 400, problem)
            return
        time.sleep(wire.latency)
        fault = "500" if provider in wire.down else "refusal" if provider in wire.refusing else wire.next_fault()
        reply = make_reply(wire, provider, body, fault)
        if fault in REFUSED:
            with wire.lock:
                wire.refused[provider] += 1
            self._error(provider, int(fault), f"fault {fault}", retry_after=wire.retry_after if fault == "429" else None)
            return
        document = json.dumps(ENVELOPES[provider](body, reply)).encode()
        if fault in LOST:
            with wire.lock:
                wire.lost[provider] += 1
            self._lose(fault, document)
            return
        with wire.lock:
            wire.finished[provider, "input"] += reply.input_tokens
            wire.finished[provider, "output"] += reply.output_tokens
            wire.finished[provider, "replies"] += 1
        self._send(200, document, "application/json")

    def _lose(self, fault: str, document: bytes) -> None:
        if fault == "garbled":
            self._send(200, b"<html>bad gateway" + document[:20], "application/json")
            return
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(document)))
        self.end_headers()
        self.wfile.write(document[: len(document) // 2])
        self.wfile.flush()
        self.close_connection = True
        if fault == "timeout":
            time.sleep(self.wire.hang_seconds)
        else:
            # A reset, not an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    # ------------------------------------------------------------------ batches
    def _files(self, body: bytes) -> None:
        name = f"file-{len(self.wire.files)}"
        start = body.index(b"{")
        self.wire.files[name] = body[start : body.rindex(b"}") + 1].decode()
        self._json(
            200,
            {
                "id": name,
                "object": "file",
                "bytes": len(body),
                "created_at": 1,
                "filename": "x",
                "purpose": "batch",
                "status": "processed",
            },
        )

    def _openai_batch(self, body: dict[str, Any]) -> None:
        wire = self.wire
        name = f"batch_{len(wire.batches)}"
        good, bad = [], []
        for line in wire.files[body["input_file_id"]].splitlines():
            item = json.loads(line)
            fault = wire.next_fault()
            if request_problem("openai", item["body"]) or fault in REFUSED:
                error = {"status_code": 500, "body": {"error": {"message": "fault"}}}
                bad.append({"id": "x", "custom_id": item["custom_id"], "response": error, "error": None})
                continue
            reply = make_reply(wire, "openai", item["body"], fault)
            self._count_batch("openai", reply)
            response = {"status_code": 200, "request_id": "r", "body": ENVELOPES["openai"](item["body"], reply)}
            good.append({"id": "x", "custom_id": item["custom_id"], "response": response, "error": None})
        wire.files[f"out-{name}"] = "\n".join(map(json.dumps, good))
        wire.files[f"err-{name}"] = "\n".join(map(json.dumps, bad))
        wire.batches[name] = {"id": name, "metadata": body.get("metadata"), "polls": 0, "errors": bool(bad)}
        self._json(200, self._openai_batch_state(wire.batches[name], poll=False))

    def _openai_batch_state(self, batch: dict[str, Any], *, poll: bool = True) -> dict[str, Any]:
        batch["polls"] += poll
        over = batch["polls"] > self.wire.batch_polls
        return {
            "id": batch["id"], "object": "batch", "endpoint": "/v1/chat/completions", "completion_window": "24h", "created_at": 1,
            "input_file_id": "x", "status": "completed" if over else "in_progress", "metadata": batch["metadata"],
            "output_file_id": f"out-{batch['id']}" if over else None,
            "error_file_id": f"err-{batch['id']}" if over and batch["errors"] else None,
        }  # fmt: skip

    def _anthropic_batch(self, body: dict[str, Any]) -> None:
        wire = self.wire
        name = f"msgbatch_{len(wire.batches)}"
        results: list[dict[str, Any]] = []
        for item in body["requests"]:
            fault = wire.next_fault()
            if request_problem("anthropic", item["params"]) or fault in REFUSED:
                error = {"type": "error", "error": {"type": "api_error", "message": "fault"}, "request_id": None}
                results.append({"custom_id": item["custom_id"], "result": {"type": "errored", "error": error}})
                continue
            if fault in LOST:
                results.append({"custom_id": item["custom_id"], "result": {"type": "expired"}})
                continue
            reply = make_reply(wire, "anthropic", item["params"], fault)
            self._count_batch("anthropic", reply)
            message = ENVELOPES["anthropic"](item["params"], reply)
            results.append({"custom_id": item["custom_id"], "result": {"type": "succeeded", "message": message}})
        wire.batches[name] = {"id": name, "results": results, "polls": -1}
        self._json(200, self._anthropic_batch_state(wire.batches[name]))

    def _anthropic_batch_state(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["polls"] += 1
        over = batch["polls"] > self.wire.batch_polls
        counts = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        return {
            "id": batch["id"], "type": "message_batch", "processing_status": "ended" if over else "in_progress",
            "request_counts": counts, "created_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z",
            "ended_at": "2026-01-01T01:00:00Z" if over else None, "archived_at": None, "cancel_initiated_at": None,
            "results_url": f"{self.wire.url}/v1/messages/batches/{batch['id']}/results" if over else None,
        }  # fmt: skip

    def _count_batch(self, provider: str, reply: Reply) -> None:
        with self.wire.lock:
            self.wire.finished[provider, "input"] += reply.input_tokens
            self.wire.finished[provider, "output"] += reply.output_tokens
            self.wire.finished[provider, "replies"] += 1

    # ------------------------------------------------------------------ sending
    def _error(self, provider: str, status: int, message: str, retry_after: str | None = None) -> None:
        kinds = {
            400: "invalid_request_error",
            401: "authentication_error",
            404: "not_found_error",
            429: "rate_limit_error",
            529: "overloaded_error",
        }
        if provider == "anthropic":
            body: dict[str, Any] = {"type": "error", "error": {"type": kinds.get(status, "api_error"), "message": message}}
        elif provider == "gemini":
            body = {"error": {"code": status, "message": message, "status": "UNAVAILABLE"}}
        else:
            body = {"error": {"message": message, "type": kinds.get(status, "server_error"), "code": None, "param": None}}
        self._send(status, json.dumps(body).encode(), "application/json", {"retry-after": retry_after} if retry_after else {})

    def _json(self, status: int, body: Any) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True


# ---------------------------------------------------------------------- what each API says
def parts_of(provider: str, body: dict[str, Any]) -> tuple[str, str, dict[str, Any], int]:
    """Return (system prompt, user message, JSON schema, bound of the output) of a request."""
    if provider == "openai":
        messages = {message["role"]: message["content"] for message in body["messages"]}
        schema = body["response_format"]["json_schema"]["schema"]
        return messages["system"], messages["user"], schema, body.get("max_completion_tokens") or body["max_tokens"]
    if provider == "anthropic":
        return body["system"], body["messages"][0]["content"], body["output_config"]["format"]["schema"], body["max_tokens"]
    config = body["generationConfig"]
    system = body["systemInstruction"]["parts"][0]["text"]
    schema = config.get("responseJsonSchema") or config["response_json_schema"]
    return system, body["contents"][0]["parts"][0]["text"], schema, config["maxOutputTokens"]


def request_problem(provider: str, body: dict[str, Any]) -> str | None:
    """Return what a real API would refuse about a request."""
    try:
        _, _, schema, bound = parts_of(provider, body)
    except (KeyError, TypeError, IndexError) as error:
        return f"missing: {error}"
    if bound < 1:
        return "no bound of the output"
    if provider == "openai" and not body["response_format"]["json_schema"].get("strict"):
        return "not strict"
    if provider == "gemini" and body["generationConfig"].get("responseMimeType") != "application/json":
        return "not JSON"
    return _schema_problem(schema)


def _schema_problem(schema: Any) -> str | None:
    """Return what is outside the strict subset: every object closed, every property required, no bounds, no references."""
    if isinstance(schema, list):
        return next((problem for part in schema if (problem := _schema_problem(part))), None)
    if not isinstance(schema, dict):
        return None
    if schema.get("type") == "object" and (
        schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(schema["properties"])
    ):
        return "an object that is not strict"
    unknown = set(schema) - {"type", "enum", "anyOf", "items", "properties", "required", "additionalProperties"}
    if unknown:
        return f"not supported: {unknown}"
    nested = [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]
    return _schema_problem(nested)


def make_reply(wire: Wire, provider: str, body: dict[str, Any], fault: str | None) -> Reply:
    """Return what the model says."""
    system, user, schema, bound = parts_of(provider, body)
    tracks = json.JSONDecoder().raw_decode(user)[0]["tracks"]
    with wire.lock:
        wire.first_requests += any(track["id"] not in wire.tracks_seen for track in tracks)
        wire.tracks_seen.update(track["id"] for track in tracks)
    said = [(wire.answer or good_annotation)(track) for track in tracks]
    finish = "stop"
    text = json.dumps({"tracks": said})
    if fault == "bad_json":
        text = text[: len(text) // 3] + "...,]"
    elif fault == "bad_schema":
        text = json.dumps({"annotations": said})
    elif fault == "bad_item":
        said[0] = said[0] | {"genre": {"value": "Polka Metal", "basis": "tags", "confidence": 1.7}}
        text = json.dumps({"tracks": said})
    elif fault == "truncated":
        text, finish = text[: len(text) // 2], "length"
    elif fault in ("refusal", "content_filter"):
        text, finish = "", fault
    return Reply(text, finish, tokens(system, user, json.dumps(schema)), min(bound, tokens(text)))


def _openai(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    refusal = "I can't help with that." if reply.finish == "refusal" else None
    finish = {"refusal": "stop"}.get(reply.finish, reply.finish)
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"],
        "choices": [{"index": 0, "finish_reason": finish, "logprobs": None,
                     "message": {"role": "assistant", "content": None if refusal else reply.text, "refusal": refusal}}],
        "usage": {"prompt_tokens": reply.input_tokens, "completion_tokens": reply.output_tokens,
                  "total_tokens": reply.input_tokens + reply.output_tokens},
    }  # fmt: skip


def _anthropic(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    reasons = {"stop": "end_turn", "length": "max_tokens", "refusal": "refusal", "content_filter": "refusal"}
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_sequence": None,
        "content": [{"type": "text", "text": reply.text}] if reply.text else [], "stop_reason": reasons[reply.finish],
        "usage": {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens},
    }  # fmt: skip


def _gemini(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    usage = {"promptTokenCount": reply.input_tokens, "candidatesTokenCount": reply.output_tokens - 1, "thoughtsTokenCount": 1,
             "totalTokenCount": reply.input_tokens + reply.output_tokens}  # fmt: skip
    if reply.finish == "refusal":
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": usage, "modelVersion": "gemini"}
    reasons = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
    content = {"role": "model", "parts": [{"text": reply.text}]} if reply.text else {}
    return {
        "candidates": [{"content": content, "finishReason": reasons[reply.finish], "index": 0}],
        "usageMetadata": usage,
        "modelVersion": "gemini",
    }


ENVELOPES: dict[str, Callable[[dict[str, Any], Reply], dict[str, Any]]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "gemini": _gemini,
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are part of the game."""


@contextmanager
def serve(**how: Any) -> Iterator[Wire]:
    """Run the server on a free port of loopback."""
    wire = Wire(**how)
    handler = type("Handler", (_Handler,), {"wire": wire})
    server = _Server(("127.0.0.1", 0), handler)
    wire.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        server.shutdown()
        server.server_close()


def fingerprint(text: str) -> str:
    """Return a short digest, for made-up hashes."""
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    with serve(latency=0.05) as running:
        print(f"OPENAI_BASE_URL={running.url}/v1 OPENAI_API_KEY={KEY}", flush=True)
        threading.Event().wait()
