"""Signed deliveries without media, through the relay to a backend, beside the same client straight to it.

Every delivery is parsed, its signature verified with a cached RSA key, its references extracted, and passed
on to the backend, whose own answer goes back. Both schemes are sent in turn, by several actors.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.clock import SystemClock
from signatures.http import Scheme
from tests.bench.inbox_client import write_requests
from tests.bench.line_relay import open_relay_process
from tests.fediverse import Fediverse
from tests.fediverse.shapes import like

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from signatures.message import RequestMessage

NAMES = ("inbox_passthrough",)

TARGET_RATE = 1_500.0
TARGET_RATIO = 0.25
TARGET_P99_MS = 25.0

ACTORS = 20
REQUESTS = 1_000
CONNECTIONS = 16
SECONDS = 5.0
WARM_UP_SECONDS = 2.0
ROUNDS = 3

_TICKS = os.sysconf("SC_CLK_TCK")


def run() -> Iterator[dict[str, object]]:
    """Measure through the relay and past it in turn, and report the medians."""
    yield asyncio.run(measure())


async def measure() -> dict[str, object]:
    results: dict[str, list[dict[str, Any]]] = {"relay": [], "framework": [], "bare": []}
    cpu: list[float] = []
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fediverse = await enter(Fediverse(SystemClock()))
        origin = await fediverse.open_origin()
        stubs = {kind: await enter(open_stub(kind)) for kind in ("framework", "bare")}
        relay = await enter(
            open_relay_process(
                backend_url=f"http://127.0.0.1:{stubs['framework']}", reachable=f"127.0.0.1:{origin.port}"
            )
        )
        actors = [origin.create_actor(f"actor{number}") for number in range(ACTORS)]
        path = folder / "requests"
        requests = []
        for number in range(REQUESTS):
            actor = actors[number % ACTORS]
            scheme = Scheme.CAVAGE if number // ACTORS % 2 else Scheme.RFC9421
            activity = like(actor, "https://here.example/notes/1")
            requests.append(serialize(fediverse.sign_and_build(actor, activity, relay.inbox, scheme=scheme)))
        await asyncio.to_thread(write_requests, path, requests)
        # The keys are fetched now, and every connection pool fills.
        await load(relay.port, path, seconds=WARM_UP_SECONDS)
        for _ in range(ROUNDS):
            for kind, port in stubs.items():
                results[kind].append(await load(port, path))
            before = cpu_seconds(relay.pid)
            done = await load(relay.port, path)
            cpu.append((cpu_seconds(relay.pid) - before) / sum(done["statuses"].values()) * 1e6)
            results["relay"].append(done)
    return report(results, cpu)


def report(results: dict[str, list[dict[str, Any]]], cpu: list[float]) -> dict[str, object]:
    statuses = {status for runs in results.values() for one in runs for status in one["statuses"]}
    if statuses != {"202"}:
        raise RuntimeError(f"not everything was taken: {statuses}")
    rates = {kind: [one["rate"] for one in runs] for kind, runs in results.items()}
    value, peer = statistics.median(rates["relay"]), statistics.median(rates["framework"])
    p99 = statistics.median(one["p99_ms"] for one in results["relay"])
    ratio = value / peer
    return {
        "name": "inbox_passthrough",
        "value": round(value),
        "unit": "deliveries/s",
        "peer": "the same client straight to a minimal aiohttp application",
        "peer_value": round(peer),
        "ratio": round(ratio, 3),
        "target": f">= {TARGET_RATE:.0f}/s, >= {TARGET_RATIO} of the peer, p99 <= {TARGET_P99_MS:.0f} ms",
        "holds": value >= TARGET_RATE and ratio >= TARGET_RATIO and p99 <= TARGET_P99_MS,
        "p50_ms": round(statistics.median(one["p50_ms"] for one in results["relay"]), 2),
        "p99_ms": round(p99, 2),
        "runs": [round(rate) for rate in sorted(rates["relay"])],
        "peer_runs": [round(rate) for rate in sorted(rates["framework"])],
        "bare_socket_runs": [round(rate) for rate in sorted(rates["bare"])],
        "relay_cpu_us": round(statistics.median(cpu)),
        "client_cpu_us": round(statistics.median(one["cpu_us"] for one in results["relay"])),
    }


def serialize(message: RequestMessage) -> bytes:
    """Write a request as it stands on the wire."""
    headers = [*message.headers, ("Content-Length", str(len(message.body)))]
    if not any(name.lower() == "host" for name, _ in headers):
        headers.append(("Host", message.authority))
    head = [f"{message.method} {message.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*head, "", ""]).encode("ascii") + message.body


async def load(port: int, path: Path, *, seconds: float = SECONDS) -> dict[str, Any]:
    """Run the client against a port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.inbox_client",
        str(port),
        str(CONNECTIONS),
        str(seconds),
        str(path),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError("the client failed")
    result: dict[str, Any] = json.loads(said)
    return result


@contextlib.asynccontextmanager
async def open_stub(kind: str) -> AsyncIterator[int]:
    """Run a backend that takes everything, and yield its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.inbox_stub",
        kind,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, its children left out."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    for line in run():
        print(line)
