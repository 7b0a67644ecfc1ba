"""The bytes that a backend is given are the bytes that were scanned, whoever asks, how, and how often."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest

from db import verdicts
from relay.lifecycle import State
from scanner.canary import draw_canary
from tests.e2e.gateway.cloaking import Cloak, draw_fresh_canary, draw_harmless
from tests.e2e.gateway.unscanned import fetch_many
from tests.e2e.world import wait_for_state
from tests.fediverse import behaviours as do
from tests.fediverse import shapes
from tests.fediverse.wire import send

if TYPE_CHECKING:
    from tests.e2e.gateway.backends import Backend, Got, NodeBackend, PythonBackend
    from tests.e2e.gateway.scene import GatewayScene
    from tests.fediverse import Origin
    from tests.fediverse.wire import WireRequest

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

FETCHES = 1_000
WAYS = ("python-http", "python-https", "node-http", "node-https")


class Host(Protocol):
    """Whatever serves paths, with or without TLS."""

    requests: list[WireRequest]

    def on(self, path: str, behaviour: do.Behaviour) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A client and a server between which the gateway stands."""

    client: Backend
    host: Host


@pytest.fixture(params=WAYS)
def way(
    request: pytest.FixtureRequest,
    origin: Origin,
    gateway: GatewayScene,
    backend: PythonBackend,
    node: NodeBackend,
) -> Way:
    """In turn each client, and a server without and with TLS; the latter is shared."""
    client, _, scheme = request.param.partition("-")
    return Way(
        client=node if client == "node" else backend,
        host=origin if scheme == "http" else gateway.tls.good,
    )


@pytest.fixture(params=["http", "https"])
def host(request: pytest.FixtureRequest, origin: Origin, gateway: GatewayScene) -> Host:
    """A remote server, in turn without and with TLS; the latter is shared."""
    return origin if request.param == "http" else gateway.tls.good


async def test_of_a_thousand_fetches_from_origins_that_cloak_none_brings_unscanned_bytes(
    gateway: GatewayScene, backend: PythonBackend, node: NodeBackend, origin: Origin
) -> None:
    cloak = Cloak()
    urls = [*cloak.show_on(origin), *cloak.show_on(gateway.tls.good)]

    tally = await fetch_many(
        FETCHES, backends=[backend, node], urls=urls, cloak=cloak, database=gateway.database
    )

    assert tally.unscanned == []
    assert tally.others == []
    assert sum(tally.delivered.values()) + sum(tally.withheld.values()) == FETCHES
    # Each way to cloak was tried in both of its states, but for ranges, which no origin is asked for.
    assert tally.delivered.keys() == {"by-user-agent.png", "by-count.png", "by-range.png", "by-time.png"}
    assert tally.withheld.keys() == {"by-user-agent.png", "by-count.png", "by-time.png"}
    assert min(*tally.delivered.values(), *tally.withheld.values()) >= FETCHES // 50


async def test_what_was_released_arrives_byte_for_byte_with_the_origins_headers(
    gateway: GatewayScene, way: Way
) -> None:
    data = draw_harmless(9_001)
    headers = {"ETag": '"abc"', "Last-Modified": "Sun, 22 Nov 2026 08:00:00 GMT", "X-Odd": "1"}
    url = way.host.on("/picture.png", do.serve(data, headers=headers))

    got = await way.client.fetch(url)

    assert (got.status, got.body) == (200, data)
    assert got.header("Content-Type") == "image/png"
    assert got.header("Content-Length") == str(len(data))
    assert {name: got.header(name) for name in headers} == headers
    async with gateway.database.connection() as conn:
        verdict = await verdicts.find_latest(conn, got.sha256)
    assert verdict is not None
    assert verdict.verdict == "no-match"


DISGUISES = {
    "its_own_type": do.serve(draw_canary()),
    "fresh_bytes": do.serve(draw_fresh_canary(1)),
    "no_type": do.serve(draw_canary(), None),
    "an_unknown_type": do.serve(draw_canary(), "application/octet-stream"),
    "the_type_of_an_activity": do.serve(draw_canary(), "application/activity+json"),
    "the_type_of_a_page": do.serve(draw_canary(), "text/html; charset=utf-8"),
    "the_type_of_plain_text": do.serve(draw_canary(), "text/plain"),
    "two_types": do.serve(draw_canary(), "text/html", headers={"content-type": "image/png"}),
    "another_format": do.serve(draw_fresh_canary(2), "image/jpeg"),
    "an_error": do.serve(draw_canary(), status=404),
    "a_redirect": do.serve(draw_canary(), status=302, headers={"Location": "/else"}),
    "a_part_that_nobody_asked_for": do.serve(
        draw_canary(), status=206, headers={"Content-Range": "bytes 0-9/10"}
    ),
    "an_attachment": do.serve(draw_canary(), headers={"Content-Disposition": "attachment; filename=a.txt"}),
}


@pytest.mark.parametrize("disguise", DISGUISES)
async def test_the_canary_is_never_delivered_in_any_disguise(disguise: str, way: Way) -> None:
    url = way.host.on(f"/{disguise}/lighthouse-7f3a9c", DISGUISES[disguise])

    got = await way.client.fetch(url)

    assert got.status == 403
    require_no_content(got)


async def test_a_refusal_tells_nothing_and_the_log_tells_no_more(
    gateway: GatewayScene, backend: PythonBackend, origin: Origin
) -> None:
    data = draw_fresh_canary(77)
    got = await backend.fetch(origin.serve_media("/media/lighthouse-5d1c.png", data))
    other = await backend.fetch("http://10.0.0.1/")

    assert (got.status, got.body) == (other.status, other.body) == (403, got.body)
    assert {name.lower() for name, _ in got.headers} == {name.lower() for name, _ in other.headers}
    digest = hashlib.sha256(data)
    said = gateway.relay.read_log() + await gateway.relay.metrics()
    for secret in (digest.hexdigest(), "lighthouse-5d1c", origin.url("/")):
        assert secret not in said
    for path in gateway.relay.data_dir.rglob("*"):
        assert not path.is_file() or data not in path.read_bytes()


@pytest.mark.parametrize(
    "headers",
    [
        (("If-None-Match", '"abc"'),),
        (("If-Modified-Since", "Sun, 22 Nov 2026 08:00:00 GMT"),),
        (("Range", "bytes=0-1"), ("If-Range", '"abc"')),
        (("Range", "bytes=0-0,5-9"),),
        (("Range", "bytes=-500"),),
        (("Accept-Encoding", "gzip, br"),),
        (("Cache-Control", "no-cache"), ("Pragma", "no-cache")),
    ],
)
async def test_no_header_of_a_request_brings_the_canary_past_the_scan(
    headers: tuple[tuple[str, str], ...], backend: PythonBackend, host: Host
) -> None:
    url = host.on("/conditional.png", do.serve(draw_canary(), headers={"ETag": '"abc"'}))

    got = await backend.fetch(url, headers=headers)

    assert got.status == 403
    require_no_content(got)


async def test_a_head_never_has_a_body(way: Way) -> None:
    url = way.host.on("/head.png", do.serve(draw_canary()))
    assert (await way.client.fetch(url, method="HEAD")).body == b""


@pytest.mark.parametrize("wanted", ["bytes=0-99", "bytes=500-", "bytes=-250", "bytes=10-10"])
async def test_a_part_is_cut_from_the_scanned_whole(
    wanted: str, gateway: GatewayScene, backend: PythonBackend, host: Host
) -> None:
    data = draw_harmless(9_100)
    url = host.on("/ranged.png", do.serve(data, headers={"Accept-Ranges": "bytes"}))

    got = await backend.fetch(url, headers=(("Range", wanted),))

    first, _, last = wanted.removeprefix("bytes=").partition("-")
    part = slice(int(first), int(last) + 1 if last else None) if first else slice(-int(last), None)
    assert (got.status, got.body) == (206, data[part])
    assert all(request.header("Range") is None for request in host.requests)


async def test_what_the_inbox_door_saw_harmless_is_seen_anew_when_the_backend_fetches_it(
    gateway: GatewayScene, backend: PythonBackend, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    url = origin.on(
        "/swapped.png", do.in_turn(do.serve(draw_harmless(9_200)), do.serve(draw_fresh_canary(78)))
    )
    activity = shapes.mastodon_create(actor, [url])
    message = gateway.world.fediverse.sign_and_build(actor, activity, gateway.relay.inbox)
    await send(message, host="127.0.0.1", port=gateway.relay.port)
    assert (await wait_for_state(gateway.database, activity)).state is State.FORWARDED

    got = await backend.fetch(url)

    assert got.status == 403
    require_no_content(got)


async def test_what_is_no_media_passes_untouched(backend: PythonBackend, host: Host) -> None:
    for body, kind in (
        (b'{"type": "Note"}', "application/activity+json"),
        (b"<!doctype html><title>a</title>" * 1000, "text/html; charset=utf-8"),
        (b"", "application/json"),
        (b"plain", "text/plain"),
    ):
        got = await backend.fetch(host.on("/document", do.serve(body, kind)))
        assert (got.status, got.body, got.header("Content-Type")) == (200, body, kind)


async def test_a_signed_request_reaches_the_origin_as_it_was_signed(
    backend: PythonBackend, host: Host
) -> None:
    url = host.on("/signed?b=2&a=%20", do.serve(b"{}", "application/activity+json"))
    host.on("/signed", do.serve(b"{}", "application/activity+json"))
    headers = (
        ("Date", "Sun, 22 Nov 2026 08:00:00 GMT"),
        ("Accept", "application/activity+json"),
        ("Signature", 'keyId="https://here.example/actor#main-key",headers="(request-target) host date"'),
    )

    await backend.fetch(url, headers=headers)

    asked = host.requests[-1]
    assert asked.target == "/signed?b=2&a=%20"
    assert url.partition("://")[2].startswith(str(asked.header("Host")))
    assert {name: asked.header(name) for name, _ in headers} == dict(headers)


async def test_a_delivery_passes_with_its_body_byte_for_byte(backend: PythonBackend, host: Host) -> None:
    body = b'{"type":"Create", "x": "\xc3\xa9"}' * 3000
    url = host.on("/inbox", do.refuse(202))

    got = await backend.fetch(url, method="POST", content=body, headers=(("Digest", "SHA-256=AA=="),))

    assert got.status == 202
    assert host.requests[-1].body == body
    assert host.requests[-1].header("Digest") == "SHA-256=AA=="


def require_no_content(got: Got) -> None:
    """Check that an answer holds a line of text and nothing of what was served."""
    assert got.body.startswith(b"Not available") or got.body == b""
    assert len(got.body) < 100
    assert b"PNG" not in got.body
    assert not {name.lower() for name, _ in got.headers} & {"etag", "last-modified", "content-disposition"}
