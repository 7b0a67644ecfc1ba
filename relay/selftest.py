"""Test the running relay through its real doors, with a harmless picture and with the canary.

The test plays a remote server: it has an actor with a key and serves pictures on a loopback port that
the guarded client was told about. It posts to the relay's own inbox over HTTP. Whatever it sends ends
in the stand-in, never at the real backend, and its case is closed again.
"""

from __future__ import annotations

import asyncio
import io
import json
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import httpx
from aiohttp import web
from PIL import Image, ImageDraw

from db import attestations, cases, deliveries, delivery_lists, media
from relay.lifecycle import State
from scanner.canary import draw_canary
from signatures.attestation import parse_attestation
from signatures.attestation_verify import verify_attestation
from signatures.errors import SignatureError
from signatures.http import Scheme, sign_request
from signatures.keys import generate_rsa, parse_multikey
from signatures.message import RequestMessage
from signatures.objects import IssuerKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime

    from db.delivery_rows import StoredDelivery
    from db.pool import Database
    from relay.backends.standin import StandIn
    from relay.clock import Clock
    from relay.tools.identity import Identity
    from signatures.keys import PrivateKey
    from signatures.strictjson import JsonObject

T = TypeVar("T")

# A scan takes tens of milliseconds; a cold classifier on a busy machine takes seconds.
_PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.02
_ACTIVITY_JSON: Final = "application/activity+json"
_PUBLIC: Final = "https://www.w3.org/ns/activitystreams#Public"
_PICTURE_SIDE: Final = 320


@dataclass(slots=True, kw_only=True)
class SelftestOrigin:
    """The remote server that the self-test plays.

    Attributes:
        url: Where it listens.
        key: The key of its only actor.
        pictures: What it serves, by name.
    """

    url: str
    key: PrivateKey
    pictures: dict[str, bytes] = field(default_factory=dict)

    @property
    def actor(self) -> str:
        """The id of its actor."""
        return f"{self.url}/actor"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve the actor or a picture."""
        name = request.path.rpartition("/")[2]
        if name == "actor":
            document = {
                "@context": ["https://www.w3.org/ns/activitystreams", "https://w3id.org/security/v1"],
                "id": self.actor,
                "type": "Application",
                "preferredUsername": "selftest",
                "inbox": f"{self.url}/inbox",
                "publicKey": {
                    "id": f"{self.actor}#main-key",
                    "owner": self.actor,
                    "publicKeyPem": self.key.public.to_pem(),
                },
            }
            return web.Response(body=json.dumps(document).encode(), content_type=_ACTIVITY_JSON)
        picture = self.pictures.get(name)
        if picture is None:
            return web.Response(status=404)
        return web.Response(body=picture, content_type="image/png")


@asynccontextmanager
async def open_selftest_origin() -> AsyncIterator[SelftestOrigin]:
    """Serve the self-test's remote server on a free loopback port."""
    origin = SelftestOrigin(url="", key=await asyncio.to_thread(generate_rsa))
    runner = web.ServerRunner(web.Server(origin.handle, access_log=None), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        origin.url = f"http://{host}:{port}"
        yield origin
    finally:
        await runner.cleanup()


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestTools:
    """What the self-test works with.

    Attributes:
        origin: The remote server that it plays.
        standin: Where its deliveries end.
        door_url: Where the relay listens, as reachable from this machine.
        identity: Whom the relay says that it is.
        profile: The name of the profile that attestations are made under.
        database: Where deliveries, cases and attestations are looked up.
        clock: The time.
    """

    origin: SelftestOrigin
    standin: StandIn
    door_url: str
    identity: Identity
    profile: str
    database: Database
    clock: Clock


class SelftestFailure(Exception):  # noqa: N818 (it is the outcome of a check, not a fault of the program)
    """A check failed; the message says what was seen and what to do."""


async def run_selftest(tools: SelftestTools) -> JsonObject:
    """Run every check and return `{"passed": …, "checks": […]}`."""
    checks: list[JsonObject] = []
    async with httpx.AsyncClient(base_url=tools.door_url, timeout=_PATIENCE_S, trust_env=False) as http:

        async def check(name: str, call: Callable[[], Awaitable[str]]) -> None:
            started = tools.clock.monotonic()
            try:
                detail, passed = await call(), True
            except SelftestFailure as failure:
                detail, passed = str(failure), False
            except Exception as error:  # noqa: BLE001 (a check that breaks is a failed check)
                detail, passed = (
                    f"the check itself broke ({type(error).__name__}); see the relay's log",
                    False,
                )
            took_ms = round((tools.clock.monotonic() - started) * 1000)
            checks.append({"name": name, "passed": passed, "detail": detail, "took_ms": took_ms})

        await check("identity", lambda: _check_identity(http, tools))
        await check("unsigned delivery", lambda: _check_unsigned(http, tools))
        await check("altered delivery", lambda: _check_altered(http, tools))
        await check("harmless picture", lambda: _check_harmless(http, tools))
        await check("canary", lambda: _check_canary(http, tools))
    return {"passed": all(bool(one["passed"]) for one in checks), "checks": list(checks)}


async def _check_identity(http: httpx.AsyncClient, tools: SelftestTools) -> str:
    path = httpx.URL(tools.identity.actor).path
    answer = await http.get(path, headers={"Accept": _ACTIVITY_JSON})
    document = answer.json() if answer.status_code == httpx.codes.OK else {}
    if document.get("publicKey", {}).get("publicKeyPem") != tools.identity.http_key.public.to_pem():
        raise SelftestFailure(
            "the actor document does not carry the relay's key, so others cannot verify it. "
            "Check that identity.base_url leads to this relay."
        )
    return "the actor is readable without a signature and publishes both keys"


async def _check_unsigned(http: httpx.AsyncClient, tools: SelftestTools) -> str:
    activity = _build_create(tools, picture="none.png")
    answer = await http.post("/inbox", content=activity.body, headers={"Content-Type": _ACTIVITY_JSON})
    if answer.status_code != httpx.codes.UNAUTHORIZED:
        raise SelftestFailure(f"an unsigned delivery was answered {answer.status_code} instead of 401")
    return "refused with 401"


async def _check_altered(http: httpx.AsyncClient, tools: SelftestTools) -> str:
    message = _sign(_build_create(tools, picture="none.png"), tools)
    headers = [(name, value) for name, value in message.headers if name.lower() != "host"]
    answer = await http.post(
        "/inbox", content=message.body + b" ", headers=[("Host", message.authority), *headers]
    )
    if answer.status_code != httpx.codes.UNAUTHORIZED:
        raise SelftestFailure(f"an altered delivery was answered {answer.status_code} instead of 401")
    return "refused with 401"


async def _check_harmless(http: httpx.AsyncClient, tools: SelftestTools) -> str:
    picture = await asyncio.to_thread(_draw_harmless)
    activity, stored = await _post(http, tools, picture)
    if stored.state is not State.FORWARDED:
        raise SelftestFailure(
            f"a post with a harmless picture is {stored.state.value} ({stored.reason}) instead of forwarded. "
            "Look at the scanner's health with `breakwater doctor`."
        )
    if not any(one.body == activity.body for one in tools.standin.received):
        raise SelftestFailure("the post was forwarded, but not byte for byte")
    return await _check_attested(tools, stored)


async def _check_attested(tools: SelftestTools, stored: StoredDelivery) -> str:
    found = await _wait_for(lambda: _find_attestation(tools, stored.id))
    if found is None:
        raise SelftestFailure("forwarded byte for byte, but no attestation was stored")
    key = IssuerKey(
        actor=tools.identity.actor,
        key_id=tools.identity.verification_method,
        key=parse_multikey(tools.identity.signing_key.public.to_multikey()),
    )
    try:
        attestation = parse_attestation(found.object, allow_http=True)
        verify_attestation(attestation, issuer_key=key, now=tools.clock.now())
    except SignatureError as error:
        raise SelftestFailure(f"the attestation does not verify: {error}") from error
    return "forwarded byte for byte, and its attestation verifies"


async def _find_attestation(tools: SelftestTools, delivery_id: int) -> attestations.StoredAttestation | None:
    async with tools.database.connection() as conn:
        seen = await media.list_delivery_media(conn, delivery_id)
        digest = next((one.sha256 for one in seen if one.sha256 is not None), None)
        if digest is None:
            return None
        return await attestations.find_newest(conn, digest, tools.identity.profile(tools.profile))


async def _check_canary(http: httpx.AsyncClient, tools: SelftestTools) -> str:
    picture = await asyncio.to_thread(_draw_fresh_canary)
    activity, stored = await _post(http, tools, picture)
    async with tools.database.transaction() as conn:
        opened = await cases.list_cases_of(conn, stored.id)
        for case in opened:
            await cases.rule_case(
                conn, case.id, to=cases.CaseState.UPHELD, ruled_by="selftest", now=tools.clock.now()
            )
        await deliveries.advance(
            conn, stored.id, expected=State.HELD, to=State.DROPPED, now=tools.clock.now(), reason="selftest"
        )
    if stored.state is State.FORWARDED or any(one.body == activity.body for one in tools.standin.received):
        raise SelftestFailure(
            "the canary reached the backend: withholding does not work. Do not use this relay until "
            "`breakwater doctor` says what is wrong."
        )
    if stored.state not in {State.HELD, State.DROPPED} or not opened:
        raise SelftestFailure(
            f"the canary's delivery is {stored.state.value} ({stored.reason}), without a case"
        )
    return "withheld, and a case was opened (and closed again)"


async def _post(
    http: httpx.AsyncClient, tools: SelftestTools, picture: bytes
) -> tuple[RequestMessage, StoredDelivery]:
    """Post a picture and wait until its delivery has come to rest."""
    name = f"{secrets.token_hex(8)}.png"
    tools.origin.pictures[name] = picture
    try:
        message = _sign(_build_create(tools, picture=name), tools)
        headers = [(key, value) for key, value in message.headers if key.lower() != "host"]
        answer = await http.post(
            "/inbox", content=message.body, headers=[("Host", message.authority), *headers]
        )
        if answer.status_code != httpx.codes.ACCEPTED:
            raise SelftestFailure(f"the delivery was answered {answer.status_code} instead of 202")
        activity_id = json.loads(message.body)["id"]
        stored = await _wait_for(lambda: _find_resting(tools.database, activity_id))
    finally:
        del tools.origin.pictures[name]
    if stored is None:
        raise SelftestFailure(
            f"accepted, but not decided within {_PATIENCE_S:.0f} s. `breakwater doctor` may say why."
        )
    return message, stored


async def _find_resting(database: Database, activity_id: str) -> StoredDelivery | None:
    async with database.connection() as conn:
        stored = await delivery_lists.find_by_activity(conn, activity_id)
    is_resting = stored is not None and stored.state in {
        State.FORWARDED,
        State.HELD,
        State.DROPPED,
        State.DEAD,
    }
    return stored if is_resting else None


async def _wait_for(find: Callable[[], Awaitable[T | None]]) -> T | None:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                found = await find()
                if found is not None:
                    return found
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        return None


def _build_create(tools: SelftestTools, *, picture: str) -> RequestMessage:
    origin = tools.origin
    name = secrets.token_hex(8)
    note = {
        "id": f"{origin.url}/notes/{name}",
        "type": "Note",
        "attributedTo": origin.actor,
        "content": "<p>Breakwater self-test</p>",
        "to": [_PUBLIC],
        "attachment": [
            {"type": "Image", "mediaType": "image/png", "url": f"{origin.url}/pictures/{picture}"}
        ],
    }
    activity = {
        "@context": "https://www.w3.org/ns/activitystreams",
        "id": f"{origin.url}/activities/{name}",
        "type": "Create",
        "actor": origin.actor,
        "to": [_PUBLIC],
        "object": note,
    }
    door = httpx.URL(tools.door_url)
    return RequestMessage(
        method="POST",
        scheme=door.scheme,
        authority=door.netloc.decode(),
        target="/inbox",
        headers=(("Content-Type", _ACTIVITY_JSON),),
        body=json.dumps(activity).encode(),
    )


def _sign(message: RequestMessage, tools: SelftestTools) -> RequestMessage:
    now: datetime = tools.clock.now()
    return sign_request(
        message, key=tools.origin.key, key_id=f"{tools.origin.actor}#main-key", scheme=Scheme.CAVAGE, now=now
    )


def _draw_harmless() -> bytes:
    """Draw a sun over the sea, with one random pixel: different bytes each time, the same plain picture."""
    image = Image.linear_gradient("L").resize((_PICTURE_SIDE, _PICTURE_SIDE)).convert("RGB")
    draw = ImageDraw.Draw(image)
    third = _PICTURE_SIDE // 3
    draw.ellipse((third, third // 2, 2 * third, third * 3 // 2), fill=(250, 220, 120))
    draw.rectangle((0, 2 * third, _PICTURE_SIDE, _PICTURE_SIDE), fill=(40, 80, 140))
    image.putpixel((0, 0), tuple(secrets.token_bytes(3)))
    return _encode(image)


def _draw_fresh_canary() -> bytes:
    """Draw the canary with one pixel changed, so that only its perceptual hash can find it."""
    image = Image.open(io.BytesIO(draw_canary())).convert("RGB")
    image.putpixel((0, 0), tuple(secrets.token_bytes(3)))
    return _encode(image)


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
