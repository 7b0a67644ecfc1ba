"""A backend that looks at what it is sent: signatures, their age, and who speaks for whom.

It verifies as servers do, with keys that it fetches: a sender's from its document, the relay's from the
relay's. It also has the small part of an API by which it can be asked to fetch a post from its origin, in the
shapes of Mastodon's (and GoToSocial's) and Lemmy's documentation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import httpx

from signatures.errors import SignatureError
from signatures.http import Freshness, Scheme, find_signature, verify_request
from signatures.keys import parse_public_key_pem
from signatures.message import RequestMessage
from tests.fediverse.backend import ACCEPTED, ScriptedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tests.fediverse import RecordingBackend, WireRequest

TOKEN = "a-token"

_REFUSED = ScriptedAnswer(status=401)
_AHEAD = timedelta(minutes=5)


@dataclass(kw_only=True)
class StrictBackend:
    """Decides on every request.

    Attributes:
        window: How old a signature may be.
        now: The time.
        reads_inner_signatures: Takes what another actor brings if a signature of its author is inside.
        posts: What it has got, by the ids of the posts: "delivered", "brought" or "fetched".
        origin_is_up: Posts can be fetched.
    """

    window: timedelta
    now: Callable[[], datetime]
    reads_inner_signatures: bool = False
    posts: dict[str, list[str]] = field(default_factory=dict)
    origin_is_up: bool = True

    def judge_for(self, backend: RecordingBackend) -> None:
        """Sit behind this backend."""
        backend.judge = self._judge

    async def _judge(self, request: WireRequest) -> ScriptedAnswer:
        if request.method == "POST":
            return await self._take_in(request)
        return await self._answer_api(request)

    async def _take_in(self, request: WireRequest) -> ScriptedAnswer:
        message = RequestMessage(
            method=request.method,
            scheme="http",
            authority=request.header("Host") or "",
            target=request.target,
            headers=request.headers,
            body=request.body,
        )
        activity = json.loads(request.body)
        try:
            signature = find_signature(message)
            if signature is None:
                return _REFUSED
            owner, pem = await _fetch_key(signature.key_id)
            verify_request(
                message,
                signature,
                key=parse_public_key_pem(pem),
                now=self.now(),
                freshness=Freshness(max_age=self.window, max_ahead=_AHEAD),
            )
        except SignatureError:
            return _REFUSED
        if owner == activity["actor"]:
            self._note(activity, "delivered")
            return ACCEPTED
        has_inner = activity.get("signature", {}).get("type") == "RsaSignature2017"
        if not (self.reads_inner_signatures and has_inner and signature.scheme is Scheme.CAVAGE):
            return _REFUSED
        self._note(activity, "brought")
        return ACCEPTED

    def _note(self, activity: dict[str, object], how: str) -> None:
        about = activity["object"]
        name = str(about["id"] if isinstance(about, dict) else about)
        self.posts.setdefault(name, []).append(how)

    async def _answer_api(self, request: WireRequest) -> ScriptedAnswer:
        if request.header("Authorization") != f"Bearer {TOKEN}":
            return _answer(401, {"error": "The access token is invalid"})
        wanted = parse_qs(urlsplit(request.target).query).get("q", [""])[0]
        if request.path == "/api/v3/site":
            return _answer(
                200, {"site_view": {"site": {"id": 1, "name": "instance.example"}}, "version": "0.19.5"}
            )
        is_lemmy = request.path.endswith("/resolve_object")
        if request.path != "/api/v2/search" and not is_lemmy:
            return _answer(404, {"error": "Record not found"})
        if not self.origin_is_up:
            return _answer(400, {"error": "couldnt_find_object"}) if is_lemmy else _answer(200, _found(None))
        self.posts.setdefault(wanted, []).append("fetched")
        return _answer(200, _view(wanted) if is_lemmy else _found(wanted))


def _found(url: str | None) -> dict[str, object]:
    status = {"id": "7", "uri": url, "url": url, "account": {"id": "3", "acct": "alice@a.example"}}
    return {"accounts": [], "statuses": [status] if url else [], "hashtags": []}


def _view(url: str) -> dict[str, object]:
    return {"post": {"post": {"id": 7, "ap_id": url, "name": "A page"}, "creator": {"id": 3}}}


def _answer(status: int, document: object) -> ScriptedAnswer:
    return ScriptedAnswer(
        status=status,
        body=json.dumps(document).encode(),
        headers=(("Content-Type", "application/json"),),
    )


async def _fetch_key(key_id: str) -> tuple[str, str]:
    """Fetch the document that a key id points into, and return its owner and its PEM."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(key_id.partition("#")[0], headers={"Accept": "application/activity+json"})
    key = answer.raise_for_status().json()["publicKey"]
    assert key["id"] == key_id
    return key["owner"], key["publicKeyPem"]
