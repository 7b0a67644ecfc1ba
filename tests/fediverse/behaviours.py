"""What an origin does when it is asked: serve, swap, stall, drip, lie, flood, redirect."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Mapping

from tests.fediverse.wire import WireRequest, build_head

Behaviour = Callable[[WireRequest, int, asyncio.StreamWriter], Awaitable[bool]]
"""Answer the nth request (from 1) for a path; True keeps the connection."""

ACTIVITY_JSON = "application/activity+json"
LD_JSON = 'application/ld+json; profile="https://www.w3.org/ns/activitystreams"'


def serve(
    data: bytes,
    content_type: str | None = "image/png",
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Behaviour:
    """Serve bytes honestly."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        pairs = [("Content-Length", str(len(data))), *(headers or {}).items()]
        if content_type is not None:
            pairs.append(("Content-Type", content_type))
        writer.write(build_head(status, tuple(pairs)) + (b"" if request.method == "HEAD" else data))
        await writer.drain()
        return True

    return behave


def serve_json(document: object, content_type: str = ACTIVITY_JSON) -> Behaviour:
    """Serve a document; also the one that pretends to be a picture."""
    return serve(json.dumps(document).encode(), content_type)


def refuse(status: int) -> Behaviour:
    return serve(b"", None, status=status)


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Do another thing on each request, and the last one from then on."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        return await behaviours[min(number, len(behaviours)) - 1](request, number, writer)

    return behave


def by_user_agent(word: str, shown: Behaviour, otherwise: Behaviour) -> Behaviour:
    """Show one thing to clients whose User-Agent holds a word, another to everybody else."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        chosen = shown if word.lower() in (request.header("User-Agent") or "").lower() else otherwise
        return await chosen(request, number, writer)

    return behave


def require_signature(word: str, granted: Behaviour) -> Behaviour:
    """Answer 401 unless a header stands there: "Signature-Input" for RFC 9421, "Signature" for both."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        is_other = word == "Signature" and request.header("Signature-Input") is not None
        allowed = request.header(word) is not None and not is_other
        return await (granted if allowed else refuse(401))(request, number, writer)

    return behave


def redirect(location: str, *, status: int = 302) -> Behaviour:
    return serve(b"elsewhere", "text/plain", status=status, headers={"Location": location})


def stall() -> Behaviour:
    """Take the request and never answer."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        await asyncio.Event().wait()
        return False

    return behave


def stall_after(data: bytes, *, declared: int, content_type: str = "image/png") -> Behaviour:
    """Begin a body and never end it."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        pairs = (("Content-Length", str(declared)), ("Content-Type", content_type))
        writer.write(build_head(200, pairs) + data)
        await writer.drain()
        await asyncio.Event().wait()
        return False

    return behave


def drip(data: bytes, *, interval_seconds: float = 0, content_type: str = "image/png") -> Behaviour:
    """Send one byte at a time; with a ticking clock no real time needs to pass in between."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        pairs = (("Content-Length", str(len(data))), ("Content-Type", content_type))
        writer.write(build_head(200, pairs))
        for octet in data:
            writer.write(bytes((octet,)))
            await writer.drain()
            await asyncio.sleep(interval_seconds)
        return True

    return behave


def lie_about_length(data: bytes, declared: int, *, content_type: str = "image/png") -> Behaviour:
    """Declare another length than is sent, then close."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        pairs = (("Content-Length", str(declared)), ("Content-Type", content_type))
        writer.write(build_head(200, pairs) + data)
        await writer.drain()
        return False

    return behave


def flood(chunk: bytes = bytes(65_536), *, content_type: str = "image/png") -> Behaviour:
    """Send chunks until nobody takes them any more."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        pairs = (("Transfer-Encoding", "chunked"), ("Content-Type", content_type))
        writer.write(build_head(200, pairs))
        while not writer.transport.is_closing():
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
        return False

    return behave


def flood_headers() -> Behaviour:
    """Send header lines until nobody takes them any more."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.transport.is_closing():
            writer.write(b"X-Filler: " + b"a" * 4000 + b"\r\n")
            await writer.drain()
        return False

    return behave


def gzip_bomb(unpacked_bytes: int = 50_000_000, *, content_type: str = "image/png") -> Behaviour:
    """Send a small compressed body that unpacks to a large one, though nobody asked for compression."""
    packed = gzip.compress(bytes(unpacked_bytes), mtime=0)
    return serve(packed, content_type, headers={"Content-Encoding": "gzip"})


def answer_raw(data: bytes) -> Behaviour:
    """Send exactly these bytes and close."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await writer.drain()
        return False

    return behave
