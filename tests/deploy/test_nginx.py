"""The nginx files send every delivery to the relay, and leave everything else where it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from signatures.message import RequestMessage
from tests.deploy.nginx import SITES, SPELLINGS, Nginx, open_nginx
from tests.e2e.process import free_ports
from tests.e2e.raw import send_raw
from tests.fediverse import RecordingBackend, send
from tests.fediverse.backend import ScriptedAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fediverse import WireResponse

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

INBOXES = (
    "/inbox",
    "/inbox/",
    "/shared-inbox",
    "/site_inbox",
    "/f/inbox",
    "/actor/inbox",
    "/relay/inbox",
    "/internal/fetch/inbox",
    "/users/alice/inbox",
    "/ap/users/116000000000000001/inbox",
    "/u/alice/inbox",
    "/c/pictures/inbox",
    "/accounts/alice/inbox",
    "/video-channels/holidays/inbox",
    "/user/alice/inbox",
    "/@alice@social.example/inbox/",
    "/alice/inbox",
    "/inbox?from=somewhere",
)

ELSEWHERE = (
    "/",
    "/api/v1/statuses",
    "/api/v3/post",
    "/users/alice/outbox",
    "/inboxes",
    "/inbox-rules",
    "/mailinbox",
    "/inbox/42",
    "/api/inbox_state",
    "/oauth/token",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """An nginx with two recorders behind it."""

    nginx: Nginx
    relay: RecordingBackend
    backend: RecordingBackend

    async def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: tuple[tuple[str, str], ...] = (),
        *,
        authority: str = "social.example",
    ) -> WireResponse:
        message = RequestMessage(
            method=method,
            scheme="http",
            authority=authority,
            target=target,
            headers=headers,
            body=body,
        )
        return await send(message, host="127.0.0.1", port=self.nginx.port)


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=SITES)
async def front(request: pytest.FixtureRequest, nginx_program: str) -> AsyncIterator[Front]:
    """The files in front of each kind of site."""
    async with (
        RecordingBackend.open() as relay,
        RecordingBackend.open() as backend,
        open_nginx(
            nginx_program, relay_port=relay.port, backend_url=backend.url, site=SITES[request.param]
        ) as nginx,
    ):
        relay.usual = ScriptedAnswer(status=202, body=b"relay")
        backend.usual = ScriptedAnswer(status=200, body=b"backend")
        yield Front(nginx=nginx, relay=relay, backend=backend)


@pytest.mark.parametrize("target", INBOXES)
async def test_a_delivery_to_any_form_of_inbox_reaches_the_relay_byte_for_byte(
    target: str, front: Front
) -> None:
    headers = (
        ("Content-Type", 'application/ld+json; profile="https://www.w3.org/ns/activitystreams"'),
        ("Date", "Sun, 06 Nov 2044 08:49:37 GMT"),
        ("Digest", "SHA-256=AAAA"),
        ("Signature", 'keyId="https://remote.example/a#k",signature="c2ln"'),
        ("Signature-Input", 'sig1=("@method" "@target-uri");created=1'),
    )
    body = b'{"type":\t"Like"}\r\n'

    answer = await front.ask("POST", target, body, headers)

    received = front.relay.requests[-1]
    assert (answer.status, answer.body) == (202, b"relay")
    assert (received.method, received.target, received.body) == ("POST", target, body)
    assert set(headers) <= set(received.headers)
    assert received.header("Host") == "social.example"
    assert received.header("X-Forwarded-For") == "127.0.0.1"
    assert received.header("X-Forwarded-Proto") == "http"


@pytest.mark.parametrize("authority", ["social.example:8443", "Social.Example"])
async def test_the_host_is_passed_on_as_it_was_sent(authority: str, front: Front) -> None:
    """Signatures cover it as it was written."""
    await front.ask("POST", "/inbox", b"{}", authority=authority)

    assert front.relay.requests[-1].header("Host") == authority


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_reading_an_inbox_stays_with_the_server_behind(method: str, front: Front) -> None:
    before = len(front.relay.requests)

    for target in INBOXES:
        front.backend.script(200)
        assert (await front.ask(method, target)).status == 200
        assert (front.backend.requests[-1].method, front.backend.requests[-1].target) == (method, target)

    assert len(front.relay.requests) == before


@pytest.mark.parametrize("target", SPELLINGS)
async def test_no_other_spelling_of_an_inbox_gets_past_the_relay(target: str, front: Front) -> None:
    before = len(front.backend.requests)

    await front.ask("POST", target, b"{}")

    assert front.relay.requests[-1].target == target
    assert len(front.backend.requests) == before


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_no_other_way_of_writing_to_an_inbox_gets_past_the_relay(method: str, front: Front) -> None:
    before = len(front.backend.requests)

    await front.ask(method, "/users/alice/inbox", b"{}")

    assert front.relay.requests[-1].method == method
    assert len(front.backend.requests) == before


@pytest.mark.parametrize("target", ELSEWHERE)
async def test_everything_else_stays_with_the_server_behind(target: str, front: Front) -> None:
    before = len(front.relay.requests)

    assert (await front.ask("POST", target, b"x=1")).body == b"backend"

    assert front.backend.requests[-1].target == target
    assert len(front.relay.requests) == before


@pytest.mark.parametrize(
    "target",
    [
        "/breakwater/actor",
        "/breakwater/attestations/01JD?x=%2F",
        "/.well-known/webfinger?resource=acct:breakwater@social.example",
        "/.well-known/webfinger?resource=acct%3Abreakwater%40social.example",
        "/.well-known/webfinger?resource=https%3A%2F%2Fsocial.example%2Fbreakwater%2Factor",
    ],
)
async def test_the_relay_serves_its_own_documents(target: str, front: Front) -> None:
    answer = await front.ask("GET", target)

    assert answer.body == b"relay"
    assert front.relay.requests[-1].target == target
    assert front.relay.requests[-1].header("Host") == "social.example"


@pytest.mark.parametrize(
    "target",
    [
        "/.well-known/webfinger?resource=acct:alice@social.example",
        "/.well-known/webfinger?resource=acct:breakwater-fan@social.example",
        "/.well-known/webfinger?resource=https://social.example/users/breakwater",
        "/.well-known/webfinger",
        "/.well-known/nodeinfo",
        "/breakwaters",
    ],
)
async def test_other_names_stay_with_the_server_behind(target: str, front: Front) -> None:
    before = len(front.relay.requests)

    await front.ask("GET", target)

    assert len(front.relay.requests) == before


async def test_a_body_up_to_the_bound_arrives_and_a_longer_one_does_not(front: Front) -> None:
    longest = b"x" * 1_048_576

    assert (await front.ask("POST", "/inbox", longest)).status == 202
    assert front.relay.requests[-1].body == longest
    before = len(front.relay.requests)
    # nginx answers before the body was sent, and closes.
    head = b"POST /inbox HTTP/1.1\r\nHost: social.example\r\nContent-Length: 1048577\r\n\r\n"
    assert await send_raw(head, port=front.nginx.port) == ([413], True)
    assert len(front.relay.requests) == before


async def test_a_body_of_unknown_length_arrives_whole(front: Front) -> None:
    chunks = b'3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n'
    head = b"POST /inbox HTTP/1.1\r\nHost: social.example\r\nTransfer-Encoding: chunked\r\n"

    assert (await send_raw(head + b"Connection: close\r\n\r\n" + chunks, port=front.nginx.port))[0] == [202]

    assert front.relay.requests[-1].body == b'{"a":1}'


@pytest.mark.parametrize("status", [400, 401, 403, 429, 503])
async def test_the_relays_own_refusals_go_back_as_they_are(status: int, front: Front) -> None:
    refusal = ScriptedAnswer(status=status, body=b"why", headers=(("Retry-After", "60"),))
    front.relay.script(refusal)
    before = len(front.relay.requests)

    answer = await front.ask("POST", "/inbox", b"{}")

    assert (answer.status, answer.body, answer.header("Retry-After")) == (status, b"why", "60")
    assert len(front.relay.requests) == before + 1


@pytest.mark.parametrize("target", ["/.breakwater/inbox", "/.breakwater/name"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_inner_locations_cannot_be_asked_for(method: str, target: str, front: Front) -> None:
    before = len(front.relay.requests), len(front.backend.requests)

    answer = await front.ask(method, target)

    # A POST to what ends in /inbox is a delivery like any other.
    if (method, target) == ("POST", "/.breakwater/inbox"):
        assert front.relay.requests[-1].target == target
    else:
        assert answer.status == 404
        assert (len(front.relay.requests), len(front.backend.requests)) == before


@pytest.mark.parametrize("site", SITES)
async def test_without_the_relay_nothing_is_passed_on(site: str, nginx_program: str) -> None:
    (nobody,) = free_ports(1)
    async with (
        RecordingBackend.open() as backend,
        open_nginx(nginx_program, relay_port=nobody, backend_url=backend.url, site=SITES[site]) as nginx,
    ):
        backend.usual = ScriptedAnswer(status=200, body=b"backend")
        front = Front(nginx=nginx, relay=backend, backend=backend)

        refused = [(await front.ask("POST", "/inbox", b"{}")).status for _ in range(3)]
        page = await front.ask("GET", "/inbox")

    assert refused == [502, 502, 502]
    assert page.body == b"backend"
    assert [request.method for request in backend.requests] == ["GET"]
