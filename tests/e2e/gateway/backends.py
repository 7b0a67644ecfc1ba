"""Backends that fetch through the gateway with client stacks of others: httpx, and undici in Node.js."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from tests.e2e.interop.fedify import require_node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signatures.message import Headers

_HERE = Path(__file__).parent
_LINE_BYTES = 1 << 28
_SECONDS = 60
# How the two say which status a CONNECT was refused with.
_REFUSED = re.compile(r"^(\d{3})\b|Proxy response \((\d{3})\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """What a backend was answered with.

    Attributes:
        status: That of the answer, or of the CONNECT that was refused; 0 where the connection broke.
        is_whole: The client library had no complaint.
    """

    status: int
    headers: Headers = ()
    body: bytes = b""
    is_whole: bool = True

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.body).digest()

    def header(self, name: str) -> str | None:
        """Return the first value of a header, None if it is not there."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Backend(Protocol):
    """Whatever fetches through the gateway."""

    async def fetch(self, url: str, *, method: str = "GET", headers: Headers = ()) -> Got:
        """Fetch without following redirects."""
        ...


class PythonBackend:
    """A backend whose client is httpx."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def fetch(
        self, url: str, *, method: str = "GET", headers: Headers = (), content: bytes | None = None
    ) -> Got:
        request = self.client.build_request(method, url, headers=list(headers), content=content)
        try:
            response = await self.client.send(request, stream=True)
        except httpx.ProxyError as error:
            return refused(str(error))
        except httpx.TransportError:
            return Got(status=0, is_whole=False)
        received, is_whole = [], True
        try:
            # As they came: a coding that the gateway let pass is none of ours.
            received = [chunk async for chunk in response.aiter_raw()]
        except httpx.TransportError:
            is_whole = False
        finally:
            await response.aclose()
        return Got(
            status=response.status_code,
            headers=tuple(response.headers.multi_items()),
            body=b"".join(received),
            is_whole=is_whole,
        )


@contextlib.asynccontextmanager
async def open_python_backend(proxy: str, authority: Path) -> AsyncIterator[PythonBackend]:
    """Open a client that knows the gateway and trusts its authority alone."""
    async with httpx.AsyncClient(
        proxy=proxy,
        verify=ssl.create_default_context(cafile=authority),
        trust_env=False,
        timeout=_SECONDS,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=40),
    ) as client:
        yield PythonBackend(client)


class NodeBackend:
    """A backend whose client is undici's fetch."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def fetch(self, url: str, *, method: str = "GET", headers: Headers = ()) -> Got:
        number = next(self._ids)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        asked = {"id": number, "url": url, "method": method, "headers": list(headers)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        async with asyncio.timeout(_SECONDS):
            answer = await waiting
        if "error" in answer:
            return refused(answer["error"])
        got = Got(
            status=answer["status"],
            headers=tuple((name, value) for name, value in answer["headers"]),
            body=base64.b64decode(answer["body"]),
        )
        assert got.sha256.hex() == answer["sha256"]
        return got

    async def read(self) -> None:
        """Hand the answers to those who wait for them, until the end of the output."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            self._waiting.pop(answer["id"]).set_result(answer)


@contextlib.asynccontextmanager
async def open_node_backend(proxy: str, authority: Path) -> AsyncIterator[NodeBackend]:
    """Start Node.js, told of the gateway's authority as its documentation says, or skip the test."""
    node = await asyncio.to_thread(require_node)
    process = await asyncio.create_subprocess_exec(
        node,
        _HERE / "fetching.mjs",
        proxy,
        env={"PATH": os.defpath, "NODE_EXTRA_CA_CERTS": str(authority)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
    )
    backend = NodeBackend(process)
    reading = asyncio.ensure_future(backend.read())
    try:
        yield backend
    finally:
        # The end of its input ends it.
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await reading


def refused(said: str) -> Got:
    """Read from a client's error what a CONNECT was answered with."""
    found = _REFUSED.search(said)
    return Got(status=int(found[1] or found[2]) if found else 0, is_whole=False)
