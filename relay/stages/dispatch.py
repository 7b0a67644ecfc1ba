"""Dispatch: hand a delivery to the backend, byte for byte, and read what its answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.backends.client import BackendAnswer, BackendClient, BackendDown
from relay.model import Dispatched, Receipt

if TYPE_CHECKING:
    from signatures.message import RequestMessage

_OK_MAX: Final = 300
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500

# Answers with which a backend asks for another try. Source: RFC 9110 (408), RFC 6585 (429).
_TRY_AGAIN: Final = frozenset({408, 429})
_UNAUTHORIZED: Final = 401


async def pass_through(message: RequestMessage, *, backend: BackendClient) -> BackendAnswer | BackendDown:
    """Hand a delivery without media straight to the backend and return its own answer."""
    return await backend.send(message)


async def forward(message: RequestMessage, *, backend: BackendClient) -> Dispatched:
    """Hand a stored delivery to the backend."""
    answer = await backend.send(message)
    if isinstance(answer, BackendDown):
        return Dispatched(receipt=Receipt.TRY_AGAIN, reason=f"backend_{answer.reason}")
    return _read(answer.status)


def _read(status: int) -> Dispatched:
    reason = f"backend_answered_{status}"
    if status < _OK_MAX:
        return Dispatched(receipt=Receipt.TAKEN, reason=reason)
    if status >= _SERVER_ERROR or status in _TRY_AGAIN or status < _CLIENT_ERROR:
        # A redirect of an inbox is a misconfiguration behind us; an admin can mend it while we wait.
        return Dispatched(receipt=Receipt.TRY_AGAIN, reason=reason)
    if status == _UNAUTHORIZED:
        # We verified the signature ourselves, so what the backend refuses is most likely its age.
        return Dispatched(receipt=Receipt.STALE, reason=reason)
    return Dispatched(receipt=Receipt.REFUSED, reason=reason)
