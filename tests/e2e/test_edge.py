"""What the door makes of requests that are ambiguous, forged, broken or too big."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import pytest

from relay.lifecycle import State
from signatures.http import Scheme
from signatures.message import RequestMessage
from tests.e2e.raw import send_raw
from tests.fediverse import shapes
from tests.images import encode, marker

if TYPE_CHECKING:
    from collections.abc import Callable

    from signatures.message import Headers
    from tests.e2e.process import RelayProcess
    from tests.e2e.world import Scene
    from tests.fediverse import Actor, Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


def _edit(message: RequestMessage, name: str, value: str | None) -> RequestMessage:
    """Replace a header, or with None remove it."""
    kept: Headers = tuple(pair for pair in message.headers if pair[0].lower() != name.lower())
    return replace(message, headers=kept if value is None else (*kept, (name, value)))


def _head_of(scene: Scene, message: RequestMessage, *, without: str = "", lines: str = "") -> bytes:
    """Write a head by hand: every header but one, and more lines, each with its end."""
    pairs = [("Host", message.authority), *message.headers, ("Content-Length", str(len(message.body)))]
    kept = {name.lower(): f"{name}: {value}\r\n" for name, value in pairs}
    kept.pop(without.lower(), None)
    return f"{message.method} {message.target} HTTP/1.1\r\n{''.join(kept.values())}{lines}\r\n".encode()


async def test_what_a_sender_says_about_forwarding_is_replaced(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")
    activity = shapes.like(actor, "https://instance.example/notes/1")
    forged = {
        "X-Forwarded-Host": "evil.example",
        "X_Forwarded_For": "10.9.9.9",
        "X-Forwarded-Port": "1",
        "Forwarded": "for=10.9.9.9",
        "X-Real-IP": "10.9.9.9",
        "Breakwater-Verdict": "no-match",
        "breakwater_released": "yes",
        "Connection": "keep-alive",
        "Keep-Alive": "timeout=5",
        "TE": "trailers",
        "Proxy-Authorization": "Basic eA==",
        "Upgrade": "h2c",
    }
    message = scene.sign(actor, activity)
    message = replace(message, headers=(*message.headers, *forged.items()))

    assert (await scene.send(message)).status == 202
    received = await scene.wait_for_backend(activity)

    names = [name.lower() for name, _ in received.headers]
    assert not ({name.lower() for name in forged} - {"connection", "x-real-ip"}) & set(names)
    assert not any(name.startswith(("breakwater", "x_forwarded")) for name in names)
    assert len(names) == len(set(names))
    assert [value for name, value in received.headers if name.lower() == "x-real-ip"] == ["127.0.0.1"]
    assert "10.9.9.9" not in str(received.headers)


async def test_only_a_trusted_proxy_says_who_was_before_it(scene: Scene, origin: Origin) -> None:
    """Loopback is trusted by default: the last address that no trusted proxy has is the sender's."""
    actor = origin.create_actor("alice")
    activity = shapes.like(actor, "https://instance.example/notes/1")
    message = scene.sign(actor, activity)
    forwarded = (("X-Forwarded-For", "192.0.2.66, 198.51.100.7, 127.0.0.9"), ("X-Forwarded-Proto", "https"))
    message = replace(message, headers=(*message.headers, *forwarded))

    assert (await scene.send(message)).status == 202
    received = await scene.wait_for_backend(activity)

    assert received.header("X-Forwarded-For") == "198.51.100.7"
    assert received.header("X-Forwarded-Proto") == "https"


async def test_two_ways_to_end_a_body_are_refused_and_the_connection_is_closed(
    scene: Scene, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    message = scene.sign(actor, shapes.like(actor, "https://instance.example/notes/1"))
    size = len(message.body)
    smuggled = b"POST /inbox HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    chunked = f"{size:x}\r\n".encode() + message.body + b"\r\n0\r\n\r\n"
    both = _head_of(scene, message, lines="Transfer-Encoding: chunked\r\n")
    two = _head_of(scene, message, lines=f"Content-Length: {size + 1}\r\n")
    listed = _head_of(scene, message, without="content-length", lines=f"Content-Length: {size}, {size}\r\n")
    encodings = _head_of(
        scene,
        message,
        without="content-length",
        lines="Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    )
    plus = _head_of(scene, message, without="content-length", lines=f"Content-Length: +{size}\r\n")
    cases = [
        both + chunked,
        two + message.body,
        listed + message.body,
        encodings + chunked,
        plus + message.body,
    ]

    for data in cases:
        statuses, is_closed = await send_raw(data + smuggled, port=scene.relay.port)
        assert statuses == [400]
        assert is_closed
    assert not scene.has_reached_backend(message.body)


async def test_line_ends_and_names_that_servers_read_differently_are_refused(
    scene: Scene, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    message = scene.sign(actor, shapes.like(actor, "https://instance.example/notes/1"))
    bare = _head_of(scene, message).replace(b"\r\n", b"\n")
    one_bare = _head_of(scene, message).replace(b"\r\nHost", b"\nHost", 1)
    folded = _head_of(scene, message, lines="X-Folded: one\r\n two\r\n")
    spaced = _head_of(scene, message, lines="X-Spaced : one\r\n")
    no_text = _head_of(scene, message, lines="X-Bytes: REPLACED\r\n").replace(b"REPLACED", b"\xff\xfe")
    hosts = _head_of(scene, message, lines="Host: other.example\r\n")

    for data in (bare, one_bare, folded, spaced, no_text, hosts):
        statuses, is_closed = await send_raw(data + message.body, port=scene.relay.port)
        assert statuses[:1] == [400]
        assert is_closed
    assert not scene.has_reached_backend(message.body)


@pytest.mark.parametrize(
    "target",
    [
        "//inbox",
        "/users/%2e%2e/inbox",
        "/users/..%2finbox",
        "/users/../inbox",
        "/./inbox",
        "/users\\inbox",
        "/inbox;x=1",
        "/inbox%00",
        "/users/%5c/inbox",
        "/users//inbox",
        "http://127.0.0.1/inbox",
    ],
)
async def test_an_ambiguous_path_is_refused(target: str, scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")
    message = scene.sign(actor, shapes.like(actor, "https://instance.example/notes/1"), target=target)
    message = replace(message, target=target)

    assert (await scene.send(message)).status == 400
    assert not scene.has_reached_backend(message.body)


@pytest.mark.parametrize(
    "target",
    [
        "/inbox",
        "/inbox/",
        "/shared-inbox",
        "/site_inbox",
        "/f/inbox",
        "/users/someone/inbox",
        "/ap/users/115/inbox",
        "/@someone@instance.example/inbox/",
        "/u/someone/inbox",
        "/video-channels/someone/inbox",
        "/relay/inbox",
        "/internal/fetch/inbox",
        "/actor/inbox",
        "/someone/inbox",
        "/some/new/software/inbox",
        "/inbox?shared=1",
    ],
)
async def test_a_post_to_any_inbox_path_is_never_told_that_there_is_none(
    target: str, scene: Scene, origin: Origin
) -> None:
    """404 and 410 make senders forget the whole instance."""
    actor = origin.create_actor("alice")
    activity = shapes.follow(actor, "https://instance.example/users/someone")

    assert (await scene.deliver(actor, activity, target=target)).status == 202
    assert (await scene.wait_for_backend(activity)).target == target
    unsigned = actor.build_delivery(activity, scene.relay.door + target)
    assert (await scene.send(unsigned)).status == 401


async def test_a_body_of_more_than_a_mebibyte_is_too_large(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")
    note = shapes.mastodon_note(actor, content="x" * (1 << 20))

    assert (await scene.deliver(actor, shapes.create(actor, note))).status == 413

    head = b"POST /inbox HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    statuses, _ = await send_raw(head + chunk * 20 + b"0\r\n\r\n", port=scene.relay.port)
    assert statuses[:1] == [413]


async def test_an_unsigned_delivery_is_told_how_to_sign(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")
    note = shapes.mastodon_note(actor, [origin.serve_media("/p.png", encode(marker(41), "PNG"))])
    for activity in (shapes.create(actor, note), shapes.like(actor, "https://instance.example/notes/1")):
        answer = await scene.send(actor.build_delivery(activity, scene.relay.inbox))

        assert answer.status == 401
        assert "@target-uri" in (answer.header("Accept-Signature") or "")
    assert origin.count("/p.png") == 0


def _stale(scene: Scene, actor: Actor, activity: object) -> RequestMessage:
    long_ago = scene.world.fediverse.clock.now() - timedelta(days=2)
    return actor.sign_and_build(activity, scene.relay.inbox, now=long_ago)


def _future(scene: Scene, actor: Actor, activity: object) -> RequestMessage:
    some_day = scene.world.fediverse.clock.now() + timedelta(hours=2)
    return actor.sign_and_build(activity, scene.relay.inbox, now=some_day)


def _without_digest(scene: Scene, actor: Actor, activity: object) -> RequestMessage:
    return _edit(scene.sign(actor, activity), "Digest", None)


def _wrong_digest(scene: Scene, actor: Actor, activity: object) -> RequestMessage:
    message = scene.sign(actor, activity)
    return replace(message, body=message.body + b" ")


def _resigned_digest(scene: Scene, actor: Actor, activity: object) -> RequestMessage:
    """A digest that fits the altered body, but that the signature does not cover as it stands."""
    other = scene.sign(actor, shapes.like(actor, "https://instance.example/notes/2"))
    digest = next(value for name, value in other.headers if name.lower() == "digest")
    return replace(_edit(scene.sign(actor, activity), "Digest", digest), body=other.body)


def _flipped_signature(scene: Scene, actor: Actor, activity: object) -> RequestMessage:
    message = scene.sign(actor, activity)
    value = next(value for name, value in message.headers if name.lower() == "signature")
    at = value.index('signature="') + len('signature="') + 20
    flipped = "A" if value[at] != "A" else "B"
    return _edit(message, "Signature", value[:at] + flipped + value[at + 1 :])


def _other_target(scene: Scene, actor: Actor, activity: object) -> RequestMessage:
    return replace(scene.sign(actor, activity), target="/users/other/inbox")


def _other_host(scene: Scene, actor: Actor, activity: object) -> RequestMessage:
    return _edit(scene.sign(actor, activity), "Host", "other.example")


def _algorithm_confusion(scene: Scene, actor: Actor, activity: object) -> RequestMessage:
    message = scene.sign(actor, activity)
    value = next(value for name, value in message.headers if name.lower() == "signature")
    return _edit(message, "Signature", value.replace("rsa-sha256", "hmac-sha256"))


def _foreign_key(scene: Scene, actor: Actor, activity: object) -> RequestMessage:
    """Signed well, by somebody of another origin."""
    stranger = scene.take_origin().create_actor("mallory")
    message = stranger.build_delivery(activity, scene.relay.inbox)
    return stranger.sign(message, now=scene.world.fediverse.clock.now())


def _claimed_key(scene: Scene, actor: Actor, activity: object) -> RequestMessage:
    """Signed by a stranger, whose key document says that the victim owns it."""
    stranger = scene.take_origin().create_actor("mallory")
    stranger.key_owner = actor.id
    message = stranger.build_delivery(activity, scene.relay.inbox)
    return stranger.sign(message, now=scene.world.fediverse.clock.now())


def _two_schemes(scene: Scene, actor: Actor, activity: object) -> RequestMessage:
    """A good signature of one scheme beside a bad one of the other: nothing falls through."""
    message = scene.sign(actor, activity)
    other = actor.sign_and_build(
        shapes.like(actor, "https://instance.example/notes/3"),
        scene.relay.inbox,
        now=scene.world.fediverse.clock.now(),
        scheme=Scheme.RFC9421,
    )
    given = next(value for name, value in other.headers if name.lower() == "signature-input")
    return _edit(message, "Signature-Input", given)


_FORGERIES: dict[str, Callable[[Scene, Actor, object], RequestMessage]] = {
    "a_stale_date": _stale,
    "a_date_in_the_future": _future,
    "no_digest": _without_digest,
    "a_digest_of_another_body": _wrong_digest,
    "a_replaced_digest_and_body": _resigned_digest,
    "a_flipped_bit": _flipped_signature,
    "another_target": _other_target,
    "another_host": _other_host,
    "another_algorithm": _algorithm_confusion,
    "a_key_of_another_origin": _foreign_key,
    "a_key_that_claims_its_owner": _claimed_key,
    "two_schemes_that_disagree": _two_schemes,
}


@pytest.mark.parametrize("name", _FORGERIES)
@pytest.mark.parametrize("has_picture", [False, True], ids=["plain", "with_picture"])
async def test_a_forged_delivery_is_refused_and_never_reaches_the_backend(
    name: str, *, has_picture: bool, scene: Scene, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    pictures = [origin.serve_media("/p.png", encode(marker(42), "PNG"))] if has_picture else []
    message = _FORGERIES[name](scene, actor, shapes.mastodon_create(actor, pictures))

    assert (await scene.send(message)).status == 401
    assert not scene.has_reached_backend(message.body)
    assert origin.count("/p.png") == 0


_DEEP = 5000
_MALFORMED = {
    "no_json": b"{",
    "nothing": b"",
    "no_object": b"[]",
    "a_string": b'"Create"',
    "no_text": b'{"type":"Create","id":"\xff"}',
    "a_name_twice": b'{"type":"Like","actor":"https://a.example/1","type":"Create"}',
    "a_name_twice_in_other_letters": b'{"type":"Like","\\u0074ype":"Create"}',
    "not_a_number": b'{"type":"Like","x":NaN}',
    "depth_5000": b'{"type":"Like","x":' + b"[" * _DEEP + b"]" * _DEEP + b"}",
    "depth_5000_objects": b'{"type":"Like","x":' + b'{"a":' * _DEEP + b"1" + b"}" * _DEEP + b"}",
    "more_after_its_end": b'{"type":"Like"}{"type":"Create"}',
    "no_type": b'{"id":"https://a.example/1"}',
    "a_lone_surrogate": b'{"type":"Like","x":"\\ud800"}',
}


@pytest.mark.parametrize("name", _MALFORMED)
async def test_a_body_that_is_no_activity_is_malformed(name: str, scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")

    answer = await scene.deliver(actor, _MALFORMED[name])

    assert answer.status == 400
    assert answer.header("Content-Type") == "application/problem+json"
    assert json.loads(answer.body)["status"] == 400
    assert _MALFORMED[name] not in scene.backend.bodies


async def test_more_attachments_than_are_examined_are_held(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")
    url = origin.serve_media("/p.png", encode(marker(43, width=64, height=64), "PNG"))
    activity = shapes.mastodon_create(actor, [f"{url}?{number}" for number in range(1100)])

    assert (await scene.deliver(actor, activity)).status == 202
    stored = await scene.wait_for_state(activity)

    assert stored.state is State.HELD
    assert not scene.has_reached_backend(activity)
    assert origin.count("/p.png") <= 1000


async def test_other_requests_are_not_for_this_door(scene: Scene) -> None:
    for method, target in (("GET", "/inbox"), ("POST", "/api/v1/statuses"), ("PUT", "/inbox"), ("GET", "/")):
        message = RequestMessage(
            method=method,
            scheme="http",
            authority=f"127.0.0.1:{scene.relay.port}",
            target=target,
            headers=(),
            body=b"",
        )
        assert (await scene.send(message)).status in {404, 405}


async def test_a_request_that_cannot_be_parsed_writes_nothing_of_its_own_into_the_log(scene: Scene) -> None:
    data = b"POST /inbox HTTP/1.1\r\nHost: x\r\nX : words-of-a-stranger\r\n\r\n"

    assert (await send_raw(data, port=scene.relay.port))[0] == [400]

    said = cast("RelayProcess", scene.relay).read_log()
    assert "words-of-a-stranger" not in said
