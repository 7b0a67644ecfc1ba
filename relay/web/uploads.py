"""The uploads door: Mastodon tells of a post of its own people, and it is kept to be looked at.

Nothing is read of a body before its signature fits, and nothing is answered with success before what it tells
of is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import web

from db import errands
from db.errands import ErrandKind
from db.errors import DatabaseError
from relay.tools.statuses import MalformedStatusError, Status, build_payload, parse_event
from relay.web import problems
from relay.web.bodies import Bodies, TooMuchInHandError, TooSlowError

if TYPE_CHECKING:
    from db.pool import Database
    from relay.clock import Clock

_log = logging.getLogger(__name__)

SIGNATURE_HEADER: Final = "X-Hub-Signature"
_SIGNATURE: Final = re.compile(r"sha256=([0-9a-fA-F]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadDoor:
    """Answer the webhook.

    Attributes:
        database: Where posts are kept until they are examined.
        clock: The time.
        secret: What the server signs its webhooks with.
        examines_restricted: Posts for followers and single people are examined, too.
        max_body_bytes: The longest body that is read.
        bodies: What is being taken in now.
    """

    database: Database
    clock: Clock
    secret: bytes = field(repr=False)
    examines_restricted: bool
    max_body_bytes: int
    bodies: Bodies = field(default_factory=Bodies)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one event."""
        try:
            async with self.bodies.read(request, max_bytes=self.max_body_bytes) as body:
                if not is_signed(request.headers.getall(SIGNATURE_HEADER, []), body, secret=self.secret):
                    return problems.bad_webhook_signature()
                status = parse_event(body, max_bytes=self.max_body_bytes)
            if status is not None and (status.is_public or self.examines_restricted):
                await self._keep(status)
        except web.HTTPRequestEntityTooLarge:
            return problems.too_large(self.max_body_bytes)
        except TooSlowError:
            return problems.too_slow()
        except MalformedStatusError as error:
            return problems.malformed(str(error))
        except (DatabaseError, TooMuchInHandError) as error:
            _log.error("upload_not_stored error=%s", type(error).__name__)
            return problems.cannot_store()
        return problems.accepted()

    async def _keep(self, status: Status) -> None:
        async with self.database.transaction() as conn:
            await errands.add(
                conn,
                kind=ErrandKind.EXAMINE_UPLOAD,
                subject=status.name,
                payload=build_payload(status),
                now=self.clock.now(),
            )


def is_signed(headers: list[str], body: bytes, *, secret: bytes) -> bool:
    """Tell whether a body is signed as Mastodon signs webhooks: HMAC-SHA256 over it, in hexadecimal."""
    given = _SIGNATURE.fullmatch(headers[0]) if len(headers) == 1 else None
    if given is None:
        return False
    expected = hmac.digest(secret, body, hashlib.sha256)
    return hmac.compare_digest(bytes.fromhex(given[1]), expected)
