"""The checks of the inbox door: what is posted there, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import TYPE_CHECKING, Final, TypeVar

import httpx

from db import attestations, cases, delivery_lists, media
from relay.lifecycle import State, move
from relay.model import MediaDecision
from relay.selftest.origin import ACTIVITY_JSON
from relay.selftest.parts import PATIENCE_S, SelftestFailure
from relay.selftest.pictures import draw_fresh_canary, draw_harmless
from signatures.attestation import parse_attestation
from signatures.attestation_verify import verify_attestation
from signatures.errors import SignatureError
from signatures.http import Scheme, sign_request
from signatures.keys import parse_multikey
from signatures.message import RequestMessage
from signatures.objects import IssuerKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from db.delivery_rows import StoredDelivery
    from db.pool import Database
    from relay.selftest.parts import SelftestTools

T = TypeVar("T")

_POLL_S: Final = 0.02
_PUBLIC: Final = "https://www.w3.org/ns/activitystreams#Public"


async def check_identity(http: httpx.AsyncClient, tools: SelftestTools) -> str:
    """Look whether others can read the relay's actor and its keys.

    Raises:
        SelftestFailure: It was not so.
    """
    path = httpx.URL(tools.identity.actor).path
    answer = await http.get(path, headers={"Accept": ACTIVITY_JSON})
    document = answer.json() if answer.status_code == httpx.codes.OK else {}
    if document.get("publicKey", {}).get("publicKeyPem") != tools.identity.http_key.public.to_pem():
        raise SelftestFailure(
            "the actor document does not carry the relay's key, so others cannot verify it. "
            "Check that identity.base_url leads to this relay."
        )
    return "the actor is readable without a signature and publishes both keys"


async def check_unsigned(http: httpx.AsyncClient, tools: SelftestTools) -> str:
    """Post without a signature, which must be refused.

    Raises:
        SelftestFailure: It was not so.
    """
    activity = _build_create(tools, picture="none.png")
    answer = await http.post("/inbox", content=activity.body, headers={"Content-Type": ACTIVITY_JSON})
    if answer.status_code != httpx.codes.UNAUTHORIZED:
        raise SelftestFailure(f"an unsigned delivery was answered {answer.status_code} instead of 401")
    return "refused with 401"


async def check_altered(http: httpx.AsyncClient, tools: SelftestTools) -> str:
    """Post a body that was changed after signing, which must be refused.

    Raises:
        SelftestFailure: It was not so.
    """
    message = _sign(_build_create(tools, picture="none.png"), tools)
    headers = [(name, value) for name, value in message.headers if name.lower() != "host"]
    answer = await http.post(
        "/inbox", content=message.body + b" ", headers=[("Host", message.authority), *headers]
    )
    if answer.status_code != httpx.codes.UNAUTHORIZED:
        raise SelftestFailure(f"an altered delivery was answered {answer.status_code} instead of 401")
    return "refused with 401"


async def check_harmless(http: httpx.AsyncClient, tools: SelftestTools) -> str:
    """Post a harmless picture, which must reach the stand-in byte for byte and be attested.

    Raises:
        SelftestFailure: It was not so.
    """
    picture = await asyncio.to_thread(draw_harmless)
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


async def check_canary(http: httpx.AsyncClient, tools: SelftestTools) -> str:
    """Post the canary, which must be withheld and open a case.

    Raises:
        SelftestFailure: It was not so.
    """
    picture = await asyncio.to_thread(draw_fresh_canary)
    activity, stored = await _post(http, tools, picture)
    async with tools.database.transaction() as conn:
        opened = await cases.list_cases_of(conn, stored.id)
        decisions = {row.decision for row in await media.list_delivery_media(conn, stored.id)}
        for case in opened:
            await cases.rule_case(
                conn, case.id, to=cases.CaseState.UPHELD, ruled_by="selftest", now=tools.clock.now()
            )
        await move(
            conn, stored.id, expected=State.HELD, to=State.DROPPED, now=tools.clock.now(), reason="selftest"
        )
    is_withheld = bool(opened and decisions) and MediaDecision.RELEASE not in decisions
    if tools.enforces_media and stored.state is State.FORWARDED and is_withheld:
        return (
            "withheld, and a case was opened (and closed again); the text went through, because a media door "
            "keeps the picture from your server"
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
            f"accepted, but not decided within {PATIENCE_S:.0f} s. `breakwater doctor` may say why."
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
        async with asyncio.timeout(PATIENCE_S):
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
        headers=(("Content-Type", ACTIVITY_JSON),),
        body=json.dumps(activity).encode(),
    )


def _sign(message: RequestMessage, tools: SelftestTools) -> RequestMessage:
    now: datetime = tools.clock.now()
    return sign_request(
        message, key=tools.origin.key, key_id=f"{tools.origin.actor}#main-key", scheme=Scheme.CAVAGE, now=now
    )
