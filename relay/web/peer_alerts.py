"""Where peers bring their warnings: POST {base}/api/v1/alerts, one signed `MediaScanAlert` a request.

A warning that fits is answered like one that does not, and at once: what it means is found out later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, assert_never

from relay.exchange.alert_intake import AlertReceipt, may_warn, receive_alert
from relay.web import problems
from signatures.objects import MAX_OBJECT_BYTES

if TYPE_CHECKING:
    from aiohttp import web

    from db.pool import Database
    from relay.clock import Clock
    from relay.exchange.intake import Refetch
    from relay.web.peer_door import Asked, PeerDoor

ALERTS_PATH: Final = "/alerts"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDesk:
    """Takes warnings in; see `add_alert_route`.

    Attributes:
        database: Where they are stored.
        clock: The time.
        recipient: Our own actor, which they have to be addressed to.
        refetch: Fetches a peer's keys again.
        allow_http: Admit peers without TLS, in test set-ups.
    """

    database: Database
    clock: Clock
    recipient: str
    refetch: Refetch | None = None
    allow_http: bool = False

    async def take(self, asked: Asked) -> web.Response:
        """Take in one warning."""
        receipt = await receive_alert(
            asked.body,
            peer=asked.peer,
            recipient=self.recipient,
            database=self.database,
            now=self.clock.now(),
            refetch=self.refetch,
            allow_http=self.allow_http,
        )
        match receipt:
            case AlertReceipt.TAKEN:
                return problems.accepted()
            case AlertReceipt.REFUSED:
                return problems.malformed(
                    "This is no MediaScanAlert of your relay to this one that can be verified, or it is old."
                )
            case AlertReceipt.NOT_AGREED:
                return problems.alerts_not_agreed()
            case AlertReceipt.TOO_MANY:
                return problems.asking_too_often()
        assert_never(receipt)


def add_alert_route(doors: web.Application, desk: AlertDesk, *, door: PeerDoor, path: str) -> None:
    """Add the route of warnings below the path of the peer API."""
    handler = door.open(desk.take, max_bytes=MAX_OBJECT_BYTES, may_ask=may_warn)
    doors.router.add_post(f"{path}{ALERTS_PATH}", handler)
