"""Transfers: what a hostile or broken origin can do to a fetch that was allowed to begin."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from relay.model import FetchFailure, Media
from relay.tools.documents import Document
from relay.tools.fetching import GuardedClient, open_guarded_client
from relay.tools.hops import Answer
from signatures.http import Scheme, sign_request
from tests.fediverse import Actor, Fediverse, FrozenClock, Origin
from tests.fediverse import behaviours as do

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.tools.policy import FetchPolicy
    from signatures.message import RequestMessage

MARKER = b"\x89PNG\r\n\x1a\n drawn marker"
SOON = timedelta(seconds=0.2)


@pytest.fixture
async def client(policy: FetchPolicy, clock: FrozenClock) -> AsyncIterator[GuardedClient]:
    async with open_guarded_client(policy, clock) as opened:
        yield opened


async def test_media_arrive_byte_for_byte_with_their_digest(client: GuardedClient, origin: Origin) -> None:
    data = bytes(range(256)) * 4000
    url = origin.on("/a.png", do.serve(data, "Image/PNG; charset=binary"))
    assert await client.fetch_media(url) == Media(
        data=data, sha256=hashlib.sha256(data).digest(), content_type="image/png"
    )


async def test_a_missing_content_type_is_nothing_and_an_empty_body_is_a_body(
    client: GuardedClient, origin: Origin
) -> None:
    url = origin.serve_media("/a", b"", content_type=None)
    assert await client.fetch_media(url) == Media(
        data=b"", sha256=hashlib.sha256(b"").digest(), content_type=None
    )


async def test_a_page_that_is_served_for_a_picture_says_so_in_its_type(
    client: GuardedClient, origin: Origin
) -> None:
    media = await client.fetch_media(origin.on("/a.png", do.serve(b"<html>", "text/html; charset=utf-8")))
    assert isinstance(media, Media)
    assert media.content_type == "text/html"


async def test_the_request_asks_for_identity_and_carries_no_cookie(
    client: GuardedClient, origin: Origin
) -> None:
    url = origin.on("/a", do.serve(MARKER, headers={"Set-Cookie": "track=1; Path=/"}))
    await client.fetch_media(url)
    await client.fetch_media(url)
    first, second = origin.requests
    assert first.header("Accept-Encoding") == "identity"
    assert "Breakwater" in (first.header("User-Agent") or "")
    assert second.header("Cookie") is None


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (404, FetchFailure.GONE),
        (410, FetchFailure.GONE),
        (401, FetchFailure.FORBIDDEN),
        (403, FetchFailure.FORBIDDEN),
        (451, FetchFailure.FORBIDDEN),
        (429, FetchFailure.SERVER_ERROR),
        (500, FetchFailure.SERVER_ERROR),
        (503, FetchFailure.SERVER_ERROR),
        (206, FetchFailure.MALFORMED),
        (204, FetchFailure.MALFORMED),
        (304, FetchFailure.MALFORMED),
    ],
)
async def test_a_status_other_than_200_is_a_failure_by_its_kind(
    client: GuardedClient, origin: Origin, status: int, failure: FetchFailure
) -> None:
    assert await client.fetch_media(origin.on("/a", do.refuse(status))) is failure


@pytest.mark.parametrize(
    "content_type",
    [
        "application/activity+json",
        "Application/Activity+JSON; charset=utf-8",
        "application/ld+json",
        'application/ld+json; profile="https://www.w3.org/ns/activitystreams"',
    ],
)
async def test_an_activity_is_never_media(client: GuardedClient, origin: Origin, content_type: str) -> None:
    url = origin.on("/a.png", do.serve_json({"type": "Delete"}, content_type))
    assert await client.fetch_media(url) is FetchFailure.ACTIVITY_AS_MEDIA


async def test_a_second_content_type_cannot_hide_an_activity(client: GuardedClient, origin: Origin) -> None:
    url = origin.on(
        "/a.png", do.serve(b"{}", "image/png", headers={"content-type": "application/activity+json"})
    )
    assert await client.fetch_media(url) is FetchFailure.ACTIVITY_AS_MEDIA


async def test_a_declared_length_beyond_the_bound_is_refused_before_the_body(
    client: GuardedClient, origin: Origin
) -> None:
    url = origin.on("/a", do.stall_after(b"", declared=1001))
    assert await client.fetch_media(url, max_bytes=1000) is FetchFailure.TOO_LARGE


async def test_the_bound_itself_still_passes(client: GuardedClient, origin: Origin) -> None:
    url = origin.serve_media("/a", bytes(1000))
    assert isinstance(await client.fetch_media(url, max_bytes=1000), Media)
    assert await client.fetch_media(url, max_bytes=999) is FetchFailure.TOO_LARGE


async def test_an_endless_body_is_cut_at_the_bound(client: GuardedClient, origin: Origin) -> None:
    url = origin.on("/a", do.flood())
    assert await client.fetch_media(url, max_bytes=1_000_000) is FetchFailure.TOO_LARGE


async def test_endless_headers_end_the_fetch(client: GuardedClient, origin: Origin) -> None:
    assert await client.fetch_media(origin.on("/a", do.flood_headers())) is FetchFailure.MALFORMED


async def test_a_body_shorter_than_declared_is_not_media(client: GuardedClient, origin: Origin) -> None:
    url = origin.on("/a", do.lie_about_length(MARKER, len(MARKER) + 10))
    assert await client.fetch_media(url) is FetchFailure.UNREACHABLE


async def test_what_follows_the_declared_length_is_not_part_of_the_media_nor_of_the_next(
    client: GuardedClient, origin: Origin
) -> None:
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: image/png\r\n\r\nforged"
    lie = do.lie_about_length(MARKER + forged, len(MARKER))
    url = origin.on("/a", do.in_turn(lie, do.serve(b"honest")))
    first = await client.fetch_media(url)
    second = await client.fetch_media(url)
    assert isinstance(first, Media)
    assert isinstance(second, Media)
    assert (first.data, second.data) == (MARKER, b"honest")


async def test_a_bomb_has_nothing_to_go_off_in(client: GuardedClient, origin: Origin) -> None:
    assert await client.fetch_media(origin.on("/a", do.gzip_bomb())) is FetchFailure.MALFORMED


async def test_one_byte_a_second_is_too_slow(policy: FetchPolicy, origin: Origin) -> None:
    # Each reading of the clock is a second later, so that no real second has to pass.
    clock = FrozenClock(tick=timedelta(seconds=1))
    url = origin.on("/a", do.drip(bytes(200)))
    async with open_guarded_client(policy, clock) as client:
        assert await client.fetch_media(url) is FetchFailure.TOO_SLOW


async def test_a_body_that_stops_coming_is_too_slow(
    policy: FetchPolicy, clock: FrozenClock, origin: Origin
) -> None:
    url = origin.on("/a", do.stall_after(MARKER, declared=1000))
    async with open_guarded_client(replace(policy, throughput_grace=SOON), clock) as client:
        assert await client.fetch_media(url) is FetchFailure.TOO_SLOW


async def test_an_answer_that_never_begins_is_a_timeout(
    policy: FetchPolicy, clock: FrozenClock, origin: Origin
) -> None:
    hasty = replace(policy, connect_timeout=SOON / 2, first_byte_timeout=SOON / 2)
    async with open_guarded_client(hasty, clock) as client:
        assert await client.fetch_media(origin.on("/a", do.stall())) is FetchFailure.TIMEOUT


async def test_the_total_time_holds_even_while_bytes_keep_coming(
    policy: FetchPolicy, clock: FrozenClock, origin: Origin
) -> None:
    url = origin.on("/a", do.drip(bytes(100_000)))
    async with open_guarded_client(replace(policy, total_timeout=SOON), clock) as client:
        assert await client.fetch_media(url) is FetchFailure.TIMEOUT


async def test_every_fetch_sees_what_the_origin_serves_at_that_time(
    client: GuardedClient, origin: Origin
) -> None:
    url = origin.on("/a", do.in_turn(do.serve(b"first"), do.serve(b"then")))
    fetched = [await client.fetch_media(url) for _ in range(3)]
    digests = [media.sha256 for media in fetched if isinstance(media, Media)]
    assert digests == [hashlib.sha256(data).digest() for data in (b"first", b"then", b"then")]


async def test_an_origin_that_cloaks_shows_each_client_its_own_bytes(
    policy: FetchPolicy, clock: FrozenClock, origin: Origin
) -> None:
    url = origin.on("/a", do.by_user_agent("breakwater", do.serve(b"for us"), do.serve(b"for others")))
    async with open_guarded_client(replace(policy, user_agent="Mastodon/4.5"), clock) as disguised:
        media = await disguised.fetch_media(url)
    assert isinstance(media, Media)
    assert media.data == b"for others"


@pytest.mark.parametrize(
    "raw",
    [
        b"no http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
)
async def test_broken_http_is_a_failure_and_never_media(
    client: GuardedClient, origin: Origin, raw: bytes
) -> None:
    outcome = await client.fetch_media(origin.on("/a", do.answer_raw(raw)))
    assert outcome in (FetchFailure.MALFORMED, FetchFailure.UNREACHABLE)


async def test_redirects_are_followed_to_the_media(client: GuardedClient, origin: Origin) -> None:
    last = origin.serve_media("/5.png", MARKER)
    for number in range(5):
        origin.on(f"/{number}", do.redirect(f"{number + 1}" + (".png" if number == 4 else "")))
    media = await client.fetch_media(origin.url("/0"))
    assert isinstance(media, Media)
    assert media.data == MARKER
    assert last.endswith("/5.png")


async def test_the_sixth_redirect_is_one_too_many(client: GuardedClient, origin: Origin) -> None:
    for number in range(6):
        origin.on(f"/{number}", do.redirect(f"/{number + 1}"))
    origin.serve_media("/6", MARKER)
    assert await client.fetch_media(origin.url("/0")) is FetchFailure.TOO_MANY_REDIRECTS
    assert origin.count("/6") == 0


async def test_a_redirect_loop_ends(client: GuardedClient, origin: Origin) -> None:
    url = origin.on("/a", do.redirect("/a"))
    assert await client.fetch_media(url) is FetchFailure.TOO_MANY_REDIRECTS
    assert origin.count("/a") == 6


@pytest.mark.parametrize(
    ("location", "failure"),
    [
        ("file:///etc/passwd", FetchFailure.REFUSED_URL),
        ("gopher://127.0.0.1/", FetchFailure.REFUSED_URL),
        ("http://user@127.0.0.1/", FetchFailure.REFUSED_URL),
        ("http://127.1/", FetchFailure.REFUSED_URL),
        ("//2130706433/", FetchFailure.REFUSED_URL),
        ("http://10.0.0.1/", FetchFailure.REFUSED_ADDRESS),
        ("http://[::1]/", FetchFailure.REFUSED_ADDRESS),
        ("http://169.254.169.254/latest/", FetchFailure.REFUSED_ADDRESS),
        ("http://[64:ff9b::7f00:1]/", FetchFailure.REFUSED_ADDRESS),
    ],
)
async def test_a_redirect_is_judged_like_the_first_url(
    client: GuardedClient, origin: Origin, location: str, failure: FetchFailure
) -> None:
    assert await client.fetch_media(origin.on("/a", do.redirect(location))) is failure


async def test_extra_headers_reach_the_first_origin_only(
    client: GuardedClient, world: Fediverse, origin: Origin
) -> None:
    other = await world.open_origin()
    target = other.serve_media("/b", MARKER)
    url = origin.on("/a", do.redirect(target))
    assert isinstance(await client.fetch_media(url, headers=(("Authorization", "Bearer x"),)), Media)
    assert origin.requests[0].header("Authorization") == "Bearer x"
    assert other.requests[0].header("Authorization") is None


async def test_a_request_returns_the_redirect_itself(client: GuardedClient, origin: Origin) -> None:
    url = origin.on("/inbox", do.redirect("/elsewhere"))
    answer = await client.request("POST", url, headers=(("Content-Type", "a/b"),), body=b"{}")
    assert isinstance(answer, Answer)
    assert answer.status == 302
    assert ("Location", "/elsewhere") in answer.headers
    assert (origin.requests[0].method, origin.requests[0].body) == ("POST", b"{}")


async def test_a_head_is_answered_whatever_length_it_declares(client: GuardedClient, origin: Origin) -> None:
    url = origin.serve_media("/a", bytes(2000))
    answer = await client.request("HEAD", url, max_bytes=1000)
    assert isinstance(answer, Answer)
    assert (answer.body.data, ("Content-Length", "2000") in answer.headers) == (b"", True)


async def test_a_request_returns_coded_bodies_as_they_are(client: GuardedClient, origin: Origin) -> None:
    url = origin.on("/a", do.gzip_bomb(1000))
    answer = await client.request("GET", url)
    assert isinstance(answer, Answer)
    assert gzip.decompress(answer.body.data) == bytes(1000)
    assert answer.body.sha256 == hashlib.sha256(answer.body.data).digest()


async def test_the_target_is_sent_as_it_was_read(client: GuardedClient, origin: Origin) -> None:
    await client.fetch_media(origin.url("/a/../b//%2e%2F/ü?x=%zz&y=[1]#gone"))
    assert origin.requests[0].target == "/a/../b//%2e%2F/%C3%BC?x=%zz&y=[1]"


async def test_a_document_is_read_when_its_type_says_so(client: GuardedClient, origin: Origin) -> None:
    for content_type in (do.ACTIVITY_JSON, do.LD_JSON, "application/activity+json; charset=utf-8"):
        url = origin.on("/note", do.serve_json({"id": "x", "focalPoint": [0.5]}, content_type))
        document = await client.fetch_document(url)
        assert document == Document(url=url, value={"id": "x", "focalPoint": [0.5]})


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/ld+json", "text/html", "image/png"]
)
async def test_no_other_type_is_a_document(client: GuardedClient, origin: Origin, content_type: str) -> None:
    url = origin.on("/note", do.serve_json({"id": "x"}, content_type))
    assert await client.fetch_document(url) is FetchFailure.MALFORMED


@pytest.mark.parametrize(
    "body", [b"[]", b'{"id":1,"id":2}', b"{", b"[" * 100 + b"]" * 100, b'"\xff"', b'{"a":NaN}']
)
async def test_no_other_body_is_a_document(client: GuardedClient, origin: Origin, body: bytes) -> None:
    url = origin.on("/note", do.serve(body, do.ACTIVITY_JSON))
    assert await client.fetch_document(url) is FetchFailure.MALFORMED


async def test_a_document_of_more_than_a_mebibyte_is_too_large(client: GuardedClient, origin: Origin) -> None:
    url = origin.on("/note", do.serve_json({"content": "a" * 1024 * 1024}))
    assert await client.fetch_document(url) is FetchFailure.TOO_LARGE


def _signer(actor: Actor, clock: FrozenClock):  # noqa: ANN202
    def sign(message: RequestMessage, scheme: Scheme) -> RequestMessage:
        return sign_request(message, key=actor.rsa, key_id=actor.key_id, scheme=scheme, now=clock.now())

    return sign


async def test_a_host_that_knows_only_the_old_scheme_is_asked_again_and_remembered(
    client: GuardedClient, world: Fediverse, origin: Origin, clock: FrozenClock
) -> None:
    signer = _signer(origin.create_actor("relay"), clock)
    url = origin.on("/note", do.require_signature("Signature", do.serve_json({"id": "x"})))
    assert isinstance(await client.fetch_document(url, signer=signer), Document)
    assert origin.count("/note") == 2
    assert isinstance(await client.fetch_document(url, signer=signer), Document)
    assert origin.count("/note") == 3


async def test_a_host_that_knows_the_new_scheme_is_asked_once(
    client: GuardedClient, origin: Origin, clock: FrozenClock
) -> None:
    signer = _signer(origin.create_actor("relay"), clock)
    url = origin.on("/note", do.require_signature("Signature-Input", do.serve_json({"id": "x"})))
    assert isinstance(await client.fetch_document(url, signer=signer), Document)
    assert origin.count("/note") == 1


async def test_a_host_that_refuses_both_is_asked_twice_and_no_more(
    client: GuardedClient, origin: Origin, clock: FrozenClock
) -> None:
    signer = _signer(origin.create_actor("relay"), clock)
    url = origin.on("/note", do.refuse(401))
    assert await client.fetch_document(url, signer=signer) is FetchFailure.FORBIDDEN
    assert origin.count("/note") == 2


async def test_nothing_is_signed_for_the_origin_that_a_redirect_leads_to(
    client: GuardedClient, world: Fediverse, origin: Origin, clock: FrozenClock
) -> None:
    other = await world.open_origin()
    target = other.on("/note", do.serve_json({"id": "x"}))
    url = origin.on("/note", do.redirect(target))
    document = await client.fetch_document(url, signer=_signer(origin.create_actor("relay"), clock))
    assert isinstance(document, Document)
    assert document.url == target
    assert origin.requests[0].header("Signature") is not None
    assert other.requests[0].header("Signature") is None
